--- Time limits, many and seldom reached: of functions that wait, of statements, of who stands in
-- a line. One timer looks at all of them, ten times a second while there are any, so that each
-- costs no timer of its own.
-- @module sync.limits

local loop = require "sync.loop"

local EVERY = 0.1 -- seconds

local limits = {}

local at = {} -- when who is due
local timer, now = nil, 0

local function expire(who) who:expire() end

local function look()
  now = now + EVERY
  local over = {}
  for who, time in pairs(at) do
    if time <= now then over[#over + 1] = who end
  end
  for _, who in ipairs(over) do
    if at[who] then
      at[who] = nil
      loop.guard("a time limit", expire, who)
    end
  end
  if next(at) == nil then
    loop.stopTimer(timer)
    timer = nil
  end
end

--- Calls `who:expire()` in so many seconds, and up to 0.2 more.
-- @tparam table who
-- @tparam number seconds
function limits.start(who, seconds)
  at[who] = now + seconds + EVERY
  if not timer then timer = loop.startTimer(EVERY, EVERY, look) end
end

function limits.stop(who)
  at[who] = nil
end

return limits
