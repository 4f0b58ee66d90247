// What chaos does. Each act waits for what it wants to happen, and leaves the server as it was; what
// it may cost is said to the crowds before.

import {execFileSync} from "node:child_process";
import {once} from "node:events";
import fs from "node:fs";
import net from "node:net";
import path from "node:path";
import {until} from "../support/checks.mjs";

const ROUNDS = 20; // broadcasts that go round while something is disturbed

async function churn({crowds, herald}) {
  await crowds.ask("churn");
  await herald.rounds(ROUNDS);
}

async function cut({crowds, herald}) {
  await crowds.ask("cut");
  await herald.rounds(ROUNDS);
  await crowds.untilOpen();
}

async function reload({hosts, random, herald}) {
  const host = hosts[Math.floor(random() * hosts.length)];
  host.writeScript();
  const {code, said} = await host.tell("reload");
  if (code !== 0) throw new Error(`reload: ${said}`);
  await herald.rounds(ROUNDS);
}

async function upgrade({host, herald}) {
  host.writeScript();
  await host.upgrade();
  await herald.rounds(ROUNDS);
}

// The old version goes on.
async function badVersion({host, herald}, command) {
  host.expected.push(/this version can't be loaded|ended before it was ready/);
  host.writeScript(`error "this version can't be loaded"\n`);
  const {code, said} = await host.tell(command);
  host.writeScript();
  if (code === 0) throw new Error(`${command} took a version with an error: ${said}`);
  await herald.rounds(ROUNDS);
}

const badReload = chaos => badVersion(chaos, "reload");
const badUpgrade = chaos => badVersion(chaos, "upgrade");

// One crowd's process stands still; the others are served.
async function stopClients({crowds, herald, random}) {
  const crowd = crowds.list[Math.floor(random() * crowds.list.length)];
  await crowd.ask("excuse");
  crowd.process.kill("SIGSTOP");
  try {
    await herald.rounds(3 * ROUNDS);
  } finally {
    crowd.process.kill("SIGCONT");
  }
  await crowds.untilHeard(herald.said);
}

const LINES = 5000; // some 150 KB: more than a pipe holds

function askForLines(host, herald) {
  host.asked += LINES;
  herald.write(`l${LINES}`);
}

async function stopLogReader({host, herald}) {
  const fifo = path.join(host.folder, "fifo");
  if (!fs.existsSync(fifo)) execFileSync("mkfifo", [fifo]);
  const fd = fs.openSync(fifo, fs.constants.O_RDWR | fs.constants.O_NONBLOCK);
  const reader = new net.Socket({fd, readable: true, writable: false}).setEncoding("latin1");
  try {
    await host.moveLog(fifo);
    askForLines(host, herald);
    await herald.rounds(ROUNDS);
    reader.on("data", text => { host.read += text; }); // or the log's thread could open nothing
    await host.moveLog(host.logFile);
  } finally {
    reader.destroy();
  }
}

async function fillDisk({host, herald}) {
  await host.moveLog("/dev/full");
  herald.write(`l${LINES}`);
  await herald.rounds(ROUNDS);
  await host.moveLog(host.logFile);
}

// A connection that is served, or fails.
async function probe(port) {
  const socket = net.connect(port, "127.0.0.1").on("error", () => {});
  const answer = Promise.race([once(socket, "data"), once(socket, "close")]).catch(() => []);
  socket.write("1 probe\n");
  return {socket, isServed: answer.then(([bytes]) => bytes?.toString?.() === "1 probe\n")};
}

const FEW = 8; // descriptors: fewer than any server has; what is open stays so
const NO_FILE = /no file is left to accept/;

// Nobody new is accepted; who is there is served. Then the one that has waited comes in.
async function takeFiles({host, crowds, herald}) {
  await crowds.untilOpen();
  const limit = host.fileLimit();
  const begun = host.log().length;
  host.expected.push(NO_FILE);
  host.limitFiles(FEW);
  let waiting;
  try {
    waiting = await probe(host.ports[0]);
    await until("the log tells of descriptors", () => NO_FILE.test(
      host.log().slice(begun)), 30_000);
    await herald.rounds(ROUNDS);
  } finally {
    host.limitFiles(limit);
  }
  if (!await waiting.isServed) throw new Error("who has waited for a descriptor was not served");
  waiting.socket.destroy();
}

// What is lost meanwhile is told by who loses it. Who hears a broadcast that was said behind it has
// lost nothing, or is back.
async function withLosses(chaos, act) {
  const {crowds, herald, host} = chaos;
  await crowds.ask("may", {lose: true, miss: true});
  herald.turn(false);
  await act();
  await crowds.untilOpen();
  await herald.connectAgain(host.ports[0]);
  herald.turn(true);
  await herald.rounds(ROUNDS);
  await crowds.untilHeard(herald.said);
  await crowds.ask("may", {lose: false, miss: false});
  await herald.rounds(ROUNDS);
}

// All lose what a server had in memory.
function kill(chaos) {
  const {hosts, random} = chaos;
  return withLosses(chaos, async () => {
    const host = hosts[Math.floor(random() * hosts.length)];
    await host.kill();
    await host.start();
  });
}

function killWorker(chaos) {
  const {host, random} = chaos;
  host.expected.push(/worker \d+.*(signal|killed|ended)/);
  return withLosses(chaos, () => host.killWorker(random));
}

// Broadcasts don't reach the other node; on each of them all goes on.
async function withoutEngine({crowds, herald, engine, hosts}, act) {
  await crowds.ask("may", {miss: true});
  await act(() => herald.rounds(ROUNDS));
  await engine.untilHeardBy(hosts.length);
  await herald.rounds(ROUNDS);
  await crowds.untilHeard(herald.said);
  await crowds.ask("may", {miss: false});
  await herald.rounds(ROUNDS);
}

const cutEngine = chaos => withoutEngine(chaos, () => chaos.engine.cut());

const killEngine = chaos => withoutEngine(chaos, async rounds => {
  await chaos.engine.kill();
  await rounds();
  await chaos.engine.start();
});

const stopEngine = chaos => withoutEngine(chaos, async rounds => {
  chaos.engine.signal("SIGSTOP");
  await rounds().finally(() => chaos.engine.signal("SIGCONT"));
});

export const single = {churn, cut, reload, upgrade, badReload, badUpgrade, stopClients, stopLogReader,
  fillDisk, takeFiles, kill};
export const workers = {churn, cut, reload, badReload, stopClients, kill, killWorker};
export const nodes = {churn, cut, reload, badReload, stopClients, kill, cutEngine, killEngine,
  stopEngine};
