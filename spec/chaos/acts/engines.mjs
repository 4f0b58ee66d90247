// What links nodes is disturbed: the engine, the network before it, and a node that stands still
// for so long that others take it for dead.

import {until} from "../../support/checks.mjs";
import {ROUNDS, effect, patiently, pick, untilSilent} from "./common.mjs";

const PATIENCE = 30_000;
const AWAY = /trying again|no connection to/;

// Broadcasts may not reach the other node; on each of them all goes on.
async function withoutEngine(chaos, act) {
  const {crowds, herald} = chaos;
  await crowds.ask("may", {miss: true});
  const result = await act();
  await herald.rounds(ROUNDS);
  await crowds.untilHeard(herald.said);
  await crowds.untilOpen();
  await crowds.ask("may", {miss: false});
  await herald.rounds(ROUNDS);
  return result;
}

// All nodes notice.
async function away({hosts, herald}, act) {
  const marks = hosts.map(host => host.log.mark());
  const all = () => marks.every(since => AWAY.test(since()));
  const result = await act(() => until("the nodes notice that the engine is away", all, PATIENCE));
  await herald.rounds(ROUNDS);
  return result;
}

export const cutEngine = chaos => withoutEngine(chaos, () => away(chaos, async noticed => {
  const count = chaos.engine.relays.reduce((sum, relay) => sum + relay.reset(), 0);
  await noticed();
  return effect(count, "connections of nodes were cut");
}));

export const killEngine = chaos => withoutEngine(chaos, () => away(chaos, async noticed => {
  await chaos.engine.kill();
  await noticed();
  await chaos.herald.rounds(ROUNDS);
  await chaos.engine.start();
  return "the engine was killed, and lost what it had";
}));

export const stopEngine = chaos => withoutEngine(chaos, async () => {
  const before = chaos.herald.said;
  chaos.engine.signal("SIGSTOP");
  await chaos.herald.rounds(ROUNDS).finally(() => chaos.engine.signal("SIGCONT"));
  return effect(chaos.herald.said - before, "broadcasts went round without the engine");
});

// What waits is sent as soon as it can be: nothing is lost.
export const holdEngine = chaos => patiently(chaos, async () => {
  const {random, herald, engine} = chaos;
  const relay = pick(random, engine.relays);
  const before = herald.said;
  relay.hold(true);
  await herald.rounds(2 * ROUNDS).finally(() => relay.hold(false));
  return effect(herald.said - before, "broadcasts had to wait");
});

export async function slowEngine({random, crowds, herald, engine}) {
  const relay = pick(random, engine.relays);
  const before = relay.pieces;
  relay.slow(true);
  await herald.rounds(2 * ROUNDS).finally(() => relay.slow(false));
  await crowds.untilHeard(herald.said);
  return effect(relay.pieces - before, "pieces came late");
}

// A node and the engine can't reach each other, and neither is told.
export const isolateNode = chaos => withoutEngine(chaos, async () => {
  const relay = pick(chaos.random, chaos.engine.relays);
  const silent = untilSilent(chaos.hosts);
  relay.hold(true);
  try {
    await silent();
    effect(relay.reset(), "connections");
  } finally {
    relay.hold(false);
  }
  return "a node was cut off, and taken for dead";
});

export const freezeNode = chaos => patiently(chaos, () => withoutEngine(chaos, async () => {
  const host = pick(chaos.random, chaos.hosts);
  await host.stopped(host.pid, untilSilent(chaos.hosts.filter(each => each !== host)));
  return "a node stood still, and was taken for dead";
}));
