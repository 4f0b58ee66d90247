// A host's clocks, which chaos sets wrong: see spec/chaos/clock.c.

import fs from "node:fs";
import path from "node:path";
import {root} from "../support/checks.mjs";

const LIBRARY = path.join(root, "build/chaos-clock.so");
const HEAD = 8;               // bytes: which of the two settings holds
const SETTING = 7 * 8;
const SOON = 20_000_000n;     // ns until another rate: time must not go back

export class Clock {
  wall = 0n;                                  // ns
  before = {from: 0n, offset: 0n, rate: 1};
  now = {from: 0n, offset: 0n, rate: 1};
  which = 0;

  constructor(file) {
    if (!fs.existsSync(LIBRARY)) throw new Error(`${LIBRARY} is not there: run make build/chaos-clock.so`);
    this.file = file;
    this.fd = fs.openSync(file, "w+");
    fs.ftruncateSync(this.fd, HEAD + 2 * SETTING);
    this.#write();
  }

  /** What a program needs for it. */
  get env() {
    const options = process.env.ASAN_OPTIONS;
    return {LD_PRELOAD: LIBRARY, SYNC_CHAOS_CLOCK: this.file,
      ASAN_OPTIONS: `${options ? `${options}:` : ""}verify_asan_link_order=0`};
  }

  /** Has the wall clock be off by so many seconds. */
  setWall(seconds) {
    this.wall = BigInt(seconds) * 1_000_000_000n;
    this.#write();
  }

  /** Has the clock that goes on do so at a rate: 1 is right. */
  setRate(rate) {
    const from = process.hrtime.bigint() + SOON;
    const {now} = this;
    const offset = now.offset + BigInt(Math.round(Number(from - now.from) * (now.rate - 1)));
    this.before = now;
    this.now = {from, offset: now.from === 0n ? 0n : offset, rate};
    this.#write();
  }

  #write() {
    this.which = 1 - this.which;
    const bytes = Buffer.alloc(SETTING);
    bytes.writeBigInt64LE(this.wall, 0);
    [this.before, this.now].forEach(({from, offset, rate}, i) => {
      bytes.writeBigInt64LE(from, 8 + 24 * i);
      bytes.writeBigInt64LE(offset, 16 + 24 * i);
      bytes.writeDoubleLE(rate, 24 + 24 * i);
    });
    fs.writeSync(this.fd, bytes, 0, SETTING, HEAD + this.which * SETTING);
    const which = Buffer.alloc(HEAD);
    which.writeBigUInt64LE(BigInt(this.which));
    fs.writeSync(this.fd, which, 0, HEAD, 0);
  }

  close() { fs.closeSync(this.fd); }
}
