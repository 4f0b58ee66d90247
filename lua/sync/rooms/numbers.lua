--- Numbers of the rooms that clients of this process are in, by which patches and calls name them:
-- no two have one at a time.
-- @module sync.rooms.numbers

local MOST = 2 ^ 32 - 1

local numbers = {}

local taken, last = {}, 0

--- The last number that was taken.
function numbers.last() return last end

--- Numbers that are taken from now on are behind this one.
function numbers.skip(number) last = number % MOST end

--- A number that nobody has.
-- @tparam[opt] number wanted one that must be free
function numbers.take(wanted)
  if wanted then
    if taken[wanted] then error(("two rooms have the number %d"):format(wanted), 0) end
    taken[wanted] = true
    return wanted
  end
  repeat last = last % MOST + 1 until not taken[last]
  taken[last] = true
  return last
end

--- Gives it back.
function numbers.free(number)
  taken[number] = nil
end

return numbers
