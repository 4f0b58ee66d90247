--- The state of one room: its entities in Lua, and the core that sends them.
-- @module sync.state.state

local core = require "sync.core"
local Map = require "sync.state.map"
local Record = require "sync.state.record"
local failure = require "sync.failure"
local log = require "sync.log"
local tables = require "sync.state.tables"
local values = require "sync.state.values"

local C, checked = core.C, tables.checked

local State = {}
State.__index = State

--- Makes the state of a room.
-- @tparam Schema schema
-- @tparam number room its number
function State.new(schema, room)
  local self = setmetatable({schema = schema, handle = core.state(room), changed = {}, asked = {},
    -- Entities find the state here, and don't keep it.
    home = setmetatable({}, {__mode = "v"})}, State)
  self.home.state = self
  tables.declare(self.handle, schema)
  self.root, self.maps = schema.root.record:create(self.home, 0), {}
  local side = Record.side(self.root)
  side.number = checked(C.sync_state_add(self.handle, 0, self.root, 0, "", 0), "the state")
  for index, shape in ipairs(schema.maps) do
    local map = Map.new(self, index, shape)
    side.values[shape.name] = map
    self.maps[index] = map
    if shape.ask then self.asked[#self.asked + 1] = {map = map, shape = shape, index = index} end
  end
  return self
end

-- Lists and maps that have changed.
local function flush(self)
  local list = self.changed
  self.changed = {}
  for _, entry in ipairs(list) do
    local side, field = entry.side, entry.field
    local bytes = values.bytes(entry.inner)
    local code = side.number and
      C.sync_state_put(self.handle, side.table, side.number, field.place, bytes, #bytes) or 0
    if code < 0 then
      log.limited("error", "state " .. field.path, ("%s isn't sent: %s; `bytes` is the bound of " ..
        "all strings, lists and maps of a map"):format(field.path, (core.problem(code))))
    end
  end
end

local function fieldAt(self, found)
  local index, place = math.floor(found / 65536), found % 65536
  local shape = index == 0 and self.schema.root or self.schema.maps[index]
  return shape.sent[place + 1]
end

local function warn(self)
  local found = C.sync_state_saturated(self.handle)
  while found >= 0 do
    local field = fieldAt(self, found)
    log.warn(("%s: a value was out of the range of %s, and members see the nearest that is in it")
      :format(field.path, field.type.kind))
    found = C.sync_state_saturated(self.handle)
  end
end

-- Asks for so many pairs of a member and an entity of a map as its rate and its budget have it,
-- going on where it has stopped.
local function ask(self, entry, members, rate)
  local list, shape = Map.list(entry.map), entry.shape
  local pairsLeft = math.min(shape.budget, math.ceil(#members * #list * shape.rate / rate))
  local m, place = entry.member or 1, entry.place or 0
  while pairsLeft > 0 do
    place = place + 1
    if place > #list then place, m = 1, m + 1 end
    if not members[m] then m = 1 end
    local p, member = list[place], members[m]
    pairsLeft = pairsLeft - 1
    if p and member.number ~= 0 then
      local ok, sees = xpcall(shape.ask, failure.trace, member, p)
      if not ok then
        log.limited("error", "sees of " .. shape.name,
          ("error in sees of %s, nothing is seen: %s"):format(shape.name, tostring(sees)))
        sees = false
      end
      C.sync_state_sight(self.handle, member.number, entry.index, Record.side(p).number,
        sees and C.SYNC_SIGHT_ASKED_YES or C.SYNC_SIGHT_ASKED_NO)
    end
  end
  entry.member, entry.place = m, place
end

--- Asks the functions that say who sees what.
-- @tparam table members a list
-- @tparam number rate of patches
function State:ask(members, rate)
  for _, entry in ipairs(self.asked) do
    if members[1] and Map.list(entry.map)[1] ~= nil then ask(self, entry, members, rate) end
  end
end

--- Sends each member that can take one a patch.
-- @tparam number tick
function State:patch(tick)
  if self.changed[1] then flush(self) end
  local found = C.sync_state_patch(core.handle, self.handle, tick)
  if found > 0 then warn(self) end
  if found >= 2 then
    log.limited("error", "patch", "a patch is longer than maxQueue of its member's connection, " ..
      "who gets none: raise maxQueue, or let members see less")
  end
  checked(found, "a patch")
end

-- Members elsewhere: other nodes have replicas of the state, and write the patches of the members
-- that are connected there (replica.lua).

--- Says of which epoch the patches are: of a room that has come up again, a higher one than before.
-- @tparam number epoch
function State:setEpoch(epoch)
  C.sync_state_epoch(self.handle, epoch)
end

--- A member is elsewhere from now on: a replica writes its patches.
-- @tparam number number of `sync_state_join`, which is given any form
-- @tparam number|nil id by which replicas find the member: a whole number above 0, which no other
-- has in this room; nil: the member is here again (`sync_state_connect` says where)
function State:setElsewhere(number, id)
  C.sync_state_elsewhere(self.handle, number, id or 0)
end

--- A replica has asked for a snapshot: the next patch makes one.
function State:want()
  C.sync_state_want(self.handle)
end

--- What the last patch has made for replicas, to be sent to each of them in this order. Both are
-- nil as long as all members are here. The first is a snapshot alone.
-- @treturn string|nil what has changed
-- @treturn string|nil a snapshot, if one was wanted
function State:copied()
  return core.copied(self.handle, 0), core.copied(self.handle, 1)
end

--- Removes all entities: what they refer to is free.
function State:clear()
  for _, map in ipairs(self.maps) do map:clear() end
  self.schema.root.record:drop(self.root)
end

--- Begins a patch that is taken by `write` and ended by `finish`: for tests.
function State:compare()
  if self.changed[1] then flush(self) end
  if C.sync_state_compare(self.handle) > 0 then warn(self) end
end

function State:write(member, tick)
  return core.patch(self.handle, member, tick)
end

function State:finish(tick)
  C.sync_state_copy(self.handle, tick or 0)
  C.sync_state_end_patch(self.handle)
end

return State
