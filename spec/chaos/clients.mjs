// The kinds of clients that chaos meets. Each accounts for every message of its own, and for the
// broadcasts that it hears; what is wrong is told to its crowd. A client is `owed` answers as long
// as it waits for some.

import net from "node:net";
import tls from "node:tls";
import * as sync from "../../clients/js/sync.js";
import {installed} from "../browser/clients.mjs";

const WebSocket = installed("ws");

const WINDOW = 4; // messages that may be under way

// Who sends numbered texts, and wants each back: in order, once, unchanged.
class Echoing {
  number = 0;
  waiting = [];
  heard = 0; // the last broadcast, or 0 before the first
  isOpen = false;
  isLeaving = false;

  constructor(crowd) {
    this.crowd = crowd;
  }

  opened() { this.isOpen = true; }

  closed(why) {
    this.isOpen = false;
    if (!this.isLeaving) this.crowd.lost(this, why);
  }

  take(text) {
    if (text[0] === "b") {
      this.heard = this.crowd.hear(this, this.heard, Number(text.slice(1)));
      return;
    }
    const expected = this.waiting.shift();
    if (text !== expected) {
      this.crowd.fault(this, `got "${text.slice(0, 20)}", not "${String(expected).slice(0, 20)}"`);
    }
    this.crowd.sums.answered++;
  }

  work() {
    if (this.isOpen && this.waiting.length < WINDOW) this.send();
  }

  send() {
    const text = `${++this.number} ${this.crowd.filler()}`;
    this.waiting.push(text);
    this.crowd.sums.sent++;
    this.write(text);
  }

  get owed() { return this.waiting.length; }

  /** Goes, whatever is under way: that is lost by its own doing (`left`), or a network's (`cut`). */
  leave(sum = "left") {
    this.isLeaving = true;
    this.crowd.sums[sum] += this.waiting.length;
    this.waiting = [];
    this.abort();
  }
}

/** Lines on TCP, or on TLS. */
export class Line extends Echoing {
  rest = "";
  half = "";

  constructor(crowd, port, secure) {
    super(crowd);
    this.kind = secure ? "TLS" : "TCP";
    const address = {host: "127.0.0.1", port, rejectUnauthorized: false};
    this.socket = secure ? tls.connect(address) : net.connect(address);
    this.socket.setNoDelay(true).setEncoding("latin1")
      .on(secure ? "secureConnect" : "connect", () => this.opened())
      .on("data", text => this.cut(text))
      .on("error", error => { this.why = error.message; })
      .on("close", () => this.closed(this.why));
  }

  cut(text) {
    if (this.isLeaving) return;
    const lines = (this.rest + text).split("\n");
    this.rest = lines.pop();
    for (const line of lines) this.take(line);
  }

  // Speaks first, so that the server knows at once what it is.
  opened() {
    super.opened();
    this.send();
  }

  // In two parts, which the server mostly gets apart.
  write(text) {
    this.#writeHalf();
    const middle = Math.floor(text.length / 2);
    this.socket.write(text.slice(0, middle));
    this.half = `${text.slice(middle)}\n`;
    setImmediate(() => this.#writeHalf());
  }

  #writeHalf() {
    if (this.half) this.socket.write(this.half);
    this.half = "";
  }

  abort() { this.socket.destroy(); }
}

/** Texts on a WebSocket, with deflate (and its window, which is taken over) or without. */
export class Web extends Echoing {
  constructor(crowd, port, deflate) {
    super(crowd);
    this.kind = deflate ? "deflate" : "WebSocket";
    this.socket = new WebSocket(`ws://127.0.0.1:${port}/`,
      {perMessageDeflate: deflate && {threshold: 0}})
      .on("open", () => this.opened())
      .on("message", bytes => { if (!this.isLeaving) this.take(bytes.toString("latin1")); })
      .on("error", error => { this.why = error.message; })
      .on("close", code => this.closed(this.why ?? `code ${code}`));
  }

  opened() {
    const agreed = this.socket.extensions.includes("permessage-deflate");
    if (agreed !== (this.kind === "deflate")) this.crowd.fault(this, `agreed on deflate: ${agreed}`);
    super.opened();
  }

  // In two fragments.
  write(text) {
    const middle = Math.floor(text.length / 2);
    this.socket.send(text.slice(0, middle), {fin: false});
    this.socket.send(text.slice(middle));
  }

  abort() { this.socket.terminate(); }
}

/** A player: calls, events, a room with a state, and a session that goes on when it is cut. */
export class Player {
  kind = "player";
  heard = 0;
  number = 0;    // of the last call
  failed = 0;    // calls of this session without an answer
  x = 0;         // where the room says that we are
  moves = 0;     // that the room was asked for
  isBusy = false;
  isExcused = false; // calls under way may fail
  isInDoubt = false; // its node may have died: the next one has its fields as they were a while ago

  constructor(crowd, port, mode, isAcross) {
    Object.assign(this, {crowd, mode, isAcross});
    const player = this;
    class Socket extends WebSocket {
      constructor(...args) {
        super(...args);
        player.socket = this;
      }
    }
    this.client = sync.client(`ws://127.0.0.1:${port}/`, {WebSocket: Socket, timeout: 4000,
      offline: "refuse", reconnect: {first: 20, most: 300}, onError: error => crowd.fault(this, String(error))});
    this.client.on("onSay", number => { this.heard = crowd.hear(this, this.heard, number); });
    this.client.onSession(() => this.begin());
    this.client.onState((state, {resumed} = {}) => this.changed(state, resumed));
  }

  // Its room may be lost, and calls to it: the server was killed, or what links nodes was disturbed.
  get mayLoseRoom() { return this.crowd.mayLose || this.isAcross && this.crowd.mayMiss; }

  get isOpen() { return !this.isCut && this.client.state === "open" && this.room !== undefined; }
  get owed() { return this.isBusy || !this.isOpen ? 1 : 0; }

  changed(state, resumed) {
    if (this.isGone) return;
    if (state === "open" && resumed) this.crowd.sums.resumed++;
    else if (state === "waiting" && !this.isCut) this.crowd.lost(this, "connection lost");
    else if (state === "closed") this.crowd.fault(this, "is closed for good");
    if (state === "open") this.isCut = false;
  }

  // A session: the first one, or another because the server has lost it, which it may not by itself.
  begin() {
    if (this.number > 0) this.crowd.lost(this, "session lost");
    Object.assign(this, {heard: 0, number: 0, failed: 0});
    this.enter();
  }

  async enter() {
    Object.assign(this, {x: 0, moves: 0, room: undefined});
    try {
      const room = await this.client.join("Duel", {mode: this.mode});
      this.room = room;
      room.onLeft(() => setImmediate(() => this.left(room)));
    } catch (error) {
      if (!this.mayLoseRoom && !this.isGone) this.crowd.fault(this, `join: ${error.message}`);
      else if (!this.isGone) setTimeout(() => { if (!this.room) this.enter(); }, 100);
    }
  }

  // The room's home has died, and the session goes on.
  left(room) {
    if (this.isGone || room !== this.room) return;
    if (!this.mayLoseRoom) this.crowd.fault(this, "room lost");
    this.crowd.sums.closed++;
    this.enter();
  }

  async work() {
    if (this.isBusy || !this.isOpen) return;
    this.isBusy = true;
    this.isExcused = this.crowd.isPatient || this.mayLoseRoom;
    const {room} = this;
    this.crowd.sums.sent += 2;
    const number = ++this.number;
    const isInDoubt = this.crowd.mayLose || this.isInDoubt;
    this.isInDoubt = this.crowd.mayLose;
    await Promise.all([
      this.ask(room, () => this.client.server.add(number), missing => {
        if (isInDoubt) this.failed = Math.max(this.failed, missing);
        if (missing > this.failed) {
          this.crowd.fault(this, `${missing} calls have not come; told of ${this.failed}`);
        }
      }),
      this.ask(room, () => { this.moves++; return room.call("move"); }, x => {
        if (x <= this.x || x > this.moves) {
          this.crowd.fault(this, `moved to ${x} from ${this.x} by ${this.moves} moves`);
        }
        this.x = x;
      }),
    ]);
    this.isBusy = false;
  }

  async ask(room, call, check) {
    try {
      const result = await call();
      this.crowd.sums.answered++;
      if (room === this.room) check(result); // or it is of a session that is over
    } catch (error) {
      if (room === this.room) this.failed++;
      this.crowd.sums.told++;
      if (!this.isExcused && !this.isGone && !this.mayLoseRoom) {
        this.crowd.fault(this, `call: ${error.message}`);
      }
    }
  }

  /** Its connection is cut, over which calls may be under way: the session goes on by another. */
  leaveConnection() {
    this.isCut = this.isExcused = true;
    this.socket.terminate();
  }

  /** What it sees of its room. */
  view() {
    const players = [...this.room.state.players].map(([id, {x}]) => `${id}:${x}`).sort();
    const own = this.room.state.players.get(this.room.member)?.x;
    return {id: this.room.id, text: players.join(" "), isRight: own >= this.x && own <= this.moves};
  }

  leave() {
    this.isGone = true;
    this.client.close();
  }
}
