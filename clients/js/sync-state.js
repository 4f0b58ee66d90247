/**
 * What a room has sent: patches, read from their binary form and from JSON, and the state that
 * they make. A patch is read and checked whole before anything of it is done, so one that is
 * refused changes nothing. docs/state.md is the wire; this file knows no connection and no
 * listeners.
 *
 * SPDX-License-Identifier: MIT
 */

/** The first byte of a patch. */
export const MARK = 0xC1;

const [GONE, HIDDEN, NEW, SEEN, CHANGE] = [0, 1, 2, 3, 4];
const SECTIONS = {gone: GONE, hidden: HIDDEN, new: NEW, seen: SEEN, change: CHANGE}; // of JSON, in order

// An entity that the member had not: a new one, or one that comes into sight.
const isAdd = kind => kind === NEW || kind === SEEN;
const MOST_NUMBER = 1_048_575;

/** Why a patch is not taken. */
export class Refused extends Error {
  name = "Refused";
}

function demand(holds, why) {
  if (!holds) throw new Refused(why);
}

// Bytes

const decoder = new TextDecoder("utf-8", {ignoreBOM: true});

class Reader {
  at = 0;

  constructor(bytes) {
    this.bytes = bytes;
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.end = bytes.byteLength;
  }

  // Returns where the next bytes begin.
  skip(count) {
    const {at} = this;
    if (count > this.end - at) throw new Refused("it ends within a value");
    this.at = at + count;
    return at;
  }

  byte() { return this.bytes[this.skip(1)]; }

  varint() {
    let n = this.byte();
    if (n < 128) return n;
    n -= 128;
    for (let i = 1, scale = 128; i < 8; i++, scale *= 128) {
      const byte = this.byte();
      n += (byte & 127) * scale;
      if (byte < 128) {
        demand(n <= Number.MAX_SAFE_INTEGER, "a varint is beyond 2^53");
        return n;
      }
    }
    throw new Refused("a varint is too long");
  }

  zigzag() {
    const n = this.varint();
    return n % 2 === 0 ? n / 2 : -(n + 1) / 2;
  }

  // How many follow, each of which takes a byte or more.
  count() {
    const count = this.varint();
    demand(count <= this.end - this.at, "it says more than there is");
    return count;
  }

  text() {
    const length = this.varint();
    const from = this.skip(length);
    if (length > 24) return decoder.decode(this.bytes.subarray(from, from + length));
    let text = "";
    for (let i = from; i < from + length; i++) {
      const byte = this.bytes[i];
      if (byte > 127) return decoder.decode(this.bytes.subarray(from, from + length));
      text += String.fromCharCode(byte);
    }
    return text;
  }
}

// Types: what a value is at first, how it is read, and what JSON's must be.

function number(read, low, high) {
  const check = value => {
    demand(value >= low && value <= high, "a number is beyond its type");
    return value;
  };
  const isWhole = value => { demand(Number.isInteger(value), "a number is not whole"); };
  return {
    byDefault: 0,
    read: reader => check(read(reader)),
    from: value => {
      isWhole(value);
      return check(value);
    },
  };
}

function float(read) {
  const check = value => {
    demand(Number.isFinite(value), "a number is none");
    return value;
  };
  return {byDefault: 0, isSmooth: true, read: reader => check(read(reader)), from: check};
}

// A whole number of 1 to 4 bytes.
function unsigned(reader, width) {
  const {view} = reader;
  const at = reader.skip(width);
  if (width === 1) return view.getUint8(at);
  if (width === 2) return view.getUint16(at, true);
  if (width === 3) return view.getUint16(at, true) + view.getUint8(at + 2) * 65536;
  return view.getUint32(at, true);
}

function fixed(min, max, step) {
  const most = Math.floor((max - min) / step + 0.5);
  const width = most < 2 ** 8 ? 1 : most < 2 ** 16 ? 2 : most < 2 ** 24 ? 3 : 4;
  return {
    byDefault: min,
    isSmooth: true,
    read(reader) {
      const n = unsigned(reader, width);
      demand(n <= most, "a number is beyond its type");
      return min + n * step;
    },
    from(value) {
      demand(Number.isFinite(value), "a number is none");
      return value;
    },
  };
}

const KEYS = {
  integer: {
    read: reader => reader.zigzag(),
    from: value => {
      demand(Number.isSafeInteger(value), "a key is no whole number");
      return value;
    },
  },
  string: {read: reader => reader.text(), from: text},
};

function text(value) {
  demand(typeof value === "string", "a text is none");
  return value;
}

function items(value) {
  demand(Array.isArray(value), "a list is none");
  return value;
}

const SCALARS = {
  bool: {
    byDefault: false,
    read(reader) {
      const byte = reader.byte();
      demand(byte < 2, "a bool is neither 0 nor 1");
      return byte === 1;
    },
    from(value) {
      demand(typeof value === "boolean", "a bool is none");
      return value;
    },
  },
  int8: number(reader => reader.view.getInt8(reader.skip(1)), -128, 127),
  uint8: number(reader => reader.byte(), 0, 255),
  int16: number(reader => reader.view.getInt16(reader.skip(2), true), -32768, 32767),
  uint16: number(reader => reader.view.getUint16(reader.skip(2), true), 0, 65535),
  int32: number(reader => reader.zigzag(), -(2 ** 31), 2 ** 31 - 1),
  uint32: number(reader => reader.varint(), 0, 2 ** 32 - 1),
  float32: float(reader => reader.view.getFloat32(reader.skip(4), true)),
  float64: float(reader => reader.view.getFloat64(reader.skip(8), true)),
  string: {byDefault: "", read: reader => reader.text(), from: text},
};

function list(type) {
  return {
    make: () => [],
    read(reader) {
      const count = reader.count();
      const values = [];
      for (let i = 0; i < count; i++) values.push(type.read(reader));
      return values;
    },
    from: value => items(value).map(type.from),
  };
}

function map(keys, type) {
  return {
    make: () => new Map(),
    read(reader) {
      const count = reader.count();
      const values = new Map();
      for (let i = 0; i < count; i++) values.set(keys.read(reader), type.read(reader));
      return values;
    },
    from: value => new Map(items(value).map(pair =>
      [keys.from(items(pair)[0]), type.from(pair[1])])),
  };
}

function record(fields) {
  return {
    make: () => Object.fromEntries(fields.map(({name, type}) => [name, first(type)])),
    read(reader) {
      const value = {};
      for (const {name, type} of fields) value[name] = type.read(reader);
      return value;
    },
    from(value) {
      demand(value !== null && typeof value === "object", "a record is none");
      return Object.fromEntries(fields.map(({name, type}) => [name, type.from(value[name])]));
    },
  };
}

const first = type => type.make ? type.make() : type.byDefault;

const COMPOUNDS = {
  fixed: (min, max, step) => fixed(min, max, step),
  list: type => list(toType(type)),
  map: (keys, type) => map(toKeys(keys), toType(type)),
  record: fields => record(toFields(fields)),
};

function toType(declared) {
  if (Array.isArray(declared) && Object.hasOwn(COMPOUNDS, declared[0])) {
    const [name, ...rest] = declared;
    return COMPOUNDS[name](...rest);
  }
  if (typeof declared === "string" && Object.hasOwn(SCALARS, declared)) return SCALARS[declared];
  throw new TypeError(`the room has a type that this client does not know: ${declared}`);
}

function toKeys(declared) {
  if (Object.hasOwn(KEYS, declared)) return KEYS[declared];
  throw new TypeError(`the room has keys that this client does not know: ${declared}`);
}

function toFields(declared) {
  return declared.map(([name, type]) => {
    if (name === "__proto__") throw new TypeError('a field must not be called "__proto__"');
    return {name, type: toType(type)};
  });
}

function same(a, b) {
  if (a === b || typeof a !== "object") return a === b;
  if (a instanceof Map) return same([...a], [...b]);
  const names = Object.keys(a);
  return names.length === Object.keys(b).length && names.every(name => same(a[name], b[name]));
}

// One of the tables of a state: a map, or the state's own fields.
class Table {
  numbers = new Map(); // entities by their number: {number, key, isMine, fields}
  keys = new Map();    // the same by their key

  constructor({name, keys, fields = [], private: privates = []}) {
    this.name = name;
    this.keyType = keys && toKeys(keys);
    this.fields = toFields(fields);
    this.privates = toFields(privates);
    this.all = [...this.fields, ...this.privates];
    this.byName = new Map(this.all.map(field => [field.name, field]));
    this.maskBytes = this.fields.length + 8 >> 3;
    this.privateMaskBytes = this.privates.length + 8 >> 3;
  }

  put(entity) {
    this.numbers.set(entity.number, entity);
    this.keys.set(entity.key, entity);
  }

  take(entity) {
    this.numbers.delete(entity.number);
    this.keys.delete(entity.key);
  }

  make({number, key, isMine, values}) {
    const fields = {};
    for (const {name, type} of this.all) fields[name] = first(type);
    for (let i = 0; i < values.length; i += 2) fields[values[i].name] = values[i + 1];
    return {number, key, isMine: isMine === true, fields};
  }

  // Returns the names of the fields that came.
  change(entity, {isMine, values}) {
    const {fields} = entity;
    const names = [];
    if (isMine !== undefined) entity.isMine = isMine;
    if (isMine === false) for (const {name, type} of this.privates) fields[name] = first(type);
    for (let i = 0; i < values.length; i += 2) {
      const {name} = values[i];
      fields[name] = values[i + 1];
      names.push(name);
    }
    return names;
  }

  // Makes an entity what another one is. Returns the names of the fields that differ.
  assign(entity, other) {
    const names = [];
    for (const {name} of this.all) {
      if (same(entity.fields[name], other.fields[name])) continue;
      entity.fields[name] = other.fields[name];
      names.push(name);
    }
    const isTold = names.length > 0 || entity.isMine !== other.isMine;
    entity.isMine = other.isMine;
    return isTold ? names : undefined;
  }
}

// What is read of one table, and whether it fits what is there.
class Fit {
  removed = new Set(); // numbers
  added = new Set();
  taken = new Set();   // keys

  constructor(table, isSnapshot) {
    this.table = table;
    this.isSnapshot = isSnapshot;
  }

  has(number) {
    if (this.added.has(number)) return true;
    return !this.isSnapshot && this.table.numbers.has(number) && !this.removed.has(number);
  }

  isTaken(key) {
    const other = this.table.keys.get(key);
    return this.taken.has(key) || other !== undefined && this.has(other.number) &&
      !this.added.has(other.number);
  }

  check({kind, number, key}) {
    demand(number <= (this.table.keyType ? MOST_NUMBER : 0), "an entity's number is too large");
    demand(this.has(number) !== isAdd(kind), "it does not fit what is there");
    if (isAdd(kind)) {
      demand(!this.isTaken(key), "a key is there already");
      this.added.add(number);
      this.taken.add(key);
    } else if (kind !== CHANGE) {
      this.removed.add(number);
    }
  }
}

// The binary form

// Adds to `values` a field and its value for each bit that is set but the first. Returns
// whether that is.
function readFields(reader, fields, maskBytes, values) {
  const start = reader.skip(maskBytes);
  for (let i = 0; i < maskBytes; i++) {
    let bits = reader.bytes[start + i];
    if (i === 0) bits &= ~1;
    while (bits) {
      const bit = 31 - Math.clz32(bits & -bits);
      const field = fields[i * 8 + bit - 1];
      if (field === undefined) throw new Refused("a bit stands for no field");
      values.push(field, field.type.read(reader));
      bits &= bits - 1;
    }
  }
  return (reader.bytes[start] & 1) === 1;
}

function readEntry(reader, table, entry) {
  const {kind, values} = entry;
  if (kind < NEW) return;
  if (isAdd(kind)) entry.key = table.keyType ? table.keyType.read(reader) : "";
  if (!readFields(reader, table.fields, table.maskBytes, values)) return;
  const before = values.length;
  entry.isMine = readFields(reader, table.privates, table.privateMaskBytes, values);
  demand(entry.isMine || values.length === before && kind === CHANGE,
    "private fields of an entity that is another's");
}

const NONE = []; // of values

function readSection(reader, tables, head, fits) {
  const table = tables[Math.floor(head / 8)];
  const kind = head % 8;
  demand(table !== undefined, "there is no such table");
  demand(kind <= CHANGE, "there is no such kind of section");
  const entries = [];
  const fit = fits(table);
  const count = reader.count();
  demand(count > 0, "a section is empty");
  for (let i = 0, number = -1; i < count; i++) {
    number += reader.varint() + 1;
    const entry = {kind, number, key: undefined, isMine: undefined,
      values: kind < NEW ? NONE : []};
    readEntry(reader, table, entry);
    fit.check(entry);
    entries.push(entry);
  }
  return {table, kind, entries};
}

function readSections(reader, tables, fits) {
  const sections = [];
  for (let before = -1; reader.at < reader.end;) {
    const head = reader.varint();
    demand(head > before, "sections do not ascend");
    before = head;
    sections.push(readSection(reader, tables, head, fits));
  }
  return sections;
}

/**
 * Reads the begin of a patch: {room, epoch, tick, input, isSnapshot}, and what State.apply needs.
 * Throws Refused.
 */
export function readHead(bytes) {
  const reader = new Reader(bytes);
  demand(reader.byte() === MARK, "it begins with another byte");
  const flags = reader.byte();
  demand(flags < 2, "there is an unknown flag");
  return {
    isSnapshot: flags === 1, room: reader.varint(), epoch: reader.varint(),
    tick: reader.varint(), input: reader.varint(),
    sections: (tables, fits) => readSections(reader, tables, fits),
  };
}

// JSON

function valuesOf(table, fields) {
  const values = [];
  demand(fields !== null && typeof fields === "object", "fields are no object");
  for (const [name, value] of Object.entries(fields)) {
    const field = table.byName.get(name);
    demand(field !== undefined, "there is no such field");
    values.push(field, field.type.from(value));
  }
  return values;
}

function entryOf(table, kind, one) {
  if (kind < NEW) return {kind, number: one, values: NONE};
  const [number, ...rest] = items(one);
  const key = isAdd(kind) ? rest.shift() : undefined;
  const [fields, isMine] = rest;
  demand(isMine === undefined || typeof isMine === "boolean", "true or false is neither");
  if (isAdd(kind)) table.keyType?.from(key);
  return {kind, number, key: table.keyType ? key : "", isMine, values: valuesOf(table, fields)};
}

function sectionsOf(object, tables, fits) {
  const sections = [];
  for (const [what, kind] of Object.entries(SECTIONS)) {
    for (const [name, list] of Object.entries(object[what] ?? {})) {
      const table = tables.find(each => each.name === name);
      demand(table !== undefined, "there is no such table");
      const entries = items(list).map(one => {
        const entry = entryOf(table, kind, one);
        demand(Number.isInteger(entry.number) && entry.number >= 0, "a number is none");
        fits(table).check(entry);
        return entry;
      });
      sections.push({table, kind, entries});
    }
  }
  return sections;
}

/** The same for a patch in JSON. */
export function toHead(object) {
  const {room, epoch, tick, input, snapshot} = object ?? {};
  demand([room, epoch, tick, input].every(n => Number.isSafeInteger(n) && n >= 0),
    "a number of its head is none");
  return {room, epoch, tick, input, isSnapshot: snapshot === true,
    sections: (tables, fits) => sectionsOf(object, tables, fits)};
}

/** What a member has of a room's state. `declared` is `state` of the answer to sync.join. */
export class State {
  tick = 0;
  input = 0;
  isEmpty = true; // no snapshot has come yet
  root;           // the entity of table 0, whose fields are there always

  constructor({fields, maps = []}) {
    this.tables = [{name: "", fields}, ...maps].map(each => new Table(each));
    this.root = this.#makeRoot();
  }

  /**
   * Does what a patch says. Returns what there is to tell, in order, as
   * {what: "add" | "remove" | "change", table, entity, detail}; `detail` is "new" or "seen",
   * "gone" or "hidden", or the names of fields. Throws Refused, and nothing has changed.
   */
  apply(patch) {
    const {isSnapshot} = patch;
    demand(isSnapshot || !this.isEmpty, "the first patch is a snapshot");
    const checks = new Map();
    const fits = table => {
      if (!checks.has(table)) checks.set(table, new Fit(table, isSnapshot));
      return checks.get(table);
    };
    const sections = patch.sections(this.tables, fits);
    demand(!isSnapshot || sections.every(({kind}) => isAdd(kind)), "a snapshot holds adds alone");
    const told = isSnapshot ? this.#replace(sections) : this.#change(sections);
    this.tick = patch.tick;
    this.input = patch.input;
    this.isEmpty = false;
    return told;
  }

  #change(sections) {
    const told = [];
    for (const {table, kind, entries} of sections) {
      for (const entry of entries) {
        if (isAdd(kind)) told.push(this.#add(table, table.make(entry), kind));
        else if (kind === CHANGE) {
          const entity = table.numbers.get(entry.number);
          told.push({what: "change", table, entity, detail: table.change(entity, entry)});
        } else {
          const entity = table.numbers.get(entry.number);
          told.push(this.#remove(table, entity, kind === GONE ? "gone" : "hidden"));
        }
      }
    }
    return told;
  }

  #makeRoot() {
    return this.tables[0].make({number: 0, key: "", values: NONE});
  }

  #add(table, made, kind) {
    const entity = table === this.tables[0] ? this.root : made;
    if (entity !== made) Object.assign(entity.fields, made.fields);
    table.put(entity);
    return {what: "add", table, entity, detail: kind === NEW ? "new" : "seen"};
  }

  #remove(table, entity, detail) {
    table.take(entity);
    if (entity === this.root) Object.assign(entity.fields, this.#makeRoot().fields);
    return {what: "remove", table, entity, detail};
  }

  // A snapshot can't say whether what isn't in it has gone: it is out of sight. But what has
  // given its number to another has gone.
  #replace(sections) {
    const told = [];
    for (const table of this.tables) {
      const entries = sections.flatMap(each => each.table === table ? each.entries : NONE);
      const wanted = new Map(entries.map(entry => [entry.number, entry]));
      const isKept = (entity, entry) => entry?.key === entity.key && entry.kind === SEEN;
      for (const entity of [...table.numbers.values()]) {
        const entry = wanted.get(entity.number);
        if (!isKept(entity, entry)) told.push(this.#remove(table, entity, entry ? "gone" : "hidden"));
      }
      for (const entry of entries) {
        const entity = table.numbers.get(entry.number);
        const names = entity && table.assign(entity, table.make(entry));
        if (!entity) told.push(this.#add(table, table.make(entry), entry.kind));
        else if (names) told.push({what: "change", table, entity, detail: names});
      }
    }
    return told;
  }
}
