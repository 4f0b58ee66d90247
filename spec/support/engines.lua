-- Engines of each kind, for specs that hold for all of them. A kind is a function that returns one
-- which opens engines: those are linked with each other, and apart from those of other calls.
--
--     local openOne = engines.kinds.redis()
--     local one, other = openOne(), openOne()
--     engines.cleanUp()                           -- at the end: ends the servers

local Nats = require "spec.support.nats"
local Process = require "spec.support.process"
local Redis = require "spec.support.redis"
local bus = require "sync.cluster.bus"
local hubs = require "sync.cluster.hub"
local memory = require "sync.cluster.memory"
local nats = require "sync.cluster.nats"
local redis = require "sync.cluster.redis"
local socketpair = require "spec.support.socketpair"

local engines = {names = {"memory", "bus", "redis", "nats"}, kinds = {}}
local kinds = engines.kinds

function kinds.memory()
  local hub = memory.hub()
  return function() return memory.open(hub) end
end

function kinds.bus()
  local hub = hubs.open(2, {onListens = function() end})
  return function()
    local engine, ours, theirs = bus.open(), socketpair()
    assert(hub:adopt(theirs))
    engine:connect(ours, function() end)
    return engine
  end
end

local servers = {}
local count = 0

function kinds.redis()
  servers.redis = servers.redis or Redis.start()
  count = count + 1
  local url = servers.redis:url("?prefix=p" .. count)
  return function() return assert(redis.open(url)) end
end

function kinds.nats()
  servers.nats = servers.nats or Nats.start()
  count = count + 1
  local url = servers.nats.url .. "?prefix=p" .. count
  return function() return assert(nats.open(url)) end
end

--- Ends the servers of Redis and NATS.
function engines.cleanUp()
  Nats.cleanUp()
  Process.cleanUp()
  servers = {}
end

return engines
