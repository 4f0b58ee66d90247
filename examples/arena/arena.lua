-- An arena: 30 ticks a second, a hundred bots, and players whose own moves are predicted by their
-- pages. Each sees what is within 500 points.
--
--     cd examples/arena && ../../sync-lua arena.lua      then http://localhost:8080

local sync = require "sync"

local SIZE, SPEED, REACH = 2000, 220, 18 -- points, points a second, points to what is eaten
local BOTS, PELLETS = 100, 300

local Arena = sync.Room:extend("Arena")
Arena.tickRate, Arena.patchRate, Arena.maxMembers = 30, 20, 50
Arena.state = sync.state {
  players = sync.map({name = "string", x = "float32", y = "float32", score = "uint16",
    isBot = "bool", turn = sync.server "float64", heading = sync.server "float64"},
    {sees = sync.near(500)}),
  pellets = sync.map({x = "float32", y = "float32", hue = "uint16"}, {sees = sync.near(500)}),
}

local function place(self, id)
  self.state.pellets[id] = {x = math.random(SIZE), y = math.random(SIZE), hue = math.random(0, 359)}
end

function Arena:onCreate()
  for id = 1, PELLETS do place(self, id) end
  for i = 1, BOTS do
    self.state.players[-i] = {name = "bot " .. i, isBot = true, x = math.random(SIZE),
      y = math.random(SIZE), heading = math.random() * 6.28}
  end
end

function Arena:onJoin(member, options)
  local name = type(options) == "table" and tostring(options.name):sub(1, 16) or "somebody"
  self.state.players[member.id] = {owner = member, name = name,
    x = SIZE / 2 + math.random(-200, 200), y = SIZE / 2 + math.random(-200, 200)}
end

function Arena:onLeave(member) self.state.players[member.id] = nil end

-- The page does the same: see apply in arena/index.html.
local function step(p, dx, dy)
  local length = math.max(1, math.sqrt(dx * dx + dy * dy))
  p.x = math.max(0, math.min(SIZE, p.x + dx / length * SPEED / 30))
  p.y = math.max(0, math.min(SIZE, p.y + dy / length * SPEED / 30))
end

-- One input moves as far as a tick does, so that who sends more often is refused, not faster.
Arena.remote.input = sync.method("move: table", {rate = 31, burst = 15},
  function(room, member, move)
    local dx, dy = tonumber(move.dx) or 0, tonumber(move.dy) or 0
    step(room.state.players[member.id], dx, dy)
  end)

local function eat(self, p)
  for id, pellet in self.state.pellets:each() do
    local dx, dy = pellet.x - p.x, pellet.y - p.y
    if dx * dx + dy * dy < REACH * REACH then
      p.score = p.score + 1
      place(self, id)
    end
  end
end

function Arena:onTick()
  for _, p in self.state.players:each() do
    if p.isBot then
      p.turn = p.turn * 0.95 + (math.random() - 0.5) * 0.02
      p.heading = p.heading + p.turn
      step(p, 0.6 * math.cos(p.heading), 0.6 * math.sin(p.heading))
      if p.x <= 0 or p.x >= SIZE or p.y <= 0 or p.y >= SIZE then p.heading = p.heading + 1 end
    end
    eat(self, p)
  end
end

local Game = sync.Remote:extend("Game")
Game.rooms, Game.resumeTime = {Arena}, 10

math.randomseed(os.time())
sync.enable("localhost", 8080, Game, {web = "arena"})
sync.start()
