// permessage-deflate (RFC 7692) from the client's side: whether a server's answer is legal for
// what was offered, and what both then agreed on; and compressing what the client sends.
import zlib from "node:zlib";

const NAME = "permessage-deflate";
const FLAGS = ["server_no_context_takeover", "client_no_context_takeover"];
const WINDOWS = ["server_max_window_bits", "client_max_window_bits"];

/** One offer for the header: `offer("a", ["b", 9])` is `permessage-deflate; a; b=9`. */
export function offer(...parameters) {
  return [NAME, ...parameters.map((p) => [p].flat().join("="))].join("; ");
}

/** A Sec-WebSocket-Extensions value as a list of { name, parameters }, each parameter a
 * [name, value] with value true where there is none. No quoted value can hold a separator. */
function parse(header) {
  return header.split(",").map((item) => {
    const [name, ...parameters] = item.split(";").map((part) => part.trim());
    return {name, parameters: parameters.map(parseParameter)};
  });
}

function parseParameter(part) {
  const [name, ...value] = part.split("=").map((s) => s.trim());
  return [name, value.length ? value.join("=").replace(/^"(.*)"$/, "$1") : true];
}

/** What the server's answer agrees to, or null when it declined.
 * Throws an Error when the answer is legal for none of the offers. */
export function agree(offers, answer) {
  if (answer === undefined) return null;
  const extensions = parse(answer);
  if (offers.length === 0) throw new Error(`extension "${answer}" was not offered`);
  if (extensions.length !== 1 || extensions[0].name !== NAME) {
    throw new Error(`extensions "${answer}" in answer to an offer of ${NAME} alone`);
  }
  const parameters = readParameters(extensions[0].parameters);
  const complaints = offers.map((o) => complaint(new Map(parse(o)[0].parameters), parameters));
  if (!complaints.includes(null)) throw new Error(`answer "${answer}": ${complaints[0]}`);
  return {
    server: side(parameters, "server"),
    client: side(parameters, "client"),
  };
}

function side(parameters, who) {
  return {
    takeover: !parameters.has(`${who}_no_context_takeover`),
    windowBits: Number(parameters.get(`${who}_max_window_bits`) ?? 15),
  };
}

/** The answer's parameters, each well formed by itself (section 7.1). */
function readParameters(list) {
  const parameters = new Map(list);
  if (parameters.size < list.length) throw new Error("extension parameter given twice");
  for (const [name, value] of parameters) {
    const fits = FLAGS.includes(name)
      ? value === true
      : WINDOWS.includes(name) && /^([89]|1[0-5])$/.test(value);
    if (!fits)
      throw new Error(
        `extension parameter ${name}${value === true ? "" : `=${value}`} is not legal`,
      );
  }
  return parameters;
}

/** Why the answer is no legal response to this offer, or null. Either side's "no context
 * takeover" and the server's window may be in an answer unasked (7.1.1, 7.1.2.1). */
function complaint(offered, answered) {
  if (offered.has("server_no_context_takeover") && !answered.has("server_no_context_takeover")) {
    return "server_no_context_takeover was asked for (7.1.1.1)";
  }
  for (const name of WINDOWS) {
    const limit = offered.get(name); // true when offered without a number
    if (typeof limit === "string" && Number(answered.get(name)) > Number(limit))
      return `${name} is larger than offered`;
  }
  if (offered.has("server_max_window_bits") && !answered.has("server_max_window_bits")) {
    return "server_max_window_bits was asked for (7.1.2.1)";
  }
  if (answered.has("client_max_window_bits") && !offered.has("client_max_window_bits")) {
    return "client_max_window_bits was not offered (7.1.2.2)";
  }
  return null;
}

/** Compresses a message after `context`, what this sender sent before (empty without takeover).
 * A window of 8 bits is written by zlib's 9, whose distances stay below 256 all the same. */
export function compress(message, context, windowBits) {
  const packed = zlib.deflateRawSync(message, {
    windowBits: Math.max(9, windowBits),
    finishFlush: zlib.constants.Z_SYNC_FLUSH,
    ...(context.length ? {dictionary: context} : {}),
  });
  return packed.subarray(0, -4);
}

const WINDOW = 32768;
const streams = new Map();

/** The messages of a case from `from` to `to` as the client sends them under what was agreed.
 * Many cases send the same, so the results are kept under `key`, which must name the messages.
 * Only what is asked for is compressed: all at once would keep the other cases waiting. */
export function compressed(key, messages, from, to, {takeover, windowBits}) {
  const name = `${key}/${takeover}/${windowBits}`;
  if (!streams.has(name)) streams.set(name, {packed: [], context: Buffer.alloc(0)});
  const stream = streams.get(name);
  for (const message of messages.slice(stream.packed.length, to)) {
    stream.packed.push(compress(message, stream.context, windowBits));
    if (takeover) stream.context = Buffer.concat([stream.context, message]).subarray(-WINDOW);
  }
  return stream.packed.slice(from, to);
}
