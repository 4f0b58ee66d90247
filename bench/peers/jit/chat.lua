-- A chat room with a filter: what one says goes to those of its team who are near its level.
--
-- "join TEAM LEVEL" is answered "joined"; any other message is said to the room.

local sync = require "sync"

local RANGE = 45

local Chat = sync.Protocol:extend("Chat")

local function join(self, team, level)
  self.team, self.level = tonumber(team), tonumber(level)
  -- Made once for each client: a function made for each message would not be compiled.
  self.hearers = self:room("arena"):filter(function(other)
    return other.team == self.team and math.abs(other.level - self.level) <= RANGE
  end)
  self:join("arena")
  self:send("joined")
end

function Chat:onData(data)
  if self.hearers then
    self.hearers:send(data)
  else
    join(self, data:match("^join (%d+) (%d+)$"))
  end
end

return Chat
