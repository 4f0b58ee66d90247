--- Why a request can't be answered: raised where its form or its JSON is read, and said to the
-- client with its status.
-- @module sync.http.refusal

local refusal = {}

local Refusal = {}
Refusal.__index = Refusal

function Refusal:__tostring() return ("%d: %s"):format(self.status, self.text) end

--- @tparam number status
-- @tparam string text that the client is told
function refusal.new(status, text)
  return setmetatable({status = status, text = text}, Refusal)
end

function refusal.is(value) return getmetatable(value) == Refusal end

return refusal
