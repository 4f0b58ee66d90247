--- What another process has to know to go on as this node: other nodes notice nothing. Its number
-- and its epoch stay; the ids of its streams are behind those that were, so that what is sent by
-- new ones isn't taken for what came before; and of the others it knows how far they have come.
-- @module sync.cluster.carried

local values = require "sync.cluster.values"

local SPARE = 65536 -- ids of streams that the process before may use while the next one begins

local carried = {}

--- What the next process is told before it loads its script: for `Cluster:link`.
-- @tparam sync.cluster cluster
function carried.begin(cluster)
  local engine = cluster.engine
  return {epoch = cluster.epoch, lastStream = cluster.streams.last + SPARE, number = cluster.node,
    kind = engine.kind, server = engine.server and engine:server()}
end

local function packPeers(cluster)
  local list = {}
  for _, peer in pairs(cluster.nodes) do
    list[#list + 1] = {number = peer.number, epoch = peer.epoch, before = peer.before,
      alive = peer.alive, byes = peer.byes, counts = peer.counts, streams = peer.streams}
  end
  return list
end

--- What it's told when it takes over.
-- @tparam sync.cluster cluster
-- @tparam table begun of `begin`
-- @treturn table
-- @raise when so many topics have come meanwhile that the ids aren't enough, or the node had to
-- take another number
function carried.pack(cluster, begun)
  if cluster.node ~= begun.number then error("the node has another number now", 0) end
  if cluster.streams.last > begun.lastStream then
    error("too many rooms were made meanwhile", 0)
  end
  return {what = "node", lost = cluster.lost, shed = cluster.shed, peers = packPeers(cluster),
    lastSid = cluster.journal.lastSid, lastQuestion = cluster.handover.lastQuestion}
end

--- Goes on with that.
function carried.unpack(cluster, told)
  cluster.lost, cluster.shed = told.lost, told.shed
  cluster.journal.lastSid, cluster.handover.lastQuestion = told.lastSid, told.lastQuestion
  for _, each in ipairs(told.peers) do
    local peer = cluster:meet(each.number, each.epoch, {epoch = each.before})
    for _, name in ipairs {"alive", "byes", "counts", "streams"} do peer[name] = each[name] end
  end
end

local function membersOf(channel)
  local list = {}
  for number, members in pairs(channel.nodes) do
    for id, member in pairs(members) do
      list[#list + 1] = {number, id, values.note(member.value, "a member's value")}
    end
  end
  return list
end

--- What is known of who is in a room.
-- @tparam string topic of the room
-- @tparam Channel channel
-- @treturn table
function carried.packRoom(topic, channel)
  local own = {}
  for client in channel.set do own[#own + 1] = client.id end
  return {what = "nodeRoom", topic = topic, members = membersOf(channel), own = own}
end

--- The same here, when its clients have joined again. Others are told of those who didn't: they
-- were about to go.
function carried.unpackRoom(cluster, told)
  local channel = cluster.presence.heard[told.topic]
  if not channel then return end
  for _, each in ipairs(told.members) do channel:put(each[1], each[2], each[3]) end
  local here = {}
  for client in channel.set do here[client.id] = true end
  for _, id in ipairs(told.own) do
    if not here[id] then channel:noteGone(id) end
  end
end

return carried
