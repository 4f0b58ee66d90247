// A host's log: where it is now, and whether all is in it that was asked for, and nothing else.

import fs from "node:fs";
import path from "node:path";

const DROPPED = /(\d+) lines of the log were dropped/g;
const STUCK = /a handler is stuck|the handler that was stuck/; // the machine is that busy

export class Log {
  expected = [DROPPED, STUCK]; // patterns of errors that acts have caused
  asked = 0;            // lines that it was to have
  others = 0;           // lines that may be among those that were dropped
  elsewhere = "";       // what was read of it elsewhere than in its file

  constructor(folder) {
    this.file = path.join(folder, "log");
    this.link = path.join(folder, "log.now");
    this.point(this.file);
  }

  /** Where a server that opens the log anew finds it. */
  point(file) {
    fs.symlinkSync(file, `${this.link}.new`);
    fs.renameSync(`${this.link}.new`, this.link);
  }

  get text() { return fs.existsSync(this.file) ? fs.readFileSync(this.file, "utf8") : ""; }

  /** Its last lines, but for those that were asked for. */
  get end() {
    return this.text.split("\n").filter(line => !/line \d+ of l/.test(line)).slice(-30).join("\n");
  }

  /** A function that returns what was written since. */
  mark() {
    const {length} = this.text;
    return () => this.text.slice(length);
  }

  get whole() { return `${this.text}\n${this.elsewhere}`; }

  /** Lines that it says were dropped. */
  get dropped() {
    return [...this.whole.matchAll(DROPPED)].reduce((sum, [, lines]) => sum + Number(lines), 0);
  }

  /** Lines that it was asked for are there, or told of as dropped. Returns how many are not, or are
   * told of though they are there. */
  get wrong() {
    const count = this.whole.match(/INFO  line \d+ of l\d+\.$/gm)?.length ?? 0;
    const missing = this.asked - count - this.dropped;
    return missing < 0 ? Math.max(0, -missing - this.others) : missing;
  }

  /** Lines of its file that are errors, and were not expected: on a disk that was full, lines of
   * several processes may be torn. */
  get errors() {
    return this.text.split("\n").filter(line => line.includes("ERROR") &&
      !this.expected.some(pattern => line.search(pattern) >= 0));
  }
}
