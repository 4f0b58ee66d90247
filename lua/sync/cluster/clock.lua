--- The time, and timers, as nodes and engines use them: the loop's. A spec may give them others,
-- which it moves on itself.
-- @module sync.cluster.clock

local core = require "sync.core"
local loop = require "sync.loop"

return {
  --- Seconds of a clock that never jumps.
  now = core.C.sync_now,
  --- Seconds of a clock that goes on while the machine sleeps, and while the process is stopped.
  awake = core.C.sync_awake,
  --- Starts a timer: `startTimer(delay, interval, fn)`.
  startTimer = loop.startTimer,
  --- Stops a timer.
  stopTimer = loop.stopTimer,
}
