// What the page knows of its room: who is in it and where, and the sparks. The server tells
// where things are 15 times a second; here they are asked for at any time between, a little in
// the past, so that there nearly always is a snapshot before and one after. Knows no canvas
// and no network.

const DELAY = 130;         // ms that the world is shown behind the newest snapshot
const HISTORY = 20;        // snapshots of a person that are kept: the trail is drawn from them
const LONGEST_GUESS = 140; // ms that a person flies on without news
const FADE = 350;          // ms in which one whom nothing is heard of fades
const MOST_OFF = 1000;     // ms that a clock is put right by at once
const LEAP = 2500;         // units a second: faster is no flight but another place

/** Server time: which tick is shown at a moment of this machine's clock. */
class Clock {
  #offset; // ms of the local clock when tick 0 was, by the quickest snapshots
  #shown = 0;
  #asked = 0;

  constructor(ticks) {
    this.tick = 1000 / ticks;
  }

  // The quickest way counts: late snapshots move it slowly, those that come too late to be
  // shown in time faster, as does a server whose clock can't keep its pace.
  heard(tick, now) {
    const offset = now - tick * this.tick;
    const by = offset - (this.#offset ?? Infinity);
    if (Math.abs(by) > MOST_OFF) this.#offset = offset;
    else this.#offset += by * (by < 0 || by > DELAY ? 0.25 : 0.03);
  }

  // The time that is shown, in ms since tick 0. It runs a little faster or slower where it is
  // not right, and never goes back.
  shown(now) {
    if (this.#offset === undefined) return 0;
    const passed = now - this.#asked;
    this.#asked = now;
    const off = now - this.#offset - DELAY - (this.#shown + passed);
    this.#shown += passed;
    this.#shown += Math.abs(off) > MOST_OFF ? off
      : Math.min(Math.max(off * 0.1, -0.7 * passed), passed);
    return this.#shown;
  }
}

// A curve through b and c whose direction is that of the neighbours a and d, at the time t.
function between(a, b, c, d, t, key) {
  const span = c.t - b.t;
  const s = (t - b.t) / span;
  const from = a ? (c[key] - a[key]) / (c.t - a.t) * span : c[key] - b[key];
  const to = d ? (d[key] - b[key]) / (d.t - b.t) * span : c[key] - b[key];
  const [s2, s3] = [s * s, s * s * s];
  return (2 * s3 - 3 * s2 + 1) * b[key] + (s3 - 2 * s2 + s) * from +
    (3 * s2 - 2 * s3) * c[key] + (s3 - s2) * to;
}

function isLeap(from, to) {
  return Math.hypot(to.x - from.x, to.y - from.y) > LEAP * (to.t - from.t) / 1000;
}

class Person {
  samples = []; // {t, x, y, dash}, the oldest first
  score = 0;
  x = 0;        // where it is shown
  y = 0;
  alpha = 0;    // 0: not in sight
  isDashing = false;
  words;        // what it said last: {text, until}

  constructor(id, name, hue) {
    Object.assign(this, {id, name, hue});
  }

  hear(t, x, y, score, dash) {
    this.score = score;
    const sample = {t, x, y, dash};
    const last = this.samples.at(-1);
    // Over a gap or a leap there is no line: one who comes into sight again is a new sight.
    if (last && (t - last.t > 1000 || isLeap(last, sample))) this.samples = [];
    this.samples.push(sample);
    if (this.samples.length > HISTORY) this.samples.shift();
  }

  /** Where it was or will be at a time: written into `out`, which is returned. */
  at(t, out) {
    const {samples} = this;
    let i = samples.length - 1;
    while (i > 0 && samples[i].t > t) i--;
    const [b, c] = [samples[i], samples[i + 1]];
    if (c && t > b.t) {
      out.x = between(samples[i - 1], b, c, samples[i + 2], t, "x");
      out.y = between(samples[i - 1], b, c, samples[i + 2], t, "y");
    } else {
      const guess = Math.min(Math.max(t - b.t, 0), LONGEST_GUESS);
      const a = samples[i - 1];
      out.x = b.x + (a && guess ? (b.x - a.x) / (b.t - a.t) * guess : 0);
      out.y = b.y + (a && guess ? (b.y - a.y) / (b.t - a.t) * guess : 0);
    }
    out.isDashing = b.dash;
    return out;
  }

  /**
   * Moves to the time that is shown; `newest` is that of the last snapshot: whom it doesn't tell
   * of is out of sight. Returns whether it begins a dash.
   */
  step(t, newest) {
    const first = this.samples[0];
    const silent = first ? Math.min(t, newest) - this.samples.at(-1).t : Infinity;
    if (!first || t < first.t || silent > FADE) {
      this.alpha = 0;
      return false;
    }
    const wasDashing = this.isDashing;
    this.at(t, this);
    this.alpha = Math.min(1, (t - first.t) / FADE + 0.01, 1 - Math.max(0, silent) / FADE);
    return this.isDashing && !wasDashing;
  }
}

// Calls `row` with the numbers of each "1,2,3;" from `at` on. Returns where the list ends.
const numbers = [0, 0, 0, 0, 0];
function readRows(text, at, row) {
  let [value, count] = [0, 0];
  for (; at < text.length; at++) {
    const code = text.charCodeAt(at);
    if (code >= 48 && code <= 57) {
      value = value * 10 + code - 48;
    } else if (code === 44 || code === 59) { // , or ;
      if (count < numbers.length) numbers[count++] = value;
      value = 0;
      if (code === 59) {
        row(numbers);
        count = 0;
      }
    } else {
      break;
    }
  }
  return at;
}

export class World {
  width = 5760;
  height = 3840;
  people = new Map();  // by id
  sparks = new Map();  // id -> {id, x, y, from, until}: shown between these times
  count = 0;           // of people, as the server says
  best = [];           // [name, score, hue]
  map = "";            // two letters a person
  time = 0;            // that is shown
  tick = 0;
  you;                 // one's own id
  listeners;           // {taken(spark, person), dashed(person)}

  #clock = new Clock(30);
  #newest = 0;         // the last snapshot's time

  constructor(listeners) {
    this.listeners = listeners;
  }

  /** One's own person; undefined before one has joined. */
  get me() {
    return this.people.get(this.you);
  }

  /** Begins anew with what `join` has answered. */
  enter(state) {
    this.width = state.width;
    this.height = state.height;
    this.you = state.you;
    this.people.clear();
    this.sparks.clear();
    for (const [id, name, hue] of state.people) this.add(id, name, hue);
    this.count = this.people.size;
    this.best = [];
    this.map = "";
    this.#clock = new Clock(state.ticks);
    this.time = 0;
  }

  add(id, name, hue) {
    this.people.set(id, new Person(id, name, hue));
  }

  /** A snapshot: a line a cell, "id,x,y,score,dash;…|id,x,y;…". */
  snapshot(tick, text, now) {
    this.#clock.heard(tick, now);
    this.tick = tick;
    const t = this.#newest = tick * this.#clock.tick;
    let at = 0;
    while (at < text.length) {
      at = readRows(text, at, ([id, x, y, score, dash]) => {
        this.people.get(id)?.hear(t, x, y, score, dash === 1);
      });
      if (text[at] === "|") at = readRows(text, at + 1, row => this.#seeSpark(t, row));
      at++; // the line's end
    }
    for (const spark of this.sparks.values()) {
      if (spark.seen !== t && spark.until === Infinity) spark.until = t;
    }
  }

  #seeSpark(t, [id, x, y]) {
    const spark = this.sparks.get(id);
    if (spark) {
      spark.seen = t;
      spark.until = Infinity;
    } else {
      this.sparks.set(id, {id, x, y, from: t, until: Infinity, seen: t});
    }
  }

  /** Moves all to the time that is shown now. */
  step(now) {
    this.time = this.#clock.shown(now);
    for (const person of this.people.values()) {
      if (person.step(this.time, this.#newest)) this.listeners.dashed(person);
    }
    for (const spark of this.sparks.values()) {
      if (this.time < spark.until) continue;
      this.sparks.delete(spark.id);
      const taker = this.#near(spark, 70);
      if (taker) this.listeners.taken(spark, taker);
    }
  }

  // Sparks go when somebody takes them, and when their cell is out of sight.
  #near(spark, most) {
    for (const person of this.people.values()) {
      if (person.alpha && Math.hypot(person.x - spark.x, person.y - spark.y) < most) {
        return person;
      }
    }
  }
}
