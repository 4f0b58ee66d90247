--- How often something may be done by one of many: so often a minute.
--
-- Who has done nothing for a minute is forgotten. Of more than `MOST` in a minute further ones
-- aren't counted: that many are no single client.
-- @classmod sync.rooms.allowance

local core = require "sync.core"

local MOST = 10000
local SECONDS = 60

local now = core.C.sync_now

local Allowance = {}
Allowance.__index = Allowance

--- Makes one for a kind of deed.
function Allowance.new()
  return setmetatable({counts = {}, size = 0, since = now()}, Allowance)
end

--- Does it once more, if that is allowed.
-- @param who a client's address, or anything else that tells one from another
-- @tparam number most a minute
-- @treturn boolean false: it isn't, in this minute
function Allowance:take(who, most)
  local time = now()
  if time - self.since >= SECONDS then self.counts, self.size, self.since = {}, 0, time end
  local count = self.counts[who]
  if not count then
    if self.size >= MOST then return true end
    self.size, count = self.size + 1, 0
  end
  if count >= most then return false end
  self.counts[who] = count + 1
  return true
end

return Allowance
