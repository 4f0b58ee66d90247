--- The time of a room: ticks at an exact average rate, and patches behind them.
-- @module sync.rooms.pace

local core = require "sync.core"
local loop = require "sync.loop"
local nodes = require "sync.rooms.nodes"
local pieces = require "sync.state.pieces"

local now = core.C.sync_now

local MOST_CATCH_UP = 8 -- ticks at once: what is missed beyond is left out

local MOST_PIECE = 256 * 1024 -- bytes of a patch that leave as one message
local MOST_UNSENT = 4 * 1024 * 1024 -- bytes that wait for the engine; then patches are left out

local pace = {}

local serial = 0

--- Lets a room's time begin.
function pace.begin(home)
  local room = home.room
  home.start, home.patched, room.tick = now(), 0, 0
  local rate = room.tickRate > 0 and room.tickRate or room.patchRate
  home.timer = loop.startTimer(1 / rate, 1 / rate, function() pace.run(home) end)
end

function pace.stop(home)
  loop.stopTimer(home.timer)
end

-- Nodes with members get what has changed. Those that miss a patch ask for all of it.
local function publish(home)
  if nodes.unsent() > MOST_UNSENT then return end
  local changes, snapshot = home.state:copied()
  for _, bytes in ipairs {changes or snapshot, changes and snapshot} do
    serial = serial + 1
    local list = #bytes > MOST_PIECE and pieces.cut(bytes, MOST_PIECE, serial)
    for node in pairs(home.guests) do
      for _, piece in ipairs(list or {bytes}) do
        nodes.tell(node, list and "piece" or "patch", {id = home.room.id, bytes = piece})
      end
    end
  end
end

local function patch(home)
  local room = home.room
  local rate = room.tickRate > 0 and math.min(room.patchRate, room.tickRate) or room.patchRate
  if home.state.asked[1] then home.state:ask(room.members, rate) end
  home.state:patch(room.tick)
  if next(home.guests) ~= nil then publish(home) end
end

local function ticks(home)
  local room = home.room
  local rate = room.tickRate
  local due = math.floor((now() - home.start) * rate + 1e-3)
  room.tick = math.max(room.tick, due - MOST_CATCH_UP)
  while room.tick < due and not home.ended and home:goesOn() do
    room.tick = room.tick + 1
    if not home.isOpening then loop.guard("onTick", room.onTick, room, 1 / rate) end
  end
end

--- Does what is due.
function pace.run(home)
  if not home:goesOn() then return end
  local room = home.room
  if room.tickRate == 0 then
    room.tick = room.tick + 1
    return patch(home)
  end
  ticks(home)
  local due = math.floor(room.tick * math.min(1, room.patchRate / room.tickRate))
  if due > home.patched and not home.ended and home:goesOn() then
    home.patched = due
    patch(home)
  end
end

return pace
