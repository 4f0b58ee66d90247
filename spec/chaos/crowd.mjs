// A crowd: a process with clients of each kind, which the runner starts, stops and asks by
// messages {ask, …}; each is answered. What goes wrong is told at once, as {fault}.

import {Line, Player, Web} from "./clients.mjs";

const PACE = 20;           // ms between two looks at a client
const LONGEST = 20_000;    // characters of a message
const FILLER = Array.from({length: 2 * LONGEST}, (_, i) => (i * 7919 % 36).toString(36)).join("");

const clients = new Set();
let makers = [];
let isWorking = false;
let faults = 0;

const crowd = {
  sums: {sent: 0, answered: 0, heard: 0, left: 0, told: 0, closed: 0, resumed: 0, unheard: 0},
  mayLose: false,    // connections and sessions: the server was killed
  mayMiss: false,    // broadcasts: what carries them between nodes was disturbed

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

function add(make) {
  const client = make();
  client.make = make;
  clients.add(client);
}

function replace(client) {
  clients.delete(client);
  setTimeout(add, crowd.mayLose ? 50 : 0, client.make);
}

const all = Class => [...clients].filter(client => client instanceof Class);
const some = (list, share) => list.filter(() => Math.random() < share);

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
  begin({ports: [plain, secure, game], count, name}) {
    makers = [];
    for (let i = 0; i < count; i++) {
      makers.push(() => new Line(crowd, plain, false), () => new Web(crowd, plain, false),
        () => new Web(crowd, plain, true), () => new Line(crowd, secure, true),
        () => new Player(crowd, game, `${name} ${Math.floor(i / 4)}`));
    }
    makers.forEach(add);
  },
  work({on}) { isWorking = on; },
  may({lose = crowd.mayLose, miss = crowd.mayMiss}) {
    crowd.mayLose = lose;
    if (lose) for (const player of all(Player)) player.isInDoubt = true;
    crowd.mayMiss = miss;
  },
  churn() {
    for (const client of some([...all(Line), ...all(Web)], 0.3)) {
      client.leave();
      replace(client);
    }
  },
  cut() { some(all(Player), 0.5).forEach(player => player.cut()); },
  // The crowd's process will stand still: limits of calls may pass meanwhile.
  excuse() { for (const player of all(Player)) player.excused = 2; },
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

process.on("message", ({id, ask, ...rest}) => {
  process.send({id, value: answers[ask](rest)});
});
process.on("disconnect", () => process.exit());
process.on("uncaughtException", error => {
  process.send({fault: `the crowd: ${error.stack}`});
});
setInterval(() => {
  if (!isWorking) return;
  for (const client of clients) if (Math.random() < 0.5) client.work();
}, PACE);
