--- Packets of Flash Remoting: the bodies of application/x-amf, of requests and answers alike.
--
-- A packet is a table of its `version`, 0 or 3; `headers`, a list of {name, mustUnderstand,
-- value}; and `messages`, a list of {target, response, value}. Values are AMF0, those in
-- answers of version 3 AMF3 within it. The tables of references start anew in each. To be
-- written, a message may have `bytes` of `packet.value` instead of a value.
-- @module sync.flash.packet

local cursor = require "sync.flash.cursor"
local amf0 = require "sync.flash.amf0"
local amf3 = require "sync.flash.amf3"
local bit = require "bit"

local amfpacket = {}

--- As deep a packet may be nested that is written; what is read to be written again, too.
amfpacket.MOST_DEPTH = 64

local UNKNOWN_LENGTH = 0xffffffff
local TO_AMF3 = "\17" -- what switches from AMF0
local MOST = 0xffff   -- headers, messages, and bytes of a name

-- Reading.

local function readName(r)
  return cursor.text(r, cursor.u16(r))
end

-- A value behind its length.
local function readBody(r)
  local length = cursor.u32(r)
  local start = r.at
  if length ~= UNKNOWN_LENGTH and length > r.size - start then
    cursor.fail(r, "it is cut short")
  end
  amf0.begin(r)
  local value = amf0.read(r)
  if length ~= UNKNOWN_LENGTH and r.at - start ~= length then
    cursor.fail(r, ("the value before this has %d bytes, not %d"):format(r.at - start, length))
  end
  return value
end

local function readHeader(r)
  return {name = readName(r), mustUnderstand = cursor.u8(r) ~= 0, value = readBody(r)}
end

local function readMessage(r)
  return {target = readName(r), response = readName(r), value = readBody(r)}
end

local function readList(r, read)
  local list = {}
  for i = 1, cursor.u16(r) do list[i] = read(r) end
  return list
end

local function readPacket(r)
  local version = cursor.u16(r)
  if version ~= 0 and version ~= 3 then
    cursor.fail(r, ("there is no version %d"):format(version))
  end
  local packet = {
    version = version,
    headers = readList(r, readHeader),
    messages = readList(r, readMessage),
  }
  if r.at ~= r.size then cursor.fail(r, "there are bytes behind the packet") end
  return packet
end

--- Reads a packet. No input raises an error.
-- @tparam string bytes
-- @tparam[opt] table limits see `sync.flash.amf3.decode`; `values` and `text` are those of the
-- whole packet
-- @treturn table|nil the packet, or nil
-- @treturn string|nil and what is wrong with the bytes
function amfpacket.decode(bytes, limits)
  local ok, result = cursor.attempt(readPacket, cursor.reader(bytes, 1, limits))
  if not ok then return nil, result end
  return result
end

-- Writing. Nothing is written by reference unless it is asked for: Ruffle reads none.

local PLAIN = {references = false, depth = amfpacket.MOST_DEPTH}

local function encodeValue(value, version, options)
  if version ~= 3 then return amf0.encode(value, options) end
  local bytes, problem = amf3.encode(value, options)
  return bytes and TO_AMF3 .. bytes, problem
end

local function u16(number)
  return string.char(bit.rshift(number, 8), bit.band(number, 0xff))
end

local function u32(number)
  return u16(bit.rshift(number, 16)) .. u16(bit.band(number, 0xffff))
end

-- Adds a header or message: names, which may say something in bytes of their own, the
-- length of the value, and that.
local function put(w, what, prefix, part)
  local bytes, problem = part.bytes, nil
  if not bytes then bytes, problem = encodeValue(part.value, w.version, w.options) end
  if not bytes then cursor.fail(w, ("%s: %s"):format(what, problem)) end
  w.size = w.size - #prefix - 4 - #bytes
  if w.size < 0 then cursor.fail(w, "it is too large") end
  local parts = w.parts
  local count = #parts
  parts[count + 1], parts[count + 2], parts[count + 3] = prefix, u32(#bytes), bytes
end

local function name(w, what, text)
  if type(text) ~= "string" then cursor.fail(w, what .. " is not a string") end
  if #text > MOST then cursor.fail(w, what .. " is too long") end
  cursor.checkText(w, text)
  return u16(#text) .. text
end

local function putCount(w, list, what)
  if #list > MOST then cursor.fail(w, ("there are more than %d %s"):format(MOST, what)) end
  w.parts[#w.parts + 1] = u16(#list)
end

local function writePacket(w, packet)
  local headers, messages = packet.headers or {}, packet.messages or {}
  w.parts[1] = u16(w.version)
  putCount(w, headers, "headers")
  for i, header in ipairs(headers) do
    local what = "header " .. i
    put(w, what, name(w, what .. "'s name", header.name) ..
      (header.mustUnderstand and "\1" or "\0"), header)
  end
  putCount(w, messages, "messages")
  for i, message in ipairs(messages) do
    local what = "message " .. i
    put(w, what, name(w, what .. "'s target", message.target) ..
      name(w, what .. "'s response", message.response or "null"), message)
  end
  return table.concat(w.parts)
end

--- Writes a packet.
-- @tparam table packet
-- @tparam[opt={references=false,depth=64}] table options see `sync.flash.amf3.encode`; `size` is
-- that of the whole packet
-- @treturn string|nil the bytes, or nil
-- @treturn string|nil and which value in it can't be written, and why
function amfpacket.encode(packet, options)
  options = options or PLAIN
  local version = packet.version or 0
  if version ~= 0 and version ~= 3 then
    error("amfpacket.encode(packet): the version is 0 or 3", 2)
  end
  local w = {
    where = function() return "packet" end,
    version = version, options = options, size = options.size or 0x1000000, parts = {},
  }
  local ok, result = cursor.attempt(writePacket, w, packet)
  if not ok then return nil, result end
  return result
end

--- Writes a value as it stands in a packet of a version.
-- @treturn string|nil the bytes, or nil
-- @treturn string|nil and why it can't be written
function amfpacket.value(value, version)
  return encodeValue(value, version, PLAIN)
end

return amfpacket
