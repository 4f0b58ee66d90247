// Kills a server under a crowd of JavaScript clients, starts it again after a while, and
// measures how they return: `make bench-reconnect` (CLIENTS=200, DOWN=0.5,3,8 seconds).
//
//   node bench/runs/reconnect.mjs RESULTS.json
//
// The bounds are those of clients/js/README.md: the waits before a client's attempts are
// left to chance, up to `first`, times `factor` with each attempt, at most `most`. So a
// client is back when the wait that it is in has ended, and never later than `most` after
// the server listens. Ends with 1 when a client waits longer than that, or when so many
// return at once that chance can't be the reason. Writes the results for reconnect_draw.py.

import {spawn} from "node:child_process";
import {once} from "node:events";
import {readFileSync, writeFileSync} from "node:fs";
import {createRequire} from "node:module";
import net from "node:net";
import * as sync from "../../clients/js/sync.js";

const require = createRequire(new URL("../../build/node/package.json", import.meta.url));
const WebSocket = require("ws"); // put there by spec/browser/install.sh

const CLIENTS = Number(process.env.CLIENTS ?? 200);
const DOWN = (process.env.DOWN ?? "0.5,3,8").split(",").map(Number); // s
const PROGRAM = process.env.SYNC_LUA ?? "./sync-lua";
const WINDOW = 100;         // ms, of what counts as at once
const LATE = 1000;          // ms that a loaded machine may take for a timer and a handshake
const SHOWN = 5;            // of what is wrong
const MODELLED = 20_000;    // clients of the model, so that chance averages out
const FIRST_PORT = 20_000;  // below those that systems give to clients: one that knocks at a
const LAST_PORT = 30_000;   // port of its own range can be given that port, and meet itself

const [output] = process.argv.slice(2);
const sleep = ms => new Promise(resolve => setTimeout(resolve, ms));
const now = () => performance.now();
const seconds = ms => (ms / 1000).toFixed(2);

// What the README says, so that it is what is measured.
function documented() {
  const page = readFileSync(new URL("../../clients/js/README.md", import.meta.url), "utf8");
  const value = name => Number(new RegExp(`reconnect.*\\b${name}: (\\d+)`).exec(page)?.[1]);
  const waits = {};
  for (const name of ["first", "factor", "most", "jitter"]) {
    waits[name] = value(name);
    if (!(waits[name] > 0)) throw new Error(`clients/js/README.md doesn't tell reconnect.${name}`);
  }
  return waits;
}

const {first, factor, most, jitter} = documented();
// The longest wait before an attempt, which are counted from 1.
const longest = attempt => Math.min(most, first * factor ** (attempt - 1));

async function freePort() {
  for (;;) {
    const port = FIRST_PORT + Math.floor((LAST_PORT - FIRST_PORT) * Math.random());
    const server = net.createServer().listen(port, "127.0.0.1");
    const isFree = await once(server, "listening").then(() => true, () => false);
    if (!isFree) continue;
    server.close();
    return port;
  }
}

let running; // the server

async function serve(port) {
  running = spawn(PROGRAM, ["bench/peers/reconnect.lua", String(port)],
    {stdio: ["ignore", "pipe", "pipe"]});
  let trouble = "";
  running.stderr.on("data", text => { trouble += text; });
  const [said] = await Promise.race([once(running.stdout, "data"), once(running, "exit")]);
  if (String(said) !== "ready\n") throw new Error(`the server did not start: ${trouble}`);
}

async function kill() {
  const ended = once(running, "exit");
  running.kill("SIGKILL");
  await ended;
}

process.once("exit", () => running?.kill("SIGKILL"));

async function until(holds, ms) {
  const end = now() + ms;
  while (!holds() && now() < end) await sleep(10);
}

// The greatest number of times within any window.
function densest(times) {
  const sorted = [...times].sort((a, b) => a - b);
  let greatest = 0;
  for (let from = 0, to = 0; to < sorted.length; to++) {
    while (sorted[to] - sorted[from] > WINDOW) from++;
    greatest = Math.max(greatest, to - from + 1);
  }
  return greatest;
}

// When clients of the documented rule return to a server that is down for so long.
function model(down) {
  return Array.from({length: MODELLED}, () => {
    let time = 0;
    for (let attempt = 1; time < down || attempt === 1; attempt++) {
      time += longest(attempt) * (1 - jitter * Math.random());
    }
    return time;
  });
}

// A client, and when it has tried to return and has returned.
function watch(url) {
  const client = {waits: [], attempts: [], returned: undefined};
  client.game = sync.client(url, {WebSocket, onError: error => { client.error ??= error; }});
  client.game.onState((state, detail) => {
    const time = now();
    if (state === "waiting") client.waits.push({time, ...detail});
    else if (state === "connecting") client.attempts.push(time);
    else if (state === "open") client.returned = time;
    else client.error ??= new Error(`closed: ${detail.code} ${detail.reason}`);
  });
  return client;
}

// What is wrong with a client, if anything: `ready` is when the server listened again.
function problem(client, ready) {
  const {waits, returned, error, game} = client;
  if (error) return error.message;
  if (!waits.length) return "it noticed no loss";
  const wrong = waits.find(({delay, attempt}) => delay > longest(attempt));
  if (wrong) return `it waited ${seconds(wrong.delay)} s before attempt ${wrong.attempt}`;
  const {time, delay, attempt} = waits.at(-1);
  const due = Math.min(time + delay, ready + most) + LATE;
  if (returned === undefined) return `it did not come back, and is ${game.state}`;
  if (returned > due) return `it came back ${seconds(returned - due)} s after its time`;
  // The last attempt to fail came before the server, or at the same moment.
  if (time > ready + LATE) return `attempt ${attempt} failed though the server listened`;
  return undefined;
}

async function measure(down) {
  const port = await freePort();
  await serve(port);
  const clients = Array.from({length: CLIENTS}, () => watch(`ws://127.0.0.1:${port}/`));
  await until(() => clients.every(({game}) => game.state === "open"), 10_000);
  await sleep(first + WINDOW); // a connection that held begins its waits anew
  for (const client of clients) client.returned = undefined;
  const start = now();
  await kill();
  await sleep(down - (now() - start));
  await serve(port);
  const ready = now();
  await until(() => clients.every(({returned}) => returned), most + 2 * LATE);

  const problems = clients.map(client => problem(client, ready)).filter(Boolean);
  const present = await clients[0].game.call("count", [], {offline: "refuse"}).catch(() => 0);
  if (present !== CLIENTS) problems.push(`${present} of ${CLIENTS} are at the server`);
  const returns = clients.map(({returned}) => returned - start).filter(time => time >= 0);
  const attempts = clients.flatMap(client => client.attempts).map(time => time - start);
  for (const {game} of clients) game.close();
  await kill();

  const connects = clients.map(client => client.attempts.at(-1) - start);
  const expected = model(ready - start);
  const share = CLIENTS / MODELLED;
  const result = {
    down, ready: ready - start, attempts, returns, problems, model: {times: expected, share},
    first: Math.min(...returns), last: Math.max(...returns), bound: ready - start + most,
    tries: densest(attempts), peak: densest(connects), expected: densest(expected) * share,
  };
  result.even = CLIENTS * WINDOW / (result.last - result.first);
  // A busy machine lets timers wait and go off together, which is no fault of the clients: what
  // they meant to do is judged. Chance, a Poisson distribution's, is never that far off.
  const meant = densest(clients.map(({waits}) => waits.at(-1)?.time + waits.at(-1)?.delay));
  const limit = result.expected + 6 * Math.sqrt(result.expected) + 6;
  if (meant > limit) {
    problems.push(`${meant} meant to connect within ${WINDOW} ms; chance alone makes it ` +
      `${Math.round(limit)} at most`);
  }
  return result;
}

console.log(`${CLIENTS} clients; waits of at most ${first} ms, times ${factor} with each ` +
  `attempt, at most ${seconds(most)} s; ${100 * jitter} % of a wait is left to chance`);
const COLUMNS = ["killed for", "first back", "last back", "bound", `connects/${WINDOW} ms`,
  "even spread", "by the rule", `attempts/${WINDOW} ms`];
const row = cells => console.log(cells.map(cell => cell.padStart(17)).join(""));
row(COLUMNS);
const results = [];
for (const down of DOWN) {
  const result = await measure(down * 1000);
  results.push(result);
  const {problems} = result;
  const times = [result.ready, result.first, result.last, result.bound];
  row([...times.map(ms => `${seconds(ms)} s`), String(result.peak), result.even.toFixed(1),
    result.expected.toFixed(1), String(result.tries)]);
  for (const text of problems.slice(0, SHOWN)) console.log(`    FAILED: ${text}`);
  if (problems.length > SHOWN) console.log(`    and ${problems.length - SHOWN} more`);
}
console.log("Times are from the kill; the two before the last column are what connects would " +
  "be, spread evenly\nfrom first to last, and what the documented rule lets expect; the last " +
  "counts refused attempts, too.");
const failed = results.some(({problems}) => problems.length > 0);
if (output) writeFileSync(output, JSON.stringify({clients: CLIENTS, window: WINDOW, results}));
process.exit(failed ? 1 : 0);
