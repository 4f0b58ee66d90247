--- What the engines `sync.redis` and `sync.nats` have in common, which link nodes by way of
-- another program.
--
-- A subclass has `kind` (what logs call it) and `connect`, which `retryLater` calls again. An
-- instance has `later` (a list), `attempt` (how many in a row have failed) and `upSince`.
-- @classmod sync.Engine

local Class = require "sync.class"
local core = require "sync.core"
local log = require "sync.log"
local loop = require "sync.loop"

local now = core.C.sync_now

local FIRST_WAIT, LONGEST_WAIT = 0.25, 5
local MOST_DOUBLINGS = 30

local Engine = Class:extend("Engine")

--- Most bytes of messages that wait for a connection, as they will be sent.
Engine.maxBuffer = 8 * 1024 * 1024
--- Most requests that wait for an answer.
Engine.maxPending = 10000
--- Messages that were dropped.
Engine.dropped = 0

-- Bytes of a topic, a key or a log; of a value; of a message or an entry of a log.
Engine.MOST_NAME = 200
Engine.MOST_VALUE = 64 * 1024
Engine.MOST_MESSAGE = 1024 * 1024
Engine.MOST_INTEGER = 2 ^ 53 -- up to here numbers are exact

-- Raises an error in who called the caller, unless this is a string of at most so many bytes.
function Engine.checkBytes(what, bytes, most)
  if type(bytes) ~= "string" then
    error(("%s must be a string, not %s"):format(what, type(bytes)), 3)
  elseif most and #bytes > most then
    error(("%s must have at most %d bytes, not %d"):format(what, most, #bytes), 3)
  end
end

-- Calls a function of who uses the engine. Its error must not end what goes on here.
function Engine:guard(what, fn, ...)
  local ok, err = xpcall(fn, debug.traceback, ...)
  if ok then return end
  log.limited("error", self.kind .. " " .. what, ("error in %s of %s: %s")
    :format(what, self.kind, tostring(err)))
end

-- Tells `done` something after the tick, as it may not be called by what it is given to.
function Engine:tellLater(done, ...)
  if not done then return end
  local list = self.later
  list[#list + 1] = {done, ...}
  if #list > 1 then return end
  loop.startTimer(0, 0, function()
    self.later = {}
    for _, call in ipairs(list) do self:guard("an answer", call[1], unpack(call, 2, 3)) end
  end)
end

local function jitter()
  -- math.random is the same in every process, which would come back together.
  return core.randomNumber(2 ^ 32) / 2 ^ 32
end

-- Connects again after a while, which grows with each attempt that has failed.
function Engine:retryLater()
  if self.upSince and now() - self.upSince >= LONGEST_WAIT then self.attempt = 0 end
  self.upSince = nil
  local longest = math.min(LONGEST_WAIT, FIRST_WAIT * 2 ^ self.attempt)
  self.attempt = math.min(self.attempt + 1, MOST_DOUBLINGS)
  self.retryTimer = loop.startTimer(longest * jitter(), 0, function()
    self.retryTimer = nil
    self:connect()
  end)
end

--- Whether there is a connection, and all topics are subscribed to.
-- @treturn boolean
function Engine:isUp()
  return self.up
end

return Engine
