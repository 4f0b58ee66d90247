--- The connection that most commands of `sync.redis` share: calls go out in the order in which
-- they were made, without waiting for each other's answers.
--
-- What can't be sent yet is held, within bounds, and goes out when the connection is there. Once
-- sent, nothing is sent again. The connection is opened by the first call, and again by whoever
-- calls after it was lost; when nobody answers, after pauses that grow.
-- @classmod sync.redis.line

local Class = require "sync.class"
local Connection = require "sync.redis.connection"
local Pause = require "sync.service.pause"
local core = require "sync.core"
local failures = require "sync.redis.failures"
local log = require "sync.log"
local loop = require "sync.loop"

local now = core.C.sync_now


local Line = Class:extend("RedisLine")

--- @tparam table place what sync.redis.url has read
-- @tparam table options of sync.redis
-- @treturn Line|nil or nil and a message
function Line.open(place, options)
  local self = Line:new {options = options, name = place.name,
    held = {}, first = 1, last = 0, bytes = 0, -- calls that are not sent
    count = 0,                                 -- calls that wait
    isFull = false,
    pause = Pause.new(), pauseTimer = false,
    problem = false,                           -- why there's no connection
    awaySince = false,
  }
  local problem
  self.connection, problem = Connection.open(place, options, self)
  if not self.connection then return nil, problem end
  return self
end

-- Sends a call. Returns false when it has to be held.
local function transmit(self, call)
  local sent, why = self.connection:send(call)
  if why == "full" or why == "dropped" then self.isFull = true end
  if sent then return true end
  if why ~= "too long" then return false end
  call:finish(failures.new("too large", "the command is longer than a connection takes"))
  return true
end

local function flush(self)
  while not self.isFull and self.first <= self.last do
    local call = self.held[self.first]
    if call:isWanted() and not transmit(self, call) then return end
    self.bytes = self.bytes - #call.text
    self.held[self.first] = nil
    self.first = self.first + 1
  end
  if self.first > self.last then self.first, self.last = 1, 0 end
end

-- Those that wait to be sent, which then are none.
local function takeHeld(self)
  local held, first, last = self.held, self.first, self.last
  self.held, self.first, self.last, self.bytes = {}, 1, 0, 0
  return held, first, last
end

local function failHeld(self, code, message, native)
  local held, first, last = takeHeld(self)
  for i = first, last do held[i]:finish(failures.new(code, message, native)) end
end

-- Opens the connection, unless that is under way or was tried just now.
local function wake(self)
  if self.connection.state == "idle" and not self.pauseTimer then self.connection:connect() end
end

function Line:connectionReady()
  if self.problem then log.info(("Redis at %s: connected"):format(self.name)) end
  self.problem, self.awaySince = false, false
  self.pause:reset()
  flush(self)
end

function Line:connectionDrained()
  self.isFull = false
  flush(self)
end

function Line:connectionLost(_, reason)
  self.isFull = false
  self.awaySince = self.awaySince or now()
  if loop.isStopping() then return failHeld(self, "closed", "the server stops") end
  if not self.problem then log.warn(("Redis at %s: %s"):format(self.name, reason)) end
  self.problem = reason
  local pause = self.pause:nextByChance()
  self.pauseTimer = loop.startTimer(pause, 0, function()
    self.pauseTimer = false
    if self.first <= self.last then wake(self) end
  end)
  local failure = failures.ofRedis(reason)
  if failure.code == "denied" then failHeld(self, "denied", failure.message, failure.native) end
end

-- What a call that was never sent is told.
local function away(self)
  return failures.new("away", ("Redis at %s can't be reached%s; the command was not sent")
    :format(self.name, self.problem and " (" .. self.problem .. ")" or ""))
end

-- Why a call can't even wait; nil when it can.
local function refusal(self, text)
  if self.connection.state == "closed" then return failures.new("closed", "it was closed") end
  local options = self.options
  if self.count >= options.queue or self.bytes + #text > options.maxBuffer then
    return failures.new("busy", "too many wait already; the command was not sent")
  end
  if self.awaySince and now() - self.awaySince > options.timeout then
    wake(self)
    return away(self)
  end
end

-- A call's time is over.
function Line:expired(call)
  if not call.isSent then return call:finish(away(self)) end
  local connection, seconds = self.connection, self.options.timeout
  local isDead = connection.state == "ready" and connection:isSilentSince(call)
  call:finish(failures.new("timeout", ("no answer in %g s: the command was carried out, or not")
    :format(seconds)))
  if isDead then connection:lost(("no answer in %g s"):format(seconds)) end
end

--- Makes a call, and waits for its answers.
-- @raise failures
function Line:execute(call)
  local refused = refusal(self, call.text)
  if refused then error(refused, 0) end
  self.count = self.count + 1
  local isFirst = self.connection.state == "ready" and not self.isFull and self.first > self.last
  if not (isFirst and transmit(self, call)) then
    self.last = self.last + 1
    self.held[self.last] = call
    self.bytes = self.bytes + #call.text
    wake(self)
  end
  local ok, problem = pcall(call.wait, call)
  self.count = self.count - 1
  if not ok then error(problem, 0) end
end

function Line:close()
  if self.pauseTimer then loop.stopTimer(self.pauseTimer) end
  self.pauseTimer = false
  self.connection:close()
  failHeld(self, "closed", "it was closed")
end

return Line
