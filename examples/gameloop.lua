-- A game whose world the server keeps: 60 times a second it moves every player, and tells
-- all of them where those are that moved.
--
--     sync-lua examples/gameloop.lua
--     nc localhost 8080                 (type w, a, s or d to walk, and an empty line to stop)

local sync = require "sync"

local TICK = 1 / 60
local WIDTH, HEIGHT, SPEED = 80, 24, 10 -- fields, and fields a second

local Game = sync.Protocol:extend("Game")
Game.framing = "line"
Game.maxMessage = 16
Game.idleTimeout = 300

local DIRECTIONS = {w = {0, -1}, a = {-1, 0}, s = {0, 1}, d = {1, 0}, [""] = {0, 0}}

function Game:onConnect()
  self.x, self.y, self.dx, self.dy = WIDTH / 2, HEIGHT / 2, 0, 0
  self:send(("You are player %d. w, a, s and d walk."):format(self.id))
end

function Game:onData(key)
  local direction = DIRECTIONS[key]
  if direction then self.dx, self.dy = direction[1], direction[2] end
end

function Game:onClose()
  self.clients:send(self.id .. " left")
end

local function moved(player)
  if player.dx == 0 and player.dy == 0 then return false end
  player.x = math.min(math.max(player.x + player.dx * SPEED * TICK, 0), WIDTH)
  player.y = math.min(math.max(player.y + player.dy * SPEED * TICK, 0), HEIGHT)
  return true
end

local function tick()
  for player in Game.clients do
    if moved(player) then
      Game.clients:send(("%d %.1f %.1f"):format(player.id, player.x, player.y))
    end
  end
end

sync.every(TICK, tick)
sync.enable("localhost", 8080, Game)
sync.start()
