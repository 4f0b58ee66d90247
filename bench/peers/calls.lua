-- The server of bench/runs/calls.py: a room whose members call a function of it.
--
--     sync-lua --workers=2 bench/peers/calls.lua

local sync = require "sync"

local Room = sync.Room:extend("Room")
Room.state = sync.state {sum = "uint32"}
Room.remote.add = function(room, _, count)
  room.state.sum = room.state.sum + count
  return room.state.sum
end

local Game = sync.Remote:extend("Game")
Game.rooms = {Room}
function Game.remote.node() return sync.cluster and sync.cluster:state().node or 0 end

sync.enable("127.0.0.1", 0, Game)
sync.start()
