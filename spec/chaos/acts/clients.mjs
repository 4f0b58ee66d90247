// Clients come and go, lose their connections, and stand still.

import {ROUNDS, effect, patiently, pick} from "./common.mjs";

const sum = list => list.reduce((all, one) => all + one, 0);

export async function churn({crowds, herald}) {
  const counts = await crowds.ask("churn");
  await herald.rounds(ROUNDS);
  return effect(sum(counts), "clients went");
}

export async function cut({crowds, herald}) {
  const before = (await crowds.sums()).resumed;
  const counts = await crowds.ask("cut");
  await herald.rounds(ROUNDS);
  await crowds.untilOpen();
  effect((await crowds.sums()).resumed - before, "sessions went on");
  return effect(sum(counts), "players were cut off");
}

// One crowd's process stands still; the others are served.
export function stopClients(chaos) {
  const {crowds, herald, random} = chaos;
  const crowd = pick(random, crowds.list);
  return patiently(chaos, async () => {
    const before = herald.said;
    crowd.process.kill("SIGSTOP");
    try {
      await herald.rounds(3 * ROUNDS);
    } finally {
      crowd.process.kill("SIGCONT");
    }
    return effect(herald.said - before, "broadcasts waited for one crowd");
  });
}
