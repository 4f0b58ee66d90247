// Sections 12 and 13: permessage-deflate (RFC 7692). 12 sends five kinds of data under the
// offer most clients make, 13 sends one kind under seven offers. That the answer is legal for
// the offer, and that what the server sends decodes within what was agreed, is checked in
// client.mjs.
import {BINARY, TEXT, fragments, frame} from "../frame.mjs";
import {FILES, messagesOf} from "../data.mjs";
import {compressed, offer} from "../deflate.mjs";
import {closing, describe, same} from "../script.mjs";

const PATIENCE = 100000; // ms
const MESSAGES = 1000; // in each case of the public list
const FAST_OCTETS = 1024 * 1024; // what a case sends when not all of them are wanted
const SLOW_OCTETS = 16 * 1024;
const AT_ONCE = 8; // messages in one write
const RSV1 = 4;

const WHOLE = [16, 64, 256, 1024, 4096, 8192, 16384, 32768, 65536, 131072];
const IN_256 = [8192, 16384, 32768, 65536, 131072];
const LARGEST_IN = [1024, 4096, 32768];

/** Message size, and the size of the fragments that the compressed message is cut into. */
const SIZES = [
  ...WHOLE.map((size) => [size]),
  ...IN_256.map((size) => [size, 256]),
  ...LARGEST_IN.map((fragment) => [131072, fragment]),
];

// Both of these tell the server that it may set the client's side.
const CLIENT = ["client_no_context_takeover", "client_max_window_bits"];
const NO_TAKEOVER = "server_no_context_takeover";
const window = (bits) => ["server_max_window_bits", bits];

const DEFAULT = [offer(...CLIENT)];
const OFFERS = [
  DEFAULT,
  [offer(...CLIENT, NO_TAKEOVER)],
  [offer(...CLIENT, window(9))],
  [offer(...CLIENT, window(15))],
  [offer(...CLIENT, NO_TAKEOVER, window(9))],
  [offer(...CLIENT, NO_TAKEOVER, window(15))],
  [offer(...CLIENT, NO_TAKEOVER, window(9)), offer(...CLIENT, NO_TAKEOVER), offer(...CLIENT)],
];

function amount(size, {slow, full}) {
  if (slow) {
    const length = Math.min(size, SLOW_OCTETS);
    return {length, count: Math.min(50, Math.max(2, (SLOW_OCTETS / length) | 0))};
  }
  return {length: size, count: full ? MESSAGES : Math.min(MESSAGES, FAST_OCTETS / size)};
}

function note(size, mode) {
  const {length, count} = amount(size, mode);
  if (length === size && count === MESSAGES) return null;
  const shorter = length === size ? "" : ` of ${length} octets`;
  return `${mode.slow ? "slow: " : ""}${count} messages${shorter}`;
}

function encode(packed, opcode, fragment) {
  return fragment
    ? fragments(opcode, packed, fragment, RSV1)
    : [frame(opcode, packed, {rsv: RSV1})];
}

function echoCase(id, about, file, [size, fragment], offers) {
  const opcode = FILES[file].isText ? TEXT : BINARY;
  const kind = FILES[file].isText ? "text" : "binary";
  const play = async (connection, mode) => {
    if (!connection.agreed) return {expected: "permessage-deflate", seen: "declined"};
    const {length, count} = amount(size, mode);
    const messages = messagesOf(file, length, count);
    const key = `${file}/${length}`;
    for (let from = 0; from < count; from += AT_ONCE) {
      const to = Math.min(count, from + AT_ONCE);
      const packed = compressed(key, messages, from, to, connection.agreed.client);
      await connection.send(packed.flatMap((part) => encode(part, opcode, fragment)));
      const batch = messages.slice(from, to).map((payload) => ({kind, payload}));
      const wrong = await echoes(connection, batch, from);
      if (wrong) return wrong;
    }
    return closing(connection);
  };
  const cut = fragment ? ` in fragments of ${fragment}` : "";
  return {
    id,
    about: `${about}: 1000 messages of ${size} octets${cut}`,
    play,
    offers,
    patience: PATIENCE,
    note: (mode) => note(size, mode),
  };
}

async function echoes(connection, expected, from) {
  await connection.until(() => connection.events.length >= expected.length);
  const events = connection.events.splice(0, expected.length);
  const at = expected.findIndex((event, n) => !events[n]?.payload || !same(event, events[n]));
  if (at < 0) return null;
  return {
    expected: `${describe(expected[at])} (message ${from + at + 1})`,
    seen: events[at]?.payload ? describe(events[at]) : events[at] ? "Close" : "nothing",
  };
}

const kinds = Object.entries(FILES).flatMap(([file, {about}], section) =>
  SIZES.map((size, n) =>
    echoCase(`12.${section + 1}.${n + 1}`, `${about}, default offer`, file, size, DEFAULT),
  ),
);

const offered = OFFERS.flatMap((offers, section) =>
  SIZES.map((size, n) =>
    echoCase(
      `13.${section + 1}.${n + 1}`,
      `JSON, offer ${offers.map(short).join(" or ")}`,
      "json",
      size,
      offers,
    ),
  ),
);

function short(text) {
  return (
    text.replace(
      /permessage-deflate; client_no_context_takeover; client_max_window_bits(; )?/,
      "",
    ) || "default"
  );
}

export default [...kinds, ...offered];
