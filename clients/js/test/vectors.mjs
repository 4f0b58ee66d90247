// The test vectors of spec/state/vectors, as docs/state.md describes them.

import {readFileSync, readdirSync} from "node:fs";
import {State, readHead, toHead} from "../sync-state.js";

const folder = new URL("../../../spec/state/vectors/", import.meta.url);

export const vectors = readdirSync(folder).sort().map(file =>
  ({file, ...JSON.parse(readFileSync(new URL(file, folder)))}));

export const bytesOf = hex => new Uint8Array(Buffer.from(hex, "hex"));

/** Applies a step of a vector, in the form "binary" or "json". */
export function applyStep(state, step, form) {
  const head = form === "json" ? toHead(step.json) : readHead(bytesOf(step.binary));
  return state.apply(head);
}

export const newState = ({join}) => new State(join.state);

const byKey = ([a], [b]) => typeof a === "string" ? Buffer.compare(Buffer.from(a), Buffer.from(b))
  : a - b;

// A value as the vectors have it: maps are pairs.
function plain(value) {
  if (value instanceof Map) return [...value].map(([key, one]) => [key, plain(one)]).sort(byKey);
  if (Array.isArray(value)) return value.map(plain);
  return value;
}

function plainFields(table, fields) {
  const entries = table.all.map(({name, type}) => [name, plain(fields[name]),
    plain(type.make ? type.make() : type.byDefault)]);
  return Object.fromEntries(entries
    .filter(([, value, byDefault]) => JSON.stringify(value) !== JSON.stringify(byDefault))
    .map(([name, value]) => [name, value]));
}

/** What a client has, as the vectors say it: {tick, input, state, mine}. */
export function viewOf({tick, input, tables: [own, ...maps], root}) {
  const state = own.numbers.size ? plainFields(own, root.fields) : {};
  const mine = {};
  for (const table of maps) {
    const entities = [...table.keys.values()];
    state[table.name] = entities.map(({key, fields}) => [key, plainFields(table, fields)])
      .sort(byKey);
    mine[table.name] = entities.filter(({isMine}) => isMine).map(({key}) => [key]).sort(byKey)
      .flat();
  }
  return {tick, input, state, mine};
}

/** What listeners are told, as the vectors say it. */
export function toldOf(told) {
  return told.map(({what, table, entity, detail}) => {
    const one = [what, table.name, entity.key];
    if (detail !== undefined) one.push(Array.isArray(detail) ? [...detail].sort() : detail);
    return one;
  });
}
