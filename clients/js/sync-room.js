/**
 * A room that the client is in: its state as its users see it, listeners, the same state
 * interpolated (`view`), own inputs predicted, and the server's clock. docs/state.md has the
 * picture of how these times hang together.
 *
 * SPDX-License-Identifier: MIT
 */

import {Refused, State} from "./sync-state.js";

const AGES = 40;            // patches from which the delay is worked out
const LONGEST_DELAY = 0.5;  // seconds
const MARGIN = 0.005;       // seconds, on top of the oldest that a patch has been
const QUIET = 4;            // patches left out: there was nothing to send
const LONGEST_STEP = 0.5;   // seconds by which the view's time is off before it jumps
const SLEW = 0.1;           // of its speed, by which it comes nearer otherwise
const SAMPLES = 64;         // of an entity, that wait for the view's time
const PENDING = 256;        // inputs that the server has not yet taken
const OLDEST = 8;           // measurements of the clock that are kept
const FIRST = 5;            // of these are made at once, BURST ms apart; then one a PERIOD
const [BURST, PERIOD] = [200, 10_000]; // ms

const seconds = () => performance.now() / 1000;

/** The server's clock, as far as calls of sync.time tell: the quickest of the last ones does. */
export class Clock {
  #ask;
  #samples = []; // {offset, roundTrip}
  #best;
  #timer;
  #round = 0;

  constructor(ask) {
    this.#ask = ask;
  }

  /** The server's seconds now; undefined while they are not known. */
  get now() { return this.#best && seconds() + this.#best.offset; }

  /** Seconds to the server and back, at best; undefined while they are not known. */
  get roundTrip() { return this.#best?.roundTrip; }

  /** Measures from now on: what was known may have been another server's. */
  start() {
    this.stop();
    this.#samples = [];
    this.#measure(++this.#round, 1);
  }

  stop() {
    clearTimeout(this.#timer);
    this.#round++;
  }

  async #measure(round, count) {
    const sent = seconds();
    const time = await this.#ask().catch(() => undefined);
    if (round !== this.#round) return; // it was stopped, or begun anew
    const came = seconds();
    if (Number.isFinite(time)) this.#take({offset: time - (sent + came) / 2, roundTrip: came - sent});
    this.#timer = setTimeout(() => this.#measure(round, count + 1), count < FIRST ? BURST : PERIOD);
    this.#timer.unref?.(); // Node.js need not stay for it
  }

  #take(sample) {
    this.#samples.push(sample);
    if (this.#samples.length > OLDEST) this.#samples.shift();
    this.#best = this.#samples.reduce((a, b) => b.roundTrip < a.roundTrip ? b : a);
  }
}

/** A map of a room's state: entities by their key, as objects of fields. */
class Entities {
  #table;
  #made; // {add, remove, change}: Listeners

  constructor(table, listeners) {
    this.#table = table;
    this.#made = {add: listeners(), remove: listeners(), change: listeners()};
  }

  get size() { return this.#table.keys.size; }
  get(key) { return this.#table.keys.get(key)?.fields; }
  has(key) { return this.#table.keys.has(key); }
  keys() { return this.#table.keys.keys(); }
  * values() { for (const {fields} of this.#table.keys.values()) yield fields; }
  * entries() { for (const [key, {fields}] of this.#table.keys) yield [key, fields]; }
  [Symbol.iterator]() { return this.entries(); }
  forEach(fn) { for (const [key, fields] of this) fn(fields, key, this); }

  /** Whether the member owns the entity: its private fields are sent then. */
  isMine(key) { return this.#table.keys.get(key)?.isMine === true; }

  /**
   * Calls `fn(entity, key, why)` for each entity that is there, and for each that comes: "new",
   * or "seen" when it was there before, and comes into sight. Returns a function that ends it.
   */
  onAdd(fn) {
    const stop = this.#made.add.add(fn);
    for (const [key, fields] of [...this]) this.#made.add.callOne(fn, fields, key, "seen");
    return stop;
  }

  /**
   * Calls `fn(entity, key, why)` when one is there no more: "gone", or "hidden" when it is only
   * out of sight (or has gone while nobody could tell).
   */
  onRemove(fn) { return this.#made.remove.add(fn); }

  /** Calls `fn(entity, key, fields)` with the names of the fields that a patch has brought. */
  onChange(fn) { return this.#made.change.add(fn); }

  static tell(entities, what, {fields, key}, detail) {
    entities.#made[what].call(fields, key, detail);
  }
}

// One entity's way through time, for the view.
class Track {
  samples = []; // {time, values}, ascending; the first is the last one not after the view's time
  shown = {};   // what users get, made anew at each look
  until = Infinity;

  constructor(entity, smooth, from) {
    this.entity = entity;
    this.smooth = smooth; // fields to interpolate: {name, period}
    this.from = from;
  }

  // What the entity is since `time`. It stood still until one `interval` before.
  push(time, interval) {
    const {samples} = this;
    const values = this.smooth.map(({name}) => this.entity.fields[name]);
    const last = samples.at(-1);
    if (last && time <= last.time) samples.pop();
    else if (last && time - last.time > 1.5 * interval) {
      samples.push({time: time - interval, values: last.values});
    }
    samples.push({time, values});
    if (samples.length > SAMPLES) samples.splice(0, samples.length - SAMPLES);
  }

  at(time) {
    const {samples, shown} = this;
    Object.assign(shown, this.entity.fields);
    while (samples.length > 1 && samples[1].time <= time) samples.shift();
    const [a, b] = samples;
    const part = b && time > a.time ? (time - a.time) / (b.time - a.time) : 0;
    for (let i = 0; i < this.smooth.length; i++) {
      const {name, period} = this.smooth[i];
      const way = b ? b.values[i] - a.values[i] : 0;
      const turn = period ? way - period * Math.round(way / period) : way;
      shown[name] = a.values[i] + turn * part;
    }
    return shown;
  }
}

/** A map of a view: read as a Map, without listeners. */
class ViewedEntities {
  #view;
  #tracks = new Map(); // by key
  #leaving = [];       // tracks that end, in order

  constructor(view, table, smooth) {
    this.#view = view;
    this.table = table;
    this.smooth = smooth;
  }

  #isShown({from, until}) { return this.#view.time >= from && this.#view.time < until; }

  get size() { return [...this.keys()].length; }
  has(key) { return this.#tracks.has(key) && this.#isShown(this.#tracks.get(key)); }
  get(key) { return this.has(key) ? this.#tracks.get(key).at(this.#view.time) : undefined; }
  * keys() { for (const [key, track] of this.#tracks) if (this.#isShown(track)) yield key; }
  * values() { for (const key of this.keys()) yield this.#tracks.get(key).at(this.#view.time); }
  * entries() {
    for (const [key, track] of this.#tracks) {
      if (this.#isShown(track)) yield [key, track.at(this.#view.time)];
    }
  }
  [Symbol.iterator]() { return this.entries(); }
  forEach(fn) { for (const [key, fields] of this) fn(fields, key, this); }

  static add(entities, entity, time, from) {
    const track = new Track(entity, entities.smooth, from);
    track.push(time, 0);
    entities.#tracks.delete(entity.key); // one that was to go later goes now
    entities.#tracks.set(entity.key, track);
  }

  static remove(entities, {key}, time) {
    const track = entities.#tracks.get(key);
    track.until = time;
    entities.#leaving.push(track);
  }

  static change(entities, {key}, names, time, interval) {
    const track = entities.#tracks.get(key);
    if (entities.smooth.some(({name}) => names.includes(name))) track.push(time, interval);
  }

  static forget(entities, time) {
    const leaving = entities.#leaving;
    while (leaving.length > 0 && leaving[0].until <= time) {
      const track = leaving.shift();
      const {key} = track.entity;
      if (entities.#tracks.get(key) === track) entities.#tracks.delete(key);
    }
  }
}

// How fields are interpolated: as the settings say, or all that can lie between two values.
function smoothFields(table, chosen) {
  if (!chosen) return table.all.filter(({type}) => type.isSmooth).map(({name}) => ({name}));
  return Object.entries(chosen).map(([name, how]) => {
    if (!table.byName.has(name)) throw new TypeError(`${table.name} has no field "${name}"`);
    return {name, period: how === true ? undefined : how};
  });
}

// The state a little while ago, where two patches lie around each moment.
class View {
  shown = {};   // what users get
  time = -Infinity;
  delay;        // seconds
  #maps = [];
  #ages = [];   // of the newest patch, just before the next one came
  #newest;      // its time
  #lookedAt;
  #settings;
  #interval;    // seconds between patches

  constructor(state, {interpolate = {}, delay}, patchRate, time) {
    this.#settings = {delay: delay === undefined ? undefined : delay / 1000};
    this.#interval = 1 / patchRate;
    this.delay = this.#settings.delay ?? 2 * this.#interval;
    this.#newest = time;
    for (const name of Object.keys(interpolate)) {
      if (!state.tables.some(table => table.keyType && table.name === name)) {
        throw new TypeError(`the room's state has no map "${name}" to interpolate`);
      }
    }
    for (const table of state.tables.slice(1)) {
      const map = new ViewedEntities(this, table, smoothFields(table, interpolate[table.name]));
      this.#maps.push(map);
      this.shown[table.name] = map;
      for (const entity of table.keys.values()) ViewedEntities.add(map, entity, time, -Infinity);
    }
    for (const {name} of state.tables[0].all) {
      Object.defineProperty(this.shown, name,
        {enumerable: true, get: () => state.root.fields[name]});
    }
  }

  // A patch has come, of this time, which is `age` ago.
  take(told, time, age, isFirst) {
    this.#measure(time, age);
    for (const {what, table, entity, detail} of told) {
      const map = this.#maps.find(each => each.table === table);
      if (!map) continue;
      if (what === "add") ViewedEntities.add(map, entity, time, isFirst ? -Infinity : time);
      else if (what === "remove") ViewedEntities.remove(map, entity, time);
      else ViewedEntities.change(map, entity, detail, time, this.#interval);
    }
    for (const map of this.#maps) ViewedEntities.forget(map, time - LONGEST_DELAY - this.delay);
  }

  // The view never runs out of patches if it is as late as the newest one has ever been.
  #measure(time, age) {
    const oldest = age + time - this.#newest;
    this.#newest = time;
    if (this.#settings.delay !== undefined || oldest > QUIET * this.#interval + age) return;
    this.#ages.push(oldest);
    if (this.#ages.length > AGES) this.#ages.shift();
    const delay = Math.max(this.#interval, ...this.#ages) + MARGIN;
    this.delay = Math.min(delay, LONGEST_DELAY);
  }

  // Brings its time near `now - delay`, never back and by no leap that could be seen.
  look(now) {
    const at = seconds();
    const wanted = now - this.delay;
    const passed = at - (this.#lookedAt ?? at);
    const off = wanted - (this.time + passed);
    this.#lookedAt = at;
    if (!(Math.abs(off) < LONGEST_STEP)) this.time = wanted;
    else this.time += passed + Math.max(-SLEW * passed, Math.min(SLEW * passed, off));
    for (const map of this.#maps) ViewedEntities.forget(map, this.time);
    return this.shown;
  }
}

/**
 * An own entity, as it will be when the server has taken all inputs. Made by room.predict.
 */
export class Prediction {
  #room;
  #settings;
  #find;
  #pending = []; // {number, input}
  #fields;       // as predicted
  #off = new Map(); // by field, what is still shown of the last correction
  #correctedAt = 0;

  constructor(room, find, settings) {
    this.#room = room;
    this.#find = find;
    this.#settings = settings;
    this.correct();
  }

  /** Inputs that the server has not yet taken. */
  get pending() { return this.#pending.length; }

  /** The entity, or undefined while it isn't there. */
  get state() {
    if (!this.#fields) return undefined;
    const part = 1 - (performance.now() - this.#correctedAt) / this.#settings.smooth;
    const shown = {...this.#fields};
    if (part > 0) for (const [name, off] of this.#off) shown[name] += off * part;
    return shown;
  }

  /** Sends an input and applies it at once. Returns whether it was sent. */
  send(input) {
    const {method, apply} = this.#settings;
    const number = this.#room.input(method, input);
    if (number === undefined) return false;
    this.#pending.push({number, input});
    if (this.#pending.length > PENDING) this.#pending.shift();
    if (this.#fields) apply(this.#fields, input);
    return true;
  }

  /** A patch has come: what the server knows, and the inputs that it has not yet taken. */
  correct() {
    const shown = this.state;
    const before = this.#fields;
    const entity = this.#find();
    this.#pending = this.#pending.filter(({number}) => number > this.#room.inputTaken);
    this.#fields = entity && {...entity};
    if (entity) for (const {input} of this.#pending) this.#settings.apply(this.#fields, input);
    const {fields} = this.#settings;
    if (before && entity && fields.every(name => before[name] === this.#fields[name])) return;
    this.#off.clear();
    this.#correctedAt = performance.now();
    if (!before || !entity) return;
    for (const name of fields) this.#off.set(name, shown[name] - this.#fields[name]);
  }

  /** What was sent before a connection broke may never arrive. */
  forget() { this.#pending = []; }

  /** Predicts no more. */
  stop() { this.#room.forget(this); }
}

/** Made by Client.join. */
export class Room {
  /** Of its class. */
  name;
  /** By which others join it, on any node: a text. */
  id;
  /** By which a private room is joined; undefined of others. */
  code;
  /** The room's number in patches and calls. */
  number;
  /** The member's id in the room. */
  member;
  /** Fields by name, and maps of entities. All are empty before the first patch: see `ready`. */
  state = {};
  /** Whether the member is in the room still. */
  isIn = true;
  /** A promise of the room, that the first snapshot has come. */
  ready;

  #state;
  #link;         // {call, notify, on, listeners, clock, leave, lose}: what it needs of the client
  #settings;
  #joined;       // what sync.join has answered
  #epoch;
  #isWaiting = true; // for a snapshot
  #asks = "no";      // for one: "yes" while the answer is awaited, "again" at the next patch
  #maps = new Map(); // Entities by table
  #changes;
  #lefts;
  #patches;
  #stops = new Set(); // of listeners to events
  #view;
  #times = {newest: 0, lastInput: 0};
  #predictions = new Set();
  #resolveReady;

  constructor(joined, link, settings) {
    const {room, name, id, code, member, epoch, state} = joined;
    Object.assign(this, {name, id, code, number: room, member});
    this.#joined = joined;
    this.#link = link;
    this.#settings = settings;
    this.#epoch = epoch;
    this.#state = new State(state);
    this.#changes = link.listeners();
    this.#lefts = link.listeners();
    this.#patches = link.listeners();
    this.ready = new Promise(resolve => { this.#resolveReady = resolve; });
    for (const {name: field} of this.#state.tables[0].all) {
      Object.defineProperty(this.state, field,
        {enumerable: true, get: () => this.#state.root.fields[field]});
    }
    for (const table of this.#state.tables.slice(1)) {
      const entities = new Entities(table, link.listeners);
      this.#maps.set(table, entities);
      this.state[table.name] = entities;
    }
  }

  get tickRate() { return this.#joined.tickRate; }
  get patchRate() { return this.#joined.patchRate; }
  /** The server's tick of the last patch. */
  get tick() { return this.#state.tick; }
  /** The number of the last input that the server has taken. */
  get inputTaken() { return this.#state.input; }
  /** Milliseconds by which the view is behind the server. */
  get delay() { return this.#look().delay * 1000; }

  /** The state as `state`, with fields that are interpolated at this moment. */
  get view() { return this.#look().look(this.#now()); }

  // A view costs nothing before somebody looks at it.
  #look() {
    this.#view ??= new View(this.#state, this.#settings, this.patchRate, this.#times.newest);
    return this.#view;
  }

  // Seconds of the clock by which ticks are told.
  #now() {
    if (!this.tickRate) return seconds();
    return this.#link.clock.now ?? this.#times.newest;
  }

  #timeOf(tick) {
    return this.tickRate ? this.#joined.start + tick / this.tickRate : seconds();
  }

  /** Calls a function of the room. Returns a promise of its result. */
  call(method, ...params) { return this.callWith({}, method, ...params); }

  /** The same with `options` as for calls of the client. */
  callWith(options, method, ...params) {
    return this.#link.call("sync.call", {room: this.number, method, params}, options);
  }

  /**
   * Calls a function of the room as the next input, without an answer. Returns the input's
   * number, which patches tell when it was taken, or undefined when it can't be sent now.
   */
  input(method, ...params) {
    const input = this.#times.lastInput + 1;
    const isSent = this.#link.notify("sync.call",
      {room: this.number, method, params, input}, {offline: "refuse"});
    if (!isSent) return undefined;
    this.#times.lastInput = input;
    return input;
  }

  /**
   * Predicts an entity of the map `name`. `apply(entity, input)` changes a copy of the entity as
   * the server's function does. `settings` are `method`, the room's function that gets inputs
   * ("input"), `fields`, those in which a correction is shown little by little (the map's
   * interpolated ones), and `smooth`, in how many ms (100).
   */
  predict(name, key, apply, {method = "input", smooth = 100, fields} = {}) {
    const table = this.#state.tables.find(each => each.keyType && each.name === name);
    if (!table) throw new TypeError(`the room's state has no map "${name}"`);
    if (typeof apply !== "function") throw new TypeError("predict: apply is a function");
    fields ??= smoothFields(table, this.#settings.interpolate?.[name]).map(field => field.name);
    const prediction = new Prediction(this, () => table.keys.get(key)?.fields,
      {method, smooth, fields, apply});
    this.#predictions.add(prediction);
    return prediction;
  }

  forget(prediction) { this.#predictions.delete(prediction); }

  /**
   * Calls `fn` with the arguments of each event of this name, as long as the member is in the
   * room: events don't tell where they were fired. Returns a function that ends it.
   */
  on(name, fn) {
    const stop = this.#link.on(name, fn);
    this.#stops.add(stop);
    return () => {
      this.#stops.delete(stop);
      stop();
    };
  }

  /** Calls `fn(state, fields)` with the names of the state's own fields that have changed. */
  onChange(fn) { return this.#changes.add(fn); }

  /** Calls `fn(room)` after each patch. */
  onPatch(fn) { return this.#patches.add(fn); }

  /** Calls `fn(reason)` when the member is in the room no more, and not by `leave`. */
  onLeft(fn) { return this.#lefts.add(fn); }

  /** Leaves. Returns a promise that the server knows. */
  async leave() {
    if (!this.isIn) return;
    this.#end();
    this.#link.leave(this);
    await this.#link.call("sync.leave", {room: this.number}, {});
  }

  #end() {
    this.isIn = false;
    for (const stop of this.#stops) stop();
  }

  // What the client tells a room; it is no part of what users see.

  static left(room, reason) {
    if (!room.isIn) return;
    room.#end();
    room.#lefts.call(reason);
  }

  // The connection is a new one: what patches say before the next snapshot is for nothing.
  static resumed(room) {
    room.#isWaiting = true;
    room.#asks = "no";
    for (const prediction of room.#predictions) prediction.forget();
  }

  // What to ask with so that the member comes back by another node, or undefined.
  static returnBy(room) {
    const {back} = room.#joined;
    return back && {id: back, form: room.#settings.form};
  }

  // It is back.
  static returned(room, joined) {
    room.#joined = joined;
    room.number = joined.room;
    room.#epoch = Math.max(room.#epoch, joined.epoch);
    Room.resumed(room);
  }

  // What came for it can't be read.
  static unreadable(room) { room.#ask(); }

  // Returns why a patch was refused, if it was.
  static patch(room, patch) {
    if (patch.epoch < room.#epoch) return undefined;
    if (room.#isWaiting && !patch.isSnapshot) {
      if (room.#asks === "again") room.#ask();
      return undefined;
    }
    try {
      room.#take(patch);
      return undefined;
    } catch (error) {
      if (!(error instanceof Refused)) throw error;
      room.#ask();
      return error;
    }
  }

  #take(patch) {
    const isFirst = this.#state.isEmpty;
    const told = this.#state.apply(patch);
    const time = this.#timeOf(patch.tick);
    this.#epoch = patch.epoch;
    this.#isWaiting = false;
    this.#asks = "no";
    this.#times.newest = time;
    this.#view?.take(told, time, this.#now() - time, isFirst);
    for (const prediction of this.#predictions) prediction.correct();
    this.#resolveReady(this);
    for (const one of told) if (this.isIn) this.#tell(one);
    if (this.isIn) this.#patches.call(this);
  }

  #tell({what, table, entity, detail}) {
    const entities = this.#maps.get(table);
    if (entities) Entities.tell(entities, what, entity, detail);
    else this.#changes.call(this.state, what === "change" ? detail : table.all.map(({name}) => name));
  }

  // Asks for a snapshot, once.
  #ask() {
    this.#isWaiting = true;
    if (this.#asks === "yes") return;
    this.#asks = "yes";
    this.#link.call("sync.snapshot", {room: this.number}, {}).catch(error => {
      if (this.#asks === "yes") this.#asks = "again";
      if (typeof error.code === "number") this.#link.lose(this, error.message);
    });
  }
}
