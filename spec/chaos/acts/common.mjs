// What acts share. An act disturbs, waits for what it wants to happen, leaves the server as it was,
// and returns what its effect was, in words; one that had none throws. What it may cost is said to
// the crowds before.

import {until} from "../../support/checks.mjs";

const PATIENCE = 30_000;
const SILENT = /node \d+ has been silent/;

export const ROUNDS = 20; // broadcasts that go round while something is disturbed

export const pick = (random, list) => list[Math.floor(random() * list.length)];

/** An effect that was counted: none is a failure. */
export function effect(count, what) {
  if (!(count > 0)) throw new Error(`it had no effect: ${count} ${what}`);
  return `${count} ${what}`;
}

/** Calls may run out of time while something stands still; nothing may be lost. */
export async function patiently({crowds, herald}, act) {
  await crowds.ask("excuse", {on: true});
  const result = await act();
  await crowds.untilHeard(herald.said);
  await crowds.ask("excuse", {on: false});
  await herald.rounds(ROUNDS);
  return result;
}

/** What is lost meanwhile is told by who loses it. Who hears a broadcast that was said behind it
 * has lost nothing, or is back. */
export async function withLosses({crowds, herald, host}, act) {
  await crowds.ask("may", {lose: true, miss: true});
  herald.turn(false);
  const result = await act();
  await crowds.untilOpen();
  await herald.connectAgain(host.ports[0]);
  herald.turn(true);
  await herald.rounds(ROUNDS);
  await crowds.untilHeard(herald.said);
  await crowds.ask("may", {lose: false, miss: false});
  await herald.rounds(ROUNDS);
  return result;
}

/** Waits until one of the hosts takes another node for dead. */
export function untilSilent(others) {
  const marks = others.map(host => host.log.mark());
  return () => until("a node is taken for dead", () => marks.some(since => SILENT.test(since())), PATIENCE);
}
