--- The contract of engines: what links nodes, and keeps what they share.
--
-- An engine carries messages by topic, and keeps values and logs. There are four: the memory of
-- one process (`sync.cluster.memory`), the parent of workers (`sync.cluster.bus`), Redis and
-- NATS. `spec/cluster/engine_spec.lua` holds for all of them.
--
-- **Messages** of one engine to one topic arrive in their order, at most once. All other engines
-- that have subscribed get them; the sender may, too. Messages that an engine could not send, or
-- could not take, are counted in `dropped`.
--
-- **Values and logs.** Each operation is atomic. `done` is called once, after the call has
-- returned, and may be left out. It gets what is said below; or nil and why nothing is known:
--
--     "away"           there is no connection, or it was lost: the operation may have been done
--     "timeout"        no answer in time: the same
--     "busy"           `maxPending` operations wait already
--     "full"           the memory's bound
--     "too long"       a value or an entry has more than `MOST_VALUE` bytes
--     "not a number"   `increment` found something else, or would leave 2^53
--     anything else    the engine's own words
--
-- Seconds are a number from 0 on; nil or false is for ever.
--
-- **What this class does** is to check what users of engines give, and raise an error where a
-- call is misused. The engine itself does the rest:
--
--     carry(topic, bytes)     sends a message; returns whether it was sent, or waits
--     hear(topic), unhear(topic)
--     confirm(done)           tells when what is heard stands: see `settle`
--     ask(name, done, …)      does one of the nine operations: its arguments are in their order
--     isUp(), unsent(topic), shut()
--
-- An engine whose connection can't be handed to the next process of an upgrade (docs/upgrade.md)
-- has `pendingCalls()`, how many operations wait for an answer; and `catchUp(done)`: see there.
--
-- @classmod sync.cluster.engine

local Class = require "sync.class"
local clock = require "sync.cluster.clock"
local failure = require "sync.failure"
local log = require "sync.log"

local Engine = Class:extend("Engine")

--- What logs call it.
Engine.kind = "engine"
--- Most bytes of messages that wait for a connection, as they will be sent.
Engine.maxBuffer = 8 * 1024 * 1024
--- Most operations that wait for an answer.
Engine.maxPending = 10000
--- Most topics that are subscribed to.
Engine.maxTopics = 100000
--- Messages that were dropped.
Engine.dropped = 0
Engine.closed = false
Engine.handlers = {}
--- What tells the time, and has timers.
Engine.clock = clock

--- Bytes of a topic, a key or a log's name.
Engine.MOST_NAME = 200
--- Bytes of a value, or of a log's entry.
Engine.MOST_VALUE = 64 * 1024
--- Bytes of a message.
Engine.MOST_MESSAGE = 1024 * 1024
--- Entries of a log.
Engine.MOST_ENTRIES = 100000
--- Up to here whole numbers are exact.
Engine.MOST_INTEGER = 2 ^ 53
--- Longer times are this one: Redis adds milliseconds to a 64-bit clock.
Engine.MOST_SECONDS = 2 ^ 33

local MOST_NAME, MOST_VALUE, MOST_MESSAGE = Engine.MOST_NAME, Engine.MOST_VALUE, Engine.MOST_MESSAGE
local MOST_ENTRIES, MOST_INTEGER = Engine.MOST_ENTRIES, Engine.MOST_INTEGER

-- Checks. They raise an error in who has called the public function.

local function misused(call, what, wanted, value)
  error(("%s: %s must be %s, not %s"):format(call, what, wanted, value), 4)
end

local function checkBytes(call, what, bytes)
  if type(bytes) ~= "string" then misused(call, what, "a string", type(bytes)) end
end

local function checkName(call, what, name)
  if type(name) ~= "string" then misused(call, what, "a string", type(name)) end
  if #name > MOST_NAME then
    error(("%s: %s must have at most %d bytes, not %d"):format(call, what, MOST_NAME, #name), 3)
  end
end

local function checkSeconds(call, seconds)
  if not seconds then return nil end
  if type(seconds) ~= "number" or seconds ~= seconds or seconds < 0 then
    misused(call, "seconds", "a number from 0, or nil for ever", tostring(seconds))
  end
  return math.min(seconds, Engine.MOST_SECONDS)
end

local function isInteger(value)
  return type(value) == "number" and value % 1 == 0 and math.abs(value) <= MOST_INTEGER
end

local function checkMost(call, most)
  if not isInteger(most) or most < 1 or most > MOST_ENTRIES then
    misused(call, "most", "a whole number from 1 to " .. MOST_ENTRIES, tostring(most))
  end
end

-- Whether bytes are few enough to be kept; if not, `done` is told.
local function fits(self, bytes, done)
  if #bytes <= MOST_VALUE then return true end
  self:tellLater(done, nil, "too long")
  return false
end

-- Life.

--- Lets its user hear of it.
-- @tparam table handlers functions, all optional: `onUp()` (it can be used, and all topics are
-- subscribed to; called later if this is so now), `onDown(why)` (the connection is lost or could
-- not be made; once until it is back) and `onMessage(topic, bytes)`
function Engine:attach(handlers)
  self.handlers = handlers
  if self:isUp() then self:tellLater(function() self:tell("onUp") end) end
end

--- Whether there is a connection, and all topics are subscribed to.
-- @treturn boolean
function Engine:isUp()
  return self.up
end

--- Ends it. What was published is still sent; who waits for an answer is told "away".
function Engine:close()
  if self.closed then return end
  self.closed = true
  self:shut()
end

-- Messages.

--- Sends a message to all that have subscribed to a topic. It waits while there is no connection.
-- @tparam string topic at most 200 bytes
-- @tparam string bytes at most 1 MiB
-- @treturn boolean whether it was sent or waits; false: it was dropped
function Engine:publish(topic, bytes)
  checkName("publish(topic, bytes)", "topic", topic)
  checkBytes("publish(topic, bytes)", "bytes", bytes)
  if self.closed then return false end
  if #bytes > MOST_MESSAGE then return self:drop(1, "one is longer than 1 MiB") end
  return self:carry(topic, bytes)
end

--- Asks for a topic's messages. Asking again changes nothing; a topic stays asked for when the
-- connection is lost.
-- @tparam string topic at most 200 bytes
-- @treturn boolean false: there are `maxTopics`, or the engine is closed
function Engine:subscribe(topic)
  checkName("subscribe(topic)", "topic", topic)
  return not self.closed and self:hear(topic)
end

--- Ends a subscription, if there is one.
-- @tparam string topic
function Engine:unsubscribe(topic)
  checkName("unsubscribe(topic)", "topic", topic)
  self:unhear(topic)
end

--- Tells when the subscriptions that were asked for until now stand: `done(true)`. What another
-- engine publishes from then on arrives here. Without a connection that is when one is there again.
-- `done` is called once, after the call has returned; with nil and "busy" when `maxPending` wait
-- already, "away" when the engine is closed, or "timeout".
-- @tparam function done
function Engine:settle(done)
  if self.closed then return self:tellLater(done, nil, "away") end
  self:confirm(done)
end

--- Tells of two topics that one engine alone hears each, so that messages of the two to each other
-- may take a shorter way: in their order, as all.
-- @tparam string own the one that this engine hears
-- @tparam string topic the other's
function Engine:pair(own, topic) end -- luacheck: ignore own topic

-- Values.

--- Reads a value: `done(value)`, nil when there is none.
-- @tparam string key at most 200 bytes, as all keys
-- @tparam function done
function Engine:get(key, done)
  checkName("get(key, done)", "key", key)
  self:ask("get", done, key)
end

--- Sets a value: `done(true)`.
-- @tparam string key
-- @tparam string value at most 64 KiB
-- @tparam number|nil seconds that it is kept
-- @tparam[opt] function done
function Engine:set(key, value, seconds, done)
  checkName("set(key, value, seconds, done)", "key", key)
  checkBytes("set(key, value, seconds, done)", "value", value)
  seconds = checkSeconds("set(key, value, seconds, done)", seconds)
  if fits(self, value, done) then self:ask("set", done, key, value, seconds) end
end

--- Sets a value where there is none: `done(true)`, or `done(false)` where there is one.
-- @tparam string key
-- @tparam string value at most 64 KiB
-- @tparam number|nil seconds that it is kept
-- @tparam[opt] function done
function Engine:add(key, value, seconds, done)
  checkName("add(key, value, seconds, done)", "key", key)
  checkBytes("add(key, value, seconds, done)", "value", value)
  seconds = checkSeconds("add(key, value, seconds, done)", seconds)
  if fits(self, value, done) then self:ask("add", done, key, value, seconds) end
end

--- Sets a value where the old one is there: `done(true)`, or `done(false, nil, current)`.
-- @tparam string key
-- @tparam string|nil old nil: there must be none
-- @tparam string new at most 64 KiB
-- @tparam number|nil seconds that it is kept
-- @tparam[opt] function done
function Engine:replace(key, old, new, seconds, done)
  checkName("replace(key, old, new, seconds, done)", "key", key)
  if old ~= nil then checkBytes("replace(key, old, new, seconds, done)", "old", old) end
  checkBytes("replace(key, old, new, seconds, done)", "new", new)
  seconds = checkSeconds("replace(key, old, new, seconds, done)", seconds)
  if fits(self, new, done) then self:ask("replace", done, key, old, new, seconds) end
end

--- Adds to a value that is a whole number within 2^53, or absent, which counts as 0: `done(sum)`.
-- @tparam string key
-- @tparam number by a whole number within 2^53
-- @tparam number|nil seconds that it is kept from now on; nil: as long as before
-- @tparam[opt] function done
function Engine:increment(key, by, seconds, done)
  checkName("increment(key, by, seconds, done)", "key", key)
  if not isInteger(by) then
    error("increment(key, by, seconds, done): by must be a whole number, not " .. tostring(by), 2)
  end
  seconds = checkSeconds("increment(key, by, seconds, done)", seconds)
  self:ask("increment", done, key, by + 0, seconds) -- which is never -0
end

--- Changes how long a value is kept: `done(true)`, or `done(false)` when there is none.
-- @tparam string key
-- @tparam number|nil seconds from now on
-- @tparam[opt] function done
function Engine:expire(key, seconds, done)
  checkName("expire(key, seconds, done)", "key", key)
  self:ask("expire", done, key, checkSeconds("expire(key, seconds, done)", seconds))
end

--- Removes a value: `done(true)`, or `done(false)` when there was none.
-- @tparam string key
-- @tparam[opt] function done
function Engine:remove(key, done)
  checkName("remove(key, done)", "key", key)
  self:ask("remove", done, key)
end

-- Logs.

--- Puts an entry at the end of a log: `done(id)`, a text.
-- @tparam string name of the log, at most 200 bytes
-- @tparam string bytes at most 64 KiB
-- @tparam number most entries that are kept: the newest, and perhaps some more
-- @tparam number|nil seconds that the log is kept from now on; NATS keeps entries as long as its
-- `maxage` says
-- @tparam[opt] function done
function Engine:append(name, bytes, most, seconds, done)
  checkName("append(log, bytes, most, seconds, done)", "log", name)
  checkBytes("append(log, bytes, most, seconds, done)", "bytes", bytes)
  checkMost("append(log, bytes, most, seconds, done)", most)
  seconds = checkSeconds("append(log, bytes, most, seconds, done)", seconds)
  if fits(self, bytes, done) then self:ask("append", done, name, bytes, most, seconds) end
end

--- Reads a log: `done(list)` of `{id = string, bytes = string}`, the oldest first.
-- @tparam string name
-- @tparam string after the id of an entry: those behind it are read. "" and what is no id of
-- this log read all
-- @tparam number most entries
-- @tparam function done
function Engine:read(name, after, most, done)
  checkName("read(log, after, most, done)", "log", name)
  checkBytes("read(log, after, most, done)", "after", after)
  checkMost("read(log, after, most, done)", most)
  self:ask("read", done, name, after, most)
end

-- For engines.

--- What a value and an integer make.
-- @tparam string text
-- @tparam number by
-- @treturn number|nil nil: the text is no whole number as `increment` writes them, or the sum
-- is not within 2^53
function Engine.sum(text, by)
  local number = text:find "^%-?%d+$" and tonumber(text)
  if not number or ("%.0f"):format(number + 0) ~= text or math.abs(number) > MOST_INTEGER or
    by > 0 and number > MOST_INTEGER - by or by < 0 and number < -MOST_INTEGER - by then
    return nil
  end
  return number + by
end

--- Counts messages that are lost here.
-- @treturn boolean false
function Engine:drop(count, why)
  self.dropped = self.dropped + count
  log.limited("warn", self.kind .. " dropped", ("%s: messages are dropped: %s")
    :format(self.label or self.kind, why), {dropped = self.dropped})
  return false
end

--- Calls a function of who uses the engine. Its error must not end what goes on here.
function Engine:guard(what, fn, ...)
  local ok, err = xpcall(fn, failure.trace, ...)
  if ok then return end
  log.limited("error", self.kind .. " " .. what, ("error in %s of %s, no client is closed: %s")
    :format(what, self.kind, tostring(err)))
end

--- Calls a handler, if there is one.
function Engine:tell(name, ...)
  local handler = self.handlers[name]
  if handler then self:guard(name, handler, ...) end
end

--- Tells `done` something after the tick, as it may not be called by what it is given to.
function Engine:tellLater(done, ...)
  if not done then return end
  local list = self.later or {}
  self.later = list
  list[#list + 1] = {done, select("#", ...), ...}
  if #list > 1 then return end
  local timer = self.clock.startTimer(0, 0, function()
    self.later = nil
    for _, call in ipairs(list) do
      self:guard("an answer", call[1], unpack(call, 3, 2 + call[2]))
    end
  end)
  timer.isEarly = true -- an answer waits for no timers of the application
end

return Engine
