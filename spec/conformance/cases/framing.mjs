// Section 1: messages of one frame, at the lengths where the header changes. Section 10: a
// message in frames as an automatic fragmenter makes them.
import {TEXT, binary, fragments, text} from "../frame.mjs";
import {octets, utf8} from "../data.mjs";
import {binaryBack, exchange, textBack} from "../script.mjs";

//               length, cut into pieces of so many octets
const LENGTHS = [[0], [125], [126], [127], [128], [65535], [65536], [65536, 997]];

const inPieces = (chop) => (chop ? `, in pieces of ${chop}` : "");

export default [
  ...LENGTHS.map(([length, chop], n) =>
    exchange(`1.1.${n + 1}`, `text of ${length} octets${inPieces(chop)}`, () => ({
      send: [text(utf8(length))],
      expect: [textBack(utf8(length))],
      chop,
    })),
  ),
  ...LENGTHS.map(([length, chop], n) =>
    exchange(`1.2.${n + 1}`, `binary of ${length} octets${inPieces(chop)}`, () => ({
      send: [binary(octets(length))],
      expect: [binaryBack(octets(length))],
      chop,
    })),
  ),
];

export const fragmenter = [
  exchange("10.1.1", "text of 65536 octets in frames of 1300", () => ({
    send: fragments(TEXT, utf8(65536), 1300),
    expect: [textBack(utf8(65536))],
  })),
];
