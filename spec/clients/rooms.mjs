// The JavaScript client in rooms of a real server: what it has is what the server has, for those
// whom it may see, in both forms, also after a lost connection.
//
//     sh spec/browser/install.sh
//     node spec/clients/rooms.mjs ./sync-lua
//
// Ends with a line `N passed, N failed`, and with 1 when one has failed.

import assert from "node:assert/strict";
import {spawn} from "node:child_process";
import {fileURLToPath} from "node:url";
import * as sync from "../../clients/js/sync.js";
import {installed} from "../browser/clients.mjs";
import {atEnd, check, configure, finish, program, sleep, until} from "../support/checks.mjs";

const WebSocket = installed("ws");
const NEAR = 100;

configure({limit: 100_000, checkLimit: 30_000});

// So that a test can break a connection as a network does.
class Breakable extends WebSocket {
  constructor(...args) {
    super(...args);
    Breakable.last = this;
  }
}

async function startServer() {
  const script = fileURLToPath(new URL("rooms.lua", import.meta.url));
  const server = spawn(program, [script], {stdio: ["ignore", "pipe", "inherit"]});
  atEnd(() => server.kill("SIGKILL"));
  let said = "";
  server.stdout.setEncoding("utf8").on("data", text => { said += text; });
  await until("a port", () => /^port\t\d+\n/.test(said));
  return Number(/\d+/.exec(said)[0]);
}

const alike = (a, b, by) => Math.abs(a - b) <= by;

// The players whom a member sees are those that are near it, as the server has them.
function differs({state, member}, {players, items}) {
  const own = players.find(({id}) => id === member);
  for (const {id, name, x, y, hp, aim} of players) {
    const distance = Math.hypot(x - own.x, y - own.y);
    const seen = state.players.get(id);
    if (!seen && distance < NEAR - 0.01) return `${id} is not seen`;
    if (seen && distance > 1.1 * NEAR + 0.01) return `${id} is seen, ${distance} away`;
    if (seen && !(seen.name === name && alike(seen.x, x, 1e-4) && alike(seen.y, y, 1e-4) &&
      seen.hp === hp && alike(seen.aim, aim, 0.25 + 1e-9))) return JSON.stringify([id, seen]);
    if (seen && id !== member && seen.hand.length > 0) return `the hand of ${id} is seen`;
  }
  for (const [id] of state.players) {
    if (!players.some(player => player.id === id)) return `${id} is a ghost`;
  }
  for (const {key, count, gold} of items) {
    const seen = state.items.get(key);
    if (seen?.count !== count || seen.bag.get("gold") !== gold) return `${key}: ${count}, ${gold}`;
  }
  return state.items.size === items.length ? undefined : "there are other items";
}

// Lets things move, and then compares.
async function compare(rooms, ms = 500) {
  await rooms[0].call("go");
  await sleep(ms);
  const whole = await rooms[0].call("freeze");
  for (const room of rooms) {
    await until(`what ${room.name} has, ${differs(room, whole)}`, () => !differs(room, whole));
    assert.deepEqual(room.state.players.get(room.member).hand, [room.member, 1]);
  }
  return whole;
}

// What listeners are told adds up to what there is.
function follow(room) {
  const there = new Set();
  room.state.players.onAdd((player, id) => {
    assert.ok(!there.has(id), `${id} came twice`);
    there.add(id);
  });
  room.state.players.onRemove((player, id) => assert.ok(there.delete(id), `${id} went twice`));
  return there;
}

async function main() {
  const port = await startServer();
  const trouble = [];
  const connect = (WebSocketClass = WebSocket) => sync.connect(`ws://127.0.0.1:${port}`,
    {WebSocket: WebSocketClass, onError: error => trouble.push(error), reconnect: {first: 20}});
  const ann = await connect(Breakable);
  const annsSocket = Breakable.last;
  const bob = await connect();
  const rooms = [await ann.join("Arena", "ann"), await bob.join("Arena", "bob", {form: "json"})];
  const followed = rooms.map(follow);
  const tellsAll = () => rooms.forEach(({state}, i) =>
    assert.deepEqual([...followed[i]].sort(), [...state.players.keys()].sort()));

  await check("a member has what it may see, in binary and in JSON", async () => {
    for (const room of rooms) assert.equal((await room.ready).state.phase, "play");
    await compare(rooms);
    await compare(rooms, 1500);
    tellsAll();
  });
  await check("and after its connection was lost", async () => {
    await rooms[0].call("go");
    const states = [];
    ann.onState(state => states.push(state));
    annsSocket.terminate();
    await until("the return", () => states.includes("open"));
    assert.equal(ann.resumed, true);
    await compare(rooms);
    tellsAll();
  });
  await check("inputs are predicted, acknowledged and right", async () => {
    const [room] = rooms;
    const moved = [];
    room.on("onMoved", (id, x) => moved.push([id, x]));
    const before = room.state.players.get(room.member).x;
    const me = room.predict("players", room.member, (player, dx) => { player.x += dx; },
      {method: "move"});
    for (let i = 1; i <= 5; i++) assert.ok(me.send(i));
    assert.equal(me.state.x, before + 15);
    await until("all inputs are taken", () => room.inputTaken === 5);
    assert.equal(me.pending, 0);
    assert.equal(room.state.players.get(room.member).x, before + 15);
    assert.equal(moved.length, 5);
  });
  await check("the view follows at its delay", async () => {
    const [room] = rooms;
    await room.call("go");
    await until("the clock", () => ann.clock.now !== undefined);
    let late = 0;
    for (let i = 0; i < 100; i++) {
      const {view} = room;
      late = Math.max(late, room.delay);
      for (const [, {x, y}] of view.players) assert.ok(x >= 0 && x <= 400 && y >= 0 && y <= 400);
      await sleep(5);
    }
    assert.ok(late >= 1000 / 30 && late <= 500, `${late} ms`);
    await compare(rooms);
    await until("the view is where the state is", () => [...room.view.players].every(([id, {x}]) =>
      alike(x, room.state.players.get(id)?.x, 1e-3)));
  });
  await check("rooms are made, listed, and joined by id and code", async () => {
    const mine = await ann.create("Arena", "private");
    assert.match(mine.code, /^[0-9A-Z]{6}$/);
    const same = await bob.joinByCode(mine.code.toLowerCase());
    assert.deepEqual([same.id, same.member, same.code], [mine.id, 2, mine.code]);
    const open = await bob.create("Arena", "bob");
    const listed = await ann.rooms("Arena");
    assert.deepEqual(listed.map(({id, members}) => [id, members]), [[rooms[0].id, 2], [open.id, 1]]);
    assert.deepEqual(await ann.rooms("Arena", {mode: "none"}), []);
    assert.equal((await ann.joinById(open.id)).member, 2);
    await assert.rejects(ann.joinById(mine.id), {code: -32002});
    await assert.rejects(ann.joinByCode("AAAAAA"), {code: -32002});
    await Promise.all([mine, same, open].map(room => room.leave()));
  });
  await check("a member that is sent away is told, and one that leaves is gone", async () => {
    const reasons = [];
    rooms[0].onLeft(reason => reasons.push(reason));
    rooms[0].call("kick").catch(() => {});
    await until("the reason", () => reasons.length === 1);
    assert.deepEqual(reasons, ["enough"]);
    await rooms[1].leave();
    assert.equal(rooms[1].isIn, false);
  });
  await check("nothing was reported", () => assert.deepEqual(trouble, []));
  ann.close();
  bob.close();
  await finish();
}

await main();
