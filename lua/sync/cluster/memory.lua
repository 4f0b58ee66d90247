--- The engine of a single process: its memory. `sync.shared` uses it where there is no other,
-- and so do nodes in one process, as in specs: engines of one hub hear each other.
--
--     local hub = memory.hub()
--     local one, other = memory.open(hub), memory.open(hub)
-- @module sync.cluster.memory

local Engine = require "sync.cluster.engine"
local Store = require "sync.cluster.store"

local memory = {}

local Memory = Engine:extend("Memory")
Memory.kind = "memory"
Memory.up = true
memory.Engine = Memory

--- What engines have in common.
-- @tparam[opt] table clock that tells when values expire
-- @treturn table
function memory.hub(clock)
  return {engines = {}, store = Store.new {clock = clock}, clock = clock}
end

--- Opens an engine.
-- @tparam[opt] table hub nil: a new one
-- @treturn sync.cluster.engine
function memory.open(hub)
  hub = hub or memory.hub()
  local self = Memory:new {hub = hub, clock = hub.clock, topics = {}, topicCount = 0,
    waiting = 0, -- operations that have not been answered
    taken = 0}   -- bytes of messages that have not been delivered
  hub.engines[self] = true
  return self
end

--- Nothing waits: a message is with its receivers after this tick.
-- @treturn number 0
function Memory.unsent()
  return 0
end

function Memory:hear(topic)
  if self.topics[topic] then return true end
  if self.topicCount >= self.maxTopics then return false end
  self.topics[topic] = true
  self.topicCount = self.topicCount + 1
  return true
end

function Memory:unhear(topic)
  if not self.topics[topic] then return end
  self.topics[topic] = nil
  self.topicCount = self.topicCount - 1
end

-- What is heard is heard at once.
function Memory:confirm(done)
  self:tellLater(done, true)
end

-- Takes a message in. It is delivered after the tick, unless too many wait for its end.
function Memory:take(topic, bytes)
  local size = #topic + #bytes
  if self.taken + size > self.maxBuffer then return self:drop(1, "too many come in a tick") end
  self.taken = self.taken + size
  self:tellLater(function()
    self.taken = self.taken - size
    if self.topics[topic] and not self.closed then self:tell("onMessage", topic, bytes) end
  end)
end

function Memory:carry(topic, bytes)
  for other in pairs(self.hub.engines) do
    if other ~= self and other.topics[topic] then other:take(topic, bytes) end
  end
  return true
end

function Memory:ask(name, done, ...)
  if self.closed then return self:tellLater(done, nil, "away") end
  if self.waiting >= self.maxPending then return self:tellLater(done, nil, "busy") end
  local function answered(...)
    if not done then return end
    self.waiting = self.waiting + 1
    self:tellLater(function(...)
      self.waiting = self.waiting - 1
      if self.closed then return done(nil, "away") end
      done(...)
    end, ...)
  end
  self.hub.store:ask(name, answered, ...)
end

function Memory:shut()
  self.up = false
  self.hub.engines[self] = nil
end

return memory
