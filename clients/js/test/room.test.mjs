// A room by itself: what its listeners are told, its view, its clock, and predictions. Time is
// what a test says.

import assert from "node:assert/strict";
import test from "node:test";
import {Clock, Room} from "../sync-room.js";
import {toHead} from "../sync-state.js";
import {Listeners} from "../sync.js";

const JOINED = {
  room: 7, name: "Arena", member: 3, epoch: 1, tickRate: 20, patchRate: 20, start: 100,
  state: {
    fields: [["phase", "string"]],
    maps: [{name: "players", keys: "integer", private: [["gold", "uint32"]],
      fields: [["aim", ["fixed", 0, 360, 0.5]], ["hp", "uint8"], ["x", "float32"]]}],
  },
};

// A room, and what it says to its client. `clock` and `at` are times in seconds.
function enter(t, settings = {}, joined = JOINED) {
  const here = {at: 1000, calls: [], clock: {now: 100}, events: new Map(), left: [], errors: []};
  t.mock.method(performance, "now", () => here.at * 1000);
  here.answer = () => Promise.resolve(true);
  here.room = new Room(joined, {
    clock: here.clock,
    call: (...args) => {
      here.calls.push(args);
      return here.answer();
    },
    notify: (...args) => {
      here.calls.push(args);
      return here.isOpen ?? true;
    },
    on: (name, fn) => {
      here.events.set(name, fn);
      return () => here.events.delete(name);
    },
    listeners: () => new Listeners(error => here.errors.push(error)),
    leave: room => here.left.push(room.number),
    lose: (room, reason) => Room.left(room, reason),
  }, settings);
  here.patch = (tick, object, input = 0) =>
    Room.patch(here.room, toHead({room: 7, epoch: 1, tick, input, ...object}));
  // A patch that comes `late` seconds after its tick.
  here.patchIn = (tick, late, object, input) => {
    const time = joined.start + tick / 20 + late;
    here.at += time - here.clock.now;
    here.clock.now = time;
    return here.patch(tick, object, input);
  };
  here.pass = seconds => {
    here.at += seconds;
    here.clock.now += seconds;
  };
  return here;
}

const FIRST = {snapshot: true, seen: {"": [[0, "", {phase: "wait"}]],
  players: [[0, 3, {hp: 9, x: 10, gold: 5}, true], [1, 4, {x: 20}]]}};

const near = (value, wanted, what) =>
  assert.ok(Math.abs(value - wanted) < 1e-6, `${what ?? "it"}: ${value}, not ${wanted}`);

test("the state is there for who reads it, also before the first patch", t => {
  const {room, patch} = enter(t);
  assert.equal(room.state.phase, "");
  assert.equal(room.state.players.size, 0);
  patch(1, FIRST);
  const {players} = room.state;
  assert.equal(room.state.phase, "wait");
  assert.deepEqual(players.get(3), {aim: 0, hp: 9, x: 10, gold: 5});
  assert.deepEqual([...players].map(([key, {x}]) => [key, x]), [[3, 10], [4, 20]]);
  assert.deepEqual([[...players.keys()], [...players.values()].length], [[3, 4], 2]);
  assert.deepEqual([players.isMine(3), players.isMine(4), players.isMine(5)], [true, false, false]);
  assert.deepEqual([room.tick, room.number, room.name, room.member], [1, 7, "Arena", 3]);
  assert.deepEqual(Object.keys(room.state), ["phase", "players"]);
});

test("listeners are told what comes, goes and changes, when the whole patch is done", t => {
  const {room, patch, errors} = enter(t);
  const {players} = room.state;
  const told = [];
  patch(1, FIRST);
  players.onAdd((player, id, why) => told.push([why, id, player.x, players.size]));
  players.onAdd(() => { throw new Error("broken listener"); });
  players.onRemove((player, id, why) => told.push(["remove", id, why, players.size]));
  const stop = players.onChange((player, id, fields) => told.push(["change", id, fields, player.hp]));
  room.onChange((state, fields) => told.push([state.phase, fields]));
  room.onPatch(({tick}) => told.push(tick));
  assert.deepEqual(told.splice(0), [["seen", 3, 10, 2], ["seen", 4, 20, 2]]);
  assert.equal(errors.splice(0).length, 2);
  patch(2, {hidden: {players: [0]}, gone: {players: [1]}, new: {players: [[5, 6, {x: 1}]]},
    change: {"": [[0, {phase: "play"}]]}});
  assert.deepEqual(told.splice(0), [["remove", 4, "gone", 1], ["remove", 3, "hidden", 1],
    ["new", 6, 1, 1], ["play", ["phase"]], 2]);
  patch(3, {change: {players: [[5, {hp: 2, x: 7}]]}});
  assert.deepEqual(told.splice(0), [["change", 6, ["hp", "x"], 2], 3]);
  stop();
  patch(4, {change: {players: [[5, {hp: 3}]]}});
  assert.deepEqual(told.splice(0), [4]);
});

test("a patch that doesn't fit is asked about once, and the next snapshot is worked out", async t => {
  const here = enter(t);
  const {room, patch, calls} = here;
  const told = [];
  patch(1, FIRST);
  const ann = room.state.players.get(3);
  room.state.players.onRemove((player, id, why) => told.push([id, why]));
  room.state.players.onChange((player, id, fields) => told.push([id, fields]));
  assert.match(patch(2, {gone: {players: [9]}}).message, /does not fit/);
  patch(3, {change: {players: [[0, {hp: 1}]]}});
  patch(4, {gone: {players: [9]}});
  assert.equal(room.tick, 1);
  assert.deepEqual(calls, [["sync.snapshot", {room: 7}, {}]]);
  patch(5, {snapshot: true, seen: {players: [[0, 3, {hp: 8, x: 10, gold: 5}, true]]}});
  assert.deepEqual(told, [[4, "hidden"], [3, ["hp"]]]);
  assert.equal(room.state.players.get(3), ann);
  assert.equal(room.state.phase, "");

  here.answer = () => Promise.reject(Object.assign(new Error(), {code: "timeout"}));
  patch(6, {gone: {players: [9]}});
  await new Promise(setImmediate);
  patch(7, {});
  assert.equal(calls.length, 3, "it asks again");
});

test("a room that the server doesn't know any more is left", async t => {
  const here = enter(t);
  const reasons = [];
  here.room.onLeft(reason => reasons.push(reason));
  here.patch(1, FIRST);
  here.answer = () => Promise.reject(Object.assign(new Error("no such room"), {code: -32602}));
  here.patch(2, {gone: {players: [9]}});
  await new Promise(setImmediate);
  assert.deepEqual(reasons, ["no such room"]);
  assert.equal(here.room.isIn, false);
});

test("patches of an older epoch, and before the snapshot of a resumed one, are dropped", t => {
  const {room, patch} = enter(t);
  patch(1, {...FIRST, epoch: 3});
  patch(2, {epoch: 2, change: {"": [[0, {phase: "old"}]]}});
  assert.deepEqual([room.tick, room.state.phase], [1, "wait"]);
  Room.resumed(room);
  patch(3, {epoch: 3, change: {"": [[0, {phase: "missed"}]]}});
  assert.equal(room.state.phase, "wait");
  patch(4, {...FIRST, epoch: 3});
  assert.equal(room.tick, 4);
});

test("calls, events and leaving", async t => {
  const {room, patch, calls, events, left} = enter(t);
  patch(1, FIRST);
  await room.callWith({timeout: 5}, "aim", 90);
  assert.deepEqual(calls.pop(),
    ["sync.call", {room: 7, method: "aim", params: [90]}, {timeout: 5}]);
  const hits = [];
  room.on("onHit", hit => hits.push(hit));
  const stop = room.on("onMiss", () => {});
  events.get("onHit")(5);
  stop();
  assert.deepEqual([hits, events.has("onMiss")], [[5], false]);
  await room.leave();
  await room.leave();
  assert.deepEqual([calls, left, events.size, room.isIn],
    [[["sync.leave", {room: 7}, {}]], [7], 0, false]);
});

test("the view lies between two patches, at a delay that it is told", t => {
  const {room, patchIn, pass} = enter(t, {delay: 100, interpolate: {players: {x: true, aim: 360}}});
  patchIn(20, 0.02, {...FIRST, seen: {players: [[0, 3, {x: 10, aim: 350}]]}});
  assert.equal(room.delay, 100);
  near(room.view.players.get(3).x, 10, "at first");
  patchIn(21, 0.02, {change: {players: [[0, {x: 20, aim: 10, hp: 4}]]}});
  patchIn(22, 0.02, {change: {players: [[0, {x: 40}]]}});
  near(room.view.players.get(3).x, 14, "20 ms behind tick 20");
  near(room.view.players.get(3).aim, 358, "the short way round");
  assert.equal(room.view.players.get(3).hp, 4, "what isn't interpolated is as it is");
  pass(0.05);
  near(room.view.players.get(3).x, 28, "20 ms behind tick 21");
  pass(0.2);
  near(room.view.players.get(3).x, 40, "it doesn't go beyond what is known");
  assert.equal(room.state.players.get(3).x, 40);
});

test("what rested doesn't creep when it moves", t => {
  const {room, patchIn, pass} = enter(t, {delay: 100});
  patchIn(20, 0, FIRST);
  assert.equal(room.view.players.size, 2);
  patchIn(60, 0, {change: {players: [[0, {x: 20}]]}});
  near(room.view.players.get(3).x, 10, "100 ms before");
  pass(0.075);
  near(room.view.players.get(3).x, 15, "half of the last interval");
});

test("in the view one comes and goes when its time has come", t => {
  const {room, patchIn, pass} = enter(t, {delay: 100});
  patchIn(20, 0, FIRST);
  assert.deepEqual([...room.view.players.keys()], [3, 4]);
  patchIn(21, 0, {gone: {players: [1]}, new: {players: [[2, 5, {x: 1}]]}});
  assert.deepEqual([...room.view.players.keys()], [3, 4]);
  assert.equal(room.view.players.get(5), undefined);
  pass(0.11);
  assert.deepEqual([...room.view.players].map(([key, {x}]) => [key, x]), [[3, 10], [5, 1]]);
  assert.equal(room.view.players.has(4), false);
  assert.equal(room.view.phase, "wait");
});

test("the delay follows how late patches are, and the view doesn't leap", t => {
  const {room, patchIn, pass} = enter(t);
  patchIn(0, 0.02, FIRST);
  assert.equal(room.view.phase, "wait");
  let x = 0;
  let tick = 1;
  const next = late => patchIn(tick++, late, {change: {players: [[0, {x: (x += 10)}]]}});
  for (let i = 0; i < 60; i++) next(0.02);
  near(room.delay, 75, "an interval, how late they are, and 5 ms");
  for (let i = 0; i < 45; i++) next(i % 2 ? 0.01 : 0.06);
  near(room.delay, 115, "the oldest that the newest has been, and 5 ms");
  let before = room.view.players.get(3).x;
  for (let i = 0; i < 60; i++) {
    next(i % 2 ? 0.01 : 0.03);
    const {x: shown} = room.view.players.get(3);
    assert.ok(shown >= before && shown - before < 20, `${before} to ${shown}`);
    before = shown;
  }
  patchIn(tick += 100, 0.02, {});
  assert.ok(room.delay < 100, "that nothing was sent is no delay");
  pass(5);
  near(room.view.players.get(3).x, x);
});

test("settings that name what isn't there are errors", t => {
  assert.throws(() => enter(t, {interpolate: {units: {x: true}}}).room.view, /no map "units"/);
  assert.throws(() => enter(t, {interpolate: {players: {z: true}}}).room.view, /no field "z"/);
  assert.throws(() => enter(t).room.predict("units", 1, () => {}), /no map "units"/);
});

const move = (player, {dx}) => { player.x += dx; };

test("inputs are predicted, and corrected by what the server says", t => {
  const here = enter(t);
  const {room, patch, calls} = here;
  patch(1, FIRST);
  const me = room.predict("players", 3, move, {method: "move", smooth: 100});
  assert.equal(me.send({dx: 1}), true);
  assert.equal(me.send({dx: 2}), true);
  assert.deepEqual(calls, [1, 2].map(input => ["sync.call",
    {room: 7, method: "move", params: [{dx: input}], input}, {offline: "refuse"}]));
  near(me.state.x, 13);
  assert.equal(room.state.players.get(3).x, 10, "the state is the server's");
  patch(2, {change: {players: [[0, {x: 11}]]}}, 1);
  near(me.state.x, 13, "the first was taken");
  assert.equal(me.pending, 1);

  patch(3, {change: {players: [[0, {x: 5}]]}}, 2); // there was a wall
  near(me.state.x, 13, "a correction is shown little by little");
  here.at += 0.05;
  near(me.state.x, 9);
  patch(4, {change: {players: [[0, {hp: 1}]]}}, 2);
  here.at += 0.025;
  near(me.state.x, 7, "a patch that corrects nothing leaves it so");
  here.at += 0.03;
  near(me.state.x, 5);

  here.isOpen = false;
  assert.equal(me.send({dx: 1}), false);
  near(me.state.x, 5);
  here.isOpen = true;
  me.send({dx: 1});
  assert.equal(calls.at(-1)[1].input, 3, "numbers have no gaps");
  Room.resumed(room);
  patch(5, FIRST, 2);
  assert.equal(me.pending, 0, "what was on its way is lost");
  patch(6, {gone: {players: [0]}});
  assert.equal(me.state, undefined);
  me.stop();
  for (let i = 0; i < 300; i++) me.send({dx: 1});
  assert.equal(me.pending, 256);
});

test("the clock takes the quickest answer, and begins anew with a connection", async t => {
  let at = 50;
  t.mock.method(performance, "now", () => at * 1000);
  let timer;
  t.mock.method(globalThis, "setTimeout", (fn, ms) => (timer = {fn, ms, unref () {}}));
  t.mock.method(globalThis, "clearTimeout", () => { timer = undefined; });
  const trips = [0.1, 0.02, 0.3, undefined, 0.2]; // seconds there and back, uneven
  let asked = 0;
  let ahead = 1000;
  const clock = new Clock(async () => {
    const trip = trips[asked++ % trips.length];
    if (trip === undefined) throw new Error("no answer");
    at += trip * 0.75;
    const time = at + ahead;
    at += trip * 0.25;
    return time;
  });
  const next = async () => {
    timer?.fn();
    await new Promise(setImmediate);
  };
  assert.equal(clock.now, undefined);
  clock.start();
  await next();
  near(clock.now, at + 1000 + 0.025);
  for (let i = 0; i < 4; i++) {
    assert.equal(timer.ms, 200);
    await next();
  }
  near(clock.now, at + 1000 + 0.005);
  near(clock.roundTrip, 0.02);
  assert.deepEqual([asked, timer.ms], [5, 10_000]);
  ahead = 2000;
  clock.start();
  await next();
  near(clock.now, at + 2000 + 0.025);
  clock.stop();
  await next();
  assert.equal(asked, 6);
});
