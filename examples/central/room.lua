-- One room of Central: who is in it, its board, its chat, and the game that runs in it.
--
-- The server is the authority. A person says only where they point (`aim`); where their comet
-- is, and who gets which spark, is decided here, thirty times a second. Who sees what is declared:
-- comets and sparks that are near, and everybody's name, strokes and lines.

local sync = require "sync"

local Room = sync.Room:extend("Central")

-- The world, in units that are pixels at the page's normal size.
Room.WIDTH, Room.HEIGHT = 5760, 3840
local WIDTH, HEIGHT = Room.WIDTH, Room.HEIGHT
local SIGHT_X, SIGHT_Y, MARGIN = 940, 470, 120 -- what a page shows, and of that beyond the edge

local SPEED, DASH_SPEED = 430, 1500 -- units a second
local AGILITY = 5                   -- how fast a comet takes up a new speed, a second
local DASH, DASH_REST = 0.22, 2     -- seconds
local REACH, BUMP, LOOT = 26, 40, 3 -- units, units, and sparks that a bumped comet loses
local SPARKS, SPARKS_A_MEMBER, MOST_SPARKS = 150, 0.5, 800
local MOST_STROKES, MOST_POINTS = 4000, 60000 -- of the board; the oldest go first
local PIECE = 64                    -- points; a longer stroke goes on as another

Room.tickRate, Room.patchRate, Room.maxMembers, Room.maxOpen = 30, 20, 1000, 100
Room.filterBy = {"room"} -- a room's name; where one is full, another of the same name begins

local near = sync.near(math.ceil(math.sqrt(SIGHT_X ^ 2 + SIGHT_Y ^ 2)) + 30)
local number = sync.server "float64"
Room.state = sync.state {
  comets = sync.map({x = sync.fixed(0, WIDTH, 0.25), y = sync.fixed(0, HEIGHT, 0.25),
    score = "uint16", isDashing = "bool", vx = number, vy = number, aimX = number, aimY = number,
    dash = number, rest = number}, {sees = near}),
  sparks = sync.map({x = "uint16", y = "uint16"}, {sees = near, most = MOST_SPARKS}),
  -- Once a second: x and y are of 255 across and down, for the map.
  people = sync.map {name = "string", hue = "uint16", score = "uint16", x = "uint8", y = "uint8"},
  strokes = sync.map({member = "uint32", number = "uint32", hue = "uint16", width = "uint8",
    points = sync.listOf("uint16", {most = 2 * PIECE})}, {most = MOST_STROKES}),
  chat = sync.map({member = "uint32", name = "string", hue = "uint16", text = "string"}),
}

local function clamp(value, least, most) return math.min(math.max(value, least), most) end

function Room:onCreate()
  self.lastSpark, self.firstStroke, self.lastStroke, self.points = 0, 1, 0, 0
  for _ = 1, SPARKS do self:addSpark(math.random(WIDTH), math.random(HEIGHT)) end
end

--- Gives a member a comet.
function Room:enter(member, name, hue)
  local x, y = WIDTH / 2 + math.random(-260, 260), HEIGHT / 2 + math.random(-160, 160)
  self.state.people[member.id] = {name = name, hue = hue, x = 255 * x / WIDTH, y = 255 * y / HEIGHT}
  self.state.comets[member.id] = {owner = member, x = x, y = y, aimX = x, aimY = y}
end

function Room:onLeave(member)
  self.state.people[member.id], self.state.comets[member.id] = nil, nil
end

-- The board.

local function addPiece(self, member, stroke, width)
  local strokes = self.state.strokes
  while self.points >= MOST_POINTS or strokes:count() == MOST_STROKES do
    local oldest = strokes[self.firstStroke]
    if oldest then self.points = self.points - #oldest.points / 2 end
    strokes[self.firstStroke] = nil
    self.firstStroke = self.firstStroke + 1
  end
  self.lastStroke = self.lastStroke + 1
  strokes[self.lastStroke] = {member = member.id, number = stroke, width = width,
    hue = self.state.people[member.id].hue}
  member.piece = self.lastStroke
  return strokes[self.lastStroke]
end

local function addPoint(self, piece, x, y)
  piece.points:add(math.floor(x + 0.5))
  piece.points:add(math.floor(y + 0.5))
  self.points = self.points + 1
end

--- Adds points to a stroke, x1, y1, x2, y2, …, which is numbered by who draws it. It's kept in
-- pieces, since each is sent whole when it grows.
function Room:draw(member, stroke, width, points)
  local piece = self.state.strokes[member.piece]
  for i = 1, #points, 2 do
    local before = piece and piece.number == stroke and piece.points
    if not before or #before == 2 * PIECE then
      piece = addPiece(self, member, stroke, width)
      if before then addPoint(self, piece, before[#before - 1], before[#before]) end
    end
    addPoint(self, piece, points[i], points[i + 1])
  end
end

--- Takes everything off the board that a member has drawn.
function Room:erase(member)
  for key, piece in self.state.strokes:each() do
    if piece.member == member.id then
      self.points = self.points - #piece.points / 2
      self.state.strokes[key] = nil
    end
  end
end

-- The game.

function Room:addSpark(x, y)
  if self.state.sparks:count() == MOST_SPARKS then return end
  self.lastSpark = self.lastSpark + 1
  self.state.sparks[self.lastSpark] = {x = clamp(x, 20, WIDTH - 20), y = clamp(y, 20, HEIGHT - 20)}
end

local function isNear(a, b, distance)
  return (a.x - b.x) ^ 2 + (a.y - b.y) ^ 2 < distance ^ 2
end

local function collect(self, comet)
  local sparks = self.state.sparks
  for id, spark in sparks:each() do
    if isNear(comet, spark, REACH) then
      sparks[id] = nil
      comet.score = comet.score + 1
      if sparks:count() < SPARKS + SPARKS_A_MEMBER * #self.members then
        self:addSpark(math.random(WIDTH), math.random(HEIGHT))
      end
    end
  end
end

--- For a moment the comet is fast; whom it hits then loses sparks.
function Room:startDash(member)
  local comet = self.state.comets[member.id]
  if comet.rest > 0 then return false end
  comet.dash, comet.rest = DASH, DASH_REST
  return true
end

local function move(comet, dt)
  local dx, dy = comet.aimX - comet.x, comet.aimY - comet.y
  local distance = math.sqrt(dx * dx + dy * dy)
  local speed = comet.dash > 0 and DASH_SPEED or math.min(SPEED, distance * 4)
  local share = math.min(1, AGILITY * dt * (comet.dash > 0 and 4 or 1))
  local unit = distance > 1 and speed / distance or 0
  comet.vx = comet.vx + (dx * unit - comet.vx) * share
  comet.vy = comet.vy + (dy * unit - comet.vy) * share
  comet.x = clamp(comet.x + comet.vx * dt, 0, WIDTH)
  comet.y = clamp(comet.y + comet.vy * dt, 0, HEIGHT)
  comet.isDashing = comet.dash > 0
  comet.dash, comet.rest = math.max(0, comet.dash - dt), math.max(0, comet.rest - dt)
end

local function bump(self, id, comet)
  for otherId, other in self.state.comets:each() do
    if otherId ~= id and other.score > 0 and isNear(comet, other, BUMP) then
      local lost = math.min(LOOT, other.score)
      other.score = other.score - lost
      for _ = 1, lost do
        self:addSpark(other.x + math.random(-140, 140), other.y + math.random(-140, 140))
      end
      other.vx, other.vy = comet.vx * 0.7, comet.vy * 0.7
      comet.dash = 0
      return self:fire("onBump", id, otherId, lost)
    end
  end
end

local function mark(known, comet)
  known.score, known.x, known.y = comet.score, 255 * comet.x / WIDTH, 255 * comet.y / HEIGHT
end

function Room:onTick(dt)
  for id, comet in self.state.comets:each() do
    move(comet, dt)
    collect(self, comet)
    if comet.isDashing then bump(self, id, comet) end
    if self.tick % self.tickRate == 0 then mark(self.state.people[id], comet) end
  end
  for _, member in ipairs(self.members) do -- at what its page shows, which is no more than a margin
    local comet = self.state.comets[member.id]
    self:look(member, clamp(comet.x, SIGHT_X - MARGIN, WIDTH - SIGHT_X + MARGIN),
      clamp(comet.y, SIGHT_Y - MARGIN, HEIGHT - SIGHT_Y + MARGIN))
  end
end

return Room
