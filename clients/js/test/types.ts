// Checked by `tsc` where it is installed, never run; see types.test.mjs.

import sync, {Client, RemoteError, connect} from "../sync.js";
import type {Options, State} from "../sync.js";

interface Server {
  join(name: string): number;
  later(ms: number): Promise<string>;
}

interface Events {
  onJoin(name: string, age: number): void;
}

async function typed(options: Options) {
  const game = await connect<Server, Events>("ws://localhost:8080", options);
  const n: number = await game.server.join("ann");
  const text: string = await game.server.later(n);
  // @ts-expect-error: a number is no name
  await game.server.join(1);
  // @ts-expect-error: there is no such function
  await game.server.leave();
  const stop: () => void = game.on("onJoin", (name, age) => name.length + age);
  // @ts-expect-error: there is no such event
  game.on("onLeave", () => {});
  game.on("*", (name, ...args) => console.log(name, args, text));
  game.onState((state, {delay}) => {
    const one: State = state;
    console.log(one, delay);
  });
  stop();
  // @ts-expect-error: it can only be read
  game.state = "open";
}

async function untyped() {
  const game: Client = sync.client();
  const n: number = await game.server.anything(1, "two");
  const m = await game.call<number>("join", {name: "ann"},
    {timeout: n, signal: AbortSignal.timeout(5)});
  const sent: boolean = game.notify("move", [m, 2]);
  const [a, b] = await game.batch<[number, string]>(batch => {
    batch.call("a");
    batch.call("b", [sent]);
    batch.notify("c");
  });
  game.handle("ask", async (question: string) => question + a + b);
  game.handle("ask");
  game.on("anything", (x, y) => x + y);
  const off: () => void = game.onSession(() => game.server.login("ann"));
  off();
  try {
    const ms: number = await game.latency();
    game.close(4000, String(ms));
  } catch (error) {
    if (error instanceof RemoteError && error.code === "timeout") console.log(error.method);
    throw new RemoteError(42, "not now", {error});
  }
  // @ts-expect-error: there are two ways
  sync.client("/", {offline: "drop"});
  sync.client("/", {WebSocket, reconnect: {first: 1}});
  sync.client(new URL("ws://x/"), {reconnect: false, onError: console.error});
}

export {typed, untyped};
