// What the page shows of its room: who is where, and the sparks, at the moment that the room's
// view shows, which lies a little in the past. Knows no canvas.

const TRAIL = 470;         // ms of a person's way that are kept
const FADE = 350;          // ms in which one comes into sight, and goes out of it
const STEP = 12;           // ms between points of a trail

class Person {
  trail = [];   // {t, x, y}, the oldest first
  score = 0;
  x = 0;        // where it is shown
  y = 0;
  alpha = 0;    // 0: not in sight
  isDashing = false;
  words;        // what it said last: {text, until}

  #dash = {from: 0, until: 0}; // when the newest is shown

  constructor(id, known) {
    Object.assign(this, {id, known});
  }

  get name() { return this.known.name; }
  get hue() { return this.known.hue; }

  /** Moves to where its comet is shown; without one it fades. Returns whether it begins a dash. */
  step(now, ms, comet, delay) {
    const wasDashing = this.isDashing;
    if (comet) {
      if (this.alpha === 0) this.trail = []; // between two sights there is no line
      this.x = comet.x;
      this.y = comet.y;
      this.score = comet.score;
      const hasEnded = this.#dash.until < Infinity;
      if (comet.isDashing && hasEnded) this.#dash = {from: now + delay, until: Infinity};
      if (!comet.isDashing && !hasEnded) this.#dash.until = now + delay;
      this.isDashing = now >= this.#dash.from && now < this.#dash.until;
    }
    this.alpha = Math.min(1, Math.max(0, this.alpha + (comet ? ms : -ms) / FADE));
    if (!(now - this.trail.at(-1)?.t < STEP)) this.trail.push({t: now, x: this.x, y: this.y});
    while (this.trail[0].t < now - TRAIL) this.trail.shift();
    return this.isDashing && !wasDashing && this.alpha > 0;
  }
}

export class World {
  width = 5760;
  height = 3840;
  people = new Map();  // by id
  sparks = new Map();  // id -> {id, x, y, from, until, isTaken}: shown between these times
  time = 0;            // that is shown
  room;
  listeners;           // {taken(spark, person), dashed(person), left(person)}

  constructor(listeners) {
    this.listeners = listeners;
  }

  /** One's own person; undefined before one is in. */
  get me() { return this.people.get(this.room?.member); }

  /** Begins anew with a room, whose first patch hasn't come yet. */
  enter(room) {
    this.room = room;
    this.people.clear();
    this.sparks.clear();
    const {people, sparks} = room.state;
    people.onAdd((known, id) => this.people.set(id, new Person(id, known)));
    people.onRemove((known, id) => {
      this.listeners.left(this.people.get(id));
      this.people.delete(id);
    });
    sparks.onAdd(({x, y}, id, why) => {
      const from = why === "new" ? this.time + room.delay : this.time;
      this.sparks.set(id, {id, x, y, from, until: Infinity});
    });
    sparks.onRemove((spark, id, why) => Object.assign(this.sparks.get(id),
      {until: this.time + room.delay, isTaken: why === "gone"}));
  }

  /** Moves all to the time that is shown now. */
  step(now) {
    const ms = now - this.time;
    this.time = now;
    if (!this.room) return;
    const {room: {view: {comets}, delay}, listeners} = this;
    for (const person of this.people.values()) {
      if (person.step(now, ms, comets.get(person.id), delay)) listeners.dashed(person);
    }
    for (const spark of this.sparks.values()) {
      if (now < spark.until) continue;
      this.sparks.delete(spark.id);
      const taker = spark.isTaken && this.#near(spark, 70);
      if (taker) listeners.taken(spark, taker);
    }
  }

  /** The best, at most so many. */
  best(count) {
    return [...this.people.values()].map(({known}) => known)
      .sort((a, b) => b.score - a.score).slice(0, count);
  }

  #near(spark, most) {
    for (const person of this.people.values()) {
      if (person.alpha && Math.hypot(person.x - spark.x, person.y - spark.y) < most) return person;
    }
  }
}
