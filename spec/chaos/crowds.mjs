// The runner's side of the crowds.

import {fork} from "node:child_process";
import {fileURLToPath} from "node:url";
import {program, until} from "../support/checks.mjs";

const PROGRAM = fileURLToPath(new URL("crowd.mjs", import.meta.url));
const PATIENCE = 30_000;

class Crowd {
  lastId = 0;
  answers = new Map();

  constructor(faults) {
    this.process = fork(PROGRAM, [program]).on("exit", code => {
      if (code !== null) throw new Error(`a crowd has ended with ${code}`);
    });
    this.process.on("message", ({id, value, fault}) => {
      if (fault) return faults.push(fault);
      this.answers.get(id)(value);
      return this.answers.delete(id);
    });
  }

  ask(ask, words) {
    return new Promise(done => {
      this.answers.set(++this.lastId, done);
      this.process.send({id: this.lastId, ask, ...words});
    });
  }
}

export class Crowds {
  faults = [];

  constructor(count) {
    this.list = Array.from({length: count}, () => new Crowd(this.faults));
  }

  ask(ask, words) {
    return Promise.all(this.list.map(crowd => crowd.ask(ask, words)));
  }

  async begin(hosts, count) {
    await Promise.all(this.list.map((crowd, i) => {
      const far = hosts.length > 1 ? hosts[(i + 1) % hosts.length].ports[2] : undefined;
      return crowd.ask("begin", {ports: hosts[i % hosts.length].ports, far, count, name: `crowd ${i}`});
    }));
    await this.untilOpen();
  }

  async #until(what, holds) {
    let states;
    try {
      await until(what, async () => {
        states = await this.ask("state");
        return states.every(holds);
      }, PATIENCE);
    } catch (error) {
      throw new Error(`${error.message}: ${JSON.stringify(states)}\n${this.faults.join("\n")}`);
    }
  }

  untilOpen() { return this.#until("all are connected", state => state.isOpen); }
  untilHeard(number) { return this.#until(`all hear ${number}`, state => state.heard >= number); }

  /** Waits until nothing is under way, and all have heard the last broadcast that was said. */
  async quiet(herald) {
    await this.ask("work", {on: false});
    herald.turn(false);
    await until("the herald hears itself", () => herald.said === herald.number, PATIENCE);
    await this.#until("all is answered", state => state.isOpen && state.owed === 0);
    herald.say(); // for those that have come since
    await until("the herald hears itself", () => herald.said === herald.number, PATIENCE);
    await this.untilHeard(herald.said);
    await until("members of a room see the same", async () => {
      this.roomFaults = (await this.ask("rooms")).filter(Boolean);
      return this.roomFaults.length === 0;
    }, PATIENCE).catch(() => this.faults.push(...this.roomFaults));
  }

  async work(herald) {
    await this.ask("work", {on: true});
    herald.turn(true);
  }

  async sums() {
    const sums = {};
    for (const state of await this.ask("state")) {
      for (const [name, count] of Object.entries(state.sums)) sums[name] = (sums[name] ?? 0) + count;
    }
    return sums;
  }

  end() {
    for (const crowd of this.list) crowd.process.kill("SIGKILL");
  }
}
