// Central's Flash door: the movie in Ruffle, a program and a terminal in one room.
//
//   make flash-door
//   node spec/central/flash.mjs ./sync-lua
//
// Leaves a picture in build/central. Ends with a line `N passed, N failed`, and with 1 when one
// has failed.

import assert from "node:assert/strict";
import {spawn} from "node:child_process";
import {mkdirSync} from "node:fs";
import net from "node:net";
import path from "node:path";
import {connect} from "../../clients/js/sync.js";
import {installed} from "../browser/clients.mjs";
import {atEnd, check, configure, finish, program, root, sleep, until} from "../support/checks.mjs";

const {chromium} = installed("playwright-core");
const WebSocket = installed("ws");
const pictures = path.join(root, "build/central");
const ROOM = "door";

mkdirSync(pictures, {recursive: true});

configure({limit: 170_000, patience: 20_000});

const server = spawn(program, ["examples/central/main.lua"], {
  cwd: root, stdio: ["ignore", "ignore", "pipe"],
  env: {...process.env, CENTRAL_HOST: "127.0.0.1", CENTRAL_PORT: "0"},
});
atEnd(() => server.kill("SIGKILL"));
let log = "";
server.stderr.on("data", chunk => { log += chunk; });
const ports = await until("the server listens", () =>
  /Central listens on \S+:(\d+)[^]*Terminal listens on \S+:(\d+)/.exec(log));
const [port, lines] = ports.slice(1).map(Number);

const browser = await chromium.launch({executablePath: "/usr/bin/chromium",
  args: ["--no-sandbox", "--disable-dev-shm-usage"]});
const page = await browser.newPage({viewport: {width: 960, height: 540}});
await page.goto(`http://127.0.0.1:${port}/flash.html?name=Flo&renderer=canvas#${ROOM}`);

// What the movie knows; undefined before it runs.
const movie = () => page.evaluate(() => {
  const text = window.door?.ruffle().callExternalInterface("central");
  return text ? JSON.parse(text) : undefined;
}).catch(() => undefined);

// A program, as a browser's page is.
const program1 = await connect(`ws://127.0.0.1:${port}`, {WebSocket});
const said = [];
const place = await program1.join("Central", {room: ROOM, name: "Pat", hue: 200});
place.state.chat.onAdd(({name, text}) => { said.push(`${name}: ${text}`); });
await place.ready;
const {people, comets, strokes} = place.state;

await check("the movie joins the room, and sees who is there", async () => {
  await until("both are at the movie's", async () => {
    const state = await movie();
    return state?.state === "open" && state.people.includes("Pat") && state.people.includes("Flo") &&
      state.seen.some(each => each.name === "Pat");
  });
});

await check("the program sees the movie's comet fly after the mouse", async () => {
  const {me} = await movie();
  assert.ok(people.size === 2 && me !== place.member);
  await page.mouse.move(480, 270);
  const start = await until("it is in sight", () => comets.get(me)?.x);
  await page.mouse.move(930, 270);
  await until("it flies", () => comets.get(me)?.x > start + 150);
});

await check("the movie sees the program's comet fly", async () => {
  const start = (await movie()).seen.find(each => each.name === "Pat");
  const timer = setInterval(() => place.input("aim", Math.max(0, start.x - 400), start.y), 50);
  await until("it flies", async () => {
    const seen = (await movie()).seen.find(each => each.name === "Pat");
    return seen && seen.x < start.x - 150;
  });
  clearInterval(timer);
});

await check("they talk, and a terminal with them", async () => {
  const terminal = net.connect(lines, "127.0.0.1");
  let text = "";
  terminal.on("data", chunk => { text += chunk; });
  terminal.write(`/join ${ROOM}\n/name Teletype\n`);
  await until("the terminal is in the room", () => text.includes("You are Teletype now"));
  await page.evaluate(() => window.door.ruffle().callExternalInterface("say", "grüße from flash"));
  await until("the program hears it", () => said.includes("Flo: grüße from flash"));
  await until("the terminal hears it", () => text.includes("<Flo> grüße from flash"));
  terminal.write("hello, movie\n");
  place.input("say", "hello from a program");
  await until("the movie hears both", async () => {
    const {chat} = await movie();
    return chat.includes("Teletype: hello, movie") && chat.includes("Pat: hello from a program");
  });
  terminal.destroy();
});

await check("they draw on one board", async () => {
  const {x, y} = await movie();
  const points = Array.from({length: 60}, (_, i) => Math.round(i % 2
    ? y - 120 + 40 * Math.sin(i / 6) : x - 300 + 10 * i));
  await place.call("draw", 1, 5, points);
  await until("the movie has the stroke", async () =>
    (await movie()).strokes.some(each => `${each}` === `${points}`));
  await page.mouse.click(898, 516); // the brush
  await page.mouse.move(300, 150);
  await page.mouse.down();
  await page.mouse.move(620, 210, {steps: 20});
  await page.mouse.up();
  await until("the program has the movie's", () =>
    [...strokes.values()].some(({member, points: own}) => member !== place.member && own.length >= 6));
  await page.mouse.click(898, 516);
});

await sleep(500);
await page.screenshot({path: path.join(pictures, "flash.png")});

await browser.close();
program1.close();
await finish();
