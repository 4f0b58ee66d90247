--- Testing a protocol without sockets.
--
--     local testing = require "sync.testing"
--     local server = testing.serve(Chat)
--     local ann, bob = server:connect(), server:connect()
--     ann:send("hello\n")
--     assert(bob:received() == "ann: hello\n")
--
-- What a client sends takes the same path through the C core as bytes from a socket: the
-- framing, the limits, the queues. A client that doesn't call `received` is one that never
-- reads.
-- @module sync.testing

local Class = require "sync.class"
local core = require "sync.core"
local loop = require "sync.loop"
local options = require "sync.options"

require "sync.jit".serve() -- as sync.start does

local C, handle = core.C, core.handle

local MOST_STEPS = 10000

local testing = {}

local Server = Class:extend("testing.Server")
local Client = Class:extend("testing.Client")

-- Handles batches until nothing is left to be done now.
-- A batch without events may have closed a client, so two in a row are waited for.
local function settle()
  local quiet = 0
  for _ = 1, MOST_STEPS do
    quiet = loop.step() == 0 and quiet + 1 or 0
    if quiet == 2 then return end
  end
  error("sync.testing: the server does not come to rest", 3)
end

--- Serves a class to clients that `connect` makes.
-- @tparam sync.Protocol class
-- @tparam[opt] table given options, as for `sync.enable`
-- @treturn testing.Server
function testing.serve(class, given)
  local wanted = {}
  for name, value in pairs(given or {}) do wanted[name] = value end
  -- With other transports a client would have to say something, or wait, until it is known.
  wanted.transports = wanted.transports or {"tcp"}
  local settings, message = options.merge(class, wanted)
  if not settings then error("testing.serve: " .. message, 2) end
  local id = C.sync_listen(handle, "memory:", 0,
    options.forCore(class, settings, settings.maxClients or 1000000))
  if id < 0 then error("testing.serve: " .. core.problem(id), 2) end
  loop.listeners[id] = {class = class, settings = settings}
  return Server:new {id = id, clients = {}}
end

--- Handles what there is to be done now.
testing.settle = settle

--- Connects a client.
-- @treturn testing.Client its `server` is the instance of the class
function Server:connect()
  local slot = C.sync_memory_connect(handle, self.id)
  if slot < 0 then error("connect: " .. core.problem(slot), 2) end
  settle()
  local client = Client:new {slot = slot, server = loop.clients[slot]}
  self.clients[#self.clients + 1] = client
  return client
end

--- Closes the listener and all clients.
function Server:close()
  C.sync_listener_close(handle, self.id)
  for _, client in ipairs(self.clients) do
    if client:isOpen() then client.server:abort() end
  end
  settle()
end

--- Whether the server has not closed this client.
function Client:isOpen()
  return self.server ~= nil and self.server.slot ~= 0
end

--- Sends bytes, framing included.
-- @tparam string bytes
function Client:send(bytes)
  local sent = 0
  while sent < #bytes and self:isOpen() do
    sent = sent + C.sync_memory_feed(handle, self.slot, bytes:sub(sent + 1), #bytes - sent)
    settle()
  end
end

--- Sends bytes one at a time, handling each before the next.
-- @tparam string bytes
function Client:sendSlowly(bytes)
  for i = 1, #bytes do self:send(bytes:sub(i, i)) end
end

--- Ends this client's side, as a client that leaves does.
function Client:leave()
  if not self:isOpen() then return end
  C.sync_memory_end(handle, self.slot)
  settle()
  -- Bytes that the client has never read would be kept for it until closeTimeout.
  if not loop.clients[self.slot] then C.sync_abort(handle, self.slot) end
  settle()
end

--- All bytes that came since the last call, framing included.
-- @treturn string
function Client:received()
  if not self:isOpen() then return "" end
  local bytes = core.take(self.slot)
  settle()
  return bytes
end

return testing
