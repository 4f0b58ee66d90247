-- Central as a server class: pages, Flash movies and bots call its functions.

local sync = require "sync"
local Room = require "room"

local Central = sync.Remote:extend("Central")
Central.web = false   -- main.lua says where the page is
Central.maxQueue = 4 * 1024 * 1024

local MOST_ROOMS = 100
local MOST_NAME, MOST_TEXT = 20, 300 -- bytes
local MOST_POINTS = 200              -- numbers in a call

local rooms = {}
local roomCount = 0
Central.rooms = rooms

--- What may be shown to others: one line, of a bounded length, cut between letters.
function Central.clean(text, most)
  text = text:gsub("[%c\127]", " "):gsub("^%s+", ""):gsub("%s+$", "")
  if #text > most then
    while most > 0 and text:find("^[\128-\191]", most + 1) do most = most - 1 end
    text = text:sub(1, most)
  end
  return text
end

--- The room of a name, made when it is first asked for.
-- @return nil when there are too many
function Central.findRoom(name)
  name = Central.clean(name, MOST_NAME)
  if name == "" then name = "lobby" end
  local room = rooms[name]
  if not room and roomCount < MOST_ROOMS then
    room = Room.new(name)
    rooms[name] = room
    roomCount = roomCount + 1
  end
  return room
end

--- A room that nobody is in is forgotten, but the lobby.
function Central.leaveRoom(room, member)
  room:remove(member)
  if room.count == 0 and room.name ~= "lobby" and rooms[room.name] == room then
    rooms[room.name] = nil
    roomCount = roomCount - 1
  end
end

local remote = Central.remote

local function present(self)
  if not self.member then error(sync.fault(1, "join a room first")) end
  return self.place, self.member
end

local function isWithin(value, most)
  return type(value) == "number" and value >= 0 and value <= most
end

-- Enters a room and leaves the one before. Returns its state.
remote.join = sync.method("room: string", "name: string", "hue: integer?", {rate = 1, burst = 10},
  function(self, roomName, name, hue)
    name = Central.clean(name, MOST_NAME)
    if name == "" then error(sync.fault(2, "a name has one letter or more")) end
    local room = Central.findRoom(roomName)
    if not room then error(sync.fault(3, "there are too many rooms")) end
    if self.member then Central.leaveRoom(self.place, self.member) end
    self.member = nil
    local member = room:add(name, (hue or math.random(0, 359)) % 360, function(...)
      self:fire(...)
    end)
    if not member then error(sync.fault(4, "this room is full")) end
    self.place, self.member = room, member
    local state = room:state()
    state.you = member.id
    return state
  end)

-- Where this person points, and what their comet is after.
remote.aim = sync.method("x: number", "y: number", {rate = 60, burst = 120},
  function(self, x, y)
    local room, member = present(self)
    room:aim(member, x, y)
  end)

remote.dash = sync.method({rate = 5, burst = 10}, function(self)
  local room, member = present(self)
  return room:startDash(member)
end)

-- Adds points to a stroke of one's own, numbered by the caller. Returns its serial number on the
-- board.
remote.draw = sync.method("stroke: integer", "width: integer", "points: list",
  {rate = 40, burst = 80}, function(self, stroke, width, points)
    local room, member = present(self)
    local fine = #points > 0 and #points <= MOST_POINTS and #points % 2 == 0
    for i = 1, fine and #points or 0, 2 do
      fine = fine and isWithin(points[i], Room.WIDTH) and isWithin(points[i + 1], Room.HEIGHT)
    end
    if not fine then
      error(sync.fault(5, ("points are x1, y1, …, at most %d numbers"):format(MOST_POINTS)))
    end
    return room:draw(member, stroke, math.min(math.max(width, 1), 40), points)
  end)

remote.erase = sync.method({rate = 1, burst = 3}, function(self)
  local room, member = present(self)
  room:erase(member)
end)

remote.say = sync.method("text: string", {rate = 2, burst = 6}, function(self, text)
  local room, member = present(self)
  text = Central.clean(text, MOST_TEXT)
  if text ~= "" then room:say(member, text) end
end)

remote.rename = sync.method("name: string", {rate = 1, burst = 5}, function(self, name)
  local room, member = present(self)
  name = Central.clean(name, MOST_NAME)
  if name == "" then error(sync.fault(2, "a name has one letter or more")) end
  room:rename(member, name)
end)

function Central:onClose()
  if self.member then Central.leaveRoom(self.place, self.member) end
  self.member = nil
end

return Central
