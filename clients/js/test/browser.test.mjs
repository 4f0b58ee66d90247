// The module in Chromium, as a page loads it.

import assert from "node:assert/strict";
import {existsSync, mkdtempSync, readFileSync, rmSync} from "node:fs";
import http from "node:http";
import {once} from "node:events";
import os from "node:os";
import path from "node:path";
import test from "node:test";
import {installed, serve, until} from "./help.mjs";
import {hasty} from "./server.mjs";

const program = process.env.CHROMIUM || "/usr/bin/chromium";
const skip = !existsSync(program) && `there is no ${program}`;

const page = url => `<!doctype html><title>sync</title>
<script type="module">
  import sync, {RemoteError} from "/sync.js";
  window.seen = [];
  window.states = [];
  window.game = sync.client(${JSON.stringify(url)}, {reconnect: {first: 5, most: 50}});
  game.onState(state => states.push(state));
  game.on("e", value => seen.push(value));
  game.handle("double", n => 2 * n);
  window.RemoteError = RemoteError;
  window.sum = await game.server.add(1, 2);
</script>`;

async function servePage(t, html) {
  const server = http.createServer(({url}, response) => {
    const isModule = /^\/sync[a-z-]*\.js$/.test(url);
    const type = isModule ? "text/javascript" : "text/html; charset=utf-8";
    const text = isModule ? readFileSync(new URL(`..${url}`, import.meta.url)) : html;
    response.writeHead(200, {"Content-Type": type}).end(text);
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  return `http://127.0.0.1:${server.address().port}/`;
}

async function openTab(t) {
  const {chromium} = installed("playwright-core");
  const profile = mkdtempSync(path.join(os.tmpdir(), "sync-client-"));
  const browser = await chromium.launchPersistentContext(profile, {
    executablePath: program,
    args: ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
      "--disable-background-networking", "--disable-component-update", "--disable-sync"],
  });
  t.after(async () => {
    await browser.close();
    rmSync(profile, {recursive: true, force: true, maxRetries: 5});
  });
  return browser.newPage();
}

test("the module loads in a page, and calls, events and resuming work", {skip, timeout: 40_000},
  async t => {
    const server = await serve(t, {resumeTime: 30});
    const tab = await openTab(t);
    const problems = [];
    tab.on("pageerror", error => problems.push(error.message));
    await tab.goto(await servePage(t, page(server.url)));
    await tab.waitForFunction("window.sum === 3");

    assert.deepEqual(await tab.evaluate(`(async () => {
      const results = [await game.server.echo("é漢🎉"), game.state, game.resumed];
      results.push(...await game.batch(b => [b.call("echo", [1]), b.call("echo", [2])]));
      results.push(await game.server.ask("double", 21), await game.latency() > 0);
      const error = await game.server.nothing().catch(e => e);
      results.push(error instanceof RemoteError, error.code);
      const signal = AbortSignal.timeout(5);
      results.push((await game.call("later", [10000], {signal}).catch(e => e)).name);
      await game.server.fire("e", 1);
      return results;
    })()`), ["é漢🎉", "open", false, 1, 2, 42, true, true, -32601, "TimeoutError"]);

    const {session} = server;
    server.cut();
    for (const n of [2, 3]) session.send({method: "e", params: [n]});
    await tab.waitForFunction("seen.length === 3");
    assert.deepEqual(await tab.evaluate("[seen, game.resumed, game.stats.pending]"),
      [[1, 2, 3], true, 0]);

    // The page's WebSocket takes no code but these, and a refusal looks like any failure.
    assert.equal(await tab.evaluate("try { game.close(1001) } catch (e) { e.name }"),
      "InvalidAccessError");
    server.refuse = 403;
    server.cut();
    await tab.waitForFunction("states.filter(state => state === 'waiting').length > 3");
    server.refuse = undefined;
    assert.equal(await tab.evaluate("game.server.echo('back')"), "back");
    assert.equal(await tab.evaluate("game.close(4000, 'bye'), game.state"), "closed");
    await until(() => server.closeCode === 4000);

    // A path is one of the page's server, which knows no WebSocket.
    const relative = await tab.evaluate(`import("/sync.js").then(({connect}) =>
      connect("/room").catch(error => error.message))`);
    assert.match(relative, /^no connection to ws:\/\/127\.0\.0\.1:\d+\/room: /);
    assert.deepEqual(problems, []);
  });

test("a page that awaits connect gets what came with the handshake", {skip, timeout: 40_000},
  async t => {
    const server = await hasty(t, [{method: "e", params: [1]},
      {id: 5, method: "double", params: [21]}, {method: "e", params: [2]}]);
    const tab = await openTab(t);
    await tab.goto(await servePage(t, `<!doctype html><script type="module">
      import sync from "/sync.js";
      const game = await sync.connect(${JSON.stringify(server.url)});
      window.seen = [];
      game.on("e", value => seen.push(value));
      game.handle("double", n => 2 * n);
    </script>`));
    await tab.waitForFunction("window.seen?.length === 2");
    assert.deepEqual(await tab.evaluate("seen"), [1, 2]);
    await until(() => server.received.length > 0, "the answer");
    assert.deepEqual(server.received, [{jsonrpc: "2.0", id: 5, result: 42}]);
  });
