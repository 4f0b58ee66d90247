/**
 * The client of SYNC's remoting, for browsers and Node.js: it calls the functions of a server
 * class, gets its events, answers its calls, and joins its rooms. When the connection is lost it
 * comes back by itself, and takes its session up again where the server keeps sessions
 * (resumeTime).
 *
 * The wire is JSON-RPC 2.0, and docs/remoting.md says how a session is resumed. Everything
 * that could grow has a bound: see DEFAULTS.
 *
 * SPDX-License-Identifier: MIT
 */

import {Clock, Room} from "./sync-room.js";
import {MARK, readHead, toHead} from "./sync-state.js";

export {Room};

const DEFAULTS = {
  WebSocket: undefined,   // the constructor; without it, the global one
  token: undefined,       // for the server's auth: a text, or a function that returns one, or a promise
  timeout: 10_000,        // ms that a call waits for its answer, from when it is made; 0: for ever
  offline: "queue",       // what happens to calls made without a connection; or "refuse"
  queueLimit: 256,        // calls and notifications that wait for a connection
  pendingLimit: 1024,     // calls that wait for their answer, and calls of the server in work
  maxMessage: 65_536,     // bytes of what is sent; the server's maxMessage
  maxQueue: 1_048_576,    // bytes that the network has not yet taken; calls beyond are refused
  maxReceived: 1_048_576, // characters of what is received; longer messages are skipped
  connectTimeout: 10_000, // ms for a connection to open, and for a silent one to show life
  heartbeat: 25_000,      // ms of silence after which the server is asked for life; 0: never
  reconnect: {},          // see RECONNECT; false: a lost connection is the end
  onError: undefined,     // gets what goes wrong in listeners and in what the server sends
};

const RECONNECT = {
  first: 250,         // ms: the longest first wait
  factor: 2,          // by which it grows with each attempt
  most: 10_000,       // ms: the longest wait of all
  jitter: 1,          // the share of a wait that is left to chance
  attempts: Infinity, // in a row, without a connection that held
  stop: isFinal,      // (code, reason) => whether the server has told us not to return
};

// What Client.join may be told.
const JOINING = {
  form: "binary",         // of patches; or "json"
  interpolate: undefined, // {map: {field: true, or the period of one that goes round}}
  delay: undefined,       // ms that the view is behind; without it, as few as patches allow
  timeout: undefined, signal: undefined, offline: undefined, // as for calls
};

const OPEN = 1; // WebSocket's readyState
const UNAUTHORIZED = 4401; // what a server closes with whose token isn't right, or has ended
const GONE = "the server that it was sent to has gone: the call may have been done, or not";
const MOVED = 4900; // what this client leaves a server with that sent it elsewhere, and may resume
const RETURN = 20_000; // ms at least, that a room has to come up again whose node has died
const PARTING = 1000; // ms that such a server has to say that it has read all
const LONGEST_TIMER = 2 ** 31 - 1; // ms; a longer one would go off at once

const now = () => performance.now();

// 1000 is what a server class sends by self:close(); servers that stop or fail send others.
function isFinal(code) {
  return code === 1000 || code === 1008 || code >= 4000 && code <= 4999;
}

// Of the HTTP answers to a handshake these come again however often one asks. A browser
// doesn't tell; of Node.js' WebSockets, `ws` does.
function isRefusal(status) {
  return status >= 300 && status < 500 && ![408, 425, 429].includes(status);
}

// Whether another token may help.
function wantsToken({code, status}) {
  return code === UNAUTHORIZED || status === 401;
}

// The value of an option that may be a function.
function ask(option) {
  return typeof option === "function" ? option() : option;
}

function withDefaults(defaults, given, what) {
  for (const name of Object.keys(given)) {
    if (!Object.hasOwn(defaults, name)) {
      const known = Object.keys(defaults).join(", ");
      throw new TypeError(`unknown ${what} "${name}"; there are ${known}`);
    }
  }
  const set = Object.entries(given).filter(([, value]) => value !== undefined);
  return {...defaults, ...Object.fromEntries(set)};
}

// A path is one of the page's own server, as is no URL at all; http becomes ws.
function absolute(url) {
  const {href} = new URL(url ?? "", globalThis.location?.href);
  return href.replace(/^http/, "ws").replace(/#.*$/, "");
}

function compose(method, params, id) {
  if (typeof method !== "string") throw new TypeError("a function's name is a string");
  if (params !== undefined && (params === null || typeof params !== "object")) {
    throw new TypeError(`${method}: params are an array or an object of named ones`);
  }
  return JSON.stringify({jsonrpc: "2.0", id, method, params});
}

function isLongerThan(bytes, text) {
  return text.length * 3 > bytes && new TextEncoder().encode(text).length > bytes;
}

function toArguments(params) {
  if (Array.isArray(params)) return params;
  return params === undefined || params === null ? [] : [params];
}

const brief = text => JSON.stringify(text.length > 60 ? `${text.slice(0, 60)}…` : text);

/**
 * Why a call failed. `code` is the server's number (-32601: no such function, ...) or, when the
 * server has not answered, one of
 *   "timeout"       no answer in time
 *   "disconnected"  the connection broke between call and answer, or the server has gone: it may
 *                   have been carried out
 *   "offline"       there is no connection, and calls are not to wait for one
 *   "full"          a limit is reached: pendingLimit, queueLimit or maxQueue
 *   "tooLong"       the message is longer than maxMessage
 *   "closed"        the client is closed; `data` may tell the code and reason
 */
export class RemoteError extends Error {
  name = "RemoteError";

  constructor(code, message, data, method) {
    super(message);
    Object.assign(this, {code, data, method});
  }
}

// Functions that are called together. What one of them throws or rejects with is reported, and
// keeps none of the others from being called.
export class Listeners {
  #entries = new Set();

  constructor(report) {
    this.report = report;
  }

  add(fn, isOnce = false) {
    if (typeof fn !== "function") throw new TypeError("a listener is a function");
    const entry = {fn, isOnce};
    this.#entries.add(entry);
    return () => { this.#entries.delete(entry); };
  }

  remove(fn) {
    for (const entry of this.#entries) if (entry.fn === fn) this.#entries.delete(entry);
  }

  call(...args) {
    for (const entry of [...this.#entries]) {
      if (!this.#entries.has(entry)) continue; // one before has removed it
      if (entry.isOnce) this.#entries.delete(entry);
      this.callOne(entry.fn, ...args);
    }
  }

  callOne(fn, ...args) {
    try {
      const result = fn(...args);
      if (typeof result?.then === "function") result.then(undefined, this.report);
    } catch (error) {
      this.report(error);
    }
  }
}

let hold; // (client): a private matter of Client and connect

/** Made by `connect` or `client`. */
export class Client {
  /** The address it connects to. */
  url;
  /** Whether the last connection that opened took up the session of the one before. */
  resumed = false;

  #options;
  #where;            // the URL, or the function that returns it
  #dialling = 0;     // attempts so far; what was asked for one before comes too late
  #shown;            // the token of this connection
  #asksAgain = false; // another token was asked for after a refusal, and no connection has held since
  #isGuest = false;  // the answer to sync.auth is waited for
  #reconnect;        // its options, or false
  #state = "connecting";
  #socket;           // undefined while waiting and when closed
  #trouble;          // why there was no connection, as far as the WebSocket tells; browsers don't
  #retryTimer;
  #moveTimer;        // until it looks for another server, told to go
  #next;             // the socket to that one, until it opens
  #former;           // the one before, until the session is at the other server
  #openTimer;        // limits a connection's way to "open"
  #heartbeat;
  #isSilent = false; // nothing has come since the last beat
  #attempt = 0;      // failed ones in a row
  #openedAt;         // undefined while not open

  #session = 0;      // how many there have been
  #token;            // of the session, when the server keeps sessions
  #count = 0;        // messages of the session
  #early;            // {messages, size}: what comes before the answer to sync.resume
  #held;             // {steps, size}: what comes before who has awaited us could listen

  #lastId = 0;
  #pending = new Map(); // id -> {method, resolve, reject, isSent, isLost, timer, signal, onAbort}
  #queue = [];          // entries ({parts: [{id, text}], ...}) that wait for a connection
  #serving = 0;         // calls of the server in work

  #events = new Map();  // name -> Listeners
  #handlers = new Map();
  #stateListeners;
  #sessionListeners;
  #unknown = 0;
  #unreadable = 0;

  #rooms = new Map();    // by number
  #lateJoins = new Set(); // calls that nobody waits for any more
  #link;                 // what rooms need of the client

  /** The server's clock, which runs while the client is in a room. */
  clock = new Clock(() => this.call("sync.time", undefined, {offline: "refuse"}));

  /**
   * `game.server.join("ann")` is `game.call("join", ["ann"])`. Only "then" and "toJSON" are no
   * functions here, so that the object can be awaited and written as JSON; `call` reaches them.
   */
  server = new Proxy(Object.create(null), {
    get: (_, name) => typeof name !== "string" || name === "then" || name === "toJSON"
      ? undefined : (...args) => this.call(name, args),
  });

  constructor(url, options = {}) {
    this.#options = withDefaults(DEFAULTS, options, "option");
    const {reconnect, offline} = this.#options;
    this.#reconnect = reconnect && withDefaults(RECONNECT, reconnect, "reconnect option");
    this.#options.WebSocket ??= globalThis.WebSocket;
    if (!this.#options.WebSocket) {
      throw new TypeError("there is no WebSocket here: give one as options.WebSocket " +
        "(before Node.js 22, that of the package ws)");
    }
    if (offline !== "queue" && offline !== "refuse") {
      throw new TypeError('options.offline is "queue" or "refuse"');
    }
    this.#stateListeners = new Listeners(this.#report);
    this.#sessionListeners = new Listeners(this.#report);
    this.#link = {
      clock: this.clock,
      call: (method, params, how) => this.call(method, params, how),
      notify: (method, params, how) => this.notify(method, params, how),
      on: (name, fn) => this.on(name, fn),
      listeners: () => new Listeners(this.#report),
      leave: room => this.#forgetRoom(room.number),
      lose: (room, reason) => this.#loseRoom(room.number, reason),
    };
    this.#where = url;
    if (typeof url !== "function") this.url = absolute(url);
    this.#open();
    globalThis.addEventListener?.("online", this.#online);
  }

  /** "connecting", "open", "waiting" (to connect again) or "closed" (for good). */
  get state() { return this.#state; }

  /** Numbers to watch: {pending, queued, serving, received, unknown, unreadable, sessions}. */
  get stats() {
    this.#prune();
    return {
      pending: this.#pending.size, queued: this.#queue.length, serving: this.#serving,
      received: this.#count, unknown: this.#unknown, unreadable: this.#unreadable,
      sessions: this.#session,
    };
  }

  // Calls

  /**
   * Calls a function of the server; `params` is an array, or an object of named ones. Returns a
   * promise of its result. `options`: `timeout` in ms, an AbortSignal as `signal` (either ends
   * the waiting, not the function), and `offline`.
   */
  async call(method, params, options = {}) {
    const parts = [];
    const answer = this.#expect(parts, method, params, options);
    this.#submit({parts}, options);
    return answer;
  }

  /**
   * Calls without an answer. Returns whether it was sent or queued, where it is dropped after
   * the time that calls wait.
   */
  notify(method, params, options = {}) {
    const error = this.#submit({parts: [{text: compose(method, params)}]}, options);
    if (error?.code === "tooLong") throw error;
    return !error;
  }

  /**
   * Sends several calls as one message: `fill` gets an object with `call` and `notify`. Returns
   * a promise of the results of all its calls, in their order.
   */
  async batch(fill, options = {}) {
    const parts = [];
    const answers = [];
    try {
      fill({
        call: (method, params, callOptions = {}) => {
          const answer = this.#expect(parts, method, params, callOptions);
          answer.catch(() => {}); // it is the batch's to tell
          answers.push(answer);
          return answer;
        },
        notify: (method, params) => { parts.push({text: compose(method, params)}); },
      });
    } catch (error) {
      for (const {id} of parts) this.#settle(id)?.reject(error);
      throw error;
    }
    const error = parts.length ? this.#submit({parts, isBatch: true}, options) : undefined;
    if (error) throw error; // a batch of notifications has no answer that could tell it
    return Promise.all(answers);
  }

  /** Returns a promise of the milliseconds that a message needs to the server and back. */
  async latency(options = {}) {
    const start = now();
    await this.call("sync.ping", undefined, {...options, offline: "refuse"});
    return now() - start;
  }

  // Rooms

  /**
   * Joins a room of the class `name` that has a place, as its `filterBy` and `sortBy` say, or makes
   * one. Returns a promise of the Room; its state is there when the first patch has come (`await
   * room.ready`). `options` are for the room's onCreate and onJoin, and `settings` for this side:
   * `form`, `interpolate` and `delay` as above, and those of calls.
   */
  join(name, options, settings) { return this.#join("sync.join", {room: name, options}, settings); }

  /** Makes a room, and joins it. */
  create(name, options, settings) {
    return this.#join("sync.create", {room: name, options}, settings);
  }

  /** Joins the room of an id, or by a seat that the server has reserved. */
  joinById(id, options, settings) { return this.#join("sync.joinById", {id, options}, settings); }

  /** Joins a private room. */
  joinByCode(code, options, settings) {
    return this.#join("sync.joinByCode", {code, options}, settings);
  }

  /**
   * Returns a promise of a list of the class's rooms that may be joined, at most 100: `{id, members,
   * maxMembers, metadata}` each. With a `filter` of those whose metadata have its values.
   */
  rooms(name, filter, options) { return this.call("sync.rooms", {room: name, filter}, options); }

  async #join(method, params, settings = {}) {
    const {form, interpolate, delay, ...how} = withDefaults(JOINING, settings, "setting");
    const parts = [];
    // Patches may follow at once, before anybody who waits for the promise runs.
    const answer = this.#expect(parts, method, {...params, form}, how,
      joined => this.#enter(joined, {interpolate, delay, form}));
    this.#submit({parts}, how);
    return answer;
  }

  #enter(joined, settings) {
    try {
      const room = new Room(joined, this.#link, settings);
      if (this.#rooms.size === 0) this.clock.start();
      this.#rooms.set(room.number, room);
      return room;
    } catch (error) { // this client is too old for the room
      this.notify("sync.leave", {room: joined.room});
      throw error;
    }
  }

  #forgetRoom(id) {
    this.#rooms.delete(id);
    if (this.#rooms.size === 0) this.clock.stop();
  }

  #loseRoom(id, reason) {
    const room = this.#rooms.get(id);
    this.#forgetRoom(id);
    if (room) Room.left(room, reason);
  }

  // The session goes on at another node, where the room has another number.
  #renumber(old, number) {
    const room = this.#rooms.get(old);
    if (!room) return;
    this.#rooms.delete(old);
    this.#rooms.set(number, room);
    room.number = number;
  }

  #loseRooms(reason) {
    this.#lateJoins.clear();
    for (const id of [...this.#rooms.keys()]) this.#loseRoom(id, reason);
  }

  // The node that had the session has died. Who was in a room of another node, or in one that
  // comes up again, comes back there, as the member that it was; other rooms are lost.
  #returnToRooms() {
    this.#lateJoins.clear();
    for (const room of [...this.#rooms.values()]) {
      this.#forgetRoom(room.number);
      if (Room.returnBy(room)) this.#returnTo(room); else Room.left(room, "lost");
    }
  }

  async #returnTo(room) {
    const {timeout} = this.#options;
    const [parts, how] = [[], {offline: "queue", timeout: timeout && Math.max(timeout, RETURN)}];
    const answer = this.#expect(parts, "sync.joinById", Room.returnBy(room), how, joined => {
      if (!room.isIn) return this.notify("sync.leave", {room: joined.room});
      if (this.#rooms.size === 0) this.clock.start();
      this.#rooms.set(joined.room, room);
      Room.returned(room, joined);
    });
    this.#submit({parts}, how);
    try {
      await answer;
    } catch {
      Room.left(room, "lost");
    }
  }

  // A patch, as bytes or an object. What comes for a room that was left is for nothing.
  #patch(read, data) {
    let refused;
    try {
      const patch = read(data);
      const room = this.#rooms.get(patch.room);
      refused = room && Room.patch(room, patch);
    } catch (error) {
      refused = error;
      for (const room of this.#rooms.values()) Room.unreadable(room);
    }
    if (!refused) return;
    this.#unreadable++;
    this.#report(new Error(`the server sent a patch that is wrong: ${refused.message}`));
  }

  // Adds a call to the parts of a message. Returns the promise of its answer, or of what
  // `make` makes of that.
  #expect(parts, method, params, {timeout = this.#options.timeout, signal}, make) {
    const id = ++this.#lastId;
    const text = compose(method, params, id);
    signal?.throwIfAborted();
    if (this.#pending.size >= this.#options.pendingLimit) {
      const message = `${method}: too many calls wait for answers`;
      throw new RemoteError("full", message, undefined, method);
    }
    parts.push({id, text});
    return new Promise((resolve, reject) => {
      const call = {method, resolve, reject, signal, make, isSent: false};
      if (timeout > 0 && timeout <= LONGEST_TIMER) {
        const end = () => this.#fail(id, "timeout", `no answer in ${timeout} ms`);
        call.timer = setTimeout(end, timeout);
      }
      call.onAbort = () => {
        this.#settle(id).reject(signal.reason);
        if (make && call.isSent) this.#expectLate(id);
      };
      signal?.addEventListener("abort", call.onAbort);
      this.#pending.set(id, call);
    });
  }

  // Ends the waiting for an answer. Returns the call, if somebody still waits for it.
  #settle(id) {
    const call = this.#pending.get(id);
    if (!call) return undefined;
    this.#pending.delete(id);
    clearTimeout(call.timer);
    call.signal?.removeEventListener("abort", call.onAbort);
    return call;
  }

  #fail(id, code, message, data) {
    const call = this.#settle(id);
    if (call?.make && call.isSent) this.#expectLate(id);
    call?.reject(new RemoteError(code, `${call.method}: ${message}`, data, call.method));
  }

  // The server may let us into a room that nobody here waits for any more.
  #expectLate(id) {
    if (this.#lateJoins.size < this.#options.pendingLimit) this.#lateJoins.add(id);
  }

  #failSent(message, data) {
    for (const [id, {isSent}] of this.#pending) {
      if (isSent) this.#fail(id, "disconnected", message, data);
    }
  }

  // If the calls that were sent are lost, only answers among the missed messages still come.
  #markSent(areLost) {
    for (const call of this.#pending.values()) call.isLost = areLost && call.isSent;
  }

  #failLost() {
    for (const [id, {isLost}] of this.#pending) if (isLost) this.#fail(id, "disconnected", GONE);
  }

  // Sends an entry or queues it. Returns the RemoteError that its calls are rejected with, if
  // neither is possible.
  #submit(entry, {offline = this.#options.offline} = {}) {
    const refusal = this.#sendOrQueue(entry, offline);
    if (!refusal) return undefined;
    for (const {id} of entry.parts) this.#fail(id, ...refusal);
    return new RemoteError(...refusal);
  }

  // Returns a code and a message, if it does neither.
  #sendOrQueue(entry, offline) {
    const {maxMessage, maxQueue, queueLimit, timeout} = this.#options;
    if (isLongerThan(maxMessage, this.#write(entry))) {
      return ["tooLong", `the message is longer than maxMessage, ${maxMessage} bytes`];
    }
    if (this.#state === "closed") return ["closed", "the client is closed"];
    if (this.#isOpen()) {
      if (this.#socket.bufferedAmount > maxQueue) return ["full", "the network takes no more"];
      this.#send(entry);
      return undefined;
    }
    if (offline === "refuse") return ["offline", "there is no connection"];
    this.#prune();
    if (this.#queue.length >= queueLimit) return ["full", "too many calls wait for a connection"];
    this.#queue.push({...entry, expires: now() + (timeout || Infinity)});
    return undefined;
  }

  #isOpen() {
    return this.#state === "open" && this.#socket.readyState === OPEN;
  }

  // Leaves out the calls that were aborted or timed out in the queue.
  #write({parts, isBatch}) {
    const texts = parts.filter(({id}) => id === undefined || this.#pending.has(id))
      .map(({text}) => text);
    return isBatch ? `[${texts.join(",")}]` : texts[0];
  }

  #send(entry) {
    this.#socket.send(this.#write(entry));
    for (const {id} of entry.parts) {
      const call = this.#pending.get(id);
      if (call) call.isSent = true;
    }
  }

  // Takes out of the queue what has waited too long, and answers for a session that is over.
  #prune() {
    this.#queue = this.#queue.filter(({parts, expires, session = this.#session}) =>
      session === this.#session && (parts.some(({id}) => this.#pending.has(id)) ||
        expires > now() && parts.some(({id}) => id === undefined)));
  }

  #flush() {
    this.#prune();
    while (this.#queue.length > 0 && this.#isOpen()) this.#send(this.#queue.shift());
  }

  // Events, and calls of the server

  /**
   * Calls `fn` with the arguments of each event of this name; as "*", with the name and the
   * arguments of every event. Returns a function that ends it.
   */
  on(name, fn, isOnce = false) {
    const listeners = this.#events.get(name) ?? new Listeners(this.#report);
    const stop = listeners.add(fn, isOnce);
    this.#events.set(name, listeners);
    return stop;
  }

  /** The same for the next event only. */
  once(name, fn) { return this.on(name, fn, true); }

  off(name, fn) { this.#events.get(name)?.remove(fn); }

  /**
   * Calls `fn(state, detail)` when the state changes; `detail` has what is known of `code`,
   * `reason` and `status` of the lost connection, `delay`, `attempt`, `resumed` and `missed`.
   * States have a method of their own, so that no event of a server can be taken for one.
   * Returns a function that ends it.
   */
  onState(fn) { return this.#stateListeners.add(fn); }

  /**
   * Calls `fn()` at the begin of each session: when a connection opens that is not resumed, and
   * now, if a session is on. The server knows nothing of us then: the place to log in. What it
   * calls at once goes before anything in the queue. Returns a function that ends it.
   */
  onSession(fn) {
    const stop = this.#sessionListeners.add(fn);
    if (this.#state === "open") this.#sessionListeners.callOne(fn);
    return stop;
  }

  /**
   * Lets the server call `fn`; its result, or what it promises, is the answer. A RemoteError
   * with a whole number as code is answered as it is; other errors are reported here, and
   * answered with -32603. Without `fn` the function is taken back.
   */
  handle(name, fn) {
    if (fn) this.#handlers.set(name, fn);
    else this.#handlers.delete(name);
  }

  #emit(name, args) {
    if (name.startsWith("sync.")) return; // of a protocol newer than this client
    if (name !== "*") this.#events.get(name)?.call(...args);
    this.#events.get("*")?.call(name, ...args);
  }

  #report = error => {
    try {
      const {onError} = this.#options;
      if (onError) onError(error);
      else console.error("sync:", error);
    } catch (another) {
      console.error("sync: onError itself has failed:", another);
    }
  };

  async #serve({id, method, params}) {
    const session = this.#session;
    this.#serving++;
    let answer = await this.#perform(method, toArguments(params));
    this.#serving--;
    const write = () => `{"jsonrpc":"2.0","id":${JSON.stringify(id)},${answer}}`;
    if (isLongerThan(this.#options.maxMessage, write())) {
      this.#report(new RemoteError("tooLong", `${method}: the answer is longer than maxMessage`));
      answer = '"error":{"code":-32603,"message":"the answer is too long"}';
    }
    if (session !== this.#session || this.#state === "closed") return; // who asked has gone
    const error = this.#submit({parts: [{text: write()}], session}, {offline: "queue"});
    if (error) this.#report(error);
  }

  // Returns the members of the answer, as JSON.
  async #perform(method, args) {
    try {
      if (this.#serving > this.#options.pendingLimit) {
        throw new RemoteError(-32000, "too many calls at once");
      }
      const fn = this.#handlers.get(method);
      if (!fn) throw new RemoteError(-32601, "no such function");
      return `"result":${JSON.stringify(await fn(...args)) ?? null}`;
    } catch (error) {
      if (error instanceof RemoteError && Number.isInteger(error.code)) {
        const {code, message, data} = error;
        return `"error":${JSON.stringify({code, message, data})}`;
      }
      this.#report(error);
      return '"error":{"code":-32603,"message":"error in the function"}';
    }
  }

  // What the server sends

  #receive(data) {
    this.#isSilent = false;
    if (typeof data !== "string") {
      const bytes = new Uint8Array(data);
      if (bytes[0] === MARK) {
        if (!this.#early) this.#patch(readHead, bytes); // else it comes before the session does
        return;
      }
    }
    const text = typeof data === "string" ? data : new TextDecoder().decode(data);
    const message = this.#read(text);
    if (this.#isGuest) this.#welcome(message);
    else if (this.#early) this.#keepEarly(message, text.length);
    else this.#take(message);
  }

  // Returns undefined for what can't be read.
  #read(text) {
    const {maxReceived} = this.#options;
    try {
      if (text.length <= maxReceived) return JSON.parse(text);
      this.#complain(`a message longer than maxReceived, ${maxReceived} characters`, text);
    } catch {
      this.#complain("what is not JSON", text);
    }
    return undefined;
  }

  #complain(what, text) {
    this.#unreadable++;
    this.#report(new Error(`the server sent ${what}: ${brief(text)}`));
  }

  // One message of the session, in order.
  #take(message) {
    if (message?.method === "sync.session") {
      this.#token = toArguments(message.params)[0]?.token;
      this.#count = 0;
      this.#failLost(); // the missed messages end here
      return;
    }
    if (message?.method === "sync.patch") { // it doesn't count
      this.#patch(toHead, toArguments(message.params)[0]);
      return;
    }
    if (message?.late !== false) this.#count++; // of one that is worthless when late
    if (message !== undefined) for (const one of [message].flat()) this.#handleOne(one);
  }

  #handleOne(message) {
    const {id, method, params, result, error} = message ?? {};
    if (typeof method === "string") {
      if (method === "sync.left") this.#loseRoom(...toArguments(params));
      else if (method === "sync.moved") this.#renumber(...toArguments(params));
      else if (method === "sync.goaway") this.#goAway(toArguments(params)[0]?.delay);
      else if (id === undefined) this.#emit(method, toArguments(params));
      else this.#serve(message);
    } else if (id !== undefined && (result !== undefined || typeof error?.code === "number")) {
      this.#answered(id, result, error);
    } else {
      this.#complain("what is no JSON-RPC", JSON.stringify(message));
    }
  }

  // An answer nobody waits for is counted; one without an id is about something we sent that
  // the server could not read.
  #answered(id, result, error) {
    const call = this.#settle(id);
    if (!call) this.#unknown++;
    if (this.#lateJoins.delete(id) && result?.room !== undefined) {
      this.notify("sync.leave", {room: result.room});
    }
    if (!error) {
      this.#resolve(call, result);
    } else if (call || id === null) {
      const refusal = new RemoteError(error.code, String(error.message), error.data, call?.method);
      if (call) call.reject(refusal);
      else this.#report(refusal);
    }
  }

  #resolve(call, result) {
    try {
      call?.resolve(call.make ? call.make(result) : result);
    } catch (error) {
      call.reject(error);
    }
  }

  // The connection

  #open() {
    const {connectTimeout, token} = this.#options;
    const asks = typeof this.#where === "function" || typeof token === "function";
    if (asks) this.#askAndDial(++this.#dialling);
    else this.#dial(token);
    const giveUp = () => this.#drop(`not open in ${connectTimeout} ms`);
    this.#openTimer = setTimeout(giveUp, connectTimeout);
    this.#become("connecting", {attempt: this.#attempt});
  }

  #askWhere() { return Promise.all([ask(this.#where), ask(this.#options.token)]); }

  // What the functions throw is reported; the attempt has failed as if nobody had listened.
  async #askAndDial(dialling) {
    try {
      const [url, token] = await this.#askWhere();
      if (dialling !== this.#dialling) return;
      this.url = absolute(url);
      this.#dial(token);
    } catch (error) {
      if (dialling !== this.#dialling) return;
      this.#report(error);
      this.#lost({code: 1006, reason: "there is no URL, or no token, to connect with"});
    }
  }

  #dial(token) {
    const {WebSocket} = this.#options;
    this.#use(new WebSocket(this.url), token);
  }

  // Makes a socket the client's.
  #use(socket, token) {
    this.#shown = token;
    // A socket that was given up may still have something to say.
    const current = fn => event => this.#step(() => {
      if (socket === this.#socket) fn(event);
    }, event.data);
    socket.binaryType = "arraybuffer";
    socket.onopen = current(() => this.#opened());
    socket.onmessage = current(({data}) => this.#receive(data));
    socket.onerror = current(({message}) => {
      this.#trouble = message;
    });
    socket.onclose = current(({code, reason}) => {
      // A handshake that was refused has a status of HTTP.
      const status = Number(/server response: (\d{3})/.exec(this.#trouble)?.[1]) || undefined;
      this.#lost({code, reason: reason || this.#trouble || "", status});
    });
    this.#socket = socket;
    this.#trouble = undefined;
  }

  // The server is about to end: another connection is made, by which this one is replaced. Until
  // then it goes on; it may end first, and is then mended as always.
  #goAway(delay = 0) {
    if (!this.#reconnect || this.#moveTimer !== undefined) return;
    this.#moveIn(Math.min(delay, LONGEST_TIMER), 0);
  }

  #moveIn(delay, attempt) {
    this.#moveTimer = setTimeout(() => this.#move(this.#socket, attempt), delay);
  }

  async #move(socket, attempt) {
    const isOver = () => socket !== this.#socket;
    const {first, factor, most, jitter} = this.#reconnect;
    const again = () => {
      if (isOver()) return;
      this.#next = undefined;
      if (this.#state !== "open") this.#stay();
      const wait = Math.min(most, first * factor ** attempt) * (1 - jitter * Math.random());
      this.#moveIn(wait, attempt + 1);
    };
    try {
      const [url, token] = await this.#askWhere();
      if (isOver()) return;
      const next = new this.#options.WebSocket(absolute(url));
      this.#next = next;
      next.onopen = () => { if (next === this.#next) this.#part(next, token); };
      next.onerror = () => {}; // it closes, too
      next.onclose = () => { if (next === this.#next) again(); };
    } catch (error) {
      this.#report(error);
      again();
    }
  }

  // Sends nothing more here, and goes over when what was sent has arrived: a ping says so.
  #part(next, token) {
    const held = []; // what the other server says until then
    const go = () => { if (next === this.#next) this.#switch(next, token, held); };
    next.onmessage = event => held.push(event);
    this.#attempt = 0;
    this.latency({timeout: PARTING}).then(go, go);
    this.#become("connecting", {attempt: 0});
  }

  // The other connection has broken before it was needed.
  #stay() {
    this.#state = "open";
    this.#flush();
    this.#become("open", {resumed: true, missed: 0});
  }

  // The connection before is left when the session has moved: it would end with it.
  #switch(next, token, held) {
    const {connectTimeout} = this.#options;
    this.#next = this.#moveTimer = this.#openedAt = undefined;
    this.#former = this.#socket;
    clearInterval(this.#heartbeat);
    this.url = next.url;
    this.#use(next, token);
    this.#openTimer = setTimeout(() => this.#drop(`not open in ${connectTimeout} ms`), connectTimeout);
    this.#opened();
    for (const event of held) next.onmessage(event);
  }

  #leaveFormer() {
    this.#former?.close(MOVED, "moved");
    this.#former = undefined;
  }

  // What a socket says, in order.
  #step(fn, data) {
    const held = this.#held;
    if (!held) {
      fn();
      return;
    }
    held.steps.push(fn);
    held.size += data?.length ?? data?.byteLength ?? 0;
    if (held.size > this.#options.maxReceived) {
      this.#report(new Error("more than maxReceived came before anybody could listen"));
      this.#release();
    }
  }

  // Whoever awaits `connect` goes on after a WebSocket may have told what came with its
  // handshake: until the turn of the event loop ends, that waits.
  #hold() {
    this.#held = {steps: [], size: 0};
    setTimeout(() => this.#release());
  }

  #release() {
    const {steps} = this.#held ?? {steps: []};
    this.#held = undefined;
    for (const step of steps) step();
  }

  static {
    hold = client => client.#hold();
  }

  #become(state, detail) {
    this.#state = state;
    this.#stateListeners.call(state, detail);
  }

  #opened() {
    if (this.#shown === undefined) {
      this.#greet();
    } else {
      this.#isGuest = true;
      this.#socket.send(compose("sync.auth", [this.#shown], "auth"));
    }
  }

  // The server says whether it takes the token; nothing else comes before.
  #welcome(message) {
    if (message?.id !== "auth") return;
    this.#isGuest = false;
    if (message.error === undefined) {
      this.#greet();
      return;
    }
    const socket = this.#socket;
    this.#lost({code: UNAUTHORIZED, reason: message.error?.message});
    socket.close();
  }

  /**
   * Shows the server another token of the same user, before the one of the connection ends. Without
   * one, `options.token` is asked. Returns a promise.
   */
  async authenticate(token) {
    await this.call("sync.auth", [token ?? await ask(this.#options.token)], {offline: "refuse"});
  }

  #greet() {
    if (this.#token === undefined) {
      this.#begin();
    } else {
      this.#early = {messages: [], size: 0};
      this.#socket.send(compose("sync.resume", [this.#token, this.#count], "resume"));
    }
  }

  #keepEarly(message, size) {
    const early = this.#early;
    if (message?.id === "resume" && message.method === undefined) {
      this.#early = undefined;
      const {resumed, missed, callsLost} = message.result ?? {};
      this.#markSent(callsLost === true);
      if (callsLost === true) this.#returnToRooms();
      if (resumed === true) this.#ready(true, missed);
      else this.#begin(early.messages);
      return;
    }
    early.messages.push(message);
    early.size += size;
    if (early.size > this.#options.maxReceived) this.#drop("no answer to sync.resume");
  }

  // A session begins, of which these messages have already come.
  #begin(messages = []) {
    const socket = this.#socket;
    this.#session++;
    this.#token = undefined;
    this.#count = 0;
    this.#failSent("the connection was lost, and the session is over");
    this.#loseRooms("the session is over");
    this.#ready(false);
    for (const message of messages) if (socket === this.#socket) this.#take(message);
  }

  #ready(resumed, missed = 0) {
    const {heartbeat} = this.#options;
    clearTimeout(this.#openTimer);
    this.#leaveFormer();
    this.#isSilent = false;
    if (heartbeat) {
      this.#heartbeat = setInterval(() => {
        if (this.#isSilent) this.#probe();
        this.#isSilent = true;
      }, heartbeat);
    }
    this.#openedAt = now();
    this.resumed = resumed;
    this.#state = "open";
    if (this.#rooms.size > 0) this.clock.start(); // it may be another server's
    for (const room of this.#rooms.values()) Room.resumed(room);
    if (!resumed) this.#sessionListeners.call();
    this.#flush();
    if (this.#state === "open") this.#become("open", {resumed, missed}); // no listener closed it
  }

  // Gives up a connection without waiting for the other side.
  #drop(reason) {
    const socket = this.#socket;
    this.#lost({code: 1006, reason});
    socket?.close();
  }

  #lost(detail) {
    const {first, factor, most, jitter, attempts, stop} = this.#reconnect;
    const longest = () => Math.min(most, first * factor ** this.#attempt);
    if (now() - this.#openedAt >= longest()) { // it held
      this.#attempt = 0;
      this.#asksAgain = false;
    }
    this.#forget();
    const again = wantsToken(detail) && !this.#asksAgain &&
      typeof this.#options.token === "function";
    if (again) this.#asksAgain = true;
    const isOver = !this.#reconnect || this.#attempt >= attempts ||
      !again && (isRefusal(detail.status) || stop(detail.code, detail.reason));
    if (isOver || this.#token === undefined) this.#failSent("the connection was lost", detail);
    if (isOver) {
      this.#finish(detail);
    } else {
      const delay = longest() * (1 - jitter * Math.random());
      this.#attempt++;
      this.#retryTimer = setTimeout(this.#retry, delay);
      this.#become("waiting", {...detail, delay, attempt: this.#attempt});
    }
  }

  #forget() {
    clearTimeout(this.#openTimer);
    clearInterval(this.#heartbeat);
    clearTimeout(this.#moveTimer);
    this.#leaveFormer();
    const next = this.#next;
    this.#next = this.#moveTimer = undefined;
    next?.close();
    this.#dialling++;
    this.#isGuest = false;
    this.#socket = this.#early = this.#openedAt = undefined;
  }

  #retry = () => {
    clearTimeout(this.#retryTimer);
    try {
      this.#open();
    } catch (error) { // it hasn't thrown the first time
      this.#report(error);
      this.#finish({reason: error.message});
    }
  };

  #online = () => {
    if (this.#state === "waiting") this.#retry();
    else if (this.#state === "open") this.#probe();
  };

  // A connection can be dead for long before anybody says so.
  #probe() {
    const socket = this.#socket;
    const {connectTimeout} = this.#options;
    this.#isSilent = true;
    this.latency({timeout: connectTimeout}).catch(({code}) => {
      if (code !== "timeout" || socket !== this.#socket || !this.#isSilent) return;
      this.#drop(`silent for ${connectTimeout} ms`);
    });
  }

  /** Closes for good. Calls that wait are rejected. `code` is 1000 or 3000 to 4999. */
  close(code = 1000, reason = "") {
    if (this.#state === "closed") return;
    this.#socket?.close(code, reason);
    this.#finish({code, reason});
  }

  #finish(detail) {
    clearTimeout(this.#retryTimer);
    this.#forget();
    globalThis.removeEventListener?.("online", this.#online);
    this.#queue = [];
    const why = detail.status || [detail.code, detail.reason].filter(Boolean).join(" ");
    for (const id of this.#pending.keys()) {
      this.#fail(id, "closed", `the client is closed: ${why}`, detail);
    }
    this.#loseRooms(`the client is closed: ${why}`);
    this.#become("closed", detail);
  }
}

/**
 * Connects in the background, and keeps trying. Returns the Client at once. `url` is that of the
 * server, as ws:, wss:, http: or https:, or a path on the page's own; or a function that returns
 * one, or a promise of one, asked at each attempt. So may `options.token` be, which the server's
 * `auth` wants; a token that is refused is asked for once more, and not for ever.
 */
export function client(url, options) {
  return new Client(url, options);
}

/**
 * Connects. Returns a promise of a Client that is open. It is rejected, and nothing goes on, when
 * the first attempt fails; later losses are mended as `options.reconnect` says. Events and calls of
 * the server wait until the turn of the event loop that goes on behind `await` has ended: who adds
 * listeners and handlers in it misses none.
 */
export function connect(url, options) {
  return new Promise((resolve, reject) => {
    const made = new Client(url, options);
    const stop = made.onState((state, detail) => {
      stop();
      if (state === "open") {
        hold(made);
        resolve(made);
        return;
      }
      const {code, reason, status} = detail;
      const why = status ? `HTTP status ${status}` : reason || `code ${code}`;
      made.close();
      reject(new RemoteError("disconnected", `no connection to ${made.url}: ${why}`, detail));
    });
  });
}

export default {connect, client, Client, RemoteError};
