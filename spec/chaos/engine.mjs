// The engines by which nodes are one, which chaos kills, stops and cuts off. Each node has a relay
// of its own before it.

import {spawn} from "node:child_process";
import {once} from "node:events";
import net from "node:net";
import {until} from "../support/checks.mjs";
import {freePort} from "../support/ports.mjs";
import {Relay} from "./relay.mjs";

const PATIENCE = 30_000;

class Engine {
  relays = []; // by node

  async start() {
    this.port ??= await freePort();
    this.process = spawn(...this.command(), {stdio: "ignore"});
    await until("the engine answers", () => this.#answers(), PATIENCE);
  }

  /** Where another node finds it. */
  async place() {
    const relay = await new Relay(this.port).listen();
    this.relays.push(relay);
    return `${this.scheme}://127.0.0.1:${relay.port}`;
  }

  async #answers() {
    const socket = net.connect(this.port, "127.0.0.1").on("error", () => {});
    socket.write("PING\r\n");
    const answer = await Promise.race([once(socket, "data"), once(socket, "close")]).catch(() => []);
    socket.destroy();
    return this.answer.test(String(answer[0]));
  }

  async kill() {
    const ended = once(this.process, "exit");
    this.process.kill("SIGKILL");
    await ended;
  }

  signal(name) { this.process.kill(name); }

  end() {
    this.process?.kill("SIGKILL");
    for (const relay of this.relays) relay.close();
  }
}

export class Redis extends Engine {
  scheme = "redis";
  answer = /^\+PONG/;

  command() {
    return ["redis-server", ["--bind", "127.0.0.1", "--port", this.port, "--save", "",
      "--appendonly", "no", "--dir", "/tmp"]];
  }
}

export class Nats extends Engine {
  scheme = "nats";
  answer = /^INFO /;

  constructor(folder) {
    super();
    this.folder = folder;
  }

  command() {
    return ["nats-server", ["-a", "127.0.0.1", "-p", this.port, "-js", "-sd", this.folder]];
  }
}
