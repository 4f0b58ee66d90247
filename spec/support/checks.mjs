// What the runners of checks share: each runs its checks one after the other, and ends with a
// line `N passed, N failed`, and with 1 when one has failed or none has run.
//
// CHECKS=words runs those alone whose name has these words; VERBOSE=1 tells how long each took.

import {existsSync} from "node:fs";
import path from "node:path";
import {fileURLToPath} from "node:url";

const {CHECKS = "", VERBOSE} = process.env;

/** The project's folder. */
export const root = fileURLToPath(new URL("../..", import.meta.url));

/** The sync-lua under test: the first argument. */
export const program = path.resolve(process.argv[2] ?? path.join(root, "sync-lua"));

if (!existsSync(program)) {
  console.error(`${program} is not there: run make build, or name a sync-lua`);
  process.exit(2);
}

let passed = 0;
let failed = 0;
let running = "starting";
let patience = 15_000; // ms
let checkLimit;
let explain = () => "";
const cleanups = [];

export const sleep = ms => new Promise(done => { setTimeout(done, ms); });

/** Waits until `holds()`, which may be a promise, is true; returns its last value. */
export async function inTime(holds, ms = patience) {
  const end = Date.now() + ms;
  for (;;) {
    const value = await holds();
    if (value || Date.now() >= end) return value;
    await sleep(20);
  }
}

/** The same, and throws if it isn't true in time. */
export async function until(what, holds, ms) {
  const value = await inTime(holds, ms);
  if (!value) throw new Error(`it never happened: ${what}`);
  return value;
}

/**
 * Sets what is not to be as it is by itself, in milliseconds: `limit` of all checks, `checkLimit`
 * of each, `patience` of waiting; and `explain()`, which has more to say of a failure.
 */
export function configure(options) {
  ({patience = patience, checkLimit, explain = explain} = options);
  const {limit} = options;
  if (limit) setTimeout(giveUp, limit, `the checks took more than ${limit / 1000} s`).unref();
}

/** Has a function called, and waited for, before the runner ends; the last one first. */
export function atEnd(fn) {
  cleanups.unshift(fn);
}

function noteFailure(name, error) {
  failed++;
  const lines = [String(error?.stack ?? error), explain()].filter(Boolean);
  console.log(`FAILED: ${name}\n    ${lines.join("\n").replaceAll("\n", "\n    ")}`);
}

function withinLimit(promise) {
  if (!checkLimit) return promise;
  let timer;
  const timeUp = new Promise((_, reject) => {
    const fail = () => reject(new Error(`took more than ${checkLimit / 1000} s`));
    timer = setTimeout(fail, checkLimit);
  });
  return Promise.race([promise, timeUp]).finally(() => clearTimeout(timer));
}

/** Runs one check; it fails by throwing. Returns whether it has passed. */
export async function check(name, fn) {
  if (!name.includes(CHECKS)) return true;
  running = name; // or it was the last one
  const begun = Date.now();
  try {
    await withinLimit(fn());
  } catch (error) {
    noteFailure(name, error);
    return false;
  }
  passed++;
  if (VERBOSE) console.log(`${name}: ${Date.now() - begun} ms`);
  return true;
}

/** Ends the runner. */
export async function finish() {
  for (const cleanup of cleanups.splice(0)) {
    try {
      await cleanup();
    } catch (error) {
      noteFailure("cleaning up", error);
    }
  }
  console.log(`${passed} passed, ${failed} failed`);
  process.exit(failed || !passed ? 1 : 0);
}

// Ends it where no check could go on.
function giveUp(error) {
  noteFailure(running, error);
  setTimeout(() => process.exit(1), 5000).unref(); // cleaning up may be what doesn't work
  return finish();
}

process.on("uncaughtException", giveUp); // a promise that is rejected, too
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) process.once(signal, giveUp);
