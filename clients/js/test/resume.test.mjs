// Sessions that outlive their connection.

import assert from "node:assert/strict";
import test from "node:test";
import {away, connect, outcome, random, serve, sleep, until} from "./help.mjs";

const RUNS = 100;
const AT_ONCE = 10;

const check = (name, fn) => test(name, {timeout: 60_000}, async t => {
  const server = await serve(t, {resumeTime: 30});
  await fn(t, server);
});

// A client whose session has begun at the server, too.
async function greeted(t, server, options) {
  const game = await connect(t, server, options);
  await game.latency();
  game.seen = [];
  game.on("e", value => game.seen.push(value));
  game.sessions = 0;
  game.onSession(() => game.sessions++);
  return game;
}

const back = game => until(() => game.state === "open", "the connection's return");
const fire = (session, value) => session.send({method: "e", params: [value]});

check("missed events follow in order, and the session goes on", async (t, server) => {
  const game = await greeted(t, server);
  const {session} = server;
  const details = [];
  game.onState((state, {resumed, missed}) => {
    if (state === "open") details.push([resumed, missed]);
  });
  fire(session, 1);
  await until(() => game.seen.length === 1);
  for (let round = 0; round < 3; round++) {
    server.cut();
    for (const n of [2, 3]) fire(session, round * 2 + n);
    await away(game);
    await back(game);
    await game.latency();
  }
  assert.deepEqual(game.seen, [1, 2, 3, 4, 5, 6, 7]);
  assert.deepEqual(details, [[true, 2], [true, 2], [true, 2]]);
  assert.equal(game.resumed, true);
  assert.equal(game.sessions, 1);
  assert.equal(game.stats.received, session.count);
  assert.equal(server.sessions.size, 1);
});

check("what is worthless when late doesn't count", async (t, server) => {
  const game = await greeted(t, server);
  const {session} = server;
  fire(session, 1);
  for (const n of [2, 3]) {
    session.write(JSON.stringify({jsonrpc: "2.0", method: "e", params: [n], late: false}));
  }
  await until(() => game.seen.length === 3);
  assert.equal(game.stats.received, session.count);
  server.cut();
  fire(session, 4);
  await away(game);
  await back(game);
  await game.latency();
  assert.deepEqual(game.seen, [1, 2, 3, 4]);
  assert.equal(game.sessions, 1);
});

check("calls in work are answered after the loss; lost ones end by their time limit",
  async (t, server) => {
    const game = await greeted(t, server);
    const sent = game.call("later", [30, "late"]);
    await until(() => server.received.some(text => /later/.test(text)));
    server.cutsAt = text => /lost/.test(text) ? "before" : undefined;
    const lost = outcome(game.call("echo", ["lost"], {timeout: 150}));
    await away(game);
    const queued = game.call("echo", ["queued"]);
    assert.equal(await queued, "queued");
    assert.equal(await sent, "late");
    assert.equal(await lost, "timeout");
    assert.equal(game.sessions, 1);
  });

// Breaks the connection, and all that follow, until the session has sent so many messages.
function awayUntilCount(server, count) {
  const {session} = server;
  server.cutsAt = () => {
    if (session.count < count) return "before";
    server.cutsAt = () => undefined;
    return undefined;
  };
  server.cut();
}

check("calls in work of a server that has gone fail at once, but for those whose answers were missed",
  async (t, server) => {
    const game = await greeted(t, server);
    const inOrder = [];
    const note = (name, promise) => promise.then(value => inOrder.push([name, value]),
      ({code, message}) => inOrder.push([name, code, message]));
    const calls = [
      note("first", game.call("later", [10_000])),
      note("answered", game.call("later", [30, "while away"])),
      note("batched", game.batch(b => [b.call("later", [10_000]), b.call("later", [10_000])])),
    ];
    await until(() => server.session.calls.length >= 5);
    server.isRebuilt = true;
    awayUntilCount(server, 2);
    await away(game);
    const queued = note("queued", game.call("later", [50, "on the new one"]));
    await Promise.all(calls);
    const gone = "later: the server that it was sent to has gone: " +
      "the call may have been done, or not";
    assert.deepEqual(inOrder, [
      ["answered", "while away"],
      ["first", "disconnected", gone],
      ["batched", "disconnected", gone],
    ]);
    await queued;
    assert.deepEqual(inOrder.at(-1), ["queued", "on the new one"]);
    assert.deepEqual([game.resumed, game.sessions, game.stats.unknown], [true, 1, 0]);
  });

check("a connection that breaks within the missed messages: calls fail after the last of them",
  async (t, server) => {
    const game = await greeted(t, server);
    const answered = game.call("later", [30, "late"]);
    const lost = outcome(game.call("later", [10_000]));
    await until(() => server.session.calls.length >= 3);
    server.isRebuilt = true;
    let cuts = 0;
    server.cutsBefore = text => {
      if (!/"late"/.test(text) || cuts === 3) return undefined;
      cuts++;
      return "before";
    };
    awayUntilCount(server, 3);
    fire(server.session, 1);
    assert.equal(await answered, "late");
    assert.equal(await lost, "disconnected");
    assert.equal(cuts, 3);
    assert.deepEqual(game.seen, [1]);
    assert.deepEqual([game.resumed, game.sessions, game.stats.unknown], [true, 1, 0]);
  });

check("a batch's answer counts as one message", async (t, server) => {
  const game = await greeted(t, server);
  await game.batch(b => [1, 2, 3].map(n => b.call("echo", [n])));
  server.cut();
  await away(game);
  fire(server.session, "after");
  await back(game);
  await game.latency();
  assert.deepEqual(game.seen, ["after"]);
  assert.equal(game.stats.unknown, 0);
});

check("what comes before the answer is dropped when resumed", async (t, server) => {
  const game = await greeted(t, server);
  server.beforeResume = session => { for (const n of [1, 2]) fire(session, `new ${n}`); };
  const {session} = server;
  server.cut();
  await away(game);
  fire(session, "missed");
  await back(game);
  await game.latency();
  assert.deepEqual(game.seen, ["missed"]);
  server.beforeResume = () => {};
  server.cut(); // the token and the count are still those of the old session
  await away(game);
  fire(session, "missed again");
  await back(game);
  await game.latency();
  assert.deepEqual(game.seen, ["missed", "missed again"]);
});

check("when not resumed it is a new session, of which nothing is lost", async (t, server) => {
  const game = await greeted(t, server);
  game.onSession(() => game.server.echo("login"));
  await game.latency();
  server.isSilent = true;
  const sent = outcome(game.call("echo"));
  const before = server.received.length;
  await until(() => server.received.length > before - 1);
  server.isSilent = false;
  server.sessions.clear();
  server.beforeResume = session => { for (const n of [1, 2]) fire(session, n); };
  server.cut();
  await away(game);
  const queued = game.server.echo("queued");
  assert.equal(await queued, "queued");
  assert.equal(await sent, "disconnected");
  assert.equal(game.resumed, false);
  assert.deepEqual([game.sessions, game.stats.sessions], [2, 2]);
  assert.deepEqual(game.seen, [1, 2]);
  assert.deepEqual(server.session.calls.map(([, n]) => n), ["login", "queued"]);
  server.beforeResume = () => {}; // and the new token and count are good for the next time
  await game.latency();
  server.cut();
  fire(server.session, 3);
  await away(game);
  await back(game);
  await game.latency();
  assert.deepEqual(game.seen, [1, 2, 3]);
  assert.equal(game.resumed, true);
});

check("a server that resumes no more begins a new session", async (t, server) => {
  const game = await greeted(t, server);
  const {port} = server;
  await server.stop();
  await away(game);
  const plain = await serve(t, {port});
  plain.handle = async function handle(socket, message) {
    const text = await this.answer(socket.session, message); // -32601 to sync.resume
    socket.session.sendText(text);
  };
  await back(game);
  assert.deepEqual([game.resumed, game.sessions], [false, 2]);
  assert.equal(await game.server.echo(1), 1);
});

check("a connection that breaks while resuming is tried again", async (t, server) => {
  const game = await greeted(t, server);
  const {session} = server;
  let cuts = 0;
  const plan = [["cutsAt", "before"], ["cutsAt", "after"], ["cutsBefore", "before"],
    ["cutsBefore", "after"]];
  const cutting = which => text => {
    const [place, when] = plan[cuts] ?? [];
    const matches = which === "cutsAt" ? /sync.resume/ : /resumed/;
    if (place !== which || !matches.test(text)) return undefined;
    cuts++;
    return when;
  };
  server.cutsAt = cutting("cutsAt");
  server.cutsBefore = cutting("cutsBefore");
  fire(session, 1);
  server.cut();
  for (const n of [2, 3]) fire(session, n);
  await until(() => cuts === 4);
  fire(session, 4);
  await until(() => game.seen.length >= 4);
  await game.latency();
  assert.deepEqual(game.seen, [1, 2, 3, 4]);
  assert.equal(game.sessions, 1);
});

check("no answer to sync.resume, or a flood before it, is another attempt", async (t, server) => {
  const game = await greeted(t, server, {connectTimeout: 40, maxReceived: 10_000});
  const {session} = server;
  const reasons = [];
  game.onState((state, {reason}) => { if (state === "waiting") reasons.push(reason); });
  server.isSilent = true;
  server.cut();
  await until(() => reasons.includes("not open in 40 ms"));
  server.isSilent = false;
  server.beforeResume = fresh => { for (let i = 0; i < 200; i++) fire(fresh, "x".repeat(100)); };
  await until(() => reasons.includes("no answer to sync.resume"));
  server.beforeResume = () => {};
  fire(session, "at last");
  await until(() => game.seen.length === 1);
  assert.deepEqual(game.seen, ["at last"]);
});

check("what the server has asked is answered after the loss, in its session only",
  async (t, server) => {
    const game = await greeted(t, server);
    let answer;
    game.handle("slow", () => new Promise(resolve => { answer = resolve; }));
    const asked = server.session.ask("slow");
    await until(() => answer);
    server.cut();
    await away(game);
    answer("done");
    assert.equal(await asked, "done");
    answer = undefined;
    server.session.ask("slow");
    await until(() => answer);
    server.sessions.clear();
    server.cut();
    await away(game);
    answer("too late");
    await back(game);
    await game.latency();
    assert.deepEqual(server.trouble, []);
    assert.deepEqual(game.stats.queued, 0);
  });

check("close while resuming rejects what waits", async (t, server) => {
  const game = await greeted(t, server);
  server.isSilent = true;
  const sent = outcome(game.server.echo());
  await until(() => server.received.some(text => /echo/.test(text)));
  server.cut();
  await until(() => server.received.some(text => /sync.resume/.test(text)));
  assert.equal(game.state, "connecting");
  const queued = outcome(game.server.echo());
  game.close();
  assert.deepEqual([await sent, await queued], ["closed", "closed"]);
});

// One client whose connection breaks at any message, in both directions, while the server fires
// events and the client calls. With `forgets`, the server sometimes loses the session, too.
async function randomCuts(t, seed, forgets) {
  const chance = random(seed);
  const server = await serve(t, {resumeTime: 30});
  const game = await greeted(t, server, {timeout: 400, pendingLimit: 64});
  const firsts = []; // of each connection
  server.cutsAt = text => {
    firsts.push(text);
    return chance() < 0.05 ? "before" : chance() < 0.05 ? "after" : undefined;
  };
  server.cutsBefore = text => {
    const rate = text === "greeting" ? 0.1 : 0.03;
    return chance() < rate ? "before" : chance() < rate ? "after" : undefined;
  };
  const perSession = [[]];
  game.on("e", value => perSession.at(-1).push(value));
  game.onSession(() => perSession.push([]));
  perSession.shift();
  const calls = [];
  let {session} = server;
  for (let n = 1; n <= 80; n++) {
    if (forgets && chance() < 0.03) {
      server.sessions.clear();
      server.cut();
      await until(() => server.sessions.size > 0);
    }
    session = forgets ? server.session ?? session : session;
    fire(session, n);
    if (chance() < 0.3) calls.push(game.server.echo(`call ${n}`).then(
      value => assert.equal(value, `call ${n}`), error => error.code));
    if (chance() < 0.4) await sleep(chance() * 3);
  }
  server.cutsAt = server.cutsBefore = () => undefined;
  const codes = (await Promise.all(calls)).filter(Boolean);
  while (!(await outcome(game.latency()) > 0)) await sleep(1); // the last cut is over
  const what = `seed ${seed}`;
  const names = [...server.sessions.values()].flatMap(one => one.calls)
    .filter(([name]) => name === "echo").map(([, text]) => text);
  assert.equal(new Set(names).size, names.length, `${what}: a call was carried out twice`);
  // An answer is unknown when it comes too late, on a machine that is busy.
  const late = codes.filter(code => code === "timeout").length;
  assert.ok(game.stats.unknown <= late, `${what}: ${game.stats.unknown} unknown answers`);
  assert.deepEqual(codes.filter(code => code !== "timeout" &&
    !(forgets && code === "disconnected")), [], what);
  for (const seen of perSession) {
    assert.deepEqual(seen, [...new Set(seen)].sort((a, b) => a - b), `${what}: order, and once`);
  }
  if (!forgets) {
    assert.deepEqual(perSession, [Array.from({length: 80}, (_, i) => i + 1)], what);
    assert.equal(game.stats.received, session.count, what);
  }
  const cuts = game.states.filter(state => state === "waiting").length;
  game.close();
  await server.stop();
  return cuts;
}

for (const forgets of [false, true]) {
  const which = forgets ? "also of forgetful servers" : "nothing missing, nothing twice";
  test(`${RUNS} runs of random cuts: ${which}`, {timeout: 100_000}, async t => {
    let cuts = 0;
    // A busy machine has fewer cuts in a run.
    for (let seed = 1; seed <= RUNS || cuts <= 5 * RUNS; seed += AT_ONCE) {
      const seeds = Array.from({length: AT_ONCE}, (_, i) => seed + i);
      for (const n of await Promise.all(seeds.map(one => randomCuts(t, one, forgets)))) cuts += n;
    }
  });
}
