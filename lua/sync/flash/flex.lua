--- Flex's messages: what RemoteObject sends and gets, as objects within a packet's message.
--
-- A RemotingMessage is a call, of `operation` with the arguments `body`; a CommandMessage is a
-- ping, or tells a name and a password (login) or takes that back. What a message is goes out of
-- this file as a table of `command` ("call", "ping", "login", "logout" or nil for others),
-- `headers`, and for a call `target` and `arguments`.
-- @module sync.flash.flex

local bit = require "bit"
local core = require "sync.core"
local values = require "sync.flash.values"

local flex = {}

local PACKAGE = "flex.messaging.messages."
local COMMANDS = {[5] = "ping", [8] = "login", [9] = "logout"}
local MOST_TEXT = 255 -- bytes of an id, a name or a password

-- A short text of a client, or nil.
local function short(value)
  return type(value) == "string" and #value <= MOST_TEXT and value or nil
end

local function uuid()
  return (core.randomHex(16):upper():gsub("^(%x%x%x%x%x%x%x%x)(%x%x%x%x)(%x%x%x%x)(%x%x%x%x)",
    "%1-%2-%3-%4-"))
end

--- Makes an id of a client (DSId), by which it is known again.
flex.newId = uuid

local VALUES = {}
for i = 0, 63 do
  local letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
  VALUES[letters:sub(i + 1, i + 1)] = i
end

local function fromBase64(text)
  local bytes, held, bits = {}, 0, 0
  for letter in text:gmatch("[%w+/]") do
    held, bits = bit.band(held * 64 + VALUES[letter], 0xffff), bits + 6
    if bits >= 8 then
      bits = bits - 8
      bytes[#bytes + 1] = string.char(bit.band(bit.rshift(held, bits), 255))
    end
  end
  return table.concat(bytes)
end

--- The name and the password in a text of Flex's credentials.
-- @treturn string|nil
-- @treturn string|nil
function flex.credentials(text)
  if not short(text) then return nil end
  return fromBase64(text):match("^([^:]*):(.*)$")
end

-- "Game.join" of a source and an operation.
local function targetOf(message)
  local source, operation = short(message.source), short(message.operation)
  return source and source ~= "" and source .. "." .. (operation or "") or operation or ""
end

--- Reads a message's value.
-- @param value
-- @treturn table|nil nil when it is no message of Flex
function flex.read(value)
  local message = type(value) == "table" and rawget(value, 1) or value
  local class = values.className(message)
  if not class or class:sub(1, #PACKAGE) ~= PACKAGE then return nil end
  local read = {
    headers = type(message.headers) == "table" and message.headers or {},
    id = short(message.messageId), client = short(message.clientId), body = message.body,
  }
  if class == PACKAGE .. "RemotingMessage" then
    read.command, read.target = "call", targetOf(message)
    read.arguments = type(message.body) == "table" and message.body or values.list()
  elseif class == PACKAGE .. "CommandMessage" then
    read.command = COMMANDS[message.operation]
  end
  return read
end

local function answer(class, to, fields)
  fields.correlationId = to.id or values.null
  fields.clientId = to.client or uuid()
  fields.messageId = uuid()
  fields.destination = values.null
  fields.headers = fields.headers or {}
  fields.timestamp, fields.timeToLive = os.time() * 1000, 0
  if fields.body == nil then fields.body = values.null end
  return values.typed(PACKAGE .. class, fields)
end

--- What a message is answered with.
-- @tparam table to of `flex.read`
-- @param value the result
-- @tparam[opt] table headers
function flex.result(to, value, headers)
  return answer("AcknowledgeMessage", to, {body = value, headers = headers})
end

--- The same when it failed.
-- @tparam table to of `flex.read`
-- @tparam string|number code
-- @tparam string text
-- @param data more about it
function flex.fault(to, code, text, data)
  return answer("ErrorMessage", to, {faultCode = tostring(code), faultString = text,
    faultDetail = "", rootCause = values.null, extendedData = data == nil and values.null or data})
end

return flex
