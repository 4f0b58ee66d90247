-- One room of Central: who is in it, its board, its chat, and the game that runs in it.
--
-- The server is the authority. A person says only where they point (`aim`); where their comet
-- is, and who gets which spark, is decided here, thirty times a second.
--
-- A member is a plain table; how it is told anything is its owner's business: by itself, by
-- `member.tell(event, ...)`, or together with others, which costs less, by the room's
-- `broadcast` and `broadcastCell`; then `member.moved(cell)` says which cell it is in.

local buffer = require "string.buffer"

local Room = {}
Room.__index = Room

-- The world, in units that are pixels at the page's normal size.
Room.WIDTH, Room.HEIGHT = 5760, 3840
Room.CELL = 480
Room.TICKS = 30          -- a second
Room.TICKS_A_SNAPSHOT = 2

local WIDTH, HEIGHT, CELL = Room.WIDTH, Room.HEIGHT, Room.CELL
local COLUMNS, ROWS = WIDTH / CELL, HEIGHT / CELL
local VIEW_X, VIEW_Y = 2, 1 -- a member sees so many cells to each side of its own

local STEP = 1 / Room.TICKS
local SPEED, DASH_SPEED = 430, 1500 -- units a second
local AGILITY = 5                   -- how fast a comet takes up a new speed, a second
local DASH, DASH_REST = 0.22, 2     -- seconds
local REACH, BUMP = 26, 40          -- units
local LOOT = 3                      -- sparks that a bumped comet loses
local SPARKS, SPARKS_A_MEMBER = 150, 0.5

-- Bounds.
Room.MOST_MEMBERS = 1000
local MOST_STROKES = 1500
local MOST_POINTS = 60000 -- of the board; the oldest strokes go first
local MOST_SPARKS = 800
local CHAT = 50           -- lines that newcomers get

local function nobody() end

function Room.new(name)
  local self = setmetatable({
    broadcast = nobody,     -- (except a member or nil, event, ...)
    broadcastCell = nobody, -- (number of a cell, event, ...)
    name = name,
    members = {}, count = 0, lastId = 0,
    strokes = {}, firstStroke = 1, lastStroke = 0, points = 0,
    chat = {},
    sparks = {}, sparkCount = 0, lastSpark = 0,
    cells = {},
    tick = 0,
  }, Room)
  for i = 1, COLUMNS * ROWS do self.cells[i] = {members = {}, sparks = {}, text = ""} end
  while self.sparkCount < SPARKS do self:addSpark() end
  return self
end

-- Cells are numbered by rows from 1.
local function cellAt(x, y)
  local column = math.floor(math.min(math.max(x, 0), WIDTH - 1) / CELL)
  local row = math.floor(math.min(math.max(y, 0), HEIGHT - 1) / CELL)
  return row * COLUMNS + column + 1
end

local function take(list, value)
  for i = 1, #list do
    if list[i] == value then
      list[i] = list[#list]
      list[#list] = nil
      return
    end
  end
end

-- Sparks.

function Room:addSpark(x, y)
  if self.sparkCount >= MOST_SPARKS then return end
  x = math.floor(math.min(math.max(x or math.random(WIDTH), 20), WIDTH - 20))
  y = math.floor(math.min(math.max(y or math.random(HEIGHT), 20), HEIGHT - 20))
  self.lastSpark = self.lastSpark + 1
  self.sparkCount = self.sparkCount + 1
  local list = self.cells[cellAt(x, y)].sparks
  list[#list + 1] = {id = self.lastSpark, x = x, y = y}
end

local function near(a, b, distance)
  local x, y = a.x - b.x, a.y - b.y
  return x * x + y * y < distance * distance
end

function Room:collect(member)
  local list = self.cells[member.cell].sparks
  local i = 1
  while i <= #list do
    if near(member, list[i], REACH) then
      list[i] = list[#list]
      list[#list] = nil
      self.sparkCount = self.sparkCount - 1
      member.score = member.score + 1
      if self.sparkCount < SPARKS + SPARKS_A_MEMBER * self.count then self:addSpark() end
    else
      i = i + 1
    end
  end
end

-- Members.

--- Adds a member: `name`, `hue` and `tell` are the caller's. One without `tell` is told
-- together with others.
-- @return the member, or nil when the room is full
function Room:add(name, hue, tell)
  if self.count >= Room.MOST_MEMBERS then return nil end
  self.lastId = self.lastId + 1
  local x = WIDTH / 2 + math.random(-260, 260)
  local y = HEIGHT / 2 + math.random(-160, 160)
  local member = {
    id = self.lastId, name = name, hue = hue, tell = tell, moved = nobody,
    x = x, y = y, vx = 0, vy = 0, aimX = x, aimY = y,
    score = 0, dash = 0, rest = 0, cell = cellAt(x, y),
  }
  self:tell(nil, "onJoin", member.id, name, hue)
  self.count = self.count + 1
  self.members[self.count] = member
  local list = self.cells[member.cell].members
  list[#list + 1] = member
  return member
end

function Room:remove(member)
  take(self.cells[member.cell].members, member)
  take(self.members, member)
  self.count = self.count - 1
  self:tell(nil, "onLeave", member.id)
end

--- Tells all members but one.
function Room:tell(except, event, ...)
  self.broadcast(except, event, ...)
  for _, member in ipairs(self.members) do
    if member.tell and member ~= except then member.tell(event, ...) end
  end
end

function Room:aim(member, x, y)
  member.aimX = math.min(math.max(x, 0), WIDTH)
  member.aimY = math.min(math.max(y, 0), HEIGHT)
end

--- For a moment the comet is fast; whom it hits then loses sparks.
function Room.startDash(_, member)
  if member.rest > 0 then return false end
  member.dash, member.rest = DASH, DASH_REST
  return true
end

function Room:rename(member, name)
  member.name = name
  self:tell(nil, "onRename", member.id, name)
end

-- The board and the chat.

--- Adds points to a stroke: x1, y1, x2, y2, … They are rounded to whole units, in the list too:
-- a full board is a message of 0.7 MB then, not of 2.
-- @return the stroke's serial number on the board, by which the oldest are forgotten
function Room:draw(member, number, width, points)
  local last = member.stroke
  if not last or last.number ~= number then
    self.lastStroke = self.lastStroke + 1
    last = {serial = self.lastStroke, number = number, member = member.id, hue = member.hue,
      width = width, points = {}}
    member.stroke = last
    self.strokes[self.lastStroke] = last
  end
  for i = 1, #points do
    points[i] = math.floor(points[i] + 0.5)
    last.points[#last.points + 1] = points[i]
  end
  self.points = self.points + #points / 2
  local first = self.firstStroke
  while self.points > MOST_POINTS or self.lastStroke - self.firstStroke >= MOST_STROKES do
    self:dropStroke()
  end
  self:tell(member, "onDraw", member.id, number, member.hue, width, points, last.serial)
  if self.firstStroke > first then self:tell(nil, "onForget", self.firstStroke) end
  return last.serial
end

function Room:dropStroke()
  local stroke = self.strokes[self.firstStroke]
  self.strokes[self.firstStroke] = nil
  self.firstStroke = self.firstStroke + 1
  if stroke then
    self.points = self.points - #stroke.points / 2
    stroke.number = nil -- whoever still draws it begins anew
  end
end

--- Takes everything off the board that a member has drawn.
function Room:erase(member)
  for i = self.firstStroke, self.lastStroke do
    local stroke = self.strokes[i]
    if stroke and stroke.member == member.id then
      self.points = self.points - #stroke.points / 2
      self.strokes[i] = false
    end
  end
  member.stroke = nil
  self:tell(nil, "onErase", member.id)
end

function Room:say(member, text)
  local line = {id = member.id, name = member.name, hue = member.hue, text = text}
  self.chat[#self.chat + 1] = line
  if #self.chat > CHAT then table.remove(self.chat, 1) end
  self:tell(nil, "onSay", line.id, line.name, line.hue, text)
end

--- What a newcomer has to know. Lists are those of JSON.
function Room:state()
  local people, board = {}, {}
  for i, member in ipairs(self.members) do
    people[i] = {member.id, member.name, member.hue}
  end
  for i = self.firstStroke, self.lastStroke do
    local stroke = self.strokes[i]
    if stroke and #stroke.points > 0 then
      board[#board + 1] = {stroke.member, stroke.number, stroke.hue, stroke.width, stroke.points,
        stroke.serial}
    end
  end
  return {room = self.name, width = WIDTH, height = HEIGHT, people = people, board = board,
    chat = {unpack(self.chat)}, interval = Room.TICKS_A_SNAPSHOT / Room.TICKS,
    ticks = Room.TICKS}
end

-- The game.

local function move(member)
  local dx, dy = member.aimX - member.x, member.aimY - member.y
  local distance = math.sqrt(dx * dx + dy * dy)
  local speed = member.dash > 0 and DASH_SPEED or math.min(SPEED, distance * 4)
  local share = math.min(1, AGILITY * STEP * (member.dash > 0 and 4 or 1))
  local wantX = distance > 1 and dx / distance * speed or 0
  local wantY = distance > 1 and dy / distance * speed or 0
  member.vx = member.vx + (wantX - member.vx) * share
  member.vy = member.vy + (wantY - member.vy) * share
  member.x = math.min(math.max(member.x + member.vx * STEP, 0), WIDTH)
  member.y = math.min(math.max(member.y + member.vy * STEP, 0), HEIGHT)
  member.dash = math.max(0, member.dash - STEP)
  member.rest = math.max(0, member.rest - STEP)
end

function Room:bump(member)
  local list = self.cells[member.cell].members
  for i = 1, #list do
    local other = list[i]
    if other ~= member and other.score > 0 and near(member, other, BUMP) then
      local lost = math.min(LOOT, other.score)
      other.score = other.score - lost
      for _ = 1, lost do
        self:addSpark(other.x + math.random(-140, 140), other.y + math.random(-140, 140))
      end
      other.vx, other.vy = member.vx * 0.7, member.vy * 0.7
      member.dash = 0
      self:tell(nil, "onBump", member.id, other.id, lost)
      return
    end
  end
end

function Room:step()
  local members = self.members
  for i = 1, self.count do
    local member = members[i]
    move(member)
    local cell = cellAt(member.x, member.y)
    if cell ~= member.cell then
      take(self.cells[member.cell].members, member)
      local list = self.cells[cell].members
      list[#list + 1] = member
      member.cell = cell
      member.moved(cell)
    end
    self:collect(member)
    if member.dash > 0 then self:bump(member) end
  end
  self.tick = self.tick + 1
  if self.tick % Room.TICKS_A_SNAPSHOT == 0 then self:snapshot() end
  if self.tick % Room.TICKS == 0 then self:pulse() end
end

local text = buffer.new()

-- What is in a cell: "id,x,y,score,dash;…|id,x,y;…"; written once for all who see it.
local function describe(cell)
  local members, sparks = cell.members, cell.sparks
  for i = 1, #members do
    local m = members[i]
    text:put(m.id, ",", math.floor(m.x), ",", math.floor(m.y), ",", m.score, ",",
      m.dash > 0 and 1 or 0, ";")
  end
  text:put("|")
  for i = 1, #sparks do
    local s = sparks[i]
    text:put(s.id, ",", s.x, ",", s.y, ";")
  end
  text:put("\n")
  return text:get()
end

-- Each member is told of the cells round its own: the area of interest. Those in one cell
-- are told the same, so it is joined once.
function Room:snapshot()
  local cells = self.cells
  for i = 1, #cells do cells[i].text = describe(cells[i]) end
  for i = 1, #cells do
    local members = cells[i].members
    if #members > 0 then
      local view = self:view(i)
      self.broadcastCell(i, "s", self.tick, view)
      for j = 1, #members do
        if members[j].tell then members[j].tell("s", self.tick, view) end
      end
    end
  end
end

function Room:view(number)
  local column, row = (number - 1) % COLUMNS, math.floor((number - 1) / COLUMNS)
  for y = math.max(0, row - VIEW_Y), math.min(ROWS - 1, row + VIEW_Y) do
    for x = math.max(0, column - VIEW_X), math.min(COLUMNS - 1, column + VIEW_X) do
      text:put(self.cells[y * COLUMNS + x + 1].text)
    end
  end
  return text:get()
end

--- The best, as {name, score, hue}.
function Room:best(count)
  local list = {}
  for i, member in ipairs(self.members) do list[i] = member end
  table.sort(list, function(a, b)
    if a.score ~= b.score then return a.score > b.score end
    return a.id < b.id
  end)
  local best = {}
  for i = 1, math.min(count, #list) do best[i] = {list[i].name, list[i].score, list[i].hue} end
  return best
end

-- Once a second: how many there are, the best, and where everybody is, for the map: two
-- letters for each, of 0 to 63 across and down.
local LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"

local function letter(share)
  local i = math.min(63, math.floor(share * 64)) + 1
  return LETTERS:sub(i, i)
end

function Room:pulse()
  for i = 1, self.count do
    local member = self.members[i]
    text:put(letter(member.x / WIDTH), letter(member.y / HEIGHT))
  end
  self:tell(nil, "onPulse", self.count, self:best(8), text:get())
end

return Room
