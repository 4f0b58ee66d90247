// Section 7: the closing handshake, close codes and reasons.
import {CLOSE, close, continuation, frame, ping, text} from "../frame.mjs";
import {utf8} from "../data.mjs";
import {
  exchange,
  failure,
  failed,
  serverAnswers,
  serverFails,
  table,
  textBack,
} from "../script.mjs";

const HELLO = "Hello World!";

const answers =
  (...send) =>
  () => ({send, end: serverAnswers(1000)});
const fails =
  (send, ...codes) =>
  () => ({send: [send], end: serverFails(...codes)});

/** 7.1.6, for information: the echo of what came before the Close may be cut off by it. */
const LARGE = 256 * 1024;
const cutOff = {
  id: "7.1.6",
  about: "256 KiB of text, Close, ping: ends cleanly, with the echo or without",
  async play(connection) {
    await connection.send([text(utf8(LARGE)), close(1000), ping()]);
    await failure(connection, connection.patience);
    const verdict = failed(connection, [1000]);
    const before = connection.events.filter((event) => event.kind !== "close");
    const echoed =
      before.length === 0 || (before.length === 1 && before[0].payload.equals(utf8(LARGE)));
    if (verdict.fits && echoed) return null;
    return {
      expected: "at most the echo, then Close 1000 and TCP closed",
      seen: `${before.length} events before, ${verdict.seen}`,
    };
  },
};

const echoFirst = () => ({
  send: [text(HELLO), close(1000)],
  expect: [textBack(HELLO)],
  end: serverAnswers(1000),
});
const betweenFragments = answers(
  text("fragment1", {fin: false}),
  close(1000),
  continuation("fragment2"),
);
const withoutPayload = () => ({send: [close()], end: serverAnswers(undefined, 1000)});
const NOT_UTF8 = Buffer.from("cebae1bdb9cf83cebcceb5eda080656469746564", "hex");

const handshake = [
  ...table([
    ["7.1.1", "text, then Close", echoFirst],
    ["7.1.2", "two Closes, one answer", answers(close(1000), close(1000))],
    ["7.1.3", "a ping after the Close is not answered", answers(close(1000), ping("late"))],
    ["7.1.4", "a text after the Close is not echoed", answers(close(1000), text(HELLO))],
    ["7.1.5", "Close between two fragments: no echo", betweenFragments],
  ]),
  cutOff,
];

const payloads = table([
  ["7.3.1", "Close without payload", withoutPayload],
  ["7.3.2", "Close of one octet", fails(frame(CLOSE, "a"), 1002)],
  ["7.3.3", "Close with a code", answers(close(1000))],
  ["7.3.4", "Close with a code and a reason", answers(close(1000, HELLO))],
  ["7.3.5", "Close with the longest reason", answers(close(1000, "*".repeat(123)))],
  ["7.3.6", "Close with too long a reason", fails(close(1000, "*".repeat(124)), 1002)],
  ["7.5.1", "Close with a reason that is not UTF-8", fails(close(1000, NOT_UTF8), 1007, 1002)],
]);

const VALID = [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999];
const INVALID = [0, 999, 1004, 1005, 1006, 1016, 1100, 2000, 2999];

/** 65536 does not fit a code: as four octets it is code 1 and a reason of two NULs. */
const UNDEFINED = [
  [5000, "1388"],
  [65536, "00010000"],
];

export default [
  ...handshake,
  ...payloads,
  ...VALID.map((code, n) =>
    exchange(`7.7.${n + 1}`, `Close with code ${code}`, () => ({
      send: [close(code)],
      end: serverAnswers(code, 1000),
    })),
  ),
  ...INVALID.map((code, n) =>
    exchange(`7.9.${n + 1}`, `Close with code ${code}, which must not be sent`, () => ({
      send: [close(code)],
      end: serverFails(1002),
    })),
  ),
  ...UNDEFINED.map(([code, payload], n) =>
    exchange(
      `7.13.${n + 1}`,
      `Close with code ${code}, which is undefined: failed, dropped or closed with 1000`,
      () => ({send: [frame(CLOSE, Buffer.from(payload, "hex"))], end: serverFails(1002, 1000)}),
    ),
  ),
];
