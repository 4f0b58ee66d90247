-- The load of bench/runs/calls.py: members of a room, each with some calls on their way.
--
--     sync-lua bench/peers/callers.lua PORT CALLERS DEPTH here|there
--
-- Says each half second how many calls were answered so far.

local sync = require "sync"

local port, callers, depth, where = arg[1], tonumber(arg[2]), tonumber(arg[3]), arg[4]
local answered = 0

local function call(room)
  room:call("add", 1, function(_, err)
    if err then error(err.message) end
    answered = answered + 1
    call(room)
  end)
end

-- A connection to the node that has the room, or to another one.
local function connectTo(isWanted)
  while true do
    local game = sync.connect("tcp://127.0.0.1:" .. port, {timeout = 60})
    if isWanted(game:call "node") then return game end
    game:close()
  end
end

sync.spawn(function()
  local home
  local first = connectTo(function(node) home = node return true end)
  local id = assert(first:create "Room").id
  local rooms = {}
  for i = 1, callers do
    local game = connectTo(function(node) return (node == home) == (where == "here") end)
    rooms[i] = assert(game:joinById(id))
  end
  for _, room in ipairs(rooms) do
    for _ = 1, depth do call(room) end
  end
  sync.every(0.5, function()
    print(("answered %d"):format(answered))
    io.flush()
  end)
end)

sync.start()
