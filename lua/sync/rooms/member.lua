--- A member of a room: what the room's handlers get, the same object as long as the member is in.
-- @classmod sync.Member

local Class = require "sync.class"
local Rpc = require "sync.remoting.jsonrpc"

local MOST_EARLY = 64 -- events

local Member = Class:extend("Member")

--- The member's number in the room: no other gets it, as long as the room is.
-- @field id

--- The client's `user`, and each of the class's `resumeFields`, as they were when it joined.
-- @field user

--- Whether the client has lost its connection, and may come back.
-- @field isAway

-- `line` is how its client is reached (see lua/sync/rooms/here.lua), `number` what the core of
-- the room's state calls it, 0 before and after. `early` has events for one that isn't in yet.

--- Makes a member.
-- @tparam sync.Room room
-- @tparam table line
-- @tparam number id
-- @tparam table told what the line tells of its client, by name
function Member.create(room, line, id, told)
  local self = room.memberClass:new {room = room, line = line, id = id, number = 0, isAway = false,
    early = {}}
  for name, value in pairs(told) do
    if self[name] == nil then self[name] = value end
  end
  return self
end

--- Fires an event at this member. While `onJoin` runs it waits until the client is in the room.
function Member:fire(name, ...)
  local early = self.early
  if early and #early < MOST_EARLY then
    early[#early + 1] = {count = select("#", ...), name, ...}
    return true
  end
  if self.room and not self.room.inner:goesOn() then return false, "paused" end
  return self.line:fire(name, ...)
end

--- Fires what has waited.
function Member:fireEarly()
  local early = self.early
  self.early = nil
  for _, event in ipairs(early or {}) do self.line:fire(unpack(event, 1, 1 + event.count)) end
end

--- Calls a function of the member's client: see `sync.Remote:call`.
function Member:call(name, ...)
  return self.line:call(name, ...)
end

--- Takes the member out of the room. One whose `onJoin` still runs is refused.
-- @tparam[opt="kicked"] string reason for `onLeave` and the client
function Member:kick(reason)
  if not self.room then return end
  if self.entry then return self.entry:cancel(reason or "kicked") end
  self.room.inner:remove(self, reason or "kicked", true)
end

--- Its line to the client ends.
-- @tparam string|boolean reason that the client is told; false: none
function Member:leave(reason)
  self.line:close(self, reason)
  self.number, self.early = 0, nil
end

--- Calls a function of the room's `remote` for the member.
Member.invoke = Rpc.invoke

function Member:__tostring()
  return ("member %d of %s"):format(self.id, tostring(self.room))
end

return Member
