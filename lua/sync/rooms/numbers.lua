--- Numbers of the rooms that clients of this process are in, by which patches and calls name them:
-- no two have one at a time.
-- @module sync.rooms.numbers

local MOST = 2 ^ 32 - 1

local numbers = {}

local taken, last = {}, 0

--- A number that nobody has.
function numbers.take()
  repeat last = last % MOST + 1 until not taken[last]
  taken[last] = true
  return last
end

--- Gives it back.
function numbers.free(number)
  taken[number] = nil
end

return numbers
