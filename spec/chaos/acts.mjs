// What chaos does, by scene. Each act is in spec/chaos/acts/, by what it disturbs.

import {churn, cut, stopClients} from "./acts/clients.mjs";
import {driftClock, driftNodeClock, jumpClock} from "./acts/clocks.mjs";
import {cutEngine, freezeNode, holdEngine, isolateNode, killEngine, slowEngine, stopEngine}
  from "./acts/engines.mjs";
import {cutNetwork, holdNetwork, slowNetwork} from "./acts/network.mjs";
import {kill, killWorker, stopParent, stopServer} from "./acts/processes.mjs";
import {fillDisk, stopLogReader, takeFiles} from "./acts/shortages.mjs";
import {badReload, badUpgrade, reload, upgrade} from "./acts/versions.mjs";

const all = {churn, cut, stopClients, holdNetwork, cutNetwork, slowNetwork, reload, badReload, upgrade, badUpgrade,
  stopServer, kill, jumpClock, fillDisk, takeFiles};
const ofNodes = {...all, driftNodeClock, cutEngine, killEngine, stopEngine, holdEngine, slowEngine, isolateNode,
  freezeNode};

export const single = {...all, driftClock, stopLogReader};
export const workers = {...all, driftClock, killWorker, stopParent};
export const redis = ofNodes;
export const nats = ofNodes;
