// The acceptance test of the Flash client: movies in Ruffle against flash_game.lua.
//
//   sh spec/browser/install.sh
//   node spec/clients/flash.mjs ./sync-lua
//
// Three movies are tried: FlashGame.hx compiled with the client's sources; the same linked with
// the SWC; and one that loads the SWC's library.swf, which then runs as in an ActionScript 3
// project. Between them and the server is a relay that can cut, hold and refuse connections.
// Ends with a line `N passed, N failed`, and with 1 when one has failed.

import assert from "node:assert/strict";
import {execFileSync, spawn} from "node:child_process";
import {once} from "node:events";
import {createReadStream, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync}
  from "node:fs";
import http from "node:http";
import net from "node:net";
import os from "node:os";
import path from "node:path";
import vm from "node:vm";
import zlib from "node:zlib";
import {connect} from "../../clients/js/sync.js";
import {vectors} from "../../clients/js/test/vectors.mjs";
import {installed} from "../browser/clients.mjs";
import {atEnd, check, configure, finish, inTime, program, root, sleep} from "../support/checks.mjs";
import {freePort} from "../support/ports.mjs";

const {chromium} = installed("playwright-core");
const WebSocket = installed("ws");
const built = path.join(root, "build/flash");

// Ruffle is slow to begin. `FUZZ=1000000` patches for the long run.
const {FUZZ = 4000, SEED = 1} = process.env;
const more = FUZZ > 4000 ? Number(FUZZ) : 0; // 1 ms a patch
configure({limit: 170_000 + more, checkLimit: 40_000 + more, patience: 20_000});

// The server under test, and what it writes.
class Game {
  lines = [];
  trouble = "";

  async start(origin, port = 0, amfPort = 0) {
    const script = path.join(root, "spec/clients/flash_game.lua");
    this.process = spawn(program, [script, String(port), String(amfPort), origin],
      {cwd: root, stdio: ["ignore", "pipe", "pipe"]});
    const {process: child} = this;
    process.once("exit", () => child.kill("SIGKILL"));
    let half = "";
    child.stdout.setEncoding("utf8").on("data", text => {
      const lines = (half + text).split("\n");
      half = lines.pop();
      this.lines.push(...lines);
    });
    child.stderr.setEncoding("utf8").on("data", text => { this.trouble += text; });
    const line = await this.said(/^port/);
    [, this.port, this.amfPort, this.guardedPort] = line.split("\t").map(Number);
  }

  async said(pattern) {
    let line;
    await inTime(() => {
      line = this.lines.find(one => pattern.test(one));
      return line !== undefined || this.process.exitCode !== null;
    });
    assert.ok(line !== undefined, `the server did not say ${pattern}: ${this.trouble}`);
    return line;
  }

  async kill() {
    this.process.kill("SIGKILL");
    await once(this.process, "exit");
    this.lines = [];
  }
}

// Passes connections on to a port.
class Relay {
  pairs = new Set();
  isRefusing = false;

  async start(port) {
    this.server = net.createServer(client => {
      if (this.isRefusing) {
        client.destroy();
        return;
      }
      const target = net.connect(port, "127.0.0.1");
      const pair = [client, target];
      this.pairs.add(pair);
      for (const [from, to] of [pair, [target, client]]) {
        from.setNoDelay(true);
        from.on("data", bytes => { if (!to.write(bytes)) from.pause(); });
        to.on("drain", () => { if (!this.isHolding) from.resume(); });
        from.on("error", () => {});
        from.on("close", () => {
          to.destroy();
          this.pairs.delete(pair);
        });
      }
    }).listen(0, "127.0.0.1");
    await once(this.server, "listening");
    this.port = this.server.address().port;
  }

  // Breaks all connections, and lets no new ones through.
  cut() {
    this.isRefusing = true;
    for (const [client, target] of this.pairs) {
      client.destroy();
      target.resetAndDestroy();
    }
  }

  mend() { this.isRefusing = false; }

  // Reads no more of what clients send, or of what the server does, and keeps connections.
  hold(isHolding) {
    this.isHolding = isHolding;
    for (const socket of [...this.pairs].flat()) isHolding ? socket.pause() : socket.resume();
  }
}

// Pages and movies

const PAGE = `<!doctype html><meta charset="utf-8"><link rel="icon" href="data:,">
<div id="movie" style="width:320px;height:200px"></div>
<script src="ruffle/ruffle.js"></script>
<script>
  function movieEvent(text) { tellTest(text); }
  function play(movie, socketProxy, parameters) {
    const player = window.RufflePlayer.newest().createPlayer();
    document.getElementById("movie").append(player);
    player.ruffle().load({
      url: movie, socketProxy, parameters, allowScriptAccess: true, autoplay: "on",
      unmuteOverlay: "hidden", splashScreen: false, polyfills: false,
      preferredRenderer: "canvas",
    });
    window.command = text => player.ruffle().callExternalInterface("command", text);
  }
</script>`;

const TYPES = {".js": "text/javascript", ".wasm": "application/wasm",
  ".swf": "application/x-shockwave-flash"};

async function servePages() {
  const ruffle = path.join(root, "build/node/node_modules/@ruffle-rs/ruffle");
  const server = http.createServer((request, response) => {
    const name = path.basename(new URL(request.url, "http://localhost").pathname);
    const type = TYPES[path.extname(name)];
    if (!type) {
      response.writeHead(200, {"Content-Type": "text/html"}).end(PAGE);
      return;
    }
    response.writeHead(200, {"Content-Type": type});
    createReadStream(path.join(type === TYPES[".swf"] ? built : ruffle, name))
      .on("error", () => response.destroy()).pipe(response);
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  return `http://127.0.0.1:${server.address().port}`;
}

// A file of a zip archive, as which Haxe writes a SWC.
function unzip(archive, wanted) {
  const end = archive.lastIndexOf("PK\x05\x06", undefined, "latin1");
  let at = archive.readUInt32LE(end + 16);
  for (let left = archive.readUInt16LE(end + 10); left > 0; left--) {
    const [nameSize, extraSize, noteSize] = [28, 30, 32].map(i => archive.readUInt16LE(at + i));
    const name = archive.toString("utf8", at + 46, at + 46 + nameSize);
    if (name === wanted) {
      const head = archive.readUInt32LE(at + 42);
      const start = head + 30 + archive.readUInt16LE(head + 26) + archive.readUInt16LE(head + 28);
      const bytes = archive.subarray(start, start + archive.readUInt32LE(at + 20));
      return archive.readUInt16LE(at + 10) === 0 ? bytes : zlib.inflateRawSync(bytes);
    }
    at += 46 + nameSize + extraSize + noteSize;
  }
  throw new Error(`no ${wanted} in the archive`);
}

function compile() {
  mkdirSync(built, {recursive: true});
  execFileSync("haxe", ["clients/flash/build.hxml"], {cwd: root, stdio: "inherit",
    timeout: 60_000});
  writeFileSync(path.join(built, "library.swf"),
    unzip(readFileSync(path.join(built, "sync.swc")), "library.swf"));
}

const profile = mkdtempSync(path.join(os.tmpdir(), "sync-flash-"));
atEnd(() => rmSync(profile, {recursive: true, force: true, maxRetries: 5}));

async function openBrowser() {
  return chromium.launchPersistentContext(profile, {
    executablePath: process.env.CHROMIUM || "/usr/bin/chromium",
    args: ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
      "--disable-background-networking", "--disable-component-update", "--disable-sync"],
  });
}

// A page with a movie; its clients are told apart by a name, `who`.
class Movie {
  events = []; // {who, kind, value} that nobody has taken
  lastTag = 0;

  async open(browser, url, swf, socketProxy, parameters = {}) {
    this.page = await browser.newPage();
    this.page.on("console", message => writeFileSync(path.join(built, "console.log"),
      `${message.text()}\n`, {flag: "a"}));
    await this.page.exposeFunction("tellTest", text => { this.events.push(JSON.parse(text)); });
    await this.page.goto(url);
    await this.page.evaluate(([...given]) => window.play(...given),
      [swf, socketProxy, parameters]);
    await this.take("movie", "ready");
  }

  rest(who) {
    return JSON.stringify(this.events.filter(event => event.who === who));
  }

  async has(who, kind) {
    return this.events.some(event => event.who === who && event.kind === kind);
  }

  // Returns the value of the next event of a kind.
  async take(who, kind, holds = () => true) {
    const find = () => this.events.findIndex(event => event.who === who &&
      event.kind === kind && holds(event.value));
    await inTime(() => find() >= 0);
    assert.ok(find() >= 0, `no ${kind} at ${who}; there are ${this.rest(who)}`);
    return this.events.splice(find(), 1)[0].value;
  }

  async run(it) {
    return JSON.parse(await this.page.evaluate(text => window.command(text),
      JSON.stringify(it)));
  }

  async do(who, verb, it = {}) {
    const result = await this.run({...it, who, verb});
    assert.equal(result?.error, undefined, result?.error);
    return result;
  }

  // Calls a function of the server. Returns the tag that `answer` wants.
  async begin(who, method, params, options) {
    const tag = `call ${++this.lastTag}`;
    await this.do(who, "call", {method, params, tag, options});
    return tag;
  }

  // Returns {result} or {fault}.
  async answer(tag) {
    const find = () => this.events.findIndex(event => event.who === tag);
    await inTime(() => find() >= 0);
    assert.ok(find() >= 0, `no answer to ${tag}; there are ${this.rest(tag)}`);
    const [{kind, value}] = this.events.splice(find(), 1);
    return {[kind]: value};
  }

  async call(...given) {
    const {result, fault} = await this.answer(await this.begin(...given));
    assert.equal(fault, undefined, `a fault: ${JSON.stringify(fault)}`);
    return result;
  }

  async fault(...given) {
    const {result, fault} = await this.answer(await this.begin(...given));
    assert.equal(result, undefined, `a result: ${JSON.stringify(result)}`);
    return fault;
  }

  toState(who, state) { return this.take(who, "state", value => value.state === state); }
}

// What both transports do

async function joins(movie, who, port, options) {
  await check(`${who} joins and gets its result`, async () => {
    await movie.do(who, "open", {port, options});
    await movie.take(who, "session");
    assert.ok(await movie.take(who, "joined") >= 1);
    assert.equal((await movie.toState(who, "open")).resumed, false);
    assert.equal((await movie.do(who, "look")).state, "open");
  });
}

async function calls(movie, who) {
  await check(`${who}: a fault gets its code, text and data`, async () => {
    const {code, message, data, method} = await movie.fault(who, "refuse",
      [7, "not now", {until: "noon"}]);
    assert.deepEqual({code, message, data, method},
      {code: 7, message: "not now", data: {until: "noon"}, method: "refuse"});
  });
  await check(`${who}: what isn't there, and what fails in the server`, async () => {
    assert.equal((await movie.fault(who, "close")).code, -32601);
    const {code, message} = await movie.fault(who, "crash");
    assert.equal(code, -32603);
    assert.doesNotMatch(message, /log/);
  });
  await check(`${who}: values come back as they went`, async () => {
    for (const value of [0, -1, 1.5, 2 ** 40, true, false, "", "é 漢字 🎉 \u0000\u0001\"\\\r\n",
      "x".repeat(30_000), [1, [2, "three"]], {a: {b: [1, 2, 3]}, c: "d"}]) {
      assert.deepEqual(await movie.call(who, "echo", [value]), value);
    }
    assert.equal(await movie.call(who, "echo", [null]), null);
    assert.deepEqual(await movie.call(who, "echo", {x: 1, y: 2}), {x: 1, y: 2});
  });
  await check(`${who}: the time limit of a call`, async () => {
    const {code, method} = await movie.fault(who, "wait", [], {timeout: 100});
    assert.deepEqual([code, method], ["timeout", "wait"]);
  });
  await check(`${who}: a message that is too long is not sent`, async () => {
    const params = ["x".repeat(70_000)];
    assert.equal((await movie.fault(who, "echo", params)).code, "tooLong");
    assert.equal((await movie.run({who, verb: "notify", method: "echo", params})).code, "tooLong");
    assert.equal(await movie.call(who, "echo", ["on"]), "on");
  });
  await check(`${who}: latency`, async () => {
    await movie.do(who, "latency", {tag: `latency ${who}`});
    assert.ok(await movie.take(`latency ${who}`, "result") >= 0);
  });
}

async function isCalled(movie, who) {
  const asks = (name, ...args) => movie.call(who, "askMe", [name, ...args]);
  await check(`${who}: the server calls a function and gets its answer`, async () => {
    await movie.do(who, "handle");
    assert.deepEqual(await asks("add", 1, 2), {result: 3});
    assert.deepEqual(await asks("add", "é", "🎉"), {result: "é🎉"});
    assert.equal((await asks("nothing")).result ?? null, null);
  });
  await check(`${who}: refusals and errors of the movie's functions`, async () => {
    assert.deepEqual(await asks("refuse"), {code: 42, message: "not today"});
    assert.deepEqual(await asks("break"), {code: -32603, message: "error in the function"});
    await movie.take(who, "error", ({message}) => message === "a secret");
    assert.equal((await asks("missing")).code, -32601);
    assert.deepEqual(await asks("long"), {code: -32603, message: "the answer is too long"});
    await movie.take(who, "error", ({code}) => code === "tooLong");
    await movie.do(who, "unhandle", {name: "add"});
    assert.equal((await asks("add", 1, 2)).code, -32601);
  });
  await check(`${who}: answers that come later`, async () => {
    const tag = await movie.begin(who, "askMe", ["later", "why"]);
    assert.equal(await movie.take(who, "asked"), "why");
    await movie.do(who, "answer", {result: "because"});
    assert.deepEqual((await movie.answer(tag)).result, {result: "because"});
    assert.deepEqual(await asks("laterAtOnce", "now"), {result: "now"});
    assert.equal((await movie.do(who, "stats")).serving, 0);
  });
}

async function hears(movie, who, friend) {
  await check(`${who}: an event fired by a page's call reaches the movie`, async () => {
    await movie.do(who, "onBroken", {name: "onJoin"});
    await movie.do(who, "on", {name: "onJoin", tag: "each"});
    await movie.do(who, "once", {name: "onJoin", tag: "first"});
    await movie.do(who, "onOff", {name: "onJoin", tag: "never"});
    await movie.do(who, "on", {name: "*", tag: "any"});
    await friend.server.join("bob");
    await friend.server.join("bob");
    await movie.take(who, "error", ({message}) => message === "broken listener");
    for (let i = 0; i < 2; i++) {
      assert.equal((await movie.take(who, "each"))[0], "bob");
      assert.deepEqual((await movie.take(who, "any")).slice(0, 2), ["onJoin", "bob"]);
    }
    assert.deepEqual(await movie.take(who, "first"), ["bob"]);
    await movie.call(who, "echo", [1]);
    for (const kind of ["each", "first", "never"]) assert.ok(!await movie.has(who, kind), kind);
  });
  await check(`${who}: a notification of the movie reaches the page`, async () => {
    const moved = new Promise(resolve => { friend.once("onMove", (...all) => resolve(all)); });
    assert.equal(await movie.do(who, "notify", {method: "move", params: [3, 4]}), true);
    assert.deepEqual(await moved, [who, 3, 4]);
  });
}

async function resumes(movie, who, relay, friend, game) {
  await check(`${who}: the session goes on after a lost connection`, async () => {
    const before = await movie.call(who, "whoAmI");
    const asked = await movie.begin(who, "askMe", ["later", "?"]);
    await movie.take(who, "asked");
    await movie.do(who, "on", {name: "onTold", tag: "told"});
    relay.cut();
    await movie.toState(who, "waiting");
    await game.said(new RegExp(`^away\t${who}`));
    for (const text of ["one", "two", "three"]) await friend.server.tell(who, text);
    const queued = await movie.begin(who, "echo", ["queued"]);
    assert.equal((await movie.fault(who, "echo", [1], {offline: "refuse"})).code, "offline");
    assert.equal((await movie.fault(who, "echo", [1], {timeout: 50})).code, "timeout");
    await movie.do(who, "answer", {result: "!"});
    relay.mend();
    const {resumed, missed} = await movie.toState(who, "open");
    assert.deepEqual([resumed, missed], [true, 3]);
    for (const text of ["one", "two", "three"]) {
      assert.equal((await movie.take(who, "told"))[0], text);
    }
    assert.deepEqual(await movie.answer(queued), {result: "queued"});
    assert.deepEqual((await movie.answer(asked)).result, {result: "!"});
    assert.deepEqual(await movie.call(who, "whoAmI"), before);
    assert.ok(!await movie.has(who, "told") && !await movie.has(who, "session"));
    await game.said(new RegExp(`^resumed\t${who}`));
  });
}

// The server here is the same one, which takes the session from the connection before.
async function goesAway(movie, who, friend) {
  await check(`${who}: a server that drains sends it elsewhere, and its session goes on`, async () => {
    const before = await movie.call(who, "whoAmI");
    await movie.call(who, "goAway");
    await friend.server.tell(who, "one");
    await movie.toState(who, "connecting");
    const asked = await movie.begin(who, "echo", ["on the way"]);
    const {resumed} = await movie.toState(who, "open");
    assert.equal(resumed, true);
    assert.deepEqual(await movie.answer(asked), {result: "on the way"});
    assert.equal((await movie.take(who, "told"))[0], "one");
    await friend.server.tell(who, "two");
    assert.equal((await movie.take(who, "told"))[0], "two");
    assert.deepEqual(await movie.call(who, "whoAmI"), before);
  });
}

// What a server's end does to clients

async function restarts(movie, names, game, origin) {
  await check("clients come back when the server was started again, to a new session", async () => {
    const tags = [];
    for (const who of names) {
      movie.events = movie.events.filter(event => event.who !== who);
      tags.push(await movie.begin(who, "wait", []));
      await movie.call(who, "echo", [1]);
    }
    await game.kill();
    for (const who of names) await movie.toState(who, "waiting");
    await game.start(origin, game.port, game.amfPort);
    for (const [i, who] of names.entries()) {
      await movie.take(who, "session");
      await movie.take(who, "joined");
      assert.equal((await movie.toState(who, "open")).resumed, false);
      const {fault} = await movie.answer(tags[i]);
      assert.equal(fault?.code, "disconnected");
      assert.equal((await movie.call(who, "whoAmI")).name, who);
    }
  });
}

// Tokens

async function tokens(movie, port) {
  await check("a token is shown first, and a wrong one is the end", async () => {
    const quick = {firstWait: 50, longestWait: 100};
    await movie.do("guest", "open", {port, options: {...quick, token: "right ann"}});
    await movie.take("guest", "session");
    assert.equal(await movie.call("guest", "who", []), "ann");
    await movie.do("thief", "open", {port, options: {...quick, token: "stolen"}});
    const {reason} = await movie.toState("thief", "closed");
    assert.match(reason, /token was refused: wrong/);
    assert.doesNotMatch(reason, /stolen/);
  });
}

// Limits

async function limits(movie, port, deadPort, relay) {
  await check("options that are none are refused by name", async () => {
    const wrong = options => movie.run({who: "x", verb: "open", port, options});
    assert.match((await wrong({timeuot: 1})).error, /timeuot.*timeout/);
    assert.match((await wrong({offline: "maybe"})).error, /"queue" or "refuse"/);
    assert.match((await wrong({timeout: -1})).error, /timeout/);
    assert.match((await wrong({maxQueue: "much"})).error, /maxQueue/);
  });
  await check("calls and their arguments have limits", async () => {
    await movie.do("few", "open", {port, options: {pendingLimit: 2}});
    await movie.take("few", "joined");
    const tags = [await movie.begin("few", "wait", []), await movie.begin("few", "wait", [])];
    assert.equal((await movie.fault("few", "echo", [1])).code, "full");
    assert.equal((await movie.do("few", "stats")).pending, 2);
    const {error} = await movie.run({who: "few", verb: "call", method: "echo", params: 5});
    assert.match(error, /an array, or an object/);
    await movie.do("few", "close");
    for (const tag of tags) assert.equal((await movie.answer(tag)).fault.code, "closed");
    await movie.toState("few", "closed");
    assert.equal((await movie.fault("few", "echo", [1])).code, "closed");
    assert.equal(await movie.do("few", "notify", {method: "echo"}), false);
    assert.equal((await movie.do("few", "stats")).pending, 0);
  });
  await check("what waits for a connection has a limit, and attempts have", async () => {
    const options = {queueLimit: 2, attempts: 3, firstWait: 800, longestWait: 800, jitter: 0.5};
    await movie.do("lost", "open", {port: deadPort, options});
    const tags = [await movie.begin("lost", "echo", [1])];
    assert.equal(await movie.do("lost", "notify", {method: "echo", params: [1]}), true);
    assert.equal((await movie.fault("lost", "echo", [2])).code, "full");
    const {attempt} = await movie.toState("lost", "closed");
    assert.equal(attempt, 3);
    assert.equal((await movie.answer(tags[0])).fault.code, "closed");
    const {events} = movie;
    const waits = events.filter(({who, kind, value}) =>
      who === "lost" && kind === "state" && value.state === "waiting");
    assert.equal(waits.length, 3);
    assert.ok(waits.every(({value}) => value.delay >= 400 && value.delay <= 800));
  });
  await check("a network that takes nothing fills up, and empties", async () => {
    const options = {maxQueue: 20_000, heartbeat: 0, connectTimeout: 60_000};
    await movie.do("eager", "open", {port, options});
    await movie.take("eager", "joined");
    relay.hold(true);
    const push = () => movie.do("eager", "notify", {method: "echo", params: ["x".repeat(900)]});
    let count = 0;
    while (count < 100 && await push()) count++;
    assert.ok(count >= 20 && count <= 23, `${count} were taken`);
    assert.equal((await movie.fault("eager", "echo", [1])).code, "full");
    relay.hold(false);
    assert.ok(await inTime(push), "it does not empty");
    assert.equal(await movie.call("eager", "echo", ["on"]), "on");
    for (let i = 0; i < 100; i++) assert.ok(await inTime(push));
    await movie.do("eager", "close");
  });
  await check("a connection that is dead without a word is replaced", async () => {
    const options = {heartbeat: 300, connectTimeout: 1500, firstWait: 50};
    await movie.do("wary", "open", {port, options});
    await movie.take("wary", "joined");
    await movie.toState("wary", "open");
    await sleep(1000); // of which it asks, and is answered
    assert.equal((await movie.do("wary", "look")).state, "open");
    relay.hold(true);
    assert.match((await movie.toState("wary", "waiting")).reason, /silent/);
    relay.hold(false);
    assert.equal((await movie.toState("wary", "open")).resumed, true);
    await movie.do("wary", "close");
  });
  await check("a client that is closed by a listener stays closed", async () => {
    await movie.do("brief", "open", {port, closeWhen: "session"});
    await movie.toState("brief", "closed");
    assert.ok(!await movie.has("brief", "state"));
    assert.equal((await movie.do("brief", "look")).state, "closed");
  });
}

async function jsonInBothWays(movie) {
  await check("JSON in code is as the player's", async () => {
    for (const text of ['{"a":[1,-2.5,1e+21,true,false,null],"b":{}}', '[]', '"é漢🎉"', "0",
      '"\\u0000\\u0001\\u001f\\"\\\\/"', '{"":""}', '[[[[1]]]]', '"\\ud83d\\ude00\\u00e9"']) {
      const own = await movie.do("", "json", {text, isPlain: true});
      assert.deepEqual(JSON.parse(own), JSON.parse(text));
      assert.deepEqual(JSON.parse(await movie.do("", "json", {text})), JSON.parse(text));
    }
    for (const isPlain of [true, false]) {
      for (const text of ["", "{", "[1", '"a', "nul", '{"a" 1}', "[1]]"]) {
        const {error} = await movie.run({verb: "json", text, isPlain});
        assert.ok(error !== undefined, `${JSON.stringify(text)} passes`);
      }
    }
    assert.match((await movie.run({verb: "loop", isPlain: true})).error, /refers to itself/);
  });
}

// A server by hand: what is on the wire of AMF3, and what may come there. The body of a request
// that is echoed is a request to the movie, and the answer to that the answer to the first.
// (What is no AMF3 at all can't be tried: Ruffle ends the listener, beyond any catch.)
// Numbers that the player has written are as exact as it writes them.
function isAlike(a, b) {
  if (typeof a === "number" && typeof b === "number") return Math.abs(a - b) <= 1e-12 * Math.abs(b);
  if (typeof a !== "object" || a === null || b === null) return a === b;
  const names = Object.keys(a);
  return names.length === Object.keys(b).length && names.every(name => isAlike(a[name], b[name]));
}

// A step's view of the client, as the movie says it.
function toEntities({state, mine}, declared) {
  const isMap = type => Array.isArray(type) && type[0] === "map";
  const plain = (fields, table) => Object.fromEntries(Object.entries(fields).map(([name, value]) => {
    const [, type] = [...table.fields ?? [], ...table.private ?? []].find(([one]) => one === name);
    return [name, isMap(type) ? Object.fromEntries(value) : value];
  }));
  const maps = declared.maps ?? [];
  const own = Object.fromEntries(Object.entries(state)
    .filter(([name]) => !maps.some(map => map.name === name)));
  const entities = maps.flatMap(map => state[map.name].map(([key, fields]) =>
    [map.name, key, plain(fields, map), mine[map.name].includes(key)]));
  return [["", "", plain(own, declared), false], ...entities];
}

// Of a number's exponent Ruffle's parseFloat reads little, so in JSON these are ones.
function tame(step) {
  return JSON.parse(JSON.stringify(step), (_, value) => typeof value === "number" && value !== 0 &&
    Math.abs(Math.log10(Math.abs(value))) > 30 ? 1 : value);
}

const inOrder = list => list.map(one => JSON.stringify(one)).sort();

async function patches(movie) {
  for (const {file, join, steps} of vectors) {
    for (const form of ["binary", "json"]) {
      await check(`the vectors of ${file}, in ${form}`, async () => {
        await movie.do("movie", "state", {declared: join.state});
        let before;
        for (const given of steps) {
          const step = form === "json" ? tame(given) : given;
          if (step.refused && form === "json") continue;
          const {view, told, refused} = await movie.do("movie", "patch",
            form === "json" ? {object: step.json} : {hex: step.binary});
          if (step.refused) {
            assert.ok(refused, step.refused);
            assert.deepEqual(view, before, step.refused);
            continue;
          }
          assert.equal(refused, undefined, step.what);
          const byKey = ([a, b], [c, d]) => a < c || a === c && String(b) < String(d) ? -1 : 1;
          const wanted = toEntities(step, join.state).sort(byKey);
          const found = view.entities.sort(byKey);
          if (!found.some(([table]) => table === "")) wanted.shift();
          assert.ok(isAlike(found, wanted), `${step.what}: ${JSON.stringify(found)}`);
          assert.deepEqual([view.tick, view.input], [step.tick, step.input]);
          assert.deepEqual(inOrder(told.map(({what, table, key, detail}) => [what, table, key,
            ...detail === null ? [] : [Array.isArray(detail) ? detail.sort() : detail]])),
          inOrder(step.told), step.what);
          before = view;
        }
      });
    }
  }
}

const FUZZ_BATCH = 500; // at once, so that the movie goes on in between

async function mutated(movie) {
  await check(`${FUZZ} mutated patches are taken or refused`, async () => {
    let refused = 0;
    for (let done = 0; done < FUZZ; done += FUZZ_BATCH) {
      const {join, steps} = vectors[(done / FUZZ_BATCH) % vectors.length];
      const result = await movie.do("movie", "fuzz", {declared: join.state, count: FUZZ_BATCH,
        steps: steps.map(({binary}) => binary), seed: Number(SEED) + done});
      assert.equal(result.broken, undefined);
      refused += result.refused;
    }
    assert.ok(refused > FUZZ / 8 && refused < FUZZ, `${refused} of ${FUZZ} were refused`);
  });
}

// `other` is a client in JavaScript.
async function rooms(movie, who, other) {
  await check(`${who}: a room has its state, calls and events`, async () => {
    await movie.do(who, "enter", {joining: who});
    const id = await movie.take(who, "entered");
    assert.deepEqual(await movie.take(who, "add"), [id, who, "new"]);
    assert.equal(await movie.take(who, "named"), who);
    const {own, ...seen} = await movie.do(who, "room");
    assert.deepEqual(seen, {isIn: true, phase: "play", count: 1, mine: true, taken: 0});
    assert.deepEqual(own, {name: who, x: 0, hand: [id]});

    const room = await other.join("Arena", "bob");
    assert.deepEqual(await movie.take(who, "add"), [room.member, "bob", "new"]);
    await room.call("move", 2.5);
    assert.deepEqual(await movie.take(who, "change"), [room.member, ["x"], 2.5]);
    await room.leave();
    assert.deepEqual(await movie.take(who, "remove"), [room.member, "gone"]);

    assert.equal(await movie.do(who, "roomInput", {method: "move", params: [4]}), 1);
    assert.deepEqual(await movie.take(who, "change"), [id, ["x"], 4]);
    assert.ok(await inTime(async () => (await movie.do(who, "room")).taken === 1));
    await movie.do(who, "roomCall", {method: "hit", params: [], tag: "hit"});
    assert.equal(await movie.take(who, "hit"), id);
  });
  await check(`${who}: a room is left, refused, and closed for a member`, async () => {
    await movie.do(who, "leave");
    assert.equal((await movie.do(who, "room")).isIn, false);
    await movie.do(who, "enter", {joining: "not today"});
    assert.equal((await movie.take(who, "fault")).message, "not today");
    await movie.do(who, "enter", {joining: who});
    await movie.take(who, "entered");
    await movie.do(who, "roomCall", {method: "kick", params: [], tag: "kick"});
    assert.equal(await movie.take(who, "roomLeft"), "enough");
    movie.events = movie.events.filter(event => event.who !== who);
  });
}

async function amfByHand(movie, stand) {
  await check("AMF3: a length of 4 bytes and one object, echoed with a bad one before", async () => {
    let seen = Buffer.alloc(0);
    stand.on("connection", client => {
      client.on("error", () => {});
      let rest = Buffer.alloc(0);
      client.on("data", bytes => {
        seen = Buffer.concat([seen, bytes]);
        rest = Buffer.concat([rest, bytes]);
        if (seen.length === bytes.length) { // sync.ping: {id: "hello", result: true}
          client.write(Buffer.concat([Buffer.from([0, 0, 0, 22, 0x0a, 0x0b, 0x01]),
            Buffer.from("\x05id\x06\x0bhello\x0dresult\x03\x01", "latin1")]));
          rest = rest.subarray(4 + rest.readUInt32BE(0));
        }
        while (rest.length >= 4 && rest.length >= 4 + rest.readUInt32BE(0)) {
          const size = 4 + rest.readUInt32BE(0);
          const message = rest.subarray(0, size);
          rest = rest.subarray(size);
          client.write(Buffer.from([0, 0, 0, 0]));             // nothing
          client.write(Buffer.from([0, 0, 0, 2, 0x01, 0x01])); // two values
          client.write(Buffer.from([0, 0, 0, 2, 0x04]));
          client.write(Buffer.from([0x05]));                   // a number, in two pieces
          client.write(Buffer.concat([Buffer.from([0, 1, 0, 0]), Buffer.alloc(65536, 0x41)]));
          for (const byte of message) client.write(Buffer.from([byte]));
        }
      });
    });
    const {port} = stand.address();
    const options = {transport: "amf", maxReceived: 4000, reconnect: false};
    await movie.do("echo", "open", {port, options});
    await movie.toState("echo", "open");
    await movie.do("echo", "handle");
    assert.deepEqual(await movie.call("echo", "laterAtOnce", ["é漢🎉"]), "é漢🎉");
    const size = seen.readUInt32BE(0);
    assert.deepEqual([...seen.subarray(4, 7)], [0x0a, 0x0b, 0x01], "no anonymous object");
    assert.equal(seen[3 + size], 0x01, "the object does not end with its message");
    assert.ok(seen.includes("\x0fjsonrpc\x06\x072.0"));
    const problems = movie.events.filter(({who, kind}) => who === "echo" && kind === "error")
      .map(({value}) => value.message);
    for (const wanted of [/an empty message/, /more than one/, /no JSON-RPC/, /65536.*maxReceived/]) {
      assert.ok(problems.some(text => wanted.test(text)), `${wanted}: ${problems}`);
    }
    assert.ok((await movie.do("echo", "stats")).unreadable >= 4);
    await movie.do("echo", "close");
  });
}

// A server by hand that goes when two calls are in work. The one that comes after it has of its
// journal the answer to the first, and no more.
async function losesCalls(movie, stand) {
  await check("a server that has gone: calls in work fail, but for one whose answer was missed",
    async () => {
      let first;
      stand.on("connection", client => {
        const say = message => client.send(
          Buffer.from(`${JSON.stringify({jsonrpc: "2.0", ...message})}\0`));
        const greet = token => say({method: "sync.session", params: [{token, time: 20}]});
        const act = {
          "sync.resume"(id) {
            say({id, result: {resumed: true, missed: 1, callsLost: true}});
            say({id: first, result: "in time"});
            greet("new");
          },
          wait: id => { if (first === undefined) first = id; else client.terminate(); },
        };
        let rest = "";
        client.on("message", bytes => {
          const texts = (rest + bytes).split("\0");
          rest = texts.pop();
          for (const {id, method} of texts.map(text => JSON.parse(text))) {
            if (act[method]) act[method](id); else say({id, result: method});
          }
        });
        greet("old");
      });
      await movie.do("orphan", "open", {port: stand.address().port, options: {firstWait: 50}});
      await movie.toState("orphan", "open");
      const [kept, lost] = [await movie.begin("orphan", "wait"), await movie.begin("orphan", "wait")];
      assert.deepEqual(await movie.answer(kept), {result: "in time"});
      const {fault} = await movie.answer(lost);
      assert.deepEqual([fault.code, fault.message], ["disconnected",
        "wait: the server that it was sent to has gone: the call may have been done, or not"]);
      assert.equal((await movie.toState("orphan", "open")).resumed, true);
      assert.equal(await movie.call("orphan", "later"), "later");
      await movie.do("orphan", "close");
    });
}

// NetConnection

async function gateway(movie, port) {
  const url = `http://127.0.0.1:${port}/gateway`;
  const call = async (method, ...params) => {
    const tag = `gateway ${++movie.lastTag}`;
    await movie.do("", "gateway", {method, params, tag});
    return movie.answer(tag);
  };
  await check("NetConnection: join gets its result", async () => {
    await movie.do("", "gateway", {url, method: "join", params: ["ann"], tag: "gateway 0"});
    const {result} = await movie.answer("gateway 0");
    assert.equal(typeof result, "number");
  });
  await check("NetConnection: a service may be named, and values come back", async () => {
    assert.equal(typeof (await call("Game.join", "bea")).result, "number");
    for (const value of ["é 漢 🎉", 1.5, true, [1, 2, [3]], {a: {b: "c"}}]) {
      assert.deepEqual((await call("echo", value)).result, value);
    }
  });
  await check("NetConnection: a fault has code, description and details", async () => {
    const {fault} = await call("refuse", 7, "not now", {until: "noon"});
    assert.equal(String(fault?.code), "7");
    assert.equal(fault.description, "not now");
    assert.deepEqual(fault.details, {until: "noon"});
    assert.equal(String((await call("close")).fault?.code), "-32601");
    const crash = (await call("crash")).fault;
    assert.equal(String(crash?.code), "-32603");
    assert.doesNotMatch(JSON.stringify(crash), /the text of the log/);
  });
}

// ActionScript 2

// The page's code as it stands, with XMLSocket by hand: it is ECMAScript of the third edition.
async function actionScript2(port, friend) {
  await check("the code of as2.md joins, gets events and faults, and answers", async () => {
    const page = readFileSync(path.join(root, "clients/flash/as2.md"), "utf8");
    const codes = [...page.matchAll(/```actionscript\n([^]*?)```/g)].map(([, code]) => code);
    assert.ok(codes.length >= 1, "no code in as2.md");
    const seen = [];
    class XMLSocket {
      connect(host, to) {
        let rest = "";
        this.socket = net.connect(to, host, () => this.onConnect(true));
        this.socket.setEncoding("utf8").on("data", text => {
          const texts = (rest + text).split("\0");
          rest = texts.pop();
          for (const one of texts) this.onData(one);
        });
        this.socket.on("error", () => {});
        this.socket.on("close", () => this.onClose());
        return true;
      }

      send(text) { this.socket.write(`${text}\0`); }
      close() { this.socket.destroy(); }
    }
    const context = vm.createContext({XMLSocket, trace: text => seen.push(String(text)),
      setTimeout, clearTimeout, setInterval, clearInterval});
    for (const code of codes) vm.runInContext(code.replaceAll("8080", String(port)), context);
    const saw = async pattern => assert.ok(
      await inTime(() => seen.some(text => pattern.test(text))), `${pattern}: ${seen}`);
    await saw(/^we are \d+$/);
    await friend.server.join("carl \u0001\"é🎉");
    await saw(/^carl \u0001"é🎉 is here$/);
    vm.runInContext(`game.call("refuse", [7, "not now", null], null,
      function(fault) { trace("fault " + fault.code + " " + fault.message); });
      game.handlers.add = function(a, b) { return a + b; };
      game.call("askMe", ["add", 1, 2], function(answer) { trace("asked " + answer.result); });
      game.call("askMe", ["none"], function(answer) { trace("asked " + answer.code); });
      game.call("echo", [{list: [1, -2.5, true, null, "a\\u0000\\"\\\\"], o: {}}],
        function(value) { trace("echo " + toJson(value)); });`, context);
    await saw(/^fault 7 not now$/);
    await saw(/^asked 3$/);
    await saw(/^asked -32601$/);
    await saw(/^echo /);
    const echo = seen.find(text => text.startsWith("echo "));
    assert.deepEqual(JSON.parse(echo.slice(5)),
      {list: [1, -2.5, true, null, "a\u0000\"\\"], o: {}});
    vm.runInContext("game.close();", context);
  });
}

async function main() {
  compile();
  writeFileSync(path.join(built, "console.log"), "");
  const origin = await servePages();
  const game = new Game();
  await game.start(origin, await freePort(), await freePort());
  const [relay, amfRelay] = [new Relay(), new Relay()];
  await relay.start(game.port);
  await amfRelay.start(game.amfPort);
  const stand = net.createServer().listen(0, "127.0.0.1");
  await once(stand, "listening");
  const orphans = new WebSocket.Server({port: 0, host: "127.0.0.1"}); // as which Ruffle sees it
  await once(orphans, "listening");
  const closed = net.createServer().listen(0, "127.0.0.1");
  await once(closed, "listening");
  const deadPort = closed.address().port;
  closed.close();

  // To the stand-in Ruffle needs a WebSocket, too.
  const standProxy = new WebSocket.Server({port: 0, host: "127.0.0.1"});
  await once(standProxy, "listening");
  standProxy.on("connection", socket => {
    const target = net.connect(stand.address().port, "127.0.0.1");
    target.on("data", bytes => socket.send(bytes));
    socket.on("message", bytes => target.write(bytes));
    socket.on("close", () => target.destroy());
  });
  const proxy = (port, to) => ({host: "127.0.0.1", port,
    proxyUrl: `ws://127.0.0.1:${to}/?stream`});
  const proxies = [proxy(game.port, relay.port), proxy(game.amfPort, amfRelay.port),
    proxy(stand.address().port, standProxy.address().port), proxy(deadPort, deadPort),
    proxy(orphans.address().port, orphans.address().port),
    proxy(game.guardedPort, game.guardedPort)];

  const friend = await connect(`ws://127.0.0.1:${game.port}`, {WebSocket});
  await friend.server.join("bob");
  friend.onSession(() => friend.server.join("bob"));
  const browser = await openBrowser();
  atEnd(() => browser.close());
  const quick = {firstWait: 100, longestWait: 300};

  const movie = new Movie();
  await check("the movie runs", () => movie.open(browser, origin, "flashgame.swf", proxies));
  await jsonInBothWays(movie);
  await joins(movie, "ann", game.port, quick);
  await calls(movie, "ann");
  await hears(movie, "ann", friend);
  await isCalled(movie, "ann");
  await patches(movie);
  await mutated(movie);
  await rooms(movie, "ann", friend);
  await resumes(movie, "ann", relay, friend, game);
  await goesAway(movie, "ann", friend);
  await limits(movie, game.port, deadPort, relay);
  await tokens(movie, game.guardedPort);
  await amfByHand(movie, stand);
  await losesCalls(movie, orphans);
  await joins(movie, "amy", game.amfPort, {...quick, transport: "amf"});
  await calls(movie, "amy");
  await hears(movie, "amy", friend);
  await isCalled(movie, "amy");
  await rooms(movie, "amy", friend);
  await resumes(movie, "amy", amfRelay, friend, game);
  await goesAway(movie, "amy", friend);
  await restarts(movie, ["ann", "amy"], game, origin);
  await gateway(movie, game.port);
  await movie.page.close();

  for (const [who, swf, parameters] of [["linked", "linked.swf", {}],
    ["loaded", "linked.swf", {library: "library.swf"}]]) {
    const other = new Movie();
    await check(`the movie ${who} with the SWC runs`,
      () => other.open(browser, origin, swf, proxies, parameters));
    if (who === "loaded") await jsonInBothWays(other);
    await joins(other, who, game.port, quick);
    await calls(other, who);
    await hears(other, who, friend);
    await isCalled(other, who);
    if (who === "loaded") await patches(other);
    await rooms(other, who, friend);
    await resumes(other, who, relay, friend, game);
    await goesAway(other, who, friend);
    await other.page.close();
  }
  await actionScript2(game.port, friend);
  friend.close();
  await finish();
}

await main();
