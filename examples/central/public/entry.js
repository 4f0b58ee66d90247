// Who one is and where: asked for on the first visit, remembered, and changed by the same form.

import {paint} from "./palette.js";

const KEY = "central";
const $ = id => document.getElementById(id);

// A page of a browser that keeps nothing asks each time.
function load() {
  try {
    const {name, hue} = JSON.parse(localStorage.getItem(KEY));
    if (typeof name === "string" && name.trim() && Number.isFinite(hue)) return {name, hue};
  } catch {
    return undefined;
  }
}

function save(identity) {
  try {
    localStorage.setItem(KEY, JSON.stringify(identity));
  } catch {
    return; // private windows may refuse
  }
}

/** The room that the address names. */
export function roomOfAddress() {
  try {
    return decodeURIComponent(location.hash.slice(1)).trim() || "lobby";
  } catch {
    return "lobby";
  }
}

export class Entry {
  identity = load(); // {name, hue}

  #dialog = $("entry");

  /** `chosen(identity, room)` is called with what is chosen. */
  constructor(chosen) {
    $("hue").addEventListener("input", () => this.#show());
    this.#dialog.addEventListener("cancel", event => {
      if (!this.identity) event.preventDefault(); // there is nothing to go back to
    });
    this.#dialog.querySelector("form").addEventListener("submit", event => {
      event.preventDefault();
      const name = $("name").value.trim();
      if (!name) return $("name").focus();
      this.identity = {name, hue: Number($("hue").value)};
      save(this.identity);
      this.#dialog.close();
      chosen(this.identity, $("room").value.trim() || "lobby");
    });
    $("later").addEventListener("click", () => this.#dialog.close());
  }

  get isOpen() {
    return this.#dialog.open;
  }

  /** Opens the form, perhaps with what was wrong. */
  open(problem = "") {
    $("name").value = this.identity?.name ?? "";
    $("hue").value = this.identity?.hue ?? Math.floor(Math.random() * 360);
    $("room").value = roomOfAddress();
    $("problem").textContent = problem;
    $("later").hidden = !this.identity || problem !== "";
    this.#show();
    if (!this.#dialog.open) this.#dialog.showModal();
    if (matchMedia("(hover: hover)").matches) $("name").select();
  }

  #show() {
    paint(this.#dialog, Number($("hue").value));
  }
}
