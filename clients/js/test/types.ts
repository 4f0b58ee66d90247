// Checked by `tsc` where it is installed, never run; see types.test.mjs.

import sync, {Client, RemoteError, connect} from "../sync.js";
import type {Entities, Options, Room, State} from "../sync.js";

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

interface Arena {
  phase: string;
  players: Entities<{name: string, x: number}, number>;
}

async function inRooms(game: Client) {
  const room: Room<Arena> = await game.join<Arena>("Arena", {mode: "ranked"},
    {form: "json", interpolate: {players: {x: true}}, delay: 100});
  await room.ready;
  const stop: () => void = room.state.players.onAdd((player, id) => player.name + id.toFixed());
  room.state.players.onChange((player, id, fields) => fields.includes("x"));
  room.state.players.onRemove((player, id, why) => why === "hidden");
  for (const [id, {x}] of room.view.players) console.log(id + x, room.view.phase);
  // @ts-expect-error: a view has no listeners
  room.view.players.onAdd(() => {});
  // @ts-expect-error: it can only be read
  room.state.phase = "play";
  const me = room.predict("players", room.member, (player, {dx}: {dx: number}) => { player.x += dx; },
    {fields: ["x"]});
  const sent: boolean = me.send({dx: 1});
  // @ts-expect-error: there is no such field
  room.predict("players", 1, () => {}, {fields: ["z"]});
  room.onLeft(reason => console.log(reason, sent, me.state?.x, game.clock.now));
  stop();
  await room.leave();
}

console.log(inRooms);
