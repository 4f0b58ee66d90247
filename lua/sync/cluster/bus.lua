--- The engine of workers, which needs no installation: a worker's connection to its parent, and
-- by the parent to the other workers. Those who have much to say to each other have ways of their
-- own (see lua/sync/cluster/ways.lua).
--
-- Frames have a length before them. Their first byte is their type; a message's is followed by
-- the topic's length and the topic, and goes through the parent as it is.
-- @module sync.cluster.bus

local Connector = require "sync.connector"
local Engine = require "sync.cluster.engine"
local Protocol = require "sync.protocol"
local Ways = require "sync.cluster.ways"
local buffer = require "string.buffer"
local loop = require "sync.loop"

local ANSWER_SECONDS = 5

local bus = {
  PUBLISH = 1, SUBSCRIBE = 2, UNSUBSCRIBE = 3, REQUEST = 4, ANSWER = 5, DROPPED = 6,
  LISTENS = 7,
  RELOAD = 8, RELOADED = 9, -- asked by either, and answered
  WAY = 10,                 -- to a topic, as a message: see lua/sync/cluster/ways.lua
  UPGRADE = 11, UPGRADED = 12, -- asked by the parent; what came of it
  --- The operation that the parent answers by itself: that it has come so far.
  SETTLE = "settle",
  --- Topics that a worker may hear of.
  MOST_TOPICS = 1000000,
  --- Settings of both ends.
  settings = {framing = "length32", maxMessage = 2 * Engine.MOST_MESSAGE,
    maxQueue = 16 * 1024 * 1024, overflow = "drop", handshakeTimeout = 60},
}

local char, byte = string.char, string.byte

--- The topic of a message's frame.
-- @treturn string
-- @treturn number where the message begins
function bus.topicOf(data)
  local length = byte(data, 2)
  return data:sub(3, 2 + length), 3 + length
end

local function frameOf(type, topic) return char(type, #topic) .. topic end

local Bus = Engine:extend("Bus")
Bus.kind = "the bus"
Bus.maxTopics = bus.MOST_TOPICS

--- Makes the engine. It can be used at once: what is sent waits for `connect`.
-- @tparam[opt] table handlers as for `attach`
-- @treturn sync.cluster.engine with `connect`
function bus.open(handlers)
  local self
  self = Bus:new {handlers = handlers, up = false,
    link = false,                     -- the connection, while there is one
    early = {}, earlyBytes = 0,       -- frames that wait for it
    owed = {},                        -- topics that the parent must hear of, and in which way
    unsettled = {},                   -- functions that wait until none is owed
    topics = {}, topicCount = 0,
    pending = {}, pendingCount = 0,   -- operations that wait for answers, by number
    calls = {}, first = 1, last = 0,  -- the same, in the order of their times
    reloads = {}, reloadCount = 0,    -- functions that wait for an answer, by number
    version = 1, reload = false,      -- see onReload
    upgrade = false}                  -- see onUpgrade
  self.ways = Ways.open(bus.settings, {
    say = function(topic, said) self:put(frameOf(bus.WAY, topic) .. buffer.encode(said)) end,
    pass = function(topic, bytes) self:pass(topic, bytes) end,
    hear = function(topic, bytes) self:tell("onMessage", topic, bytes) end,
  }, self.maxBuffer)
  return self
end

-- The connection.

local Link = Protocol:extend("Parent")
for name, value in pairs(bus.settings) do Link[name] = value end
Link.isLink = true

function Link:begin(connector)
  self.engine = connector.owner
end

function Link:onConnect()
  self.engine:connected(self)
end

local on = {}

on[bus.PUBLISH] = function(engine, data)
  local topic, from = bus.topicOf(data)
  if engine.topics[topic] then engine:tell("onMessage", topic, data:sub(from)) end
end

on[bus.WAY] = function(engine, data)
  local topic, from = bus.topicOf(data)
  if engine.topics[topic] then engine.ways:told(buffer.decode(data:sub(from))) end
end

on[bus.ANSWER] = function(engine, data)
  local said = buffer.decode(data:sub(2))
  local call = engine.pending[said[1]]
  if call then engine:finish(call, unpack(said, 3, 2 + said[2])) end
end

on[bus.DROPPED] = function(engine, data)
  engine.dropped = engine.dropped + buffer.decode(data:sub(2))[1]
end

on[bus.RELOAD] = function(engine, data)
  local said = buffer.decode(data:sub(2))
  if not said.number then return engine.renumber(said.version) end
  engine.reload(said.back, function(ok, problem, texts)
    local answer = {number = said.number, ok = ok, problem = problem,
      texts = said.wantsTexts and texts or nil}
    local bytes = buffer.encode(answer)
    if #bytes > bus.settings.maxMessage / 2 then -- then others read the files themselves
      answer.texts = nil
      bytes = buffer.encode(answer)
    end
    engine:put(char(bus.RELOADED) .. bytes)
  end, said.version, said.texts)
end

on[bus.RELOADED] = function(engine, data)
  local said = buffer.decode(data:sub(2))
  local done = engine.reloads[said.number]
  engine.reloads[said.number] = nil
  if done then engine:guard("an answer", done, said.ok, said.problem) end
end

--- Has the parent's wish for another version of the script heard.
-- @tparam function reload called with `back`, `done`, the number that the version gets, and texts
-- @tparam function renumber called with the number that the version of the others has
function Bus:onReload(reload, renumber)
  self.reload, self.renumber = reload, renumber
end

on[bus.UPGRADE] = function(engine, data)
  engine.upgrade(buffer.decode(data:sub(2)))
end

--- Has the parent's words about an upgrade heard, which are tables.
function Bus:onUpgrade(upgrade) self.upgrade = upgrade end

--- Tells the parent what came of one.
-- @tparam table said
function Bus:tellUpgraded(said)
  self:put(char(bus.UPGRADED) .. buffer.encode(said))
end

--- Asks the parent for another version of the script, in all workers.
function Bus:askReload(back, done)
  local number = self.reloadCount + 1
  self.reloadCount, self.reloads[number] = number, done
  if self:put(char(bus.RELOAD) .. buffer.encode {number = number, back = back}) then return end
  self.reloads[number] = nil
  done(nil, "the workers' parent is away")
end

function Link:onDrain()
  self.engine:tellOwed()
end

function Link:onData(data)
  on[byte(data)](self.engine, data)
end

function Link:onClose()
  self.engine:lost()
end

--- Connects to the parent. Called when a worker's loop begins.
-- @tparam number fd of the socket that the parent has given
-- @tparam function gone called when the parent has gone
function Bus:connect(fd, gone)
  assert(self:connector(gone):adopt(fd))
end

--- What makes a socket the connection to the parent.
-- @tparam function gone
function Bus:connector(gone)
  self.gone = gone
  local connector = assert(Connector.new(Link, {}, true))
  connector.owner = self
  return connector
end

-- The connection goes on in the process that takes this one's place.

--- What that one has to know.
-- @treturn table
function Bus:pack()
  local topics = {}
  for topic in pairs(self.topics) do topics[#topics + 1] = topic end
  return {id = self.link.id, last = self.last, dropped = self.dropped, topics = topics}
end

--- It has it: nothing is sent from here any more.
function Bus:release()
  self.isGiven, self.closed, self.up, self.link = true, true, false, false
  self.ways:release()
  self:failAll()
end

--- Makes it this process's. What is said waits still, until `goOn`.
-- @tparam number slot of the connection
-- @tparam table told of `pack`
-- @tparam Connector connector
function Bus:take(slot, told, connector)
  self.taken = loop.adopt(slot, connector, told.id)
  self.taken.clients:add(self.taken)
  self.taken.engine = self
  self.last, self.first, self.dropped = told.last, told.last + 1, told.dropped
  self.before = told.topics
end

--- The process before has gone. Topics that it has heard of are given back, if this one doesn't.
function Bus:goOn()
  self:connected(self.taken, true)
  for _, topic in ipairs(self.before) do
    if not self.topics[topic] then self:tellTopic(topic, bus.UNSUBSCRIBE) end
  end
  self.taken, self.before = nil, nil
end

--- Tells the parent that the script is right, and for which signals it has handlers: a list of
-- numbers.
function Bus:tellListening(signals)
  self:put(char(bus.LISTENS) .. buffer.encode(signals))
end

function Bus:connected(link, wasUp)
  self.link, self.up = link, true
  for _, data in ipairs(self.early) do link:send(data) end
  self.early, self.earlyBytes = {}, 0
  self:tellOwed()
  if not wasUp then self:tell "onUp" end
end

-- Without its parent a worker has no future.
function Bus:lost()
  if self.isGiven then return end
  self.closed, self.link, self.up = true, false, false
  self:failAll()
  self:tell("onDown", "the parent has gone")
  self.gone()
end

function Bus:failAll()
  for number, done in pairs(self.reloads) do
    self.reloads[number] = nil
    self:guard("an answer", done, nil, "the workers' parent is away")
  end
  local calls, waiting = self.pending, self.unsettled
  self.pending, self.pendingCount, self.unsettled = {}, 0, {}
  for _, call in pairs(calls) do
    if call.done then self:guard("an answer", call.done, nil, "away") end
  end
  for _, done in ipairs(waiting) do self:guard("an answer", done, nil, "away") end
end

-- Sends a frame. Returns whether the frame is on its way.
function Bus:put(data)
  if self.link then
    local ok, why = self.link:send(data)
    return ok or why == "full"
  end
  if self.earlyBytes + #data > self.maxBuffer then return false end
  self.earlyBytes = self.earlyBytes + #data
  self.early[#self.early + 1] = data
  return true
end

function Bus:shut()
  self.up = false
  self.ways:close()
  for _, call in pairs(self.pending) do self:tellLater(call.done, nil, "away") end
  for _, done in ipairs(self.unsettled) do self:tellLater(done, nil, "away") end
  self.pending, self.pendingCount, self.unsettled = {}, 0, {}
  if self.link then self.link:close() end
end

-- Messages.

function Bus:pass(topic, bytes)
  return self:put(frameOf(bus.PUBLISH, topic) .. bytes) or
    self:drop(1, "the parent reads too slowly")
end

function Bus:carry(topic, bytes)
  local way = self.ways.byTopic[topic]
  local isSent
  if way then isSent = way:take(bytes) end
  if isSent == nil then return self:pass(topic, bytes) end
  return isSent or self:drop(1, "another worker reads too slowly")
end

function Bus:pair(own, topic)
  self.ways:add(own, topic)
end

--- Bytes that the parent has not taken yet; of a topic with a way of its own, the sibling.
-- @tparam[opt] string topic
-- @treturn number
function Bus:unsent(topic)
  local way = topic and self.ways.byTopic[topic]
  return way and way:unsent() or self.link and self.link:queued() or self.earlyBytes
end

-- Tells the parent of a topic, as soon as the queue takes it.
function Bus:tellTopic(topic, type)
  self.owed[topic] = not self:put(char(type) .. topic) and type or nil
end

function Bus:tellOwed()
  for topic, type in pairs(self.owed) do self:tellTopic(topic, type) end
  if next(self.owed) ~= nil then return end
  local waiting = self.unsettled
  self.unsettled = {}
  for _, done in ipairs(waiting) do self:confirm(done) end
end

-- The parent takes frames in order: when it answers, it knows the topics.
function Bus:confirm(done)
  if next(self.owed) == nil then return self:ask(bus.SETTLE, done) end
  if #self.unsettled >= self.maxPending then return self:tellLater(done, nil, "busy") end
  self.unsettled[#self.unsettled + 1] = done
end

function Bus:hear(topic)
  if self.topics[topic] then return true end
  if self.topicCount >= self.maxTopics then return false end
  self.topics[topic] = true
  self.topicCount = self.topicCount + 1
  self:tellTopic(topic, bus.SUBSCRIBE)
  return true
end

function Bus:unhear(topic)
  if not self.topics[topic] then return end
  self.topics[topic] = nil
  self.topicCount = self.topicCount - 1
  self:tellTopic(topic, bus.UNSUBSCRIBE)
end

-- Operations: the parent's store answers.

-- Ends an operation, if it waits.
function Bus:finish(call, ...)
  if self.pending[call.number] ~= call then return end
  self.pending[call.number] = nil
  self.pendingCount = self.pendingCount - 1
  if call.done then self:guard("an answer", call.done, ...) end
end

-- Ends operations that have waited too long.
function Bus:expireCalls()
  local time, calls = self.clock.now(), self.calls
  while self.first <= self.last do
    local call = calls[self.first]
    if self.pending[call.number] == call and call.due > time then break end
    calls[self.first] = nil
    self.first = self.first + 1
    self:finish(call, nil, "timeout")
  end
  self.timer = nil
  if self.first <= self.last then self:watchCalls() end
end

function Bus:watchCalls()
  self.timer = self.timer or self.clock.startTimer(1, 0, function() self:expireCalls() end)
end

function Bus:ask(name, done, ...)
  if self.closed then return self:tellLater(done, nil, "away") end
  if self.pendingCount >= self.maxPending then return self:tellLater(done, nil, "busy") end
  local number = self.last + 1
  local said = {name = name, number = number, count = select("#", ...), ...}
  if not self:put(char(bus.REQUEST) .. buffer.encode(said)) then
    return self:tellLater(done, nil, "busy")
  end
  local call = {number = number, done = done, due = self.clock.now() + ANSWER_SECONDS}
  self.pending[number] = call
  self.pendingCount = self.pendingCount + 1
  self.last, self.calls[number] = number, call
  self:watchCalls()
end

return bus
