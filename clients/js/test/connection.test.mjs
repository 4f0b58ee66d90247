// Connecting, losing the connection and coming back, without sessions that are kept.

import assert from "node:assert/strict";
import {once} from "node:events";
import net from "node:net";
import test from "node:test";
import {freePort} from "../../../spec/support/ports.mjs";
import * as sync from "../sync.js";
import {StandIn, WebSocket} from "./server.mjs";
import {away, client, connect, outcome, quietly, serve, sleep, until} from "./help.mjs";

const check = (name, fn) => test(name, {timeout: 20_000}, fn);

const FAR = {first: 60_000, most: 60_000, jitter: 0};

check("connect fails at once where nobody listens, and tries no more", async () => {
  const error = await sync.connect(`ws://127.0.0.1:${await freePort()}/`, quietly()).catch(e => e);
  assert.equal(error.code, "disconnected");
  assert.match(error.message, /no connection to ws:.*ECONNREFUSED/);
  assert.equal(error.data.code, 1006);
});

check("connect tells the status of a refusal", async t => {
  const server = await serve(t, {refuse: 403});
  const error = await sync.connect(server.url, quietly()).catch(e => e);
  assert.match(error.message, /HTTP status 403/);
  assert.equal(error.data.status, 403);
  await sleep(50);
  assert.equal(server.handshakes, 1);
});

check("a client connects when there is a server, and sends what waits, in order", async t => {
  const port = await freePort();
  const game = client(t, `ws://127.0.0.1:${port}/`);
  const answers = [1, 2].map(n => game.server.echo(n));
  assert.equal(game.notify("echo", [3]), true);
  const batch = game.batch(b => [b.call("echo", [4]), b.call("echo", [5])]);
  assert.equal(game.stats.queued, 4);
  await until(() => game.state === "waiting");
  const server = await serve(t, {port});
  assert.deepEqual(await Promise.all(answers), [1, 2]);
  assert.deepEqual(await batch, [4, 5]);
  assert.deepEqual(server.session.calls.map(([, n]) => n), [1, 2, 3, 4, 5]);
  assert.equal(game.state, "open");
  assert.equal(game.resumed, false);
});

check("with offline: refuse, calls without a connection fail at once", async t => {
  const server = await serve(t);
  const game = client(t, server, {offline: "refuse"});
  assert.equal(await outcome(game.server.echo(1)), "offline");
  assert.equal(game.notify("echo"), false);
  const waits = game.call("echo", [2], {offline: "queue"});
  assert.equal(await outcome(game.latency()), "offline");
  assert.equal(await waits, 2);
  const other = client(t, server);
  assert.equal(await outcome(other.call("echo", [1], {offline: "refuse"})), "offline");
});

check("what waits for a connection is bounded, and leaves when nobody waits for it", async t => {
  const port = await freePort();
  const game = client(t, `ws://127.0.0.1:${port}/`, {queueLimit: 4, timeout: 40});
  const controller = new AbortController();
  const short = outcome(game.call("echo", ["short"]));
  const aborted = outcome(game.call("echo", ["aborted"], {signal: controller.signal}));
  game.notify("echo", ["old"]);
  const mixed = game.batch(b => {
    b.call("echo", ["mixed, short"]).catch(() => {});
    b.call("echo", ["mixed"], {timeout: 5000});
  });
  assert.equal(await outcome(game.call("echo", ["over"])), "full");
  assert.equal(game.notify("echo"), false);
  assert.equal(await outcome(game.batch(b => b.call("echo"))), "full");
  controller.abort();
  assert.equal(await aborted, "AbortError");
  assert.equal(game.stats.queued, 3);
  assert.equal(await short, "timeout");
  assert.equal(await outcome(mixed), "timeout");
  await until(() => game.stats.queued === 1);
  const server = await serve(t, {port});
  await until(() => game.state === "open");
  await game.latency();
  assert.deepEqual(server.session.calls.map(([, n]) => n), ["mixed", undefined]);
  assert.equal(server.received[0][0], "[");
});

check("calls that were sent fail when the connection breaks; later ones wait", async t => {
  const server = await serve(t);
  const game = await connect(t, server);
  const sent = game.call("later", [60_000]).catch(error => error);
  await until(() => server.received.length === 1);
  server.cut();
  const error = await sent;
  assert.deepEqual([error.code, error.method, error.data.code], ["disconnected", "later", 1006]);
  assert.equal(await game.server.echo(1), 1);
  assert.deepEqual(game.states.slice(0, 4), ["open", "waiting", "connecting", "open"]);
});

check("a call into a connection that is closing waits for the next", async t => {
  const server = await serve(t);
  let isClosing = false;
  class Closing extends WebSocket {
    get readyState() { return isClosing ? WebSocket.CLOSING : super.readyState; }
  }
  const game = await connect(t, server, {WebSocket: Closing});
  isClosing = true; // the other side has begun to, and the event is still to come
  const late = game.server.echo("late");
  assert.equal(game.stats.queued, 1);
  server.cut();
  await away(game);
  isClosing = false;
  assert.equal(await late, "late");
});

check("close codes that forbid to return are obeyed", async t => {
  const server = await serve(t);
  for (const code of [1000, 1008, 4000, 4999]) {
    const game = await connect(t, server);
    const details = [];
    game.onState((state, detail) => details.push([state, detail.code, detail.reason]));
    const sent = outcome(game.call("later", [60_000]));
    await game.latency();
    server.session.socket.close(code, "go away");
    assert.equal(await sent, "disconnected");
    assert.deepEqual(details, [["closed", code, "go away"]]);
    assert.equal(await outcome(game.server.echo()), "closed");
  }
  for (const code of [1001, 1009, 1011, 1012, 3000]) {
    const game = await connect(t, server);
    server.session.socket.close(code);
    await until(() => game.states.at(-1) === "open" && game.states.length > 3);
    assert.equal(game.stats.sessions, 2);
  }
  const game = await connect(t, server, {reconnect: {first: 1, stop: code => code === 3000}});
  server.session.socket.close(1000);
  await until(() => game.stats.sessions === 2 && game.state === "open");
  server.session.socket.close(3000);
  await until(() => game.state === "closed");
});

check("HTTP refusals that will stay end it, others don't", async t => {
  const server = await serve(t);
  for (const status of [401, 403, 404]) {
    const game = await connect(t, server);
    const details = [];
    game.onState((state, detail) => details.push([state, detail.status]));
    server.refuse = status;
    server.cut();
    await away(game);
    const queued = await game.server.echo().catch(error => error);
    assert.deepEqual([queued.code, queued.data.status], ["closed", status]);
    assert.deepEqual(details.at(-1), ["closed", status]);
    server.refuse = undefined;
  }
  for (const status of [429, 500, 503]) {
    const game = await connect(t, server);
    server.refuse = status;
    server.cut();
    const before = server.handshakes;
    await until(() => server.handshakes > before + 2 && game.state !== "open");
    server.refuse = undefined;
    assert.equal(await game.server.echo(1), 1);
  }
});

check("reconnect: false and attempts end it", async t => {
  const server = await serve(t);
  const first = await connect(t, server, {reconnect: false});
  server.cut();
  await until(() => first.state === "closed");
  const second = await connect(t, server, {reconnect: {first: 1, most: 2, attempts: 3}});
  await server.stop();
  await away(second);
  assert.equal(await outcome(second.server.echo()), "closed");
  assert.equal(second.states.filter(state => state === "connecting").length, 3);
});

check("waits grow up to the longest, and chance shortens them", async t => {
  const url = `ws://127.0.0.1:${await freePort()}/`;
  const delays = async jitter => {
    const game = client(t, url, {reconnect: {first: 1, factor: 3, most: 30, jitter}});
    const list = [];
    game.onState((state, {delay}) => { if (state === "waiting") list.push(delay); });
    await until(() => list.length >= 6);
    game.close();
    return list.slice(0, 6);
  };
  const longest = [1, 3, 9, 27, 30, 30];
  assert.deepEqual(await delays(0), longest);
  for (const [i, delay] of (await delays(1)).entries()) {
    assert.ok(delay >= 0 && delay < longest[i], `${delay} of ${longest[i]}`);
  }
});

check("a server that accepts and hangs up is not stormed", async t => {
  const server = await serve(t, {onSession: ({socket}) => setTimeout(() => socket.terminate(), 1)});
  const game = client(t, server, {reconnect: {first: 10, most: 1000, jitter: 0}});
  await sleep(500);
  assert.ok(server.handshakes >= 3 && server.handshakes <= 7, `${server.handshakes} handshakes`);
  game.close();
});

check("a connection that held begins the waits anew", async t => {
  const server = await serve(t);
  const game = await connect(t, server, {reconnect: {first: 5, most: 20, jitter: 0}});
  const delays = [];
  game.onState((state, {delay}) => { if (state === "waiting") delays.push(delay); });
  for (let i = 0; i < 4; i++) {
    await until(() => game.state === "open" && server.wss.clients.size === 1);
    await sleep(25);
    server.cut();
    await until(() => delays.length === i + 1);
  }
  assert.deepEqual(delays, [5, 5, 5, 5]);
});

check("a crowd comes back, again and again", async t => {
  const server = await serve(t);
  const crowd = await Promise.all(Array.from({length: 40}, () =>
    connect(t, server, {reconnect: {first: 5, most: 50}})));
  for (let round = 0; round < 8; round++) {
    const calls = crowd.map(game => outcome(game.call("later", [1000])));
    server.cut();
    assert.ok((await Promise.all(calls)).every(code => code === "disconnected"));
    assert.deepEqual(await Promise.all(crowd.map((game, i) => game.server.echo(i))),
      crowd.map((_, i) => i));
  }
  assert.equal(server.sessions.size, 40);
});

check("when the browser is online again, there is no waiting", async t => {
  const target = new EventTarget();
  t.after(() => { delete globalThis.addEventListener; delete globalThis.removeEventListener; });
  let listeners = 0;
  globalThis.addEventListener = (...args) => {
    listeners++;
    target.addEventListener(...args);
  };
  globalThis.removeEventListener = (...args) => {
    listeners--;
    target.removeEventListener(...args);
  };
  const server = await serve(t);
  const game = await connect(t, server, {reconnect: FAR, connectTimeout: 20});
  server.cut();
  await until(() => game.state === "waiting");
  target.dispatchEvent(new Event("online"));
  assert.equal(game.state, "connecting");
  await until(() => game.state === "open");
  server.isSilent = true; // an open connection is tried
  target.dispatchEvent(new Event("online"));
  await until(() => game.state === "waiting");
  game.close();
  assert.equal(listeners, 0);
});

check("a silent server is given up, one that lives is kept", async t => {
  const server = await serve(t);
  const game = await connect(t, server, {heartbeat: 15, connectTimeout: 30});
  const pings = () => server.received.filter(text => /sync.ping/.test(text)).length;
  await until(() => pings() >= 3);
  assert.deepEqual(game.states, ["open"]);
  const details = [];
  game.onState((state, {reason}) => details.push(`${state} ${reason}`));
  server.isSilent = true;
  await until(() => details.length > 0);
  assert.equal(details[0], "waiting silent for 30 ms");
  server.isSilent = false;
  assert.equal(await game.server.echo(1), 1);
});

check("a connection that doesn't open is given up", async t => {
  const sockets = [];
  const dead = net.createServer(socket => sockets.push(socket)).listen(0, "127.0.0.1");
  await once(dead, "listening");
  const {port} = dead.address();
  const error = await sync.connect(`ws://127.0.0.1:${port}/`, quietly({connectTimeout: 20}))
    .catch(e => e);
  assert.match(error.message, /not open in 20 ms/);
  const game = client(t, `ws://127.0.0.1:${port}/`, {connectTimeout: 20});
  await until(() => game.states.filter(state => state === "waiting").length > 2);
  game.close();
  for (const socket of sockets) socket.destroy();
  await new Promise(resolve => dead.close(resolve));
});

check("onSession is the place to log in: before what waits, and at each session", async t => {
  const server = await serve(t);
  const game = client(t, server);
  const waits = [game.server.echo("early")];
  game.onSession(() => game.server.echo("login"));
  await waits[0];
  assert.deepEqual(server.session.calls.map(([, n]) => n), ["login", "early"]);
  server.cut();
  await until(() => game.state === "waiting");
  assert.equal(await game.server.echo("second"), "second");
  assert.deepEqual(server.session.calls.map(([, n]) => n), ["login", "second"]);
  let late = 0;
  const stop = game.onSession(() => { late++; });
  assert.equal(late, 1);
  stop();
  game.onSession(() => { throw new Error("no login"); });
  game.onSession(async () => game.server.fail(1, "no"));
  await game.latency();
  assert.deepEqual(game.errors.map(error => error.message), ["no login", "no"]);
});

check("a listener may close the client, wherever it is called", async t => {
  const server = await serve(t);
  for (const when of ["session", "open", "waiting", "connecting", "event"]) {
    const game = client(t, server);
    const waits = outcome(game.server.echo(1));
    if (when === "session") game.onSession(() => game.close());
    if (when === "event") game.on("e", () => game.close());
    game.onState(state => { if (state === when) game.close(); });
    if (when === "event") waits.then(() => game.notify("fire", ["e"]));
    if (when === "waiting" || when === "connecting") waits.then(() => server.cut());
    await until(() => game.state === "closed");
    assert.equal(await waits, when === "session" || when === "open" ? "closed" : 1);
    const after = game.states.length;
    await sleep(10);
    assert.equal(game.states.length, after);
    assert.equal(game.states.at(-1), "closed");
  }
  await until(() => server.wss.clients.size === 0);
});

check("close while connecting or waiting ends it quietly", async t => {
  const server = await serve(t);
  const connecting = client(t, server);
  const call = outcome(connecting.server.echo());
  connecting.close();
  assert.equal(await call, "closed");
  const waiting = await connect(t, server, {reconnect: FAR});
  server.cut();
  await until(() => waiting.state === "waiting");
  waiting.close();
  assert.deepEqual(waiting.states, ["open", "waiting", "closed"]);
});

check("the server gets the code and the reason of a close", async t => {
  const server = await serve(t);
  const game = await connect(t, server);
  game.notify("echo", ["last words"]);
  game.close(4001, "bye");
  await until(() => server.closeCode === 4001);
  assert.equal(server.received.length, 1);
});

check("a server of another port takes over on the same URL", async t => {
  const server = await StandIn.start();
  const game = await connect(t, server);
  await server.stop();
  await until(() => game.state === "waiting");
  await serve(t, {port: server.port});
  assert.equal(await game.server.echo("back"), "back");
});
