// Several nodes act as one server: what docs/scaling.md promises, with real engines.
//
//   sh spec/browser/install.sh
//   sh spec/cluster/run ./sync-lua redis|nats|workers
//
// Nodes and engines are in network namespaces, so that they can be cut off; where the user can't
// make those, what needs them is left out, and said. Ends with a line `N passed, N failed`, and
// with 1 when one has failed.

import assert from "node:assert/strict";
import net from "node:net";
import * as sync from "../../clients/js/sync.js";
import {installed} from "../browser/clients.mjs";
import {atEnd, check, configure, finish, sleep, until} from "../support/checks.mjs";
import {Nats, Network, Node, Redis, endAll} from "./servers.mjs";

const WebSocket = installed("ws");
const kind = process.argv[3];
if (!["redis", "nats", "workers"].includes(kind)) {
  console.error("usage: sh spec/cluster/run PATH-OF-sync-lua redis|nats|workers");
  process.exit(2);
}

const GONE = 8_000; // ms within which a dead node's members have gone: 5 s, and some
const NODES = 3;

// The nodes; workers are the same for clients, who don't know which they get.
const nodes = [];

configure({limit: 240_000, explain: () => nodes.map(({process: {trouble}}, i) =>
  `${kind}: node ${i} said: ${trouble.trim().split("\n").slice(-3).join("; ")}`).join("\n")});

// Where a list of numbers does not count up by one: nothing, if it does.
function explain(list) {
  const at = list.findIndex((number, i) => i > 0 && number !== list[i - 1] + 1);
  return at < 0 ? "" : `${list.slice(Math.max(0, at - 3), at + 4)} at ${at} of ${list.length}`;
}

// A client that keeps what it is told.
class Client {
  said = [];
  told = [];
  counted = {};

  static async connect(node) {
    const client = new Client();
    client.game = sync.client(`ws://${node.host}:${node.port}/`, {WebSocket, reconnect: false});
    client.game.on("onSay", text => client.said.push(text));
    client.game.on("onTold", text => client.told.push(text));
    client.game.on("onCount", (room, i) => (client.counted[room] ??= []).push(i));
    client.id = await client.game.call("me");
    return client;
  }

  call(name, ...words) { return this.game.call(name, words); }
  close() { this.game.close(); }
}

// Lua's empty list is an empty object in JSON.
async function members(client, room) {
  const list = await client.call("members", room);
  return Array.isArray(list) ? list : [];
}
const memberCount = async (client, room) => (await members(client, room)).length;

// Workers are on one machine.
const network = kind !== "workers" && process.env.OWN_NETWORK === "yes" ? new Network() : null;
if (!network && kind !== "workers") {
  console.log(`left out of ${kind}: what needs network namespaces, which this user can't make, ` +
    "or which spec/cluster/run was not asked for");
}

atEnd(endAll);
let engine;
let spaces = [];
if (network) spaces = Array.from({length: NODES + (kind === "nats" ? 3 : 1)}, () => network.add());
if (kind === "redis") engine = await Redis.start(spaces[NODES]);
if (kind === "nats") engine = await Nats.start(spaces.slice(NODES));

if (kind === "workers") {
  const server = await Node.start(null, {words: [`--workers=${NODES}`]});
  nodes.push(...Array(NODES).fill(server));
} else {
  nodes.push(...await Promise.all(Array.from({length: NODES}, (_, i) =>
    Node.start(engine.url, {space: spaces[i]}))));
}

// Connects until there is a client on each node, and returns one of each.
async function connectToEach() {
  const found = new Map();
  await until("a client on each node", async () => {
    const client = await Client.connect(nodes[found.size % nodes.length]);
    const {node} = await client.call("state");
    if (found.has(node)) client.close(); else found.set(node, client);
    return found.size === NODES;
  });
  return [...found.values()];
}

const clients = await connectToEach();
const [ann, ben, cy] = clients;

await check("the nodes know each other, and have numbers of their own", async () => {
  const states = [];
  for (const client of clients) {
    states.push(await until("two others", async () => {
      const state = await client.call("state");
      return state.nodes === NODES - 1 && state;
    }));
  }
  assert.equal(new Set(states.map(state => state.node)).size, NODES);
  assert.equal(new Set(clients.map(client => Math.floor(client.id / 2 ** 32))).size, NODES);
});

await check("what is sent to all reaches all, once, in order", async () => {
  for (let i = 0; i < 100; i++) ann.call("say", `ann ${i}`);
  await ben.call("sayToOthers", "ben");
  await until("all have 100", () => clients.every(client =>
    client.said.filter(text => text.startsWith("ann")).length >= 100));
  await until("ben's word", () => ann.said.includes("ben") && cy.said.includes("ben"));
  await sleep(200);
  for (const client of clients) {
    assert.deepEqual(client.said.filter(text => text.startsWith("ann")),
      Array.from({length: 100}, (_, i) => `ann ${i}`));
    assert.equal(client.said.filter(text => text === "ben").length, client === ben ? 0 : 1);
  }
});

await check("a plain class's messages do the same, of all sizes", async () => {
  const sockets = [];
  for (const node of nodes) {
    const socket = net.connect(node.lines, node.host);
    socket.text = "";
    socket.setEncoding("utf8").on("data", text => { socket.text += text; });
    sockets.push(socket);
  }
  await until("they count as byte streams", () =>
    sockets.every(socket => socket.text === "welcome\n"));
  for (const socket of sockets) socket.text = "";
  const lines = ["short", "ü".repeat(1000), "x".repeat(60_000), "end"];
  sockets[0].write(`${lines.join("\n")}\n`);
  await until("all have them", () => sockets.every(socket => socket.text.endsWith("end\n")));
  for (const socket of sockets) {
    assert.equal(socket.text, `${lines.join("\n")}\n`);
    socket.destroy();
  }
});

await check("a room is one, and reaches its members alone", async () => {
  await ann.call("enter", "red", {name: "ann"});
  await ben.call("enter", "red", {name: "ben"});
  const list = await until("both see both", async () => {
    const [one, two] = [await members(ann, "red"), await members(ben, "red")];
    return one.length === 2 && two.length === 2 && one;
  });
  assert.deepEqual(list.map(member => [member.id, member.value.name]).sort(),
    [[ann.id, "ann"], [ben.id, "ben"]].sort());
  await cy.call("count", "red", 1, 500);
  await until("500", () => [ann, ben].every(client => client.counted.red?.length >= 500));
  await sleep(200);
  for (const client of [ann, ben]) {
    assert.deepEqual(client.counted.red, Array.from({length: 500}, (_, i) => i + 1));
  }
  assert.equal(cy.counted.red, undefined);
  await ben.call("enter", "red", {name: "benjamin"});
  await until("the new name, for one who is not in it", async () =>
    (await members(cy, "red")).some(member => member.value?.name === "benjamin"));
  await ben.call("leave", "red");
  await until("ben has left", async () => await memberCount(ann, "red") === 1);
  await until("so it is counted", async () => (await cy.call("totals", "red")).room === 1);
});

await check("everybody is counted", async () => {
  await until("three", async () => {
    for (const client of clients) {
      if ((await client.call("totals")).clients !== NODES) return false;
    }
    return true;
  });
});

await check("a client is found by its id, wherever it is", async () => {
  assert.equal(await ann.call("tell", cy.id, "hello"), true);
  await until("cy is told", () => cy.told.includes("hello"));
  assert.equal(await ann.call("tell", ann.id, "myself"), true);
  await until("ann is told", () => ann.told.includes("myself"));
  const extra = (await connectToEach());
  const gone = new Promise(done => extra[1].game.onState(state => state === "closed" && done()));
  assert.equal(await extra[0].call("dismiss", extra[1].id, "enough"), true);
  await gone;
  for (const client of extra) client.close();
});

await check("state is shared, and each change is atomic", async () => {
  for (const client of clients) client.told.length = 0;
  for (const client of clients) client.call("add", "sum", 50);
  await until("all have added", () => clients.every(client => client.told.length === 1));
  assert.ok(clients.some(client => client.told[0] === `added ${50 * NODES}`),
    JSON.stringify(clients.map(client => client.told)));
  for (const client of clients) client.told.length = 0;
  for (const client of clients) client.call("race", "prize");
  await until("all know", () => clients.every(client => client.told.length === 1));
  const winner = clients.find(client => client.told[0] === "won");
  for (const client of clients) {
    if (client !== winner) assert.equal(client.told[0], `lost to ${winner.id}`);
  }
  for (const client of clients) client.told.length = 0;
});

await check("operators see it", async () => {
  const answer = await fetch(`http://${nodes[0].host}:${nodes[0].port}/metrics?token=a-spec-token`);
  const text = await answer.text();
  assert.match(text, new RegExp(`^sync_nodes_alive ${NODES - 1}$`, "m"));
  assert.match(text, /^sync_engine_up 1$/m);
  assert.match(text, /^sync_cluster_messages_lost_total 0$/m);
});

const NOWHERE = {host: "127.0.0.1", games: 1}; // nobody listens there

// A WebSocket that goes to another port each time, as behind a balancer; the first of them is
// always given up without a word.
function Wandering(ports) {
  let at = 0;
  return class extends WebSocket {
    static last;
    constructor() {
      const {host, games} = ports[at++ % ports.length];
      super(`ws://${host}:${games}/`);
      Wandering.last = this;
    }
  };
}

// Waits until a room's member hears what another client fires there, maybe on another node.
async function hearsRoom(member, source, room) {
  let isHeard = false;
  member.on("onPoke", () => { isHeard = true; });
  await until("the room is heard", async () => {
    await source.call("poke", [room]);
    return isHeard;
  });
}

await check("a client that comes back to another node has its rooms, and what it has missed, in " +
  "order and once", async () => {
  const source = sync.client(`ws://${nodes[1].host}:${nodes[1].games}/`, {WebSocket});
  for (let round = 0; round < 5; round++) {
    const room = `walk ${round}`;
    const got = [];
    const walker = sync.client("ws://balancer/", {WebSocket: Wandering(nodes),
      reconnect: {first: 50, most: 300}});
    walker.on("onCount", (_, i) => got.push(i));
    await walker.call("enter", [room, "walter"]);
    const {node: first} = await walker.call("who");
    await hearsRoom(walker, source, room);
    await source.call("stream", [room, 400, 0.005]);
    await until("some have come", () => got.length > 50);
    let returns = 0;
    walker.onState(state => { if (state === "open") returns++; });
    Wandering.last.terminate();
    await until("it is back", () => returns === 1);
    assert.equal(walker.resumed, true);
    const {nick, node} = await walker.call("who");
    assert.equal(nick, "walter");
    if (kind !== "workers") assert.notEqual(node, first);
    await until("all have come", () => got.at(-1) === 400);
    assert.deepEqual(got, Array.from({length: 400}, (_, i) => i + 1));
    walker.close();
  }
  source.close();
});

await check("a client that comes back to another node: its calls in work are answered, and no " +
  "answer of its own is taken for another", async () => {
  for (let round = 0; round < 3; round++) {
    const walker = sync.client("ws://balancer/", {WebSocket: Wandering(nodes),
      reconnect: {first: 50, most: 300}});
    const asked = {};
    walker.handle("ask", question => new Promise(resolve => { asked[question] = resolve; }));
    const {pid} = await walker.call("who");
    const calls = [0.1, 0.5, 1.2].map(seconds => walker.call("after", [seconds, seconds]));
    const first = walker.call("askMe", ["first"]).catch(error => error);
    await until("it is asked", () => asked.first);
    let returns = 0;
    walker.onState(state => { if (state === "open") returns++; });
    Wandering.last.terminate();
    await until("it is back", () => returns === 1);
    assert.equal(walker.resumed, true);
    assert.deepEqual(await Promise.all(calls), [0.1, 0.5, 1.2]);
    const hasMoved = (await walker.call("who")).pid !== pid;
    if (kind !== "workers") assert.ok(hasMoved);
    const second = walker.call("askMe", ["second"]);
    await until("it is asked again", () => asked.second);
    asked.first("one");
    await walker.latency();
    asked.second("two");
    assert.equal(await second, "two");
    const {code, message} = await first;
    if (hasMoved) assert.deepEqual([code, message], [-32000, "the client has gone"]);
    else assert.equal(await first, "one");
    assert.equal(walker.stats.unknown, 0);
    walker.close();
  }
});

if (kind === "redis") {
  await check("the engine is killed and started again: local clients are served, others get " +
    "what waited, in order and once, or it is counted", async () => {
    await ann.call("enter", "blue");
    await ben.call("enter", "blue");
    await until("both", async () => await memberCount(ann, "blue") === 2);
    await ann.call("count", "blue", 1, 10);
    await until("ten", () => ben.counted.blue?.length === 10);
    await engine.kill();
    await until("nobody is up", async () => !(await ann.call("state")).isUp);
    await ann.call("count", "blue", 11, 100);
    await until("ann has all at once", () => ann.counted.blue.length === 110);
    await cy.call("enter", "blue");
    await sleep(6000); // the others count as dead by now
    await engine.begin();
    await until("all are seen again", async () => await memberCount(ann, "blue") === 3 &&
      await memberCount(cy, "blue") === 3, 20_000);
    // What ann's node sends before ben's has subscribed again is lost.
    await ann.call("count", "blue", 111, 1);
    await until("ben hears", () => ben.counted.blue.at(-1) === 111);
    const got = ben.counted.blue;
    assert.deepEqual(got, [...new Set(got)].sort((a, b) => a - b));
    const {lost} = await ben.call("state");
    assert.equal(lost, 111 - got.length);
    console.log(`redis: started again, ${lost} of 100 events that waited were lost, and counted`);
    await cy.call("leave", "blue");
  });
}

if (kind === "nats") {
  await check("one of three engines is killed: nobody is lost for long", async () => {
    await ann.call("enter", "blue");
    await ben.call("enter", "blue");
    await until("both", async () => await memberCount(ann, "blue") === 2);
    await engine.kill(0);
    await sleep(1000);
    await until("everybody is up", async () => {
      for (const client of clients) if (!(await client.call("state")).isUp) return false;
      return true;
    }, 30_000);
    await until("both are seen", async () => await memberCount(ann, "blue") === 2 &&
      await memberCount(ben, "blue") === 2, 20_000);
    await ann.call("count", "blue", 1000, 100);
    await until("ben has them", () => (ben.counted.blue ?? []).filter(i => i >= 1000).length === 100);
    engine.begin(0);
  });
}

if (network) {
  await check("a node is cut off for ten seconds: what is lost is counted, nothing comes twice, " +
    "and presence heals", async () => {
    await ann.call("enter", "green");
    await cy.call("enter", "green");
    await until("both", async () => await memberCount(ann, "green") === 2);
    await ann.call("count", "green", 1, 50);
    await until("fifty", () => cy.counted.green?.length === 50);
    const before = (await cy.call("state")).lost;
    // cy's own connection comes by the bridge, too: it is cut off with its node, and TCP
    // brings what the node has sent it meanwhile when it's back.
    spaces[2].cut();
    for (let i = 0; i < 10; i++) {
      await ann.call("count", "green", 51 + i * 10, 10);
      await sleep(1000);
    }
    await until("cy has gone", async () => await memberCount(ann, "green") === 1, GONE);
    spaces[2].heal();
    await until("cy is back", async () => await memberCount(ann, "green") === 2, 30_000);
    await ann.call("count", "green", 151, 50);
    await until("cy hears again", () => cy.counted.green.at(-1) === 200, 30_000);
    await until("cy sees ann", async () => await memberCount(cy, "green") === 2);
    await sleep(3000); // what is claimed is counted
    const got = cy.counted.green;
    assert.deepEqual(got, [...new Set(got)].sort((a, b) => a - b));
    const missing = 200 - got.length;
    const seen = await cy.call("state");
    assert.equal(seen.lost - before, missing);
    console.log(`${kind}: cut off for 10 s, ${missing} of 150 events were lost, and counted`);
  });
}

// A node that will be killed. It writes down what it does for clients, which needs the engine.
async function startVictim() {
  if (kind === "workers") return nodes[0];
  const victim = await Node.start(engine.url, {space: spaces[1]});
  const client = await Client.connect(victim);
  await until("it has the engine", async () => (await client.call("state")).isUp);
  client.close();
  return victim;
}

await check("a client whose node is killed has its rooms and what it has missed on another one, " +
  "in order and once", async () => {
  // The one that fires is on the first node, or on any worker but the one that is killed.
  for (let round = 0; round < 2; round++) {
    const room = `fall ${round}`;
    const got = [];
    const victim = await startVictim();
    const walker = sync.client("ws://balancer/", {WebSocket: Wandering([victim, nodes[0]]),
      reconnect: {first: 50, most: 300}});
    walker.on("onCount", (_, i) => got.push(i));
    await walker.call("enter", [room, "walter"]);
    const {pid} = await walker.call("who");
    let source;
    await until("a client elsewhere", async () => {
      source = sync.client(`ws://${nodes[0].host}:${nodes[0].games}/`, {WebSocket});
      return (await source.call("who")).pid !== pid || source.close();
    });
    await hearsRoom(walker, source, room);
    await source.call("stream", [room, 600, 0.005]);
    await until("some have come", () => got.length > 100);
    let returns = 0;
    walker.onState(state => { if (state === "open") returns++; });
    process.kill(pid, "SIGKILL");
    await until("it is back", () => returns === 1, 20_000);
    if (kind === "nats" && !walker.resumed) {
      // libnats sends from a thread of its own, which may not have come to what the node has
      // written down last.
      console.log("nats: a client of a killed node was told to begin anew");
      walker.close();
      source.close();
      continue;
    }
    assert.equal(walker.resumed, true);
    const again = await walker.call("who");
    assert.equal(again.nick, "walter");
    assert.notEqual(again.pid, pid);
    await until("all have come", () => got.at(-1) === 600, 20_000);
    assert.equal(explain(got), "");
    assert.equal(got.length, 600);
    walker.close();
    source.close();
  }
});

await check("a client whose node is killed: calls in work there fail at once, but for those that " +
  "were answered while it was away", async () => {
  const victim = await startVictim();
  const places = [victim]; // where the client connects to
  const walker = sync.client("ws://balancer/", {WebSocket: Wandering(places),
    reconnect: {first: 50, most: 300}});
  const asked = {};
  walker.handle("ask", question => new Promise(resolve => { asked[question] = resolve; }));
  const {pid} = await walker.call("who");
  const options = {timeout: 60_000};
  const answered = walker.call("after", [1, "while away"], options).catch(error => error);
  const lost = walker.call("after", [1000, "never"], options).catch(error => error);
  const first = walker.call("askMe", ["first"], options).catch(error => error);
  await until("it is asked", () => asked.first);
  places[0] = NOWHERE;
  Wandering.last.terminate();
  await until("it has gone", () => walker.state !== "open");
  const queued = walker.call("who", [], options).catch(error => error);
  await until("it is answered", () => victim.process.said.includes("answered while away\n"));
  process.kill(pid, "SIGKILL");
  places[0] = nodes[0];
  await until("it is back", () => walker.state === "open", 20_000);
  if (kind === "nats" && !walker.resumed) {
    console.log("nats: a client of a killed node was told to begin anew");
    walker.close();
    return;
  }
  assert.equal(walker.resumed, true);
  const answer = await answered;
  if (kind === "nats" && answer !== "while away") { // as above
    console.log("nats: the last answer of a killed node was lost");
    assert.equal(answer.code, "disconnected");
  } else {
    assert.equal(answer, "while away");
  }
  for (const {code, message} of [await lost, await first]) {
    assert.equal(code, "disconnected");
    assert.match(message, /the server that it was sent to has gone: the call may have been done/);
  }
  assert.notEqual((await queued).pid, pid);
  const second = walker.call("askMe", ["second"]);
  await until("it is asked again", () => asked.second);
  asked.first("one");
  await walker.latency();
  asked.second("two");
  assert.equal(await second, "two");
  walker.close();
});

if (kind !== "workers") {
  await check("a node that is killed: its members vanish in time, the others go on", async () => {
    await ann.call("enter", "grey");
    await cy.call("enter", "grey");
    await until("both", async () => await memberCount(ann, "grey") === 2);
    const begun = Date.now();
    await nodes[2].kill();
    await until("its member has gone", async () => await memberCount(ann, "grey") === 1, GONE);
    await until("and isn't counted", async () => (await ben.call("totals")).clients === 2);
    assert.ok(Date.now() - begun < GONE);
    await ann.call("say", "still here");
    await until("ben hears", () => ben.said.includes("still here"));
  });

  await check("a node that is stopped: its members vanish at once", async () => {
    const node = await Node.start(engine.url, {space: spaces[2]});
    const dee = await Client.connect(node);
    await dee.call("enter", "grey");
    await until("dee is seen", async () => await memberCount(ann, "grey") === 2);
    node.process.child.kill("SIGTERM");
    await until("dee has gone", async () => await memberCount(ann, "grey") === 1, 3000);
    await node.process.ended;
    assert.equal(node.process.child.exitCode, 0, node.process.trouble);
  });
}

await check("nobody has crashed, or logged an error of Lua", async () => {
  for (const [i, {process: {trouble, child}}] of nodes.entries()) {
    if (kind === "workers" || i < 2) assert.equal(child.exitCode ?? child.signalCode, null, trouble);
    assert.ok(!/traceback|attempt to|error in/.test(trouble), trouble);
  }
});

if (process.env.VERBOSE) {
  for (const {process: {trouble, child}} of nodes) {
    console.log(`${trouble}ended with ${child.exitCode ?? child.signalCode}`);
  }
}
await finish();
