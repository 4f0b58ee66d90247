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

-- The names of SYNC's rooms, which are those of who is to be told together: of a whole room,
-- and of a cell in it. A room's own name has no line end.
local function cellName(room, cell) return room.name .. "\n" .. cell end

-- Whom a room tells something is told by one `fire`: encoded once, and framed once.
local function makeRoom(name)
  local room = Room.new(name)
  function room.broadcast(except, ...)
    local all = Central:room(name)
    if except and except.client then all = all:except(except.client) end
    all:fire(...)
  end
  function room.broadcastCell(cell, ...)
    Central:room(cellName(room, cell)):fire(...)
  end
  return room
end

--- The room of a name, made when it is first asked for.
-- @return nil when there are too many
function Central.findRoom(name)
  name = Central.clean(name, MOST_NAME)
  if name == "" then name = "lobby" end
  local room = rooms[name]
  if not room and roomCount < MOST_ROOMS then
    room = makeRoom(name)
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

-- What a client's comet is in: the room, and one of its cells.

local function follow(client, room, member)
  local cell = cellName(room, member.cell)
  client:join(room.name)
  client:join(cell)
  function member.moved(number)
    client:leave(cell)
    cell = cellName(room, number)
    client:join(cell)
  end
end

local function part(client)
  local room, member = client.place, client.member
  if not member then return end
  client:leave(room.name)
  client:leave(cellName(room, member.cell))
  client.member = nil
  Central.leaveRoom(room, member)
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
    part(self)
    local member = room:add(name, (hue or math.random(0, 359)) % 360)
    if not member then error(sync.fault(4, "this room is full")) end
    member.client = self
    self.place, self.member = room, member
    follow(self, room, member)
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
  part(self)
end

return Central
