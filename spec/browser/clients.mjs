// The kinds of clients that meet in the room. To the checks they are alike: each has a
// name, `send(text)`, `close()`, and a list of events ({type, text}) which `take` waits for.
// The types: connect, data (a message), close (with WebSocket's code), error, and wrong,
// which is what this kind of client must never be sent.

import net from "node:net";
import {createRequire} from "node:module";
import {inTime} from "../support/checks.mjs";

const require = createRequire(new URL("../../build/node/package.json", import.meta.url));

// A package that install.sh has put into build/node.
export function installed(name) {
  try {
    return require(name);
  } catch (error) {
    console.error(`${name} is missing (${error.code}); run sh spec/browser/install.sh`);
    process.exit(2);
  }
}

const WebSocket = installed("ws");

const NUL = Buffer.from([0]);

const utf8 = new TextDecoder("utf-8", {fatal: true, ignoreBOM: true});

function decode(bytes) {
  try {
    return utf8.decode(bytes);
  } catch {
    return `no UTF-8: ${Buffer.from(bytes).toString("latin1")}`;
  }
}

class Client {
  taken = {}; // events by type that `take` has returned

  constructor(name) {
    this.name = name;
  }

  // The texts of the next `count` events of a type; fewer when they don't come in time.
  async take(type, count = 1, ms) {
    const from = this.taken[type] ?? 0;
    await inTime(async () => await this.count(type) >= from + count, ms);
    const texts = await this.texts(type, from, from + count);
    this.taken[type] = from + texts.length;
    return texts;
  }

  // The texts of all events of a type that nobody has taken.
  async rest(type) {
    return this.take(type, Math.max(0, await this.count(type) - (this.taken[type] ?? 0)), 0);
  }
}

// A page that keeps its events in a list `events`.
export class PageClient extends Client {
  // `calls` are expressions for the page: {connect, send, close}.
  constructor(name, page, calls) {
    super(name);
    this.page = page;
    this.calls = calls;
  }

  connect() { return this.page.evaluate(`${this.calls.connect}()`); }
  send(text) { return this.page.evaluate(`${this.calls.send}(${JSON.stringify(text)})`); }
  close() { return this.page.evaluate(`${this.calls.close}()`); }

  count(type) {
    return this.page.evaluate(`events.filter(e => e.type === "${type}").length`);
  }

  texts(type, from, to) {
    return this.page.evaluate(
      `events.filter(e => e.type === "${type}").slice(${from}, ${to}).map(e => e.text)`);
  }
}

class LocalClient extends Client {
  events = [];

  happened(type, text = "") {
    this.events.push({type, text});
  }

  count(type) {
    return this.events.filter(event => event.type === type).length;
  }

  texts(type, from, to) {
    return this.events.filter(event => event.type === type).slice(from, to)
      .map(event => event.text);
  }
}

// Cuts a stream of bytes at its NULs.
class Cutter {
  rest = Buffer.alloc(0);

  *cut(bytes) {
    this.rest = Buffer.concat([this.rest, bytes]);
    for (let end; (end = this.rest.indexOf(0)) >= 0;) {
      yield decode(this.rest.subarray(0, end));
      this.rest = this.rest.subarray(end + 1);
    }
  }
}

// A program on plain TCP, as an old Flash player is.
export class TcpClient extends LocalClient {
  cutter = new Cutter();

  connect(port) {
    this.socket = net.connect(port, "127.0.0.1", () => this.happened("connect"));
    this.socket.setNoDelay(true);
    this.socket.on("data", bytes => {
      for (const text of this.cutter.cut(bytes)) this.happened("data", text);
    });
    this.socket.on("error", error => this.happened("error", error.message));
    this.socket.on("close", () => this.happened("close"));
  }

  write(bytes) {
    return new Promise(resolve => this.socket.write(bytes, resolve));
  }

  send(text) { return this.write(Buffer.concat([Buffer.from(text), NUL])); }
  close() { this.socket.end(); }
}

// A program on WebSocket. Its kind says how it sends, and what it must be sent:
//   text     a text frame is a message
//   stream   (with ?stream) binary frames carry the byte stream, from the greeting on
//   mirror   the same without ?stream: it is sent text until it has sent binary
//   message  (subprotocol sync.message) the same, but a binary frame is a message
export class WsClient extends LocalClient {
  cutter = new Cutter();
  hasSent = false;

  constructor(name, kind, {deflate = false, origin} = {}) {
    super(name);
    Object.assign(this, {kind, deflate, origin});
  }

  connect(port) {
    const path = this.kind === "stream" ? "?stream" : "";
    const protocols = this.kind === "message" ? ["sync.message"] : [];
    const deflate = this.deflate && {threshold: 0};
    this.socket = new WebSocket(`ws://127.0.0.1:${port}/${path}`, protocols,
      {perMessageDeflate: deflate, origin: this.origin, maxPayload: 1 << 20});
    this.socket.on("open", () => this.happened("connect", this.socket.extensions));
    this.socket.on("message", (bytes, isBinary) => this.onFrame(bytes, isBinary));
    this.socket.on("error", error => this.happened("error", error.message));
    this.socket.on("close", code => this.happened("close", String(code)));
    this.socket.on("upgrade", response => {
      this.tcp = response.socket;
    });
  }

  onFrame(bytes, isBinary) {
    const wantsText = this.kind === "text" || this.kind !== "stream" && !this.hasSent;
    if (isBinary === wantsText) {
      this.happened("wrong", `${isBinary ? "binary" : "text"} frame of ${bytes.length} bytes`);
    } else if (wantsText || this.kind === "message") {
      this.happened("data", decode(bytes));
    } else {
      for (const text of this.cutter.cut(bytes)) this.happened("data", text);
      if (this.cutter.rest.length) this.happened("unfinished", decode(this.cutter.rest));
    }
  }

  // One frame; with `fin: false` the frames that follow go on with its message.
  frame(bytes, {binary = true, fin = true} = {}) {
    this.hasSent = true;
    return new Promise(resolve =>
      this.socket.send(bytes, {binary, fin, compress: this.deflate}, resolve));
  }

  send(text) {
    if (this.kind === "text") return this.frame(text, {binary: false});
    return this.frame(Buffer.from(this.kind === "message" ? text : text + "\0"));
  }

  close() { this.socket.close(1000); }
  get bytesRead() { return this.tcp.bytesRead; }
}
