// A network that chaos disturbs: a relay before a port, which passes bytes on, or holds them back,
// passes them on slowly and in pieces, or resets all connections.

import {once} from "node:events";
import net from "node:net";
import {setTimeout as pause} from "node:timers/promises";

const PIECES = 3;
const SLOWEST = 20; // ms between pieces

export class Relay {
  pairs = new Set();
  isSlow = false;
  pieces = 0;         // that went slowly
  release = () => {}; // what is held
  open = Promise.resolve();

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
    for (const [from, to] of [[near, far], [far, near]]) {
      from.on("error", () => {}).on("close", isBroken => {
        this.pairs.delete(pair);
        if (isBroken && !to.destroyed) to.resetAndDestroy();
        else to.destroySoon();
      });
      this.#pass(from, to).catch(() => to.destroy()); // a connection that broke has said so
    }
  }

  async #pass(from, to) {
    for await (const bytes of from.iterator({destroyOnReturn: false})) {
      const size = this.isSlow ? Math.ceil(bytes.length / (1 + Math.random() * PIECES)) : bytes.length;
      for (let at = 0; at < bytes.length; at += size) {
        await this.open;
        if (this.isSlow) await this.#dawdle();
        if (!to.write(bytes.subarray(at, at + size))) await once(to, "drain");
      }
    }
    await this.open;
    to.end();
  }

  #dawdle() {
    this.pieces++;
    return pause(Math.random() * SLOWEST);
  }

  /** Nothing gets through any more, in either direction; or all again. */
  hold(on) {
    this.release();
    if (on) this.open = new Promise(done => { this.release = done; });
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
