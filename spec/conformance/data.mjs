// Payloads. All are the same in every run: a failure can be looked at twice.

/** A small generator of numbers in 0..1 (mulberry32). */
function numbers(seed) {
  return () => {
    seed = (seed + 0x6d2b79f5) | 0;
    let t = Math.imul(seed ^ (seed >>> 15), 1 | seed);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

const PERIOD = 8191; // prime, so a piece that was moved or lost doesn't match by chance

const NOISE = (() => {
  const random = numbers(1);
  return Buffer.from(Array.from({length: PERIOD}, () => Math.floor(random() * 256)));
})();

const LETTERS = (() => {
  const random = numbers(2);
  const alphabet = [..."abcdefghijklmnopqrstuvwxyz ABCDEF 0123456789äöüßéλжш中文字€😀🂡"];
  let letters = "";
  while (Buffer.byteLength(letters) < PERIOD)
    letters += alphabet[Math.floor(random() * alphabet.length)];
  return Buffer.from(letters);
})();

/** `length` octets that are not all alike. */
export function octets(length) {
  return Buffer.alloc(length, NOISE);
}

/** Valid UTF-8 of exactly `length` octets, with characters of one to four. */
export function utf8(length) {
  return wholeCharacters(Buffer.alloc(length, LETTERS));
}

/** Blanks the incomplete character at either end, so that a cut of valid text is valid. */
function wholeCharacters(bytes) {
  let end = bytes.length;
  while (end > 0 && (bytes[end - 1] & 0xc0) === 0x80) end--;
  if (end > 0 && bytes[end - 1] >= 0xc0) end--;
  if (!isComplete(bytes.subarray(end))) bytes.fill(0x20, end);
  for (let i = 0; i < bytes.length && (bytes[i] & 0xc0) === 0x80; i++) bytes[i] = 0x20;
  return bytes;
}

function isComplete(last) {
  const first = last[0];
  return last.length === (first < 0x80 ? 1 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4);
}

const WORDS =
  `lorem ipsum dolor sit amet consetetur sadipscing elitr sed diam nonumy eirmod tempor
invidunt ut labore et dolore magna aliquyam erat voluptua at vero eos accusam justo duo dolores
rebum stet clita kasd gubergren no sea takimata sanctus est über größer façade naïve`.split(
    /\s+/,
  );

const SIZE = 256 * 1024;

function grow(make) {
  const parts = [];
  for (let size = 0; size < SIZE;) {
    const part = Buffer.from(make());
    parts.push(part);
    size += part.length;
  }
  return Buffer.concat(parts).subarray(0, SIZE);
}

function sentence(random) {
  const words = Array.from(
    {length: 4 + Math.floor(random() * 12)},
    () => WORDS[Math.floor(random() * WORDS.length)],
  );
  return `${words.join(" ")}. `;
}

function json(random) {
  return (
    JSON.stringify({
      id: Math.floor(random() * 1e6),
      user: WORDS[Math.floor(random() * 50)],
      score: random() * 100,
      text: sentence(random),
      tags: [sentence(random).slice(0, 9), null, random() < 0.5],
    }) + ",\n"
  );
}

function html(random) {
  const style = Math.floor(random() * 9);
  const page = Math.floor(random() * 1e4);
  return (
    `<div class="item c${style}"><a href="/page/${page}">${sentence(random)}</a>` +
    `<span title="${sentence(random)}">&nbsp;</span></div>\n`
  );
}

/** A row of a grey picture: slopes and noise. */
function picture(random) {
  const base = random() * 200;
  return Array.from({length: 512}, (_, x) => Math.floor(base + x / 16 + random() * 8) & 255);
}

/** A document of text parts between packed, incompressible ones. */
function documentPart(random) {
  const packed = Buffer.from(Array.from({length: 900}, () => Math.floor(random() * 256)));
  return Buffer.concat([
    Buffer.from(`${Math.floor(random() * 999)} 0 obj << /Length 900 >> stream\n`),
    packed,
    Buffer.from("\nendstream endobj\n"),
  ]);
}

function file(seed, part) {
  let bytes;
  return () => {
    const random = numbers(seed);
    return (bytes ??= grow(() => part(random)));
  };
}

/** The five files whose pieces sections 12 and 13 send. */
export const FILES = {
  json: {about: "JSON", isText: true, bytes: file(11, json)},
  picture: {about: "grey picture", isText: false, bytes: file(12, picture)},
  prose: {about: "prose", isText: false, bytes: file(13, sentence)},
  html: {about: "HTML", isText: true, bytes: file(14, html)},
  document: {about: "document with packed parts", isText: false, bytes: file(15, documentPart)},
};

/** `count` messages of `size` octets from a file, one after the other and round again. */
export function messagesOf(name, size, count) {
  const bytes = FILES[name].bytes();
  return Array.from({length: count}, (_, n) => {
    const start = (n * size) % (bytes.length - size);
    const message = Buffer.from(bytes.subarray(start, start + size));
    return FILES[name].isText ? wholeCharacters(message) : message;
  });
}
