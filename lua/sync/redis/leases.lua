--- Connections of `sync.redis` that one task has alone: to wait in a blocking command, or between
-- WATCH and EXEC. There are at most `size`; a task that finds none free waits for one.
-- @classmod sync.redis.leases

local Class = require "sync.class"
local Connection = require "sync.redis.connection"
local Pause = require "sync.service.pause"
local Pool = require "sync.service.pool"
local failures = require "sync.redis.failures"
local loop = require "sync.loop"
local task = require "sync.task"

local Leases = Class:extend("RedisLeases")

--- @tparam table place what sync.redis.url has read
-- @tparam table options of sync.redis
function Leases.open(place, options)
  local self = Leases:new {name = place.name, problem = false, pause = Pause.new(), leased = {}}
  self.pool = Pool.open(options, function()
    -- What can be wrong was found when the first connection was made.
    return assert(Connection.open(place, options, self))
  end, failures.new)
  return self
end

-- The owner's part: a task waits for its connection to open, with `opened`.

local function tell(connection, ...)
  local opened = connection.opened
  connection.opened = nil
  if opened then opened(...) end
end

function Leases:connectionReady(connection) -- luacheck: ignore self
  tell(connection)
end

function Leases:connectionLost(connection, reason) -- luacheck: ignore self
  connection.isBroken = true
  tell(connection, reason)
end

function Leases:connectionDrained() end

-- Nobody is there: for a while, nobody tries.
local function rest(self, reason)
  self.problem = reason
  loop.startTimer(self.pause:next(), 0, function() self.problem = false end)
end

local function raiseAway(self, reason)
  local failure = failures.ofRedis(reason)
  if failure.code == "denied" then error(failure, 0) end
  error(failures.new("away", ("Redis at %s can't be reached (%s); the command was not sent")
    :format(self.name, reason)), 0)
end

-- Opens a connection that isn't.
local function open(self, connection)
  if self.problem then raiseAway(self, self.problem) end
  local reason = task.await(function(resume)
    connection.opened = resume
    connection:connect()
  end)
  if reason then
    if not self.problem then rest(self, reason) end
    raiseAway(self, reason)
  end
  connection.isBroken = false
  self.pause:reset()
end

local function give(self, connection, ok, ...)
  self.leased[connection] = nil
  if connection.state ~= "ready" or not connection:isQuiet() then connection.isBroken = true end
  self.pool:give(connection)
  if not ok then error((...), 0) end
  return ...
end

local function run(self, connection, fn)
  if connection.state ~= "ready" then open(self, connection) end
  return fn(connection)
end

--- Calls a function with a connection that nobody else has, as soon as one is free.
-- @tparam function fn
-- @return what it returns
-- @raise failures, and what it raises
function Leases:with(fn)
  local connection = self.pool:take()
  self.leased[connection] = true
  return give(self, connection, pcall(run, self, connection, fn))
end

-- A call's time is over: the connection is no good any more.
function Leases.late(call)
  call:finish(failures.new("timeout", "no answer in time: the command was carried out, or not"))
end

--- Makes a call by a leased connection, and waits for its answers.
function Leases:execute(connection, call) -- luacheck: ignore self
  local sent, why = connection:send(call)
  if sent then return call:wait() end
  if why == "closed" then
    error(failures.new("away", "the connection was lost; the command was not sent"), 0)
  end
  error(failures.new("too large", "the command is longer than a connection takes"), 0)
end

function Leases:close()
  self.pool:close()
  local left = {}
  for connection in pairs(self.leased) do left[#left + 1] = connection end
  for _, connection in ipairs(left) do connection:close() end
end

return Leases
