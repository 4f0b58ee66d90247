--- Calls of the server to one client that wait for their answers.
-- @classmod sync.remoting.calls

local core = require "sync.core"
local fault = require "sync.remoting.fault"
local loop = require "sync.loop"
local null = require "cjson".null
local try = require "sync.remoting.try"

local Calls = {}
Calls.__index = Calls

--- Makes those of a client, of which there are none.
-- @tparam boolean isChance whether their numbers begin at one that is left to chance: a client
-- that has come from another node may still answer what that one has asked
function Calls.new(isChance)
  local last = isChance and math.floor(tonumber(core.randomHex(4), 16) / 4) or 0 -- up to 2^30
  return setmetatable({byId = {}, count = 0, last = last}, Calls)
end

--- The number of the next call.
function Calls:next()
  return self.last + 1
end

--- Notes the next call. The client has so many seconds to answer.
-- @tparam number seconds
-- @tparam function done
-- @treturn number
function Calls:add(seconds, done)
  local id = self.last + 1
  self.last = id
  self.count = self.count + 1
  self.byId[id] = {done = done, timer = loop.startTimer(seconds, 0, function()
    self:forget(id)(nil, fault.new(fault.BUSY, "the client did not answer in time"))
  end)}
  return id
end

--- A call waits no more.
-- @treturn function|nil its `done`; nil when there is no such call
function Calls:forget(id)
  local call = self.byId[id]
  if not call then return nil end
  self.byId[id] = nil
  self.count = self.count - 1
  loop.stopTimer(call.timer)
  return call.done
end

--- The client has answered. It may do so too late, or without a question.
function Calls:answered(id, result, err)
  local done = self:forget(id)
  if not done then return end
  if err == nil or err == null then
    if result == null then result = nil end
    return done(result)
  end
  if type(err) ~= "table" then err = {message = err} end
  local code = type(err.code) == "number" and err.code % 1 == 0 and err.code or fault.INTERNAL
  done(nil, fault.new(code, tostring(err.message), err.data))
end

--- The client has gone. A function that is told so may call again, in vain: so each time the
-- first that is left is told.
function Calls:failAll(client)
  local id = next(self.byId)
  while id do
    try("the answer of a call", client, self:forget(id), nil,
      fault.new(fault.BUSY, "the client has gone"))
    id = next(self.byId)
  end
end

return Calls
