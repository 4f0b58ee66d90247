// TLS as its users meet it: a page by https and its wss in Chromium, npm ws, curl, plain and
// encrypted byte streams, all on one port; certificates by name, and renewed under way.
//
//   node spec/browser/secure.mjs ./sync-lua
//
// Ends with a line `N passed, N failed`, and with 1 when one has failed.

import assert from "node:assert/strict";
import {execFileSync, spawn} from "node:child_process";
import {mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync} from "node:fs";
import net from "node:net";
import os from "node:os";
import path from "node:path";
import tls from "node:tls";
import {fileURLToPath} from "node:url";
import {atEnd, check, configure, finish, inTime, program} from "../support/checks.mjs";
import {installed} from "./clients.mjs";

const {chromium} = installed("playwright-core");
const WebSocket = installed("ws");
const here = path.dirname(fileURLToPath(import.meta.url));
const folder = mkdtempSync(path.join(os.tmpdir(), "sync-secure-"));

configure({limit: 110_000, checkLimit: 20_000, patience: 10_000});

// A self-signed certificate for a name.
function certify(file, name) {
  execFileSync("openssl", ["req", "-x509", "-newkey", "ec", "-pkeyopt",
    "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2", "-subj", `/CN=${name}`, "-addext",
    `subjectAltName=DNS:${name},IP:127.0.0.1`, "-keyout", path.join(folder, `${file}.key`),
    "-out", path.join(folder, `${file}.pem`)], {stdio: "ignore"});
}

// What a client collects of a stream's lines.
function collect(stream) {
  const lines = [];
  let rest = "";
  stream.on("data", chunk => {
    const parts = (rest + chunk).split("\n");
    rest = parts.pop();
    lines.push(...parts);
  });
  stream.on("error", () => {});
  return lines;
}

async function got(list, text) {
  assert.ok(await inTime(() => list.includes(text)), `${text} is not in ${JSON.stringify(list)}`);
  assert.equal(list.filter(line => line === text).length, 1, `${text} came twice`);
}

function subject(port, servername, options = {}) {
  return new Promise((resolve, reject) => {
    const socket = tls.connect({port, host: "127.0.0.1", servername, rejectUnauthorized: false,
      ...options});
    socket.on("secureConnect", () => {
      const seen = socket.getPeerCertificate(); // empty when the session was resumed
      resolve({name: seen.subject?.CN, fingerprint: seen.fingerprint256,
        protocol: socket.getProtocol(), socket});
    });
    socket.on("error", reject);
  });
}

certify("default", "localhost");
certify("other", "other.example");
mkdirSync(path.join(folder, "web"));
writeFileSync(path.join(folder, "web", "index.html"), `<!doctype html><title>wss</title><script>
  const got = [], socket = new WebSocket(location.origin.replace("http", "ws"));
  socket.onmessage = event => got.push(event.data);
  socket.onclose = event => got.push("closed " + event.code);
</script>`);

const server = spawn(program, [path.join(here, "secure.lua"), folder],
  {stdio: ["ignore", "pipe", "pipe"]});
const said = collect(server.stdout);
const logged = collect(server.stderr);
let browser;
atEnd(async () => {
  await browser?.close();
  server.kill("SIGKILL");
  rmSync(folder, {recursive: true, force: true, maxRetries: 5});
});

await inTime(() => said.length > 0);
const port = Number(said[0]);

await check("the server starts", () => assert.ok(port > 0, logged.join("\n")));

const plain = net.connect(port, "127.0.0.1");
const plainGot = collect(plain);
plain.write("from nc\n");
await check("a plain byte stream", () => got(plainGot, "plain tcp from nc"));

const first = await subject(port, "localhost");
const secureGot = collect(first.socket);
await check("an encrypted byte stream on the same port", async () => {
  assert.equal(first.protocol, "TLSv1.3");
  first.socket.write("from TLS\n");
  await got(secureGot, "secure tcp from TLS");
  await got(plainGot, "secure tcp from TLS");
});

const ws = new WebSocket(`wss://127.0.0.1:${port}/`, {rejectUnauthorized: false});
const wsGot = [];
ws.on("message", data => wsGot.push(data.toString()));
ws.on("error", error => wsGot.push(error.message));
await check("npm ws by wss", async () => {
  assert.ok(await inTime(() => ws.readyState === WebSocket.OPEN));
  ws.send("é from ws");
  await got(wsGot, "secure websocket é from ws");
  await got(plainGot, "secure websocket é from ws");
});

browser = await chromium.launch({
  executablePath: process.env.CHROMIUM || "/usr/bin/chromium",
  args: ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--ignore-certificate-errors"],
});
const page = await browser.newPage({ignoreHTTPSErrors: true});
await check("Chromium: the page by https, and wss to the same port", async () => {
  await page.goto(`https://127.0.0.1:${port}/`);
  await page.waitForFunction("socket.readyState === 1");
  await page.evaluate("socket.send('漢字 from a page')");
  await page.waitForFunction("got.includes('secure websocket 漢字 from a page')");
  await got(secureGot, "secure websocket 漢字 from a page");
  await got(wsGot, "secure websocket 漢字 from a page");
});

await check("a large message through TLS", async () => {
  const text = "0123456789abcdef".repeat(4000);
  ws.send(text);
  await got(secureGot, `secure websocket ${text}`);
});

await check("curl by https trusts the certificate that it is given", () => {
  const answer = execFileSync("curl", ["-s", "--cacert", path.join(folder, "default.pem"),
    `https://127.0.0.1:${port}/healthz`]).toString();
  assert.equal(answer, "ok\n");
});

await check("the certificate is the one for the name that is asked for", async () => {
  const names = [];
  for (const name of ["localhost", "other.example", "unknown.example"]) {
    const seen = await subject(port, name);
    names.push(seen.name);
    seen.socket.destroy();
  }
  assert.deepEqual(names, ["localhost", "other.example", "localhost"]);
});

await check("TLS 1.2 is spoken, and 1.1 is not", async () => {
  const seen = await subject(port, "localhost", {maxVersion: "TLSv1.2"});
  assert.equal(seen.protocol, "TLSv1.2");
  seen.socket.destroy();
  await assert.rejects(subject(port, "localhost", {minVersion: "TLSv1", maxVersion: "TLSv1.1",
    ciphers: "DEFAULT@SECLEVEL=0"}));
});

await check("SIGHUP loads new certificates, and connected clients notice nothing", async () => {
  certify("default", "renewed.example");
  server.kill("SIGHUP");
  let seen;
  assert.ok(await inTime(async () => {
    seen = await subject(port, "localhost");
    seen.socket.destroy();
    return seen.name === "renewed.example";
  }));
  assert.notEqual(seen.fingerprint, first.fingerprint);
  first.socket.write("still here\n");
  await got(wsGot, "secure tcp still here");
  await page.waitForFunction("got.includes('secure tcp still here')");
});

await check("certificates that are no good are named, and the old ones stay", async () => {
  const good = readFileSync(path.join(folder, "default.key"));
  writeFileSync(path.join(folder, "default.key"), "nonsense");
  server.kill("SIGHUP");
  assert.ok(await inTime(() => logged.some(line => line.includes("keeps its certificates"))));
  writeFileSync(path.join(folder, "default.key"), good);
  const seen = await subject(port, "localhost");
  seen.socket.destroy();
  assert.equal(seen.name, "renewed.example");
});

await check("a session is resumed", async () => {
  const seen = await subject(port, "localhost", {maxVersion: "TLSv1.2"});
  const session = seen.socket.getSession();
  seen.socket.destroy();
  const again = await subject(port, "localhost", {maxVersion: "TLSv1.2", session});
  assert.ok(again.socket.isSessionReused());
  again.socket.destroy();
});

await check("garbage after the first bytes of TLS costs only its own client", async () => {
  const socket = net.connect(port, "127.0.0.1");
  socket.on("error", () => {});
  const closed = new Promise(resolve => socket.on("close", resolve));
  socket.write(Buffer.concat([Buffer.from([0x16, 0x03, 0x01, 0x00, 0x30]), Buffer.alloc(48, 7)]));
  socket.resume();
  await closed;
  plain.write("and on\n");
  await got(plainGot, "plain tcp and on");
});

await check("SIGTERM closes everyone, and the server exits with 0", async () => {
  const exit = new Promise(resolve => server.on("exit", resolve));
  server.kill("SIGTERM");
  await page.waitForFunction("got.includes('closed 1001')");
  assert.equal(await exit, 0);
});

await finish();
