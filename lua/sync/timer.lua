--- Timers.
-- @classmod sync.Timer

local Class = require "sync.class"
local compiler = require "sync.jit"
local loop = require "sync.loop"
local versions = require "sync.versions"

local Timer = Class:extend("Timer")

local function check(call, seconds, fn)
  if type(seconds) ~= "number" or seconds ~= seconds or seconds < 0 or seconds > 2 ^ 31 then
    error(("sync.%s(seconds, fn): seconds must be a number from 0, not %s")
      :format(call, tostring(seconds)), 3)
  end
  if type(fn) ~= "function" then
    error(("sync.%s(seconds, fn): fn must be a function, not %s"):format(call, type(fn)), 3)
  end
end

local function start(delay, interval, fn)
  local timer = loop.startTimer(delay, interval, fn)
  versions.note(timer, loop.firing())
  return Timer:new {timer = timer}
end

--- Calls a function once.
-- @tparam number seconds
-- @tparam function fn called with the seconds that the timer is late
-- @treturn sync.Timer
function Timer.after(seconds, fn)
  check("after", seconds, fn)
  return start(seconds, 0, fn)
end

--- Calls a function again and again, at an exact average rate. Calls that are missed
-- because the server was busy are left out.
-- @tparam number seconds at least 0.001
-- @tparam function fn called with the seconds that the timer is late
-- @treturn sync.Timer
-- @usage local loop = sync.every(1/60, tick)
function Timer.every(seconds, fn)
  check("every", seconds, fn)
  if seconds < 0.001 then
    error("sync.every(seconds, fn): seconds must be at least 0.001", 2)
  end
  compiler.name("timer", fn)
  return start(seconds, seconds, fn)
end

--- Stops the timer. Stopping one twice does no harm.
function Timer:stop()
  loop.stopTimer(self.timer)
end

--- Whether the timer will still fire.
-- @treturn boolean
function Timer:isRunning()
  return self.timer.id ~= false or self.timer.isPutOff == true
end

return Timer
