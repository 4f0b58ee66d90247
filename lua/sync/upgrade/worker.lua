--- A worker's part in an upgrade: its parent has started the process that takes its place, which
-- goes on as the same node, by the same connection to the parent. See
-- lua/sync/upgrade/parent.lua for the parent's part.
-- @module sync.upgrade.worker

local arrival = require "sync.upgrade.arrival"
local core = require "sync.core"
local loop = require "sync.loop"
local node = require "sync.upgrade.node"
local upgrade = require "sync.upgrade"

local C, handle = core.C, core.handle

-- What connections to other processes are handed over as.
local PARENT, WAY_HERE, WAY_THERE = "parent", "way here", "way there"

local worker = {}

-- The old process.

local function addLink(self, parcel, add, slot, told)
  told.slot = slot
  add(parcel, {what = "clients", list = {told}}, "a connection to another process")
  if C.sync_parcel_client(handle, parcel, slot) ~= 1 then
    error("a connection to another process can't be handed over now", 0)
  end
  self.slots[#self.slots + 1] = slot
end

-- What is handed over before the clients: the node, where the parent links it to others, and the
-- connections to the parent and to other workers.
local function addFirst(cluster, bus)
  return function(self, parcel, add)
    if cluster.engine == bus then node.pack(cluster, self.told.node, parcel, add) end
    local told = bus:pack()
    told.place = PARENT
    addLink(self, parcel, add, bus.link.slot, told)
    for _, way in ipairs(bus.ways:pack()) do
      way.place = way.topic and WAY_THERE or WAY_HERE
      addLink(self, parcel, add, way.slot, way)
    end
  end
end

-- What a process that tries needs to know, and one that takes over.
local function begin(server, said)
  local cluster, bus, isOver = server.cluster, server.bus, false
  local function answer(text)
    if isOver then return end
    bus:tellUpgraded {process = said.process, problem = text:match "^failed: (.*)"}
  end
  upgrade.begin(server.words, server.listeners(), function(seconds)
    isOver = true
    bus:release()
    C.sync_worker_end(handle)
    server.onLeft(seconds)
  end, {process = said.process, fd = C.sync_next_fetch(handle, said.process), answer = answer,
    frozen = C.SYNC_FROZEN_ALL, addFirst = addFirst(cluster, bus)})
end

--- Lets the parent have this process replaced.
-- @tparam table server `cluster`, `bus`, `words`, the command line, `listeners()`, which gives
-- those that are open, and `onLeft(seconds)`
function worker.attach(server)
  local bus, cluster = server.bus, server.cluster
  bus:onUpgrade(function(said)
    if said.process then return begin(server, said) end
    bus:tellUpgraded {hello = upgrade.hello(server.listeners())}
  end)
  if cluster.engine == bus then node.attach(cluster) end
  table.insert(upgrade.unrests, function()
    if bus.pendingCount > 0 then
      return ("%d calls of the parent's wait for answers"):format(bus.pendingCount)
    end
    return bus.ways:unrest()
  end)
end

-- The new one.

--- Makes this process the worker that another was, when it takes over.
-- @tparam table server as of `attach`
-- @tparam function gone called when the parent has gone
function worker.arrive(server, gone)
  local bus, cluster = server.bus, server.cluster
  local function place(name, connector, owner)
    arrival.places[name] = {id = connector.id, take = function(slot, told)
      owner:take(slot, told, connector)
    end}
  end
  local here, there = bus.ways:connectors()
  place(PARENT, bus:connector(gone), bus)
  place(WAY_HERE, here, bus.ways)
  place(WAY_THERE, there, bus.ways)
  if cluster.engine == bus then node.arrive(cluster) end
  arrival.afters[#arrival.afters + 1] = function()
    bus:goOn()
    bus:tellUpgraded {process = C.sync_process()}
    loop.continueFrom(bus.link.id)
  end
end

return worker
