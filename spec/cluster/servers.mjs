// The processes of the cluster's tests: nodes, and the engines that link them. Each may be in a
// network namespace of its own, behind a bridge, where it can be cut off.

import {execFileSync, spawn} from "node:child_process";
import {once} from "node:events";
import {mkdtempSync, rmSync} from "node:fs";
import os from "node:os";
import path from "node:path";
import {fileURLToPath} from "node:url";
import {program, root, until} from "../support/checks.mjs";
import {freePort} from "../support/ports.mjs";

const running = new Set();

/** Starts a program; what it says is kept in `said`. */
export function start(command, words, space) {
  const all = space ? ["ip", "netns", "exec", space.name, command, ...words] : [command, ...words];
  // NATS' library is found where it was built.
  const env = {...process.env, LUA_CPATH: `${path.join(root, "build/?.so")};;`};
  const child = spawn(all[0], all.slice(1), {stdio: ["ignore", "pipe", "pipe"], env});
  const started = {child, said: "", trouble: "", ended: once(child, "exit")};
  child.stdout.setEncoding("utf8").on("data", text => { started.said += text; });
  child.stderr.setEncoding("utf8").on("data", text => { started.trouble += text; });
  running.add(started);
  started.ended.then(() => running.delete(started));
  return started;
}

export async function kill(started, signal = "SIGKILL") {
  started.child.kill(signal);
  await started.ended;
}

// Network namespaces.

const ip = (...words) => execFileSync("ip", words, {stdio: ["ignore", "ignore", "pipe"]});

/**
 * A network of namespaces round a bridge, 10.231.77.0/24; this process is 10.231.77.1. It is for
 * a process that has a network of its own (spec/cluster/run), and goes with it.
 */
export class Network {
  #size = 1;

  constructor() {
    ip("link", "add", "bridge", "type", "bridge");
    ip("addr", "add", "10.231.77.1/24", "dev", "bridge");
    ip("link", "set", "bridge", "up");
  }

  /** A namespace with an address: {name, host, cut(), heal()}. */
  add() {
    const number = ++this.#size;
    const name = `node${number}`;
    const host = `10.231.77.${number}`;
    ip("netns", "add", name);
    ip("link", "add", name, "type", "veth", "peer", "name", "eth0", "netns", name);
    ip("link", "set", name, "master", "bridge", "up");
    ip("-n", name, "addr", "add", `${host}/24`, "dev", "eth0");
    ip("-n", name, "link", "set", "eth0", "up");
    ip("-n", name, "link", "set", "lo", "up");
    return {name, host, cut: () => ip("link", "set", name, "down"),
      heal: () => ip("link", "set", name, "up")};
  }
}

// Engines.

/** redis-server, without a disk. */
export class Redis {
  host = "127.0.0.1";

  static async start(space) {
    const redis = new Redis();
    redis.space = space;
    redis.host = space?.host ?? "127.0.0.1";
    redis.port = space ? 6379 : await freePort();
    await redis.begin();
    return redis;
  }

  get url() { return `redis://${this.host}:${this.port}`; }

  async begin() {
    this.process = start("redis-server", ["--port", String(this.port), "--bind", this.host,
      "--protected-mode", "no", "--save", "", "--appendonly", "no"], this.space);
    await until("redis-server is ready", () =>
      this.process.said.includes("Ready to accept connections"));
  }

  kill() { return kill(this.process); }
}

/** Three nats-servers with JetStream, which are a cluster. */
export class Nats {
  processes = [];

  static async start(spaces = []) {
    const nats = new Nats();
    nats.folder = mkdtempSync(path.join(os.tmpdir(), "sync-nats-"));
    nats.places = [];
    for (let i = 0; i < 3; i++) {
      const space = spaces[i];
      nats.places.push({space, host: space?.host ?? "127.0.0.1",
        port: space ? 4222 : await freePort(), routes: space ? 6222 : await freePort()});
    }
    for (let i = 0; i < 3; i++) nats.begin(i);
    await until("the nats-servers are ready", () =>
      nats.processes.every(each => each.trouble.includes("JetStream cluster new stream leader") ||
        each.trouble.includes("JetStream cluster new metadata leader") ||
        each.trouble.includes("Server is ready")));
    await until("they have a leader", () =>
      nats.processes.some(each => each.trouble.includes("new metadata leader")), 30_000);
    return nats;
  }

  get url() {
    return `nats://${this.places.map(({host, port}) => `${host}:${port}`).join(",")}`;
  }

  begin(i) {
    const {space, host, port, routes} = this.places[i];
    this.processes[i] = start("nats-server", ["-a", host, "-p", String(port), "-js",
      "-sd", path.join(this.folder, String(i)), "--name", `n${i}`, "--cluster_name", "sync",
      "--cluster", `nats://${host}:${routes}`,
      "--routes", this.places.map(each => `nats://${each.host}:${each.routes}`).join(",")], space);
  }

  async kill(i) {
    if (i !== undefined) return kill(this.processes[i]);
    for (const process of this.processes) await kill(process);
    rmSync(this.folder, {recursive: true, force: true});
  }
}

// Nodes.

const script = fileURLToPath(new URL("node.lua", import.meta.url));

/** A node; `words` are options of sync-lua. */
export class Node {
  static async start(url, {space, words = []} = {}) {
    const node = new Node();
    node.host = space?.host ?? "127.0.0.1";
    node.process = start(program, [...words, script, node.host, ...url ? [url] : []], space);
    await until("a node listens", () => /^(\d+\t){2}\d+\n/.test(node.process.said) ||
      node.process.child.exitCode !== null);
    const ports = /^(\d+)\t(\d+)\t(\d+)\n/.exec(node.process.said);
    if (!ports) throw new Error(`a node did not start: ${node.process.trouble}`);
    [node.port, node.lines, node.games] = ports.slice(1).map(Number);
    return node;
  }

  kill(signal) { return kill(this.process, signal); }
}

/** Ends what is still running. */
export async function endAll() {
  await Promise.all([...running].map(started => kill(started)));
}
