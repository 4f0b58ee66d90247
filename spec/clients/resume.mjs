// Sessions of the JavaScript client at a real server, over connections that are cut from
// outside: nothing is lost, nothing comes twice, and who was away too long is told so.
//
//   sh spec/browser/install.sh
//   node spec/clients/resume.mjs ./sync-lua
//
// Between the clients and the server stands a proxy, which cuts connections at any byte. Ends
// with a line `N passed, N failed`, and with 1 when one has failed.

import assert from "node:assert/strict";
import {spawn} from "node:child_process";
import {once, setMaxListeners} from "node:events";
import net from "node:net";
import {fileURLToPath} from "node:url";
import * as sync from "../../clients/js/sync.js";
import {installed} from "../browser/clients.mjs";
import * as checks from "../support/checks.mjs";
import {program, sleep, until} from "../support/checks.mjs";

const WebSocket = installed("ws");

const PLAYERS = 50;
const RATE = 100;          // events a second, of each kind
const GREETED = 4;         // what a server says until a session goes on, and more
const QUICK = {first: 50, most: 400};

const numbers = count => Array.from({length: count}, (_, i) => i + 1);

// The server

class Server {
  trouble = ""; // of its standard error

  static async start(settings = {}) {
    const server = new Server();
    const script = fileURLToPath(new URL("remote.lua", import.meta.url));
    const words = Object.entries(settings).map(([name, value]) => `${name}=${value}`);
    server.process = spawn(program, [script, "0", ...words], {stdio: ["ignore", "pipe", "pipe"]});
    server.process.stderr.setEncoding("utf8").on("data", text => { server.trouble += text; });
    checks.atEnd(() => server.process.kill("SIGKILL"));
    server.ended = once(server.process, "exit");
    let said = "";
    server.process.stdout.setEncoding("utf8").on("data", text => { said += text; });
    await until("a port", () => /^port\t\d+\n/.test(said) || server.process.exitCode !== null);
    server.port = Number(/\d+/.exec(said)?.[0]);
    assert.ok(server.port, `the server did not start: ${server.trouble}`);
    return server;
  }

  async kill() {
    this.process.kill("SIGKILL");
    await this.ended;
  }
}

// The proxy: how it may cut a connection, once it is told to.

const wait = limit => sleep(limit * Math.random());

const CUTS = {
  // Both sides see the end, or a reset.
  end: ({near, far}) => { near.destroy(); far.destroy(); },
  reset: ({near, far}) => { near.resetAndDestroy(); far.resetAndDestroy(); },
  // The server sees it later, perhaps when the client is back; or the client does.
  unseen: async ({near, far}) => { far.pause(); near.destroy(); await wait(600); far.destroy(); },
  deaf: async ({near, far}) => { far.destroy(); near.pause(); await wait(300); near.destroy(); },
  // Within what comes next from the server, or from the client.
  below: link => { link.cutsIn = link.far; },
  above: link => { link.cutsIn = link.near; },
};

class Proxy {
  isOpen = true;
  isRough = false; // cuts each connection after a while
  links = new Set();
  cuts = Object.fromEntries(Object.keys(CUTS).map(name => [name, 0]));

  static async start(port) {
    const proxy = new Proxy();
    proxy.target = port;
    proxy.server = net.createServer(near => proxy.take(near)).listen(0, "127.0.0.1");
    await once(proxy.server, "listening");
    proxy.url = `ws://127.0.0.1:${proxy.server.address().port}/`;
    return proxy;
  }

  take(near) {
    near.on("error", () => {});
    if (!this.isOpen) {
      near.resetAndDestroy();
      return;
    }
    const far = net.connect(this.target, "127.0.0.1").on("error", () => {});
    const link = {near, far, told: 0}; // how often the server has said something
    this.links.add(link);
    this.carry(link, near, far);
    this.carry(link, far, near);
    if (this.isRough) this.cutLater(link);
  }

  carry(link, from, to) {
    from.setNoDelay().on("data", chunk => {
      if (to.destroyed) return;
      if (from === link.far) link.told++;
      if (link.cutsIn !== from) {
        to.write(chunk);
        return;
      }
      from.removeAllListeners("data").resume();
      this.cuts[from === link.far ? "below" : "above"]++;
      const part = chunk.subarray(0, Math.floor(chunk.length * Math.random()));
      to.write(part, () => { to.destroy(); from.destroy(); });
    });
    // Only what cuts a link in its own way decides when the other side hears of it.
    from.on("close", () => {
      if (!link.isCut) to.destroy();
      if (link.near.destroyed && link.far.destroyed) this.links.delete(link);
    });
  }

  // Most connections live until a session goes on: on a busy machine none would otherwise.
  async cutLater(link) {
    const least = Math.random() < 0.2 ? 0 : GREETED;
    while (this.links.has(link) && link.told < least) await sleep(20);
    await wait(800);
    if (this.isRough && this.links.has(link)) this.cut(link);
  }

  cut(link, names = Object.keys(CUTS)) {
    const name = names[Math.floor(names.length * Math.random())];
    if (name !== "below" && name !== "above") {
      link.isCut = true;
      this.cuts[name]++;
    }
    CUTS[name](link);
  }

  // Cuts all, and lets nobody in.
  shut() {
    this.isOpen = false;
    for (const link of [...this.links]) this.cut(link, ["end", "reset"]);
  }

  open() {
    this.isOpen = true;
  }

  roughen() {
    this.isRough = true;
    for (const link of this.links) this.cutLater(link);
  }

  stop() {
    this.shut();
    this.server.close();
  }
}

// A client, and what it has seen.

class Player {
  seen = {all: [], room: [], half: []}; // events, as [run, number]
  questions = [];
  sessions = 0;
  opened = 0;   // connections
  calls = [];   // {key, promise, outcome}
  errors = [];
  abort = new AbortController();

  constructor(number, proxy) {
    this.number = number;
    setMaxListeners(0, this.abort.signal);
    this.game = sync.client(proxy.url, {WebSocket, reconnect: QUICK, heartbeat: 0, timeout: 0,
      onError: error => this.errors.push(error)});
    for (const [name, seen] of Object.entries(this.seen)) {
      this.game.on(name, (run, n) => seen.push([run, n]));
    }
    this.game.handle("question", question => {
      this.questions.push(question);
      return question * 2;
    });
    this.game.onState(state => { if (state === "open") this.opened++; });
    this.game.onSession(() => {
      this.sessions++;
      return this.game.server.enter(number);
    });
  }

  // Calls `mark`. What has no answer in the end was lost on its way to the server.
  call(milliseconds) {
    const call = {key: `${this.number}/${this.calls.length}`};
    const params = milliseconds === undefined ? [call.key] : [call.key, milliseconds];
    call.promise = this.game.call("mark", params, {signal: this.abort.signal}).then(
      value => { call.outcome = value; },
      error => { call.outcome = error === this.abort.signal.reason ? "lost" : error.code; });
    this.calls.push(call);
    return call;
  }

  get isOpen() { return this.game.state === "open"; }
}

// A server with a proxy or more before it and players behind; `control` is a client that is
// not cut.
class Scene {
  players = [];
  proxies = [];

  static async begin(settings) {
    const scene = new Scene();
    scene.settings = settings;
    await scene.serve(settings);
    return scene;
  }

  async serve(settings) {
    this.server = await Server.start(settings);
    this.control = await sync.connect(`ws://127.0.0.1:${this.server.port}/`,
      {WebSocket, reconnect: false});
    for (const proxy of this.proxies) proxy.target = this.server.port;
  }

  async proxy() {
    const proxy = await Proxy.start(this.server.port);
    this.proxies.push(proxy);
    return proxy;
  }

  async add(count, proxy) {
    const first = this.players.length;
    const added = numbers(count).map(n => new Player(first + n - 1, proxy));
    this.players.push(...added);
    await settled(added);
    return added;
  }

  async report() {
    const report = await this.control.server.report();
    return {...report, closes: Object.values(report.closes)}; // an empty list comes as {}
  }

  async stop() {
    for (const {game} of this.players) game.close();
    this.control?.close();
    for (const proxy of this.proxies) proxy.stop();
    await this.server?.kill();
  }
}

// Waits until these have a connection, and have taken all that was sent to them so far.
async function settled(players) {
  await Promise.all(players.map(player => until(
    `player ${player.number}, who is ${player.game.state}`,
    // What is asked on a connection that is about to be cut has no answer.
    () => player.isOpen && player.game.latency({timeout: 2000}).then(() => true, () => false))));
}

function sums(list) {
  return list.reduce((sum, n) => sum + n, 0);
}

function inOrder(seen, from, to, run, what) {
  const wanted = numbers(to).slice(from - 1).map(n => [run, n]);
  const at = wanted.findIndex(([, n], i) => seen[i]?.[1] !== n || seen[i]?.[0] !== run);
  assert.ok(at < 0 && seen.length === wanted.length, `${what}: ${seen.length} of ` +
    `${wanted.length}, as number ${at + 1} ${seen[at]}, after ${seen[at - 1]}`);
}

checks.configure({limit: 280_000});

// A check with a server of its own.
function check(name, settings, fn) {
  return checks.check(name, async () => {
    const scene = await Scene.begin(settings);
    try {
      await fn(scene);
      const lines = scene.server.trouble.split("\n").filter(line => /ERROR|WARN/.test(line));
      assert.equal(lines.length, scene.expected ? 1 : 0, `the server's log: ${lines}`);
      if (scene.expected) assert.match(lines[0], scene.expected);
      for (const {number, errors, game} of scene.players) {
        assert.deepEqual(errors, [], `player ${number}`);
        const {unknown, unreadable} = game.stats; // answers that came twice, too
        assert.deepEqual([unknown, unreadable], [0, 0], `player ${number}`);
      }
    } finally {
      await scene.stop();
    }
  });
}

const count = ({cuts}) => sums(Object.values(cuts));

await check("cut anywhere, nothing is lost and nothing comes twice",
  {resumeTime: 60, resumeMessages: 4096, resumeBytes: 1048576, callTimeout: 3}, async scene => {
    const proxy = await scene.proxy();
    const players = await scene.add(PLAYERS, proxy);
    await scene.control.server.start(RATE);
    proxy.roughen();
    const end = Date.now() + 4000;
    await until("enough cuts", async () => {
      for (const player of players) {
        player.call();
        player.call(400 * Math.random());
      }
      await sleep(150);
      const rarest = Math.min(...Object.values(proxy.cuts));
      const leastOpened = Math.min(...players.map(({opened}) => opened));
      return Date.now() > end && count(proxy) > 200 && rarest > 5 && leastOpened > 1;
    }, 200_000);
    proxy.isRough = false;
    await scene.control.server.halt();
    await settled(players);

    // What the server has carried out is answered; the rest was lost on its way there.
    const carriedOut = await scene.control.server.carriedOut();
    const calls = players.flatMap(player => player.calls);
    await until("answers", () => calls.every(({key, outcome}) => outcome || !carriedOut[key]));
    for (const player of players) player.abort.abort();
    await Promise.all(calls.map(({promise}) => promise));
    assert.deepEqual(Object.values(carriedOut).filter(times => times !== 1), []);
    const answered = calls.filter(({key, outcome}) => outcome === key);
    assert.equal(answered.length, Object.keys(carriedOut).length);
    assert.deepEqual(calls.filter(({key, outcome}) => outcome !== key && outcome !== "lost"), []);
    assert.ok(answered.length > calls.length / 2, `${answered.length} of ${calls.length} answered`);

    // Each question was asked once; its answer came, was lost on the way, or came too late.
    await until("the end of all questions", async () => {
      const {asked} = await scene.report();
      return asked.answered + asked.late === asked.questions * PLAYERS;
    });
    const {fired, asked, closes, present, resumes} = await scene.report();
    assert.deepEqual([asked.wrong, asked.twice], [0, 0]);
    assert.ok(asked.answered > asked.late, JSON.stringify(asked));

    assert.ok(fired.all > RATE, `${fired.all} events`);
    for (const {number, seen, questions, sessions} of players) {
      const who = `player ${number}`;
      inOrder(seen.all, 1, fired.all, 1, `${who}, events at all`);
      inOrder(seen.room, 1, fired.room, 1, `${who}, events in rooms`);
      inOrder(seen.half, 1, number % 2 ? fired.half : 0, 1, `${who}, events at half of them`);
      assert.deepEqual(questions, numbers(asked.questions), who);
      assert.equal(sessions, 1, who);
    }
    assert.deepEqual([closes, present], [[], PLAYERS + 1]);
    assert.ok(resumes >= count(proxy) / 2, `${resumes} resumed`);
  });

await check("who has missed more than the ring holds is told so, and starts anew",
  {resumeTime: 60, resumeMessages: 64}, async scene => {
    scene.expected = /away for longer begins anew. Set resumeMessages = /;
    const proxy = await scene.proxy();
    const players = await scene.add(5, proxy);
    let fired = 0;
    let sessions = 1;
    for (const [missed, bytes, resumes] of
      [[64, 0, true], [65, 0, false], [2, 100_000, true], [3, 100_000, false]]) {
      const what = `${missed} events of ${bytes} bytes`;
      const inWork = players.map(player => player.call(60_000));
      await settled(players);
      const opened = players.map(player => player.opened);
      proxy.shut();
      await until("the server to see it", async () => (await scene.report()).away === 5);
      await scene.control.server.burst(missed, bytes);
      proxy.open();
      await until("their return", () => players.every((player, i) => player.opened > opened[i]));
      await settled(players);
      if (!resumes) sessions++;
      for (const [i, player] of players.entries()) {
        assert.equal(player.game.resumed, resumes, what);
        inOrder(player.seen.all.splice(0), fired + 1, resumes ? fired + missed : fired, 1, what);
        assert.equal(inWork[i].outcome, resumes ? undefined : "disconnected", what);
        assert.deepEqual([player.sessions, player.game.stats.sessions], [sessions, sessions], what);
      }
      fired += missed;
      await scene.control.server.burst(3);
      await settled(players);
      for (const {seen} of players) inOrder(seen.all.splice(0), fired + 1, fired + 3, 1, what);
      fired += 3;
    }
    const {closes, present, rooms, away} = await scene.report();
    assert.deepEqual(closes.map(([number]) => number).sort(), [0, 1, 2, 3, 4].flatMap(n => [n, n]));
    assert.deepEqual([present, rooms[0], away], [6, 5, 0]);
    for (const {abort} of players) abort.abort();
  });

await check("after a restart of the server sessions are over, and clients know it",
  {resumeTime: 60}, async scene => {
    const proxy = await scene.proxy();
    const players = await scene.add(PLAYERS, proxy);
    await scene.control.server.start(RATE);
    await until("events", () => players.every(({seen}) => seen.all.length > RATE / 2));
    const inWork = players.map(player => player.call(60_000));
    await settled(players);
    scene.control.close();
    await scene.server.kill();
    await until("the loss of all connections", () => players.every(({isOpen}) => !isOpen));
    const waiting = players.map(player => player.call());
    await scene.serve({...scene.settings, run: 2});
    await settled(players);
    await scene.control.server.start(RATE);
    await until("new events", () => players.every(({seen}) => seen.all.at(-1)[0] === 2));
    await scene.control.server.halt();
    await settled(players);

    const {fired, present, rooms, away} = await scene.report();
    for (const [i, player] of players.entries()) {
      const {number, seen, sessions, game} = player;
      const who = `player ${number}`;
      assert.deepEqual([game.resumed, sessions, game.stats.sessions], [false, 2, 2], who);
      assert.deepEqual([inWork[i].outcome, waiting[i].outcome],
        ["disconnected", waiting[i].key], who);
      for (const [name, all] of Object.entries(seen)) {
        const before = all.filter(([run]) => run === 1).length;
        inOrder(all.slice(0, before), 1, before, 1, `${who}, ${name} of the first run`);
        const wanted = name === "half" && number % 2 === 0 ? 0 : fired[name];
        inOrder(all.slice(before), 1, wanted, 2, `${who}, ${name} of the second run`);
      }
    }
    const carriedOut = Object.entries(await scene.control.server.carriedOut());
    assert.deepEqual(carriedOut.sort(), waiting.map(({key}) => [key, 1]).sort());
    assert.deepEqual([present, sums(rooms), away], [PLAYERS + 1, PLAYERS, 0]);
  });

await check("who stays away too long is gone", {resumeTime: 4}, async scene => {
  const [short, long] = [await scene.proxy(), await scene.proxy()];
  const stay = await scene.add(10, short);
  const go = await scene.add(10, long);
  const wasOpened = stay.map(({opened}) => opened);
  short.shut();
  long.shut();
  await until("the server to see it", async () => (await scene.report()).aways >= 20);
  short.open();
  await until("some to return", () => stay.every(({opened}, i) => opened > wasOpened[i]));
  await scene.control.server.burst(1);
  await until("the others to be gone", async () => (await scene.report()).closes.length > 9);
  const after = await scene.report();
  const gone = after.closes.map(([number]) => number);
  assert.deepEqual(gone.sort(), go.map(({number}) => number).sort());
  for (const [, reason, seconds] of after.closes) {
    assert.match(reason, /^(left|reset)$/);
    assert.ok(seconds > 3.95, `gone after ${seconds} s`);
  }
  assert.deepEqual([after.present, after.away, after.resumes], [11, 0, 10]);
  assert.deepEqual(after.rooms.slice(0, 2), [10, 0]);
  await scene.control.server.burst(1);
  long.open();
  await settled([...stay, ...go]);
  await scene.control.server.burst(1);
  await settled([...stay, ...go]);
  for (const {game, sessions, seen} of stay) {
    assert.deepEqual([game.resumed, sessions], [true, 1]);
    inOrder(seen.all, 1, 3, 1, "who came back");
  }
  for (const {game, sessions, seen} of go) {
    assert.deepEqual([game.resumed, sessions], [false, 2]);
    inOrder(seen.all, 3, 3, 1, "who was gone");
  }
  const {present, rooms} = await scene.report();
  assert.deepEqual([present, rooms[0], rooms[1]], [21, 10, 10]);
});

await check("an answer that is too long to be sent is not counted",
  {resumeTime: 60, maxQueue: 65_536}, async scene => {
    const proxy = await scene.proxy();
    const [player] = await scene.add(1, proxy);
    const answer = await player.game.call("long", [200_000]).catch(error => error);
    assert.equal(answer.code, -32603);
    const told = /ERROR Game:send: a message of \d+ bytes is longer than maxQueue/;
    await until("the log", () => told.test(scene.server.trouble));
    scene.server.trouble = "";
    await scene.control.server.burst(1);
    await settled([player]);
    proxy.shut();
    await until("the loss", () => !player.isOpen);
    await scene.control.server.burst(1);
    proxy.open();
    await settled([player]);
    inOrder(player.seen.all, 1, 2, 1, "events");
    assert.equal(player.game.resumed, true);
  });

// A client without the library, which says what it is told to.
async function connectRaw(port) {
  const socket = new WebSocket(`ws://127.0.0.1:${port}/`);
  const received = [];
  socket.on("message", text => received.push(JSON.parse(text))).on("error", () => {});
  await until("a greeting", () => received.length > 0);
  const [{token}] = received.shift().params;
  const say = (id, method, params) => new Promise(done =>
    socket.send(JSON.stringify({jsonrpc: "2.0", id, method, params}), done));
  return {socket, received, token, say};
}

await check("what comes on the lost connection, just when its client is back, harms nothing",
  {resumeTime: 60}, async ({server}) => {
    const old = await connectRaw(server.port);
    const fresh = await connectRaw(server.port);
    server.process.kill("SIGSTOP"); // so that it gets all of this at once
    await fresh.say("resume", "sync.resume", [old.token, 0]);
    await old.say(1, "mark", ["late"]);
    await old.say(2, "mark", ["later"]);
    server.process.kill("SIGCONT");
    await fresh.say(3, "echo", ["on time"]);
    await until("an answer", () => fresh.received.some(({id}) => id === 3));
    const {result} = fresh.received.find(({id}) => id === "resume");
    assert.equal(result.resumed, true);
    for (const {socket} of [old, fresh]) socket.terminate();
  });

await checks.finish();
