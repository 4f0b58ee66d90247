--- A member of a room: what the room's handlers get.
-- @classmod sync.Member

local Class = require "sync.class"
local Rpc = require "sync.remoting.jsonrpc"

local Member = Class:extend("Member")

--- The member's number in the room: no other gets it, as long as the room is.
-- @field id

--- The client's `user`, and each of the class's `resumeFields`, as they were when it joined.
-- @field user

--- Makes a member of a client that joins.
function Member.create(room, client, id)
  local self = room.memberClass:new {room = room, client = client, id = id, number = 0,
    user = client.user, address = client.address}
  for _, name in ipairs(client.resumeFields or {}) do
    if self[name] == nil then self[name] = client[name] end
  end
  return self
end

--- Fires an event at this member.
function Member:fire(name, ...)
  return self.client:fire(name, ...)
end

--- Calls a function of the member's client: see `sync.Remote:call`.
function Member:call(name, ...)
  return self.client:call(name, ...)
end

--- Takes the member out of the room.
-- @tparam[opt="kicked"] string reason for `onLeave` and the client
function Member:kick(reason)
  if self.room then self.room:remove(self, reason or "kicked", true) end
end

--- Calls a function of the room's `remote` for the member.
Member.invoke = Rpc.invoke

function Member:__tostring()
  return ("member %d of %s"):format(self.id, tostring(self.room))
end

return Member
