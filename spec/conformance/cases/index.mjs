// All cases in the order of their numbers.
import closing from "./closing.mjs";
import {pings, reservedBits, reservedOpcodes} from "./control.mjs";
import deflate from "./deflate.mjs";
import fragmentation from "./fragmentation.mjs";
import framing, {fragmenter} from "./framing.mjs";
import limits from "./limits.mjs";
import utf8 from "./utf8.mjs";

export default [
  ...framing,
  ...pings,
  ...reservedBits,
  ...reservedOpcodes,
  ...fragmentation,
  ...utf8,
  ...closing,
  ...limits,
  ...fragmenter,
  ...deflate,
];
