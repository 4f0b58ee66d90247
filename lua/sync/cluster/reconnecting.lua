--- An engine behind a connection that comes and goes: Redis and NATS.
--
-- A subclass has `connect`, which is called again after a while when there is no connection. An
-- instance has `attempt` (how many in a row have failed) and `upSince`.
-- @classmod sync.cluster.reconnecting

local Engine = require "sync.cluster.engine"
local core = require "sync.core"

local FIRST_WAIT, LONGEST_WAIT = 0.25, 5
local MOST_DOUBLINGS = 30

local Reconnecting = Engine:extend("Reconnecting")

local function jitter()
  -- math.random is the same in every process, which would come back together.
  return core.randomNumber(2 ^ 32) / 2 ^ 32
end

--- Connects again after a while, which grows with each attempt that has failed.
function Reconnecting:retryLater()
  if self.upSince and self.clock.now() - self.upSince >= LONGEST_WAIT then self.attempt = 0 end
  self.upSince = nil
  local longest = math.min(LONGEST_WAIT, FIRST_WAIT * 2 ^ self.attempt)
  self.attempt = math.min(self.attempt + 1, MOST_DOUBLINGS)
  self.retryTimer = self.clock.startTimer(longest * jitter(), 0, function()
    self.retryTimer = nil
    self:connect()
  end)
end

--- Gives up connecting again.
function Reconnecting:stopRetrying()
  if self.retryTimer then self.clock.stopTimer(self.retryTimer) end
end

return Reconnecting
