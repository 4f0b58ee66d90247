// The way to the server: one's place in a room is kept through lost connections and restarts.

import * as sync from "/sync.js";

const JOIN_AGAIN = 1500; // ms after a join that came too often or took too long

const TEXTS = {
  "-32001": "That was a little too fast. Wait a moment.",
  "-32000": "The server has much to do. Wait a moment.",
  "timeout": "The server takes its time. Try again.",
  "full": "The network is slow just now.",
  "tooLong": "That is too long.",
};

/** What a person is told of an error; nothing where the banner says it already. */
export function explain(error) {
  if (error.code === "offline" || error.code === "disconnected") return "";
  if (TEXTS[error.code]) return TEXTS[error.code];
  if (error.code > 0 || error.code === -32002) return `${error.message[0].toUpperCase()}${error.message.slice(1)}.`;
  return "That did not work.";
}

export class Net {
  game = sync.client(new URL("/", location), {
    offline: "refuse", // where one pointed a second ago is no news
    reconnect: {most: 4000},
  });

  room;              // that one is in

  #listeners;
  #wanted;           // {room, name, hue}
  #isJoining = false;

  /**
   * `listeners`: joining(room), whose state is empty yet, joined(room, wanted), left(reason),
   * refused(error).
   */
  constructor(listeners) {
    this.#listeners = listeners;
    this.game.onSession(() => this.#join());
  }

  /** Wants to be in a room, now and after each loss of the connection. */
  enter(wanted) {
    this.#wanted = wanted;
    this.#join();
  }

  // One at a time: the answer says which room's events come from there on.
  async #join() {
    const wanted = this.#wanted;
    if (!wanted || this.#isJoining || this.game.state !== "open") return;
    this.#isJoining = true;
    let again = 0;
    try {
      if (this.room?.isIn) await this.room.leave();
      const room = this.room = await this.game.join("Central", wanted);
      this.#listeners.joining(room);
      room.onLeft(() => this.game.state === "open" && this.#join());
      await Promise.race([room.ready, new Promise(left => room.onLeft(left))]);
      if (room.isIn) this.#listeners.joined(room, wanted);
    } catch (error) {
      if (error.code === -32001 || error.code === "timeout") again = JOIN_AGAIN;
      else if (typeof error.code === "number" && this.#wanted === wanted) this.#refuse(error);
      else if (typeof error.code === "undefined") throw error;
    } finally {
      this.#isJoining = false;
      if (again) setTimeout(() => this.#join(), again);
      else if (this.#wanted !== wanted || this.room && !this.room.isIn) this.#join();
    }
  }

  #refuse(error) {
    this.#wanted = undefined;
    this.#listeners.refused(error);
  }

  // Without an answer.
  aim(x, y) { return this.room.isIn && this.room.input("aim", x, y) !== undefined; }
  dash() { return this.#call("dash"); }
  say(text) { return this.#call("say", text); }
  erase() { return this.#call("erase"); }
  rename(name) {
    this.#wanted = {...this.#wanted, name};
    return this.#call("rename", name);
  }

  /** Resolves when the room's state has what was drawn. */
  async draw(number, width, points) {
    await this.#call("draw", number, width, points);
    const {room} = this;
    await new Promise(done => {
      const stop = room.onPatch(() => { stop(); done(); });
      room.onLeft(done);
    });
  }

  async #call(name, ...params) {
    if (!this.room?.isIn) throw Object.assign(new Error("one is in no room"), {code: "offline"});
    return this.room.call(name, ...params);
  }
}
