--- What a set has to do with other nodes: `set.channel`. This one is of the `clients` of a class,
-- of which nodes tell each other how many they are; rooms have more of it (see
-- lua/sync/cluster/presence.lua).
-- @classmod sync.cluster.channel

local Class = require "sync.class"
local event = require "sync.cluster.event"
local frame = require "sync.cluster.frame"
local log = require "sync.log"

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

--- Sends an event to them. Those who may come back are told by the journal what they have
-- missed, but of nothing that is worthless when late.
-- @param how nil, or what `fire` was told: a key of `latest`, or false
-- @tparam string|nil text of the event in JSON
-- @tparam boolean isPlain whether the text says all of it
-- @tparam string name
-- @param ... arguments
-- @treturn string|boolean the event's name on all nodes, where it may be asked for, or false
function Channel:publishEvent(how, text, isPlain, name, ...)
  local cluster, stream = self.cluster, self.stream
  local body, flags = event.write(how, isPlain and text or nil, name, ...)
  if not body then
    log.limited("error", "event", ("the event %s can't be told to other nodes: %s"):format(name,
      flags))
    return false
  end
  cluster:publish(stream, frame.FIRE, body, flags)
  if how == false or not self.set.resumable then return false end
  local eventName = frame.eventName(cluster.node, stream.id, stream.number)
  if text then cluster.journal:keepEvent(self.topic, eventName, text) end
  return eventName
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

--- Calls a function when messages of other nodes are sure to arrive here; of a class they are
-- since the node has begun.
-- @treturn boolean false: they are already, and the function isn't called
function Channel.whenHeard() return false end

-- A client has come into the set, or gone. Beats tell how many there are.
function Channel.note() end

--- Gives a room of the class a channel.
function Channel:addRoom(room)
  self.cluster:addRoom(self.set, room)
end

return Channel
