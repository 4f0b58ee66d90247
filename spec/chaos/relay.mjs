// A network that chaos disturbs: a relay before a port, which passes bytes on, or holds them back,
// passes them on slowly and in pieces, or resets all connections.

import net from "node:net";

const PIECES = 3;
const SLOWEST = 20; // ms between pieces

export class Relay {
  pairs = new Set();
  isHeld = false;
  isSlow = false;
  pieces = 0; // that went slowly

  constructor(port) {
    this.target = port;
    this.server = net.createServer({allowHalfOpen: true, noDelay: true}, near => this.#link(near));
  }

  listen() {
    return new Promise((done, fail) => {
      this.server.on("error", fail).listen(0, "127.0.0.1", () => {
        this.port = this.server.address().port;
        done(this);
      });
    });
  }

  #link(near) {
    const far = net.connect({port: this.target, host: "127.0.0.1", allowHalfOpen: true, noDelay: true});
    const pair = [near, far];
    this.pairs.add(pair);
    this.#pass(pair, near, far);
    this.#pass(pair, far, near);
  }

  #pass(pair, from, to) {
    from.on("data", bytes => this.#take(from, to, bytes))
      .on("end", () => to.end())
      .on("error", () => { from.hasFailed = true; })
      .on("close", () => {
        this.pairs.delete(pair);
        if (from.hasFailed && !to.destroyed) to.resetAndDestroy();
        else to.destroySoon();
      });
    to.on("drain", () => { if (!this.isHeld) from.resume(); });
    if (this.isHeld) from.pause();
  }

  #take(from, to, bytes) {
    if (this.isSlow) return this.#takeSlowly(from, to, bytes);
    if (!to.write(bytes)) from.pause();
    return undefined;
  }

  async #takeSlowly(from, to, bytes) {
    from.pause();
    const size = Math.ceil(bytes.length / (1 + Math.random() * PIECES));
    for (let at = 0; at < bytes.length; at += size) {
      await new Promise(done => { setTimeout(done, Math.random() * SLOWEST); });
      this.pieces++;
      to.write(bytes.subarray(at, at + size));
    }
    if (!this.isHeld) from.resume();
  }

  /** Nothing gets through any more, in either direction; or all again. */
  hold(on) {
    this.isHeld = on;
    for (const socket of [...this.pairs].flat()) {
      if (on) socket.pause();
      else socket.resume();
    }
  }

  slow(on) { this.isSlow = on; }

  /** Ends all connections at both ends; what is under way is lost. Returns how many they were. */
  reset() {
    const pairs = [...this.pairs];
    for (const [near, far] of pairs) {
      near.resetAndDestroy();
      far.resetAndDestroy();
    }
    return pairs.length;
  }

  close() {
    this.server.close();
    this.reset();
  }
}
