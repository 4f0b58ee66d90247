// The clocks of a host are set wrong (spec/chaos/clock.mjs). The wall clock says what time it is,
// and when a token ends; timers, limits and leases go by the other one, which no jump disturbs.

import {until} from "../../support/checks.mjs";
import {Probe} from "../probe.mjs";
import {ROUNDS, pick} from "./common.mjs";

const HOURS = [-26, -2, 2, 26];
const TIMER = 300; // ms
const NANO = 1e9;

// What the host's clocks say after so many milliseconds of its own, and when that was asked and
// answered by ours.
async function clocks(probe, milliseconds = 0) {
  const asked = Number(process.hrtime.bigint()) / NANO;
  const answer = /^t ([\d.]+) (\d+)$/.exec(await probe.ask(`t ${milliseconds}`));
  if (!answer) throw new Error("the server has not answered what time it is");
  return {asked, answered: Number(process.hrtime.bigint()) / NANO, now: Number(answer[1]),
    wall: Number(answer[2])};
}

function expect(what, is, wanted) {
  if (!wanted.test(is)) throw new Error(`${what}: ${is}`);
}

// The host's wall clock jumps. A timer lasts as long as it is to, a token ends.
async function jump(host, probe, hours) {
  const before = await clocks(probe);
  const token = (await probe.ask("j")).slice(2);
  const timer = clocks(probe, TIMER);
  host.clock.setWall(hours * 3600);
  const {now, wall} = await timer;
  if (now - before.now < TIMER / 1000) throw new Error("a timer has run out before its time");
  const jumped = (wall - Date.now() / 1000) / 3600;
  if (Math.abs(jumped - hours) > 0.1) throw new Error(`the wall clock is ${jumped} hours off, not ${hours}`);
  expect("a token for an hour", await probe.ask(`v ${token}`), hours > 0 ? /^v .*expired/ : /^v right/);
  return token;
}

let lastKey = 0;

// What one shares for ten minutes another has, whatever their wall clocks say.
async function share(from, to) {
  const key = `key${++lastKey}`;
  expect("a value is set", await from.ask(`s ${key}`), /^s true/);
  return async () => expect("another has the value", await to.ask(`g ${key}`), /^g true/);
}

export async function jumpClock({hosts, random, herald}) {
  const host = pick(random, hosts);
  const hours = pick(random, HOURS);
  const probe = new Probe(host.ports[0]);
  const other = new Probe(hosts.find(each => each !== host)?.ports[0] ?? host.ports[0]);
  try {
    const toHost = await share(other, probe);
    const token = await jump(host, probe, hours);
    await toHost();
    await (await share(probe, other))();
    await herald.rounds(2 * ROUNDS);
    host.clock.setWall(0);
    await herald.rounds(ROUNDS);
    expect("the token when the clock is right again", await probe.ask(`v ${token}`), /^v right/);
  } finally {
    host.clock.setWall(0);
    probe.close();
    other.close();
  }
  return `the wall clock was ${hours} hours off`;
}

// Waits until what the host has counted can't be right any more, and is what the rate says.
async function measure(probe, rate) {
  await clocks(probe, TIMER); // till then the rate may be the one before
  const from = await clocks(probe);
  return until(`the clock goes at ${rate}`, async () => {
    const to = await clocks(probe);
    const least = (to.now - from.now) / (to.answered - from.asked);
    const most = (to.now - from.now) / (to.asked - from.answered);
    if (least > rate * 1.001 || most < rate * 0.999) {
      throw new Error(`the clock goes at ${least.toFixed(3)} to ${most.toFixed(3)}, not ${rate}`);
    }
    return least > 1 || most < 1 ? `the clock went at ${rate}` : false;
  }, 30_000);
}

// Nodes judge each other by how long a second is: there a tenth is as much as may be.
const driftBy = rates => async ({hosts, random, herald}) => {
  const host = pick(random, hosts);
  const rate = pick(random, rates);
  const probe = new Probe(host.ports[0]);
  try {
    await clocks(probe);
    host.clock.setRate(rate);
    const text = await measure(probe, rate);
    await herald.rounds(ROUNDS);
    return text;
  } finally {
    host.clock.setRate(1);
    probe.close();
  }
};

export const driftClock = driftBy([0.25, 0.5, 2, 4]);
export const driftNodeClock = driftBy([0.9, 1.1]);
