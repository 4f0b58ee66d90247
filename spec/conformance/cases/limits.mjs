// Section 9: large messages, many fragments, many pieces, many messages. Whether it is right,
// not how fast: the time limits are generous.
import {BINARY, TEXT, binary, fragments, text} from "../frame.mjs";
import {octets, utf8} from "../data.mjs";
import {binaryBack, closing, describe, exchange, same, textBack} from "../script.mjs";

const KIB = 1024;
const MIB = 1024 * KIB;
const PATIENCE = 100000; // ms
const SLOW_OCTETS = 16 * KIB; // what a case sends when it goes octet by octet

const KINDS = {
  text: {opcode: TEXT, make: utf8, send: text, back: textBack},
  binary: {opcode: BINARY, make: octets, send: binary, back: binaryBack},
};

const size = (n) => (n >= MIB ? `${n / MIB} MiB` : n >= KIB ? `${n / KIB} KiB` : `${n} octets`);

const LENGTHS = [64 * KIB, 256 * KIB, MIB, 4 * MIB, 8 * MIB, 16 * MIB];
const FRAGMENTS = [64, 256, KIB, 4 * KIB, 16 * KIB, 64 * KIB, 256 * KIB, MIB, 4 * MIB];
const PIECES = [64, 128, 256, 512, 1024, 2048];
const ROUND_TRIPS = [0, 16, 64, 256, 1024, 4096];

function whole(section, kind) {
  const {make, send, back} = KINDS[kind];
  const note = ({slow}) => slow && "slow: only the ends of a frame go octet by octet";
  return LENGTHS.map((length, n) =>
    exchange(
      `${section}.${n + 1}`,
      `${kind} of ${size(length)}`,
      () => ({send: [send(make(length))], expect: [back(make(length))]}),
      {patience: PATIENCE, note: n > 0 ? note : undefined},
    ),
  );
}

function fragmented(section, kind) {
  const {opcode, make, back} = KINDS[kind];
  return FRAGMENTS.map((fragment, n) => {
    const length = ({slow}) => (slow ? Math.max(SLOW_OCTETS, 2 * fragment) : 4 * MIB);
    const note = (mode) =>
      mode.slow &&
      `slow: a message of ${size(length(mode))}, only the ends of large frames octet by octet`;
    return exchange(
      `${section}.${n + 1}`,
      `${kind} of 4 MiB in fragments of ${size(fragment)}`,
      (mode) => ({
        send: fragments(opcode, make(length(mode)), fragment),
        expect: [back(make(length(mode)))],
      }),
      {patience: PATIENCE, note},
    );
  });
}

function inPieces(section, kind) {
  const {make, send, back} = KINDS[kind];
  const length = ({slow}) => (slow ? SLOW_OCTETS : MIB);
  const note = (mode) => mode.slow && `slow: a message of ${size(length(mode))}, octet by octet`;
  return PIECES.map((chop, n) =>
    exchange(
      `${section}.${n + 1}`,
      `${kind} of 1 MiB in pieces of ${chop} octets`,
      (mode) => ({send: [send(make(length(mode)))], expect: [back(make(length(mode)))], chop}),
      {patience: PATIENCE, note},
    ),
  );
}

/** Each message is sent when the one before it came back. */
function roundTrips(section, kind) {
  const {make, send, back} = KINDS[kind];
  return ROUND_TRIPS.map((length, n) => {
    const count = ({slow}) =>
      slow ? Math.min(100, Math.max(4, (SLOW_OCTETS / (length + 8)) | 0)) : 1000;
    const play = async (connection, mode) => {
      for (let i = 0; i < count(mode); i++) {
        await connection.send([send(make(length))]);
        await connection.until(() => connection.events.length > 0);
        const event = connection.events.shift();
        if (same(back(make(length)), event)) continue;
        return {
          expected: `${describe(back(make(length)))}, ${i + 1} of ${count(mode)}`,
          seen: event?.payload ? describe(event) : event ? "Close" : "nothing",
        };
      }
      return closing(connection);
    };
    return {
      id: `${section}.${n + 1}`,
      about: `1000 round trips of ${kind} of ${length} octets`,
      play,
      patience: PATIENCE,
      note: (mode) => mode.slow && `slow: ${count(mode)} round trips`,
    };
  });
}

export default [
  ...whole("9.1", "text"),
  ...whole("9.2", "binary"),
  ...fragmented("9.3", "text"),
  ...fragmented("9.4", "binary"),
  ...inPieces("9.5", "text"),
  ...inPieces("9.6", "binary"),
  ...roundTrips("9.7", "text"),
  ...roundTrips("9.8", "binary"),
];
