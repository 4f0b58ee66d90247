--- What this process keeps of its rooms in the engine, so that they outlive it: see
-- lua/sync/rooms/keep.lua for one room.
-- @module sync.rooms.keeping

local Keep = require "sync.rooms.keep"
local Kept = require "sync.cluster.kept"
local Lease = require "sync.cluster.lease"
local Roll = require "sync.cluster.roll"
local core = require "sync.core"
local fault = require "sync.remoting.fault"
local log = require "sync.log"
local loop = require "sync.loop"
local nodes = require "sync.rooms.nodes"

local now = core.C.sync_now

local LOOK_SECONDS = 0.1
local BYTES = 8 * 1024 * 1024 -- of snapshots, a second
local BEGIN_SECONDS = 5       -- that a room waits for the engine when it begins

local keeping = {
  --- Called with a home whose room another node has.
  onTaken = function() end,
}

local store = false        -- `lease`, `kept`, `roll`
local homes, order = {}, {} -- that are kept, by id; the ids in the order in which they're written
local at, budget = 0, BYTES

-- Not all are looked at when the bytes of a second are spent: those that follow come first then.
local function write()
  local time = now()
  budget = math.min(BYTES, budget + BYTES * LOOK_SECONDS)
  for _ = 1, #order do
    if budget <= 0 then return end
    at = at % #order + 1
    local home = homes[order[at]]
    if home then budget = budget - home.keep:write(time) end
  end
end

local function compact()
  local list = {}
  for id in pairs(homes) do list[#list + 1] = id end
  order, at = list, 0
end

-- Looks at what is late: rooms that wait for the engine, or for being taken again.
local function look()
  for _, home in pairs(homes) do
    local keep = home.keep
    if keep.token ~= store.lease.token then keep:retake() end
    if not keep.hasBegun and not keep:holds() and now() - keep.since > BEGIN_SECONDS then
      home:fail(fault.new(fault.BUSY, "the engine doesn't answer, so no room can begin here"))
    end
  end
  compact()
  store.roll:refresh()
end

local function onLost(token)
  log.warn("the engine hasn't heard of this node for too long: others may have taken its rooms",
    {lease = token})
  store.roll:rename(store.lease.token)
  for _, home in pairs(homes) do home.keep:retake() end
end

--- Begins to keep rooms, as soon as this process is a node.
-- @tparam[opt] table before the lease of the process before, as packed
-- @treturn table|boolean `lease`, `kept` and `roll`; false: it's none
function keeping.start(before)
  if store or nodes.own() == 0 then return store end
  local engine = nodes.engine()
  local lease = Lease.open(engine, nodes.name(), {onLost = onLost, before = before})
  store = {lease = lease, kept = Kept.open(engine, lease), roll = Roll.open(engine, lease.token),
    onTaken = function(home)
      homes[home.room.id] = nil
      keeping.onTaken(home)
    end}
  loop.beforeLinksClose(function() lease:close() end)
  loop.startTimer(LOOK_SECONDS, LOOK_SECONDS, write)
  loop.startTimer(1, 1, look)
  return store
end

--- What the next process of this node has to know, but for the rooms; false: nothing is kept.
function keeping.pack()
  return store and {lease = store.lease:pack(), roll = store.roll:pack()}
end

--- Goes on with that: the lease holds as it did.
function keeping.unpack(told)
  keeping.start(told.lease).roll:goOn(told.roll)
end

--- A room that was kept in the process before goes on.
-- @tparam Home home
-- @tparam table told of `Keep:pack`
function keeping.goOn(home, told)
  homes[home.room.id] = home
  order[#order + 1] = home.room.id
  Keep.goOn(home, store, told)
end

--- Keeps a room, if its class is to persist.
-- @tparam Home home
-- @tparam[opt] Record record of one that was begun elsewhere
function keeping.add(home, record)
  if not home.room.persist then return end
  if not keeping.start() then
    return log.limited("warn", "persist", home.class.className .. ".persist does nothing where " ..
      "there is no engine: start it with --cluster or --workers")
  end
  homes[home.room.id] = home
  order[#order + 1] = home.room.id
  Keep.begin(home, store, record):holds()
end

--- A room has ended.
function keeping.remove(home)
  if homes[home.room.id] ~= home then return end
  homes[home.room.id] = nil
  home.keep:finish()
end

return keeping
