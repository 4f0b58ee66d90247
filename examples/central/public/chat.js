// The chat: the last lines, which fade while nobody looks, and the line one writes.

import {explain} from "./net.js";
import {paint} from "./palette.js";

const MOST_LINES = 60;
const FRESH_MS = 14_000; // a line is shown so long when the chat is not open

export class Chat {
  lines = []; // {id, name, hue, text}

  #panel = document.getElementById("chat");
  #list = document.getElementById("lines");
  #input = document.getElementById("say");
  #parts; // {net, toast, away(), said(line)}

  constructor(parts) {
    this.#parts = parts;
    const form = this.#input.form;
    form.addEventListener("submit", event => {
      event.preventDefault();
      this.#send();
    });
    form.addEventListener("focusin", () => this.#panel.classList.add("open"));
    form.addEventListener("focusout", event => {
      if (!form.contains(event.relatedTarget)) this.#panel.classList.remove("open");
    });
    form.addEventListener("keydown", event => {
      if (event.key !== "Escape") return;
      event.stopPropagation();
      this.#parts.away();
    });
  }

  open() {
    this.#panel.classList.add("open");
    this.#input.focus();
    this.#list.scrollTop = this.#list.scrollHeight;
  }

  /** Begins anew with a room; what is said from now on is told, too. */
  enter(room) {
    this.lines = [];
    this.#list.replaceChildren();
    let [fresh, isFirst] = [[], true];
    room.state.chat.onAdd((line, serial) => fresh.push({serial, line}));
    room.onPatch(() => {
      fresh.sort((a, b) => a.serial - b.serial);
      for (const {line} of fresh) {
        this.add(line.member, line.name, line.hue, line.text);
        if (!isFirst) this.#parts.said(line);
      }
      [fresh, isFirst] = [[], false];
    });
  }

  add(id, name, hue, text) {
    this.lines.push({id, name, hue, text});
    const item = document.createElement("li");
    const who = paint(document.createElement("b"), hue);
    who.textContent = name;
    const what = document.createElement("span");
    what.textContent = text;
    who.dir = what.dir = "auto";
    item.append(who, " ", what);
    const isAtEnd = this.#list.scrollHeight - this.#list.scrollTop -
      this.#list.clientHeight < 40;
    this.#list.append(item);
    setTimeout(() => item.classList.add("old"), FRESH_MS);
    while (this.lines.length > MOST_LINES) {
      this.lines.shift();
      this.#list.firstChild.remove();
    }
    if (isAtEnd) this.#list.scrollTop = this.#list.scrollHeight;
  }

  async #send() {
    const text = this.#input.value.trim();
    this.#input.value = "";
    this.#parts.away();
    if (!text) return;
    try {
      await this.#parts.net.say(text);
    } catch (error) {
      this.#input.value ||= text; // to try again
      this.#parts.toast(explain(error) || "Not sent: there is no connection.");
    }
  }
}
