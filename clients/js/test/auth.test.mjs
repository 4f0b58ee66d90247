// Tokens: for the server's auth, with sync.auth as the first call.

import assert from "node:assert/strict";
import test from "node:test";
import * as sync from "../sync.js";
import {QUICK, away, client, connect, outcome, quietly, serve, sleep, until} from "./help.mjs";

const check = (name, fn) => test(name, {timeout: 20_000}, fn);

check("a token is shown before anything else, and the URL may be asked for", async t => {
  const server = await serve(t, {accepts: token => token === "right", resumeTime: 10});
  let asked = 0;
  const game = await connect(t, server, {token: "right"});
  assert.equal(await game.server.echo(1), 1);
  const urls = {url: async () => { asked++; await sleep(1); return server.url; }};
  const other = await sync.connect(urls.url, quietly({token: async () => "right"}));
  t.after(() => other.close());
  assert.equal(other.url, server.url);
  assert.equal(await other.server.echo(2), 2);
  assert.equal(asked, 1);
  assert.match(server.received[0], /"echo"/); // the stand-in has heard sync.auth by itself
});

check("what is called before waits until the server has taken the token", async t => {
  const server = await serve(t, {accepts: () => true});
  const game = client(t, server, {token: "x"});
  assert.equal(await game.server.echo(1), 1);
  assert.deepEqual(game.errors, []);
});

check("a session goes on with the token of now", async t => {
  const tokens = [];
  const server = await serve(t, {accepts: token => tokens.push(token), resumeTime: 10});
  let number = 0;
  const game = await connect(t, server, {token: () => `t${++number}`});
  server.session.socket.terminate();
  await away(game);
  await until(() => game.state === "open");
  assert.equal(game.resumed, true);
  assert.deepEqual(tokens, ["t1", "t2"]);
});

check("a token that is refused is the end, and no error tells it", async t => {
  const server = await serve(t, {accepts: () => false});
  const error = await sync.connect(server.url, quietly({token: "secret"})).catch(e => e);
  assert.equal(error.data.code, 4401);
  assert.doesNotMatch(String(error), /secret/);
  await sleep(50);
  assert.equal(server.handshakes, 1);
});

check("one of a function is asked for once more", async t => {
  const server = await serve(t, {accepts: token => token === "t2"});
  let number = 0;
  const game = client(t, server, {token: () => `t${++number}`});
  assert.equal(await game.server.echo(1), 1);
  assert.equal(number, 2);
  const stubborn = client(t, server, {token: () => { number++; return "wrong"; }});
  await until(() => stubborn.state === "closed");
  assert.equal(number, 4);
});

check("a function that fails is tried again, as a server that is away", async t => {
  const server = await serve(t, {accepts: () => true});
  let number = 0;
  const game = client(t, server, {token: async () => {
    if (++number < 3) throw new Error("no network");
    return "x";
  }});
  await until(() => game.state === "open");
  assert.equal(number, 3);
  assert.deepEqual(game.errors.map(error => error.message), ["no network", "no network"]);
  game.errors.length = 0;
});

check("one that never answers costs the attempt, and what it says later is of no matter", async t => {
  const server = await serve(t, {accepts: () => true});
  const waiting = [];
  const game = client(t, server, {connectTimeout: 100, reconnect: QUICK,
    token: () => waiting.length < 2 ? new Promise(done => waiting.push(done)) : "x"});
  await until(() => game.state === "open");
  const {handshakes} = server; // one, or more when they took too long themselves
  for (const done of waiting) done("late");
  await sleep(5);
  assert.equal(server.handshakes, handshakes);
});

check("a client that is closed while it asks stays closed", async t => {
  const server = await serve(t, {accepts: () => true});
  let done;
  const game = client(t, server, {token: () => new Promise(resolve => { done = resolve; })});
  const call = outcome(game.server.echo(1));
  game.close();
  done("x");
  assert.equal(await call, "closed");
  await sleep(10);
  assert.equal(server.handshakes, 0);
});

check("another token can be shown on the way", async t => {
  const server = await serve(t, {accepts: () => true});
  const game = await connect(t, server, {token: () => "second"});
  await game.authenticate().catch(() => {}); // the stand-in has no such function any more
  await game.authenticate("third").catch(() => {});
  const shown = server.received.map(text => JSON.parse(text))
    .filter(({method}) => method === "sync.auth").map(({params}) => params);
  assert.deepEqual(shown, [["second"], ["third"]]);
});
