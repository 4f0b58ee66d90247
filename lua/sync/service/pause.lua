--- The pauses between tries to reach a server: 0.1 s, twice as long each time, at most 5 s.
-- @classmod sync.service.pause

local core = require "sync.core"

local FIRST, LONGEST = 0.1, 5 -- seconds

local Pause = {}
Pause.__index = Pause

function Pause.new()
  return setmetatable({seconds = FIRST}, Pause)
end

--- The seconds until the next try.
function Pause:next()
  local seconds = self.seconds
  self.seconds = math.min(2 * seconds, LONGEST)
  return seconds
end

--- The same, shorter by chance, at most by a half: so not all who have lost a server try at once.
function Pause:nextByChance()
  return self:next() * (1 + core.randomNumber(2 ^ 16) / 2 ^ 16) / 2
end

--- The server was reached.
function Pause:reset()
  self.seconds = FIRST
end

return Pause
