-- Central as a server class: what pages, Flash movies, bots and terminals call.

local sync = require "sync"
local Room = require "room"

local Central = sync.Remote:extend("Central")
Central.rooms = {Room}
Central.web = false   -- main.lua says where the page is
Central.maxQueue = 4 * 1024 * 1024
Central.routes = {["GET /accounts"] = function() return {has = false} end} -- see names.lua

local MOST_NAME, MOST_TEXT = 20, 300 -- bytes
local MOST_POINTS = 200              -- numbers in a call
local CHAT = 50                      -- lines that newcomers get

--- What may be shown to others: one line, of a bounded length, cut between letters.
function Central.clean(text, most)
  text = text:gsub("[%c\127]", " "):gsub("^%s+", ""):gsub("%s+$", "")
  if #text > most then
    while most > 0 and text:find("^[\128-\191]", most + 1) do most = most - 1 end
    text = text:sub(1, most)
  end
  return text
end

local function named(name)
  name = Central.clean(type(name) == "string" and name or "", MOST_NAME)
  if name == "" then error(sync.fault(2, "a name has one letter or more")) end
  return name
end

-- A client joins with `{room = "lobby", name = "ann", hue = 200}`.

local begin = Room.onCreate
function Room:onCreate()
  local name = self.metadata.room
  if type(name) ~= "string" or name == "" or name ~= Central.clean(name, MOST_NAME) then
    error(sync.fault(3, ("a room's name is a line of 1 to %d bytes"):format(MOST_NAME)))
  end
  self.lastLine = 0
  begin(self)
end

--- What somebody is called who gives these options. May wait: names.lua asks a database.
function Central.nameOf(options) return named(options.name) end

function Room:onJoin(member, options)
  local name = Central.nameOf(options)
  local hue = type(options.hue) == "number" and options.hue or math.random(0, 359)
  self:enter(member, name, hue % 360)
end

local remote = Room.remote

-- Where this person points, and what their comet is after.
remote.aim = sync.method("x: number", "y: number", {rate = 60, burst = 120},
  function(room, member, x, y)
    local comet = room.state.comets[member.id]
    comet.aimX = math.min(math.max(x, 0), Room.WIDTH)
    comet.aimY = math.min(math.max(y, 0), Room.HEIGHT)
  end)

remote.dash = sync.method({rate = 5, burst = 10}, Room.startDash)
remote.erase = sync.method({rate = 1, burst = 3}, Room.erase)

local function isWithin(value, most)
  return type(value) == "number" and value >= 0 and value <= most
end

-- Adds points to a stroke of one's own, numbered by the caller.
remote.draw = sync.method("stroke: integer", "width: integer", "points: list",
  {rate = 40, burst = 80}, function(room, member, stroke, width, points)
    local fine = #points > 0 and #points <= MOST_POINTS and #points % 2 == 0
    for i = 1, fine and #points or 0, 2 do
      fine = fine and isWithin(points[i], Room.WIDTH) and isWithin(points[i + 1], Room.HEIGHT)
    end
    if not fine then
      error(sync.fault(5, ("points are x1, y1, …, at most %d numbers"):format(MOST_POINTS)))
    end
    room:draw(member, stroke, math.min(math.max(width, 1), 40), points)
  end)

remote.say = sync.method("text: string", {rate = 2, burst = 6}, function(room, member, text)
  text = Central.clean(text, MOST_TEXT)
  if text == "" then return end
  local who, chat = room.state.people[member.id], room.state.chat
  room.lastLine = room.lastLine + 1
  chat[room.lastLine - CHAT] = nil
  chat[room.lastLine] = {member = member.id, name = who.name, hue = who.hue, text = text}
end)

remote.rename = sync.method("name: string", {rate = 1, burst = 5, waits = true},
  function(room, member, name)
    name = Central.nameOf {name = name}
    if member.room then room.state.people[member.id].name = name end
  end)

return Central
