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
  constructor(url?: string | URL, options?: Options);
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
  /** Milliseconds to the server and back. */
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
  E extends Functions<E> = Record<string, Fn>>(url?: string | URL, options?: Options):
  Client<F, E>;

/**
 * A promise of a client that is open; rejected when the first attempt fails. What the server sends
 * at once waits until the turn of the event loop ends that goes on behind `await`.
 */
export function connect<F extends Functions<F> = Record<string, Fn>,
  E extends Functions<E> = Record<string, Fn>>(url?: string | URL, options?: Options):
  Promise<Client<F, E>>;

declare const sync: {
  connect: typeof connect;
  client: typeof client;
  Client: typeof Client;
  RemoteError: typeof RemoteError;
};
export default sync;
