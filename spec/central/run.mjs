// Central in a real browser: pages that see each other, one that comes late, a restart, a phone,
// a terminal, and the panel. Leaves pictures in build/central.
//
//   node spec/central/run.mjs ./sync-lua
//
// Ends with a line `N passed, N failed`, and with 1 when one has failed.

import assert from "node:assert/strict";
import {spawn} from "node:child_process";
import {mkdirSync} from "node:fs";
import net from "node:net";
import path from "node:path";
import {installed} from "../browser/clients.mjs";
import {atEnd, check, configure, finish, program, root, sleep, until} from "../support/checks.mjs";
import {freePort} from "../support/ports.mjs";

const {chromium} = installed("playwright-core");
const pictures = path.join(root, "build/central");
const TOKEN = "a-token-for-the-spec";

mkdirSync(pictures, {recursive: true});

configure({limit: 170_000, patience: 20_000});

// Starts a server; resolves when it listens.
function serve(port) {
  return new Promise((resolve, reject) => {
    const child = spawn(program, ["examples/central/main.lua"], {
      cwd: root, stdio: ["ignore", "ignore", "pipe"],
      env: {...process.env, CENTRAL_HOST: "127.0.0.1", CENTRAL_PORT: String(port),
        CENTRAL_PANEL: TOKEN},
    });
    let log = "";
    child.stderr.on("data", chunk => {
      log += chunk;
      const ports = /Central listens on \S+:(\d+)[^]*Terminal listens on \S+:(\d+)/.exec(log);
      if (ports) resolve({child, port: Number(ports[1]), lines: Number(ports[2])});
    });
    child.on("exit", code => reject(new Error(`the server ended with ${code}: ${log}`)));
  });
}

const browser = await chromium.launch({executablePath: "/usr/bin/chromium",
  args: ["--no-sandbox", "--disable-dev-shm-usage"]});
let server = await serve(await freePort());
const {port} = server;
atEnd(async () => {
  await browser.close();
  server.child.removeAllListeners("exit");
  server.child.kill("SIGKILL");
});
const errors = [];

async function open({name, hue = 200, room = "lobby", scheme = "dark", width = 1280, height = 800,
  touch = false}) {
  const context = await browser.newContext({viewport: {width, height}, colorScheme: scheme,
    hasTouch: touch, isMobile: touch});
  const page = await context.newPage();
  page.on("pageerror", error => errors.push(error.stack));
  if (name) {
    await page.addInitScript(who => {
      if (!localStorage.central) localStorage.central = JSON.stringify(who);
    }, {name, hue});
  }
  await page.goto(`http://127.0.0.1:${port}/#${room}`);
  return page;
}

const ask = (page, what) => page.evaluate(name => central[name](), what);
const names = async page => (await ask(page, "people")).map(each => each.name).sort();
// Where a page's own comet is, once it is shown.
const shown = page => until("one's own comet", async () => {
  const me = await ask(page, "me");
  return me?.isVisible && me;
});
const picture = (page, name) => page.screenshot({path: path.join(pictures, `${name}.png`)});

// The strokes that pages show, without what only their owner knows.
const strokes = async page => JSON.stringify((await ask(page, "strokes")).map(
  ({member, serial, points}) => [member, serial, points]));

async function drag(page, from, to) {
  await page.mouse.move(...from);
  await page.mouse.down();
  await page.mouse.move(...to, {steps: 25});
  await page.mouse.up();
}

const room = "spec";
const ann = await open({name: "Ann", hue: 20, room});
const ben = await open({name: "Ben", hue: 210, room, scheme: "light"});

await check("two people in a room see each other", async () => {
  for (const page of [ann, ben]) {
    await until("both names", async () => `${await names(page)}` === "Ann,Ben");
  }
});

await check("what one flies, the other sees", async () => {
  const start = await shown(ann);
  await ann.mouse.move(1200, 400);
  await until("Ann's comet moves at Ben's", async () => {
    const seen = (await ask(ben, "people")).find(each => each.name === "Ann");
    return seen.x > start.x + 150;
  });
});

await check("what one draws, the other sees, and has its own", async () => {
  await ann.keyboard.press("b");
  await ben.keyboard.press("b");
  await sleep(300);
  await drag(ann, [400, 300], [800, 340]);
  await drag(ben, [300, 500], [700, 350]);
  await until("two strokes, the same on both pages", async () =>
    (await ask(ann, "strokes")).length === 2 && await strokes(ann) === await strokes(ben));
  await picture(ann, "draw-dark");
  await picture(ben, "draw-light");
});

const LINE = "Grüße <b>&amp; 漢字 🎉";

await check("what one says, the other reads, as it was written", async () => {
  await ann.keyboard.press("Escape");
  await ann.keyboard.press("Enter");
  await ann.keyboard.type(LINE);
  await ann.keyboard.press("Enter");
  await until("Ann's line at Ben's", async () => (await ask(ben, "chat")).at(-1)?.text === LINE);
  assert.ok((await ben.textContent("#lines")).includes(LINE));
});

await check("somebody who comes late sees the same", async () => {
  const late = await open({name: "Cy", hue: 120, room});
  await until("the strokes", async () => await strokes(late) === await strokes(ann));
  assert.deepEqual(await ask(late, "chat"), await ask(ann, "chat"));
  await until("all names", async () => `${await names(late)}` === "Ann,Ben,Cy");
  await late.context().close();
  await until("Cy has left", async () => `${await names(ann)}` === "Ann,Ben");
});

await check("the keyboard is enough to fly and to dash", async () => {
  const start = await shown(ben);
  await ben.keyboard.press("Escape");
  await ben.keyboard.down("ArrowLeft");
  await until("Ben is further left", async () => (await ask(ben, "me")).x < start.x - 150);
  await ben.keyboard.up("ArrowLeft"); // not out of Ann's sight
  await ann.evaluate(() => { // for a moment, which our looks from outside could miss
    setInterval(() => {
      window.hasSeenDash ||= central.people().some(each => each.name === "Ben" && each.isDashing);
    }, 5);
  });
  await until("Ann sees Ben dash", async () => {
    await ben.keyboard.press(" ");
    return ann.evaluate(() => window.hasSeenDash);
  });
});

await check("a room is its own, and is in the address", async () => {
  const other = await open({name: "Dee", room: "elsewhere"});
  await until("Dee is alone", async () => `${await names(other)}` === "Dee");
  assert.equal(`${await names(ann)}`, "Ann,Ben");
  await other.evaluate(name => { location.hash = name; }, room);
  await until("Dee is here", async () => `${await names(ann)}` === "Ann,Ben,Dee");
  await other.context().close();
});

await check("a terminal looks around and talks", async () => {
  const socket = net.connect(server.lines, "127.0.0.1");
  let text = "";
  socket.on("data", chunk => { text += chunk; });
  await until("the welcome", () => text.includes("Welcome to Central"));
  socket.write(`/join ${room}\n/name Teletype\n/look\nhello from a terminal\n`);
  await until("Ann and Ben are listed", () => /Here: .*Ann.*Ben/.test(text));
  await until("Ann reads it", async () =>
    (await ask(ann, "chat")).at(-1)?.text === "hello from a terminal");
  await ann.keyboard.press("Enter");
  await ann.keyboard.type("hello, terminal");
  await ann.keyboard.press("Enter");
  await until("the terminal reads it", () => text.includes("<Ann> hello, terminal"));
  socket.destroy();
});

await check("on a phone all is in sight, and a finger flies", async () => {
  for (const scheme of ["light", "dark"]) {
    const phone = await open({name: "Phil", room, scheme, width: 390, height: 844, touch: true});
    await until("Phil is in", async () => (await names(phone)).includes("Phil"));
    const sizes = await phone.evaluate(() => ({
      page: [document.documentElement.scrollWidth, document.documentElement.scrollHeight],
      out: [...document.querySelectorAll("button, input, canvas")]
        .filter(each => each.checkVisibility() && each.getBoundingClientRect().width > 0)
        .filter(each => {
          const {left, right, top, bottom} = each.getBoundingClientRect();
          return left < -1 || top < -1 || right > innerWidth + 1 || bottom > innerHeight + 1;
        }).map(each => each.id || each.className),
    }));
    assert.deepEqual(sizes, {page: [390, 844], out: []});
    const start = await shown(phone);
    await phone.touchscreen.tap(195, 200);
    await until("Phil flies up", async () => (await ask(phone, "me")).y < start.y - 40);
    await picture(phone, `phone-${scheme}`);
    await phone.context().close();
  }
  await until("Phil has left", async () => `${await names(ann)}` === "Ann,Ben");
});

await check("what is said is in sight as a whole, also at a phone's edge", async () => {
  const phone = await open({name: "Quinn", hue: 300, room: "edge", width: 360, height: 740, touch: true});
  const start = await shown(phone);
  const bubble = async what => {
    const [box, sight] = await until(`the bubble ${what}`, async () => {
      const boxes = await ask(phone, "bubbles");
      return boxes.length === 1 && [boxes[0], (await ask(phone, "state")).sight];
    });
    assert.ok(box.left >= sight.left, `${what}: left`);
    assert.ok(box.top >= sight.top + 78, `${what}: under the panels at the top`);
    for (const side of ["right", "bottom"]) assert.ok(box[side] <= sight[side], `${what}: ${side}`);
  };
  const say = async text => {
    await phone.keyboard.press("Enter");
    await phone.keyboard.type(text);
    await phone.keyboard.press("Enter");
    await phone.keyboard.press("Escape");
  };
  await say("a long line of many words that a phone is too narrow for");
  await bubble("of words");
  await picture(phone, "bubble-words");
  await until("silence", async () => !(await ask(phone, "bubbles")).length);
  await say("W".repeat(60));
  await bubble("of one word");
  await picture(phone, "bubble-word");
  await until("silence", async () => !(await ask(phone, "bubbles")).length);
  // To a corner of the world, where the comet is not in the middle of the screen any more.
  await until("Quinn is in the corner", async () => {
    await phone.touchscreen.tap(4, 80);
    const {x} = await ask(phone, "me");
    return x < 60 && x < start.x;
  });
  await say("here is the end of the world");
  await bubble("at the edge");
  await picture(phone, "bubble-edge");
  await phone.context().close();
});

await check("the panel wants its token, and then shows what happens", async () => {
  const panel = await (await browser.newContext({viewport: {width: 1200, height: 900}})).newPage();
  panel.on("pageerror", error => errors.push(error.stack));
  const refused = await panel.goto(`http://127.0.0.1:${port}/panel`);
  assert.equal(refused.status(), 401);
  await panel.screenshot({path: path.join(pictures, "panel-token.png")});
  await panel.fill("#token", TOKEN);
  await panel.click("button");
  await until("it is live", async () => await panel.textContent("#state") === "live");
  const rows = id => panel.$$eval(`#${id} tbody tr`, list =>
    list.map(row => [...row.cells].map(cell => cell.textContent)));
  await until("two pages", async () => (await rows("classes")).some(
    ([name, kind, count]) => name === "Central" && kind === "websocket" && count === "2"));
  const card = title => panel.$$eval(".card", (list, wanted) => list.find(
    each => each.querySelector("h2").textContent === wanted).querySelector(".value").textContent, title);
  const flying = setInterval(() => ann.mouse.move(400 + 400 * Math.random(), 400).catch(() => {}), 200);
  await until("messages come", async () => parseFloat(await card("Messages out")) > 5);
  await until("a handler has run", async () => (await rows("handlers")).some(
    ([name, state]) => name === "Central:onTick" && /native|interpreted/.test(state)));
  const drawn = () => panel.$$eval(".card canvas", list => list.map(canvas => {
    const {data} = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
    return data.reduce((sum, value) => sum + value, 0);
  }));
  const first = await until("plots", async () => {
    const sums = await drawn();
    return sums.filter(Boolean).length >= 8 && sums;
  });
  await until("plots move", async () => `${await drawn()}` !== `${first}`);
  clearInterval(flying);
  await panel.screenshot({path: path.join(pictures, "panel.png"), fullPage: true});
  for (const width of [360, 320]) {
    await panel.setViewportSize({width, height: 740});
    const out = await panel.$$eval("section, table, td, td *", (list, wide) => list.filter(each => {
      const {left, right} = each.getBoundingClientRect();
      return left < 0 || right > wide + 0.5 || each.scrollWidth > each.clientWidth + 1 &&
        getComputedStyle(each).display !== "inline" && each.clientWidth > 0;
    }).map(each => each.outerHTML.slice(0, 80)), width);
    assert.deepEqual(out, []);
    assert.equal(await panel.evaluate(() => document.documentElement.scrollWidth), width);
    await panel.screenshot({path: path.join(pictures, `panel-${width}.png`), fullPage: true});
  }
  await panel.context().close();
});

await check("a server that was killed and started again has everybody back", async () => {
  const gone = new Promise(done => server.child.once("exit", done));
  server.child.removeAllListeners("exit");
  server.child.once("exit", () => {});
  const ended = new Promise(done => server.child.once("exit", done));
  server.child.kill("SIGKILL");
  await Promise.race([gone, ended]);
  await until("the banner", () => ann.evaluate(() => !document.getElementById("banner").hidden));
  await picture(ann, "away-dark");
  server = await serve(port);
  for (const page of [ann, ben]) {
    await until("both are back", async () => (await ask(page, "state")).connection === "open" &&
      `${await names(page)}` === "Ann,Ben");
  }
  assert.equal(await ann.evaluate(() => document.getElementById("banner").hidden), true);
  assert.deepEqual(await ask(ann, "strokes"), []);
  const start = await shown(ann);
  await ann.mouse.move(100, 400);
  await until("Ann flies again", async () => (await ask(ann, "me")).x < start.x - 100);
  await picture(ann, "back-dark");
});

await check("no page has raised an error", async () => {
  assert.deepEqual(errors, []);
});

await finish();
