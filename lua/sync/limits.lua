--- Time limits, many and seldom reached: of functions that wait, of statements, of who stands in
-- a line. One timer looks at all of them, ten times a second while there are any, so that each
-- costs no timer of its own.
--
-- They lie in an array, and each who knows its place: tables as keys of a table would be looked up
-- by their addresses, which are much alike and share few places of the hash.
-- @module sync.limits

local loop = require "sync.loop"

local EVERY = 0.1 -- seconds

local limits = {}

local list, count = {}, 0
local timer, now = nil, 0

local function expire(who) who:expire() end

local function look()
  now = now + EVERY
  local over = {}
  for i = 1, count do
    local who = list[i]
    if who._limitDue <= now then over[#over + 1] = who end
  end
  for _, who in ipairs(over) do
    if who._limitPlace and who._limitDue <= now then -- one before may have stopped it
      limits.stop(who)
      loop.guard("a time limit", expire, who)
    end
  end
  if count == 0 then
    loop.stopTimer(timer)
    timer = nil
  end
end

--- Calls `who:expire()` in so many seconds, and up to 0.2 more. One that has a limit gets another.
-- @tparam table who gets the fields `_limitPlace` and `_limitDue`
-- @tparam number seconds
function limits.start(who, seconds)
  who._limitDue = now + seconds + EVERY
  if who._limitPlace then return end
  count = count + 1
  list[count], who._limitPlace = who, count
  if not timer then timer = loop.startTimer(EVERY, EVERY, look) end
end

function limits.stop(who)
  local place = who._limitPlace
  if not place then return end
  local last = list[count]
  list[place], last._limitPlace = last, place
  list[count], who._limitPlace = nil, false
  count = count - 1
end

return limits
