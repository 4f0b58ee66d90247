// Sections 2 to 4: pings and pongs, reserved bits, reserved opcodes.
import {BINARY, CLOSE, PING, closePayload, frame, ping, pong, text} from "../frame.mjs";
import {octets} from "../data.mjs";
import {pongBack, serverFails, table, textBack} from "../script.mjs";

const HELLO = "Hello, world!";
const ODD = Buffer.from("00fffefdfcfb00ff", "hex");
const TEN = Array.from({length: 10}, (_, n) => `payload-${n}`);

/** Pings with these payloads are all answered, in order. */
const answered = (payloads, chop) => () => ({
  send: payloads.map((payload) => ping(payload)),
  expect: payloads.map(pongBack),
  chop,
});
const ignored =
  (...send) =>
  () => ({send});

/** The frame breaks the protocol: it alone, or after a text that is still echoed and before a
 * ping that is not answered any more. */
const alone = (bad) => () => ({send: [bad()], end: serverFails(1002)});
const between = (bad, chop) => () => ({
  send: [text(HELLO), bad(), ping()],
  expect: [textBack(HELLO)],
  end: serverFails(1002),
  chop,
});

export const pings = table([
  ["2.1", "ping without payload", answered([""])],
  ["2.2", "ping with text", answered([HELLO])],
  ["2.3", "ping with octets that are not UTF-8", answered([ODD])],
  ["2.4", "ping of 125 octets", answered([octets(125)])],
  ["2.5", "ping of 126 octets is too long", alone(() => ping(octets(126)))],
  ["2.6", "ping of 125 octets, octet by octet", answered([octets(125)], 1)],
  ["2.7", "unasked pong without payload is ignored", ignored(pong())],
  ["2.8", "unasked pong with payload is ignored", ignored(pong("unasked"))],
  [
    "2.9",
    "unasked pong, then a ping",
    () => ({send: [pong("unasked"), ping("asked")], expect: [pongBack("asked")]}),
  ],
  ["2.10", "ten pings, ten pongs in order", answered(TEN)],
  ["2.11", "ten pings, octet by octet", answered(TEN, 1)],
]);

const reservedText = (rsv) => () => text(HELLO, {rsv});
const reservedClose = () => frame(CLOSE, closePayload(1000), {rsv: 7});

export const reservedBits = table([
  ["3.1", "text with RSV 1", alone(reservedText(1))],
  ["3.2", "text, text with RSV 2, ping", between(reservedText(2))],
  ["3.3", "text, text with RSV 3, ping, frame by frame", between(reservedText(3), "frames")],
  ["3.4", "text, text with RSV 4, ping, octet by octet", between(reservedText(4), 1)],
  ["3.5", "binary with RSV 5", alone(() => frame(BINARY, ODD, {rsv: 5}))],
  ["3.6", "ping with RSV 6", alone(() => frame(PING, HELLO, {rsv: 6}))],
  ["3.7", "Close with RSV 7", alone(reservedClose)],
]);

/** Five opcodes that mean nothing yet, without payload and with one. */
const reserved = (section, first) => {
  const bare = (opcode) => () => frame(opcode);
  const full = (opcode) => () => frame(opcode, "reserved");
  return table([
    [`${section}.1`, `opcode ${first}`, alone(bare(first))],
    [`${section}.2`, `opcode ${first + 1} with payload`, alone(full(first + 1))],
    [`${section}.3`, `text, opcode ${first + 2}, ping`, between(bare(first + 2))],
    [`${section}.4`, `text, opcode ${first + 3}, ping`, between(full(first + 3))],
    [`${section}.5`, `the same with ${first + 4}, octet by octet`, between(full(first + 4), 1)],
  ]);
};

export const reservedOpcodes = [...reserved("4.1", 3), ...reserved("4.2", 11)];
