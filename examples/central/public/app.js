// Central's page: puts its parts together, and runs the frames.
//
//   net ──► world, board, chat ──► view, hud ──► what one sees
//    ▲                                            │
//    └────────── input, pen, chat, entry ◄────────┘

import {Board} from "./board.js";
import {Camera} from "./camera.js";
import {Chat} from "./chat.js";
import {Effects} from "./effects.js";
import {Entry, roomOfAddress} from "./entry.js";
import {Hud} from "./hud.js";
import {Input} from "./input.js";
import {Net, explain} from "./net.js";
import {onTheme} from "./palette.js";
import {Pen} from "./pen.js";
import {View} from "./view.js";
import {World} from "./world.js";

const DASH_REST = 2000;   // ms, the server's
const LATENCY_MS = 2000;  // between two questions
const MAP_MS = 120;       // between two pictures of the map
const WORDS_MS = 6000, MOST_WORDS = 42; // what is said at a comet

const $ = id => document.getElementById(id);

const effects = new Effects();
const world = new World({
  taken(spark, person) {
    effects.burst(spark.x, spark.y, 45, world.time, person === world.me ? 9 : 5, 46);
    if (person === world.me) effects.ring(spark.x, spark.y, 45, world.time, 26);
  },
  dashed(person) {
    effects.ring(person.x, person.y, person.hue, world.time, 52);
    effects.burst(person.x, person.y, person.hue, world.time, 8, 60);
  },
  left(person) {
    if (person.alpha) effects.burst(person.x, person.y, person.hue, world.time, 10, 70);
  },
});
const board = new Board();
const camera = new Camera();
const hud = new Hud();
const canvas = $("world");
const view = new View(canvas, {camera, world, board, effects});

let room = roomOfAddress();
let latency;
let dashedAt = -Infinity;

// The room

const net = new Net({
  joining(joined) {
    input.reset();
    world.enter(joined);
    board.enter(joined, world.width, world.height);
    chat.enter(joined);
    joined.on("onBump", showBump);
    camera.moveTo(world.width / 2, world.height / 2);
  },
  joined(joined, wanted) {
    room = wanted.room;
    hud.room(room);
    hud.me(world.me);
    hud.score(0);
    showLink();
  },
  refused(error) {
    world.room = undefined; // it was left before
    entry.open(explain(error));
  },
});

// The event comes at once, the comets are shown a little later: so is this.
function showBump(by, whom, lost) {
  const [one, other] = [world.people.get(by), world.people.get(whom)];
  if (!one || !other?.alpha) return;
  const begin = world.time + world.room.delay;
  effects.ring(other.x, other.y, one.hue, begin, 80);
  effects.burst(other.x, other.y, other.hue, begin, 22, 130);
  effects.number(other.x, other.y, other.hue, begin, `−${lost}`);
  if (one === world.me || other === world.me) camera.shake();
  if (other === world.me) {
    hud.toast(`${one.name} bumped you: ${lost} ${lost === 1 ? "spark" : "sparks"} lost.`);
  }
}

function showWords({member, text}) {
  const person = world.people.get(member);
  if (!person) return;
  const letters = [...text];
  const shown = letters.length > MOST_WORDS
    ? `${letters.slice(0, MOST_WORDS - 1).join("")}…` : text;
  person.words = {text: shown, until: world.time + WORDS_MS};
}

// What one does

const failed = error => hud.toast(explain(error));
const pen = new Pen({world, board, net, failed});
const away = () => canvas.focus({preventScroll: true});
const chat = new Chat({net, away, toast: text => hud.toast(text), said: showWords});
const actions = {
  chat: () => chat.open(),
  dash() {
    const now = performance.now();
    if (!world.me || now - dashedAt < DASH_REST) return;
    dashedAt = now;
    net.dash().catch(failed);
  },
  tool(name) {
    input.use(name);
    hud.tool(name, pen.width);
    hud.hint();
  },
  pointed() {
    if (document.activeElement !== canvas) away();
  },
};
const input = new Input(canvas, {camera, world, pen, net}, actions);

const entry = new Entry((identity, wantedRoom) => {
  away();
  if (wantedRoom !== roomOfAddress()) {
    history.pushState(null, "", `#${encodeURIComponent(wantedRoom)}`);
  }
  const {me} = world;
  const isOnlyName = me && me.hue === identity.hue && wantedRoom === room && !identity.token;
  if (!isOnlyName) return enter();
  if (me.name !== identity.name) net.rename(identity.name).catch(failed);
});

function enter() {
  net.enter({room: roomOfAddress(), ...entry.identity});
}

async function share() {
  const link = new URL(`#${encodeURIComponent(room)}`, location).href;
  try {
    await navigator.clipboard.writeText(link);
    hud.toast("The link to this room is copied.");
  } catch {
    prompt("The link to this room:", link); // a page without TLS may not write to the clipboard
  }
}

async function erase() {
  pen.end();
  try {
    await net.erase();
    hud.toast("What you drew is erased.");
  } catch (error) {
    failed(error);
  }
}

// A button that was clicked gives the keys back to the world; one that was pressed by a key
// keeps them.
function onButton(id, fn) {
  $(id).addEventListener("click", event => {
    if (event.detail > 0) away();
    fn();
  });
}

onButton("place", () => entry.open());
onButton("share", share);
onButton("fly", () => actions.tool("fly"));
onButton("draw", () => actions.tool("draw"));
onButton("erase", erase);
onButton("talk", () => chat.open());
onButton("reload", () => location.reload());
$("dash").addEventListener("pointerdown", event => {
  event.preventDefault(); // at once, and the other finger goes on aiming
  actions.dash();
});
$("dash").addEventListener("click", event => {
  if (event.detail === 0) actions.dash();
});
$("width").addEventListener("input", () => {
  pen.width = Number($("width").value);
  hud.tool(input.tool, pen.width);
});
window.addEventListener("hashchange", () => {
  if (entry.identity && !entry.isOpen) enter();
});
onTheme(() => board.repaint());
window.addEventListener("keydown", event => {
  document.body.classList.toggle("tabbing", event.key === "Tab");
});

// The connection

function showLink() {
  const {state} = net.game;
  hud.link(state, latency);
  if (state === "open") hud.banner();
  else if (state === "closed") hud.banner("The server has ended the connection.", true);
  else if (net.game.stats.sessions > 0) hud.banner("Connecting again…");
  else hud.banner("Connecting…");
}

net.game.onState(state => {
  latency = undefined;
  if (state !== "open") input.release();
  showLink();
});

setInterval(async () => {
  if (net.game.state !== "open" || document.hidden) return;
  try {
    latency = await net.game.latency({timeout: LATENCY_MS});
  } catch {
    latency = undefined; // the state tells, if the connection is gone
  }
  showLink();
}, LATENCY_MS);

// Frames

let last = 0;
let mapAt = 0;
let fps = 0;
let counted = 0;
let countedFrom = 0;

function countFrame(now) {
  counted++;
  if (now - countedFrom < 1000) return;
  fps = counted * 1000 / (now - countedFrom);
  [counted, countedFrom] = [0, now];
}

function frame(now) {
  requestAnimationFrame(frame);
  const ms = Math.min(100, now - last);
  last = now;
  countFrame(now);
  const time = performance.now();
  world.step(time);
  input.frame(time);
  const {me} = world;
  if (me?.alpha) camera.follow(me, ms, world);
  else if (!me) camera.moveTo(camera.centerX + ms * 0.02, camera.centerY);
  const rest = Math.max(0, 1 - (time - dashedAt) / DASH_REST);
  const isAiming = input.tool === "fly" && input.aim;
  view.frame(time, {aim: isAiming ? input.aim : undefined, rest});
  hud.rest(rest);
  if (me) hud.score(me.score);
  if (time - mapAt > MAP_MS) {
    mapAt = time;
    hud.map(world, camera, board);
    hud.people(world.people.size);
    hud.best(world.best(8));
  }
}

hud.tool("fly", pen.width);
showLink();
if (entry.identity) enter(); else entry.open();
requestAnimationFrame(frame);

// For tests and for the curious: plain data of now.

function plain({id, name, hue, x, y, score, alpha, isDashing}) {
  return {id, name, hue, x, y, score, isDashing, isVisible: alpha > 0};
}

window.central = {
  state: () => ({connection: net.game.state, room, isIn: Boolean(world.me), tool: input.tool,
    tick: world.room?.tick, time: world.time, width: world.width, height: world.height,
    count: world.people.size, best: world.best(8), sparks: world.sparks.size,
    sight: {...camera.sight, has: undefined}}),
  me: () => world.me ? plain(world.me) : null,
  people: () => [...world.people.values()].map(plain),
  strokes: () => [...board.strokes].map(({member, number, serial, hue, width, points}) =>
    ({member, number, serial, hue, width, points: [...points]})),
  bubbles: () => [...world.people.values()].flatMap(({words}) => words?.box ?? []),
  chat: () => chat.lines.map(line => ({...line})),
  fps: () => fps,
  latency: () => latency ?? null,
};
