// How a client is in rooms: joining, patches among its messages, and losing the connection.

import assert from "node:assert/strict";
import test from "node:test";
import {away, connect, outcome, serve, until} from "./help.mjs";
import {bytesOf, vectors} from "./vectors.mjs";

const {join: joined, steps} = vectors.find(({file}) => file === "entities.json");
const [first, second] = steps;
const bytes = steps.map(({binary}) => bytesOf(binary));

const JOIN = {...joined, patchRate: 20};

async function enter(t, {form, ...options} = {}) {
  const server = await serve(t, {joined: JOIN, ...options});
  const game = await connect(t, server);
  const room = await game.join("Arena", {mode: "ranked"}, {form});
  return {server, game, room, session: server.session};
}

const called = (session, name) => session.calls.filter(([one]) => one === name);

test("a room is joined, and patches come in either form", async t => {
  const {session, room} = await enter(t);
  assert.deepEqual(session.joins, [["Arena", {mode: "ranked"}, "binary"]]);
  session.patch(bytes[0]);
  assert.equal(await room.ready, room);
  assert.equal(room.state.players.get(3).name, "ann");
  session.patch(second.json);
  await until(() => room.tick === 2);
  assert.deepEqual(room.state.players.get(3).hand, [1, 2]);
  assert.deepEqual(await room.call("aim", 90), ["aim", 90]);
});

test("patches and events at the heels of the answer find the room", async t => {
  const told = [];
  const server = await serve(t, {joined: JOIN, afterAnswer(session, {method}) {
    if (method !== "sync.join") return;
    session.patch(bytes[0]);
    session.patch(bytes[1]);
  }});
  const game = await connect(t, server);
  const room = await game.join("Arena");
  room.state.players.onAdd((player, id) => told.push(id));
  await until(() => room.tick === 2);
  assert.deepEqual(told, [3, -7]);
  assert.deepEqual(called(server.session, "sync.snapshot"), []);
});

test("order with events is kept, and patches don't count", async t => {
  const {server, game, session, room} = await enter(t, {resumeTime: 5});
  const told = [];
  room.onPatch(({tick}) => told.push(tick));
  game.on("at", value => told.push(value));
  session.patch(bytes[0]);
  session.send({method: "at", params: ["a"]});
  session.patch(second.json);
  session.send({method: "at", params: ["b"]});
  await until(() => told.length === 4);
  assert.deepEqual(told, [1, "a", 2, "b"]);
  await until(() => game.stats.received === session.count); // of the clock's answers, too
  server.cut();
  await away(game);
  await until(() => game.state === "open");
  assert.equal(game.resumed, true);
});

test("after a resume a snapshot is what counts", async t => {
  const {server, game, session, room} = await enter(t, {resumeTime: 5});
  session.patch(bytes[0]);
  await room.ready;
  server.beforeResume = other => other.patch(bytes[1]);
  server.cut();
  await away(game);
  await until(() => game.state === "open" && game.resumed);
  session.patch(bytes[1]);
  session.patch(first.json);
  session.patch(bytes[1]);
  await until(() => room.tick === 2);
  assert.equal(game.errors.length, 0, String(game.errors));
  assert.ok(room.isIn);
});

test("when the node of the session has died, the member is back in rooms of others", async t => {
  const {server, game, session, room} = await enter(t,
    {resumeTime: 5, joined: {...JOIN, back: "8f0c.secret"}});
  session.patch(bytes[0]);
  await room.ready;
  server.joined = JOIN; // of a room that dies with its node
  const other = await game.join("Arena");
  const left = [];
  room.onLeft(reason => left.push(["room", reason]));
  other.onLeft(reason => left.push(["other", reason]));
  server.joined = {...JOIN, back: "8f0c.secret"};
  server.isRebuilt = true;
  server.cut();
  await away(game);
  await until(() => room.number === 103);
  assert.deepEqual(session.joins.at(-1), ["8f0c.secret", "binary"]);
  assert.deepEqual(left, [["other", "lost"]]);
  assert.ok(room.isIn && room.state.players.get(3));
  const numbered = bytes[0].slice();
  numbered[2] = 103; // the room, a varint of one byte
  let patches = 0;
  room.onPatch(() => { patches++; });
  session.patch(numbered);
  await until(() => patches === 1);
  await room.call("aim", 1);
  assert.equal(called(session, "sync.call").at(-1)[1].room, 103);
  // Where the place is gone, the room is left.
  server.joined = JOIN;
  server.cut();
  await until(() => left.length === 2);
  assert.deepEqual(left[1], ["room", "lost"]);
});

test("without a session the room is lost, and may be joined again", async t => {
  const {server, game, room} = await enter(t);
  const reasons = [];
  room.onLeft(reason => reasons.push(reason));
  game.onSession(() => {
    if (!room.isIn) game.join("Arena").then(again => { game.again = again; });
  });
  server.cut();
  await until(() => game.again);
  assert.deepEqual(reasons, ["the session is over"]);
  assert.equal(room.isIn, false);
  server.session.patch(bytes[0]);
  await game.again.ready;
});

test("leaving, being sent away, and closing", async t => {
  const {game, session, room} = await enter(t);
  await room.leave();
  assert.deepEqual(called(session, "sync.leave"), [["sync.leave", {room: 1}]]);
  session.patch(bytes[0]); // it was on its way

  const reasons = [];
  const other = await game.join("Arena");
  other.onLeft(reason => reasons.push(reason));
  session.send({method: "sync.left", params: [2, "kicked"]});
  await until(() => reasons.length === 1);
  const last = await game.join("Arena");
  last.onLeft(reason => reasons.push(reason));
  game.close();
  assert.deepEqual(reasons, ["kicked", "the client is closed: 1000"]);
  assert.equal(room.tick, 0);
  assert.equal(game.errors.length, 0);
});

test("a refused join is an error, and one that came too late is left", async t => {
  const {server, game, session} = await enter(t);
  assert.equal(await outcome(game.join("Full")), -32002);
  assert.equal(await outcome(game.join("Arena", {}, {interpolat: {}})), "TypeError");
  const handle = server.handle.bind(server);
  let held;
  server.handle = (socket, message) => { held = () => handle(socket, message); };
  assert.equal(await outcome(game.join("Arena", {}, {timeout: 20})), "timeout");
  server.handle = handle;
  held();
  await until(() => called(session, "sync.leave").length === 1);
  assert.deepEqual(called(session, "sync.leave"), [["sync.leave", {room: 2}]]);
});

test("a room of types that this client doesn't know is left", async t => {
  const server = await serve(t, {joined: {...JOIN, state: {fields: [["a", "vector"]], maps: []}}});
  const game = await connect(t, server);
  assert.equal(await outcome(game.join("Arena")), "TypeError");
  await until(() => called(server.session, "sync.leave").length === 1);
});

test("what can't be read is reported, and a snapshot asked for", async t => {
  const {game, session, room} = await enter(t);
  session.patch(bytes[0]);
  await room.ready;
  session.patch(Uint8Array.of(0xC1, 9));
  session.patch({room: "1"});
  await until(() => called(session, "sync.snapshot").length > 0 && game.errors.length === 2);
  assert.equal(game.stats.unreadable, 2);
  assert.equal(called(session, "sync.snapshot").length, 1);
  assert.equal(room.tick, 1);
});

test("the server's clock runs in a room", async t => {
  const {game} = await enter(t);
  await until(() => game.clock.now !== undefined);
  assert.ok(Math.abs(game.clock.now - performance.now() / 1000 - 5000) < 0.5);
});
