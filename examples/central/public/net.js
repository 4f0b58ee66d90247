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
  if (error.code > 0) return `${error.message[0].toUpperCase()}${error.message.slice(1)}.`;
  return "That did not work.";
}

// The server's lists are objects when they are empty.
const list = value => Array.isArray(value) ? value : [];

export class Net {
  game = sync.client(new URL("/", location), {
    offline: "refuse", // where one pointed a second ago is no news
    reconnect: {most: 4000},
  });

  #listeners;
  #wanted; // {room, name, hue}
  #isJoining = false;

  /** `listeners`: joined(state), refused(error), and by their names the server's events. */
  constructor(listeners) {
    this.#listeners = listeners;
    this.game.on("*", (event, ...args) => listeners[event]?.(...args));
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
      const state = await this.game.server.join(wanted.room, wanted.name, wanted.hue);
      for (const name of ["people", "board", "chat"]) state[name] = list(state[name]);
      this.#listeners.joined(state, wanted);
    } catch (error) {
      if (error.code === -32001 || error.code === "timeout") again = JOIN_AGAIN;
      else if (error.code > 0 && this.#wanted === wanted) this.#refuse(error);
      else if (typeof error.code === "undefined") throw error;
    } finally {
      this.#isJoining = false;
      if (again) setTimeout(() => this.#join(), again);
      else if (this.#wanted !== wanted) this.#join();
    }
  }

  #refuse(error) {
    this.#wanted = undefined;
    this.#listeners.refused(error);
  }

  aim(x, y) { return this.game.notify("aim", [x, y]); }
  dash() { return this.game.server.dash(); }
  say(text) { return this.game.server.say(text); }
  erase() { return this.game.server.erase(); }
  draw(number, width, points) { return this.game.server.draw(number, width, points); }
  rename(name) {
    this.#wanted = {...this.#wanted, name};
    return this.game.server.rename(name);
  }
}
