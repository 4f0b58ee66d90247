--- Who may use which connection: at most `size` of them, taken and given back; who finds none
-- waits in a line that has a bound and a time limit. Knows no server: `make` gives a new
-- connection, which has `close` and, once it's no good, `isBroken`.
-- @module sync.service.pool

local Class = require "sync.class"
local limits = require "sync.limits"
local task = require "sync.task"

local Pool = Class:extend("Pool")

-- Who waits: its place in the line is passed over once it has no `resume`.
local Waiter = {}
Waiter.__index = Waiter

function Waiter:expire()
  local resume = self.resume
  if not resume then return end -- it has one now
  self.resume = nil
  self.pool.waiting = self.pool.waiting - 1
  resume(nil)
end

--- @tparam table options `size`, `queue`, `queueTimeout`
-- @tparam function make
-- @tparam function failure makes the failures: see sync.service.failure
function Pool.open(options, make, failure)
  return Pool:new {options = options, make = make, failure = failure, free = {}, count = 0,
    first = 1, last = 0, line = {}, waiting = 0}
end

local function raiseClosed(self)
  error(self.failure("closed", "it was closed"), 0)
end

-- What goes on with the first of the line who still waits.
local function nextOf(self)
  while self.first <= self.last do
    local who = self.line[self.first]
    self.line[self.first] = nil
    self.first = self.first + 1
    if who.resume then
      local resume = who.resume
      who.resume = nil
      self.waiting = self.waiting - 1
      limits.stop(who)
      return resume
    end
  end
end

local function stand(resume, who)
  local self = who.pool
  who.resume = resume
  self.last = self.last + 1
  self.line[self.last] = who
  self.waiting = self.waiting + 1
  limits.start(who, self.options.queueTimeout)
end

local function leave(who)
  limits.stop(who)
  if not who.resume then return end
  who.resume = nil
  who.pool.waiting = who.pool.waiting - 1
end

local function wait(self)
  if self.waiting >= self.options.queue then
    error(self.failure("busy", "too many wait for a connection already"), 0)
  end
  local connection = task.await(stand, leave, setmetatable({pool = self}, Waiter))
  if connection == nil then
    error(self.failure("busy", ("no connection was free in %g s"):format(
      self.options.queueTimeout)), 0)
  elseif connection == false then
    raiseClosed(self)
  end
  return connection
end

--- A connection, as soon as one is free: `give` it back.
function Pool:take()
  if self.isClosed then raiseClosed(self) end
  local connection = table.remove(self.free)
  if not connection and self.count < self.options.size then
    self.count = self.count + 1
    connection = self.make()
  end
  return connection or wait(self)
end

--- Gives one back: who has waited longest has it. A broken one makes room for another.
function Pool:give(connection)
  if self.isClosed then return connection:close() end
  if connection.isBroken then
    connection:close()
    connection = nil
  end
  local resume = nextOf(self)
  if resume then
    resume(connection or self.make())
  elseif connection then
    self.free[#self.free + 1] = connection
  else
    self.count = self.count - 1
  end
end

--- Closes what is free; who has one goes on, and who waits is refused.
function Pool:close()
  self.isClosed = true
  for _, connection in ipairs(self.free) do connection:close() end
  self.free = {}
  local resume = nextOf(self)
  while resume do
    resume(false)
    resume = nextOf(self)
  end
end

return Pool
