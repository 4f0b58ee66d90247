// An HTTP server that answers as bad servers do: the path says how. Prints its port.
//
//   node spec/fetch/peer.mjs [port]

import net from "node:net";
import zlib from "node:zlib";

const MIB = 1024 * 1024;

let requests = 0;
const seen = {};

function answer(socket, status, headers, body = "") {
  const lines = Object.entries({"Content-Length": Buffer.byteLength(body), ...headers})
    .filter(([, value]) => value !== null).map(([name, value]) => `${name}: ${value}\r\n`);
  socket.write(`HTTP/1.1 ${status} X\r\n${lines.join("")}\r\n`);
  socket.write(body);
}

// Writes for ever, as fast as it's read.
function flood(socket, bytes) {
  const more = () => {
    while (!socket.destroyed && socket.write(bytes));
  };
  socket.on("drain", more);
  more();
}

// gzip of so many zeros, twice compressed when asked for.
const bomb = zlib.gzipSync(Buffer.alloc(256 * MIB));

const ways = {
  echo({socket, method, path, headers, body}) {
    answer(socket, 200, {"Content-Type": "application/json"},
      JSON.stringify({method, path, headers, body: body.toString("latin1"), requests}));
  },
  status({socket, query}) {
    answer(socket, Number(query.get("code")), {}, "told");
  },
  headers({socket}) {
    socket.write("HTTP/1.1 200 Fine, thanks\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2, c\r\n" +
      "X-Two: one\r\nx-two:   two  \r\nX-Empty:\r\nContent-Length: 0\r\n\r\n");
  },
  redirect({socket, query}) {
    answer(socket, Number(query.get("code") ?? 302), {Location: query.get("to")}, "elsewhere");
  },
  chain({socket, query}) {
    const left = Number(query.get("left"));
    if (left === 0) return answer(socket, 200, {}, "arrived");
    answer(socket, 302, {Location: `/chain?left=${left - 1}`});
  },
  slowly({socket}) { // a byte a second
    socket.write("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n");
    const timer = setInterval(() => socket.write("."), 1000);
    socket.on("close", () => clearInterval(timer));
  },
  silent() {},
  stalled({socket}) {
    socket.write("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nhalf");
  },
  short({socket}) {
    socket.end("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nonly this");
  },
  long({socket}) {
    socket.write("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nfour and more");
  },
  twolengths({socket}) {
    socket.end("HTTP/1.1 200 OK\r\nContent-Length: 4\r\nContent-Length: 400\r\n\r\nfour");
  },
  negative({socket}) {
    socket.end("HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\nfour");
  },
  chunks({socket}) {
    socket.write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" +
      "5\r\nhello\r\n6\r\n world\r\n0\r\nX-Trailer: 1\r\n\r\n");
  },
  badchunks({socket}) {
    socket.write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nhello\r\n");
  },
  hugechunk({socket}) {
    socket.write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\nx");
  },
  garbage({socket}) {
    socket.end("\0\x01\x02 this is no HTTP at all\r\n\r\n");
  },
  nothing({socket}) {
    socket.end();
  },
  reset({socket}) {
    socket.write("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf", () => socket.resetAndDestroy());
  },
  manyheaders({socket}) {
    socket.write("HTTP/1.1 200 OK\r\n");
    flood(socket, "X-More: and more\r\n".repeat(100));
  },
  longheader({socket}) {
    socket.write("HTTP/1.1 200 OK\r\nX-Long: ");
    flood(socket, "x".repeat(10000));
  },
  informational({socket}) {
    flood(socket, "HTTP/1.1 102 Wait\r\nX-Yet: no\r\n\r\n");
  },
  early({socket}) {
    socket.write("HTTP/1.1 103 Early\r\nX-Early: yes\r\n\r\n");
    answer(socket, 200, {}, "late");
  },
  trailers({socket}) {
    socket.write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n");
    flood(socket, "X-More: and more\r\n".repeat(100));
  },
  huge({socket}) {
    socket.write("HTTP/1.1 200 OK\r\n\r\n");
    flood(socket, Buffer.alloc(65536, "x"));
  },
  said({socket}) { // a length that is too large, and nothing of it
    socket.write("HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n");
  },
  bomb({socket, query}) {
    const twice = query.get("twice") ? zlib.gzipSync(bomb) : bomb;
    answer(socket, 200, {"Content-Encoding": query.get("twice") ? "gzip, gzip" : "gzip",
      "Content-Length": twice.length}, "");
    socket.write(twice);
  },
  gzip({socket, headers}) {
    const body = zlib.gzipSync("compressed");
    answer(socket, 200, {"Content-Encoding": "gzip", "Content-Length": body.length,
      "X-Accepted": headers["accept-encoding"] ?? "nothing"}, "");
    socket.write(body);
  },
  badgzip({socket}) {
    answer(socket, 200, {"Content-Encoding": "gzip"}, "this was never compressed");
  },
  pieces({socket, query}) { // counts what it could send
    const size = Number(query.get("size"));
    seen.pieces = 0;
    socket.write(`HTTP/1.1 200 OK\r\nContent-Length: ${size}\r\n\r\n`);
    const more = () => {
      while (seen.pieces < size) {
        const bytes = Buffer.alloc(Math.min(16384, size - seen.pieces), "abcdefgh");
        seen.pieces += bytes.length;
        if (!socket.write(bytes)) return;
      }
    };
    socket.on("drain", more);
    more();
  },
  // Answers the first request of a connection, and ends it without a word at the second.
  dies({socket, count}) {
    seen.dies = (seen.dies ?? 0) + 1;
    if (count > 1) return socket.end();
    answer(socket, 200, {}, "once");
  },
  hold({socket}) { // until /release
    seen.held = (seen.held ?? 0) + 1;
    seen.most = Math.max(seen.most ?? 0, seen.held);
    (seen.waiting ??= []).push(() => {
      seen.held -= 1;
      answer(socket, 200, {}, "released");
    });
    socket.on("close", () => { seen.gone = (seen.gone ?? 0) + 1; });
  },
  release({socket}) {
    const waiting = seen.waiting ?? [];
    seen.waiting = [];
    for (const go of waiting) go();
    answer(socket, 200, {}, String(waiting.length));
  },
  seen({socket}) {
    answer(socket, 200, {}, JSON.stringify({...seen, waiting: (seen.waiting ?? []).length}));
  },
};

function serve(socket) {
  let bytes = Buffer.alloc(0);
  let count = 0;
  socket.setNoDelay(true);
  socket.on("error", () => {});
  socket.on("data", (data) => {
    bytes = Buffer.concat([bytes, data]);
    for (;;) {
      const end = bytes.indexOf("\r\n\r\n");
      if (end < 0) return;
      const lines = bytes.subarray(0, end).toString("latin1").split("\r\n");
      const [method, target] = lines[0].split(" ");
      const headers = {};
      for (const line of lines.slice(1)) {
        const colon = line.indexOf(":");
        headers[line.slice(0, colon).toLowerCase()] = line.slice(colon + 1).trim();
      }
      const length = Number(headers["content-length"] ?? 0);
      if (bytes.length < end + 4 + length) return;
      const body = bytes.subarray(end + 4, end + 4 + length);
      bytes = bytes.subarray(end + 4 + length);
      requests += 1;
      count += 1;
      const url = new URL(target, "http://peer/");
      const way = ways[url.pathname.slice(1)] ?? ways.echo;
      way({socket, method, path: target, query: url.searchParams, headers, body, count});
    }
  });
}

const server = net.createServer(serve);
server.listen(Number(process.argv[2] ?? 0), "127.0.0.1", () => {
  console.log(`listening on ${server.address().port}`);
});
