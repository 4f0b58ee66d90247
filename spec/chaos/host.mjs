// A server under chaos: its process, which another may have taken the place of, its log, and what
// it has open.

import {execFileSync, spawn} from "node:child_process";
import {once} from "node:events";
import fs from "node:fs";
import path from "node:path";
import {fileURLToPath} from "node:url";
import {program, until} from "../support/checks.mjs";
import {freePort} from "../support/ports.mjs";

const PATIENCE = 30_000;
const SCRIPT = fileURLToPath(new URL("server.lua", import.meta.url));

const DROPPED = /(\d+) lines of the log were dropped/g;

const isThere = pid => {
  try {
    return !/^\d+ \(.*\) Z/s.test(fs.readFileSync(`/proc/${pid}/stat`, "latin1"));
  } catch {
    return false;
  }
};

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
  expected = [DROPPED]; // patterns of errors that acts have caused
  asked = 0;            // lines that the log was to have
  read = "";            // what was read of the log elsewhere than in its file

  constructor(folder, options = []) {
    fs.mkdirSync(folder);
    this.folder = folder;
    this.options = options;
    this.script = path.join(folder, "server.lua");
    this.logFile = path.join(folder, "log");
    this.logLink = path.join(folder, "log.now");
    this.pointLog(this.logFile);
  }

  async start() {
    this.ports ??= [await freePort(), await freePort(), await freePort()];
    this.certificate ??= makeCertificate(this.folder);
    this.writeScript();
    const from = this.log().length;
    const err = fs.openSync(path.join(this.folder, "stderr"), "a");
    const child = spawn(program, [`--log-file=${this.logLink}`, ...this.options, this.script,
      ...this.ports, ...this.certificate], {stdio: ["ignore", "ignore", err]});
    fs.closeSync(err);
    this.child = child;
    this.pid = child.pid;
    const listens = () => this.log().slice(from).includes("Game listens on");
    await until("the server listens", () => listens() || child.exitCode !== null, PATIENCE);
    if (!listens()) throw new Error(`the server did not start: ${this.log().slice(from)}`);
  }

  /** Another version of the script: the same with a number, and what is given before it. */
  writeScript(first = "") {
    fs.writeFileSync(this.script,
      `${first}${fs.readFileSync(SCRIPT, "utf8")}-- version ${++this.version}\n`);
  }

  log() {
    return fs.existsSync(this.logFile) ? fs.readFileSync(this.logFile, "utf8") : "";
  }

  stderr() { return fs.readFileSync(path.join(this.folder, "stderr"), "utf8"); }

  pointLog(file) {
    fs.symlinkSync(file, `${this.logLink}.new`);
    fs.renameSync(`${this.logLink}.new`, this.logLink);
    this.logNow = file;
  }

  /** Has the log opened anew, at a file; true when the server has that open. */
  async moveLog(file) {
    this.pointLog(file);
    process.kill(this.pid, "SIGHUP");
    await until(`the log is at ${file}`, () => this.open().includes(file), PATIENCE);
  }

  /** The workers' processes. */
  get workers() {
    const text = fs.readFileSync(`/proc/${this.pid}/task/${this.pid}/children`, "latin1");
    return text.split(" ").filter(Boolean).map(Number).filter(isThere);
  }

  /** Ends one, and waits until another has its place. */
  async killWorker(random) {
    const before = this.workers;
    const from = this.log().length;
    process.kill(before[Math.floor(random() * before.length)], "SIGKILL");
    await until("the worker is there again", () => this.workers.length === before.length &&
      this.workers.some(pid => !before.includes(pid)) &&
      this.log().slice(from).includes("is there"), PATIENCE);
  }

  /** Descriptors and MiB of all its processes. */
  measure() {
    const all = [this.pid, ...this.workers];
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

  async upgrade() {
    const {code, said} = await this.tell("upgrade");
    const pid = Number(/process (\d+)/.exec(said)?.[1]);
    if (code !== 0 || !pid) throw new Error(`upgrade: ${code}: ${said}`);
    this.former.add(this.pid);
    this.pid = pid;
  }

  /** Limits how many descriptors it may have. */
  limitFiles(count) {
    execFileSync("prlimit", ["--pid", this.pid, `--nofile=${count}:`]);
  }

  fileLimit() {
    return Number(/Max open files\s+(\d+)/.exec(
      fs.readFileSync(`/proc/${this.pid}/limits`, "utf8"))[1]);
  }

  async kill(signal = "SIGKILL") {
    const all = [this.pid, ...this.workers];
    this.expected.push(/the workers' parent has gone/);
    process.kill(this.pid, signal);
    await until("the server and its workers end", () => !all.some(isThere), PATIENCE);
    await this.untilAlone();
  }

  /** Waits until none of the processes is left whose place was taken: they carry TLS. */
  untilAlone() {
    return until("processes that were replaced end", () => ![...this.former].some(isThere), PATIENCE);
  }

  /** Lines that the log was asked for must be there, or be told of as dropped. */
  missingLines() {
    const texts = [this.log(), this.read];
    const count = texts.join("\n").match(/INFO  line \d+ of l/g)?.length ?? 0;
    const dropped = [...this.log().matchAll(DROPPED)].reduce((sum, [, lines]) => sum + Number(lines), 0);
    return this.asked - count - dropped;
  }

  /** Lines of the log that are errors, and were not expected. */
  errors() {
    return this.log().split("\n").filter(line => line.includes("ERROR") &&
      !this.expected.some(pattern => line.search(pattern) >= 0));
  }

  end() {
    for (const pid of [this.pid, ...this.former]) if (pid && isThere(pid)) process.kill(pid, "SIGKILL");
  }
}
