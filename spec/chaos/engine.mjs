// A Redis server by which nodes are one, and which chaos kills, stops and cuts off.

import {execFileSync, spawn} from "node:child_process";
import {once} from "node:events";
import net from "node:net";
import {until} from "../support/checks.mjs";
import {freePort} from "../support/ports.mjs";

export class Engine {
  async start() {
    this.port ??= await freePort();
    this.process = spawn("redis-server", ["--bind", "127.0.0.1", "--port", this.port, "--save", "",
      "--appendonly", "no", "--dir", "/tmp"], {stdio: "ignore"});
    await until("redis-server answers", () => this.answers());
  }

  get url() { return `redis://127.0.0.1:${this.port}`; }

  async answers() {
    const socket = net.connect(this.port, "127.0.0.1").on("error", () => {});
    socket.write("PING\r\n");
    const answer = await Promise.race([once(socket, "data"), once(socket, "close")]).catch(() => []);
    socket.destroy();
    return String(answer[0]).startsWith("+PONG");
  }

  async kill() {
    const ended = once(this.process, "exit");
    this.process.kill("SIGKILL");
    await ended;
  }

  /** Ends the connections of all nodes. */
  cut() {
    for (const type of ["normal", "pubsub"]) this.command("CLIENT", "KILL", "TYPE", type);
  }

  command(...words) {
    return execFileSync("redis-cli", ["-p", this.port, ...words], {encoding: "utf8"});
  }

  signal(name) { this.process.kill(name); }

  /** Waits until so many nodes listen to it. */
  async untilHeardBy(count) {
    const isHeard = () => (this.command("CLIENT", "LIST", "TYPE", "pubsub").match(/^id=/gm) ?? [])
      .length >= count;
    await until("the nodes are at the engine", isHeard, 30_000);
  }
}
