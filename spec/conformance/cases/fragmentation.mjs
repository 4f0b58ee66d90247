// Section 5: fragmented messages, control frames between fragments, and wrong sequences.
import {PING, PONG, continuation, frame, ping, text} from "../frame.mjs";
import {exchange, pongBack, serverFails, textBack} from "../script.mjs";

const PARTS = ["fragment1", "fragment2", "fragment3", "fragment4", "fragment5"];
const OPEN = {fin: false};
const CUTS = [
  [undefined, "in one write"],
  ["frames", "frame by frame"],
  [1, "octet by octet"],
];

/** Three cases that differ in how the bytes are cut only. */
function cutThreeWays(first, about, build) {
  return CUTS.map(([chop, how], n) =>
    exchange(`5.${first + n}`, `${about}, ${how}`, () => ({...build(), chop})),
  );
}

const fails = (...send) => ({send, end: serverFails(1002)});
const twice = (...frames) => [...frames, ...frames];
const twoFragments = () => [text(PARTS[0], OPEN), continuation(PARTS[1])];
const FIVE = (gap) => [
  text(PARTS[0], OPEN),
  continuation(PARTS[1], OPEN),
  ping("pongme 1!"),
  gap,
  continuation(PARTS[2], OPEN),
  continuation(PARTS[3], OPEN),
  ping("pongme 2!"),
  continuation(PARTS[4]),
];
const FIVE_BACK = [pongBack("pongme 1!"), pongBack("pongme 2!"), textBack(PARTS.join(""))];

export default [
  exchange("5.1", "ping in two fragments", () =>
    fails(frame(PING, PARTS[0], OPEN), continuation(PARTS[1])),
  ),
  exchange("5.2", "pong in two fragments", () =>
    fails(frame(PONG, PARTS[0], OPEN), continuation(PARTS[1])),
  ),
  ...cutThreeWays(3, "text in two fragments", () => ({
    send: twoFragments(),
    expect: [textBack("fragment1fragment2")],
  })),
  ...cutThreeWays(6, "text in two fragments, a ping between them", () => ({
    send: [text(PARTS[0], OPEN), ping("ping"), continuation(PARTS[1])],
    expect: [pongBack("ping"), textBack("fragment1fragment2")],
  })),
  ...cutThreeWays(9, "final continuation of nothing, then a text", () =>
    fails(continuation("nothing"), text("Hello")),
  ),
  ...cutThreeWays(12, "continuation of nothing with more to come, then a text", () =>
    fails(continuation("nothing", OPEN), text("Hello")),
  ),
  exchange("5.15", "text in two fragments, continuation of nothing, text", () => ({
    send: [...twoFragments(), continuation("nothing", OPEN), text("Hello")],
    expect: [textBack("fragment1fragment2")],
    end: serverFails(1002),
  })),
  exchange("5.16", "twice: open continuation of nothing, then a text in two fragments", () =>
    fails(...twice(continuation("nothing", OPEN), ...twoFragments())),
  ),
  exchange("5.17", "twice: final continuation of nothing, then a text in two fragments", () =>
    fails(...twice(continuation("nothing"), ...twoFragments())),
  ),
  exchange("5.18", "text in two fragments that both say text", () =>
    fails(text(PARTS[0], OPEN), text(PARTS[1])),
  ),
  exchange(
    "5.19",
    "text in five fragments with pings between them and a second of silence",
    () => ({send: FIVE(1000), expect: FIVE_BACK}),
  ),
  exchange("5.20", "the same, octet by octet", () => ({
    send: FIVE(1000),
    expect: FIVE_BACK,
    chop: 1,
  })),
];
