--- A node that goes on in the next process: what is handed over of it, whatever links it to the
-- others. See lua/sync/cluster/carried.lua.
-- @module sync.upgrade.node

local arrival = require "sync.upgrade.arrival"
local carried = require "sync.cluster.carried"
local upgrade = require "sync.upgrade"

local node = {}

-- What keeps it from being handed over: sessions on their way here.
local function unrest(cluster)
  local count = cluster.handover.takingCount
  if count > 0 then return ("%d sessions are on their way here"):format(count) end
end

--- Lets it be handed over.
-- @tparam sync.cluster cluster
function node.attach(cluster)
  table.insert(upgrade.hellos, function(told) told.node = carried.begin(cluster) end)
  table.insert(upgrade.unrests, function() return unrest(cluster) end)
  table.insert(upgrade.parts, function(parcel, add)
    for topic, channel in pairs(cluster.presence.heard) do
      add(parcel, carried.packRoom(topic, channel), topic)
    end
  end)
end

--- Adds what comes before the clients.
-- @tparam sync.cluster cluster
-- @tparam table begun what the next process was told of the node at first
function node.pack(cluster, begun, parcel, add)
  add(parcel, carried.pack(cluster, begun), "the node")
end

--- Makes this process's node the one that it was.
function node.arrive(cluster)
  function arrival.firsts.node(told) carried.unpack(cluster, told) end
  function arrival.parts.nodeRoom(told) carried.unpackRoom(cluster, told) end
end

return node
