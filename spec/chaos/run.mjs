// Disturbs a server in every way that is known, by a sequence of acts that a seed decides, while
// clients of each kind account for every message.
//
//     node spec/chaos/run.mjs ./sync-lua [MINUTES=10] [SEED]
//
// Each round has all acts once. Prints the seed, the acts and the sums, and ends with a line
// `N passed, N failed`. The same seed gives the same sequence; how far it gets is a matter of time.

import {mkdtempSync, rmSync} from "node:fs";
import os from "node:os";
import path from "node:path";
import {atEnd, check, configure, finish} from "../support/checks.mjs";
import {single} from "./acts.mjs";
import {Crowds} from "./crowds.mjs";
import {Herald} from "./herald.mjs";
import {Host} from "./host.mjs";

const minutes = Number(process.argv[3] || 10);
const seed = Number(process.argv[4] || Date.now() % 1e9);
const CROWDS = 2;
const CLIENTS = 8;            // of each of five kinds, in each crowd
const MORE_FILES = 4;         // descriptors that may be more at the end
const MORE_MEMORY = 24;       // MiB, and a third of what it was

// Numbers from 0 to 1 (mulberry32).
let state = seed >>> 0;
function random() {
  state = state + 0x6d2b79f5 >>> 0;
  let t = state;
  t = Math.imul(t ^ t >>> 15, t | 1);
  t ^= t + Math.imul(t ^ t >>> 7, t | 61);
  return ((t ^ t >>> 14) >>> 0) / 2 ** 32;
}

function shuffled(list) {
  const left = [...list];
  return list.map(() => left.splice(Math.floor(random() * left.length), 1)[0]);
}

const folder = mkdtempSync(path.join(os.tmpdir(), "sync-chaos-"));
atEnd(() => rmSync(folder, {recursive: true, force: true}));

const measure = host => ({files: host.open().length, memory: host.memory()});

async function scene(name, acts, seconds) {
  const host = new Host(folder);
  const crowds = new Crowds(CROWDS);
  const herald = new Herald();
  atEnd(() => { crowds.end(); host.end(); });
  configure({limit: (seconds + 120) * 1000, explain: () => [...crowds.faults, ...host.errors(),
    host.stderr()].join("\n")});
  await host.start();
  await herald.connect(host.ports[0]);
  await crowds.begin([host], CLIENTS);
  const chaos = {host, crowds, herald, random};
  await crowds.work(herald);
  const end = Date.now() + seconds * 1000;
  let before;
  for (let round = 1; round === 1 || Date.now() < end; round++) {
    const order = shuffled(Object.keys(acts));
    console.log(`${name}, round ${round}: ${order.join(", ")}`);
    for (const act of order) {
      const isFine = await check(`${name}: ${act}`, async () => {
        await acts[act](chaos);
        if (crowds.faults.length) throw new Error("clients have found something");
      });
      if (!isFine) return;
    }
    if (!before) { // the first round warms up
      await crowds.quiet(herald);
      before = measure(host);
      await crowds.work(herald);
    }
  }
  let sums;
  await check(`${name}: every message is accounted for`, async () => {
    await crowds.quiet(herald);
    sums = await crowds.sums();
    if (crowds.faults.length) throw new Error("clients have found something");
    const missing = sums.sent - sums.answered - sums.told - sums.left;
    if (missing !== 0) throw new Error(`${missing} of ${JSON.stringify(sums)}`);
  });
  const after = measure(host);
  const figures = `${before.files} and then ${after.files} descriptors, ` +
    `${before.memory.toFixed(0)} and then ${after.memory.toFixed(0)} MiB`;
  console.log(`${name}: ${figures}; ${JSON.stringify(sums)}`);
  await check(`${name}: nothing grows`, () => {
    if (after.files > before.files + MORE_FILES ||
      after.memory > before.memory * 4 / 3 + MORE_MEMORY) throw new Error(figures);
  });
  await check(`${name}: no error in the log`, () => {
    if (host.errors().length) throw new Error("errors");
    if (host.missingLines() > 0) throw new Error(`${host.missingLines()} lines are missing`);
  });
  await check(`${name}: who was replaced ends with its last client`, async () => {
    await crowds.ask("endTls");
    await host.untilAlone();
  });
}

console.log(`SEED=${seed}`);
await scene("single", single, minutes * 60);
await finish();
