--- A client of `sync.connect` goes elsewhere, because its server is about to end: another
-- connection is made, and the one that there is goes on meanwhile. When the other is there, nothing
-- more is sent on the first; when what was sent has arrived, as a ping says, the client goes over,
-- and leaves the first when the session has moved. A server that ends before is a lost connection,
-- and mended as always.
-- @classmod sync.remoting.client.move

local loop = require "sync.loop"
local settings = require "sync.remoting.client.settings"

local LONGEST_DELAY = 2 ^ 31 -- ms
local PARTING_SECONDS = 1 -- that a server which sends us elsewhere has to read what was sent

local Move = {}
Move.__index = Move

--- Makes that of a client, which stays where it is.
-- @tparam sync.Client client
function Move.new(client)
  return setmetatable({client = client}, Move)
end

local function connect(self, attempt)
  local client = self.client
  self.isConnecting = true
  client.connector:connect(client.host, client.port, client.settings.connectTimeout, function()
    self.isConnecting = nil
    self:after(settings.wait(client.settings, attempt), attempt + 1)
  end)
end

--- Begins in so many seconds.
-- @tparam number seconds
-- @tparam number attempt from 0 on
function Move:after(seconds, attempt)
  self.timer = loop.startTimer(seconds, 0, function()
    self.timer = nil
    connect(self, attempt)
  end)
end

--- The server asks for it.
-- @param said of the server; its `delay` is in milliseconds
function Move:asked(said)
  local delay = type(said) == "table" and tonumber(said.delay) or 0
  if not self.client.settings.reconnect or self.timer or self.isConnecting then return end
  self:after(math.min(math.max(delay, 0), LONGEST_DELAY) / 1000, 0)
end

-- The connection before is left when the session has moved: it would end with it.
local function goOver(self)
  local client, link, held = self.client, self.coming, self.held
  self.former, self.coming, self.held = client.link, nil, nil
  client:goOver(link)
  for _, data in ipairs(held) do client:received(link, data) end
end

--- A connection has been made.
-- @treturn boolean whether it is the other one
function Move:arrived(link)
  if not self.isConnecting then return false end
  local client = self.client
  self.isConnecting, self.coming, self.held, client.attempt = nil, link, {}, 0
  client:ping(PARTING_SECONDS, function()
    if self.coming == link then goOver(self) end
  end)
  if self.coming == link then client:become("connecting", {attempt = 0}) end
  return true
end

--- Keeps what comes by the other connection before the client has gone over.
-- @treturn boolean whether it came by that one
function Move:keeps(link, data)
  if self.coming ~= link then return false end
  self.held[#self.held + 1] = data
  return true
end

--- The other connection is lost: the client stays, and tries again.
-- @treturn boolean whether it was that one
function Move:lost(link)
  if self.coming ~= link then return false end
  self.coming, self.held = nil, nil
  self:after(settings.wait(self.client.settings, 0), 1)
  return true
end

--- The session has moved.
function Move:leaveFormer()
  local former = self.former
  self.former = nil
  if former then former:close "moved" end
end

--- Ends what is under way.
function Move:stop()
  if self.timer then loop.stopTimer(self.timer) end
  if self.isConnecting then self.client.connector:giveUp() end
  if self.coming then self.coming:close "moved" end
  self.timer, self.isConnecting, self.coming, self.held = nil, nil, nil, nil
  self:leaveFormer()
end

return Move
