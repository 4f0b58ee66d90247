// Who says the numbers that all hear. One is under way at a time, so that it's known which were said.

import net from "node:net";
import {once} from "node:events";
import {until} from "../support/checks.mjs";

export class Herald {
  number = 0;
  said = 0;      // what it has heard itself
  isOn = false;
  rest = "";

  async connect(port) {
    this.socket = net.connect(port, "127.0.0.1").setNoDelay(true).setEncoding("latin1");
    this.socket.on("data", text => this.take(text)).on("error", () => {});
    await once(this.socket, "connect");
  }

  take(text) {
    const lines = (this.rest + text).split("\n");
    this.rest = lines.pop();
    for (const line of lines) if (line[0] === "b") this.heard(Number(line.slice(1)));
  }

  heard(number) {
    if (number !== this.said + 1) throw new Error(`the herald heard ${number} after ${this.said}`);
    this.said = number;
    if (this.isOn) setTimeout(() => { if (this.isOn) this.say(); }, 10);
  }

  say() {
    if (this.number === this.said) this.socket.write(`b${++this.number}\n`);
  }

  turn(on) {
    this.isOn = on;
    if (on) this.say();
  }

  /** Waits until `count` more broadcasts have gone round. */
  async rounds(count) {
    const goal = this.said + count;
    await until(`${count} broadcasts`, () => this.said >= goal, 30_000);
  }

  write(text) { this.socket.write(`${text}\n`); }

  /** After a crash: what was under way may or may not have been said. */
  async connectAgain(port) {
    this.turn(false);
    this.socket.destroy();
    this.rest = "";
    this.said = this.number;
    await this.connect(port);
  }
}
