// A client that acts ask with: one line, one answer. Broadcasts pass it by.

import net from "node:net";

export class Probe {
  rest = "";
  waiting = [];

  constructor(port) {
    this.socket = net.connect(port, "127.0.0.1").setNoDelay(true).setEncoding("latin1")
      .on("data", text => this.#take(text))
      .on("error", () => {})
      .on("close", () => this.waiting.splice(0).forEach(done => done("")));
  }

  #take(text) {
    const lines = (this.rest + text).split("\n");
    this.rest = lines.pop();
    for (const line of lines) if (line[0] !== "b") this.waiting.shift()?.(line);
  }

  /** The answer, or "" if the connection ends. */
  ask(line) {
    return new Promise(done => {
      if (this.socket.destroyed) return done("");
      this.waiting.push(done);
      return this.socket.write(`${line}\n`);
    });
  }

  close() { this.socket.destroy(); }
}
