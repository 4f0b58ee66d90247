// What the tests share: a server and a client that end with the test, and waiting.

import assert from "node:assert/strict";
import * as sync from "../sync.js";
import {StandIn, WebSocket, installed, sleep} from "./server.mjs";

export {installed, sleep};

export const QUICK = {first: 1, most: 20};

// What went unhandled anywhere in this process; the test in which it shows fails.
const unhandled = [];
process.on("unhandledRejection", error => unhandled.push(error));

export async function until(holds, what = String(holds), ms = 5000) {
  const end = Date.now() + ms;
  while (!holds()) {
    if (Date.now() > end) throw new Error(`waited in vain for ${what}`);
    await sleep(1);
  }
}

export async function serve(t, options) {
  const server = await StandIn.start(options);
  t.after(() => server.stop());
  return server;
}

// Options for a client, which reports into `errors`.
export function quietly(options, errors = []) {
  return {WebSocket, reconnect: QUICK, heartbeat: 0, onError: error => errors.push(error),
    ...options};
}

function watch(t, game, errors) {
  game.states = [game.state];
  game.errors = errors;
  game.onState(state => game.states.push(state));
  t.after(async () => {
    game.close();
    await sleep(1);
    const {pending, queued, serving} = game.stats;
    assert.deepEqual({pending, queued, serving}, {pending: 0, queued: 0, serving: 0});
    assert.deepEqual(unhandled.splice(0), []);
  });
  return game;
}

export async function connect(t, server, options) {
  const errors = [];
  return watch(t, await sync.connect(server.url ?? server, quietly(options, errors)), errors);
}

export function client(t, server, options) {
  const errors = [];
  return watch(t, sync.client(server.url ?? server, quietly(options, errors)), errors);
}

// How a promise ends: its value, or the code of its error.
export const outcome = promise => promise.then(value => value, error =>
  error instanceof DOMException ? error.name : error.code ?? error.name);

export const away = game => until(() => game.state !== "open", "the loss of the connection");

export function random(seed) { // xorshift32
  let x = seed * 2654435761 >>> 0 || 1;
  return () => {
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    return (x >>> 0) / 2 ** 32;
  };
}
