// Runs the WebSocket conformance cases against an echo server:
//
//   node spec/conformance/run.mjs ws://127.0.0.1:8080/ [--slow] [--full] [--only 6.4,9.*]
//     [--jobs 8] [--list]
//
// The cases are those of the public Autobahn list, with its numbers and its strict expectations.
// The server must echo each text as text and each binary as binary, up to 16 MiB.
// --slow  sends every octet in a TCP segment of its own; where a case would take too long so, it
//         sends less, and --slow --list says what.
// --full  sends the 1000 messages of each case of sections 12 and 13, not just a MiB of them;
//         it takes minutes.
// --jobs  cases at a time.
// --list  prints the cases, each with what it does differently in this mode.
// Prints a line for each failed case and the count; exits 1 when one failed.
import {fileURLToPath} from "node:url";
import {parseArgs} from "node:util";
import cases from "./cases/index.mjs";
import {connect} from "./client.mjs";

const PATIENCE = 5000; // ms; what a server may take for one answer, unless the case says more
const SLOW_PATIENCE = 20000; // it also has a queue of single octets to work off then

/** The cases whose number is, or begins with, one of the comma-separated patterns. */
export function select(only) {
  const patterns = only ? only.split(",").map((p) => p.trim().replace(/\.?\*$/, "")) : [""];
  const chosen = cases.filter(({id}) =>
    patterns.some((p) => p === "" || id === p || id.startsWith(`${p}.`)),
  );
  for (const p of patterns) {
    if (p && !chosen.some(({id}) => id === p || id.startsWith(`${p}.`)))
      throw new Error(`no case ${p}`);
  }
  return chosen;
}

/** Plays one case. Returns null when the server did right, or what went wrong in one line. */
async function judge(item, url, mode) {
  const patience = mode.patience ?? item.patience ?? (mode.slow ? SLOW_PATIENCE : PATIENCE);
  let connection;
  try {
    connection = await connect(url, {offers: item.offers, slow: mode.slow, patience});
    const verdict = await item.play(connection, mode);
    const problems = connection.problems.join("; ");
    if (!verdict) return problems || null;
    return `expected ${verdict.expected}; seen ${verdict.seen}${problems && `; ${problems}`}`;
  } catch (error) {
    return [error.message, ...(connection?.problems ?? [])].join("; ");
  } finally {
    connection?.destroy();
  }
}

/** Plays the cases, `jobs` at a time. Returns [{ item, wrong }] in their order; wrong is null
 * for a case that passed. mode: {slow, full, patience}; patience overrides the cases'. */
export async function play(chosen, url, {jobs = 4, report = () => {}, ...mode} = {}) {
  const results = [];
  let next = 0;
  const worker = async () => {
    while (next < chosen.length) {
      const n = next++;
      results[n] = {item: chosen[n], wrong: await judge(chosen[n], url, mode)};
      report(results[n]);
    }
  };
  await Promise.all(Array.from({length: jobs}, worker));
  return results;
}

function list(chosen, mode) {
  for (const {id, about, note} of chosen) {
    const remark = note?.(mode);
    console.log(`${id.padEnd(8)} ${about}${remark ? `  [${remark}]` : ""}`);
  }
}

function readArguments() {
  const {values, positionals} = parseArgs({
    allowPositionals: true,
    options: {
      slow: {type: "boolean"},
      full: {type: "boolean"},
      list: {type: "boolean"},
      only: {type: "string"},
      jobs: {type: "string", default: "4"},
    },
  });
  const [url] = positionals;
  if (!values.list && !/^wss?:\/\//.test(url ?? ""))
    throw new Error("the address of an echo server is missing, such as ws://127.0.0.1:8080/");
  if (!(Number(values.jobs) >= 1)) throw new Error("--jobs takes a number of at least 1");
  return {...values, jobs: Number(values.jobs), url, chosen: select(values.only)};
}

async function main() {
  const {chosen, url, jobs, slow = false, full = false, list: listing} = readArguments();
  if (listing) return list(chosen, {slow, full});
  const report = ({item, wrong}) =>
    wrong && console.log(`FAIL ${item.id}: ${item.about}: ${wrong}`);
  const results = await play(chosen, url, {jobs, slow, full, report});
  const less = results.filter(({item}) => item.note?.({slow, full})).length;
  const failed = results.filter(({wrong}) => wrong).length;
  if (less)
    console.log(
      `${less} cases sent less than their full amount; --list says which and how much`,
    );
  console.log(`${results.length - failed} passed, ${failed} failed`);
  process.exitCode = failed ? 1 : 0;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  main().catch((error) => {
    console.error(error.message);
    process.exitCode = 2;
  });
}
