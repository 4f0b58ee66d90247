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
--
-- With `transports = {"websocket"}` clients are WebSockets, whose messages have kinds:
--
--     local server = testing.serve(Chat, {transports = {"websocket"}})
--     local ann = server:connect()
--     ann:send("\1\2", "binary")
--     ann:sendBytes(move, ffi.sizeof(move))
--     local data, kind = ann:message()
-- @module sync.testing

local Class = require "sync.class"
local core = require "sync.core"
local loop = require "sync.loop"
local options = require "sync.options"

local C, handle = core.C, core.handle

local MOST_STEPS = 10000
local HANDSHAKE = "GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n" ..
  "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n" ..
  "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
local OPCODES = {text = 0x81, binary = 0x82} -- of messages in one frame
local KINDS = {[0x81] = "text", [0x82] = "binary"}

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

-- A number in so many bytes, the highest first.
local function bigEndian(number, count)
  local bytes = {}
  for i = count, 1, -1 do
    bytes[i] = string.char(number % 256)
    number = math.floor(number / 256)
  end
  return table.concat(bytes)
end

-- A WebSocket's frame. A mask of zeros changes no byte.
local function frame(kind, data)
  local length = #data
  local size = length < 126 and string.char(128 + length) or
    length < 65536 and "\254" .. bigEndian(length, 2) or "\255" .. bigEndian(length, 8)
  return string.char(OPCODES[kind]) .. size .. "\0\0\0\0" .. data
end

-- The first frame of what a server has sent: its first byte, its payload, and what is behind it.
local function unframe(bytes)
  local first, length = bytes:byte(1, 2)
  local head = 2
  if length >= 126 then
    head = length == 126 and 4 or 10
    length = 0
    for i = 3, head do length = length * 256 + bytes:byte(i) end
  end
  return first, bytes:sub(head + 1, head + length), bytes:sub(head + length + 1)
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
  return Server:new {id = id, clients = {}, settings = settings}
end

--- Handles what there is to be done now.
testing.settle = settle

--- Connects a client.
-- @treturn testing.Client its `server` is the instance of the class
function Server:connect()
  local slot = C.sync_memory_connect(handle, self.id)
  if slot < 0 then error("connect: " .. core.problem(slot), 2) end
  settle()
  local isWebSocket = not self.settings.transports.tcp
  if isWebSocket then
    C.sync_memory_feed(handle, slot, HANDSHAKE, #HANDSHAKE)
    settle()
  end
  local client = Client:new {slot = slot, server = loop.clients[slot], isWebSocket = isWebSocket}
  if isWebSocket then
    local response = core.take(slot)
    if not client.server then error("connect: the handshake was refused: " .. response, 2) end
    client.frames = response:match("\r\n\r\n(.*)") -- behind the response
  end
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

local function feed(self, bytes)
  local sent = 0
  while sent < #bytes and self:isOpen() do
    sent = sent + C.sync_memory_feed(handle, self.slot, bytes:sub(sent + 1), #bytes - sent)
    settle()
  end
end

--- Sends bytes, framing included; from a WebSocket a message, without.
-- @tparam string bytes
-- @tparam[opt="text"] string kind of a WebSocket's message: "text" or "binary"
function Client:send(bytes, kind)
  feed(self, self.isWebSocket and frame(kind or "text", bytes) or bytes)
end

--- Sends bytes that the FFI has, as `send` does.
-- @tparam cdata bytes a pointer, an array or a struct
-- @tparam number length how many they are
-- @tparam[opt="binary"] string kind of a WebSocket's message
function Client:sendBytes(bytes, length, kind)
  core.checkBytes(self, bytes, length)
  self:send(core.string(bytes, length), kind or "binary")
end

--- Sends messages of a WebSocket in one piece, as they may come in one segment.
-- @tparam table messages a list of `{data, kind}`
function Client:sendTogether(messages)
  local frames = {}
  for i, message in ipairs(messages) do frames[i] = frame(message[2] or "text", message[1]) end
  feed(self, table.concat(frames))
end

--- Sends bytes one at a time, handling each before the next.
-- @tparam string bytes
function Client:sendSlowly(bytes)
  if self.isWebSocket then bytes = frame("text", bytes) end
  for i = 1, #bytes do feed(self, bytes:sub(i, i)) end
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

--- The next message of a WebSocket.
-- @treturn string|nil the message; nil when there is none
-- @treturn string "text" or "binary"
function Client:message()
  self.frames = self.frames .. self:received()
  while self.frames ~= "" do
    local first, payload
    first, payload, self.frames = unframe(self.frames)
    if KINDS[first] then return payload, KINDS[first] end
  end
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
