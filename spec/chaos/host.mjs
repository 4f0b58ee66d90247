// A server under chaos: its process, which another may have taken the place of, its workers, and
// what they have open.

import {execFileSync, spawn} from "node:child_process";
import {once} from "node:events";
import fs from "node:fs";
import path from "node:path";
import {fileURLToPath} from "node:url";
import {program, root, until} from "../support/checks.mjs";
import {freePort} from "../support/ports.mjs";
import {Clock} from "./clock.mjs";
import {Log} from "./log.mjs";

const PATIENCE = 30_000;
const SCRIPT = fileURLToPath(new URL("server.lua", import.meta.url));

const stateOf = pid => {
  try {
    return /^\d+ \(.*\) (.)/s.exec(fs.readFileSync(`/proc/${pid}/stat`, "latin1"))[1];
  } catch {
    return "";
  }
};
// One whose first thread has ended has its descriptors until all have.
function isThere(pid) {
  const state = stateOf(pid);
  if (state !== "Z") return state !== "";
  try {
    return fs.readdirSync(`/proc/${pid}/task`).length > 1;
  } catch {
    return false;
  }
}

export function makeCertificate(folder) {
  const certificate = path.join(folder, "certificate.pem");
  const key = path.join(folder, "key.pem");
  execFileSync("openssl", ["req", "-x509", "-newkey", "ec", "-pkeyopt",
    "ec_paramgen_curve:prime256v1", "-nodes", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost",
    "-days", "2", "-keyout", key,
    "-out", certificate], {stdio: "ignore"});
  return [certificate, key];
}

export class Host {
  pid = 0;
  former = new Set(); // processes whose place was taken
  version = 0;

  constructor(folder, options = []) {
    fs.mkdirSync(path.join(folder, "disk"), {recursive: true});
    this.folder = folder;
    this.options = options;
    this.script = path.join(folder, "server.lua");
    this.bans = path.join(folder, "disk/bans");
    this.log = new Log(folder);
    this.clock = new Clock(path.join(folder, "clock"));
  }

  async start() {
    this.ports ??= [await freePort(), await freePort(), await freePort()];
    this.certificate ??= makeCertificate(this.folder);
    this.writeScript();
    const since = this.log.mark();
    const err = fs.openSync(path.join(this.folder, "stderr"), "a");
    // NATS' library is found where it was built.
    const env = {...process.env, LUA_CPATH: `${path.join(root, "build/?.so")};;`, ...this.clock.env};
    const child = spawn(program, [`--log-file=${this.log.link}`, `--bans=${this.bans}`, ...this.options,
      this.script, ...this.ports, ...this.certificate], {stdio: ["ignore", "ignore", err], env});
    fs.closeSync(err);
    this.child = child;
    this.pid = child.pid;
    const listens = () => since().includes("Game listens on");
    await until("the server listens", () => listens() || child.exitCode !== null, PATIENCE);
    if (!listens()) throw new Error(`the server did not start: ${since()}`);
  }

  /** Another version of the script: the same with a number, and what is given before it. */
  writeScript(first = "") {
    fs.writeFileSync(this.script,
      `${first}${fs.readFileSync(SCRIPT, "utf8")}-- version ${++this.version}\n`);
  }

  stderr() { return fs.readFileSync(path.join(this.folder, "stderr"), "utf8"); }

  /** Has the log opened anew, at a file; true when all processes have that open. */
  async moveLog(file) {
    this.log.point(file);
    process.kill(this.pid, "SIGHUP");
    await until(`the log is at ${file}`, () => this.all.every(pid => this.open(pid).includes(file)),
      PATIENCE);
  }

  /** The workers' processes. */
  get workers() {
    const text = fs.readFileSync(`/proc/${this.pid}/task/${this.pid}/children`, "latin1");
    return text.split(" ").filter(Boolean).map(Number)
      .filter(pid => isThere(pid) && !this.former.has(pid));
  }

  get all() { return [this.pid, ...this.workers]; }

  /** The processes that have clients. */
  get serving() {
    const {workers} = this;
    return workers.length > 0 ? workers : [this.pid];
  }

  /** Ends a worker, and waits until another has its place. */
  async killWorker(pid) {
    const before = this.workers;
    const since = this.log.mark();
    process.kill(pid, "SIGKILL");
    await until("the worker is there again", () => this.workers.length === before.length &&
      !this.workers.includes(pid) && since().includes("is there"), PATIENCE);
  }

  /** Has a process stand still while something happens. */
  async stopped(pid, meanwhile) {
    process.kill(pid, "SIGSTOP");
    try {
      await until("the process stands still", () => stateOf(pid) === "T", PATIENCE);
      await meanwhile();
      if (stateOf(pid) !== "T") throw new Error(`process ${pid} did not stand still`);
    } finally {
      process.kill(pid, "SIGCONT");
    }
  }

  /** Descriptors and MiB of all its processes. */
  measure() {
    const {all} = this;
    return {files: all.reduce((sum, pid) => sum + this.open(pid).length, 0),
      memory: all.reduce((sum, pid) => sum + this.memory(pid), 0)};
  }

  /** What the descriptors lead to. */
  open(pid = this.pid) {
    const folder = `/proc/${pid}/fd`;
    return fs.readdirSync(folder).map(fd => {
      try {
        return fs.readlinkSync(path.join(folder, fd));
      } catch {
        return "";
      }
    }).filter(Boolean);
  }

  memory(pid) {
    const status = fs.readFileSync(`/proc/${pid}/status`, "utf8");
    return Number(/VmRSS:\s*(\d+)/.exec(status)[1]) / 1024;
  }

  /** Runs `sync-lua COMMAND PID`. */
  async tell(command) {
    const child = spawn(program, [command, this.pid], {stdio: ["ignore", "pipe", "pipe"]});
    let said = "";
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding("utf8").on("data", text => { said += text; });
    }
    const [code] = await once(child, "close");
    return {code, said};
  }

  /** Has others in the places of the processes that serve. A parent of workers keeps its number. */
  async upgrade() {
    const before = this.serving;
    const {code, said} = await this.tell("upgrade");
    if (code !== 0) throw new Error(`upgrade: ${code}: ${said}`);
    for (const pid of before) this.former.add(pid);
    if (before[0] === this.pid) this.pid = Number(/process (\d+)/.exec(said)[1]);
    if (this.serving.length !== before.length) throw new Error(`upgrade: ${said}`);
    return `processes ${this.serving} have taken over`;
  }

  /** Limits how many descriptors a process may have. */
  limitFiles(pid, count) {
    execFileSync("prlimit", ["--pid", pid, `--nofile=${count}:`]);
  }

  fileLimit(pid) {
    return Number(/Max open files\s+(\d+)/.exec(fs.readFileSync(`/proc/${pid}/limits`, "utf8"))[1]);
  }

  async kill(signal = "SIGKILL") {
    const {all} = this;
    this.log.expected.push(/the workers' parent has gone/);
    process.kill(this.pid, signal);
    await until("the server and its workers end", () => !all.some(isThere), PATIENCE);
    await this.untilAlone();
  }

  /** Waits until none of the processes is left whose place was taken: they carry TLS. */
  untilAlone() {
    return until("processes that were replaced end", () => ![...this.former].some(isThere), PATIENCE);
  }

  end() {
    for (const pid of [this.pid, ...this.former]) if (pid && isThere(pid)) process.kill(pid, "SIGKILL");
  }
}
