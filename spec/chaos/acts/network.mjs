// The network between the server and half of its clients (spec/chaos/relay.mjs).

import {ROUNDS, effect, patiently} from "./common.mjs";

const sum = (list, name) => list.reduce((all, one) => all + one[name], 0);

// Nothing gets through; the other half is served. Returns how many it was.
async function held({crowds, herald}) {
  await crowds.ask("hold", {on: true});
  const number = herald.said + ROUNDS;
  await herald.rounds(2 * ROUNDS);
  const deaf = await crowds.ask("deaf", {number});
  return effect(sum(deaf, "behind"), "clients were out of reach");
}

// Whoever has waited gets all.
export function holdNetwork(chaos) {
  return patiently(chaos, async () => {
    try {
      return await held(chaos);
    } finally {
      await chaos.crowds.ask("hold", {on: false});
    }
  });
}

// What was under way is lost; others come in the places of who was there, and sessions go on.
export function cutNetwork(chaos) {
  const {crowds} = chaos;
  return patiently(chaos, async () => {
    const text = await held(chaos);
    const counts = await crowds.ask("reset");
    await crowds.ask("hold", {on: false});
    await crowds.untilOpen();
    return `${text}, ${effect(counts.reduce((all, one) => all + one, 0), "of them were cut off")}`;
  });
}

export function slowNetwork(chaos) {
  const {crowds, herald} = chaos;
  return patiently(chaos, async () => {
    const before = await crowds.ask("slow", {on: true});
    await herald.rounds(3 * ROUNDS);
    await crowds.untilHeard(herald.said);
    const after = await crowds.ask("slow", {on: false});
    const count = after.reduce((all, one, i) => all + one - before[i], 0);
    return effect(count, "pieces came late");
  });
}
