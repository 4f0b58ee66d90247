// Tests the conformance suite itself: a right server passes everything, and each wrong one fails
// the cases that are there to find its fault, and others pass.
//
//   node spec/conformance/faults.mjs
import {play, select} from "./run.mjs";
import {serve} from "./server.mjs";

const PATIENCE = 1500; // ms; a wrong server often says nothing, and each case waits for that

// The fault, the cases that must fail (every one of a group), and cases that must pass.
const FAULTS = [
  ["wrongAccept", "1.1.1,2.1,13.1.1"],
  ["wrongStatus", "1.1.1"],
  ["noConnection", "1.1.1"],
  ["unaskedExtension", "1.1.1", "12.1.1"],
  ["masks", "1.1.2,2.2"],
  ["setsRsv", "1.1.2,2.1"],
  ["longLengths", "1.1.2,1.1.6,2.1"],
  ["damages", "1.1.2,1.2.8,12.1.4", "1.1.1,2.4"],
  ["truncates", "1.1.7,9.1.1,12.1.10", "1.1.6,12.1.8"],
  ["textOnly", "1.2.2", "1.1.2"],
  ["twice", "1.1.2,5.3", "2.1"],
  ["ignoresPings", "2.1,2.10,5.6,5.19", "2.5,2.7,3.2"],
  ["oldPings", "2.10,2.11,5.19", "2.1,5.6"],
  ["acceptsLongControl", "2.5,7.3.6", "2.4,7.3.5"],
  ["acceptsRsv", "3", "1.1.1"],
  ["acceptsOpcodes", "4", "3"],
  ["acceptsControlFragments", "5.1", "5.3"],
  ["acceptsStrayFragments", "5.9,5.10,5.11,5.12,5.15,5.16,5.17,5.18", "5.3,5.6"],
  [
    "noUtf8",
    "6.3,6.4,6.8,6.10,6.12,6.13,6.14,6.15,6.16,6.17,6.18,6.19,6.20,6.21,7.5.1",
    "6.1,6.2,6.5,6.22,6.23",
  ],
  ["lateUtf8", "6.4", "6.1,6.2,6.3,6.8"],
  ["acceptsCodes", "7.9", "7.7"],
  ["says1005", "7.3.1", "7.3.3"],
  ["noCode", "1.1.1,7.3.3", "7.3.1,7.3.2"],
  ["noCloseFrame", "1.1.1,7.1.1,7.7.1", "3.1,6.3,7.3.2"],
  ["staysOpen", "1.1.1,3.1,7.1.1"],
  ["goesOn", "7.1.2,7.1.3,7.1.4"],
  ["talksOn", "1.1.1,3.1,7.3.3"],
  ["resets", "1.1.1,2.1", "3.1"],
  ["keepsTail", "12.1.5", "1.1.1"],
  ["largeWindow", "13.3.5,13.3.10,13.5.5", "13.1.5,13.4.5"],
  ["keepsContext", "13.2.5,13.6.5", "13.1.5,13.3.5"],
  ["forgetsTakeover", "13.2.1,13.5.1,13.6.1", "13.1.1,13.3.1"],
  ["forgetsWindow", "13.3.1,13.4.1,13.5.1", "13.1.1,13.2.1"],
  ["wrongWindow", "12.1.1,13.1.1"],
  ["bareWindow", "12.1.1,13.1.1"],
  ["dropsClientContext", "12.1.5,13.1.5", "1.1.2"],
];

const EVERYTHING = "1,2,3,4,5,6,7,9.1,9.2,9.3.1,9.4.9,9.5.1,9.6.6,9.7.1,9.8.6,10,12,13";

let passed = 0;
let failed = 0;

function check(right, message) {
  if (right) passed++;
  else {
    failed++;
    console.log(`FAIL ${message}`);
  }
}

async function verdicts(faults, only, mode) {
  const server = await serve(faults);
  try {
    return await play(select(only), server.url, {jobs: 16, ...mode});
  } finally {
    await server.stop();
  }
}

async function allPass(name, faults, only, mode) {
  for (const {item, wrong} of await verdicts(faults, only, mode)) {
    check(!wrong, `${name}: case ${item.id} should pass: ${wrong}`);
  }
}

async function allFail(name, faults, only, mode) {
  for (const {item, wrong} of await verdicts(faults, only, mode)) {
    check(wrong, `${name}: case ${item.id} should fail`);
  }
}

await allPass("right server", {}, EVERYTHING);
await allPass("right server that limits the client", {clientAlone: true}, "12.1,13.7");
await allPass(
  "right server, slowly",
  {},
  "1.1.1,1.1.8,2.11,3.2,5.19,6.4,7.1,9.3.1,9.7.6,12.2.10,13.5.11",
  {slow: true},
);

const impatient = {patience: PATIENCE};
for (const [name, fails, passes] of FAULTS) {
  await allFail(name, {[name]: true}, fails, impatient);
  if (passes) await allPass(name, {[name]: true}, passes, impatient);
}

// Only byte by byte does it show that a server takes a segment for a whole number of frames.
await allPass("wholeSegments", {wholeSegments: true}, "1.1.2,2.2", impatient);
await allFail("wholeSegments, slowly", {wholeSegments: true}, "1.1.2,2.2", {
  ...impatient,
  slow: true,
});

console.log(`${passed} passed, ${failed} failed`);
process.exitCode = failed ? 1 : 0;
