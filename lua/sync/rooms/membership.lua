--- The rooms that a client is in, and those that it's on its way into: its `membership`, which
-- `sync.Remote` tells when the client is away, back, and gone.
-- @module sync.rooms.membership

local Membership = {}
Membership.__index = Membership

--- The membership of a client.
function Membership.of(client)
  local self = client._membership
  if not self then
    self = setmetatable({client = client, places = {}, entries = {}, count = 0, aliases = {}},
      Membership)
    client._membership = self
  end
  return self
end

--- Whether the client is in a room, or on its way in.
-- @tparam number number
function Membership:has(number)
  return self.places[number] ~= nil or self.entries[number] ~= nil
end

--- The place of a number, or of what the room was called on the node before.
function Membership:find(number)
  return self.places[number] or self.places[self.aliases[number]]
end

--- The client is on its way into a room.
function Membership:enter(number, entry)
  self.entries[number] = entry
  self.count = self.count + 1
end

--- It's in, and has a place.
function Membership:add(number, place)
  self.entries[number], self.aliases[number] = nil, nil
  self.places[number] = place
end

--- A room that the client was in on another node: it's told what the room is called here.
function Membership:adopt(old, number, place)
  self.count = self.count + 1
  self:add(number, place)
  self.aliases[old] = number
  self.client:fire("sync.moved", old, number)
end

--- It's in no more, nor on its way.
function Membership:remove(number)
  if not self:has(number) then return end
  self.places[number], self.entries[number] = nil, nil
  self.count = self.count - 1
end

-- Handlers that are called may change what there is.
local function each(table, fn)
  local list = {}
  for _, value in pairs(table) do list[#list + 1] = value end
  for _, value in ipairs(list) do fn(value) end
end

--- The client has lost its connection, and may come back.
function Membership:suspend()
  each(self.places, function(place) place:away() end)
end

--- It is back.
function Membership:resume()
  each(self.places, function(place)
    if self.places[place.number] == place then place:back() end
  end)
end

--- It has no connection any more: nothing may be sent to its slot, which another client gets.
function Membership:part()
  each(self.places, function(place) place:part() end)
end

--- Its session goes to another node: its rooms are let go here, and the members stay.
-- @treturn table for that node
function Membership:pack()
  local packed = {}
  each(self.entries, function(entry) entry:cancel() end)
  each(self.places, function(place) packed[#packed + 1] = place:pack() end)
  self.places, self.isOver = {}, true
  return packed
end

--- It has gone.
function Membership:finish()
  self.isOver = true
  each(self.entries, function(entry) entry:cancel() end)
  local reason = self.client.closing or "left"
  each(self.places, function(place)
    if self.places[place.number] == place then place:quit(reason) end
  end)
end

return Membership
