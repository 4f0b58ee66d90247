// A server that drains: the client goes to another one, and misses nothing.

import assert from "node:assert/strict";
import test from "node:test";
import {connect, serve, sleep, until} from "./help.mjs";

const goAway = (session, delay = 0) => session.write(JSON.stringify({jsonrpc: "2.0",
  method: "sync.goaway", params: [{delay}], late: false}));

// Two servers, of which the second knows the sessions of the first; the client asks for a URL.
async function pair(t, options) {
  const first = await serve(t, options);
  const second = await serve(t, options);
  second.sessions = first.sessions;
  second.tokens = 1000; // of other names
  const where = {url: first.url};
  const game = await connect(t, {url: () => where.url});
  where.url = second.url;
  game.seen = [];
  game.on("e", value => game.seen.push(value));
  game.sessions = 0;
  game.onSession(() => game.sessions++);
  await game.latency();
  return {first, second, game, session: first.session};
}

const check = (name, fn) => test(name, {timeout: 20_000}, fn);
const fire = (session, value) => session.send({method: "e", params: [value]});

check("a client told to go takes its session to another server", async t => {
  const {first, second, game, session} = await pair(t, {resumeTime: 30});
  const former = session.socket;
  let closed;
  former.on("close", code => { closed = code; });
  fire(session, 1);
  goAway(session, 30);
  fire(session, 2);
  await until(() => session.socket !== former && session.socket);
  fire(session, 3);
  await until(() => closed !== undefined);
  assert.equal(await game.call("echo", ["here"]), "here");
  assert.deepEqual(game.seen, [1, 2, 3]);
  assert.equal(game.sessions, 1);
  assert.equal(game.resumed, true);
  assert.deepEqual(game.states, ["open", "connecting", "open"]);
  assert.equal(first.handshakes + second.handshakes, 2);
});

check("a call under way is answered by the other", async t => {
  const {second, game, session} = await pair(t, {resumeTime: 30});
  const answer = game.call("later", [200, "late"]);
  goAway(session);
  await until(() => second.handshakes === 1);
  assert.equal(await answer, "late");
});

check("what was sent to the former server arrives there, and what is said meanwhile at the other",
  async t => {
    const {second, game, session} = await pair(t, {resumeTime: 30});
    const {cutsAt} = session.server;
    const order = [];
    session.server.cutsAt = text => { if (text.includes('"echo"')) order.push("first"); };
    second.cutsAt = text => { if (text.includes('"echo"')) order.push("second"); };
    goAway(session);
    const answers = [];
    game.onState(state => { if (state === "connecting") answers.push(game.call("echo", ["b"])); });
    const timer = setInterval(() => answers.push(game.call("echo", ["a"])), 1);
    await until(() => order.includes("second"));
    clearInterval(timer);
    await Promise.all(answers);
    assert.deepEqual([...order].sort(), order);
    assert.equal(game.sessions, 1);
    session.server.cutsAt = cutsAt;
  });

check("another connection that breaks at once changes nothing", async t => {
  const {second, game, session} = await pair(t, {resumeTime: 30});
  let cuts = 3;
  second.cutsBefore = text => text === "greeting" && cuts-- > 0 ? "before" : undefined;
  const former = session.socket;
  goAway(session);
  await until(() => cuts <= 0);
  assert.equal(await game.call("echo", ["here"]), "here");
  await until(() => session.socket !== former && session.socket);
  assert.equal(await game.call("echo", ["there"]), "there");
  assert.equal(game.sessions, 1);
});

check("without a session another begins, and the old connection is left", async t => {
  const {second, game, session} = await pair(t);
  let closed;
  session.socket.on("close", code => { closed = code; });
  goAway(session);
  await until(() => closed === 4900);
  await until(() => game.sessions === 2);
  assert.equal(second.handshakes, 1);
});

check("it stays where it is until another server takes it", async t => {
  const {second, game, session} = await pair(t, {resumeTime: 30});
  second.refuse = 503;
  const former = session.socket;
  goAway(session);
  await until(() => second.handshakes > 2);
  assert.equal(session.socket, former);
  assert.equal(await game.call("echo", ["still"]), "still");
  assert.deepEqual(game.states, ["open"]);
  second.refuse = undefined;
  await until(() => session.socket !== former && session.socket);
  assert.equal(await game.call("echo", ["moved"]), "moved");
  assert.equal(game.sessions, 1);
});

check("a connection that ends meanwhile is mended as always", async t => {
  const {second, game, session} = await pair(t, {resumeTime: 30});
  second.refuse = 503;
  goAway(session);
  await until(() => second.handshakes > 0);
  session.socket.terminate();
  await until(() => game.state !== "open");
  second.refuse = undefined;
  await until(() => game.state === "open");
  assert.equal(game.resumed, true);
  const {handshakes} = second;
  await sleep(100); // nothing is under way any more
  assert.equal(second.handshakes, handshakes);
});

check("one that has closed, or doesn't come back, goes nowhere", async t => {
  const {second, game, session} = await pair(t, {resumeTime: 30});
  goAway(session, 20);
  await game.latency();
  game.close();
  const stays = await connect(t, {url: second.url}, {reconnect: false});
  goAway(second.session);
  await stays.latency();
  await sleep(100);
  assert.equal(second.handshakes, 1);
});
