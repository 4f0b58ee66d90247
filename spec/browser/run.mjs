// The browser acceptance tests: one room with a Flash movie in Ruffle, a page's WebSocket,
// a TCP client and WebSocket programs of each kind, and what each of them gets.
//
//   sh spec/browser/install.sh
//   node spec/browser/run.mjs ./sync-lua              runs the checks
//   node spec/browser/run.mjs ./sync-lua --serve      serves the pages, to open them by hand
//
// Ends with a line `N passed, N failed`, and with 1 when one has failed. It leaves
// build/browser/ruffle.png, a picture of the movie, and console.log, what the pages said.

import assert from "node:assert/strict";
import {execFileSync} from "node:child_process";
import {appendFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync}
  from "node:fs";
import net from "node:net";
import os from "node:os";
import path from "node:path";
import {atEnd, check, configure, finish, inTime, root, sleep} from "../support/checks.mjs";
import {PageClient, TcpClient, WsClient, installed} from "./clients.mjs";
import {Room, built, servePages} from "./server.mjs";

const SILENCE = 300; // milliseconds in which a message that was sent twice would have come

const {chromium} = installed("playwright-core");

const CHECK_LIMIT = 20_000; // ms

configure({limit: 110_000, checkLimit: CHECK_LIMIT, patience: 10_000});

function brief(text) {
  const shown = text.length > 40 ? `${text.slice(0, 40)}… (${text.length})` : text;
  return JSON.stringify(shown);
}

// Says how a list of messages differs from the wanted one, or nothing.
function difference(seen, wanted) {
  const length = Math.max(seen.length, wanted.length);
  const at = Array.from({length}).findIndex((_, i) => seen[i] !== wanted[i]);
  if (at < 0) return "";
  const say = text => text === undefined ? "nothing" : brief(text);
  let where = "";
  if (seen[at] !== undefined && wanted[at] !== undefined) {
    const [one, other] = [[...seen[at]], [...wanted[at]]];
    const first = other.findIndex((char, i) => char !== one[i]);
    where = `, which differ at character ${first < 0 ? other.length : first}`;
  }
  return `got as message ${at + 1} of ${wanted.length} ` +
    `${say(seen[at])} instead of ${say(wanted[at])}${where}`;
}

// Messages

// A text of exactly so many bytes, whose characters of 1 to 4 bytes fall on all places.
function longText(bytes) {
  const chars = ["a", "b", "é", "漢", "字", "🎉", " ", "<", "&", "Ω"];
  const sizes = chars.map(char => Buffer.byteLength(char));
  let [text, length, random] = ["", 0, bytes];
  while (length <= bytes - 4) {
    random = (random * 1103515245 + 12345) % 2147483648;
    const pick = Math.floor(random / 65536) % chars.length;
    text += chars[pick];
    length += sizes[pick];
  }
  return text + "z".repeat(bytes - length);
}

const LONG = longText(100 * 1024);

// By what they show: the messages that a client sends one after the other.
const speeches = {
  "a plain message": name => [`hello from ${name}`],
  "a message in other scripts": name => [`é ñ ß — 漢字 かな — Ωμέγα — 🎉👩‍🚀 (${name})`],
  "a message with markup, quotes and control characters":
    () => ["<m a=\"1\" b='2'>\\n &amp; %41 \r\n\t\u0001\u007f\u2028</m>"],
  "a message of 100 KB": () => [LONG],
  "an empty message": () => [""],
  "a burst of messages": name => [..."0123456789"].map(digit => digit && `${name} ${digit}`)
    .toSpliced(3, 1, "").toSpliced(7, 1, "", "漢"),
};

// The room

function compileMovie() {
  mkdirSync(built, {recursive: true});
  execFileSync("haxe", ["-cp", "spec/browser", "-main", "XmlSocketClient",
    "--swf", "build/browser/xmlsocket.swf", "--swf-version", "11",
    "--swf-header", "640:400:60:ffffff"], {cwd: root, stdio: "inherit", timeout: 20_000});
}

const profile = mkdtempSync(path.join(os.tmpdir(), "sync-browser-"));
atEnd(() => rmSync(profile, {recursive: true, force: true, maxRetries: 5}));

async function openBrowser() {
  const browser = await chromium.launchPersistentContext(profile, {
    executablePath: process.env.CHROMIUM || "/usr/bin/chromium",
    args: ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
      "--disable-background-networking", "--disable-component-update", "--disable-sync"],
    viewport: {width: 720, height: 640},
  });
  writeFileSync(path.join(built, "console.log"), "");
  browser.on("console", message => {
    appendFileSync(path.join(built, "console.log"), `${message.text()}\n`);
  });
  return browser;
}

// All that are in the room, by what the checks call them.
class Crowd {
  members = [];

  // Waits for a client's greeting, and counts it to the room's members. A client that is
  // not greeted fails this check and is no part of those that follow.
  join(client, connect) {
    return check(`${client.name} joins and is greeted`, async () => {
      await connect();
      const [greeting] = await client.take("data");
      assert.match(greeting ?? "nothing", /^Welcome, client \d+\.$/);
      client.id = greeting.match(/\d+/)[0];
      this.members.push(client);
    });
  }

  leave(client) {
    this.members = this.members.filter(member => member !== client);
  }

  // Fails unless each member gets these messages next, in this order.
  async gets(texts) {
    const problems = await Promise.all(this.members.map(async member => {
      const problem = difference(await member.take("data", texts.length), texts);
      return problem && `${member.name} ${problem}`;
    }));
    const lines = problems.filter(Boolean);
    if (lines.length === 0) return;
    await sleep(SILENCE); // what comes late belongs to this check
    for (const member of this.members) await member.rest("data");
    throw new Error(lines.join("\n"));
  }
}

// Sends a request as it is. Returns all that is answered until the server closes, or fails.
function ask(port, pieces) {
  return new Promise((resolve, reject) => {
    const socket = net.connect(port, "127.0.0.1", async () => {
      for (const piece of pieces) {
        socket.write(piece);
        await sleep(2); // so that each piece is read by itself
      }
    });
    socket.setNoDelay(true).setTimeout(CHECK_LIMIT / 2, () => {
      socket.destroy();
      reject(new Error("the connection was not closed"));
    });
    const chunks = [];
    socket.on("data", chunk => chunks.push(chunk));
    socket.on("error", reject);
    socket.on("end", () => resolve(Buffer.concat(chunks).toString("latin1")));
  });
}

// The checks themselves

async function everyMessageReachesAll(crowd, takePicture) {
  for (const [what, compose] of Object.entries(speeches)) {
    for (const sender of crowd.members) {
      await check(`${what} of ${sender.name} reaches all once`, async () => {
        const texts = compose(sender.name);
        for (const text of texts) await sender.send(text);
        await crowd.gets(texts);
      });
    }
    if (what === "a message in other scripts") await takePicture();
  }
}

// What a frame holds and what a message is are different things in a byte stream.
async function framesAreNoMessages(crowd, {movie, tcp, stream, mirror, text, message}) {
  const here = client => crowd.members.includes(client);

  for (const client of [stream, mirror].filter(here)) {
    await check(`several messages in one frame of ${client.name}`, async () => {
      await client.frame(Buffer.from("a\0\0b"));
      await client.frame(Buffer.from("c\0é\0"));
      await crowd.gets(["a", "", "bc", "é"]);
    });
    await check(`one message in many frames of ${client.name}`, async () => {
      const bytes = Buffer.from(`${LONG}\0`);
      for (let at = 0; at < bytes.length; at += 511) {
        await client.frame(bytes.subarray(at, at + 511));
      }
      await crowd.gets([LONG]);
    });
    await check(`a frame a byte from ${client.name}`, async () => {
      for (const byte of Buffer.from("é漢🎉\0\0x\0")) await client.frame(Buffer.from([byte]));
      await crowd.gets(["é漢🎉", "", "x"]);
    });
    await check(`empty frames of ${client.name} are no messages`, async () => {
      for (const part of ["", "one", "", "\0", ""]) await client.frame(Buffer.from(part));
      await crowd.gets(["one"]);
    });
    await check(`a fragmented frame of ${client.name}`, async () => {
      await client.frame(Buffer.from("first\0sec"), {fin: false});
      await client.frame(Buffer.from("ond\0th"), {fin: false});
      await client.frame(Buffer.from("ird\0"));
      await crowd.gets(["first", "second", "third"]);
    });
  }

  for (const client of [text, message].filter(here)) {
    await check(`a message in fragments of ${client.name}`, async () => {
      const bytes = Buffer.from("é漢🎉 in pieces");
      const binary = client.kind === "message";
      for (let at = 0; at < bytes.length; at++) {
        await client.frame(bytes.subarray(at, at + 1), {binary, fin: at === bytes.length - 1});
      }
      await crowd.gets(["é漢🎉 in pieces"]);
    });
  }

  if (here(tcp)) {
    await check("several messages in one segment, and one in many", async () => {
      await tcp.write(Buffer.from("a\0\0b"));
      for (const byte of Buffer.from("é漢🎉\0")) {
        await sleep(5); // so that each byte is read by itself
        await tcp.write(Buffer.from([byte]));
      }
      await crowd.gets(["a", "", "bé漢🎉"]);
    });
  }
  if (here(movie)) {
    await check("a NUL in what the movie sends ends a message", async () => {
      await movie.send("a\0\0é");
      await crowd.gets(["a", "", "é"]);
    });
  }
}

async function eachGotItsKind(crowd, deflated, plain) {
  await check("nobody got anything twice, or in frames of a wrong kind", async () => {
    await sleep(SILENCE);
    for (const member of crowd.members) {
      for (const type of ["data", "wrong", "binary", "unfinished", "error", "close"]) {
        const rest = await member.rest(type);
        assert.equal(rest.length, 0, `${member.name}: ${type} [${rest.map(brief)}]`);
      }
    }
  });
  await check("permessage-deflate is used where it was offered, and only there", async () => {
    assert.match(deflated.socket.extensions, /permessage-deflate/);
    assert.equal(plain.socket.extensions, "");
    assert.ok(deflated.bytesRead < plain.bytesRead * 0.8,
      `${deflated.bytesRead} bytes compressed, ${plain.bytesRead} plain`);
  });
}

async function otherRequests(port) {
  const question = "<policy-file-request/>\0";
  for (const [how, pieces] of [["at once", [question]], ["a byte at a time", [...question]]]) {
    await check(`a policy request ${how} is answered, and closed`, async () => {
      const answer = await ask(port, pieces);
      assert.match(answer, /^<\?xml [^]*<cross-domain-policy>[^]*<\/cross-domain-policy>\s*\0$/);
      assert.equal(answer.indexOf("\0"), answer.length - 1);
      const [, ports] = answer.match(/<allow-access-from [^>]*to-ports="([^"]*)"/) ?? [];
      assert.ok(ports?.split(",").includes(String(port)), `to-ports is ${ports}: ${answer}`);
    });
  }
  await check("GET / answers with the page", async () => {
    const response = await fetch(`http://127.0.0.1:${port}/`);
    assert.equal(response.status, 200);
    assert.match(response.headers.get("content-type"), /^text\/html/);
    assert.equal(await response.text(),
      readFileSync(path.join(root, "spec/browser/socket.html"), "utf8"));
  });
  await check("a page of another origin is refused with 403", async () => {
    const stranger = new WsClient("a stranger", "text", {origin: "http://elsewhere.example"});
    stranger.connect(port);
    const [message] = await stranger.take("error");
    assert.match(message ?? "no refusal", /403/);
    assert.equal(stranger.count("connect"), 0);
  });
}

async function leaving(crowd, room, movie, moviePage, url) {
  const returns = async () => {
    await movie.connect();
    const [greeting] = await movie.take("data");
    movie.id = greeting?.match(/\d+/)?.[0];
    assert.ok(movie.id, "no greeting");
  };
  await check("the server sees the movie close, and the others stay", async () => {
    await movie.close();
    assert.ok(await room.said("left", movie.id, "left"), "the server saw nothing");
    crowd.leave(movie);
    const [speaker] = crowd.members;
    await speaker.send("without the movie");
    await crowd.gets(["without the movie"]);
    assert.deepEqual(await movie.rest("data"), []);
  });
  await check("the movie can come back", async () => {
    await returns();
    crowd.members.push(movie);
    await movie.send("back");
    await crowd.gets(["back"]);
  });
  await check("the server sees the movie's page go, as 1001", async () => {
    await moviePage.goto("about:blank");
    const line = await room.said("left", movie.id);
    assert.deepEqual(line?.slice(2), ["left", "1001"]);
    crowd.leave(movie);
  });
  await check("the movie's page comes again", async () => {
    await openMovie(moviePage, url);
    movie.taken = {ready: 1};
    await returns();
    crowd.members.push(movie);
  });
}

async function serverStops(crowd, room) {
  const {members} = crowd;
  const codes = async () => Object.fromEntries(await Promise.all(members.map(
    async member => [member.name, (await member.take("close"))[0]])));
  await check("when the server is told to stop, all see close, and it ends with 0", async () => {
    const [result, seen] = await Promise.all([room.end("SIGTERM"), codes()]);
    const wanted = Object.fromEntries(members.map(member =>
      [member.name, member.closeCode === undefined ? "1001" : member.closeCode]));
    assert.deepEqual(seen, wanted);
    assert.equal(result, 0, room.trouble);
  });
}

async function serverDies(room, movie, page) {
  await check("when the server dies, the movie and the page see close", async () => {
    for (const client of [movie, page]) {
      await client.connect();
      assert.equal((await client.take("data")).length, 1, `${client.name} was not greeted`);
    }
    await room.end("SIGKILL");
    assert.deepEqual(await movie.take("close"), [""]);
    assert.deepEqual(await page.take("close"), ["1006"]);
  });
}

// A picture for people; and of its pixels some must be the log's letters, but few.
async function takePicture(moviePage, otherPage) {
  await check("the movie shows its log", async () => {
    await moviePage.screenshot({path: path.join(built, "ruffle.png")});
    const picture = await moviePage.locator("#movie").screenshot();
    const inked = await otherPage.evaluate(async base64 => {
      const bytes = Uint8Array.from(atob(base64), char => char.charCodeAt(0));
      const bitmap = await createImageBitmap(new Blob([bytes]));
      const context = new OffscreenCanvas(bitmap.width, bitmap.height).getContext("2d");
      context.drawImage(bitmap, 0, 0);
      const {data} = context.getImageData(0, 0, bitmap.width, bitmap.height);
      let dark = 0;
      for (let i = 0; i < data.length; i += 4) if (data[i] < 100) dark++;
      return dark / (bitmap.width * bitmap.height);
    }, picture.toString("base64"));
    assert.ok(inked > 0.01 && inked < 0.3, `${(inked * 100).toFixed(1)} % of it are letters`);
  });
}

async function openMovie(page, url) {
  await page.goto(url);
  const ready = await inTime(() => page.evaluate("events.length > 0"));
  assert.ok(ready, "the movie doesn't run; build/browser/console.log may say why");
}

async function main() {
  compileMovie();
  const origin = await servePages();
  let room = new Room(0, origin);
  const port = await room.port();
  const movieUrl = `${origin}/movie.html?host=127.0.0.1&port=${port}`;
  const socketUrl = `${origin}/socket.html?url=ws://127.0.0.1:${port}/`;
  if (process.argv.includes("--serve")) {
    console.log(`${movieUrl}\n${socketUrl}\nhttp://127.0.0.1:${port}/`);
    await room.ended;
    process.exit(1);
  }

  const browser = await openBrowser();
  atEnd(() => browser.close());
  const moviePage = await browser.newPage();
  const socketPage = await browser.newPage();

  const movie = new PageClient("the movie", moviePage,
    {connect: "movie.connect", send: "movie.send", close: "movie.close"});
  const page = new PageClient("the page", socketPage,
    {connect: "connect", send: "socket.send.bind(socket)", close: "socket.close.bind(socket)"});
  const tcp = new TcpClient("the TCP client");
  const deflated = new WsClient("the WebSocket with deflate", "text", {deflate: true});
  const plain = new WsClient("the plain WebSocket", "text");
  const stream = new WsClient("the stream", "stream", {deflate: true});
  const mirror = new WsClient("the binary WebSocket", "mirror");
  const message = new WsClient("the sync.message WebSocket", "message");
  tcp.closeCode = movie.closeCode = "";

  const crowd = new Crowd();
  await crowd.join(movie, async () => {
    await openMovie(moviePage, movieUrl);
    await movie.connect();
  });
  await crowd.join(page, async () => {
    await socketPage.goto(socketUrl);
    await page.connect();
    await moviePage.bringToFront(); // where nobody looks, a movie runs slowly
  });
  for (const client of [tcp, deflated, plain, stream, mirror, message]) {
    await crowd.join(client, () => client.connect(port));
  }

  await everyMessageReachesAll(crowd, () => takePicture(moviePage, socketPage));
  await framesAreNoMessages(crowd, {movie, tcp, stream, mirror, text: deflated, message});
  await eachGotItsKind(crowd, deflated, plain);
  await otherRequests(port);
  if (movie.id) await leaving(crowd, room, movie, moviePage, movieUrl);
  await serverStops(crowd, room);
  await check("the server starts again on its port", async () => {
    room = new Room(port, origin);
    assert.equal(await room.port(), port);
  });
  await serverDies(room, movie, page);
  await finish();
}

await main();
