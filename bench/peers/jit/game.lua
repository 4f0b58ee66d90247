-- A game's step: 64 bodies move, bounce and collide, and each learns which others are in its
-- area of interest. Each client has a world of its own; each message is one step of it, and
-- is answered by "HITS SEEN SUM", by which all runtimes are shown to compute the same.

local sync = require "sync"

local BODIES, SIZE, DT = 64, 400, 1 / 60
local TOUCH, INTEREST = 16 * 16, 100 * 100 -- squares of distances

local Game = sync.Protocol:extend("Game")

local function newWorld()
  local seed = 42
  local function random(range)
    seed = seed * 16807 % 2147483647
    return seed / 2147483647 * range
  end
  local world = {}
  for id = 1, BODIES do
    world[id] = {
      id = id, x = random(SIZE), y = random(SIZE),
      vx = random(120) - 60, vy = random(120) - 60,
      near = {}, nearCount = 0,
    }
  end
  return world
end

-- A position after it has bounced off a wall, and the speed.
local function bounce(x, v)
  if x < 0 then return -x, -v end
  if x > SIZE then return 2 * SIZE - x, -v end
  return x, v
end

local function move(world)
  for i = 1, BODIES do
    local body = world[i]
    body.x, body.vx = bounce(body.x + body.vx * DT, body.vx)
    body.y, body.vy = bounce(body.y + body.vy * DT, body.vy)
    body.nearCount = 0
  end
end

local function see(body, other)
  local count = body.nearCount + 1
  body.near[count] = other
  body.nearCount = count
end

-- Exchanges the speeds along the line between two bodies, if they approach each other.
local function collide(a, b, dx, dy, square)
  local approach = (b.vx - a.vx) * dx + (b.vy - a.vy) * dy
  if approach >= 0 or square == 0 then return 0 end
  local push = approach / square
  a.vx, a.vy = a.vx + push * dx, a.vy + push * dy
  b.vx, b.vy = b.vx - push * dx, b.vy - push * dy
  return 1
end

local function meet(world)
  local hits = 0
  for i = 1, BODIES - 1 do
    local a = world[i]
    for j = i + 1, BODIES do
      local b = world[j]
      local dx, dy = b.x - a.x, b.y - a.y
      local square = dx * dx + dy * dy
      if square < INTEREST then
        see(a, b)
        see(b, a)
        if square < TOUCH then hits = hits + collide(a, b, dx, dy, square) end
      end
    end
  end
  return hits
end

local function checksum(world)
  local seen, sum = 0, 0
  for i = 1, BODIES do
    local body = world[i]
    sum = sum + body.x * i + body.y
    for k = 1, body.nearCount do
      seen = seen + body.near[k].id
    end
  end
  return seen, sum
end

function Game:onConnect()
  self.world = newWorld()
end

function Game:onData()
  local world = self.world
  move(world)
  local hits = meet(world)
  local seen, sum = checksum(world)
  self:send(("%d %d %.9f"):format(hits, seen, sum))
end

return Game
