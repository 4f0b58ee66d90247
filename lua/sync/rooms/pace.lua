--- The time of a room: ticks at an exact average rate, and patches behind them.
-- @module sync.rooms.pace

local core = require "sync.core"
local loop = require "sync.loop"

local now = core.C.sync_now

local MOST_CATCH_UP = 8 -- ticks at once: what is missed beyond is left out

local pace = {}

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

local function patch(home)
  local room = home.room
  local rate = room.tickRate > 0 and math.min(room.patchRate, room.tickRate) or room.patchRate
  if home.state.asked[1] then home.state:ask(room.members, rate) end
  home.state:patch(room.tick)
end

local function ticks(home)
  local room = home.room
  local rate = room.tickRate
  local due = math.floor((now() - home.start) * rate + 1e-3)
  room.tick = math.max(room.tick, due - MOST_CATCH_UP)
  while room.tick < due and not home.ended do
    room.tick = room.tick + 1
    if not home.isOpening then loop.guard("onTick", room.onTick, room, 1 / rate) end
  end
end

--- Does what is due.
function pace.run(home)
  local room = home.room
  if room.tickRate == 0 then
    room.tick = room.tick + 1
    return patch(home)
  end
  ticks(home)
  local due = math.floor(room.tick * math.min(1, room.patchRate / room.tickRate))
  if due > home.patched and not home.ended then
    home.patched = due
    patch(home)
  end
end

return pace
