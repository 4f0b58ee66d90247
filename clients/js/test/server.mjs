// A stand-in for a remoting server, on the package `ws`: it speaks the wire of docs/remoting.md,
// keeps sessions with a ring of what was sent, and can be told to misbehave.

import {createHash} from "node:crypto";
import {once} from "node:events";
import http from "node:http";
import {createRequire} from "node:module";

const require = createRequire(new URL("../../../build/node/package.json", import.meta.url));

// A package of build/node, where spec/browser/install.sh puts them.
export function installed(name) {
  try {
    return require(name);
  } catch (error) {
    console.error(`${name} is missing (${error.code}); run sh spec/browser/install.sh`);
    process.exit(2);
  }
}

export const WebSocket = installed("ws");

const RING = 1000; // messages that a session keeps

class Fault extends Error {
  constructor(code, message, data) {
    super(message);
    Object.assign(this, {code, data});
  }
}

export const sleep = ms => new Promise(resolve => setTimeout(resolve, ms));

// The functions that the tests call, at a real server, too: `self` is the caller's session.
const functions = {
  echo: (self, value) => value,
  add: (self, a, b) => typeof a === "object" ? a.a + a.b : a + b,
  fail: (self, code, message, data) => { throw new Fault(code, message, data); },
  crash: () => { throw new Error("this text stays in the log"); },
  fire: (self, name, ...args) => { self.send({method: name, params: args}); return true; },
  ask: (self, name, ...args) => self.ask(name, args),
  later: (self, ms, value) => new Promise(done => setTimeout(done, ms, value).unref()),
  drop: self => { self.socket.terminate(); return true; },

  "sync.joinById": (self, {id, form}) => {
    if (id !== self.server.joined.back) throw new Fault(-32002, "there is no such room");
    self.joins.push([id, form]);
    return {...self.server.joined, room: 100 + self.joins.length};
  },
  "sync.join": (self, {room, options, form}) => {
    if (room === "Full") throw new Fault(-32002, "the room is full");
    self.joins.push([room, options, form]);
    return {...self.server.joined, room: self.joins.length};
  },
  "sync.leave": () => true,
  "sync.call": (self, {method, params}) => [method, ...params],
  "sync.snapshot": () => true,
  "sync.time": () => performance.now() / 1000 + 5000,
};

class Session {
  count = 0;  // messages sent
  ring = [];  // the last of them
  calls = []; // names of the functions that were called, with their arguments
  joins = []; // rooms that were joined
  asked = new Map();
  lastId = 0;

  constructor(server, socket) {
    Object.assign(this, {server, socket, token: `token-${++server.tokens}`});
    server.sessions.set(this.token, this);
  }

  // A message that counts; it is kept while the client is away.
  send(message) {
    this.sendText(JSON.stringify({jsonrpc: "2.0", ...message}));
  }

  sendText(text) {
    this.count++;
    this.ring.push(text);
    if (this.ring.length > RING) this.ring.shift();
    this.write(text);
  }

  write(text) {
    const chance = this.server.cutsBefore(text);
    if (chance === "before") this.socket?.terminate();
    if (this.socket?.readyState === 1) this.socket.send(text);
    if (chance === "after") this.socket?.terminate();
  }

  // A patch, which doesn't count: bytes, or an object for JSON.
  patch(patch) {
    if (this.socket?.readyState !== 1) return;
    if (patch instanceof Uint8Array) this.socket.send(patch);
    else this.socket.send(JSON.stringify({jsonrpc: "2.0", method: "sync.patch", params: [patch]}));
  }

  ask(method, params) {
    const id = ++this.lastId;
    this.send({id, method, params});
    return new Promise((resolve, reject) => this.asked.set(id, {resolve, reject}));
  }

  // Takes the place of a new session, whose client this is.
  resume(other, count) {
    const missed = this.count - count;
    if (missed < 0 || missed > this.ring.length) return false;
    this.server.sessions.delete(other.token);
    const {socket} = other;
    if (this.socket !== socket) this.socket?.terminate();
    this.socket = socket;
    socket.session = this;
    const callsLost = this.server.isRebuilt || undefined;
    const result = {resumed: true, missed, callsLost};
    this.write(JSON.stringify({jsonrpc: "2.0", id: "resume", result}));
    for (const text of missed ? this.ring.slice(-missed) : []) this.write(text);
    if (callsLost && socket.readyState === 1) this.beginAnew();
    return true;
  }

  beginAnew() {
    this.server.sessions.delete(this.token);
    this.token = `token-${++this.server.tokens}`;
    this.server.sessions.set(this.token, this);
    this.count = 0;
    this.ring = [];
    this.server.greet(this.socket);
  }
}

export class StandIn {
  sessions = new Map(); // by token
  tokens = 0;
  handshakes = 0;
  received = []; // every text
  trouble = [];

  // Misbehaviour
  refuse;                     // an HTTP status for handshakes
  accepts;                    // (token) => whether sync.auth lets in; no other call comes first
  isSilent = false;           // takes messages and answers none
  reverses = false;           // answers a batch of calls in reverse, each by itself
  repeats = false;            // answers twice
  isRebuilt = false;          // resumes as one that knows no calls in work: it has a journal alone
  cutsBefore = () => undefined; // (text) => "before" or "after": the connection breaks there
  cutsAt = () => undefined;   // the same, at what is received
  afterAnswer = () => {};     // (session, message) => sends something behind the answer
  beforeResume = () => {};    // (session) => sends something before the answer to sync.resume

  static async start(options = {}) {
    const server = new StandIn();
    Object.assign(server, {resumeTime: 0, ...options});
    await server.listen(options.port ?? 0);
    return server;
  }

  async listen(port) {
    const verifyClient = (info, done) => {
      this.handshakes++;
      if (this.refuse) done(false, this.refuse, "refused");
      else done(true);
    };
    this.wss = new WebSocket.Server({port, host: "127.0.0.1", verifyClient});
    this.wss.on("connection", socket => this.welcome(socket));
    await once(this.wss, "listening");
    this.port = this.wss.address().port;
    this.url = `ws://127.0.0.1:${this.port}/`;
  }

  welcome(socket) {
    if (!this.accepts) {
      this.letIn(socket);
      return;
    }
    socket.once("message", data => {
      const {id, method, params: [token]} = JSON.parse(String(data));
      const isRight = method === "sync.auth" && this.accepts(token);
      const outcome = isRight ? {result: true} : {error: {code: -32003, message: "refused"}};
      socket.send(JSON.stringify({jsonrpc: "2.0", id, ...outcome}));
      if (isRight) this.letIn(socket);
      else socket.close(4401, "refused");
    });
  }

  letIn(socket) {
    socket.session = new Session(this, socket);
    socket.on("error", () => {});
    if (this.resumeTime) {
      this.greet(socket);
      if (this.cutsBefore("greeting")) socket.terminate();
    }
    this.onSession?.(socket.session);
    socket.on("message", data => this.take(socket, String(data)));
    socket.on("close", code => {
      this.closeCode = code;
      if (socket.session.socket === socket) socket.session.socket = undefined;
      if (!this.resumeTime) this.sessions.delete(socket.session.token);
    });
  }

  greet(socket) {
    const params = [{token: socket.session.token, time: this.resumeTime}];
    socket.send(JSON.stringify({jsonrpc: "2.0", method: "sync.session", params}));
  }

  take(socket, text) {
    const chance = this.cutsAt(text);
    if (chance === "before") {
      socket.terminate();
      return;
    }
    this.received.push(text);
    if (!this.isSilent) this.handle(socket, JSON.parse(text));
    if (chance === "after") socket.terminate();
  }

  async handle(socket, message) {
    const {session} = socket;
    if (Array.isArray(message)) {
      const answers = await Promise.all(message.map(one => this.answer(session, one)));
      const texts = answers.filter(Boolean);
      if (this.reverses) for (const text of texts.reverse()) session.sendText(text);
      else if (texts.length) session.sendText(`[${texts.join(",")}]`);
    } else if (message.method === "sync.resume") {
      this.beforeResume(session);
      const [token, count] = message.params;
      const old = this.sessions.get(token);
      if (old?.resume(session, count)) return;
      session.write(JSON.stringify({jsonrpc: "2.0", id: "resume", result: {resumed: false}}));
    } else if (message.method === undefined) {
      const {resolve, reject} = session.asked.get(message.id) ?? {};
      session.asked.delete(message.id);
      if (!resolve) this.trouble.push(`nobody asked ${message.id}`);
      else if ("result" in message) resolve(message.result);
      else reject(new Fault(message.error.code, message.error.message, message.error.data));
    } else {
      const text = await this.answer(session, message);
      if (text) session.sendText(text);
      this.afterAnswer(session, message);
      if (text && this.repeats) session.sendText(text);
    }
  }

  // Calls the function of a request. Returns the response as a text, if one is wanted.
  async answer(session, {id, method, params = []}) {
    const args = Array.isArray(params) ? params : [params];
    let answer;
    session.calls.push([method, ...args]);
    try {
      if (method === "sync.ping") answer = {result: true};
      else if (!Object.hasOwn(functions, method)) throw new Fault(-32601, "no such function");
      else answer = {result: await functions[method](session, ...args) ?? null};
    } catch (error) {
      const {code = -32603, message, data} = error;
      const hides = !(error instanceof Fault);
      answer = {error: hides ? {code, message: "error in the function"} : {code, message, data}};
    }
    return id === undefined ? undefined : JSON.stringify({jsonrpc: "2.0", id, ...answer});
  }

  get session() { return [...this.sessions.values()].at(-1); }

  // Breaks all connections; the sessions stay.
  cut() {
    for (const socket of this.wss.clients) socket.terminate();
  }

  async stop() {
    this.cut();
    await new Promise(resolve => this.wss.close(resolve));
  }
}

const GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

function frame(opcode, payload) {
  if (payload.length > 125) throw new Error("this is for short messages");
  return Buffer.concat([Buffer.from([0x80 | opcode, payload.length]), payload]);
}

// A server that sends messages together with the end of the handshake, in one write, and the close
// code behind them if one is given. Returns its URL and the texts that it gets.
export async function hasty(t, messages, code) {
  const received = [];
  const server = http.createServer();
  server.on("upgrade", (request, socket) => {
    const key = request.headers["sec-websocket-key"];
    const accept = createHash("sha1").update(key + GUID).digest("base64");
    const head = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n" +
      `Connection: Upgrade\r\nSec-WebSocket-Accept: ${accept}\r\n\r\n`;
    const frames = messages.map(message =>
      frame(1, Buffer.from(JSON.stringify({jsonrpc: "2.0", ...message}))));
    if (code) frames.push(frame(8, Buffer.from([code >> 8, code & 255])));
    socket.write(Buffer.concat([Buffer.from(head), ...frames]));
    socket.on("error", () => {});
    socket.on("data", data => { // short masked frames
      for (let at = 0; at < data.length;) {
        const length = data[at + 1] & 127;
        const mask = data.subarray(at + 2, at + 6);
        const payload = data.subarray(at + 6, at + 6 + length).map((byte, i) => byte ^ mask[i % 4]);
        if ((data[at] & 15) === 1) received.push(JSON.parse(String(payload)));
        if ((data[at] & 15) === 8) socket.end();
        at += 6 + length;
      }
    });
    t.after(() => socket.destroy());
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  t.after(() => server.close());
  return {url: `ws://127.0.0.1:${server.address().port}/`, received};
}
