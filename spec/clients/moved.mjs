// The JavaScript client in a room of four workers: wherever its session goes on, the room does.
//
//     node spec/clients/moved.mjs ./sync-lua
//
// Ends with a line `N passed, N failed`, and with 1 when one has failed.

import assert from "node:assert/strict";
import {spawn} from "node:child_process";
import * as sync from "../../clients/js/sync.js";
import {installed} from "../browser/clients.mjs";
import {atEnd, check, configure, finish, program, until} from "../support/checks.mjs";

const WebSocket = installed("ws");

configure({limit: 100_000, checkLimit: 60_000});

class Breakable extends WebSocket {
  constructor(...args) {
    super(...args);
    Breakable.last = this;
  }
}

async function startServer() {
  const server = spawn(program, ["--workers=4", "spec/rooms/server.lua"],
    {stdio: ["ignore", "ignore", "pipe"]});
  atEnd(() => server.kill("SIGTERM"));
  let said = "";
  server.stderr.setEncoding("utf8").on("data", text => { said += text; });
  await until("the workers", () => (said.match(/node \d is there/g) ?? []).length >= 12);
  return Number(/listens on \S+:(\d+)/.exec(said)[1]);
}

const port = await startServer();
const trouble = [];
const connect = (WebSocketClass = WebSocket) => sync.connect(`ws://127.0.0.1:${port}`,
  {WebSocket: WebSocketClass, onError: error => trouble.push(error), reconnect: {first: 20, most: 50}});
const ann = await connect(Breakable);
const bob = await connect();

await check("a member plays on from each worker to which it comes back", async () => {
  const room = await ann.join("Duel", {mode: "moved"});
  const other = await bob.joinById(room.id);
  const workers = new Set();
  let x = 0;
  for (let tries = 0; tries < 100 && workers.size < 3; tries++) {
    workers.add(await ann.call("node"));
    x += 1;
    assert.equal(await room.call("move", 1), x);
    await until("both see the move", () => [room, other].every(({state}) =>
      state.players.get(room.member)?.x === x));
    const before = ann.stats.received;
    let isBack = false;
    const stop = ann.onState(state => { isBack ||= state === "open"; });
    Breakable.last.terminate();
    await until("the return", () => isBack);
    stop();
    assert.ok(ann.resumed, `not resumed after ${before} messages`);
    assert.ok(room.isIn);
  }
  assert.equal(workers.size, 3); // that of bob has more clients than the others, and gets no more
  await other.leave();
});
await check("nothing was reported", () => assert.deepEqual(trouble, []));
ann.close();
bob.close();
await finish();
