-- Random values go through both formats and come back as they were; damaged bytes are
-- decoded without an error, in little time and memory, and what they still say comes back
-- as well. Run:
--
--     ./sync-lua spec/fuzz/amf.lua [HOW_MANY=100000] [SEED=1]

local amf = require "sync.amf"
local amf0 = require "sync.flash.amf0"
local amf3 = require "sync.flash.amf3"
local amfpacket = require "sync.flash.packet"

local howMany, seed, quiet = ...
local HOW_MANY, SEED = tonumber(howMany or 100000), tonumber(seed or 1)
local MOST_SECONDS = 1 -- of processor time for one input
-- What a decoder may leave behind, as garbage too: a table for every byte or two.
local FIXED_KILOBYTES, KILOBYTES_PER_BYTE = 256, 0.5

local random = math.random

local function pick(list)
  return list[random(#list)]
end

-- Random values.

local TEXTS = {"", "a", "x", "name", "length", "0", "1", "position", "été", "日本", "\0",
  "𝄞", ("long "):rep(40)}
local NUMBERS = {0, -0, 1, -1, 127, 128, 16383, 16384, 2097151, 2097152, 268435455, 268435456,
  -268435456, -268435457, 0.5, -1e300, 1e-310, 2 ^ 53, math.huge, -math.huge, 0 / 0}

local function text()
  if random(3) > 1 then return pick(TEXTS) end
  local bytes = {}
  for i = 1, random(0, 12) do bytes[i] = string.char(random(32, 126)) end
  return table.concat(bytes)
end

local function name()
  return "n" .. random(20)
end

local function number()
  local kind = random(3)
  if kind == 1 then return pick(NUMBERS) end
  if kind == 2 then return random(-2 ^ 30, 2 ^ 30) end
  return (random() - 0.5) * 10 ^ random(-20, 20)
end

local value

local made = {} -- tables of this value that are complete, to be shared

local function fill(target, depth, key)
  for i = 1, random(0, 5) do target[key(i)] = value(depth - 1) end
  return target
end

local function place(i) return i end

local function array(depth)
  local target = fill({}, depth, place)
  return target[1] == nil and amf.list(target) or target
end

local function vector()
  local kind, items = pick {"int", "uint", "double"}, {}
  for i = 1, random(0, 6) do
    items[i] = kind == "int" and random(-2 ^ 31, 2 ^ 31 - 1) or
      kind == "uint" and random(0, 2 ^ 32 - 1) or number()
  end
  return amf.vector(kind, items, random(2) == 1)
end

local function dictionary(depth)
  local target = amf.dictionary()
  for _ = 1, random(0, 3) do
    local key = pick {text(), random(100), random() * 10, true, false, amf.null}
    target[key] = value(depth - 1)
  end
  return target
end

local COMMON = {
  function(depth) return array(depth) end,
  function(depth) return fill({}, depth, name) end,
  function(depth) return amf.typed(pick {"A", "com.game.Player", "é"}, fill({}, depth, name)) end,
  function(depth) return amf.list(fill({odd = 1}, depth, name)) end,
  function() return amf.date(number()) end,
  function() return amf.xml(text(), "document") end,
}
local ONLY_3 = {
  function() return vector() end,
  function(depth)
    return amf.vector("object", fill({}, depth, place), random(2) == 1, pick {"", "A"})
  end,
  function(depth) return dictionary(depth) end,
  function(depth) return amf.collection(array(depth)) end,
  function(depth) return amf.proxy(fill({}, depth, name)) end,
  function() return amf.bytes(text() .. string.char(random(0, 255))) end,
  function() return amf.xml(text(), "e4x") end,
}

local only3 -- whether values that AMF0 has not may come

function value(depth)
  local kind = random(depth > 0 and 10 or 5)
  if kind == 1 then return amf.null end
  if kind == 2 then return random(2) == 1 end
  if kind == 3 then return number() end
  if kind <= 5 then return text() end
  if kind == 6 and #made > 0 then return pick(made) end
  local target = pick(only3 and random(3) == 1 and ONLY_3 or COMMON)(depth)
  made[#made + 1] = target
  return target
end

local function newValue(withOnly3)
  made, only3 = {}, withOnly3
  return value(5)
end

-- Comparing. This is not compiled, so that it is right where the compiler is not.

local equal

local function isIn(items, other)
  for key, item in next, items do
    -- Tables are keys by identity, so they are only counted.
    if type(key) ~= "table" and not equal(item, rawget(other, key)) then return false end
  end
  return true
end

local function size(items)
  local count = 0
  for _ in next, items do count = count + 1 end
  return count
end

function equal(a, b)
  if type(a) ~= "table" or type(b) ~= "table" then
    return rawequal(a, b) or a ~= a and b ~= b
  end
  if amf.kind(a) ~= amf.kind(b) or amf.className(a) ~= amf.className(b) then return false end
  if amf.kind(a) == "vector" and (a.kind ~= b.kind or a.fixed ~= b.fixed) then return false end
  -- In AMF0, ActionScript 3's XML, which came as AMF3, becomes a document.
  if amf.kind(a) == "xml" and b.kind == "document" then return a.text == b.text end
  return size(a) == size(b) and isIn(a, b)
end

for _, fn in ipairs {equal, isIn, size} do jit.off(fn) end

-- Decoding.

local function hex(bytes)
  return (bytes:gsub(".", function(byte) return ("%02x"):format(byte:byte()) end))
end

local function failed(what, bytes, more)
  error(("%s (seed %d)\n%s\n%s"):format(what, SEED, more and tostring(more) or "", hex(bytes)), 0)
end

-- Calls a decoder, and watches what it takes.
local function decode(what, decoder, bytes)
  collectgarbage "stop"
  local memory, time = collectgarbage "count", os.clock()
  local ran, ok, result, next = pcall(decoder, bytes)
  time, memory = os.clock() - time, collectgarbage "count" - memory
  collectgarbage "restart"
  if not ran then failed(what .. " raised an error", bytes, ok) end
  if time > MOST_SECONDS then failed(what .. " took " .. time .. " s", bytes) end
  if memory > FIXED_KILOBYTES + KILOBYTES_PER_BYTE * #bytes then
    failed(what .. " took " .. memory .. " KB", bytes)
  end
  return ok, result, next
end

local function comesBack(what, format, original)
  local bytes, problem = format.encode(original)
  if not bytes then return nil, problem end
  local ok, result, next = decode(what, format.decode, bytes)
  if not ok then failed(what .. " can't read what it wrote", bytes, result) end
  if next ~= #bytes + 1 then failed(what .. " stopped at " .. next, bytes) end
  if not equal(original, result) then failed(what .. " changed a value", bytes) end
  return bytes
end

local EDITS = {
  function(bytes, at) return bytes:sub(1, at - 1) .. bytes:sub(at + random(4)) end,
  function(bytes, at) return bytes:sub(1, at) .. bytes:sub(random(at), at) .. bytes:sub(at + 1) end,
  function(bytes, at) return bytes:sub(1, at) end,
}
local BYTES = {0, 1, 2, 4, 7, 9, 10, 13, 16, 17, 0x7f, 0x80, 0xfe, 0xff}

local function damaged(bytes)
  for _ = 1, random(4) do
    local at = random(math.max(1, #bytes))
    if random(3) > 1 then
      local byte = random(2) == 1 and pick(BYTES) or random(0, 255)
      bytes = bytes:sub(1, at - 1) .. string.char(byte) .. bytes:sub(at + 1)
    else
      bytes = pick(EDITS)(bytes, at)
    end
  end
  return bytes
end

local counts = {values = 0, damaged = 0, read = 0, packets = 0}

-- What can still be read of damaged bytes is written again, when it can be.
local function tryDamaged(what, format, bytes)
  bytes = damaged(bytes)
  counts.damaged = counts.damaged + 1
  local ok, result = decode(what, format.decode, bytes)
  if not ok then return end
  counts.read = counts.read + 1
  comesBack(what, format, result)
end

local function tryValue()
  local in3 = random(2) == 1
  local format, what = in3 and amf3 or amf0, in3 and "AMF3" or "AMF0"
  local original = newValue(in3)
  local bytes, problem = comesBack(what, format, original)
  if not bytes then failed(what .. " can't write a value", "", problem) end
  local apart = format.encode(original, {references = false})
  local ok, result = decode(what, format.decode, apart)
  if not ok or not equal(original, result) then
    failed(what .. " without references is wrong", apart, result)
  end
  counts.values = counts.values + 1
  for _ = 1, 3 do tryDamaged(what, format, bytes) end
end

local function tryPacket()
  local version = pick {0, 3}
  local packet = {version = version, headers = {}, messages = {}}
  for i = 1, random(0, 2) do
    packet.headers[i] = {name = text(), mustUnderstand = random(2) == 1,
      value = newValue(version == 3)}
  end
  for i = 1, random(0, 3) do
    packet.messages[i] = {target = text(), response = text(), value = newValue(version == 3)}
  end
  local bytes = assert(amfpacket.encode(packet, {references = random(2) == 1}))
  local result, problem = decode("a packet", amfpacket.decode, bytes)
  if not equal(packet, result) then failed("a packet changed", bytes, problem) end
  counts.packets = counts.packets + 1
  for _ = 1, 3 do
    decode("a damaged packet", amfpacket.decode, damaged(bytes))
    counts.damaged = counts.damaged + 1
  end
end

math.randomseed(SEED)
local began = os.clock()
for i = 1, HOW_MANY do
  if i % 8 == 0 then tryPacket() else tryValue() end
end
local result = ("%d values and %d packets came back, %d damaged inputs were decoded, %d of them " ..
  "said something; %.0f s"):format(counts.values, counts.packets, counts.damaged, counts.read,
  os.clock() - began)
if not quiet then print(result) end
