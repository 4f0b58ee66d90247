-- An arena of SYNC's, end to end: `sync-lua room.lua PORT`. It moves as world.lua has it, 20 times
-- a second; each member owns an entity, and sees those that are near it.

package.path = "bench/peers/state/?.lua;" .. package.path

local sync = require "sync"
local world = require "world"

local COUNT, RADIUS = 200, 300

local Arena = sync.Room:extend "Arena"
Arena.tickRate, Arena.patchRate = 20, 20
Arena.state = sync.state {
  players = sync.map({name = "string", x = "float32", y = "float32", hp = "uint8"},
    {sees = sync.near(RADIUS)}),
}

function Arena:onCreate()
  self.list = world.fill(COUNT, function(id, fields)
    self.state.players[id] = fields
    return self.state.players[id]
  end)
end

function Arena:onJoin(member)
  local player = self.state.players[member.id]
  if not player then return false, "the arena is full" end
  player.owner = member
end

function Arena:onTick() world.move(self.list, self.tick) end

local Game = sync.Remote:extend "Game"
Game.rooms = {Arena}
local listener = assert(sync.enable("127.0.0.1", tonumber((...)), Game))
print("ready " .. listener.port)
io.stdout:flush()
sync.start()
