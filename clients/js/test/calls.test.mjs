// Calls, events and the server's calls; with SYNC_URL, at a real server.

import assert from "node:assert/strict";
import test from "node:test";
import sync, {RemoteError} from "../sync.js";
import {WebSocket, hasty} from "./server.mjs";
import {client, connect, outcome, quietly, serve, sleep, until} from "./help.mjs";

const {SYNC_URL} = process.env;

// A check for both servers; at a real one, only if it has the functions.
function both(name, needs, fn) {
  test(name, async t => {
    const game = await connect(t, SYNC_URL ?? await serve(t));
    if (SYNC_URL) {
      for (const need of needs) {
        if (await outcome(game.call(need)) === -32601) {
          t.skip(`this server has no function ${need}`);
          return;
        }
      }
    }
    await fn(game, t);
  });
}

// A check for the stand-in, which is at hand.
function alone(name, fn) {
  test(name, {skip: SYNC_URL && "needs the stand-in"}, async t => fn(t, await serve(t)));
}

both("a call has a result", ["echo", "add"], async game => {
  assert.equal(await game.server.add(1, 2), 3);
  assert.equal(await game.call("add", {a: 4, b: 5}), 9);
  assert.deepEqual(await game.server.echo({deep: [1, "é漢🎉\u2028", true]}),
    {deep: [1, "é漢🎉\u2028", true]});
  assert.equal(await game.server.echo(null), null);
});

both("errors have code, message, data and method", ["fail", "crash"], async game => {
  const fault = await game.server.fail(7, "no gold", {left: 2}).catch(error => error);
  assert.ok(fault instanceof RemoteError && fault instanceof Error);
  assert.deepEqual({...fault, message: fault.message},
    {name: "RemoteError", code: 7, message: "no gold", data: {left: 2}, method: "fail"});
  assert.equal(await outcome(game.server.crash()), -32603);
  assert.equal(await outcome(game.server.thereIsNone()), -32601);
});

both("nothing of an object is called by accident", ["echo"], async game => {
  assert.equal(await game.server, game.server);
  assert.equal(game.server[Symbol.iterator], undefined);
  assert.equal(JSON.stringify({server: game.server}), '{"server":{}}');
  assert.equal(await outcome(game.call("then")), -32601);
});

both("many calls at once get their own answers", ["echo"], async game => {
  const numbers = Array.from({length: 50}, (_, i) => i);
  assert.deepEqual(await Promise.all(numbers.map(n => game.server.echo(n))), numbers);
  assert.equal(game.stats.pending, 0);
});

both("a batch has results in order, and one failure fails it", ["echo", "fail"], async game => {
  const seen = [];
  game.on("seen", value => seen.push(value));
  assert.deepEqual(await game.batch(b => [b.call("echo", ["a"]), b.notify("fire", ["seen", 1]),
    b.call("echo", ["b"])]), ["a", "b"]);
  assert.deepEqual(await game.batch(() => {}), []);
  let other;
  assert.equal(await outcome(game.batch(b => {
    other = b.call("echo", [1]);
    b.call("fail", [5, "five"]);
  })), 5);
  assert.equal(await other, 1);
  assert.deepEqual(await game.batch(b => b.notify("echo")), []);
});

both("events reach their listeners, in order", ["fire"], async game => {
  const seen = [];
  const stop = game.on("onJoin", (...args) => seen.push(["on", ...args]));
  game.once("onJoin", name => seen.push(["once", name]));
  game.on("*", (name, ...args) => seen.push(["*", name, ...args]));
  await game.server.fire("onJoin", "ann", 1);
  await game.server.fire("onJoin", "bob");
  stop();
  await game.server.fire("onJoin", "cid");
  assert.deepEqual(seen, [["on", "ann", 1], ["once", "ann"], ["*", "onJoin", "ann", 1],
    ["on", "bob"], ["*", "onJoin", "bob"], ["*", "onJoin", "cid"]]);
});

both("the client is called, and answers", ["ask"], async game => {
  game.handle("double", async n => 2 * n);
  game.handle("refuse", () => { throw new RemoteError(42, "not now", [1]); });
  game.handle("break", () => { throw new Error("a secret"); });
  game.handle("nothing", () => undefined);
  game.handle("odd", () => () => {});
  game.handle("big", () => 1n);
  game.handle("long", () => "x".repeat(70_000));
  assert.equal(await game.server.ask("double", 21), 42);
  assert.equal(await game.server.ask("nothing"), null);
  assert.equal(await game.server.ask("odd"), null);
  const refusal = await game.server.ask("refuse").catch(error => error);
  assert.deepEqual([refusal.code, refusal.message, refusal.data], [42, "not now", [1]]);
  const broken = await game.server.ask("break").catch(error => error);
  assert.equal(broken.code, -32603);
  assert.doesNotMatch(broken.message, /secret/);
  assert.equal(await outcome(game.server.ask("big")), -32603);
  assert.equal(await outcome(game.server.ask("long")), -32603);
  assert.equal(await outcome(game.server.ask("unknown")), -32601);
  game.handle("double");
  assert.equal(await outcome(game.server.ask("double", 1)), -32601);
  assert.equal(game.errors.length, 3);
});

both("latency is a time", [], async game => {
  const ms = await game.latency();
  assert.ok(ms > 0 && ms < 1000, `${ms} ms`);
});

both("close ends everything", [], async game => {
  const waiting = game.call("later", [60_000]);
  game.close(1000, "enough");
  assert.equal(game.state, "closed");
  assert.equal(await outcome(waiting), "closed");
  assert.equal(await outcome(game.call("echo")), "closed");
  assert.equal(game.notify("echo"), false);
  game.close();
});

alone("off takes a listener away, also before its turn and one for once", async (t, server) => {
  const game = await connect(t, server);
  const seen = [];
  const second = () => seen.push("second");
  game.on("e", () => {
    seen.push("first");
    game.off("e", second);
    game.on("e", () => seen.push("new"));
  });
  game.on("e", second);
  const never = () => seen.push("never");
  game.once("e", never);
  game.off("e", never);
  game.off("no such event", never);
  await game.server.fire("e");
  assert.deepEqual(seen, ["first"]);
});

alone("an error in a listener is reported and stops no other", async (t, server) => {
  const game = await connect(t, server);
  const seen = [];
  game.on("e", () => { throw new Error("one"); });
  game.on("e", async () => { throw new Error("two"); });
  game.on("e", value => seen.push(value));
  await game.server.fire("e", 1);
  assert.deepEqual(seen, [1]);
  assert.deepEqual(game.errors.map(error => error.message), ["one", "two"]);
});

alone("without onError errors go to the console, as when it fails itself", async (t, server) => {
  const said = t.mock.method(console, "error", () => {});
  const game = await connect(t, server, {onError: undefined});
  game.on("e", () => { throw new Error("one"); });
  await game.server.fire("e");
  assert.equal(said.mock.calls[0].arguments[1].message, "one");
  const other = await connect(t, server, {onError: () => { throw new Error("mine"); }});
  other.on("e", () => { throw new Error("one"); });
  await other.server.fire("e");
  assert.equal(said.mock.calls[1].arguments[1].message, "mine");
});

alone("named parameters of an event are one argument; the protocol's own stay hidden",
  async (t, server) => {
    const game = await connect(t, server);
    const seen = [];
    game.on("*", (...args) => seen.push(args));
    server.session.send({method: "named", params: {a: 1}});
    server.session.send({method: "none"});
    server.session.send({method: "*", params: [1]});
    server.session.send({method: "sync.news", params: [1]});
    await game.latency();
    assert.deepEqual(seen, [["named", {a: 1}], ["none"], ["*", 1]]);
  });

alone("notify sends, and has no answer", async (t, server) => {
  const game = await connect(t, server);
  assert.equal(game.notify("echo", [1, 2]), true);
  await until(() => server.received.length === 1);
  assert.deepEqual(JSON.parse(server.received[0]),
    {jsonrpc: "2.0", method: "echo", params: [1, 2]});
});

alone("a time limit ends the waiting; what comes later is counted", async (t, server) => {
  const game = await connect(t, server, {timeout: 20});
  const error = await game.call("later", [40]).catch(e => e);
  assert.deepEqual([error.code, error.method], ["timeout", "later"]);
  assert.equal(await game.call("later", [60, "x"], {timeout: 0}), "x");
  assert.equal(await game.call("later", [30, "y"], {timeout: Infinity}), "y");
  assert.deepEqual([game.stats.unknown, game.stats.pending], [1, 0]);
});

alone("an AbortSignal ends the waiting", async (t, server) => {
  const game = await connect(t, server);
  const controller = new AbortController();
  const {signal} = controller;
  const waiting = game.call("later", [60_000], {signal});
  setTimeout(() => controller.abort(), 5);
  assert.equal(await waiting.catch(error => error), signal.reason);
  assert.equal(await game.call("echo", [1], {signal}).catch(error => error.name), "AbortError");
  assert.equal(game.stats.pending, 0);
  assert.deepEqual(server.session.calls.map(([name]) => name), ["later"]);
});

alone("answers out of order and twice find their calls once", async (t, server) => {
  const game = await connect(t, server);
  server.reverses = true;
  assert.deepEqual(await game.batch(b => [1, 2, 3].map(n => b.call("echo", [n]))), [1, 2, 3]);
  server.repeats = true;
  assert.equal(await game.call("echo", ["x"]), "x");
  await game.latency();
  await until(() => game.stats.unknown === 2);
});

alone("garbage is reported in clear words and harms nothing", async (t, server) => {
  const game = await connect(t, server, {maxReceived: 1000});
  const {session} = server;
  for (const text of ["<html>", "", "[", "3", "null", "[[1]]", "{}", '{"id":1}', '"x"',
    '{"id":1,"error":"?"}', '{"id":9,"result":1}', "[]", `"${"x".repeat(2000)}"`]) {
    session.sendText(text);
  }
  session.socket.send(Buffer.from('{"method":"e","params":["é"]}')); // binary
  session.socket.send(Buffer.from([0xff, 0x00]));
  const seen = [];
  game.on("e", value => seen.push(value));
  session.send({id: null, error: {code: -32700, message: "no JSON"}});
  assert.equal(await game.call("echo", [1]), 1);
  assert.deepEqual(seen, ["é"]);
  const words = game.errors.map(error => error.message);
  assert.equal(words.filter(text => /what is not JSON: "/.test(text)).length, 4);
  assert.equal(words.filter(text => /what is no JSON-RPC: "/.test(text)).length, 7);
  assert.equal(words.filter(text => /longer than maxReceived/.test(text)).length, 1);
  assert.equal(game.errors.at(-1).code, -32700);
  assert.deepEqual([game.stats.unknown, game.stats.unreadable], [2, 12]);
});

alone("limits: pending calls, the length of messages, unsent bytes", async (t, server) => {
  const game = await connect(t, server, {pendingLimit: 3, maxMessage: 200, maxQueue: 10_000});
  server.isSilent = true;
  const waiting = [1, 2, 3].map(n => outcome(game.call("echo", [n], {timeout: 30})));
  assert.equal(await outcome(game.call("echo", [4])), "full");
  assert.equal(await outcome(game.batch(b => b.call("echo"))), "full");
  assert.deepEqual(await Promise.all(waiting), ["timeout", "timeout", "timeout"]);
  assert.equal(await outcome(game.call("echo", ["é".repeat(80)])), "tooLong");
  assert.equal(await outcome(game.batch(b => {
    for (let i = 0; i < 3; i++) b.call("echo", ["x".repeat(60)]);
  })), "tooLong");
  assert.throws(() => game.notify("echo", ["x".repeat(200)]), {code: "tooLong"});
  assert.equal(game.stats.pending, 0);
  let sent = 0; // the server reads nothing while this loop runs
  while (sent < 1e6 && game.notify("echo", ["x".repeat(140)])) sent++;
  assert.ok(sent > 50 && sent < 1e6, `${sent} sent`);
  assert.equal(await outcome(game.call("echo")), "full");
});

alone("a server that calls too much is told", async (t, server) => {
  const game = await connect(t, server, {pendingLimit: 2});
  let finish;
  const gate = new Promise(resolve => { finish = resolve; });
  game.handle("slow", () => gate);
  const asked = [1, 2, 3].map(() => outcome(server.session.ask("slow")));
  assert.equal(await asked[2], -32000);
  finish("done");
  assert.deepEqual(await Promise.all(asked), ["done", "done", -32000]);
});

alone("misuse is told at once", async (t, server) => {
  const game = await connect(t, server);
  const bad = {url: server.url, ...quietly()};
  assert.throws(() => sync.client(bad.url, {retry: 1}), /unknown option "retry"/);
  assert.throws(() => sync.client(bad.url, {WebSocket, reconnect: {max: 1}}),
    /reconnect option "max"/);
  assert.throws(() => sync.client(bad.url, {WebSocket, offline: "drop"}), /options.offline/);
  assert.throws(() => sync.client("no url", {WebSocket}), TypeError);
  await assert.rejects(sync.connect("ftp://x/", {WebSocket}), SyntaxError);
  if (!globalThis.WebSocket) assert.throws(() => sync.client(bad.url), /there is no WebSocket/);
  await assert.rejects(game.call("echo", "text"), TypeError);
  await assert.rejects(game.call("echo", [1n]), TypeError);
  await assert.rejects(game.call(3), TypeError);
  await assert.rejects(game.batch(b => { b.call("echo"); b.notify("echo", 3); }), TypeError);
  assert.throws(() => game.notify("echo", 3), TypeError);
  assert.throws(() => game.on("e"), TypeError);
  assert.throws(() => game.close(999));
  assert.equal(game.state, "open");
  assert.equal(game.stats.pending, 0);
});

alone("an http URL will do, and its fragment doesn't matter", async (t, server) => {
  const game = await connect(t, `http://127.0.0.1:${server.port}/room?x=1#top`);
  assert.equal(game.url, `ws://127.0.0.1:${server.port}/room?x=1`);
  const other = client(t, server);
  await until(() => other.state === "open");
  await sleep(0);
});

const FIRST = [{method: "e", params: [1]}, {id: 5, method: "double", params: [21]},
  {method: "e", params: [2]}];

test("what comes with the handshake waits for who awaits connect", async t => {
  const server = await hasty(t, FIRST);
  const game = await (async () => connect(t, server))();
  const seen = [];
  game.on("e", value => seen.push(value));
  game.handle("double", n => {
    seen.push("double");
    return 2 * n;
  });
  await until(() => server.received.length > 0, "the answer");
  assert.deepEqual(seen, [1, "double", 2]);
  assert.deepEqual(server.received, [{jsonrpc: "2.0", id: 5, result: 42}]);
});

test("a call of the server that nobody handles by then has no function", async t => {
  const server = await hasty(t, FIRST);
  await connect(t, server);
  await until(() => server.received.length > 0, "the answer");
  assert.equal(server.received[0].error.code, -32601);
});

test("what comes with the handshake is told before the loss of the connection", async t => {
  const server = await hasty(t, FIRST, 4001);
  const game = await connect(t, server);
  const seen = [];
  game.on("e", value => seen.push(value));
  game.onState((state, {code}) => seen.push(state, code));
  await until(() => game.state === "closed", "the close");
  assert.deepEqual(seen, [1, 2, "closed", 4001]);
});

test("what comes with the handshake has a bound", async t => {
  const server = await hasty(t, [FIRST[0], FIRST[2]]);
  const game = await connect(t, server, {maxReceived: 60});
  const seen = [];
  game.on("e", value => seen.push(value));
  await sleep(1);
  await until(() => game.errors.length > 0, "the report");
  assert.match(game.errors[0].message, /maxReceived came before anybody could listen/);
  assert.deepEqual(seen, []);
});
