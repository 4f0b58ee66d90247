--- A copy of a room's state on a node where some of its members are connected. The room's home
-- decides who sees what, and sends one patch a tick for all replicas; each writes its members'
-- patches from it, byte for byte those that the home would write.
--
-- At home (`State`):
--
--     local number = C.sync_state_join(state.handle, form)  -- the member: any form
--     state:setElsewhere(number, member.id)
--     state:patch(tick)                                     -- as ever
--     local changes, snapshot = state:copied()              -- publish both, in this order
--     state:want()                                          -- a replica has asked for a snapshot
--
-- Where members are connected:
--
--     local replica = Replica.new(Arena.state, number)      -- by which clients know the room
--     replica:join(id, client.slot, "binary")               -- may come before the home's patch
--     local took, problem = replica:take(bytes)             -- its members get their patches
--     if took == "missed" or not took then … end            -- ask the home for a snapshot
--
-- What comes of the home must come in its order, events and patches alike. Replicas are dropped
-- with their last member.
--
-- A member keeps its id when it goes to another node. Its new node says `join`, its home goes on.
-- When it comes to the home itself: `setElsewhere(number, nil)` and `sync_state_connect`.
-- @classmod sync.state.replica

local core = require "sync.core"
local log = require "sync.log"
local tables = require "sync.state.tables"

local C = core.C

local Replica = {}
Replica.__index = Replica

local TOOK = {[C.SYNC_APPLIED] = "applied", [C.SYNC_APPLIED_OLD] = "old",
  [C.SYNC_APPLIED_MISSED] = "missed"}

--- Makes one that has nothing yet.
-- @tparam Schema schema the same as at home
-- @tparam number room by which this node's clients know the room
function Replica.new(schema, room)
  local self = setmetatable({handle = core.state(room), here = {}, waiting = {}, isLost = true},
    Replica)
  tables.declare(self.handle, schema)
  C.sync_state_replica(self.handle)
  return self
end

-- Connects a member that the home has told of. Returns whether it has.
local function connect(self, id)
  local here = self.here[id]
  local number = C.sync_state_find(self.handle, id)
  if number == 0 then return false end
  tables.checked(C.sync_state_read(self.handle, number, tables.form(self.handle, here.form)),
    "a member's form")
  C.sync_state_connect(self.handle, number, here.slot)
  return true
end

--- A member is connected here: its next patch is a snapshot. It's known by the id that it has at
-- home, of which the home's patches may tell later.
-- @tparam number id
-- @tparam number slot of its connection
-- @tparam string form "binary", "json" or "amf3"
function Replica:join(id, slot, form)
  self.here[id] = {slot = slot, form = form}
  self.waiting[id] = not connect(self, id) or nil
end

--- A member is here no more, or its home has taken it out: it gets nothing from now on.
function Replica:leave(id)
  local number = self.here[id] and C.sync_state_find(self.handle, id) or 0
  self.here[id], self.waiting[id] = nil, nil
  if number ~= 0 then C.sync_state_connect(self.handle, number, 0) end
end

--- A member has lost its connection, and may come back: `join` says so.
function Replica:suspend(id)
  local number = C.sync_state_find(self.handle, id)
  if self.here[id] then self.here[id].slot = 0 end
  if number ~= 0 then C.sync_state_connect(self.handle, number, 0) end
end

--- A member has asked for a snapshot: its next patch is one.
function Replica:renew(id)
  local number = C.sync_state_find(self.handle, id)
  if number ~= 0 then C.sync_state_renew(self.handle, number) end
end

-- Members that the home has told of since.
local function connectWaiting(self, ids)
  for id in pairs(ids) do
    if connect(self, id) then self.waiting[id] = nil else self.waiting[id] = true end
  end
end

--- Takes what the home has sent, and sends each member that can take one its patch.
-- @tparam string bytes
-- @treturn string|nil "applied"; "old": of a patch or an epoch before, and dropped; "missed":
-- something before it is missing, so that the replica has to get a snapshot, and sends nothing
-- until then; nil for bytes that are none: the same
-- @treturn nil|string what is wrong with them
function Replica:take(bytes)
  local wasLost = self.isLost
  local code = C.sync_state_apply(self.handle, bytes, #bytes)
  local took = TOOK[code]
  if took ~= "applied" then
    self.isLost = wasLost or took ~= "old"
    if took then return took end
    return nil, core.problem(code) == "EINVAL" and "the room is declared otherwise at its home" or
      "this is no patch of a room: " .. select(2, core.problem(code))
  end
  -- A snapshot has made all members anew.
  local isSnapshot = bytes:byte(2) == 1
  self.isLost = false
  if isSnapshot then connectWaiting(self, self.here)
  elseif next(self.waiting) ~= nil then connectWaiting(self, self.waiting) end
  self.tick = C.sync_state_tick(self.handle)
  if tables.checked(C.sync_state_patch(core.handle, self.handle, self.tick), "a patch") >= 2 then
    log.limited("error", "patch", "a patch is longer than maxQueue of its member's connection, " ..
      "who gets none: raise maxQueue, or let members see less")
  end
  return "applied"
end

--- Begins a patch that is taken by `write` and ended by `finish`: for tests, as `State`'s.
function Replica:apply(bytes)
  return C.sync_state_apply(self.handle, bytes, #bytes)
end

function Replica:write(number, tick)
  return core.patch(self.handle, number, tick)
end

function Replica:finish()
  C.sync_state_end_patch(self.handle)
end

return Replica
