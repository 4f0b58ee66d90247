--- A map of entities in a state.
--
--     players[7] = {name = "ann", x = 1}       -- another with this key is removed before
--     local p = players[7]
--     players[7] = nil
--     for id, p in players:each() do p.x = p.x + 1 end
--     players:count()
--
-- Names of methods go before keys that are strings; `get` takes all.
--
-- An entity's place in the array is its number in the core, and one more. What is removed
-- leaves a hole, which the next one takes: so a loop over the map may add and remove, also when
-- it waits.
-- @module sync.state.map

local core = require "sync.core"
local Record = require "sync.state.record"
local types = require "sync.state.type"

local C = core.C

local INNER = {} -- where a map keeps what it is: no key of a user's

local methods = {}

local function keyed(inner, key)
  local wanted = types.badKey(key, inner.shape.keys)
  if wanted then
    error(("%s[%s]: a key must be %s"):format(inner.shape.name, tostring(key), wanted), 4)
  end
end

local function remove(inner, key)
  local p = inner.byKey[key]
  local side = Record.side(p)
  C.sync_state_remove(inner.handle, inner.index, side.number)
  inner.list[side.number + 1] = false
  inner.keys[side.number + 1] = false
  inner.byKey[key] = nil
  inner.count = inner.count - 1
  inner.shape.record:drop(p)
end

-- Gives an entity to the core, which says its number.
local function enter(inner, key, p)
  local isText = inner.shape.keys == "string"
  local number = C.sync_state_add(inner.handle, inner.index, p, isText and 0 or key,
    isText and key or "", isText and #key or 0)
  if number < 0 then
    local name, text = core.problem(number)
    if name == "ENOSPC" then
      text = ("it has %d entities, and may have %d, and their keys and values %d bytes; raise " ..
        "`most` or `bytes`"):format(inner.count, inner.shape.most, inner.shape.bytes)
    end
    error(("%s[%s]: %s"):format(inner.shape.name, tostring(key), text), 4)
  end
  -- Lists have no holes but those that `remove` leaves.
  inner.list[number + 1], inner.keys[number + 1] = p, key
  inner.byKey[key] = p
  inner.count = inner.count + 1
  Record.side(p).number = number
end

local function set(map, key, fields)
  local inner = map[INNER]
  keyed(inner, key)
  if fields ~= nil and (type(fields) ~= "table" or getmetatable(fields)) then
    error(("%s[%s] takes a table of fields, or nil"):format(inner.shape.name, tostring(key)), 3)
  end
  if inner.byKey[key] ~= nil then remove(inner, key) end
  if fields == nil then return end
  local p = inner.shape.record:create(inner.home, inner.index)
  enter(inner, key, p)
  local ok, err = pcall(inner.shape.record.fill, inner.shape.record, p, fields)
  if not ok then
    remove(inner, key)
    error(err, 3)
  end
end

local step, pastHoles

-- The next entity: in the usual case without a loop of its own, so that the loop it serves
-- becomes one trace.
function step(walk)
  local place = walk.place + 1
  walk.place = place
  local p = walk.list[place]
  if p then return walk.keys[place], p end
  return pastHoles(walk, p)
end

function pastHoles(walk, p)
  while p == false do
    walk.place = walk.place + 1
    p = walk.list[walk.place]
  end
  if p then return walk.keys[walk.place], p end
  walk.inner.spare = walk -- for the next loop
  return nil
end

--- Goes over keys and entities.
-- @usage for id, p in players:each() do … end
function methods.each(map)
  local inner = map[INNER]
  local walk = inner.spare
  if walk then
    inner.spare = false
    walk.place = 0
  else
    walk = {place = 0, list = inner.list, keys = inner.keys, inner = inner}
  end
  return step, walk
end

--- The entity of a key, or nil.
function methods.get(map, key)
  return map[INNER].byKey[key]
end

--- How many there are.
function methods.count(map)
  return map[INNER].count
end

--- Removes all.
function methods.clear(map)
  local inner = map[INNER]
  for key in pairs(inner.byKey) do remove(inner, key) end
end

local Map = {
  __index = function(map, key)
    return methods[key] or map[INNER].byKey[key]
  end,
  __newindex = set,
  __tostring = function(map)
    return ("%s, a map of %d entities"):format(map[INNER].shape.name, map[INNER].count)
  end,
}

local map = {methods = methods} -- also for names that a key may have

--- Makes the map of a table in a state.
function map.new(state, index, shape)
  return setmetatable({[INNER] = {shape = shape, index = index, handle = state.handle,
    home = state.home, list = {}, keys = {}, byKey = {}, count = 0, spare = false}}, Map)
end

--- Its array, of entities and false, and its length may be more than count.
function map.list(self)
  return self[INNER].list
end

return map
