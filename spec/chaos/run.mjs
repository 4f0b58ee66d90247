// Disturbs a server in every way that is known, by a sequence of acts that a seed decides, while
// clients of each kind account for every message.
//
//     node spec/chaos/run.mjs ./sync-lua [MINUTES=10] [SEED] [SCENES]
//
// SCENES are `single`, `workers`, `redis` and `nats`, and each has its part of the time: one process,
// two workers, two nodes by each engine. Each round has all acts once; with less than a minute there is
// one round, and each act is in one of the scenes. Prints the seed, the acts with what their effect
// was, and the sums, and ends with a line `N passed, N failed`; an act without an effect has failed.
// The same seed gives each scene the same sequence; how far it gets is a matter of time.

import {mkdtempSync, rmSync} from "node:fs";
import os from "node:os";
import path from "node:path";
import {atEnd, check, configure, finish} from "../support/checks.mjs";
import * as acts from "./acts.mjs";
import {Crowds} from "./crowds.mjs";
import {Nats, Redis} from "./engine.mjs";
import {Herald} from "./herald.mjs";
import {Host} from "./host.mjs";

const minutes = Number(process.argv[3] || 10);
const seed = Number(process.argv[4] || Date.now() % 1e9);
const isSlice = minutes < 1;
const CROWDS = 2;
const NODES = 2;
const CLIENTS = 8;            // of each of five kinds, in each crowd
const MORE_FILES = 4;         // descriptors that may be more at the end
const MORE_MEMORY = 24;       // MiB, and a third of what it was

// A function that gives numbers from 0 to 1 (mulberry32), for each name others.
function randomOf(name) {
  let state = [...name].reduce((sum, letter) => Math.imul(sum, 31) + letter.charCodeAt(0), seed) >>> 0;
  return () => {
    state = state + 0x6d2b79f5 >>> 0;
    let t = state;
    t = Math.imul(t ^ t >>> 15, t | 1);
    t ^= t + Math.imul(t ^ t >>> 7, t | 61);
    return ((t ^ t >>> 14) >>> 0) / 2 ** 32;
  };
}

function shuffled(list, random) {
  const left = [...list];
  return list.map(() => left.splice(Math.floor(random() * left.length), 1)[0]);
}

const folder = mkdtempSync(path.join(os.tmpdir(), "sync-chaos-"));
atEnd(() => rmSync(folder, {recursive: true, force: true}));

const errorsOf = hosts => hosts.flatMap(host => host.log.errors);

function measure(hosts) {
  const parts = hosts.map(host => host.measure());
  const sum = name => parts.reduce((all, part) => all + part[name], 0);
  return {files: sum("files"), memory: sum("memory")};
}

// One scene after the other: a server and its clients, and what is done to them.
class Scene {
  constructor(name, names, optionLists) {
    this.name = name;
    this.names = names;
    this.hosts = optionLists.map((options, i) => new Host(path.join(folder, name + i), options));
    [this.host] = this.hosts;
    this.crowds = new Crowds(CROWDS);
    this.herald = new Herald();
    this.random = randomOf(name);
    atEnd(() => this.end());
    configure({explain: () => [...this.crowds.faults, ...errorsOf(this.hosts),
      ...this.hosts.flatMap(host => [host.stderr(), host.log.end])].join("\n")});
  }

  check(what, fn) {
    return check(`${this.name}: ${what}`, async () => {
      await fn();
      if (this.crowds.faults.length) throw new Error("clients have found something");
    });
  }

  async run(seconds) {
    for (const host of this.hosts) await host.start();
    await this.herald.connect(this.host.ports[0]);
    await this.crowds.begin(this.hosts, CLIENTS);
    await this.crowds.work(this.herald);
    if (isSlice) await this.warm();
    const end = Date.now() + seconds * 1000;
    for (let round = 1; round === 1 || Date.now() < end; round++) {
      if (!await this.round(round)) return;
      if (round === 1 && !isSlice) await this.warm();
    }
    await this.conclude();
  }

  async round(number) {
    const order = shuffled(this.names, this.random);
    console.log(`${this.name}, round ${number}: ${order.join(", ")}`);
    for (const act of order) {
      const isRight = await this.check(act, async () => {
        console.log(`  ${act}: ${await acts[this.name][act](this)}`);
      });
      if (!isRight) return false;
    }
    return true;
  }

  // What there is after the first round is what there may be at the end; in a slice, what there is before.
  async warm() {
    await this.crowds.quiet(this.herald);
    this.before = measure(this.hosts);
    await this.crowds.work(this.herald);
  }

  async conclude() {
    await this.check("every message is accounted for", () => this.account());
    await this.check("nothing grows", () => this.compare());
    await this.check("no error in the log", () => {
      const wrong = this.hosts.reduce((sum, host) => sum + host.log.wrong, 0);
      if (errorsOf(this.hosts).length) throw new Error("there are errors");
      if (wrong) throw new Error(`${wrong} lines are missing, or told of as dropped though they are there`);
    });
    await this.check("who was replaced ends with its last client", async () => {
      await this.crowds.ask("endTls");
      for (const host of this.hosts) await host.untilAlone();
    });
  }

  async account() {
    await this.crowds.quiet(this.herald);
    const sums = await this.crowds.sums();
    console.log(`${this.name}: ${JSON.stringify(sums)}`);
    const missing = sums.sent - sums.answered - sums.told - sums.left - sums.cut;
    if (missing !== 0) throw new Error(`${missing} messages are not accounted for`);
  }

  compare() {
    const {before} = this;
    const after = measure(this.hosts);
    const figures = `${before.files} and then ${after.files} descriptors, ` +
      `${before.memory.toFixed(0)} and then ${after.memory.toFixed(0)} MiB`;
    console.log(`${this.name}: ${figures}`);
    if (after.files > before.files + MORE_FILES ||
      after.memory > before.memory * 4 / 3 + MORE_MEMORY) throw new Error(figures);
  }

  end() {
    this.crowds.end();
    for (const host of this.hosts) host.end();
  }
}

async function inScene(scene, seconds) {
  try {
    await scene.run(seconds);
  } finally {
    scene.end();
  }
}

const alone = options => (name, names, seconds) => inScene(new Scene(name, names, [options]), seconds);

const byEngine = Engine => async (name, names, seconds) => {
  const engine = new Engine(path.join(folder, "engine"));
  atEnd(() => engine.end());
  await engine.start();
  const lists = [];
  for (let i = 0; i < NODES; i++) lists.push([`--cluster=${await engine.place()}`]);
  const scene = new Scene(name, names, lists);
  scene.engine = engine;
  await inScene(scene, seconds);
  engine.end();
};

const SCENES = {single: alone([]), workers: alone(["--workers=2"]), redis: byEngine(Redis), nats: byEngine(Nats)};

// Which acts each scene has.
function plan(scenes) {
  const lists = Object.fromEntries(scenes.map(name => [name, Object.keys(acts[name])]));
  if (!isSlice) return lists;
  const all = [...new Set(Object.values(lists).flat())];
  const random = randomOf("plan");
  const chosen = Object.fromEntries(scenes.map(name => [name, []]));
  for (const act of all) {
    const able = scenes.filter(name => lists[name].includes(act));
    const fewest = Math.min(...able.map(name => chosen[name].length));
    const places = shuffled(able.filter(name => chosen[name].length === fewest), random);
    chosen[places[0]].push(act);
  }
  return chosen;
}

console.log(`SEED=${seed}`);
const names = process.argv[5] ? process.argv[5].split(",") : Object.keys(SCENES);
configure({limit: minutes * 60_000 + names.length * 180_000});
for (const [name, list] of Object.entries(plan(names))) {
  await SCENES[name](name, list, minutes * 60 / names.length);
}
await finish();
