--- A link of `sync.cluster.nats`: this end of the socket behind which libnats talks to the server,
-- the frames on it (see src/nats/natslink.h), and names as subjects.
-- @module sync.cluster.nats.wire

local Protocol = require "sync.protocol"

local natswire = {}

-- A name as a part of a subject, which must not hold all bytes: those are written =XX.
function natswire.encoded(text)
  if text == "" then return "=" end
  return (text:gsub("[^%w/_-]", function(char) return ("=%02X"):format(char:byte()) end))
end

-- A number as it stands in a frame.
function natswire.number32(value)
  return string.char(bit.band(bit.rshift(value, 24), 255), bit.band(bit.rshift(value, 16), 255),
    bit.band(bit.rshift(value, 8), 255), bit.band(value, 255))
end

-- In a frame that needs none.
natswire.NO_NUMBER = "\0\0\0\0"

local Link = Protocol:extend("NatsLink")
Link.isLink = true
Link.framing = "length32"
Link.maxMessage = 4 * 1024 * 1024
Link.maxQueue = 16 * 1024 * 1024
Link.overflow = "drop"
Link.messageTimeout = false
Link.handshakeTimeout = false
Link.own = {}

function Link:begin(connector)
  self.engine = connector.owner
  if self.engine.closed then return self:close() end
  self.engine.link = self
end

-- The type of a frame, and its number.
local function decode(data)
  local type, a, b, c, d = data:byte(1, 5)
  return type, ((a * 256 + b) * 256 + c) * 256 + d
end

function Link:onData(data)
  local engine = self.engine
  if engine.link ~= self then return end
  local type, number = decode(data)
  if type == 77 then -- M
    local topic = engine.bySubject[data:sub(6, 5 + number)]
    if topic then engine:tell("onMessage", topic, data:sub(6 + number)) end
  else
    engine:told(string.char(type), number, data:sub(6))
  end
end

function Link:onClose(reason)
  local engine = self.engine
  if engine.link == self then engine:lost(engine.why or "the link has " .. reason) end
end

natswire.Link = Link

return natswire
