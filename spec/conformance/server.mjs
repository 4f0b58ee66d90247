// A small WebSocket echo server for faults.mjs. Without faults it does everything right, so all
// cases must pass; each fault breaks it in one way, so that certain cases must fail.
// It shares frame.mjs with the client, but decompresses with zlib.
import crypto from "node:crypto";
import net from "node:net";
import zlib from "node:zlib";
import {
  BINARY,
  CLOSE,
  CONTINUATION,
  FrameDecoder,
  PING,
  PONG,
  TEXT,
  closePayload,
  frame,
} from "./frame.mjs";

const GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
const TAIL = Buffer.from([0, 0, 0xff, 0xff]);
const FLUSH = {finishFlush: zlib.constants.Z_SYNC_FLUSH};
const RSV1 = 4;

const mayBeSent = (code) =>
  (code >= 1000 && code < 1012 && ![1004, 1005, 1006].includes(code)) ||
  (code >= 3000 && code < 5000);

class Failure extends Error {
  constructor(code) {
    super(`failed with ${code}`);
    this.code = code;
  }
}

/** Listens on a free port of 127.0.0.1. `faults` is an object of fault names set to true. */
export async function serve(faults = {}) {
  const sockets = new Set();
  const server = net.createServer({allowHalfOpen: true, noDelay: true}, (socket) => {
    sockets.add(socket);
    socket.on("error", () => {}).on("close", () => sockets.delete(socket));
    new Peer(socket, faults);
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  const stop = () => {
    for (const socket of sockets) socket.destroy();
    return new Promise((resolve) => server.close(resolve));
  };
  return {url: `ws://127.0.0.1:${server.address().port}/`, stop};
}

/** The parameters to accept for the first offer, as the text of the answer and as numbers. */
function negotiate(header, faults) {
  if (!header) return null;
  const asked = new Map(
    header
      .split(",")[0]
      .split(";")
      .slice(1)
      .map((p) => [...p.trim().split("="), ""].slice(0, 2)),
  );
  const bits = Number(asked.get("server_max_window_bits") || 15);
  const alone = asked.has("server_no_context_takeover");
  const answer = ["permessage-deflate"];
  if (alone && !faults.forgetsTakeover) answer.push("server_no_context_takeover");
  if (asked.has("server_max_window_bits") && !faults.forgetsWindow)
    answer.push(`server_max_window_bits=${bits}`);
  if (faults.wrongWindow) answer.push("client_max_window_bits=16");
  if (faults.bareWindow) answer.push("client_max_window_bits");
  if (faults.clientAlone) answer.push("client_no_context_takeover", "client_max_window_bits=10");
  return {
    answer: answer.join("; "),
    takeover: !alone || Boolean(faults.keepsContext),
    windowBits: faults.largeWindow ? 15 : bits,
    clientTakeover: !faults.clientAlone && !faults.dropsClientContext,
  };
}

class Peer {
  head = "";
  message = null; // the data message that is being received
  sent = Buffer.alloc(0); // the compression context of each direction
  received = Buffer.alloc(0);
  done = false;

  constructor(socket, faults) {
    Object.assign(this, {socket, faults});
    this.decoder = this.newDecoder();
    socket.on("data", (chunk) => this.onData(chunk)).on("end", () => socket.end());
  }

  newDecoder() {
    return new FrameDecoder({
      head: (f) => this.onHead(f),
      piece: (f, bytes) => this.onPiece(f, bytes),
      frame: (f) => this.onFrame(f),
    });
  }

  onData(chunk) {
    if (this.done) return;
    if (this.head !== null) return this.handshake(chunk);
    if (this.faults.wholeSegments) this.decoder = this.newDecoder();
    try {
      this.decoder.push(chunk);
    } catch (error) {
      this.close(error instanceof Failure ? error.code : 1011);
    }
  }

  handshake(chunk) {
    this.head += chunk.toString("latin1");
    const end = this.head.indexOf("\r\n\r\n");
    if (end < 0) return;
    const header = (name) => new RegExp(`^${name}: *(.*)$`, "im").exec(this.head)?.[1].trim();
    const key = header("sec-websocket-key") + (this.faults.wrongAccept ? " " : "") + GUID;
    this.deflate = negotiate(header("sec-websocket-extensions"), this.faults);
    const lines = [
      this.faults.wrongStatus ? "HTTP/1.1 200 OK" : "HTTP/1.1 101 Switching Protocols",
      "Upgrade: websocket",
      this.faults.noConnection ? "Connection: keep-alive" : "Connection: Upgrade",
      `Sec-WebSocket-Accept: ${crypto.createHash("sha1").update(key).digest("base64")}`,
    ];
    if (this.deflate) lines.push(`Sec-WebSocket-Extensions: ${this.deflate.answer}`);
    else if (this.faults.unaskedExtension)
      lines.push("Sec-WebSocket-Extensions: permessage-deflate");
    this.socket.write(`${lines.join("\r\n")}\r\n\r\n`);
    const rest = Buffer.from(this.head.slice(end + 4), "latin1");
    this.head = null;
    if (rest.length) this.onData(rest);
  }

  onHead({fin, rsv, opcode, payload}) {
    const {faults} = this;
    const check = (right, fault) => {
      if (!right && !faults[fault]) throw new Failure(1002);
    };
    const data = opcode === TEXT || opcode === BINARY;
    check(rsv === 0 || (this.deflate && data && rsv === RSV1), "acceptsRsv");
    check(opcode <= BINARY || (opcode >= CLOSE && opcode <= PONG), "acceptsOpcodes");
    if (opcode >= CLOSE) check(fin, "acceptsControlFragments");
    if (opcode >= CLOSE) check(payload.length <= 125, "acceptsLongControl");
    if (opcode === CONTINUATION) check(this.message, "acceptsStrayFragments");
    if (data) check(!this.message, "acceptsStrayFragments");
    if (data || (opcode === CONTINUATION && !this.message)) {
      this.message = {
        opcode: opcode || TEXT,
        compressed: rsv === RSV1,
        parts: [],
        utf8: new TextDecoder("utf-8", {fatal: true, ignoreBOM: true}),
      };
    }
  }

  onPiece({opcode}, bytes) {
    const {message, faults} = this;
    if (
      opcode > BINARY ||
      message?.opcode !== TEXT ||
      message.compressed ||
      faults.noUtf8 ||
      faults.lateUtf8
    )
      return;
    this.checkUtf8(message.utf8, bytes, true);
  }

  checkUtf8(decoder, bytes, stream) {
    try {
      decoder.decode(bytes, {stream});
    } catch {
      throw new Failure(1007);
    }
  }

  onFrame({fin, opcode, payload}) {
    if (opcode === CLOSE) return this.onClose(payload);
    if (opcode === PING) return this.onPing(payload);
    if (opcode > BINARY) return;
    this.message.parts.push(Buffer.from(payload));
    if (fin) this.onMessage(this.message);
  }

  onPing(payload) {
    const {faults} = this;
    if (faults.ignoresPings) return;
    if (faults.oldPings) payload = this.lastPing ?? payload;
    this.lastPing = Buffer.from(payload);
    this.send(PONG, payload);
  }

  onMessage({opcode, compressed, parts, utf8}) {
    this.message = null;
    let payload = Buffer.concat(parts);
    if (compressed && this.deflate) payload = this.inflate(payload);
    if (opcode === TEXT && !this.faults.noUtf8) {
      this.checkUtf8(
        compressed || this.faults.lateUtf8 ? new TextDecoder("utf-8", {fatal: true}) : utf8,
        compressed || this.faults.lateUtf8 ? payload : Buffer.alloc(0),
        false,
      );
    }
    this.echo(opcode, payload);
  }

  echo(opcode, payload) {
    const {faults} = this;
    if (faults.truncates) payload = payload.subarray(0, 65535);
    if (faults.damages && payload.length > 100) payload[100] ^= 1;
    if (faults.textOnly) opcode = TEXT;
    if (this.deflate && payload.length) this.send(opcode, this.compress(payload), RSV1);
    else this.send(opcode, payload);
    if (faults.twice) this.send(opcode, payload);
  }

  inflate(payload) {
    const context = this.received.length ? {dictionary: this.received} : {};
    const message = zlib.inflateRawSync(Buffer.concat([payload, TAIL]), {...FLUSH, ...context});
    if (this.deflate.clientTakeover)
      this.received = Buffer.concat([this.received, message]).subarray(-32768);
    return message;
  }

  compress(message) {
    const {takeover, windowBits} = this.deflate;
    const context = this.sent.length ? {dictionary: this.sent} : {};
    const packed = zlib.deflateRawSync(message, {...FLUSH, ...context, windowBits});
    if (takeover) this.sent = Buffer.concat([this.sent, message]).subarray(-32768);
    return this.faults.keepsTail ? packed : packed.subarray(0, -4);
  }

  onClose(payload) {
    const {faults} = this;
    if (payload.length === 1) throw new Failure(1002);
    const code = payload.length ? payload.readUInt16BE(0) : undefined;
    if (code !== undefined && !mayBeSent(code) && !faults.acceptsCodes) throw new Failure(1002);
    if (!faults.noUtf8)
      this.checkUtf8(new TextDecoder("utf-8", {fatal: true}), payload.subarray(2), false);
    this.close(faults.says1005 ? (code ?? 1005) : faults.noCode ? undefined : code);
  }

  close(code) {
    const {socket, faults} = this;
    if (faults.goesOn) return void this.send(CLOSE, closePayload(code));
    this.decoder.stopped = true;
    this.done = true;
    if (!faults.noCloseFrame) this.send(CLOSE, closePayload(code));
    if (faults.talksOn) this.send(TEXT, "goodbye");
    if (faults.staysOpen) return;
    if (faults.resets) setTimeout(() => socket.resetAndDestroy(), 20);
    else socket.end();
  }

  send(opcode, payload, rsv = this.faults.setsRsv ? 1 : 0) {
    this.socket.write(
      frame(opcode, payload, {
        rsv,
        key: this.faults.masks ? Buffer.from("mask") : null,
        lengthOctets: this.faults.longLengths ? 8 : undefined,
      }),
    );
  }
}
