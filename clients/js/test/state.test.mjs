// Patches: the test vectors in both forms, and what is wrong in all manner of ways.

import assert from "node:assert/strict";
import test from "node:test";
import {Refused, readHead, toHead} from "../sync-state.js";
import {random} from "./help.mjs";
import {applyStep, bytesOf, newState, toldOf, vectors, viewOf} from "./vectors.mjs";

const {FUZZ = 20_000, SEED = 1} = process.env; // `FUZZ=1000000` for the long run

// What a snapshot tells was worked out, in an order that is the client's own; JSON has another
// order of tables.
const inOrder = told => told.map(one => JSON.stringify(one)).sort();

for (const vector of vectors) {
  for (const form of ["binary", "json"]) {
    test(`${vector.file} in ${form}`, () => {
      const state = newState(vector);
      for (const step of vector.steps) {
        if (step.refused) {
          if (form === "json") continue;
          const before = viewOf(state);
          assert.throws(() => applyStep(state, step, form), Refused, step.refused);
          assert.deepEqual(viewOf(state), before, step.refused);
          continue;
        }
        const told = toldOf(applyStep(state, step, form));
        const {tick, input, state: wanted, mine} = step;
        assert.deepEqual(viewOf(state), {tick, input, state: wanted, mine}, step.what);
        if (step.json.snapshot || form === "json") assert.deepEqual(inOrder(told), inOrder(step.told), step.what);
        else assert.deepEqual(told, step.told, step.what);
      }
    });
  }
}

test("JSON that is wrong is refused, and changes nothing", () => {
  const [vector] = vectors.filter(({file}) => file === "refused.json");
  const state = newState(vector);
  applyStep(state, vector.steps[0], "json");
  const before = viewOf(state);
  const head = {room: 1, epoch: 0, tick: 2, input: 0};
  for (const wrong of [
    null, 7, {}, {...head, tick: -1}, {...head, input: 1.5}, {...head, change: {none: []}},
    {...head, change: {players: 3}}, {...head, change: {players: [[1, {hp: 1}]]}},
    {...head, change: {players: [[0, {hp: 256}]]}}, {...head, change: {players: [[0, {hp: "1"}]]}},
    {...head, change: {players: [[0, {what: 1}]]}}, {...head, change: {players: [[0, null]]}},
    {...head, change: {players: [[0, {name: 5}]]}}, {...head, change: {players: [[0, {x: null}]]}},
    {...head, change: {players: [[0, {hand: {}}, true]]}},
    {...head, change: {players: [[0, {hp: 1}, 1]]}},
    {...head, new: {players: [[0, 9, {}]]}}, {...head, seen: {players: [[1, 3, {}]]}},
    {...head, seen: {players: [[1, "x", {}]]}}, {...head, new: {items: [[1, 2, {}]]}},
    {...head, gone: {players: [0, 0]}}, {...head, gone: {players: [1]}},
    {...head, hidden: {players: ["0"]}}, {...head, gone: {players: [0.5]}},
    {...head, change: {players: [[0, {hp: 1}], [0.5, {hp: 1}]]}},
    {...head, snapshot: true, gone: {players: [0]}},
  ]) {
    assert.throws(() => state.apply(toHead(wrong)), Refused, JSON.stringify(wrong));
    assert.deepEqual(viewOf(state), before);
  }
  assert.throws(() => newState(vector).apply(toHead({...head})), Refused, "without a snapshot");
});

test("a patch that doesn't fit what it says itself is refused", () => {
  const [vector] = vectors.filter(({file}) => file === "entities.json");
  const state = newState(vector);
  applyStep(state, vector.steps[0], "json");
  const head = {room: 1, epoch: 0, tick: 2, input: 0};
  const refuses = patch =>
    assert.throws(() => state.apply(toHead({...head, ...patch})), Refused, JSON.stringify(patch));
  refuses({gone: {players: [0]}, hidden: {players: [0]}});
  refuses({gone: {players: [0]}, change: {players: [[0, {hp: 1}]]}});
  refuses({new: {players: [[8, 50, {}], [9, 50, {}]]}});
  refuses({new: {players: [[8, 50, {}]]}, seen: {players: [[9, 50, {}]]}});
  refuses({snapshot: true, new: {players: [[8, 50, {}]]}, seen: {players: [[8, 51, {}]]}});
  refuses({snapshot: true, seen: {players: [[8, 50, {}], [9, 50, {}]]}});
  refuses({snapshot: true, change: {players: [[0, {hp: 1}]]}});
  state.apply(toHead({...head, gone: {players: [0]}, new: {players: [[9, 3, {}]]}}));
});

test("what a room declares and this client doesn't know is an error that says so", () => {
  for (const type of ["vector3", ["list", "vector3"], ["set", "uint8"], 5, null, "toString",
    ["map", "float32", "uint8"]]) {
    assert.throws(() => newState({join: {state: {fields: [["a", type]], maps: []}}}), TypeError);
  }
  assert.throws(() => newState({join: {state: {fields: [["__proto__", "bool"]], maps: []}}}),
    TypeError);
});

// Spoils a patch in one to four places.
function mutate(bytes, chance) {
  let copy = [...bytes];
  for (let i = 1 + chance(4); i > 0; i--) {
    const at = chance(copy.length + 1);
    switch (chance(6)) {
      case 0: copy[at] = chance(256); break;
      case 1: copy[at] ^= 1 << chance(8); break;
      case 2: copy.splice(at, 1 + chance(4)); break;
      case 3: copy.splice(at, 0, chance(256)); break;
      case 4: copy.splice(at, 0, 0xFF, 0xFF, 0xFF, chance(128)); break;
      default: copy = [...copy, ...copy.slice(at)];
    }
  }
  return Uint8Array.from(copy.slice(0, 4096), byte => byte ?? 0);
}

test(`${FUZZ} mutated patches are taken or refused`, () => {
  const next = random(Number(SEED));
  const chance = n => Math.floor(next() * n);
  let refused = 0;
  let i = 0;
  while (i < FUZZ) {
    const vector = vectors[chance(vectors.length)];
    const state = newState(vector);
    for (const {binary} of vector.steps) {
      const bytes = bytesOf(binary);
      for (let j = 0; j < 10; j++, i++) {
        const before = JSON.stringify(viewOf(state));
        try {
          state.apply(readHead(mutate(bytes, chance)));
        } catch (error) {
          assert.ok(error instanceof Refused, error.stack);
          assert.equal(JSON.stringify(viewOf(state)), before);
          refused++;
        }
        for (const {numbers, keys} of state.tables) assert.equal(numbers.size, keys.size);
      }
      try {
        state.apply(readHead(bytes));
      } catch (error) { // what was mutated may have come in between
        assert.ok(error instanceof Refused, error.stack);
      }
    }
  }
  assert.ok(refused > i / 4 && refused < i, `${refused} of ${i} were refused`);
});
