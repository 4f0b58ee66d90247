// Paints a frame: the ground, the board, sparks, comets, and what they say. Only what is in
// sight is painted; what glows is a picture that is made once for each colour.

import {TILE} from "./board.js";
import {pixelRatio} from "./camera.js";
import {color, onTheme, tint, world as palette} from "./palette.js";

const GLOW = 96;            // pixels of a glow's picture
const HEAD = 11;            // units, a comet's radius
const TRAIL = 470;          // ms of a trail
const MOST_LABELS = 150;
const STARS = [{depth: 0.25, count: 60, size: 1.2}, {depth: 0.45, count: 40, size: 1.8},
  {depth: 0.7, count: 16, size: 2.6}];
// Of words, in units: how wide they may be, a line of them, what stays free beside them and above.
const BUBBLE = 340, LINE = 20, EDGE = 8, TOP = 84;
const FIELD = 1100;         // units after which stars repeat

const calm = matchMedia("(prefers-reduced-motion: reduce)");

// Stars are where they are on every screen.
let seed = 7;
function random() {
  seed = (seed * 16807) % 2147483647;
  return seed / 2147483647;
}

for (const layer of STARS) {
  layer.stars = Array.from({length: layer.count}, () =>
    ({x: random() * FIELD, y: random() * FIELD, light: 0.25 + 0.75 * random()}));
}

const CLOUDS = Array.from({length: 9}, (_, i) =>
  ({x: random(), y: random(), size: 700 + 700 * random(), kind: i % 3}));

const glows = new Map(); // "R G B" -> a picture: at most 3 times 360, mostly a few

function glow(rgb) {
  let canvas = glows.get(rgb);
  if (!canvas) {
    if (glows.size > 400) glows.clear();
    canvas = document.createElement("canvas");
    canvas.width = canvas.height = GLOW;
    const context = canvas.getContext("2d");
    const gradient = context.createRadialGradient(GLOW / 2, GLOW / 2, 0, GLOW / 2, GLOW / 2,
      GLOW / 2);
    for (const [at, alpha] of [[0, 1], [0.25, 0.55], [0.55, 0.16], [1, 0]]) {
      gradient.addColorStop(at, `rgb(${rgb} / ${alpha})`);
    }
    context.fillStyle = gradient;
    context.fillRect(0, 0, GLOW, GLOW);
    glows.set(rgb, canvas);
  }
  return canvas;
}

onTheme(() => glows.clear());

// What somebody says in lines that are no wider than `most`; a word that is wider is cut.
function linesOf(context, words, most) {
  if (words.lines && words.most === most) return words.lines;
  const lines = [""];
  const isWide = text => context.measureText(text.trimEnd()).width > most;
  for (const word of words.text.split(/(?<=\s)/)) {
    for (const part of isWide(word) ? word : [word]) {
      if (lines.at(-1) && isWide(lines.at(-1) + part)) lines.push("");
      lines[lines.length - 1] += part;
    }
  }
  words.most = most;
  words.lines = lines.map(line => line.trim());
  return words.lines;
}

function modulo(value, by) {
  return ((value % by) + by) % by;
}

export class View {
  #context;
  #canvas;
  #parts; // {camera, world, board, effects}

  constructor(canvas, parts) {
    this.#canvas = canvas;
    this.#context = canvas.getContext("2d", {alpha: false});
    this.#parts = parts;
    const fit = () => parts.camera.fit(canvas);
    new ResizeObserver(fit).observe(canvas);
    fit();
  }

  /** Paints all; `own` tells of one's own comet: {aim: [x, y] or undefined, rest: 0 to 1}. */
  frame(now, own) {
    const {camera, world, board, effects} = this.#parts;
    const context = this.#context;
    if (camera.ratio !== pixelRatio()) camera.fit(this.#canvas);
    camera.settle();
    this.#ground(context, palette());
    if (world.me) {
      board.show(context, camera, now);
      this.#sparks(context, palette());
      if (own.aim) this.#aim(context, own.aim);
      this.#comets(context, own);
      effects.paint(context, world.time, camera.sight);
    }
  }

  #ground(context, look) {
    const {camera, world} = this.#parts;
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.fillStyle = look.outside;
    context.fillRect(0, 0, camera.width, camera.height);
    camera.toWorld(context);
    context.fillStyle = look.ground;
    context.fillRect(0, 0, world.width, world.height);
    this.#clouds(context, look);
    this.#grid(context, look);
    context.setTransform(1, 0, 0, 1, 0, 0);
    for (const layer of STARS) this.#stars(context, look, layer);
    camera.toWorld(context);
    context.strokeStyle = look.edge;
    context.lineWidth = 3;
    context.strokeRect(0, 0, world.width, world.height);
  }

  #clouds(context, look) {
    const {camera, world} = this.#parts;
    for (const {x, y, size, kind} of CLOUDS) {
      const [cx, cy] = [x * world.width, y * world.height];
      if (!camera.sight.has(cx, cy, size)) continue;
      const gradient = context.createRadialGradient(cx, cy, 0, cx, cy, size);
      gradient.addColorStop(0, `rgb(${look.clouds[kind]} / ${look.cloud})`);
      gradient.addColorStop(0.5, `rgb(${look.clouds[kind]} / ${look.cloud * 0.36})`);
      gradient.addColorStop(1, `rgb(${look.clouds[kind]} / 0)`);
      context.fillStyle = gradient;
      context.fillRect(cx - size, cy - size, 2 * size, 2 * size);
    }
  }

  #grid(context, look) {
    const {camera: {sight, scale}, world} = this.#parts;
    const [left, right] = [Math.max(0, sight.left), Math.min(world.width, sight.right)];
    const [top, bottom] = [Math.max(0, sight.top), Math.min(world.height, sight.bottom)];
    for (const [step, style] of [[TILE / 4, look.line], [TILE, look.strongLine]]) {
      context.strokeStyle = style;
      context.lineWidth = 1 / scale;
      context.beginPath();
      for (let x = Math.ceil(left / step) * step; x <= right; x += step) {
        context.moveTo(x, top);
        context.lineTo(x, bottom);
      }
      for (let y = Math.ceil(top / step) * step; y <= bottom; y += step) {
        context.moveTo(left, y);
        context.lineTo(right, y);
      }
      context.stroke();
    }
  }

  // Far stars move slower than the ground: that is what shows how fast one is.
  #stars(context, look, {depth, size, stars}) {
    const {camera} = this.#parts;
    const share = calm.matches ? 1 : depth;
    const field = FIELD * camera.ratio;
    const [dx, dy] = [camera.centerX * share * camera.scale, camera.centerY * share * camera.scale];
    const side = size * camera.ratio;
    for (const star of stars) {
      context.fillStyle = `rgb(${look.star} / ${(look.starlight * star.light).toFixed(2)})`;
      const startX = modulo(star.x * camera.ratio - dx, field);
      for (let y = modulo(star.y * camera.ratio - dy, field); y < camera.height; y += field) {
        for (let x = startX; x < camera.width; x += field) context.fillRect(x, y, side, side);
      }
    }
  }

  #sparks(context, look) {
    const {camera, world} = this.#parts;
    const picture = glow(look.spark);
    context.fillStyle = look.sparkCore;
    context.strokeStyle = look.sparkEdge;
    context.lineWidth = 2.5;
    for (const {id, x, y, from} of world.sparks.values()) {
      if (from > world.time || !camera.sight.has(x, y, 30)) continue;
      const twinkle = calm.matches ? 1 : 1 + 0.22 * Math.sin(world.time * 0.004 + id * 1.7);
      const size = Math.min(1, (world.time - from) / 300 + 0.1) * twinkle;
      const wide = 25 * size;
      context.drawImage(picture, x - wide, y - wide, 2 * wide, 2 * wide);
      this.#star(context, x, y, 7.5 * size);
    }
  }

  #star(context, x, y, size) {
    const inner = size * 0.34;
    context.beginPath();
    for (let i = 0; i < 8; i++) {
      const far = i % 2 ? inner : size;
      context.lineTo(x + far * Math.cos(i * Math.PI / 4), y + far * Math.sin(i * Math.PI / 4));
    }
    context.closePath();
    context.stroke();
    context.fill();
  }

  #aim(context, [x, y]) {
    const {world: {me}} = this.#parts;
    if (!me.alpha || Math.hypot(x - me.x, y - me.y) < 40) return;
    context.strokeStyle = color(me.hue, "ink", 0.7);
    context.lineWidth = 1.5;
    context.beginPath();
    context.arc(x, y, 9, 0, 7);
    context.moveTo(x + 2, y);
    context.arc(x, y, 2, 0, 7);
    context.stroke();
  }

  #comets(context, own) {
    const {camera, world} = this.#parts;
    const seen = [];
    for (const person of world.people.values()) {
      if (person.alpha && person !== world.me && camera.sight.has(person.x, person.y, 220)) {
        seen.push(person);
      }
    }
    if (world.me.alpha) seen.push(world.me); // above the others
    for (const person of seen) this.#comet(context, person);
    if (world.me.alpha) this.#own(context, world.me, own.rest);
    const labelled = seen.slice(-MOST_LABELS);
    for (const person of labelled) this.#label(context, person);
    for (const person of seen) if (person.words) this.#words(context, person);
  }

  #comet(context, person) {
    const look = palette();
    const rgb = tint(person.hue, "glow");
    context.globalAlpha = person.alpha;
    this.#tail(context, person, rgb);
    const wide = person.isDashing ? 58 : 38;
    context.globalAlpha = person.alpha * look.glow;
    context.drawImage(glow(rgb), person.x - wide, person.y - wide, 2 * wide, 2 * wide);
    context.globalAlpha = person.alpha;
    context.fillStyle = color(person.hue, "ink");
    context.strokeStyle = look.halo; // or a comet would be lost on a full board
    context.lineWidth = 4;
    context.beginPath();
    context.arc(person.x, person.y, HEAD, 0, 7);
    context.stroke();
    context.fill();
    context.fillStyle = look.core;
    context.beginPath();
    context.arc(person.x, person.y, HEAD * 0.5, 0, 7);
    context.fill();
    context.globalAlpha = 1;
  }

  // The way behind a comet, as one shape that gets narrow and fades.
  #tail(context, person, rgb) {
    const {trail} = person;
    const lasting = calm.matches ? TRAIL / 3 : TRAIL;
    const until = this.#parts.world.time - lasting;
    const first = trail.findIndex(({t}) => t > until);
    const end = trail[first];
    if (first < 0 || trail.length - first < 2) return;
    if (Math.hypot(person.x - end.x, person.y - end.y) < 6) return;
    const gradient = context.createLinearGradient(person.x, person.y, end.x, end.y);
    gradient.addColorStop(0, `rgb(${rgb} / .62)`);
    gradient.addColorStop(1, `rgb(${rgb} / 0)`);
    context.fillStyle = gradient;
    context.beginPath();
    for (let i = trail.length - 1; i >= first; i--) this.#side(context, trail, i, 1, until, lasting);
    for (let i = first; i < trail.length; i++) this.#side(context, trail, i, -1, until, lasting);
    context.fill();
  }

  #side(context, trail, i, sign, until, lasting) {
    const [a, b] = [trail[Math.min(trail.length - 1, i + 1)], trail[Math.max(0, i - 1)]];
    const length = Math.hypot(b.x - a.x, b.y - a.y) || 1;
    const wide = sign * HEAD * 0.92 * Math.max(0, (trail[i].t - until) / lasting) / length;
    context.lineTo(trail[i].x - (b.y - a.y) * wide, trail[i].y + (b.x - a.x) * wide);
  }

  // One's own comet has a ring, which fills while the next dash is not ready.
  #own(context, me, rest) {
    context.lineWidth = 2;
    context.strokeStyle = color(me.hue, "ink", 0.28);
    context.beginPath();
    context.arc(me.x, me.y, 21, 0, 7);
    context.stroke();
    context.strokeStyle = color(me.hue, "ink", 0.95);
    context.beginPath();
    context.arc(me.x, me.y, 21, -Math.PI / 2, -Math.PI / 2 + 2 * Math.PI * (1 - rest));
    context.stroke();
  }

  #label(context, person) {
    const look = palette();
    const y = person.y + 38;
    context.globalAlpha = person.alpha;
    context.textAlign = "center";
    context.lineJoin = "round";
    context.lineWidth = 3.5;
    context.strokeStyle = look.halo;
    context.font = "600 14px system-ui, sans-serif";
    const text = person.score ? `${person.name} · ${person.score}` : person.name;
    context.strokeText(text, person.x, y);
    context.fillStyle = color(person.hue, "ink");
    context.fillText(text, person.x, y);
    context.globalAlpha = 1;
  }

  #words(context, person) {
    const {world} = this.#parts;
    const left = person.words.until - world.time;
    if (left <= 0) {
      person.words = undefined;
      return;
    }
    const look = palette();
    context.font = "500 15px system-ui, sans-serif";
    context.globalAlpha = person.alpha * Math.min(1, left / 400);
    const {sight} = this.#parts.camera;
    const lines = linesOf(context, person.words,
      Math.min(BUBBLE, sight.right - sight.left - 2 * EDGE - 24));
    const wide = Math.max(...lines.map(line => context.measureText(line).width)) + 24;
    const high = 12 + LINE * lines.length;
    // At the screen's edge it stands further in, and below a comet at the top, where panels are.
    const middle = Math.min(Math.max(person.x, sight.left + EDGE + wide / 2),
      sight.right - EDGE - wide / 2);
    const above = person.y - 32 - high;
    const [x, y] = [middle - wide / 2, above < sight.top + TOP ? person.y + 50 : above];
    person.words.box = {left: x, right: x + wide, top: y, bottom: y + high};
    context.fillStyle = look.name === "dark" ? "rgb(30 38 66 / .94)" : "rgb(255 255 255 / .96)";
    context.strokeStyle = color(person.hue, "ink", 0.6);
    context.lineWidth = 1.5;
    context.beginPath();
    context.roundRect(x, y, wide, high, 16);
    context.fill();
    context.stroke();
    context.textAlign = "center";
    context.fillStyle = look.text;
    lines.forEach((line, i) => context.fillText(line, middle, y + 21 + LINE * i));
    context.globalAlpha = 1;
  }
}
