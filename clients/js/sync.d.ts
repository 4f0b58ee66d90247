// The types of sync.js.
//
// SPDX-License-Identifier: MIT

/** "connecting", "open", "waiting" (to connect again) or "closed" (for good). */
export type State = "connecting" | "open" | "waiting" | "closed";

/** An array, or an object of named parameters. */
export type Params = readonly unknown[] | object;

/**
 * Codes of calls that the server has not answered; its own codes are numbers. After "timeout" and
 * "disconnected" (the connection broke, or the server has gone) the call may have been done.
 */
export type LocalCode =
  "timeout" | "disconnected" | "offline" | "full" | "tooLong" | "closed";

export class RemoteError extends Error {
  readonly name: "RemoteError";
  readonly code: number | LocalCode;
  readonly data: any;
  /** The function that was called. */
  readonly method: string | undefined;
  /** Thrown in a function given to `handle`, it is the answer. */
  constructor(code: number | LocalCode, message: string, data?: unknown, method?: string);
}

/** What the client uses of a WebSocket: the browser's, Node.js' and that of `ws` have it. */
export interface WebSocketLike {
  binaryType: any;
  readonly readyState: number;
  readonly bufferedAmount: number;
  onopen: ((event: any) => any) | null;
  onmessage: ((event: any) => any) | null;
  onerror: ((event: any) => any) | null;
  onclose: ((event: any) => any) | null;
  send(data: string): void;
  close(code?: number, reason?: string): void;
}

export interface ReconnectOptions {
  /** The longest first wait, in ms: 250. */
  first?: number;
  /** By which waits grow: 2. */
  factor?: number;
  /** The longest wait of all, in ms: 10000. */
  most?: number;
  /** The share of a wait that is left to chance, 0 to 1: 1. */
  jitter?: number;
  /** In a row, without a connection that held: Infinity. */
  attempts?: number;
  /** Whether the server has told us not to return: after 1000, 1008 and 4000 to 4999. */
  stop?: (code: number, reason: string) => boolean;
}

export interface Options {
  /** The constructor; without it, the global one. Node.js has one from 22 on. */
  WebSocket?: new (url: string) => WebSocketLike;
  /** For the server's `auth`: the token, or what returns it at each attempt to connect. */
  token?: string | (() => string | Promise<string>);
  /** Milliseconds that a call waits for its answer: 10000. 0: for ever. */
  timeout?: number;
  /** What happens to calls made without a connection: "queue". */
  offline?: "queue" | "refuse";
  /** Messages that wait for a connection: 256. */
  queueLimit?: number;
  /** Calls that wait for their answer, and calls of the server in work: 1024. */
  pendingLimit?: number;
  /** Bytes of a message that is sent: 65536, the server's default. */
  maxMessage?: number;
  /** Bytes that the network has not yet taken: 1048576. */
  maxQueue?: number;
  /** Characters of a message that is received: 1048576. */
  maxReceived?: number;
  /** Milliseconds for a connection to open, and for a silent one to show life: 10000. */
  connectTimeout?: number;
  /** Milliseconds of silence after which the server is asked for life: 25000. 0: never. */
  heartbeat?: number;
  /** How to come back; false: not at all. */
  reconnect?: ReconnectOptions | false;
  /** Gets what goes wrong in listeners and in what the server sends: console.error. */
  onError?: (error: unknown) => void;
}

export interface NotifyOptions {
  offline?: "queue" | "refuse";
}

export interface CallOptions extends NotifyOptions {
  timeout?: number;
  signal?: AbortSignal;
}

/** What is known of a change of state. */
export interface StateDetail {
  /** WebSocket's, of the connection that was lost or closed. */
  code?: number;
  /** The other side's, or why there was no connection, as far as the WebSocket tells. */
  reason?: string;
  /** HTTP's, if it refused the connection and the WebSocket tells. */
  status?: number;
  /** "waiting": milliseconds. */
  delay?: number;
  /** "connecting", "waiting": failed attempts in a row. */
  attempt?: number;
  /** "open": whether the session goes on, and how many messages follow that were missed. */
  resumed?: boolean;
  missed?: number;
}

export interface Stats {
  pending: number;
  queued: number;
  serving: number;
  /** Messages of this session. */
  received: number;
  /** Responses that nobody waited for. */
  unknown: number;
  unreadable: number;
  sessions: number;
}

/** A map of a room's state: entities, objects of fields, by their key. */
export interface ReadonlyEntities<Entity = any, Key = any> extends Iterable<[Key, Entity]> {
  readonly size: number;
  get(key: Key): Entity | undefined;
  has(key: Key): boolean;
  keys(): IterableIterator<Key>;
  values(): IterableIterator<Entity>;
  entries(): IterableIterator<[Key, Entity]>;
  forEach(fn: (entity: Entity, key: Key, entities: this) => unknown): void;
}

export interface Entities<Entity = any, Key = any> extends ReadonlyEntities<Entity, Key> {
  /** Whether the member owns it: its private fields are sent then. */
  isMine(key: Key): boolean;
  /** For each that is there, and each that comes. "seen": it was there before. */
  onAdd(fn: (entity: Entity, key: Key, why: "new" | "seen") => unknown): () => void;
  /** "hidden": it is out of sight; it may still be there. */
  onRemove(fn: (entity: Entity, key: Key, why: "gone" | "hidden") => unknown): () => void;
  /** With the names of the fields that a patch has brought. */
  onChange(fn: (entity: Entity, key: Key, fields: (keyof Entity & string)[]) => unknown):
    () => void;
}

/** A state in which maps have no listeners. */
export type Viewed<S> = {
  readonly [K in keyof S]: S[K] extends Entities<infer E, infer Key> ? ReadonlyEntities<E, Key>
    : S[K];
};

export interface Clock {
  /** The server's seconds now; undefined while they are not known. */
  readonly now: number | undefined;
  /** Seconds to the server and back, at best. */
  readonly roundTrip: number | undefined;
}

/** A number is the period of a field that goes round, as 360 of degrees. */
export type Interpolate = Record<string, Record<string, true | number>>;

export interface JoinSettings extends CallOptions {
  /** In which form patches come: "binary". */
  form?: "binary" | "json";
  /** The fields, by map, that the view interpolates: all of float32, float64 and fixed. */
  interpolate?: Interpolate;
  /** Milliseconds that the view is behind; without it, as few as patches allow. */
  delay?: number;
}

export interface PredictSettings<Entity> {
  /** The room's function that gets inputs: "input". */
  method?: string;
  /** Fields in which a correction is shown little by little: those that are interpolated. */
  fields?: (keyof Entity & string)[];
  /** In how many milliseconds: 100. */
  smooth?: number;
}

/** A room as lists have it. */
export interface ListedRoom<M = any> {
  readonly id: string;
  /** Places that are taken. */
  readonly members: number;
  readonly maxMembers?: number;
  readonly metadata: M;
}

/** An own entity, as it will be when the server has taken all inputs. */
export interface Prediction<Entity = any, Input = any> {
  /** The entity, or undefined while it isn't there. */
  readonly state: Entity | undefined;
  /** Inputs that the server has not yet taken. */
  readonly pending: number;
  /** Sends an input, and applies it at once. Returns whether it was sent. */
  send(input: Input): boolean;
  stop(): void;
}

type EntityOf<M> = M extends Entities<infer E, any> ? E : any;
type KeyOf<M> = M extends Entities<any, infer K> ? K : any;

/**
 * A room that the client is in. `S` is its state:
 *
 *     game.join<{phase: string, players: Entities<{x: number, y: number}, number>}>("Arena")
 */
export interface Room<S = any> {
  /** Of its class. */
  readonly name: string;
  /** By which others join it, on any node. */
  readonly id: string;
  /** By which a private room is joined. */
  readonly code: string | undefined;
  /** The room's number in patches and calls. */
  readonly number: number;
  /** The member's id in the room. */
  readonly member: number;
  readonly state: Readonly<S>;
  /** The same a little while ago, between two patches. */
  readonly view: Viewed<S>;
  /** That the first patch has come. */
  readonly ready: Promise<Room<S>>;
  readonly isIn: boolean;
  readonly tickRate: number;
  readonly patchRate: number;
  /** The server's tick of the last patch. */
  readonly tick: number;
  /** The number of the last input that the server has taken. */
  readonly inputTaken: number;
  /** Milliseconds that the view is behind. */
  readonly delay: number;
  call<R = any>(method: string, ...params: unknown[]): Promise<R>;
  callWith<R = any>(options: CallOptions, method: string, ...params: unknown[]): Promise<R>;
  /** Calls as the next input, without an answer. Returns its number, if it was sent. */
  input(method: string, ...params: unknown[]): number | undefined;
  predict<K extends keyof S & string, Input = any>(map: K, key: KeyOf<S[K]>,
    apply: (entity: EntityOf<S[K]>, input: Input) => void,
    settings?: PredictSettings<EntityOf<S[K]>>): Prediction<EntityOf<S[K]>, Input>;
  /** Events, as long as the member is in the room. */
  on(name: string, fn: Fn): () => void;
  /** With the names of the state's own fields that a patch has brought. */
  onChange(fn: (state: Readonly<S>, fields: string[]) => unknown): () => void;
  onPatch(fn: (room: Room<S>) => unknown): () => void;
  /** The member is in the room no more, and has not left by itself. */
  onLeft(fn: (reason: string) => unknown): () => void;
  leave(): Promise<void>;
}

type Fn = (...args: any[]) => any;
type Functions<F> = {[K in keyof F]: Fn};

/** The server's functions as the client sees them: each returns a promise. */
export type Remote<F> = {
  readonly [K in keyof F]: F[K] extends (...args: infer A) => infer R
    ? (...args: A) => Promise<Awaited<R>> : never;
};

export interface Batch {
  call(method: string, params?: Params, options?: Omit<CallOptions, "offline">): Promise<any>;
  notify(method: string, params?: Params): void;
}

/**
 * `F` are the server's functions, `E` its events, as functions of what they carry:
 *
 *     connect<{join(name: string): number}, {onJoin(name: string): void}>(url)
 */
export class Client<F extends Functions<F> = Record<string, Fn>,
  E extends Functions<E> = Record<string, Fn>> {
  constructor(url?: string | URL | (() => string | URL | Promise<string | URL>), options?: Options);
  readonly url: string;
  readonly state: State;
  /** Whether the last connection that opened took up the session of the one before. */
  readonly resumed: boolean;
  readonly stats: Stats;
  readonly server: Remote<F>;

  call<R = any>(method: string, params?: Params, options?: CallOptions): Promise<R>;
  /** Returns whether it was sent or queued. */
  notify(method: string, params?: Params, options?: NotifyOptions): boolean;
  /** Sends several calls as one message. The promise is of all their results, in order. */
  batch<R extends any[] = any[]>(fill: (batch: Batch) => unknown, options?: NotifyOptions):
    Promise<R>;
  /** Joins a room of this class, or makes one. `options` are for its onCreate and onJoin. */
  join<S = any>(name: string, options?: unknown, settings?: JoinSettings): Promise<Room<S>>;
  /** Makes a room, and joins it. */
  create<S = any>(name: string, options?: unknown, settings?: JoinSettings): Promise<Room<S>>;
  /** By a room's id, or by a seat that the server has reserved. */
  joinById<S = any>(id: string, options?: unknown, settings?: JoinSettings): Promise<Room<S>>;
  /** By the code of a private room. */
  joinByCode<S = any>(code: string, options?: unknown, settings?: JoinSettings): Promise<Room<S>>;
  /** Rooms that may be joined, whose metadata have what the filter has. */
  rooms<M = any>(name: string, filter?: object, options?: CallOptions): Promise<ListedRoom<M>[]>;
  /** The server's, which runs while the client is in a room. */
  readonly clock: Clock;
  /** Milliseconds to the server and back. */
  /** Shows the server another token of the same user, before that of the connection ends. */
  authenticate(token?: string): Promise<void>;
  latency(options?: Omit<CallOptions, "offline">): Promise<number>;

  on(name: "*", fn: (name: string, ...args: any[]) => unknown): () => void;
  on<K extends keyof E & string>(name: K, fn: (...args: Parameters<E[K]>) => unknown): () => void;
  once(name: "*", fn: (name: string, ...args: any[]) => unknown): () => void;
  once<K extends keyof E & string>(name: K, fn: (...args: Parameters<E[K]>) => unknown):
    () => void;
  off(name: string, fn: Fn): void;
  onState(fn: (state: State, detail: StateDetail) => unknown): () => void;
  /** Called for each new session, and now if one is on: the place to log in. */
  onSession(fn: () => unknown): () => void;
  /** Lets the server call `fn`; without it, no more. */
  handle(name: string, fn?: Fn): void;
  close(code?: number, reason?: string): void;
}

/** Connects in the background, and keeps trying. */
export function client<F extends Functions<F> = Record<string, Fn>,
  E extends Functions<E> = Record<string, Fn>>(url?: string | URL | (() => string | URL | Promise<string | URL>), options?: Options):
  Client<F, E>;

/**
 * A promise of a client that is open; rejected when the first attempt fails. What the server sends
 * at once waits until the turn of the event loop ends that goes on behind `await`.
 */
export function connect<F extends Functions<F> = Record<string, Fn>,
  E extends Functions<E> = Record<string, Fn>>(url?: string | URL | (() => string | URL | Promise<string | URL>), options?: Options):
  Promise<Client<F, E>>;

declare const sync: {
  connect: typeof connect;
  client: typeof client;
  Client: typeof Client;
  RemoteError: typeof RemoteError;
};
export default sync;
