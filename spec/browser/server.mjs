// The two servers of the tests: the room, which is the program under test, and a small one
// for the pages, the movie and Ruffle.

import {spawn} from "node:child_process";
import {once} from "node:events";
import {createReadStream, statSync} from "node:fs";
import http from "node:http";
import path from "node:path";
import {fileURLToPath} from "node:url";
import {inTime, program, root} from "../support/checks.mjs";

const here = path.dirname(fileURLToPath(import.meta.url));
export const built = path.join(root, "build/browser");

const folders = {
  "/ruffle/": path.join(root, "build/node/node_modules/@ruffle-rs/ruffle"),
  "/xmlsocket.swf": built,
  "/": here,
};

const types = {
  ".html": "text/html; charset=utf-8",
  ".js": "text/javascript; charset=utf-8",
  ".wasm": "application/wasm",
  ".swf": "application/x-shockwave-flash",
};

function answer(request, response) {
  const name = path.posix.normalize(new URL(request.url, "http://localhost").pathname);
  const prefix = Object.keys(folders).find(start => name.startsWith(start));
  const within = prefix.endsWith("/") ? name.slice(prefix.length) : name;
  const file = path.join(folders[prefix], within);
  const type = types[path.extname(file)];
  if (!type || !statSync(file, {throwIfNoEntry: false})?.isFile()) {
    response.writeHead(404).end();
    return;
  }
  response.writeHead(200, {"Content-Type": type});
  createReadStream(file).pipe(response);
}

// Serves the pages on a free port. Returns their origin.
export async function servePages() {
  const server = http.createServer(answer).listen(0, "127.0.0.1");
  await once(server, "listening");
  server.unref();
  return `http://127.0.0.1:${server.address().port}`;
}

// The program under test with room.lua, as a child process.
export class Room {
  lines = [];   // of its standard output, as lists of words
  trouble = ""; // of its standard error

  constructor(port, origin) {
    this.process = spawn(program, [path.join(here, "room.lua"), String(port), origin],
      {stdio: ["ignore", "pipe", "pipe"]});
    this.ended = new Promise(resolve => {
      this.process.on("error", error => {
        this.trouble += error.message;
        resolve(error.message);
      });
      this.process.on("exit", (code, signal) => resolve(signal ?? code));
    });
    process.once("exit", () => this.process.kill("SIGKILL"));
    let half = "";
    this.process.stdout.setEncoding("utf8").on("data", text => {
      const lines = (half + text).split("\n");
      half = lines.pop();
      this.lines.push(...lines.map(line => line.split("\t")));
    });
    this.process.stderr.setEncoding("utf8").on("data", text => {
      this.trouble += text;
    });
  }

  // The line that begins with these words, when it has come; undefined if it doesn't.
  async said(...words) {
    let line;
    await inTime(() => {
      line = this.lines.find(one => words.every((word, i) => one[i] === String(word)));
      return line || this.process.exitCode !== null;
    });
    return line;
  }

  async port() {
    const line = await this.said("port");
    if (!line) throw new Error(`the server did not start: ${this.trouble}`);
    return Number(line[1]);
  }

  // Ends it by a signal. Returns its exit code or the signal that ended it.
  async end(signal) {
    this.process.kill(signal);
    let result = "still running";
    await inTime(() => this.process.exitCode !== null || this.process.signalCode !== null);
    if (this.process.exitCode !== null || this.process.signalCode !== null) {
      result = await this.ended;
    }
    return result;
  }
}
