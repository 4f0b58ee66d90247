// Nodes behind nginx and HAProxy, with the configurations of examples/balancers/: only their
// addresses are others here, and their times shorter.
//
//   sh spec/browser/install.sh
//   node spec/cluster/balancers.mjs ./sync-lua
//
// Wants nginx with its stream module, haproxy and redis-server. Ends with a line
// `N passed, N failed`, and with 1 when one has failed.

import assert from "node:assert/strict";
import {mkdtempSync, readFileSync, rmSync, writeFileSync} from "node:fs";
import net from "node:net";
import os from "node:os";
import path from "node:path";
import {fileURLToPath} from "node:url";
import * as sync from "../../clients/js/sync.js";
import {installed} from "../browser/clients.mjs";
import {atEnd, check, configure, finish, program, sleep, until} from "../support/checks.mjs";
import {Redis, endAll, kill, start} from "./servers.mjs";

const WebSocket = installed("ws");
const SILENCE = 4; // seconds until a balancer cuts a connection on which nothing comes
const PING = 1;    // the nodes' pingInterval
const folder = mkdtempSync(path.join(os.tmpdir(), "sync-balancers-"));

configure({limit: 110_000});

const balancers = [];

// nginx ends its worker processes when it is told to stop, not when it's killed.
atEnd(async () => {
  await Promise.all(balancers.map(({process}) => process && kill(process, "SIGTERM")));
  await endAll();
  rmSync(folder, {recursive: true, force: true});
});

// Nodes.

const script = path.join(folder, "node.lua");
writeFileSync(script, `
local sync = require "sync"
local Game = sync.Remote:extend("Game")
Game.framing, Game.resumeTime = "line", 20

function Game:onConnect(request)
  self.from = request and request.headers["x-forwarded-for"]
end

function Game.remote:where() return sync.cluster.node end
function Game.remote:origin() return self.from end
function Game.remote:say(text) self.clients:fire("onSay", text) end
function Game.remote:enter(room) return self:join(room) end
function Game.remote.tell(_, room, text) Game:room(room):fire("onTold", text) end

local port, ping = ...
Game.pingInterval, Game.pongTimeout = tonumber(ping) or false, 2
sync.enable("127.0.0.1", tonumber(port), Game)
sync.start()
`);

class Node {
  static async start(url, port, ping = PING) {
    const node = new Node();
    Object.assign(node, {url, port, ping});
    await node.begin();
    return node;
  }

  async begin() {
    this.process = start(program, [`--cluster=${this.url}`, script, String(this.port),
      this.ping ? String(this.ping) : "never"]);
    await until("a node listens", () => this.process.trouble.includes("Game listens on"));
    await until("it is a client of Redis", () => this.process.trouble.includes("connected"));
    const client = connect(this.port);
    this.number = await client.call("where");
    client.close();
  }
}

// Clients.

function connect(port) {
  return sync.client(`ws://127.0.0.1:${port}/`, {WebSocket, timeout: 3000,
    reconnect: {first: 50, most: 500}});
}

// A client by plain TCP, that speaks JSON-RPC in lines.
class TcpClient {
  said = [];
  #answers = [];
  #rest = "";
  isClosed = false;

  constructor(port) {
    this.socket = net.connect(port, "127.0.0.1");
    this.socket.setEncoding("utf8").on("data", text => this.#take(text));
    this.socket.on("error", () => {});
    this.socket.on("close", () => { this.isClosed = true; });
  }

  #take(text) {
    const lines = (this.#rest + text).split("\n");
    this.#rest = lines.pop();
    for (const {method, params, id, result} of lines.map(line => JSON.parse(line))) {
      if (method === "onSay") this.said.push(params[0]);
      if (id === 1) this.#answers.push(result);
    }
  }

  async call(method, ...params) {
    this.socket.write(`${JSON.stringify({jsonrpc: "2.0", id: 1, method, params})}\n`);
    const answer = await until(`an answer to ${method}`, () =>
      this.isClosed ? ["closed"] : this.#answers.length && [null, this.#answers.shift()]);
    if (answer[0]) throw new Error(`${method}: the connection is closed`);
    return answer[1];
  }

  close() { this.socket.destroy(); }
}

// Balancers: where they listen, and the nodes that new connections may go to.

// An example with other words in it; each of them must be there.
function adapt(name, changes) {
  let text = readFileSync(fileURLToPath(new URL(`../../examples/balancers/${name}`,
    import.meta.url)), "utf8");
  for (const [from, to] of changes) {
    assert.ok(text.includes(from), `${name} has no ${from}`);
    text = text.replaceAll(from, to);
  }
  return text;
}

class Nginx {
  name = "nginx";
  drained = null;

  write() {
    const down = node => node === this.drained ? " down" : "";
    const [one, two] = this.nodes;
    writeFileSync(this.file, adapt("nginx.conf", [
      ["listen 80;", `listen 127.0.0.1:${this.web};`],
      ["listen 8081 ", `listen 127.0.0.1:${this.tcp} `],
      ["10.0.0.1:8080", `127.0.0.1:${one.port}${down(one)}`],
      ["10.0.0.2:8080", `127.0.0.1:${two.port}${down(two)}`],
      ["proxy_read_timeout 90s", `proxy_read_timeout ${SILENCE}s`],
      ["proxy_timeout 24h", `proxy_timeout ${SILENCE}s`],
      ["worker_processes auto", "worker_processes 2"],
      ["100000", "500"], ["200000", "1000"],
      // What else it writes, into a folder that any user may write to.
      ["http {", `http {\n${["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].map(each =>
        `  ${each}_temp_path ${folder};`).join("\n")}`],
    ]));
  }

  async begin() {
    this.file = path.join(folder, `nginx${this.web}.conf`);
    this.write();
    this.process = start("nginx", ["-c", this.file, "-e", "stderr", "-g",
      `daemon off; pid ${this.file}.pid;`]);
  }

  drain(node) {
    this.drained = node;
    this.write();
    this.process.child.kill("SIGHUP");
  }

  undrain() { this.drain(null); }
}

class HAProxy {
  name = "haproxy";

  async begin() {
    const file = path.join(folder, `haproxy${this.web}.cfg`);
    this.admin = `${file}.sock`;
    const [one, two] = this.nodes;
    writeFileSync(file, adapt("haproxy.cfg", [
      ["bind :80 ", `bind 127.0.0.1:${this.web} `],
      ["bind :8081", `bind 127.0.0.1:${this.tcp}`],
      ["10.0.0.1:8080", `127.0.0.1:${one.port}`],
      ["10.0.0.2:8080", `127.0.0.1:${two.port}`],
      ["timeout tunnel 90s", `timeout tunnel ${SILENCE}s`],
      ["timeout client 24h", `timeout client ${SILENCE}s`],
      ["timeout server 24h", `timeout server ${SILENCE}s`],
      ["/run/haproxy/admin.sock mode", `${this.admin} mode`],
      ["maxconn 200000", "maxconn 500"],
      ["inter 2s", "inter 500ms"],
      ["timeout check 2s", "timeout check 500ms"],
    ]));
    this.process = start("haproxy", ["-db", "-f", file]);
  }

  // Gives HAProxy a command for both servers of a node; one that succeeds says nothing.
  tell(command, node, rest = "") {
    const name = ["one", "two"][this.nodes.indexOf(node)];
    const both = ["websockets", "streams"].map(each => `${command} ${each}/${name} ${rest}`);
    return new Promise((done, fail) => {
      let answer = "";
      net.connect(this.admin).setEncoding("utf8").on("data", text => { answer += text; })
        .on("error", fail).on("close", () => answer.trim() ? fail(new Error(answer)) : done())
        .end(`${both.join("; ")}\n`);
    });
  }

  drain(node) {
    this.drained = node;
    return this.tell("set server", node, "state drain");
  }

  undrain() { return this.tell("set server", this.drained, "state ready"); }

  cut(node) { return this.tell("shutdown sessions server", node); }
}

// Whether something listens on a port.
function listens(port) {
  return new Promise(done => {
    const socket = net.connect(port, "127.0.0.1", () => { socket.destroy(); done(true); });
    socket.on("error", () => done(false));
  });
}

// A port below those that outgoing connections take, so that it's still free when it is used.
let nextPort = 20_000 + process.pid % 5000;
async function aPort() {
  let port;
  do port = nextPort++; while (await listens(port));
  return port;
}

async function begin(balancer, nodes) {
  balancers.push(balancer);
  Object.assign(balancer, {nodes, web: await aPort(), tcp: await aPort()});
  await balancer.begin();
  await until(`${balancer.name} listens`, async () =>
    await listens(balancer.web) && await listens(balancer.tcp));
  return balancer;
}

// Resolves when a WebSocket is open, or with the status that refuses it.
function handshake(socket) {
  return new Promise((done, fail) => {
    socket.on("open", () => done("open")).on("error", fail)
      .on("unexpected-response", (_, {statusCode}) => { socket.terminate(); done(statusCode); });
  });
}

async function tryBalancer(Balancer) {
  const redis = await Redis.start();
  const one = await Node.start(redis.url, await aPort());
  const two = await Node.start(redis.url, await aPort());
  const other = new Map([[one, two], [two, one]]);
  const balancer = await begin(new Balancer(), [one, two]);
  const {name, web, tcp} = balancer;
  const where = client => client.call("where");
  const test = (what, fn) => check(`${name}: ${what}`, fn);

  // Opens WebSockets until so many in a row have come to a node; they stay open.
  async function openAt(node, count) {
    const opened = [];
    let row = 0;
    await until(`${count} WebSockets in a row at one node`, async () => {
      const client = connect(web);
      opened.push(client);
      row = await where(client) === node.number ? row + 1 : 0;
      return row === count;
    });
    return opened;
  }

  const clients = Array.from({length: 4}, () => null);
  await test("connections are spread evenly, of both kinds", async () => {
    const counts = new Map([[one.number, 0], [two.number, 0]]);
    for (let i = 0; i < clients.length; i++) {
      clients[i] = connect(web);
      const number = await where(clients[i]);
      counts.set(number, counts.get(number) + 1);
    }
    assert.deepEqual([...counts.values()], [2, 2]);
    const streams = [new TcpClient(tcp), new TcpClient(tcp)];
    const numbers = await Promise.all(streams.map(where));
    assert.deepEqual(numbers.sort(), [one.number, two.number].sort());
    for (const each of streams) each.close();
  });

  await test("what one says reaches all, by WebSocket and by TCP, once", async () => {
    const stream = new TcpClient(tcp);
    await where(stream);
    const heard = clients.map(() => []);
    clients.forEach((client, i) => client.on("onSay", text => heard[i].push(text)));
    await clients[0].call("say", ["by WebSocket"]);
    await until("all have heard it", () =>
      stream.said.length === 1 && heard.every(said => said.length === 1));
    await stream.call("say", "by TCP");
    await until("all have heard the other", () =>
      stream.said.length === 2 && heard.every(said => said.length === 2));
    for (const said of [stream.said, ...heard]) {
      assert.deepEqual(said, ["by WebSocket", "by TCP"]);
    }
    stream.close();
  });

  await test("a WebSocket's address is known, whatever it says itself", async () => {
    class Liar extends WebSocket {
      constructor(url) { super(url, {headers: {"X-Forwarded-For": "192.0.2.1"}}); }
    }
    const liar = sync.client(`ws://127.0.0.1:${web}/`, {WebSocket: Liar, reconnect: false});
    assert.equal(await liar.call("origin"), "127.0.0.1");
    liar.close();
  });

  await test("pages come, but not what is the nodes' own; origins are those of the page", async () => {
    const get = async place => (await fetch(`http://127.0.0.1:${web}${place}`)).status;
    assert.equal(await get("/sync.js"), 200);
    for (const place of ["/healthz", "/metrics", "/panel", "/panel.json"]) {
      assert.equal(await get(place), 404, place);
    }
    const url = `ws://127.0.0.1:${web}/`;
    const sockets = [`http://127.0.0.1:${web}`, "http://example.com"].map(origin =>
      new WebSocket(url, {origin}));
    assert.deepEqual(await Promise.all(sockets.map(handshake)), ["open", 403]);
    sockets[0].terminate();
  });

  await test("a silent WebSocket lives by pings, and is cut without; so is silent TCP", async () => {
    const mute = await Node.start(redis.url, await aPort(), 0);
    const second = await begin(new Balancer(), [mute, mute]);
    const pinged = new WebSocket(`ws://127.0.0.1:${web}/`);
    const unpinged = new WebSocket(`ws://127.0.0.1:${second.web}/`);
    const stream = new TcpClient(tcp);
    const begun = Date.now();
    let cut;
    unpinged.on("close", () => { cut = Date.now() - begun; });
    assert.deepEqual(await Promise.all([pinged, unpinged].map(handshake)), ["open", "open"]);
    await until("they are cut", () => cut && stream.isClosed);
    assert.ok(cut > SILENCE * 900, `cut after ${cut} ms`);
    await sleep(begun + SILENCE * 2500 - Date.now());
    assert.equal(pinged.readyState, WebSocket.OPEN);
    pinged.terminate();
  });

  // One whose connection can be broken.
  class Fragile extends WebSocket {
    static last;
    constructor(...words) {
      super(...words);
      Fragile.last = this;
    }
  }
  const walker = sync.client(`ws://127.0.0.1:${web}/`, {WebSocket: Fragile,
    reconnect: {first: 500, most: 500, jitter: 0}});
  const told = [];
  walker.on("onTold", text => told.push(text));
  const byNumber = new Map([[one.number, one], [two.number, two]]);
  const first = byNumber.get(await where(walker));
  const second = other.get(first);
  await walker.call("enter", ["lobby"]);

  await test("a node that is drained keeps its connections, and gets no new ones; a client " +
    "that comes back elsewhere has its session", async () => {
    await balancer.drain(first);
    const opened = await openAt(second, 4);
    assert.equal(await where(walker), first.number);
    const streams = Array.from({length: 3}, () => new TcpClient(tcp));
    for (const stream of streams) assert.equal(await where(stream), second.number);
    Fragile.last.terminate();
    await until("the walker is away", () => walker.state !== "open");
    await opened[0].call("tell", ["lobby", "missed"]);
    await until("the walker is back", () => walker.state === "open");
    assert.equal(walker.resumed, true);
    assert.equal(await where(walker), second.number);
    await until("it is told what it has missed", () => told.length === 1);
    assert.deepEqual(told, ["missed"]);
    for (const each of [...opened, ...streams]) each.close();
  });

  await test("a node that is stopped: its clients come back to the other, with their " +
    "sessions", async () => {
    const stream = new TcpClient(tcp);
    await where(stream);
    const numbers = await Promise.all(clients.map(where));
    assert.ok(numbers.includes(first.number));
    first.process.child.kill("SIGTERM");
    await first.process.ended;
    assert.equal(first.process.child.exitCode, 0, first.process.trouble);
    for (const [i, client] of clients.entries()) {
      await until("a client is back", async () => // a call may be lost with the node
        await where(client).catch(() => null) === second.number);
      if (numbers[i] === first.number) assert.equal(client.resumed, true);
    }
    assert.equal(await where(stream), second.number);
    stream.close();
  });

  await test("it is started again, and has clients; the other is killed, and they come back " +
    "to it", async () => {
    await first.begin();
    await balancer.undrain();
    for (const client of await openAt(first, 1)) client.close();
    await until("TCP gets there", async () => {
      const stream = new TcpClient(tcp);
      const number = await where(stream);
      stream.close();
      return number === first.number;
    });
    await kill(second.process);
    for (const client of clients) {
      await until("a client is back", async () => // a call may be lost with the node
        await where(client).catch(() => null) === first.number);
      assert.equal(client.resumed, true);
    }
    for (let i = 0; i < 4; i++) {
      const stream = new TcpClient(tcp);
      assert.equal(await where(stream), first.number);
      stream.close();
    }
  });

  await second.begin();
  if (balancer.cut) {
    await test("the connections of a node that is drained are cut: all come back with their " +
      "sessions", async () => {
      await openAt(second, 1).then(opened => opened.forEach(each => each.close()));
      await balancer.drain(first);
      await balancer.cut(first);
      for (const client of [...clients, walker]) {
        await until("a client is back", async () =>
          await where(client).catch(() => null) === second.number);
        assert.equal(client.resumed, true);
      }
      await balancer.undrain();
    });
  }

  await test("a node that is frozen, as one whose machine is dead: its clients come back to " +
    "the other", async () => {
    const opened = await openAt(second, 1);
    const client = opened.pop();
    for (const each of opened) each.close();
    second.process.child.kill("SIGSTOP");
    await until("its client is away", () => client.state !== "open");
    await until("it is back", () => client.state === "open");
    assert.equal(await where(client), first.number);
    client.close();
  });

  for (const client of [...clients, walker]) client.close();
}

await Promise.all([Nginx, HAProxy].map(Balancer => tryBalancer(Balancer)));
await finish();
