-- A relay before a server, which passes everything on some time later, as a long way does.
--
--     local relay = Relay.open(6379, 0.02)
--     relay.port
--     relay:close()

local Connector = require "sync.connector"
local sync = require "sync"

local Relay = {}
Relay.__index = Relay

local function pass(relay, data, send)
  if relay.isClosed then return end
  if relay.held then table.insert(relay.held, {data, send}) else send(data) end
end

local function later(self, data, send)
  local relay = self.relay
  sync.after(relay.seconds, function() pass(relay, data, send) end)
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
    later(self, data, function(bytes)
      if self.far then self.far:send(bytes) else table.insert(self.early, bytes) end
    end)
  end
  function Near:onClose()
    if self.far then self.far:close() end
  end

  function Far:begin(connector)
    self.near, connector.owner.far = connector.owner, self
    connector:giveUp()
    connector:close()
  end
  function Far:onConnect()
    for _, bytes in ipairs(self.near.early) do self:send(bytes) end
    self.near.early = {}
  end
  function Far:onData(data)
    later(self, data, function(bytes) self.near:send(bytes) end)
  end
  function Far:onClose() self.near:close() end

  relay.class = Near
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
  for _, each in ipairs(held or {}) do pass(self, each[1], each[2]) end
end

--- Ends it, with all that is on its way.
function Relay:close()
  self.isClosed = true
  for client in self.class.clients do client:abort() end
  self.listener:close()
end

return Relay
