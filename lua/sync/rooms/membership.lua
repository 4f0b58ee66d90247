--- The rooms that a client is in, and those that it's on its way into: its `membership`, which
-- `sync.Remote` tells when the client is away, back, and gone.
-- @module sync.rooms.membership

local Membership = {}
Membership.__index = Membership

--- The membership of a client.
function Membership.of(client)
  local self = client.membership
  if not self then
    self = setmetatable({client = client, places = {}, entries = {}, count = 0}, Membership)
    client.membership = self
  end
  return self
end

--- Whether the client is in a room, or on its way in.
-- @tparam number number
function Membership:has(number)
  return self.places[number] ~= nil or self.entries[number] ~= nil
end

--- The client is on its way into a room.
function Membership:enter(number, entry)
  self.entries[number] = entry
  self.count = self.count + 1
end

--- It's in, and has a place.
function Membership:add(number, place)
  self.entries[number] = nil
  self.places[number] = place
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

--- It has gone.
function Membership:finish()
  each(self.entries, function(entry) entry:cancel() end)
  local reason = self.client.closing or "left"
  each(self.places, function(place)
    if self.places[place.number] == place then place:quit(reason) end
  end)
end

return Membership
