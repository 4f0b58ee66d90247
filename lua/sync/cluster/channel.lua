--- What a set has to do with other nodes: `set.channel`. This one is of the `clients` of a class,
-- of which nodes tell each other how many they are; rooms have more of it (see
-- lua/sync/cluster/presence.lua).
-- @classmod sync.cluster.channel

local Class = require "sync.class"
local frame = require "sync.cluster.frame"

local Channel = Class:extend("Channel")

--- Makes the channel of a set.
-- @tparam sync.cluster cluster
-- @tparam sync.Set set
-- @tparam string topic
function Channel:open(cluster, set, topic)
  return self:new {cluster = cluster, set = set, topic = topic, stream = cluster.streams:of(topic)}
end

--- Sends a message to the set's clients on other nodes.
-- @tparam string data
-- @tparam number kind of `enum sync_kind`
function Channel:publish(data, kind)
  self.cluster:publish(self.stream, frame.DATA, data, kind)
end

--- Sends an event to them, in JSON. Those who may come back are told by the journal what they
-- have missed.
function Channel:publishEvent(text)
  local cluster, stream = self.cluster, self.stream
  cluster:publish(stream, frame.FIRE, text)
  cluster:nameEvent(cluster.node, stream.id, stream.number)
  if self.set.resumable then
    cluster.journal:keepEvent(self.topic, cluster:eventName(), text)
  end
end

--- How many clients the set has on other nodes, as of their last beats.
-- @treturn number
function Channel:count()
  local count = 0
  for _, peer in pairs(self.cluster.nodes) do
    if peer.alive then count = count + (peer.counts[self.set.name] or 0) end
  end
  return count
end

--- Who is in the set on other nodes: for a class that is not known.
-- @treturn table
function Channel.members()
  return {}
end

-- A client has come into the set, or gone. Beats tell how many there are.
function Channel.note() end

--- Gives a room of the class a channel.
function Channel:addRoom(room)
  self.cluster:addRoom(self.set, room)
end

return Channel
