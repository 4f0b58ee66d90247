// A crowd: a process with clients of each kind, which the runner starts, stops and asks by
// messages {ask, …}; each is answered. What goes wrong is told at once, as {fault}.

import {Line, Player, Web} from "./clients.mjs";
import {Relay} from "./relay.mjs";

const PACE = 20;           // ms between two looks at a client
const MEMBERS = 4;         // of a room
const LONGEST = 20_000;    // characters of a message
const FILLER = Array.from({length: 2 * LONGEST}, (_, i) => (i * 7919 % 36).toString(36)).join("");

const clients = new Set();
const relays = []; // before the servers' ports: half of the clients come by them
let makers = [];
let isWorking = false;
let faults = 0;

const crowd = {
  sums: {sent: 0, answered: 0, heard: 0, left: 0, cut: 0, told: 0, closed: 0, resumed: 0, unheard: 0},
  mayLose: false,    // connections and sessions: the server was killed
  mayMiss: false,    // broadcasts: what carries them between nodes was disturbed
  isPatient: false,  // calls may run out of time

  fault(client, what) {
    if (faults++ < 20) process.send({fault: `${client.kind}: ${what}`});
  },

  filler() {
    const length = Math.random() < 0.05 ? LONGEST * Math.random() : 200 * Math.random();
    const from = LONGEST * Math.random();
    return FILLER.slice(from, from + length);
  },

  // A broadcast; returns its number.
  hear(client, before, number) {
    this.sums.heard++;
    if (before === 0 || number === before + 1) return number;
    if (number <= before || !this.mayMiss) this.fault(client, `broadcast ${number} after ${before}`);
    else this.sums.unheard += number - before - 1;
    return number;
  },

  // A connection or a session that ended by no act of its client.
  lost(client, why) {
    this.sums.closed++;
    if (!this.mayLose) this.fault(client, `closed: ${why}`);
    if (client instanceof Player) return; // comes back by itself
    this.sums.told += client.waiting.length;
    replace(client);
  },
};

function add(maker) {
  const client = maker.make();
  Object.assign(client, {maker, isByRelay: maker.isByRelay});
  clients.add(client);
}

function replace(client) {
  clients.delete(client);
  setTimeout(add, crowd.mayLose ? 50 : 0, client.maker);
}

function leave(client, sum) {
  if (client instanceof Player) return client.leaveConnection();
  client.leave(sum);
  return replace(client);
}

const all = Class => [...clients].filter(client => client instanceof Class);
const some = (list, share) => list.filter((_, i) => i === 0 || Math.random() < share);
const byRelay = () => [...clients].filter(client => client.isByRelay);

// Members of a room see the same.
function roomFault() {
  const texts = new Map();
  for (const player of all(Player)) {
    const {id, text, isRight} = player.view();
    if (!isRight) return `${text}: ${player.x} by ${player.moves}`;
    if ((texts.get(id) ?? text) !== text) return `${text} and ${texts.get(id)}`;
    texts.set(id, text);
  }
  return undefined;
}

const answers = {
  // Every other room has a member at another node, if there is one.
  async begin({ports, far, count, name}) {
    const own = far ? [...ports, far] : ports;
    for (const port of own) relays.push(await new Relay(port).listen());
    for (let i = 0; i < count; i++) {
      const isByRelay = i % 2 === 1;
      const isAcross = far !== undefined && Math.floor(i / MEMBERS) % 2 === 1;
      const isFar = isAcross && i % MEMBERS === MEMBERS - 1;
      const [plain, secure, near, away] = isByRelay ? relays.map(relay => relay.port) : own;
      for (const make of [() => new Line(crowd, plain, false), () => new Web(crowd, plain, false),
        () => new Web(crowd, plain, true), () => new Line(crowd, secure, true),
        () => new Player(crowd, isFar ? away : near, `${name} ${Math.floor(i / MEMBERS)}`, isAcross)]) {
        makers.push({make, isByRelay});
      }
    }
    makers.forEach(add);
  },
  work({on}) { isWorking = on; },
  may({lose = crowd.mayLose, miss = crowd.mayMiss}) {
    crowd.mayLose = lose;
    if (lose) for (const player of all(Player)) player.isInDoubt = true;
    crowd.mayMiss = miss;
    for (const player of all(Player)) player.isExcused ||= player.mayLoseRoom;
  },
  /** Some go, and others come in their places; players come back. Returns how many. */
  churn() {
    const list = some([...all(Line), ...all(Web)], 0.3);
    for (const client of list) leave(client, "left");
    return list.length;
  },
  cut() {
    const list = some(all(Player), 0.5);
    for (const player of list) player.leaveConnection();
    return list.length;
  },
  // Calls may run out of time: their client, or the server, will stand still.
  excuse({on}) {
    crowd.isPatient = on;
    if (on) for (const player of all(Player)) player.isExcused = true;
  },
  // The network.
  hold({on}) { for (const relay of relays) relay.hold(on); },
  slow({on}) {
    for (const relay of relays) relay.slow(on);
    return relays.reduce((sum, relay) => sum + relay.pieces, 0);
  },
  reset() {
    const list = byRelay();
    for (const client of list) leave(client, "cut");
    for (const relay of relays) relay.reset();
    return list.length;
  },
  // How many of those behind the network have not heard a broadcast, and of the others.
  deaf({number}) {
    const list = [...clients].filter(client => client.heard < number);
    const count = list.filter(client => client.isByRelay).length;
    return {behind: count, others: list.length - count};
  },
  // Those whom processes that were replaced still serve.
  endTls() {
    for (const client of all(Line)) if (client.kind === "TLS") client.leave();
  },
  state: () => ({sums: crowd.sums, isOpen: [...clients].every(client => client.isOpen) &&
      clients.size === makers.length,
    owed: [...clients].reduce((sum, client) => sum + client.owed, 0),
    kinds: [...new Set([...clients].filter(client => client.owed || !client.isOpen)
      .map(client => client.kind))].join(", "),
    heard: Math.min(...[...clients].map(client => client.heard))}),
  rooms: () => roomFault() ?? "",
};

process.on("message", async ({id, ask, ...rest}) => {
  process.send({id, value: await answers[ask](rest)});
});
process.on("disconnect", () => process.exit());
process.on("uncaughtException", error => {
  process.send({fault: `the crowd: ${error.stack}`});
});
setInterval(() => {
  if (!isWorking) return;
  for (const client of clients) if (Math.random() < 0.5) client.work();
}, PACE);
