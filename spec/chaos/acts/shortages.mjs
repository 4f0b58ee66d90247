// Nobody reads the log, the disk is full, no descriptor is left.

import {execFileSync} from "node:child_process";
import fs from "node:fs";
import net from "node:net";
import path from "node:path";
import {inTime, until} from "../../support/checks.mjs";
import {Probe} from "../probe.mjs";
import {ROUNDS, effect, pick} from "./common.mjs";

const PATIENCE = 30_000;
const BANS = /the file of bans can't be written/;
const WRITTEN = 1000; // ms until a ban's file is written, or isn't
const LINES = 5000; // some 150 KB: more than a pipe holds, or the disk

// Has a host write lines to its log.
function fillLog(host, count = LINES) {
  const probe = new Probe(host.ports[0]);
  host.log.asked += count;
  return probe.ask(`l${count}`).finally(() => probe.close());
}

const untilTold = host => until("each line of the log is there, or told of", () => host.log.wrong === 0,
  PATIENCE);

export async function stopLogReader({hosts, random, herald}) {
  const host = pick(random, hosts);
  const fifo = path.join(host.folder, "fifo");
  if (!fs.existsSync(fifo)) execFileSync("mkfifo", [fifo]);
  const fd = fs.openSync(fifo, fs.constants.O_RDWR | fs.constants.O_NONBLOCK);
  const reader = new net.Socket({fd, readable: true, writable: false}).setEncoding("latin1");
  let length = 0;
  try {
    await host.moveLog(fifo);
    await fillLog(host);
    await herald.rounds(ROUNDS);
    reader.on("data", text => { // or the log's thread could open nothing
      host.log.elsewhere += text;
      ({length} = host.log.elsewhere);
    });
    await host.moveLog(host.log.file);
    await untilTold(host);
  } finally {
    reader.destroy();
  }
  return effect(length, "bytes of the log had to wait");
}

// A small disk for the log and the bans, or /dev/full where none can be mounted.
class Disk {
  constructor(folder) {
    this.folder = folder;
    this.filler = path.join(folder, "filler");
    try {
      execFileSync("mount", ["-t", "tmpfs", "-o", "size=256k", "none", this.folder], {stdio: "ignore"});
      this.isMounted = true;
    } catch {
      this.isMounted = false;
    }
  }

  fill() {
    const fd = fs.openSync(this.filler, "w");
    try {
      for (;;) fs.writeSync(fd, Buffer.alloc(4096));
    } catch (error) {
      if (error.code !== "ENOSPC") throw error;
    } finally {
      fs.closeSync(fd);
    }
  }

  makeRoom() { fs.truncateSync(this.filler); }

  end() { if (this.isMounted) execFileSync("umount", ["-l", this.folder]); }
}

// Lines are dropped, and told of; nobody else notices.
async function withoutDisk({herald}, host) {
  const before = host.log.dropped;
  await host.moveLog("/dev/full");
  await fillLog(host);
  await herald.rounds(ROUNDS);
  await host.moveLog(host.log.file);
  await until("the log tells of lines that were dropped", () => host.log.dropped > before, PATIENCE);
  return effect(host.log.dropped - before, "lines of the log were dropped");
}

let lastBan = 0;

// Shuts out an address that nobody has (RFC 5737).
async function ban(host) {
  const address = `203.0.113.${++lastBan % 256}`;
  host.log.others += 2; // it's logged, and that it can't be written
  const probe = new Probe(host.ports[0]);
  const said = await probe.ask(`x ${address}`);
  probe.close();
  if (said !== "x true") throw new Error(`a ban: ${said}`);
  return address;
}

// The same, but the log goes on as soon as there is room; and bans are written with the next one.
async function withDisk({herald}, host, disk) {
  const before = host.log.dropped;
  const file = path.join(disk.folder, "log");
  const read = () => fs.readFileSync(file, "latin1");
  host.log.expected.push(BANS);
  await host.moveLog(file);
  disk.fill();
  await fillLog(host);
  const first = await ban(host);
  await herald.rounds(ROUNDS);
  disk.makeRoom();
  await until("the log tells of lines that were dropped", () => /lines of the log were dropped/.test(read()),
    PATIENCE);
  await until("bans could not be written", async () => {
    if (BANS.test(read())) return true;
    disk.fill(); // but for what is left of the log's last block
    await ban(host);
    const told = await inTime(() => BANS.test(read()), WRITTEN);
    disk.makeRoom();
    return told;
  }, PATIENCE);
  const second = await ban(host);
  await until("the bans are written", () => fs.existsSync(host.bans) &&
    [first, second].every(address => fs.readFileSync(host.bans, "latin1").includes(address)), PATIENCE);
  await fillLog(host, 10);
  await host.moveLog(host.log.file);
  host.log.elsewhere += read();
  await untilTold(host);
  return effect(host.log.dropped - before, "lines of the log were dropped");
}

export async function fillDisk(chaos) {
  const host = pick(chaos.random, chaos.hosts);
  const disk = new Disk(path.dirname(host.bans));
  try {
    return disk.isMounted ? await withDisk(chaos, host, disk) : await withoutDisk(chaos, host);
  } finally {
    disk.end();
  }
}

const FEW = 8; // descriptors: fewer than any server has; what is open stays so
const NO_FILE = /no file is left to accept/;

// Nobody new is accepted; who is there is served. Then the one that has waited comes in.
export async function takeFiles({hosts, random, crowds, herald}) {
  const host = pick(random, hosts);
  await crowds.untilOpen();
  const limits = host.serving.map(pid => [pid, host.fileLimit(pid)]);
  const since = host.log.mark();
  host.log.expected.push(NO_FILE);
  let probe;
  let answer;
  try {
    for (const [pid] of limits) host.limitFiles(pid, FEW);
    probe = new Probe(host.ports[0]);
    answer = probe.ask("1 probe");
    await until("the log tells of descriptors", () => NO_FILE.test(since()), PATIENCE);
    await herald.rounds(ROUNDS);
  } finally {
    for (const [pid, limit] of limits) host.limitFiles(pid, limit);
  }
  if (await answer !== "1 probe") throw new Error("who has waited for a descriptor was not served");
  probe.close();
  return `${limits.length} without a descriptor`;
}
