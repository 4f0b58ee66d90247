// The JavaScript client in rooms whose home is killed: one of three workers. Who is connected to
// another worker is told, and sees the room that persists again; who was connected to the home
// comes back to it.
//
//     node spec/clients/taken.mjs ./sync-lua
//
// Ends with a line `N passed, N failed`, and with 1 when one has failed.

import assert from "node:assert/strict";
import {spawn} from "node:child_process";
import * as sync from "../../clients/js/sync.js";
import {installed} from "../browser/clients.mjs";
import {atEnd, check, configure, finish, program, until} from "../support/checks.mjs";

const WebSocket = installed("ws");

configure({limit: 150_000, checkLimit: 60_000});

async function startServer() {
  const server = spawn(program, ["--workers=3", "spec/rooms/keeper.lua"],
    {stdio: ["ignore", "ignore", "pipe"], env: {...process.env, SYNC_APPLIED: "/dev/null"}});
  atEnd(() => server.kill("SIGTERM"));
  let said = "";
  server.stderr.setEncoding("utf8").on("data", text => { said += text; });
  await until("the workers", () => (said.match(/node \d is there/g) ?? []).length >= 6);
  return Number(/listens on \S+:(\d+)/.exec(said)[1]);
}

const port = await startServer();
const trouble = [];
const connect = () => sync.connect(`ws://127.0.0.1:${port}`,
  {WebSocket, onError: error => trouble.push(error), reconnect: {first: 50, most: 500}});

// A client of another worker than that one.
async function elsewhere(node) {
  for (;;) {
    const game = await connect();
    if (await game.call("node") !== node) return game;
    game.close();
  }
}

// A member, and what its client is told of the room.
function watch(game, room) {
  const member = {game, room, heard: [], left: undefined};
  for (const name of ["onRoomPaused", "onRoomBack", "onRoomLost"]) {
    game.on(name, id => { if (id === room.id) member.heard.push(name); });
  }
  room.onLeft(reason => { member.left = reason; });
  return member;
}

const ann = await connect(); // whose worker is the home, and dies
await ann.call("name", ["ann"]);
const bob = await elsewhere(await ann.call("node"));
const kept = [watch(ann, await ann.create("Field"))];
kept.push(watch(bob, await bob.joinById(kept[0].room.id)));
const plain = [watch(ann, await ann.create("Plain"))];
plain.push(watch(bob, await bob.joinById(plain[0].room.id)));
const ids = kept.map(({room}) => room.member);
const states = [];
let killed;

await check("members of the other worker are told that rooms are paused, or lost", async () => {
  for (const {room} of kept) await room.call("add", 7);
  const ticks = kept[1].room.state.ticks; // two snapshots later they are kept
  await until("snapshots", () => kept[1].room.state.ticks > ticks + 20);
  ann.onState(state => states.push(state));
  killed = await ann.call("process");
  process.kill(killed, "SIGKILL");
  await until("the word", () => kept[1].heard.includes("onRoomPaused") && plain[1].left);
  assert.deepEqual([plain[1].heard, plain[1].left], [["onRoomLost"], "lost"]);
  assert.equal(kept[1].left, undefined);
});
await check("the room that persists comes back to them, as it was", async () => {
  const {room, heard} = kept[1];
  await until("the return", () => heard.includes("onRoomBack"));
  assert.deepEqual(heard, ["onRoomPaused", "onRoomBack"]);
  const told = await room.call("look");
  assert.deepEqual([told.isRestored, told.owned, told.deck, told.members],
    [true, true, [3, 1, 2], 2]);
  await until("its state", () => room.state.players.get(ids[1])?.last === 7);
  const {ticks} = room.state;
  await until("ticks", () => room.state.ticks > ticks);
});
await check("who was connected to the home comes back to it, as the member that it was", async () => {
  const {room, game} = kept[0];
  await until("the session", () => states.includes("open"));
  assert.ok(game.resumed);
  const {ticks} = room.state; // patches come to who is back
  await until("the room", () => kept[0].left !== undefined || room.state.ticks > ticks);
  assert.equal(kept[0].left, undefined);
  const {last, hand} = room.state.players.get(ids[0]);
  assert.deepEqual([room.member, last, hand], [ids[0], 7, [ids[0]]]);
  const told = await room.call("look");
  assert.deepEqual([told.nick, told.members, told.away], ["ann", 2, 0]);
  assert.notEqual(await game.call("process"), killed);
  assert.deepEqual([plain[0].left, plain[0].room.isIn], ["lost", false]);
});
await check("nothing was reported", () => assert.deepEqual(trouble, []));
ann.close();
bob.close();
await finish();
