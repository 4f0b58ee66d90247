--- A worker's link to its parent, and by it to the other workers: an engine of the cluster
-- that needs no installation.
--
-- Frames have a length before them. Their first byte is their type; a message's is followed by
-- the topic's length and the topic, and goes through the parent as it is.
-- @module sync.cluster.bus

local Protocol = require "sync.protocol"
local buffer = require "string.buffer"
local core = require "sync.core"
local dial = require "sync.connector"
local log = require "sync.log"
local loop = require "sync.loop"

local now = core.C.sync_now

local PARENT = 3            -- the file descriptor of its connection
local ANSWER_SECONDS = 5
local MOST_MESSAGE, MOST_NAME, MOST_VALUE = 1024 * 1024, 200, 64 * 1024

local bus = {
  PUBLISH = 1, SUBSCRIBE = 2, UNSUBSCRIBE = 3, REQUEST = 4, ANSWER = 5, DROPPED = 6,
  LISTENS = 7,
  --- Settings of both ends.
  settings = {framing = "length32", maxMessage = 2 * MOST_MESSAGE, maxQueue = 16 * 1024 * 1024,
    overflow = "drop", handshakeTimeout = 60},
}

local char, byte = string.char, string.byte

--- The topic of a message's frame.
-- @treturn string
-- @treturn number where the message begins
function bus.topicOf(data)
  local length = byte(data, 2)
  return data:sub(3, 2 + length), 3 + length
end

local Link = Protocol:extend("Parent")
for name, value in pairs(bus.settings) do Link[name] = value end
Link.isLink = true

local Engine = {
  --- Messages that were not sent, or that this worker has not read in time.
  dropped = 0,
  --- Bytes that wait for the connection, which is made when the loop begins.
  maxBuffer = 8 * 1024 * 1024,
  --- Requests that wait for answers.
  maxPending = 10000,
}
Engine.__index = Engine

-- Calls a function of who uses the engine. Its error must not close the connection.
local function guard(fn, ...)
  local ok, err = xpcall(fn, debug.traceback, ...)
  if ok then return end
  log.limited("error", "bus", "error in a callback of the bus: " .. tostring(err))
end

local link                  -- the connection, once the loop has begun
local early, earlyBytes = {}, 0
local handlers
local pending, pendingCount, lastRequest = {}, 0, 0
local calls = {first = 1, last = 0} -- in the order of their times

-- Sends a frame. Returns whether it is on its way.
local function send(data)
  if link then
    local ok, why = link:send(data)
    return ok or why == "full"
  end
  if earlyBytes + #data > Engine.maxBuffer then return false end
  earlyBytes = earlyBytes + #data
  early[#early + 1] = data
  return true
end

-- Topics that the parent must hear of as soon as the queue takes it, and in which way.
local owed = {}

local function tellTopic(topic, type)
  owed[topic] = not send(char(type) .. topic) and type or nil
end

local function tellOwed()
  for topic, type in pairs(owed) do tellTopic(topic, type) end
end

function Link:onConnect()
  link = self
  for _, data in ipairs(early) do self:send(data) end
  early, earlyBytes = {}, 0
  tellOwed()
  if handlers then guard(handlers.onUp) end
end

local on = {}

on[bus.PUBLISH] = function(data)
  local topic, from = bus.topicOf(data)
  if handlers then guard(handlers.onMessage, topic, data:sub(from)) end
end

on[bus.ANSWER] = function(data)
  local said = buffer.decode(data:sub(2))
  local call = pending[said[1]]
  if not call then return end
  pending[said[1]] = nil
  pendingCount = pendingCount - 1
  if call.done then guard(call.done, unpack(said, 3, 2 + said[2])) end
end

on[bus.DROPPED] = function(data)
  Engine.dropped = Engine.dropped + buffer.decode(data:sub(2))[1]
end

Link.onDrain = tellOwed

function Link.onData(_, data)
  on[byte(data)](data)
end

-- Without its parent a worker has no future.
function Link:onClose()
  link = nil
  for number, call in pairs(pending) do
    pending[number] = nil
    if call.done then guard(call.done, nil, "away") end
  end
  pendingCount = 0
  if handlers then handlers.onDown("the parent has gone") end
  if bus.onGone then bus.onGone() end
end

--- Connects to the parent. Called when a worker's loop begins.
-- @tparam function gone called when the parent has gone
function bus.connect(gone)
  bus.onGone = gone
  local door = assert(dial.new(Link, {}, true))
  assert(door:adopt(PARENT))
  bus.tellListening()
end

--- Tells the parent that the script is right.
function bus.tellListening()
  send(char(bus.LISTENS))
end

--- The engine: see lua/sync/cluster/init.lua. There is one in a process.
function bus.open(given)
  handlers = given
  return setmetatable({topics = {}, topicCount = 0}, Engine)
end

function Engine.isUp()
  return link ~= nil
end

function Engine:publish(topic, bytes)
  if #topic <= MOST_NAME and #bytes <= MOST_MESSAGE and
    send(char(bus.PUBLISH, #topic) .. topic .. bytes) then
    return true
  end
  Engine.dropped = Engine.dropped + 1
  return false
end

--- Bytes that the parent has not taken yet.
-- @treturn number
function Engine.unsent()
  return link and link:queued() or earlyBytes
end

--- Most topics that are subscribed to.
Engine.maxTopics = 1000000

function Engine:subscribe(topic)
  if self.topics[topic] then return true end
  if self.topicCount >= Engine.maxTopics then return false end
  self.topics[topic] = true
  self.topicCount = self.topicCount + 1
  tellTopic(topic, bus.SUBSCRIBE)
  return true
end

function Engine:unsubscribe(topic)
  if not self.topics[topic] then return end
  self.topics[topic] = nil
  self.topicCount = self.topicCount - 1
  tellTopic(topic, bus.UNSUBSCRIBE)
end

-- Values and logs: the parent's store answers.

local function fail(done, problem)
  if done then loop.startTimer(0, 0, function() done(nil, problem) end) end
end

-- Calls that have waited too long.
local function expire()
  local time = now()
  while calls.first <= calls.last do
    local call = calls[calls.first]
    if pending[call.number] == call and call.due > time then break end
    calls[calls.first] = nil
    calls.first = calls.first + 1
    if pending[call.number] == call then
      pending[call.number] = nil
      pendingCount = pendingCount - 1
      if call.done then guard(call.done, nil, "timeout") end
    end
  end
  if calls.first <= calls.last then
    calls.timer = loop.startTimer(1, 0, expire)
  else
    calls.timer = nil
  end
end

local function ask(name, count, done, ...)
  if pendingCount >= Engine.maxPending then return fail(done, "busy") end
  lastRequest = lastRequest + 1
  local call = {number = lastRequest, done = done, due = now() + ANSWER_SECONDS}
  local said = {name = name, number = lastRequest, count = count, ...}
  if not send(char(bus.REQUEST) .. buffer.encode(said)) then return fail(done, "busy") end
  pending[lastRequest] = call
  pendingCount = pendingCount + 1
  calls.last = calls.last + 1
  calls[calls.last] = call
  if not calls.timer then calls.timer = loop.startTimer(1, 0, expire) end
end

local function tooLong(key, value, done)
  if #key <= MOST_NAME and #value <= MOST_VALUE then return false end
  fail(done, "too long")
  return true
end

function Engine.get(_, key, done)
  if not tooLong(key, "", done) then ask("get", 1, done, key) end
end

function Engine.set(_, key, value, seconds, done)
  if not tooLong(key, value, done) then ask("set", 3, done, key, value, seconds) end
end

function Engine.add(_, key, value, seconds, done)
  if not tooLong(key, value, done) then ask("add", 3, done, key, value, seconds) end
end

function Engine.replace(_, key, old, new, seconds, done)
  if not tooLong(key, new, done) then ask("replace", 4, done, key, old, new, seconds) end
end

function Engine.increment(_, key, by, seconds, done)
  if not tooLong(key, "", done) then ask("increment", 3, done, key, by, seconds) end
end

function Engine.expire(_, key, seconds, done)
  if not tooLong(key, "", done) then ask("expire", 2, done, key, seconds) end
end

function Engine.remove(_, key, done)
  if not tooLong(key, "", done) then ask("remove", 1, done, key) end
end

function Engine.append(_, name, bytes, most, seconds, done)
  if not tooLong(name, bytes, done) then ask("append", 4, done, name, bytes, most, seconds) end
end

function Engine.read(_, name, after, most, done)
  if not tooLong(name, "", done) then ask("read", 3, done, name, after, most) end
end

function Engine.close()
  handlers = nil
end

return bus
