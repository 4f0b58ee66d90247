// One WebSocket connection as a strict client: it makes the handshake, collects what the server
// says as `events`, and every breach of RFC 6455 that needs no context as `problems`.
// How the bytes are cut into TCP segments is up to the caller.
import crypto from "node:crypto";
import net from "node:net";
import tls from "node:tls";
import {isUtf8} from "node:buffer";
import {agree} from "./deflate.mjs";
import {Inflater} from "./inflate.mjs";
import {BINARY, CLOSE, CONTINUATION, FrameDecoder, PING, PONG, TEXT, pong} from "./frame.mjs";

const GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
const LONGEST_HEAD = 16 * 1024;
const SLOW_WHOLE = 65536 + 14; // a larger frame is not sent octet by octet throughout
const SLOW_EDGE = 64;
const STUCK = 60000; // a server that reads nothing for so long has stopped, in ms
const COMPRESSED = 4; // RSV1

/** Codes that may stand in a Close frame (RFC 6455 section 7.4 and the IANA registry). */
const mayBeSent = (code) =>
  (code >= 1000 && code <= 1003) ||
  (code >= 1007 && code <= 1014) ||
  (code >= 3000 && code <= 4999);

const pause = () => new Promise(setImmediate);

/** Opens a connection and makes the handshake. `offers` are permessage-deflate offers.
 * Throws an Error when the server's answer is not exactly right. */
export async function connect(url, {offers = [], slow = false, patience = 5000} = {}) {
  const {protocol, hostname, port, pathname, search, host} = new URL(url);
  const secure = protocol === "wss:";
  const options = {
    host: hostname.replace(/^\[|\]$/g, ""),
    port: Number(port) || (secure ? 443 : 80),
    allowHalfOpen: true,
    noDelay: true,
    rejectUnauthorized: false,
  };
  const socket = (secure ? tls : net).connect(options);
  const connection = new Connection(socket, {offers, slow, patience});
  try {
    await connection.handshake(host, pathname + search);
    return connection;
  } catch (error) {
    connection.destroy();
    throw error;
  }
}

class Connection {
  events = []; // {kind: "text" | "binary" | "pong", payload}, {kind: "close", code, reason}
  problems = [];
  dropped = null; // 'finished' by a FIN, 'reset', or 'lost' when the client gave up
  agreed = null; // what permessage-deflate was agreed on
  #head = Buffer.alloc(0);
  #open = false;
  #message = null;
  #pongs = []; // answers to the server's pings, which go out between two frames
  #sending = false;
  #waiters = new Set();
  #decoder = new FrameDecoder({head: (f) => this.#onHead(f), frame: (f) => this.#onFrame(f)});

  constructor(socket, {offers, slow, patience}) {
    Object.assign(this, {socket, offers, slow, patience});
    socket.on("data", (chunk) => this.#guard(() => this.#onData(chunk)));
    socket.on("end", () => this.#drop("finished"));
    socket.on("error", (error) =>
      this.#drop(error.code === "ECONNREFUSED" ? "refused" : "reset"),
    );
    socket.on("close", () => this.#drop("lost"));
    socket.on("drain", () => this.#look());
  }

  /** Waits until `test()` holds or the connection has ended. Returns whether it holds. */
  until(test, patience = this.patience) {
    return new Promise((resolve) => {
      const finish = () => {
        clearTimeout(timer);
        this.#waiters.delete(look);
        resolve(test());
      };
      const look = () => (test() || this.dropped) && finish();
      const timer = setTimeout(finish, patience);
      this.#waiters.add(look);
      look();
    });
  }

  get closeFrame() {
    return this.events.find((event) => event.kind === "close");
  }

  /** Sends frames (Buffers), with a wait where the list holds a number of milliseconds.
   * `chop` says how they are cut: not at all, 'frames', or into pieces of a number of octets. */
  async send(list, chop) {
    this.#sending = true;
    for (const part of this.#arrange(list, chop)) {
      if (this.dropped) break;
      if (typeof part === "number") await new Promise((r) => setTimeout(r, part));
      else await this.#deliver(part, chop);
      this.#sendPongs();
    }
    this.#sending = false;
    this.#sendPongs();
  }

  /** Uncut, the frames between two waits are one write. */
  #arrange(list, chop) {
    if (chop || this.slow) return list;
    const parts = [];
    for (const part of list) {
      if (typeof part === "number" || !Array.isArray(parts.at(-1)))
        parts.push(typeof part === "number" ? part : [part]);
      else parts.at(-1).push(part);
    }
    return parts.map((part) => (Array.isArray(part) ? Buffer.concat(part) : part));
  }

  async #deliver(bytes, chop) {
    if (this.slow && bytes.length > SLOW_WHOLE) return this.#deliverLarge(bytes);
    const size = this.slow ? 1 : typeof chop === "number" ? chop : bytes.length;
    for (let at = 0; at < bytes.length && !this.dropped; at += size)
      await this.#write(bytes.subarray(at, at + size));
  }

  /** Slowly, but not by single octets throughout: only where a frame begins and ends. */
  async #deliverLarge(bytes) {
    const end = bytes.length - SLOW_EDGE;
    const step = Math.ceil(bytes.length / 32);
    await this.#deliver(bytes.subarray(0, SLOW_EDGE));
    for (let at = SLOW_EDGE; at < end; at += step)
      await this.#write(bytes.subarray(at, Math.min(end, at + step)));
    await this.#deliver(bytes.subarray(end));
  }

  async #write(bytes) {
    if (!this.socket.write(bytes)) await this.until(() => !this.socket.writableNeedDrain, STUCK);
    await pause(); // the event loop turns, so that the next write is a segment of its own
  }

  #sendPongs() {
    for (const payload of this.#pongs.splice(0))
      if (!this.dropped) this.socket.write(pong(payload));
  }

  /** Ends the client's side; called when the case is over. */
  destroy() {
    this.socket.destroy();
  }

  async handshake(host, path) {
    const key = crypto.randomBytes(16).toString("base64");
    const extensions = this.offers.length
      ? [`Sec-WebSocket-Extensions: ${this.offers.join(", ")}`]
      : [];
    const lines = [
      `GET ${path} HTTP/1.1`,
      `Host: ${host}`,
      "Upgrade: websocket",
      "Connection: Upgrade",
      `Sec-WebSocket-Key: ${key}`,
      "Sec-WebSocket-Version: 13",
      ...extensions,
      "",
      "",
    ];
    await this.send([Buffer.from(lines.join("\r\n"))]);
    await this.until(() => this.#head.includes("\r\n\r\n") || this.#head.length > LONGEST_HEAD);
    const end = this.#head.indexOf("\r\n\r\n");
    if (end < 0) throw new Error(`no handshake answer (${this.dropped ?? "nothing more came"})`);
    const answer = checkAnswer(this.#head.toString("latin1", 0, end), key);
    this.agreed = agree(this.offers, answer.get("sec-websocket-extensions"));
    this.inflater = this.agreed && new Inflater(this.agreed.server);
    this.#open = true;
    this.#guard(() => this.#onData(this.#head.subarray(end + 4)));
  }

  #onData(chunk) {
    if (!this.#open) this.#head = Buffer.concat([this.#head, chunk]);
    else this.#decoder.push(chunk);
    if (this.closeFrame && !this.#decoder.idle) this.#note("octets after its Close frame");
    this.#look();
  }

  #onHead({fin, rsv, opcode, key, minimal, payload}) {
    if (this.closeFrame) this.#note("octets after its Close frame");
    const compressible = this.agreed && (opcode === TEXT || opcode === BINARY);
    if (key) this.#note("masked frame");
    if (rsv & ~(compressible ? COMPRESSED : 0))
      this.#note(`frame of opcode ${opcode} with RSV ${rsv}`);
    if (!minimal) this.#note(`length ${payload.length} not encoded in the fewest octets`);
    if (![CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG].includes(opcode))
      this.#note(`reserved opcode ${opcode}`);
    if (opcode >= CLOSE && (!fin || payload.length > 125))
      this.#note("control frame fragmented or too long");
  }

  #onFrame({fin, rsv, opcode, payload}) {
    if (opcode === CLOSE) this.#onClose(payload);
    else if (opcode === PONG) this.events.push({kind: "pong", payload});
    else if (opcode === PING) this.#onPing(payload);
    else this.#onFragment({fin, rsv, opcode, payload});
  }

  #onPing(payload) {
    this.#pongs.push(payload);
    if (!this.#sending) this.#sendPongs();
  }

  #onFragment({fin, rsv, opcode, payload}) {
    if ((opcode === CONTINUATION) !== Boolean(this.#message)) {
      this.#note(
        opcode === CONTINUATION ? "continuation of nothing" : "message begun inside another",
      );
    }
    this.#message ??= {opcode, compressed: Boolean(rsv & COMPRESSED), parts: []};
    this.#message.parts.push(payload);
    if (fin) this.#onMessage(this.#message);
  }

  #onMessage({opcode, compressed, parts}) {
    this.#message = null;
    let payload = parts.length === 1 ? parts[0] : Buffer.concat(parts);
    if (compressed && this.inflater) payload = this.inflater.message(payload);
    if (opcode === TEXT && !isUtf8(payload)) this.#note("text that is not valid UTF-8");
    this.events.push({kind: opcode === TEXT ? "text" : "binary", payload});
  }

  #onClose(payload) {
    const code = payload.length >= 2 ? payload.readUInt16BE(0) : undefined;
    if (payload.length === 1) this.#note("Close frame of one octet");
    if (code !== undefined && !mayBeSent(code)) this.#note(`Close frame with code ${code}`);
    if (!isUtf8(payload.subarray(2))) this.#note("Close reason that is not valid UTF-8");
    this.events.push({kind: "close", code, reason: payload.subarray(2)});
  }

  #note(problem) {
    if (!this.problems.includes(problem)) this.problems.push(problem);
  }

  /** What can't be decoded ends the case: nothing after it would make sense. */
  #guard(work) {
    try {
      work();
    } catch (error) {
      this.#note(error.message);
      this.#decoder.stopped = true;
      this.#drop("lost");
      this.socket.destroy();
    }
  }

  #drop(how) {
    this.dropped ??= how;
    if (how !== "finished") this.socket.destroy();
    this.#look();
  }

  #look() {
    for (const waiter of [...this.#waiters]) waiter();
  }
}

/** The headers of a correct 101 answer to `key` (RFC 6455 section 4.2.2). */
function checkAnswer(head, key) {
  const [status, ...lines] = head.split("\r\n");
  if (!/^HTTP\/1\.1 101( |$)/.test(status)) throw new Error(`handshake answered "${status}"`);
  const headers = new Map();
  for (const line of lines) addHeader(headers, line);
  const accept = crypto
    .createHash("sha1")
    .update(key + GUID)
    .digest("base64");
  const wrong = [];
  if (headers.get("upgrade")?.toLowerCase() !== "websocket") wrong.push("Upgrade");
  if (!/(^|,)\s*upgrade\s*(,|$)/i.test(headers.get("connection") ?? ""))
    wrong.push("Connection");
  if (headers.get("sec-websocket-accept") !== accept) wrong.push("Sec-WebSocket-Accept");
  for (const name of ["sec-websocket-protocol", "content-length", "transfer-encoding"]) {
    if (headers.has(name)) wrong.push(`${name}, which must not be there`);
  }
  if (wrong.length) throw new Error(`handshake answer with wrong ${wrong.join(", ")}`);
  return headers;
}

function addHeader(headers, line) {
  const match = /^([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*(.*?)[ \t]*$/.exec(line);
  if (!match)
    throw new Error(`malformed header in the handshake answer: ${JSON.stringify(line)}`);
  const name = match[1].toLowerCase();
  if (
    headers.has(name) &&
    name.startsWith("sec-websocket-") &&
    name !== "sec-websocket-extensions"
  ) {
    throw new Error(`header ${name} twice in the handshake answer`);
  }
  headers.set(name, headers.has(name) ? `${headers.get(name)}, ${match[2]}` : match[2]);
}
