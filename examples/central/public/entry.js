// Who one is and where: asked for on the first visit, remembered, and changed by the same form.

import {paint} from "./palette.js";

const KEY = "central";
const $ = id => document.getElementById(id);

// A page of a browser that keeps nothing asks each time.
function load() {
  try {
    const {name, hue, token} = JSON.parse(localStorage.getItem(KEY));
    if (typeof name === "string" && name.trim() && Number.isFinite(hue)) return {name, hue, token};
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

// The account's name and token, where Central knows examples/accounts.
async function logIn(name, password) {
  const response = await fetch("login", {method: "POST",
    headers: {"content-type": "application/json"}, body: JSON.stringify({name, password})});
  const said = await response.json().catch(() => ({}));
  if (!response.ok) throw new Error(said.problem ?? `the server says ${response.status}`);
  return said;
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
  identity = load(); // {name, hue, token}: the token of a name that has a password

  #dialog = $("entry");

  /** `chosen(identity, room)` is called with what is chosen. */
  constructor(chosen) {
    $("hue").addEventListener("input", () => this.#show());
    this.#dialog.addEventListener("cancel", event => {
      if (!this.identity) event.preventDefault(); // there is nothing to go back to
    });
    this.#dialog.querySelector("form").addEventListener("submit", event => {
      event.preventDefault();
      this.#choose(chosen);
    });
    fetch("accounts").then(answer => answer.json())
      .then(({has}) => { $("secret").hidden = !has; }, () => {});
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

  async #choose(chosen) {
    const [name, password] = [$("name").value.trim(), $("password").value];
    if (!name) return $("name").focus();
    const isSame = this.identity?.name === name;
    let who = {name, token: isSame && !password ? this.identity.token : undefined};
    try {
      if (password) who = await logIn(name, password);
    } catch (error) {
      $("problem").textContent = `${error.message[0].toUpperCase()}${error.message.slice(1)}.`;
      return;
    }
    this.identity = {...who, hue: Number($("hue").value)};
    save(this.identity);
    $("password").value = "";
    this.#dialog.close();
    chosen(this.identity, $("room").value.trim() || "lobby");
  }

  #show() {
    paint(this.#dialog, Number($("hue").value));
  }
}
