// A case as a short script: what is sent, which events must come back, and how it must end.
// `exchange` makes a case of such a script; the endings are functions of the connection that
// return what the server was to do last. Verdicts are strict: another order, another code, one
// event too many or too few is a failure.
import {close} from "./frame.mjs";

const CLOSING = 5000; // ms; a server has so long to close TCP after the closing handshake

/** A case. `build(mode)` makes { send, expect, end, chop }: payloads exist only while it runs.
 * `patience` in ms is how long the server may be silent; `note(mode)` tells what is not as in
 * Autobahn. */
export function exchange(id, about, build, {patience, note} = {}) {
  const play = async (connection, mode) => {
    const {send, expect = [], end = clientCloses, chop} = build(mode);
    await connection.send(send, chop);
    return judge(connection, expect, await end(connection, expect));
  };
  return {id, about, play, patience, note};
}

/** Cases from rows of `exchange`'s arguments. */
export const table = (rows) => rows.map((row) => exchange(...row));

/** The expected and the seen side by side; null when they are the same. `last` is the ending:
 * { expected, seen, fits }. */
function judge(connection, expected, last) {
  const seen = connection.events.filter((event) => event.kind !== "close");
  const different =
    expected.length !== seen.length || expected.some((e, n) => !same(e, seen[n]));
  if (!different && last.fits) return null;
  return {
    expected: [...expected.map(describe), last.expected].join(", "),
    seen: [
      ...seen.map((event, n) => describe(event) + firstDifference(expected[n], event)),
      last.seen,
    ].join(", "),
  };
}

export function same(a, b) {
  return (
    Boolean(a && b) &&
    a.kind === b.kind &&
    Buffer.compare(Buffer.from(a.payload), b.payload) === 0
  );
}

export function describe({kind, payload}) {
  const bytes = Buffer.from(payload);
  return bytes.length > 40
    ? `${kind} of ${bytes.length} octets`
    : `${kind} ${JSON.stringify(bytes.toString("latin1"))}`;
}

function firstDifference(expected, seen) {
  const a = Buffer.from(expected?.payload ?? "");
  if (!expected || expected.kind !== seen.kind || a.length !== seen.payload.length) return "";
  const at = a.findIndex((octet, n) => octet !== seen.payload[n]);
  return at < 0 ? "" : ` (wrong from octet ${at})`;
}

// Events that are expected.
export const textBack = (payload) => ({kind: "text", payload});
export const binaryBack = (payload) => ({kind: "binary", payload});
export const pongBack = (payload) => ({kind: "pong", payload});

/** The end of a case that has taken its events itself: the client closes, nothing more comes. */
export async function closing(connection) {
  return judge(connection, [], await clientCloses(connection, []));
}

// Endings.

/** Everything expected has come; the client closes with 1000, the server answers 1000. */
export async function clientCloses(connection, expected) {
  const count = expected.length;
  await connection.until(() => connection.events.length >= count);
  if (connection.events.length < count) {
    return {
      expected: "Close 1000",
      seen: connection.dropped ? ending(connection) : "nothing more",
      fits: false,
    };
  }
  await connection.send([close(1000)]);
  return closingHandshake(connection, [1000], false);
}

/** The script's own frames held the client's Close: the server answers it with one of `codes`.
 * The client may have sent more after it, so that closing TCP can show as a reset. */
export function serverAnswers(...codes) {
  return (connection) => closingHandshake(connection, codes, true);
}

const named = (code) => code ?? "without a code";

async function closingHandshake(connection, codes, resetFits) {
  await connection.until(() => connection.closeFrame);
  await connection.until(() => connection.dropped, CLOSING);
  const clean =
    connection.dropped === "finished" || (resetFits && connection.dropped === "reset");
  return {
    expected: `Close ${codes.map(named).join(" or ")} and TCP closed`,
    seen: ending(connection),
    fits: codes.includes(connection.closeFrame?.code) && Boolean(connection.closeFrame) && clean,
  };
}

/** The server fails the connection: Close with one of `codes` or no Close at all, then TCP
 * closed (RFC 6455 section 7.1.7). */
export function serverFails(...codes) {
  return async (connection) => {
    await failure(connection, connection.patience);
    return failed(connection, codes);
  };
}

/** Waits for the server to fail the connection, and answers its Close as any client does. */
export async function failure(connection, patience) {
  await connection.until(() => connection.closeFrame, patience);
  const frame = connection.closeFrame;
  if (frame && !connection.dropped) await connection.send([close(frame.code)]);
  if (frame) await connection.until(() => connection.dropped, CLOSING);
}

export function failed(connection, codes) {
  const code = connection.closeFrame?.code;
  return {
    expected: `failed with ${codes.join(" or ")} or dropped`,
    seen: ending(connection),
    fits: connection.dropped !== null && (!connection.closeFrame || codes.includes(code)),
  };
}

function ending(connection) {
  const frame = connection.closeFrame;
  const said = frame ? [`Close ${named(frame.code)}`] : [];
  const tcp = {finished: "TCP closed", reset: "TCP reset", lost: "connection given up"};
  return [...said, connection.dropped ? tcp[connection.dropped] : "TCP still open"].join(", ");
}
