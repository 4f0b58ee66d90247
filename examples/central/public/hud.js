// What is round the world: the room, who is here, the best, the map, the tools, and the notes
// that come and go. Shows what it is told, and knows neither the network nor the game.

import {pixelRatio} from "./camera.js";
import {color, onTheme, paint, world as palette} from "./palette.js";

const TOAST_MS = 4500;
const $ = id => document.getElementById(id);

function tell(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

export class Hud {
  #toastTimer;
  #boardMap = document.createElement("canvas"); // the strokes as the map shows them
  #boardVersion = -1;

  constructor() {
    onTheme(() => { this.#boardVersion = -1; });
  }

  room(name) {
    tell($("roomName"), name);
    document.title = `${name} · Central`;
  }

  people(count) {
    tell($("people"), count === 1 ? "only you" : `${count} here`);
  }

  me(person) {
    paint(document.documentElement, person.hue);
  }

  score(score) {
    tell($("score"), String(score));
  }

  /** "open", "connecting" or "waiting", and the milliseconds to the server and back. */
  link(state, latency) {
    $("link").dataset.state = state;
    const isKnown = state === "open" && latency !== undefined;
    tell($("latency"), isKnown ? `${Math.round(latency)} ms` : "…");
    $("link").title = state === "open" ? "Connected: the way to the server and back"
      : "Not connected";
  }

  /** A banner that stays; without text, none. */
  banner(text, canReload = false) {
    $("banner").hidden = !text;
    tell($("bannerText"), text ?? "");
    $("reload").hidden = !canReload;
  }

  toast(text) {
    if (!text) return;
    tell($("toast"), text);
    $("toast").classList.add("on");
    clearTimeout(this.#toastTimer);
    this.#toastTimer = setTimeout(() => $("toast").classList.remove("on"), TOAST_MS);
  }

  tool(name, width) {
    document.body.dataset.tool = name;
    for (const button of document.querySelectorAll("[data-use]")) {
      button.setAttribute("aria-pressed", button.dataset.use === name);
    }
    $("width").value = width;
    $("widthDot").style.setProperty("--size", `${Math.min(width, 26)}px`);
  }

  /** Shows again, for a while, what the tool is for. */
  hint() {
    const [animation] = $("hint").getAnimations();
    if (animation) animation.currentTime = 0;
  }

  /** How much of the rest after a dash is left: 0 to 1. */
  rest(share) {
    $("dash").style.setProperty("--rest", share.toFixed(3));
    $("dash").classList.toggle("resting", share > 0);
  }

  /** The best: {name, score, hue}. */
  best(list) {
    const rows = list.map(({name, score, hue}) => {
      const row = document.createElement("li");
      const who = paint(document.createElement("b"), hue);
      const points = document.createElement("span");
      who.textContent = name;
      who.dir = "auto";
      points.textContent = score;
      row.append(who, points);
      return row;
    });
    $("best").replaceChildren(...rows);
  }

  /** The map: everybody as a dot, and what is in sight as a frame. */
  map(world, camera, board) {
    const canvas = $("map");
    const ratio = pixelRatio();
    const [wide, high] = [canvas.clientWidth, canvas.clientHeight]
      .map(value => Math.round(value * ratio));
    if (canvas.width !== wide || canvas.height !== high) {
      Object.assign(canvas, {width: wide, height: high});
    }
    const context = canvas.getContext("2d");
    const scale = wide / world.width;
    context.clearRect(0, 0, wide, high);
    context.drawImage(this.#strokes(board, wide, high, scale), 0, 0);
    context.fillStyle = palette().text;
    context.globalAlpha = 0.7;
    for (const {known: {x, y}} of world.people.values()) {
      context.fillRect(x / 255 * wide - ratio, y / 255 * high - ratio, 2 * ratio, 2 * ratio);
    }
    const {left, top, right, bottom} = camera.sight;
    context.globalAlpha = 0.5;
    context.strokeStyle = palette().text;
    context.lineWidth = ratio;
    context.strokeRect(left * scale, top * scale, (right - left) * scale, (bottom - top) * scale);
    context.globalAlpha = 1;
    const {me} = world;
    if (!me) return;
    context.fillStyle = color(me.hue);
    context.beginPath();
    context.arc(me.x * scale, me.y * scale, 3.5 * ratio, 0, 7);
    context.fill();
  }

  // Strokes are painted again only when the board is another.
  #strokes(board, wide, high, scale) {
    const canvas = this.#boardMap;
    const version = `${board.version} ${wide}`;
    if (this.#boardVersion === version) return canvas;
    this.#boardVersion = version;
    Object.assign(canvas, {width: wide || 1, height: high || 1});
    const context = canvas.getContext("2d");
    for (const {hue, width, points} of board.strokes) {
      context.strokeStyle = color(hue, "board");
      context.lineWidth = Math.max(1, width * scale);
      context.beginPath();
      for (let i = 0; i < points.length; i += 8) {
        context.lineTo(points[i] * scale, points[i + 1] * scale);
      }
      context.lineTo(points.at(-2) * scale, points.at(-1) * scale);
      context.stroke();
    }
    return canvas;
  }
}
