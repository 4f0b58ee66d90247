// Processes are killed, and stand still.

import {sleep} from "../../support/checks.mjs";
import {ROUNDS, effect, patiently, pick, untilSilent, withLosses} from "./common.mjs";

const PAUSE = 1500; // ms: less than what anybody takes for dead

// All lose what a server had in memory.
export function kill(chaos) {
  const {hosts, random} = chaos;
  return withLosses(chaos, async () => {
    const host = pick(random, hosts);
    const before = host.all;
    const others = hosts.filter(each => each !== host);
    const silent = untilSilent(others);
    await host.kill();
    await host.start();
    if (others.length > 0) await silent(); // until then they keep its rooms
    return effect(before.length, "processes were killed");
  });
}

export function killWorker(chaos) {
  const {host, random} = chaos;
  host.log.expected.push(/worker \d+.*(signal|killed|ended)/);
  return withLosses(chaos, async () => {
    const pid = pick(random, host.workers);
    await host.killWorker(pid);
    return `worker ${pid} was killed`;
  });
}

export function stopServer(chaos) {
  const {hosts, random, herald} = chaos;
  return patiently(chaos, async () => {
    const host = pick(random, hosts);
    const pid = pick(random, host.serving);
    await host.stopped(pid, () => sleep(PAUSE));
    await herald.rounds(ROUNDS);
    return `process ${pid} stood still`;
  });
}

// Workers serve on; what they say to each other waits.
export function stopParent(chaos) {
  const {host, herald} = chaos;
  return patiently(chaos, async () => {
    const before = herald.said;
    await host.stopped(host.pid, () => herald.rounds(2 * ROUNDS));
    return effect(herald.said - before, "broadcasts went round one worker alone");
  });
}
