-- Several nodes in one process: a clock that the spec moves on, and links that can be cut.
--
--     local world = nodes.world()
--     local one, other = world:node(), world:node()
--     one:serve "Game"
--     world:advance(6)

local cluster = require "sync.cluster"
local memory = require "sync.cluster.memory"
local sync = require "sync"
local testing = require "sync.testing"

local nodes = {}

-- A clock with timers, as lua/sync/cluster/clock.lua is one.

local function newClock()
  local clock, timers, time, last = {}, {}, 1000, 0

  function clock.now() return time end

  function clock.startTimer(delay, interval, fn)
    last = last + 1
    local timer = {due = time + delay, interval = interval, fn = fn, order = last}
    timers[timer] = true
    return timer
  end

  function clock.stopTimer(timer) timers[timer] = nil end

  local function nextDue(stop)
    local first
    for timer in pairs(timers) do
      if timer.due <= stop and (not first or timer.due < first.due or
        timer.due == first.due and timer.order < first.order) then
        first = timer
      end
    end
    return first
  end

  -- Lets so many seconds pass. What happens at a time is over before the time goes on.
  function clock.advance(seconds)
    local stop = time + seconds
    testing.settle()
    local timer = nextDue(stop)
    while timer do
      time = math.max(time, timer.due)
      timer.due = time + timer.interval
      if timer.interval == 0 then timers[timer] = nil end
      timer.fn()
      testing.settle()
      timer = nextDue(stop)
    end
    time = stop
  end

  return clock
end

-- An engine whose connection can be cut, and which may lose messages.
local Link = memory.Engine:extend("Link")

function Link:carry(topic, bytes)
  if not self.up then return self:drop(1, "the link is cut") end
  return memory.Engine.carry(self, topic, bytes)
end

function Link:take(topic, bytes)
  if self.up and not (self.loses and self.loses(topic, bytes)) then
    memory.Engine.take(self, topic, bytes)
  end
end

function Link:ask(name, done, ...)
  if not self.up then return self:tellLater(done, nil, "away") end
  memory.Engine.ask(self, name, done, ...)
end

--- Cuts it: what is sent is lost, and what is asked is answered by "away".
function Link:cut()
  self.up = false
  self:tell("onDown", "cut")
end

function Link:heal()
  self.up = true
  self:tell "onUp"
end

local World = {}
World.__index = World

local Node = {}
Node.__index = Node

--- Makes one without nodes.
function nodes.world()
  local clock = newClock()
  return setmetatable({clock = clock, hub = memory.hub(clock), list = {}}, World)
end

--- Makes a node, with the next number.
function World:node(given)
  local engine = setmetatable(memory.open(self.hub), Link)
  local node = setmetatable({world = self, link = engine, servers = {}}, Node)
  given = given or {}
  given.clock = self.clock
  if given.number == nil then given.number = #self.list + 1 end -- false: one of its own
  node.cluster = cluster.new(engine, given)
  self.list[#self.list + 1] = node
  return node
end

--- Lets so many seconds pass, or what has begun be done.
function World:advance(seconds)
  self.clock.advance(seconds or 0)
end

--- Ends all nodes and servers. For after_each.
function World:close()
  for _, node in ipairs(self.list) do
    for _, server in ipairs(node.servers) do server:close() end
    if not node.isDead then node.cluster:stop() end
    node.link:close()
  end
  self:advance()
end

--- Serves a class of the node's own, which has the same name on each.
-- @tparam string name
-- @tparam[opt] table fields
-- @tparam[opt] table base nil: sync.Remote
-- @treturn table the class
-- @treturn testing.Server
function Node:serve(name, fields, base)
  local class = (base or sync.Remote):extend(name)
  for key, value in pairs(fields or {}) do class[key] = value end
  self.cluster:addClass(class)
  local server = testing.serve(class)
  self.servers[#self.servers + 1] = server
  self.world:advance()
  return class, server
end

--- Ends the node as a crash does: without a word.
function Node:kill()
  self.isDead = true
  self.link:close()
  self.cluster.clock.stopTimer(self.cluster.beatTimer)
  self.cluster.isOver = true
end

return nodes
