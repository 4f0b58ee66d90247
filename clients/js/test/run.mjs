// Runs the tests of the JavaScript client:
//
//   sh spec/browser/install.sh
//   node clients/js/test/run.mjs [ws://URL]
//
// With a URL, those tests that a real server can pass run there. Its class offers echo(value),
// add(a, b) also with named ones, fail(code, message, data), crash(), fire(name, ...): an event
// to the caller, and ask(name, ...): calls the caller and returns its answer. What it lacks is
// skipped. Ends with a line `N passed, N failed`, and with 1 when one has failed.

import {readdirSync} from "node:fs";
import {run} from "node:test";
import {fileURLToPath} from "node:url";

const TIME_LIMIT = 120_000;

const here = fileURLToPath(new URL(".", import.meta.url));
const [url] = process.argv.slice(2);
if (url) process.env.SYNC_URL = url;

const names = url ? ["calls.test.mjs"]
  : readdirSync(here).filter(name => name.endsWith(".test.mjs")).sort();
const counts = {passed: 0, failed: 0};

const tests = run({files: names.map(name => here + name), concurrency: 1, timeout: TIME_LIMIT});
tests.on("test:pass", ({name, skip}) => {
  if (skip === undefined) counts.passed++;
  else console.log(`skipped: ${name}${skip ? `: ${skip}` : ""}`);
});
tests.on("test:fail", ({name, details}) => {
  counts.failed++;
  const {cause} = details.error;
  console.log(`FAILED: ${name}\n    ${String(cause?.stack ?? cause).replaceAll("\n", "\n    ")}`);
});
tests.on("test:stderr", ({message}) => process.stderr.write(message));
tests.on("test:stdout", ({message}) => process.stdout.write(message));
tests.on("end", () => {
  console.log(`${counts.passed} passed, ${counts.failed} failed`);
  process.exit(counts.failed || !counts.passed ? 1 : 0);
});
tests.resume();
