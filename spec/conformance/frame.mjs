// WebSocket frames (RFC 6455 section 5.2), both ways: `frame` writes one, `FrameDecoder` cuts
// a byte stream into them. Syntax only: what a frame may mean is decided by who uses it.

export const CONTINUATION = 0,
  TEXT = 1,
  BINARY = 2,
  CLOSE = 8,
  PING = 9,
  PONG = 10;

const LARGEST_FRAME = 64 * 1024 * 1024; // a server that announces more is not an echo server

function mask(bytes, key, phase = 0) {
  for (let i = 0; i < bytes.length; i++) bytes[i] ^= key[(i + phase) & 3];
}

function randomKey() {
  const key = Buffer.alloc(4);
  key.writeUInt32BE(Math.floor(Math.random() * 2 ** 32));
  return key;
}

function lengthField(length, octets) {
  const field = Buffer.alloc(octets);
  if (octets === 2) field.writeUInt16BE(length);
  if (octets === 8) field.writeBigUInt64BE(BigInt(length));
  return field;
}

/** The bytes of one frame. `key` is the masking key, null for none; `lengthOctets` is the size
 * of the extended length, which is as small as it can be unless a fault wants it larger. */
export function frame(
  opcode,
  payload = "",
  {fin = true, rsv = 0, key = randomKey(), lengthOctets} = {},
) {
  const body = Buffer.from(payload); // a copy: masking happens in place
  const octets = lengthOctets ?? (body.length < 126 ? 0 : body.length < 65536 ? 2 : 8);
  const short = octets === 0 ? body.length : octets === 2 ? 126 : 127;
  const first = Buffer.from([(fin ? 0x80 : 0) | (rsv << 4) | opcode, (key ? 0x80 : 0) | short]);
  if (key) mask(body, key);
  return Buffer.concat([first, lengthField(body.length, octets), key ?? Buffer.alloc(0), body]);
}

export const text = (payload, options) => frame(TEXT, payload, options);
export const binary = (payload, options) => frame(BINARY, payload, options);
export const continuation = (payload, options) => frame(CONTINUATION, payload, options);
export const ping = (payload, options) => frame(PING, payload, options);
export const pong = (payload, options) => frame(PONG, payload, options);
export const close = (code, reason, options) =>
  frame(CLOSE, closePayload(code, reason), options);

/** A Close frame's payload; empty when there is no code. */
export function closePayload(code, reason = "") {
  if (code === undefined) return Buffer.alloc(0);
  return Buffer.concat([Buffer.from([code >> 8, code & 0xff]), Buffer.from(reason)]);
}

/** The frames of a message in fragments of `size` octets; `rsv` is set on the first only. */
export function fragments(opcode, payload, size, rsv = 0) {
  const body = Buffer.from(payload);
  const frames = [];
  for (let at = 0; at === 0 || at < body.length; at += size) {
    const fin = at + size >= body.length;
    frames.push(
      frame(at === 0 ? opcode : CONTINUATION, body.subarray(at, at + size), {
        fin,
        rsv: at === 0 ? rsv : 0,
      }),
    );
  }
  return frames;
}

/** Cuts a byte stream into frames. Calls `head(frame)` when a header is complete,
 * `piece(frame, bytes)` for each run of unmasked payload, `frame(frame)` at its end. */
export class FrameDecoder {
  constructor(listener) {
    this.listener = listener;
    this.header = Buffer.alloc(14);
    this.have = 0;
    this.current = null;
    this.stopped = false; // set by a listener that wants no more
  }

  /** Whether the stream stands between two frames. */
  get idle() {
    return !this.current && this.have === 0;
  }

  push(chunk) {
    for (let at = 0; at < chunk.length && !this.stopped;) {
      at = this.current ? this.#payload(chunk, at) : this.#header(chunk, at);
    }
  }

  #headerLength() {
    const short = this.header[1] & 0x7f;
    return 2 + (short === 126 ? 2 : short === 127 ? 8 : 0) + (this.header[1] & 0x80 ? 4 : 0);
  }

  #header(chunk, at) {
    this.header[this.have++] = chunk[at];
    if (this.have >= 2 && this.have === this.#headerLength()) this.#start();
    return at + 1;
  }

  #start() {
    const [first, second] = this.header;
    const short = second & 0x7f;
    const length =
      short === 126
        ? this.header.readUInt16BE(2)
        : short === 127
          ? Number(this.header.readBigUInt64BE(2))
          : short;
    if (length > LARGEST_FRAME) throw new Error(`frame that announces ${length} octets`);
    const least = short === 126 ? 126 : short === 127 ? 65536 : 0;
    this.current = {
      fin: first >> 7 === 1,
      rsv: (first >> 4) & 7,
      opcode: first & 15,
      key: second & 0x80 ? Buffer.from(this.header.subarray(this.have - 4, this.have)) : null,
      minimal: length >= least,
      payload: Buffer.allocUnsafe(length),
      filled: 0,
    };
    this.have = 0;
    this.listener.head?.(this.current);
    if (length === 0 && !this.stopped) this.#finish();
  }

  #payload(chunk, at) {
    const {payload, filled, key} = this.current;
    const taken = chunk.copy(payload, filled, at);
    const piece = payload.subarray(filled, filled + taken);
    if (key) mask(piece, key, filled);
    this.current.filled += taken;
    this.listener.piece?.(this.current, piece);
    if (this.current.filled === payload.length && !this.stopped) this.#finish();
    return at + taken;
  }

  #finish() {
    const whole = this.current;
    this.current = null;
    this.listener.frame?.(whole);
  }
}
