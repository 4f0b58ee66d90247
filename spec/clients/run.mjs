// JSON-RPC clients that others have written, unmodified: rpc-websockets over WebSocket, and
// json-rpc-2.0 over WebSocket and over TCP, a line a message.
//
//   node spec/clients/run.mjs ./sync-lua
//
// Installs the clients from npm into build/clients, if they aren't there. Ends with a line
// `N passed, N failed`, and with 1 when one has failed.

import assert from "node:assert/strict";
import {execFileSync, spawn} from "node:child_process";
import {once} from "node:events";
import {existsSync, mkdirSync, readFileSync, writeFileSync} from "node:fs";
import {createRequire} from "node:module";
import net from "node:net";
import path from "node:path";
import readline from "node:readline";
import {fileURLToPath} from "node:url";
import {check, configure, finish, program} from "../support/checks.mjs";

const PACKAGES = ["json-rpc-2.0@1.8.1", "rpc-websockets@10.0.1", "ws@8.23.0"];

const here = path.dirname(fileURLToPath(import.meta.url));
const folder = path.resolve(here, "../../build/clients");

// A list beside the packages tells which were installed last.
function install() {
  const list = path.join(folder, "packages");
  const wanted = PACKAGES.join("\n");
  if (existsSync(list) && readFileSync(list, "utf8") === wanted) return;
  mkdirSync(folder, {recursive: true});
  execFileSync("npm", ["install", "--prefix", folder, "--silent", "--no-save", "--no-audit",
    "--no-fund", ...PACKAGES], {stdio: "inherit", timeout: 120_000});
  writeFileSync(list, wanted);
}

try {
  install();
} catch (error) {
  console.error(`npm could not install ${PACKAGES.join(" ")} into ${folder}: ${error.message}`);
  process.exit(1);
}

const require = createRequire(path.join(folder, "package.json"));
const {JSONRPCClient, JSONRPCServer, JSONRPCServerAndClient} = require("json-rpc-2.0");
const {Client: RpcWebSocket} = require("rpc-websockets");
const WebSocket = require("ws");

configure({limit: 110_000, checkLimit: 20_000});

// The server

async function startServer() {
  const server = spawn(program, [path.join(here, "game.lua")], {stdio: ["ignore", "pipe", "pipe"]});
  process.once("exit", () => server.kill("SIGKILL"));
  let trouble = "";
  server.stderr.setEncoding("utf8").on("data", text => { trouble += text; });
  const line = await Promise.race([
    once(readline.createInterface(server.stdout), "line").then(([text]) => text),
    once(server, "exit").then(() => { throw new Error(`the server did not start: ${trouble}`); }),
  ]);
  return {server, port: Number(line.split("\t")[1]), trouble: () => trouble};
}

// The clients. To the checks they are alike: call(name, params), notify(name, params),
// batch([[name, params]]), which is absent where the client has none, and `events`, a list of
// [name, params]. What a call fails with has a code, a message and data.

class Events {
  events = [];

  // Takes the next event; what comes before is an error.
  async next() {
    while (this.events.length === 0) await new Promise(resolve => setTimeout(resolve, 2));
    return this.events.shift();
  }
}

class RpcWebSockets extends Events {
  name = "rpc-websockets";

  async open(port) {
    this.client = new RpcWebSocket(`ws://127.0.0.1:${port}/`, {reconnect: false});
    for (const name of ["onJoin", "onSay"]) {
      this.client.on(name, params => this.events.push([name, params]));
    }
    await once(this.client, "open");
  }

  call(name, params) { return this.client.call(name, params); }
  notify(name, params) { return this.client.notify(name, params); }
  close() { this.client.close(); }
}

class JsonRpc2 extends Events {
  // `connect` makes a connection of a port: it resolves to {send(text), close()}, and calls
  // its second argument with each text that comes.
  constructor(name, connect) {
    super();
    this.name = name;
    this.connect = connect;
    const send = payload => this.connection.send(JSON.stringify(payload));
    this.peer = new JSONRPCServerAndClient(new JSONRPCServer(), new JSONRPCClient(send));
    for (const event of ["onJoin", "onSay"]) {
      this.peer.addMethod(event, params => { this.events.push([event, params]); });
    }
    this.peer.addMethod("question", ([text]) => `${text}? yes`);
  }

  async open(port) {
    this.connection = await this.connect(port, text => this.peer.receiveAndSend(JSON.parse(text)));
  }

  call(name, params) { return this.peer.request(name, params); }
  notify(name, params) { return this.peer.notify(name, params); }
  close() { this.connection.close(); }

  batch(calls) {
    return this.peer.requestAdvanced(calls.map(([method, params], i) =>
      ({jsonrpc: "2.0", id: `batch ${i}`, method, params})));
  }
}

async function overWebSocket(port, receive) {
  const socket = new WebSocket(`ws://127.0.0.1:${port}/`);
  socket.on("message", (bytes, isBinary) => {
    assert.equal(isBinary, false);
    receive(bytes.toString());
  });
  await once(socket, "open");
  return socket;
}

async function overLines(port, receive) {
  const socket = net.connect(port, "127.0.0.1");
  await once(socket, "connect");
  readline.createInterface({input: socket, crlfDelay: Infinity}).on("line", receive);
  return {send: text => socket.write(`${text}\n`), close: () => socket.end()};
}

// Fails unless the call fails so.
async function fails(call, wanted) {
  const error = await call.then(result => {
    throw new Error(`it returned ${JSON.stringify(result)}`);
  }, reason => reason);
  for (const [key, value] of Object.entries(wanted)) assert.deepEqual(error[key], value);
}

async function callsWork(client) {
  const it = (what, fn) => check(`${client.name}: ${what}`, fn);

  await it("parameters by position, and results of each kind", async () => {
    assert.equal(await client.call("subtract", [42, 23]), 19);
    const values = [1, -2.5, "é漢🎉 \"\\\n\u0000", true, [1, [2, null]], {a: {b: "c"}}];
    assert.deepEqual(await client.call("echo", values), values);
    assert.equal(await client.call("nothing"), null);
  });
  await it("parameters by name", async () => {
    assert.equal(await client.call("subtract", {subtrahend: 23, minuend: 42}), 19);
    assert.deepEqual(await client.call("echo", {a: 1}), [{a: 1}]);
  });
  await it("a long text", async () => {
    const text = "漢🎉 ".repeat(4000);
    assert.deepEqual(await client.call("echo", [text]), [text]);
  });
  await it("many calls at once get each its answer", async () => {
    const numbers = Array.from({length: 500}, (_, i) => i);
    const results = await Promise.all(numbers.map(i => client.call("subtract", [i, 1])));
    assert.deepEqual(results, numbers.map(i => i - 1));
  });
  await it("an answer that comes later, and one that overtakes it", async () => {
    const order = [];
    const slow = client.call("slow", [0.2]).then(result => order.push(result));
    await client.call("nothing").then(() => order.push("quick"));
    await slow;
    assert.deepEqual(order, ["quick", "at last"]);
  });
}

async function errorsAreTold(client) {
  const it = (what, fn) => check(`${client.name}: ${what}`, fn);

  await it("a fault, with its code and message", () =>
    fails(client.call("fail"), {code: 42, message: "not your turn"}));
  await it("an error in a function, without its text", () =>
    fails(client.call("crash"), {code: -32603, message: "internal error"}));
  await it("wrong arguments, by name", async () => {
    await fails(client.call("subtract", [1, "2"]), {code: -32602,
      message: "argument 2 (subtrahend) must be a number, and is a string"});
    await fails(client.call("subtract", {minuend: 1, other: 2}), {code: -32602,
      message: "there is no argument \"other\""});
  });
  await it("no function for what isn't on remote", async () => {
    for (const name of ["send", "onData", "__index", "no such"]) {
      await fails(client.call(name), {code: -32601});
    }
  });
}

async function batchesWork(client) {
  await check(`${client.name}: a batch`, async () => {
    const answers = await client.batch([["subtract", [5, 3]], ["fail"], ["echo", ["x"]]]);
    assert.deepEqual(answers, [
      {jsonrpc: "2.0", id: "batch 0", result: 2},
      {jsonrpc: "2.0", id: "batch 1",
        error: {code: 42, message: "not your turn", data: {next: "bob"}}},
      {jsonrpc: "2.0", id: "batch 2", result: ["x"]},
    ]);
  });
  await check(`${client.name}: the server's call is answered by the client`, async () => {
    assert.equal(await client.call("askMe", ["ready"]), "you said ready? yes");
  });
}

async function eventsReachAll(clients, transports) {
  for (const [i, client] of clients.entries()) {
    await check(`an event that ${client.name} sets off reaches all`, async () => {
      assert.equal(await client.call("join", [client.name]), clients.length);
      for (const each of clients) {
        assert.deepEqual(await each.next(), ["onJoin", [client.name, transports[i]]]);
      }
    });
    await check(`a notification of ${client.name} is no call, and sets events off`, async () => {
      const texts = ["one", "two", "é漢🎉"];
      for (const text of texts) await client.notify("say", [text]);
      for (const each of clients) {
        for (const text of texts) {
          assert.deepEqual(await each.next(), ["onSay", [{from: client.name, text}]]);
        }
      }
    });
  }
}

async function main() {
  const {server, port, trouble} = await startServer();
  const clients = [
    new RpcWebSockets(),
    new JsonRpc2("json-rpc-2.0 over WebSocket", overWebSocket),
    new JsonRpc2("json-rpc-2.0 over TCP", overLines),
  ];
  for (const client of clients) await check(`${client.name} connects`, () => client.open(port));
  for (const client of clients) {
    await callsWork(client);
    await errorsAreTold(client);
    if (client.batch) await batchesWork(client);
  }
  await eventsReachAll(clients, ["websocket", "websocket", "tcp"]);
  await check("nobody got an event twice, and the log has the crashes' text alone", async () => {
    await Promise.all(clients.map(client => client.call("nothing")));
    for (const client of clients) assert.deepEqual(client.events, [], client.name);
    const errors = trouble().split("\n").filter(line => / (ERROR|WARN) /.test(line));
    assert.equal(errors.length, clients.length, trouble());
    for (const line of errors) assert.match(line, /this text stays in the log/);
  });
  await check("the server ends well", async () => {
    for (const client of clients) client.close();
    const ended = once(server, "exit");
    server.kill("SIGTERM");
    assert.deepEqual(await ended, [0, null]);
  });
  await finish();
}

await main();
