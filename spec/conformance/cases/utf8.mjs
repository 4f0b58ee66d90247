// Section 6: text must be UTF-8, and a server says so as soon as it can know. The sequences are
// those of Markus Kuhn's UTF-8 decoder test, in the order of the public list.
import {CONTINUATION, TEXT, continuation, fragments, frame, text} from "../frame.mjs";
import {exchange, failed, failure, serverFails, table, textBack} from "../script.mjs";

const hex = (digits) => Buffer.from(digits, "hex");
const KOSME = "cebae1bdb9cf83cebcceb5"; // κόσμε
const GREEK = hex(KOSME);
const EDITED = "656469746564";
const GREETING = Buffer.from("Hello-µ@ßöäüàá-UTF-8!!");
const CUT = Buffer.byteLength("Hello-µ@ßöä");
const SURROGATE = hex(`${KOSME}eda080${EDITED}`);

const echoes = (send, payload) => () => ({send: send(), expect: [textBack(payload)]});
const refuses = (send) => () => ({send: send(), end: serverFails(1007)});
const OPEN = {fin: false};

const greetingInTwo = () => [
  text(GREETING.subarray(0, CUT), OPEN),
  continuation(GREETING.subarray(CUT)),
];
const inThree = (middle) => () => [text("", OPEN), continuation(middle, OPEN), continuation("")];
const inOctets = (bytes) => () => fragments(TEXT, bytes, 1);
const inOne = (bytes) => () => [text(bytes)];

const whole = table([
  ["6.1.1", "empty text", echoes(inOne(""), "")],
  ["6.1.2", "text in three empty fragments", echoes(inThree(""), "")],
  ["6.1.3", "text in three fragments, two of them empty", echoes(inThree("middle"), "middle")],
  ["6.2.1", "valid text", echoes(inOne(GREETING), GREETING)],
  ["6.2.2", "valid text cut between two characters", echoes(greetingInTwo, GREETING)],
  ["6.2.3", "valid text in fragments of one octet", echoes(inOctets(GREETING), GREETING)],
  ["6.2.4", "valid Greek in fragments of one octet", echoes(inOctets(GREEK), GREEK)],
  ["6.3.1", "surrogate in the middle of a text", refuses(inOne(SURROGATE))],
  ["6.3.2", "surrogate, text in fragments of one octet", refuses(inOctets(SURROGATE))],
]);

const EARLY = 150; // ms in which a server must not have failed yet
const SOON = 1000; // ms after the first impossible octet in which it must have

/** The second of three parts makes the text impossible; the third is never needed to know. */
function failFast(id, about, parts, split) {
  const play = async (connection) => {
    const [first, second] = split(parts.map(hex));
    await connection.send([first]);
    await connection.until(() => connection.closeFrame, EARLY);
    const early = connection.closeFrame || connection.dropped;
    await connection.send([second]);
    await failure(connection, SOON);
    const verdict = failed(connection, [1007]);
    const other = connection.events.some((event) => event.kind !== "close");
    if (verdict.fits && !early && !other) return null;
    return {
      expected: `${verdict.expected} after the second part, within ${SOON} ms`,
      seen:
        verdict.seen + (early ? ", after the first part" : "") + (other ? ", and an echo" : ""),
    };
  };
  return {id, about, play};
}

const asFrames = (parts) =>
  parts.map((part, n) => frame(n === 0 ? TEXT : CONTINUATION, part, {fin: n === 2}));

const asPieces = (parts) => {
  const bytes = text(Buffer.concat(parts));
  const start = bytes.length - Buffer.concat(parts).length;
  const ends = [start + parts[0].length, start + parts[0].length + parts[1].length];
  return [bytes.subarray(0, ends[0]), bytes.subarray(ends[0], ends[1]), bytes.subarray(ends[1])];
};

const BEYOND = [KOSME, "f4908080", EDITED]; // U+110000
const BEYOND_AT = [`${KOSME}f4`, "90", `8080${EDITED}`];

const fast = [
  ["6.4.1", "character in the second of three frames", BEYOND, asFrames],
  ["6.4.2", "octet alone in the second of three frames", BEYOND_AT, asFrames],
  ["6.4.3", "character in the second piece of one frame", BEYOND, asPieces],
  ["6.4.4", "octet alone in the second piece of one frame", BEYOND_AT, asPieces],
].map(([id, about, ...how]) => failFast(id, `fails fast: impossible ${about}`, ...how));

const MISSING = [
  "c0",
  "e080",
  "f08080",
  "f8808080",
  "fc80808080",
  "df",
  "efbf",
  "f7bfbf",
  "fbbfbfbf",
  "fdbfbfbfbf",
];

const range = (from, to, each) =>
  Array.from({length: to - from}, (_, n) => each(from + n)).join("");
const octet = (n) => n.toString(16).padStart(2, "0");

/** U+nFFFE and U+nFFFF of every plane, in the order of their octets. */
function nonCharacters() {
  const list = ["efbfbe", "efbfbf"];
  for (const first of ["f0", "f1", "f2", "f3", "f4"]) {
    for (const second of ["8f", "9f", "af", "bf"]) {
      const overlong = first === "f0" && second === "8f";
      const beyond = first === "f4" && second !== "8f";
      if (!overlong && !beyond) list.push(`${first}${second}bfbe`, `${first}${second}bfbf`);
    }
  }
  return list;
}

// Sections 6.5 on: what the sequences are, whether they are valid, and the sequences in hex.
// One that differs from its group is marked with `!`.
const SEQUENCES = [
  [
    "valid text",
    true,
    [
      "68656c6c6f24776f726c64",
      "68656c6c6fc2a2776f726c64",
      "68656c6c6fe282ac776f726c64",
      "68656c6c6ff0a4ada2776f726c64",
      KOSME,
    ],
  ],
  [
    "beginning of a valid text",
    false,
    [
      "ce",
      "!ceba",
      "cebae1",
      "cebae1bd",
      "!cebae1bdb9",
      "cebae1bdb9cf",
      "!cebae1bdb9cf83",
      "cebae1bdb9cf83ce",
      "!cebae1bdb9cf83cebc",
      "cebae1bdb9cf83cebcce",
      `!${KOSME}`,
    ],
  ],
  ["first of its length", true, ["00", "c280", "e0a080", "f0908080"]],
  ["first of five and six octets", false, ["f888808080", "fc8480808080"]],
  ["last of its length", true, ["7f", "dfbf", "efbfbf", "f48fbfbf"]],
  ["last of four, five and six octets", false, ["f7bfbfbf", "fbbfbfbfbf", "fdbfbfbfbfbf"]],
  ["boundary", true, ["ed9fbf", "ee8080", "efbfbd", "f48fbfbf", "!f4908080"]],
  [
    "continuation without a start",
    false,
    [
      "80",
      "bf",
      "80bf",
      "80bf80",
      "80bf80bf",
      "80bf80bf80",
      "80bf80bf80bf",
      range(0x80, 0xbf, octet),
    ],
  ],
  [
    "start without continuation",
    false,
    [
      [0xc0, 0xdf],
      [0xe0, 0xef],
      [0xf0, 0xf7],
      [0xf8, 0xfb],
      [0xfc, 0xfd],
    ].map(([from, to]) => range(from, to, (n) => `${octet(n)}20`)),
  ],
  ["last continuation missing", false, MISSING],
  ["all of these together", false, [MISSING.join("")]],
  ["impossible octet", false, ["fe", "ff", "fefeffff"]],
  ["overlong slash", false, ["c0af", "e080af", "f08080af", "f8808080af", "fc80808080af"]],
  ["longest overlong", false, ["c1bf", "e09fbf", "f08fbfbf", "f887bfbfbf", "fc83bfbfbfbf"]],
  ["overlong NUL", false, ["c080", "e08080", "f0808080", "f880808080", "fc8080808080"]],
  ["surrogate", false, ["eda080", "edadbf", "edae80", "edafbf", "edb080", "edbe80", "edbfbf"]],
  [
    "surrogate pair",
    false,
    [
      "eda080edb080",
      "eda080edbfbf",
      "edadbfedb080",
      "edadbfedbfbf",
      "edae80edb080",
      "edae80edbfbf",
      "edafbfedb080",
      "edafbfedbfbf",
    ],
  ],
  ["non-character, which is valid", true, nonCharacters()],
  [
    "special character",
    true,
    ["efbfb9", "efbfba", "efbfbb", "efbfbc", "efbfbd", "efbfbe", "efbfbf"],
  ],
];

const sequences = SEQUENCES.flatMap(([about, valid, list], group) =>
  list.map((item, n) => {
    const fits = valid !== item.startsWith("!");
    const bytes = hex(item.replace("!", ""));
    const shown = bytes.length > 8 ? `${bytes.length} octets` : bytes.toString("hex");
    const build = fits ? echoes(() => [text(bytes)], bytes) : refuses(() => [text(bytes)]);
    return exchange(
      `6.${group + 5}.${n + 1}`,
      `${about}: ${shown}, ${fits ? "valid" : "invalid"}`,
      build,
    );
  }),
);

export default [...whole, ...fast, ...sequences];
