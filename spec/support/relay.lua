-- A relay before a server, which passes everything on some time later, as a long way does.
--
--     local relay = Relay.open(6379, 0.02)
--     relay.port
--     function relay.change(bytes) return bytes end    -- of what goes to the server
--     relay:close()

local Connector = require "sync.connector"
local sync = require "sync"

local Relay = {}
Relay.__index = Relay

local function pass(relay, act, data)
  if relay.isClosed then return end
  if relay.held then table.insert(relay.held, {act, data}) else act(data) end
end

-- What comes goes on in its order: an end, too, behind the last bytes.
local function later(self, act, data)
  local relay = self.relay
  sync.after(relay.seconds, function() pass(relay, act, data) end)
end

--- Opens one, in this process.
-- @tparam number port of the server, on this machine
-- @tparam number seconds
function Relay.open(port, seconds)
  local relay = setmetatable({seconds = seconds}, Relay)
  local settings = {maxQueue = 64 * 1024 * 1024}
  local Near, Far = sync.Protocol:extend "Near", sync.Protocol:extend "Far"
  Near.relay, Far.relay, Far.isLink = relay, relay, true

  function Near:onConnect()
    self.early = {}
    local connector = assert(Connector.new(Far, {maxQueue = settings.maxQueue}))
    connector.owner = self
    connector:connect("127.0.0.1", port, 5, function() self:close() end)
  end
  function Near:onData(data)
    later(self, function(bytes)
      if self.far then self.far:send(bytes) else table.insert(self.early, bytes) end
    end, relay.change and relay.change(data) or data)
  end
  function Near:onClose()
    later(self, function()
      self.hasEnded = true
      if self.far then self.far:close() end
    end)
  end

  function Far:begin(connector)
    self.near, connector.owner.far = connector.owner, self
    connector:giveUp()
    connector:close()
  end
  function Far:onConnect()
    for _, bytes in ipairs(self.near.early) do self:send(bytes) end
    self.near.early = {}
    if self.near.hasEnded or self.relay.isClosed then self:close() end
  end
  function Far:onData(data)
    later(self, function(bytes) self.near:send(bytes) end, data)
  end
  function Far:onClose()
    later(self, function() self.near:close() end)
  end

  relay.classes = {Near, Far}
  relay.listener = assert(sync.enable("127.0.0.1", 0, Near, settings))
  relay.port = relay.listener.port
  return relay
end

--- Holds all back that comes, as a network does that is cut: nobody is told.
function Relay:hold() self.held = self.held or {} end

--- Lets it go on, with what was held back.
function Relay:release()
  local held = self.held
  self.held = nil
  for _, each in ipairs(held or {}) do pass(self, unpack(each)) end
end

--- Ends it, with all that is on its way.
function Relay:close()
  self.isClosed = true
  for _, class in ipairs(self.classes) do
    for client in class.clients do client:abort() end
  end
  self.listener:close()
end

return Relay
