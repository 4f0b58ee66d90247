--- AMF3: the values of ActionScript 3, as bytes.
--
-- Which value becomes which is in `sync.amf`. Decoding fails rather than reads anything
-- wrongly: every length is compared with the bytes that are left before anything is made,
-- and the limits hold for what a value is when references are followed, so that a small
-- message can't become a large tree. An externalizable class has a format of its own, and
-- is refused by its name, but for those of Flex that write one value.
-- @module sync.flash.amf3

local cursor = require "sync.flash.cursor"
local values = require "sync.flash.values"
local bit = require "bit"

local band, bor, rshift, tobit = bit.band, bit.bor, bit.rshift, bit.tobit
local buffer, null = cursor.buffer, values.null
local fail, open, close, take = cursor.fail, cursor.open, cursor.close, cursor.take
local u8, double, s32At, doubleAt = cursor.u8, cursor.double, cursor.s32At, cursor.doubleAt
local countValues, countText = cursor.countValues, cursor.countText
local keep, openKept = cursor.keep, cursor.openKept
local closeKept, refer = cursor.closeKept, cursor.refer
local kindOf, nameOf, isItem, field = values.kind, cursor.nameOf, cursor.isItem, cursor.field
local putU32, putDouble, nextKey = cursor.putU32, cursor.putDouble, cursor.nextKey

local amf3 = {}

-- Markers.
local UNDEFINED, NULL, FALSE, TRUE, INTEGER, DOUBLE, STRING = 0, 1, 2, 3, 4, 5, 6
local XML_DOCUMENT, DATE, ARRAY, OBJECT, XML, BYTE_ARRAY = 7, 8, 9, 10, 11, 12
local VECTOR_INT, VECTOR_UINT, VECTOR_DOUBLE, VECTOR_OBJECT, DICTIONARY = 13, 14, 15, 16, 17

local MOST = 0x0fffffff -- what 28 bits hold: lengths, and the largest integer
local MOST_NUMBERS, SMALL = 256, 0xffff -- keys of dictionaries that may collide, and can't

-- Reading.

-- An unsigned number of 29 bits in 1 to 4 bytes: 7 bits in each, 8 in the fourth.
local function u29(r)
  local bytes = r.bytes
  local a = bytes[take(r, 1)]
  if a < 0x80 then return a end
  local b = bytes[take(r, 1)]
  if b < 0x80 then return (a - 0x80) * 0x80 + b end
  local c = bytes[take(r, 1)]
  if c < 0x80 then return (a - 0x80) * 0x4000 + (b - 0x80) * 0x80 + c end
  local d = bytes[take(r, 1)]
  return (a - 0x80) * 0x400000 + (b - 0x80) * 0x8000 + (c - 0x80) * 0x100 + d
end

local function readText(r)
  local head = u29(r)
  local length = rshift(head, 1)
  local strings = r.strings
  local text
  if band(head, 1) == 0 then
    text = strings[length + 1]
    if text == nil then fail(r, ("reference %d leads to no string"):format(length)) end
  elseif length == 0 then
    return ""
  else
    text = cursor.text(r, length)
    local count = r.stringCount + 1
    strings[count] = text
    r.stringCount = count
  end
  countText(r, #text)
  return text
end

local readers = {}
local steps = {} -- what reads the next part of a table that is not complete

local function readValue(r)
  countValues(r, 1)
  local marker = u8(r)
  local read = readers[marker]
  if not read then fail(r, ("there is no marker 0x%02x"):format(marker)) end
  local value = read(r) -- not as a tail call, of which LuaJIT compiles only some
  return value
end

readers[UNDEFINED] = function() return null end
readers[NULL] = readers[UNDEFINED]
readers[FALSE] = function() return false end
readers[TRUE] = function() return true end
readers[INTEGER] = function(r)
  local value = u29(r)
  return value > MOST and value - 0x20000000 or value
end
readers[DOUBLE] = function(r) return double(r) end
readers[STRING] = readText

-- The number before every value that can be referred to. Returns it without its lowest bit,
-- or nil and the value that was referred to.
local function readHead(r)
  local head = u29(r)
  local rest = rshift(head, 1)
  if band(head, 1) == 0 then return nil, refer(r, r.references3, rest) end
  return rest
end

local function readXml(r, kind)
  local length, known = readHead(r)
  if not length then return known end
  local value = values.xml(cursor.text(r, length), kind)
  countText(r, length)
  keep(r.references3, value, 0, length)
  return value
end

readers[XML_DOCUMENT] = function(r) return readXml(r, "document") end
readers[XML] = function(r) return readXml(r, "e4x") end

readers[DATE] = function(r)
  local rest, known = readHead(r)
  if not rest then return known end
  local value = values.date(double(r))
  keep(r.references3, value, 0, 0)
  return value
end

readers[BYTE_ARRAY] = function(r)
  local length, known = readHead(r)
  if not length then return known end
  local value = values.bytes(cursor.raw(r, length))
  countText(r, length)
  keep(r.references3, value, 0, length)
  return value
end

-- How many values follow, each of which takes some bytes.
local function checkCount(r, count, size)
  if count * size > r.size - r.at then fail(r, "it is cut short") end
end

-- First the names and what they name, up to the empty name, then the items.
readers[ARRAY] = function(r)
  local count, known = readHead(r)
  if not count then return known end
  checkCount(r, count, 1)
  local target = {}
  local frame = openKept(r, r.references3, target, steps.names)
  frame.count = count
  cursor.beginNamed(frame)
  return target
end

local function keepTraits(r, traits)
  r.traits[#r.traits + 1] = traits
  return traits
end

local function readExternal(r, class)
  local mark = values.externalMark(class)
  if not mark then
    fail(r, ("class %s is externalizable, which only its program can read")
      :format(class:sub(1, 64):gsub("%c", "?")))
  end
  return {mark = mark, external = true, text = #class}
end

local function readTraits(r, head)
  if band(head, 2) == 0 then
    local traits = r.traits[rshift(head, 2) + 1]
    if not traits then
      fail(r, ("reference %d leads to no traits"):format(rshift(head, 2)))
    end
    countText(r, traits.text)
    return traits
  end
  local class = readText(r)
  if band(head, 4) ~= 0 then return keepTraits(r, readExternal(r, class)) end
  local count = rshift(head, 4)
  checkCount(r, count, 1)
  local before, names = r.text, {}
  for i = 1, count do names[i] = readText(r) end
  local traits = {
    mark = class ~= "" and values.classMark(class),
    dynamic = band(head, 8) ~= 0,
    names = names,
    text = before - r.text,
  }
  return keepTraits(r, traits)
end

-- First the values of the names that its traits have, then names and values up to the empty
-- name when it is dynamic.
readers[OBJECT] = function(r)
  local head = u29(r)
  if band(head, 1) == 0 then return (refer(r, r.references3, rshift(head, 1))) end
  local traits = readTraits(r, head)
  local target = {}
  if traits.mark then setmetatable(target, traits.mark) end
  local step = traits.external and steps.external or steps.sealed
  local frame = openKept(r, r.references3, target, step)
  frame.traits = traits
  return target
end

-- What vectors of numbers begin with. Returns whether the length is fixed.
local function readVectorHead(r, count, size)
  local fixed = u8(r) ~= 0
  checkCount(r, count, size)
  countValues(r, count)
  return fixed
end

local function readInts(r, count)
  local fixed = readVectorHead(r, count, 4)
  local at, bytes, items = take(r, count * 4), r.bytes, {}
  for i = 1, count do items[i] = s32At(bytes, at + i * 4 - 4) end
  return items, fixed
end

readers[VECTOR_INT] = function(r)
  local count, known = readHead(r)
  if not count then return known end
  local items, fixed = readInts(r, count)
  keep(r.references3, setmetatable(items, values.vectorMark("int", fixed, "")), count, 0)
  return items
end

readers[VECTOR_UINT] = function(r)
  local count, known = readHead(r)
  if not count then return known end
  local items, fixed = readInts(r, count)
  for i = 1, count do
    local item = items[i]
    items[i] = item < 0 and item + 0x100000000 or item
  end
  keep(r.references3, setmetatable(items, values.vectorMark("uint", fixed, "")), count, 0)
  return items
end

readers[VECTOR_DOUBLE] = function(r)
  local count, known = readHead(r)
  if not count then return known end
  local fixed = readVectorHead(r, count, 8)
  local at, bytes, items = take(r, count * 8), r.bytes, {}
  for i = 1, count do items[i] = doubleAt(bytes, at + i * 8 - 8) end
  keep(r.references3, setmetatable(items, values.vectorMark("double", fixed, "")), count, 0)
  return items
end

readers[VECTOR_OBJECT] = function(r)
  local count, known = readHead(r)
  if not count then return known end
  checkCount(r, count, 1)
  local fixed = u8(r) ~= 0
  local target = {}
  local frame = openKept(r, r.references3, target, steps.items)
  frame.count = count
  setmetatable(target, values.vectorMark("object", fixed, readText(r)))
  return target
end

readers[DICTIONARY] = function(r)
  local count, known = readHead(r)
  if not count then return known end
  checkCount(r, count, 2)
  u8(r) -- whether its keys are weak
  local target = values.dictionary()
  local frame = openKept(r, r.references3, target, steps.keys)
  frame.count = count
  return target
end


function steps.items(r, frame)
  local place = frame.place + 1
  if place > frame.count then return closeKept(r, r.references3) end
  frame.place = place
  local target = frame.target
  target[place] = readValue(r)
end

-- The items of an array that has names: as if they were named as well.
function steps.mixed(r, frame)
  local item = frame.item
  if item == frame.count then
    cursor.endNamed(frame)
    return closeKept(r, r.references3)
  end
  frame.item = item + 1
  cursor.setNamed(frame, cursor.numeral(item), readValue(r))
end

function steps.names(r, frame)
  local name = readText(r)
  if name ~= "" then
    cursor.setNamed(frame, name, readValue(r))
  elseif frame.count > 0 and cursor.hasNoNames(frame) then
    frame.step = steps.items
  else
    frame.step = steps.mixed
  end
end

function steps.sealed(r, frame)
  local traits, place = frame.traits, frame.place + 1
  local name = traits.names[place]
  if name then
    frame.place = place
    local target = frame.target
    target[name] = readValue(r)
  elseif traits.dynamic then
    frame.step = steps.members
  else
    return closeKept(r, r.references3)
  end
end

function steps.external(r, frame)
  if frame.place == 1 then return closeKept(r, r.references3) end
  frame.place = 1
  local target = frame.target
  target.value = readValue(r)
end

function steps.members(r, frame)
  local name = readText(r)
  if name == "" then return closeKept(r, r.references3) end
  local target = frame.target
  target[name] = readValue(r)
end

-- LuaJIT hashes strings with a secret, and numbers without one: who chooses the numbers can
-- let them all collide, and n of them cost n * n. Small whole ones are too few for that.
local function checkNumber(r, key)
  if key ~= key then fail(r, "a key is not a number (NaN)") end
  if key >= 0 and key <= SMALL and key % 1 == 0 then return end
  if r.numbers == 0 then
    fail(r, ("more than %d keys are numbers that are not whole, or not from 0 to %d")
      :format(MOST_NUMBERS, SMALL))
  end
  r.numbers = r.numbers - 1
end

function steps.keys(r, frame)
  local place = frame.place + 1
  if place > frame.count then return closeKept(r, r.references3) end
  local key = readValue(r)
  if type(key) == "number" then checkNumber(r, key) end
  frame.place, frame.key, frame.step = place, key, steps.values
end

function steps.values(r, frame)
  local target, key = frame.target, frame.key
  frame.step = steps.keys
  target[key] = readValue(r)
end

-- Prepares a reader for values that share references. What was not used need not be new.
function amf3.begin(r)
  local known = r.references3
  if not known or known.count > 0 or r.stringCount > 0 or r.traits[1] then
    r.references3 = cursor.references()
    r.strings, r.stringCount = {}, 0
    r.traits = {}
  end
  r.numbers = r.numbers or MOST_NUMBERS
end

-- Reads one value with all that is in it.
function amf3.read(r)
  local depth = r.depth
  local value = readValue(r)
  while r.depth > depth do
    local frame = r.top
    frame.step(r, frame)
  end
  return value
end

--- Reads a value. No input raises an error.
--
-- A table that is referred to again is the same table in Lua. One that contains itself is
-- a problem, unless `limits.cyclic` is set: what goes through such a value without end is
-- the caller's.
-- @tparam string bytes
-- @tparam[opt=1] number position of its first byte
-- @tparam[opt] table limits `depth` of arrays and objects in each other (32), how many
-- `values` there may be (100,000), how many bytes of `text` references may repeat (1 MiB),
-- both counted as if what is referred to were written out; at most 256 keys of dictionaries
-- may be numbers that are not whole, or not from 0 to 65,535; `references = false`, which
-- refuses references to arrays, objects and the like; `cyclic = true`
-- @treturn boolean whether it could be read
-- @treturn any the value, or what is wrong with the bytes
-- @treturn number|nil the position behind it
-- @usage local ok, value, next = amf3.decode(bytes)
function amf3.decode(bytes, position, limits)
  local r = cursor.reader(bytes, position, limits)
  amf3.begin(r)
  local ok, value = cursor.attempt(amf3.read, r)
  if not ok then return false, value end
  return true, value, r.at + 1
end

-- Writing.

local function putByte(value)
  local to = buffer:reserve(1)
  to[0] = value
  buffer:commit(1)
end

local function putU29(value)
  local to, size = buffer:reserve(4), 1
  if value < 0x80 then
    to[0] = value
  elseif value < 0x4000 then
    to[0], to[1] = bor(rshift(value, 7), 0x80), band(value, 0x7f)
    size = 2
  elseif value < 0x200000 then
    to[0], to[1] = bor(rshift(value, 14), 0x80), bor(band(rshift(value, 7), 0x7f), 0x80)
    to[2] = band(value, 0x7f)
    size = 3
  else
    to[0], to[1] = bor(rshift(value, 22), 0x80), bor(band(rshift(value, 15), 0x7f), 0x80)
    to[2], to[3] = bor(band(rshift(value, 8), 0x7f), 0x80), band(value, 0xff)
    size = 4
  end
  buffer:commit(size)
end

-- A length, or whatever else a lowest bit of 1 is added to.
local function putHead(w, value)
  if value > MOST then fail(w, "it is too long for AMF3") end
  putU29(value * 2 + 1)
end

local function putText(w, text)
  local known = w.strings[text]
  if known then return putU29(known * 2) end
  cursor.checkText(w, text)
  if w.shared and text ~= "" then
    w.strings[text] = w.stringCount
    w.stringCount = w.stringCount + 1
  end
  putHead(w, #text)
  buffer:put(text)
end

local function putNumber(value)
  local isInteger = value >= -MOST - 1 and value <= MOST and value % 1 == 0 and
    (value ~= 0 or 1 / value > 0) -- -0 is none
  if isInteger then
    putByte(INTEGER)
    putU29(band(value, 0x1fffffff))
  else
    putByte(DOUBLE)
    putDouble(value)
  end
end

-- Writes the marker and, of a table that was written before, where. Returns whether it was.
local function putMarker(w, value, marker)
  if w.shared then
    local index, before = cursor.remember(w, value, marker)
    if index then
      putByte(before)
      putU29(index * 2)
      return true
    end
  end
  putByte(marker)
  return false
end

local putters = {} -- by kind
local parts = {}   -- what writes the next part of a table

function putters.date(w, value)
  local milliseconds = field(w, value, "milliseconds", "number")
  if putMarker(w, value, DATE) then return end
  putByte(1)
  putDouble(milliseconds)
end

function putters.xml(w, value)
  local text = field(w, value, "text", "string")
  if putMarker(w, value, value.kind == "e4x" and XML or XML_DOCUMENT) then return end
  cursor.checkText(w, text)
  putHead(w, #text)
  buffer:put(text)
end

function putters.bytes(w, value)
  local data = field(w, value, "data", "string")
  if putMarker(w, value, BYTE_ARRAY) then return end
  putHead(w, #data)
  buffer:put(data)
end

function putters.list(w, value)
  if putMarker(w, value, ARRAY) then return end
  local count, names = cursor.listLength(value)
  putHead(w, count)
  if names == 0 then putByte(1) end
  open(w, value, names == 0 and parts.items or parts.names).count = count
end

local function putArray(w, value, count)
  if putMarker(w, value, ARRAY) then return end
  putHead(w, count)
  putByte(1) -- no names
  open(w, value, parts.items).count = count
end

-- An object without a class is dynamic and has no other traits.
local function putObject(w, value)
  if putMarker(w, value, OBJECT) then return end
  if w.plainTraits then
    putU29(w.plainTraits * 4 + 1)
  else
    putU29(0x0b)
    putByte(1) -- no class
    if w.shared then
      w.plainTraits = w.traitCount
      w.traitCount = w.traitCount + 1
    end
  end
  open(w, value, parts.members)
end

-- The names of an object's members, in order, so that objects of a class share traits.
local function namesOf(w, value)
  local names = {}
  for name in next, value do
    if type(name) ~= "string" then
      fail(w, ("an object of a class has a %s as a key"):format(type(name)))
    end
    names[#names + 1] = name
  end
  table.sort(names)
  return names
end

-- An object of a class has its members in its traits, for its class may have no others.
function putters.typed(w, value)
  if putMarker(w, value, OBJECT) then return end
  local class, names = values.className(value), namesOf(w, value)
  local key = class .. "\0" .. table.concat(names, "\0")
  local known = w.traits[key]
  if known then
    putU29(known * 4 + 1)
  else
    if w.shared then
      w.traits[key] = w.traitCount
      w.traitCount = w.traitCount + 1
    end
    if #names > 0x1ffffff then fail(w, "it has too many members for AMF3") end
    putU29(#names * 16 + 3)
    putText(w, class)
    for i = 1, #names do putText(w, names[i]) end
  end
  open(w, value, parts.sealed).traits = names
end

function putters.external(w, value)
  if putMarker(w, value, OBJECT) then return end
  local class = values.className(value)
  local key = "\0" .. class -- no key of a class with members
  local known = w.traits[key]
  if known then
    putU29(known * 4 + 1)
  else
    if w.shared then
      w.traits[key] = w.traitCount
      w.traitCount = w.traitCount + 1
    end
    putU29(7)
    putText(w, class)
  end
  open(w, value, parts.external)
end

local function checkItem(w, place, item, kind)
  local good = type(item) == "number" and (kind == "double" or
    kind == "int" and item == tobit(item) or
    kind == "uint" and item >= 0 and item <= 0xffffffff and item % 1 == 0)
  if not good then
    fail(w, ("item %d of the vector is not of type %s"):format(place, kind))
  end
end

local VECTORS = {
  int = VECTOR_INT, uint = VECTOR_UINT, double = VECTOR_DOUBLE, object = VECTOR_OBJECT,
}

function putters.vector(w, value)
  local kind, count = value.kind, #value
  if putMarker(w, value, VECTORS[kind]) then return end
  putHead(w, count)
  putByte(value.fixed and 1 or 0)
  if kind == "object" then
    putText(w, value.className)
    open(w, value, parts.items).count = count
    return
  end
  local put = kind == "double" and putDouble or putU32
  for place = 1, count do
    local item = rawget(value, place)
    checkItem(w, place, item, kind)
    put(item)
  end
end

function putters.dictionary(w, value)
  if putMarker(w, value, DICTIONARY) then return end
  local count = 0
  for _ in next, value do count = count + 1 end
  putHead(w, count)
  putByte(0) -- its keys are not weak
  open(w, value, parts.keys)
end

local function putTable(w, value)
  local put = putters[kindOf(value)]
  if put then return put(w, value) end
  local count = cursor.arrayLength(value)
  if count then return putArray(w, value, count) end
  putObject(w, value)
end

local function putValue(w, value)
  local kind = type(value)
  if kind == "string" then
    putByte(STRING)
    putText(w, value)
  elseif kind == "number" then
    putNumber(value)
  elseif kind == "table" then
    putTable(w, value)
  elseif kind == "boolean" then
    putByte(value and TRUE or FALSE)
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

local function putMember(w, key, value)
  local name = nameOf(w, key)
  if name == "" then fail(w, "AMF3 has no members with an empty name") end
  putText(w, name)
  putValue(w, value)
end

function parts.members(w, frame)
  local target = frame.target
  local key = nextKey(target, frame.key)
  frame.key = key
  if key ~= nil then return putMember(w, key, rawget(target, key)) end
  putByte(1)
  close(w)
end

function parts.names(w, frame)
  local target = frame.target
  local key = nextKey(target, frame.key)
  frame.key = key
  if key == nil then
    putByte(1)
    frame.step = parts.items
  elseif not isItem(key, frame.count) then
    putMember(w, key, rawget(target, key))
  end
end

function parts.sealed(w, frame)
  local place = frame.place + 1
  local name = frame.traits[place]
  if name == nil then return close(w) end
  frame.place, frame.key = place, name
  putValue(w, rawget(frame.target, name))
end

function parts.external(w, frame)
  if frame.place == 1 then return close(w) end
  frame.place, frame.key = 1, "value"
  putValue(w, rawget(frame.target, "value"))
end

function parts.keys(w, frame)
  local key = nextKey(frame.target, frame.key)
  frame.key = key
  if key == nil then return close(w) end
  frame.step = parts.values
  putValue(w, key)
end

function parts.values(w, frame)
  frame.step = parts.keys
  putValue(w, rawget(frame.target, frame.key))
end

local function write(w, value)
  putValue(w, value)
  while w.depth > 0 do
    local frame = w.top
    frame.step(w, frame)
  end
  return cursor.written()
end

--- Writes a value. Whole numbers of 29 bits become integers, others doubles.
-- @tparam any value
-- @tparam[opt] table options `depth` (32) of tables in each other; `size` in bytes (16 MiB);
-- `references = false`, which writes everything out each time: a table that contains itself
-- is then too deep
-- @treturn string|nil the bytes, or nil
-- @treturn string|nil and which value in it can't be written, and why
function amf3.encode(value, options)
  local w = cursor.writer(options)
  w.strings, w.stringCount = {}, 0
  w.traits, w.traitCount, w.plainTraits = {}, 0, false
  local ok, result = cursor.attempt(write, w, value)
  if ok then return result end
  cursor.dropped()
  return nil, result
end

return amf3
