--- A batch of calls: its answers leave together, in the order of the calls, when the last one
-- is known. Those that aren't in `callTimeout` seconds are faults, and so are all that are owed
-- when a client's answers that wait for others are longer than its `maxQueue`.
-- @classmod sync.remoting.batch

local Class = require "sync.class"
local fault = require "sync.remoting.fault"
local json = require "sync.remoting.json"
local loop = require "sync.loop"

local Batch = Class:extend("Batch")

--- Begins one.
-- @param client whose it is
-- @tparam function send called with the text of all answers, if there are any
-- @treturn sync.remoting.batch
function Batch.begin(client, send)
  return Batch:new {client = client, send = send,
    place = 0,      -- of the call under way
    texts = {},     -- answers by place
    owed = {},      -- ids by place, of calls that are answered later
    waiting = 0,    -- how many those are
    bytes = 0,      -- of the texts
    isRead = false, -- all calls have been carried out
    isOver = false, -- the answers are on their way
  }
end

local function finish(self, why)
  self.isOver = true
  if self.timer then loop.stopTimer(self.timer) end
  self.client.heldBytes = (self.client.heldBytes or 0) - self.bytes
  for place, id in pairs(self.owed) do
    self.texts[place] = json.fault(id, fault.new(fault.BUSY, why))
  end
  local list = {}
  for place = 1, self.place do list[#list + 1] = self.texts[place] end
  if list[1] then self.send(json.batch(list)) end
end

local function hold(self, text)
  local client = self.client
  self.bytes = self.bytes + #text
  client.heldBytes = (client.heldBytes or 0) + #text
end

--- The next call is carried out.
function Batch:step()
  self.place = self.place + 1
end

--- The answer of the call under way; nil for none, or for one that comes later.
function Batch:answer(text)
  if not text then return end
  self.texts[self.place] = text
  hold(self, text)
end

--- The call under way is answered later.
-- @param id of it
-- @treturn function to be called with its answer
function Batch:owe(id)
  local place = self.place
  self.owed[place] = id
  self.waiting = self.waiting + 1
  return function(text)
    if self.isOver then return end -- too late
    self.owed[place] = nil
    self.texts[place] = text
    self.waiting = self.waiting - 1
    hold(self, text)
    self:goOn()
  end
end

--- All calls have been carried out.
function Batch:ended()
  self.isRead = true
  if self.waiting > 0 then
    self.timer = loop.startTimer(self.client.callTimeout, 0, function()
      finish(self, "no answer in time")
    end)
  end
  self:goOn()
end

--- Sends the answers if there is nothing to wait for.
function Batch:goOn()
  if not self.isRead then return end
  if self.waiting == 0 then return finish(self) end
  if self.client.heldBytes > self.client.maxQueue then
    finish(self, "too many answers wait for this one")
  end
end

--- Gives the answers up: their client is going.
function Batch:drop()
  self.send = function() end
  finish(self, "")
end

return Batch
