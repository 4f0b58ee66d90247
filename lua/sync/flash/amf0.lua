--- AMF0: the values of ActionScript 1 and 2, and of Flash Remoting, as bytes.
--
-- Which value becomes which is in `sync.amf`; the limits are those of `sync.flash.amf3`. A value
-- may switch to AMF3, which shares its references with the others that do so. "Unsupported"
-- is read as null; movie clips and record sets, which nothing writes, are refused.
-- @module sync.flash.amf0

local cursor = require "sync.flash.cursor"
local values = require "sync.flash.values"
local amf3 = require "sync.flash.amf3"

local buffer, null = cursor.buffer, values.null
local fail, open, close = cursor.fail, cursor.open, cursor.close
local u8, u16, u32, double, text = cursor.u8, cursor.u16, cursor.u32, cursor.double, cursor.text
local countValues, countText = cursor.countValues, cursor.countText
local openKept, closeKept = cursor.openKept, cursor.closeKept
local kindOf, nameOf, isItem, field = values.kind, cursor.nameOf, cursor.isItem, cursor.field
local putU16, putU32, putDouble = cursor.putU16, cursor.putU32, cursor.putDouble
local nextKey = cursor.nextKey

local amf0 = {}

-- Markers.
local NUMBER, BOOLEAN, STRING, OBJECT, MOVIE_CLIP, NULL, UNDEFINED, REFERENCE, ECMA_ARRAY,
  OBJECT_END = 0, 1, 2, 3, 4, 5, 6, 7, 8, 9
local STRICT_ARRAY, DATE, LONG_STRING, UNSUPPORTED, RECORD_SET, XML_DOCUMENT, TYPED_OBJECT,
  AMF3 = 10, 11, 12, 13, 14, 15, 16, 17

-- Reading.

local readers = {}
local steps = {} -- what reads the next part of a table that is not complete

local function readMarked(r, marker)
  countValues(r, 1)
  local read = readers[marker]
  if not read then fail(r, ("there is no value with the marker 0x%02x"):format(marker)) end
  local value = read(r) -- not as a tail call, of which LuaJIT compiles only some
  return value
end

local function readText(r, length)
  countText(r, length)
  return text(r, length)
end

readers[NUMBER] = function(r) return double(r) end
readers[BOOLEAN] = function(r) return u8(r) ~= 0 end
readers[STRING] = function(r) return readText(r, u16(r)) end
readers[LONG_STRING] = function(r) return readText(r, u32(r)) end
readers[NULL] = function() return null end
readers[UNDEFINED], readers[UNSUPPORTED] = readers[NULL], readers[NULL]
readers[XML_DOCUMENT] = function(r) return values.xml(readText(r, u32(r)), "document") end
readers[REFERENCE] = function(r) return cursor.refer(r, r.references0, u16(r)) end
readers[MOVIE_CLIP] = function(r) fail(r, "movie clips can't be sent") end
readers[RECORD_SET] = function(r) fail(r, "record sets can't be sent") end
readers[AMF3] = function(r) return amf3.read(r) end

readers[DATE] = function(r)
  local value = values.date(double(r))
  u16(r) -- the time zone, which says nothing: the time is UTC
  return value
end

readers[OBJECT] = function(r)
  local target = {}
  openKept(r, r.references0, target, steps.members)
  return target
end

readers[TYPED_OBJECT] = function(r)
  local class = readText(r, u16(r))
  local target = {}
  if class ~= "" then setmetatable(target, values.classMark(class)) end
  openKept(r, r.references0, target, steps.members)
  return target
end

readers[ECMA_ARRAY] = function(r)
  u32(r) -- how many there are, which players don't keep to
  local target = {}
  cursor.beginNamed(openKept(r, r.references0, target, steps.names))
  return target
end

readers[STRICT_ARRAY] = function(r)
  local count = u32(r)
  if count > r.size - r.at then fail(r, "it is cut short") end
  local target = count > 0 and {} or values.list()
  openKept(r, r.references0, target, steps.items).count = count
  return target
end

function steps.items(r, frame)
  local place = frame.place + 1
  if place > frame.count then return closeKept(r, r.references0) end
  frame.place = place
  local target = frame.target
  target[place] = readMarked(r, u8(r))
end

-- The name and marker of the next member; or nil at the end, which is an empty name with a
-- marker of its own, for members may have empty names too.
local function readName(r)
  local name = readText(r, u16(r))
  local marker = u8(r)
  if marker == OBJECT_END and name == "" then return nil end
  return name, marker
end

function steps.members(r, frame)
  local name, marker = readName(r)
  if not name then return closeKept(r, r.references0) end
  local target = frame.target
  target[name] = readMarked(r, marker)
end

function steps.names(r, frame)
  local name, marker = readName(r)
  if not name then
    cursor.endNamed(frame)
    return closeKept(r, r.references0)
  end
  cursor.setNamed(frame, name, readMarked(r, marker))
end

-- Prepares a reader for values that share references.
function amf0.begin(r)
  local known = r.references0
  if not known or known.count > 0 then r.references0 = cursor.references() end
  amf3.begin(r)
end

-- Reads one value with all that is in it.
function amf0.read(r)
  local depth = r.depth
  local value = readMarked(r, u8(r))
  while r.depth > depth do
    local frame = r.top
    frame.step(r, frame)
  end
  return value
end

--- Reads a value. No input raises an error.
-- @tparam string bytes
-- @tparam[opt=1] number position of its first byte
-- @tparam[opt] table limits see `sync.flash.amf3.decode`
-- @treturn boolean whether it could be read
-- @treturn any the value, or what is wrong with the bytes
-- @treturn number|nil the position behind it
-- @usage local ok, value, next = amf0.decode(bytes)
function amf0.decode(bytes, position, limits)
  local r = cursor.reader(bytes, position, limits)
  amf0.begin(r)
  local ok, value = cursor.attempt(amf0.read, r)
  if not ok then return false, value end
  return true, value, r.at + 1
end

-- Writing.

local function putByte(value)
  local to = buffer:reserve(1)
  to[0] = value
  buffer:commit(1)
end

local function putName(w, name)
  if #name > 0xffff then fail(w, "a name is longer than 65,535 bytes") end
  cursor.checkText(w, name)
  putU16(#name)
  buffer:put(name)
end

local function putText(w, value)
  cursor.checkText(w, value)
  if #value <= 0xffff then
    putByte(STRING)
    putU16(#value)
  else
    putByte(LONG_STRING)
    putU32(#value)
  end
  buffer:put(value)
end

-- Writes the marker or, of a table that was written before, a reference. There is none to
-- tables after the 65,536th. Returns whether it was one.
local function putMarker(w, value, marker)
  if w.shared then
    local index = cursor.remember(w, value, marker)
    if index and index <= 0xffff then
      putByte(REFERENCE)
      putU16(index)
      return true
    end
  end
  putByte(marker)
  return false
end

local function putEnd()
  putU16(0)
  putByte(OBJECT_END)
end

local putters = {} -- by kind
local parts = {}   -- what writes the next part of a table

function putters.date(w, value)
  putByte(DATE)
  putDouble(field(w, value, "milliseconds", "number"))
  putU16(0)
end

function putters.xml(w, value)
  local content = field(w, value, "text", "string")
  cursor.checkText(w, content)
  putByte(XML_DOCUMENT)
  putU32(#content)
  buffer:put(content)
end

function putters.bytes(w) fail(w, "AMF0 has no byte arrays") end
function putters.vector(w) fail(w, "AMF0 has no vectors") end
function putters.dictionary(w) fail(w, "AMF0 has no dictionaries") end
function putters.external(w) fail(w, "AMF0 has no externalizable classes") end

local function putArray(w, value, count)
  if putMarker(w, value, STRICT_ARRAY) then return end
  putU32(count)
  open(w, value, parts.items).count = count
end

function putters.list(w, value)
  local count, names = cursor.listLength(value)
  if names == 0 then return putArray(w, value, count) end
  if putMarker(w, value, ECMA_ARRAY) then return end
  putU32(count + names)
  open(w, value, parts.names).count = count
end

function putters.typed(w, value)
  if putMarker(w, value, TYPED_OBJECT) then return end
  putName(w, values.className(value))
  open(w, value, parts.members)
end

local function putTable(w, value)
  local put = putters[kindOf(value)]
  if put then return put(w, value) end
  local count = cursor.arrayLength(value)
  if count then return putArray(w, value, count) end
  if putMarker(w, value, OBJECT) then return end
  open(w, value, parts.members)
end

local function putValue(w, value)
  local kind = type(value)
  if kind == "string" then
    putText(w, value)
  elseif kind == "number" then
    putByte(NUMBER)
    putDouble(value)
  elseif kind == "table" then
    putTable(w, value)
  elseif kind == "boolean" then
    putByte(BOOLEAN)
    putByte(value and 1 or 0)
  elseif value == nil or value == null then
    putByte(NULL)
  else
    fail(w, ("a %s can't be written"):format(kind))
  end
  if #buffer > w.size then fail(w, ("it is larger than %d bytes"):format(w.size)) end
end

function parts.items(w, frame)
  local place = frame.place + 1
  if place > frame.count then return close(w) end
  frame.place = place
  putValue(w, rawget(frame.target, place))
end

function parts.members(w, frame)
  local target = frame.target
  local key = nextKey(target, frame.key)
  frame.key = key
  if key == nil then
    putEnd()
    return close(w)
  end
  putName(w, nameOf(w, key))
  putValue(w, rawget(target, key))
end

-- Of an array that has other keys too, those of its items are counted from 0.
function parts.names(w, frame)
  local target = frame.target
  local key = nextKey(target, frame.key)
  frame.key = key
  if key == nil then
    putEnd()
    return close(w)
  end
  putName(w, isItem(key, frame.count) and cursor.numeral(key - 1) or nameOf(w, key))
  putValue(w, rawget(target, key))
end

local function write(w, value)
  putValue(w, value)
  while w.depth > 0 do
    local frame = w.top
    frame.step(w, frame)
  end
  return cursor.written()
end

--- Writes a value.
-- @tparam any value
-- @tparam[opt] table options see `sync.flash.amf3.encode`
-- @treturn string|nil the bytes, or nil
-- @treturn string|nil and which value in it can't be written, and why
function amf0.encode(value, options)
  local ok, result = cursor.attempt(write, cursor.writer(options), value)
  if ok then return result end
  cursor.dropped()
  return nil, result
end

return amf0
