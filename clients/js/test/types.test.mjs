// The types, if TypeScript is in build/node: npm install --prefix build/node --no-save typescript

import assert from "node:assert/strict";
import {spawnSync} from "node:child_process";
import {existsSync} from "node:fs";
import test from "node:test";
import {fileURLToPath} from "node:url";

const tsc = fileURLToPath(new URL("../../../build/node/node_modules/.bin/tsc", import.meta.url));

test("sync.d.ts is what it says", {skip: !existsSync(tsc) && "TypeScript is not installed"}, () => {
  const file = fileURLToPath(new URL("types.ts", import.meta.url));
  const {status, stdout} = spawnSync(tsc, ["--noEmit", "--strict", "--target", "es2022",
    "--module", "nodenext", "--lib", "es2023,dom", file], {encoding: "utf8"});
  assert.equal(status, 0, stdout);
});
