// An identity provider: gives keys as JSON has them, and signs tokens, by Node.js. What the key set
// is answered by, the spec says. Prints its port.
//
//   node spec/secrets/keys.mjs
//
//   GET /set         the key set, or what PUT /answer has said
//   PUT /answer      {status, headers, body, keys: [[name, members], ...], silent}
//   GET /asked       how often the set was asked for
//   GET /public      ?key=NAME: the public key in PEM
//   GET /sign        ?key=NAME&head=JSON&body=JSON: a token

import crypto from "node:crypto";
import http from "node:http";

const pairs = {
  rsa: crypto.generateKeyPairSync("rsa", {modulusLength: 2048}),
  other: crypto.generateKeyPairSync("rsa", {modulusLength: 2048}),
  weak: crypto.generateKeyPairSync("rsa", {modulusLength: 1024}),
  ec: crypto.generateKeyPairSync("ec", {namedCurve: "P-256"}),
  p384: crypto.generateKeyPairSync("ec", {namedCurve: "P-384"}),
  ed: crypto.generateKeyPairSync("ed25519"),
  x25519: crypto.generateKeyPairSync("x25519"),
};

let asked = 0;
let answer = {};

const jwk = ([name, members]) => ({
  ...(pairs[name] ? pairs[name][members?.d ? "privateKey" : "publicKey"].export({format: "jwk"}) : {}),
  ...members,
});

function sign(name, head, body) {
  const text = [head, body].map(part => Buffer.from(part).toString("base64url")).join(".");
  const key = {key: pairs[name].privateKey, dsaEncoding: "ieee-p1363"};
  const digest = name === "ed" ? null : "sha256";
  return `${text}.${crypto.sign(digest, Buffer.from(text), key).toString("base64url")}`;
}

function giveSet(response) {
  asked++;
  if (answer.silent) return;
  const body = answer.body ?? JSON.stringify({keys: (answer.keys ?? []).map(jwk)});
  response.writeHead(answer.status ?? 200, {"Content-Type": "application/json", ...answer.headers});
  response.end(body);
}

const ways = {
  "/set": (query, response) => giveSet(response),
  "/asked": (query, response) => response.end(String(asked)),
  "/public": (query, response) => response.end(
    pairs[query.get("key")].publicKey.export({type: "spki", format: "pem"})),
  "/sign": (query, response) => response.end(sign(query.get("key"), query.get("head"), query.get("body"))),
};

const server = http.createServer((request, response) => {
  const url = new URL(request.url, "http://localhost");
  if (request.method !== "PUT") return ways[url.pathname](url.searchParams, response);
  let text = "";
  request.on("data", bytes => { text += bytes; });
  request.on("end", () => {
    answer = JSON.parse(text);
    asked = 0;
    response.end("said");
  });
});
server.listen(0, "127.0.0.1", () => console.log(`listening on ${server.address().port}`));
process.stdin.resume().on("end", () => process.exit());
