--- What the codecs of AMF0 and AMF3 share: reading and writing bytes from a place on, the
-- tables that are under way, and those that can be referred to.
--
-- A reader and a writer both are a table of state with a stack of frames, one for each array
-- or object that is not complete: one flat loop for all depths, which compiles as one, where
-- functions that call themselves would not.
-- @module sync.flash.cursor

local bit = require "bit"
local buffer = require "string.buffer".new()
local core = require "sync.core"
local ffi = require "ffi"
local values = require "sync.flash.values"

local band, bor, lshift, rshift = bit.band, bit.bor, bit.lshift, bit.rshift
local C, string = core.C, core.string
local isText = C.sync_is_text

local cursor = {}

cursor.buffer = buffer

local Problem = {}

-- Gives up with a problem, and says where.
local function fail(state, why)
  error(setmetatable({text = ("%s: %s"):format(state.where(state), why)}, Problem), 0)
end

cursor.fail = fail

-- Calls a function that may fail.
-- Returns true and its result, or false and the problem. Errors of any other kind go on.
function cursor.attempt(work, ...)
  local ok, result = pcall(work, ...)
  if ok then return true, result end
  if getmetatable(result) ~= Problem then error(result, 0) end
  return false, result.text
end

local function newFrame()
  return {
    target = false,   -- the table
    step = false,     -- the function that reads or writes its next part
    key = nil,        -- the last one, or of a dictionary the one whose value comes next
    place = 0,        -- of the last item
    count = 0,        -- of items
    item = 0,         -- AMF3: those of an array with names
    index = false,    -- among the tables that can be referred to
    traits = false,   -- AMF3: what objects of its class have
    named = false,    -- a numbered array has other keys too, or not in order
    length = nil,     -- the "length" of a numbered array
    values = 0,       -- what the reader had left when it came
    text = 0,
  }
end

-- Enters a table.
function cursor.open(state, target, step)
  local depth = state.depth + 1
  if depth > state.maxDepth then
    fail(state, ("it is nested deeper than %d"):format(state.maxDepth))
  end
  local frame = state.frames[depth]
  if not frame then
    frame = newFrame()
    state.frames[depth] = frame
  end
  frame.target, frame.step, frame.key = target, step, nil
  frame.place, frame.count = 0, 0
  state.depth, state.top = depth, frame
  return frame
end

-- Leaves it.
local function close(state)
  local depth = state.depth - 1
  state.top.target = false
  state.depth, state.top = depth, state.frames[depth]
end

cursor.close = close

-- Reading.

local function readerPlace(r)
  return "byte " .. r.at + 1
end

-- A reader of bytes from a position on, counted from 1.
function cursor.reader(bytes, position, limits)
  if type(bytes) ~= "string" then
    error("decode(bytes, position, limits): it takes a string, not " .. type(bytes), 3)
  end
  position = position or 1
  if type(position) ~= "number" or position < 1 or position % 1 ~= 0 then
    error("decode(bytes, position, limits): the position is a whole number from 1 on", 3)
  end
  limits = limits or {}
  return {
    where = readerPlace,
    anchor = bytes, -- keeps what `bytes` points to
    bytes = ffi.cast("const uint8_t *", bytes),
    at = position - 1,
    size = #bytes,
    frames = {[0] = false},
    top = false,
    depth = 0,
    maxDepth = limits.depth or 32,
    values = limits.values or 100000,
    text = #bytes + (limits.text or 0x100000),
    shared = limits.references ~= false,
    cyclic = limits.cyclic == true,
  }
end

-- Goes on behind so many bytes, and returns where they are.
local function take(r, count)
  local at = r.at
  if count > r.size - at then fail(r, "it is cut short") end
  r.at = at + count
  return at
end

cursor.take = take

function cursor.u8(r)
  return r.bytes[take(r, 1)]
end

function cursor.u16(r)
  local at = take(r, 2)
  local bytes = r.bytes
  return bytes[at] * 256 + bytes[at + 1]
end

local function s32At(bytes, at)
  return bor(lshift(bytes[at], 24), lshift(bytes[at + 1], 16), lshift(bytes[at + 2], 8),
    bytes[at + 3])
end

cursor.s32At = s32At

function cursor.u32(r)
  local value = s32At(r.bytes, take(r, 4))
  return value < 0 and value + 0x100000000 or value
end

local scratch = ffi.new("union { double number; int32_t halves[2]; uint8_t bytes[8]; }")
local HIGH, LOW = ffi.abi("be") and 0 or 1, ffi.abi("be") and 1 or 0
local bigEndian = ffi.abi("be") and bit.tobit or bit.bswap

-- LuaJIT keeps what is not a number in the same 64 bits as numbers, as NaNs of its own. So a
-- NaN from outside must not become a Lua value as it is: it could be any value, of any
-- address. Infinities have the same exponent.
local EXPONENT, FRACTION = 0x7ff00000, 0xfffff

local function doubleAt(bytes, at)
  local high, low = s32At(bytes, at), s32At(bytes, at + 4)
  if band(high, EXPONENT) == EXPONENT and (band(high, FRACTION) ~= 0 or low ~= 0) then
    return 0 / 0
  end
  scratch.halves[HIGH], scratch.halves[LOW] = high, low
  return scratch.number
end

cursor.doubleAt = doubleAt

function cursor.double(r)
  return doubleAt(r.bytes, take(r, 8))
end

function cursor.raw(r, length)
  return string(r.bytes + take(r, length), length)
end

function cursor.text(r, length)
  local first = r.bytes + take(r, length)
  if isText(first, length) == 0 then fail(r, "the text before this is not UTF-8") end
  return string(first, length)
end

-- Counts values against the limit, before anything is made of them.
local function countValues(r, count)
  local left = r.values - count
  if left < 0 then fail(r, "it has too many values") end
  r.values = left
end

-- Counts bytes of texts. Those that the message has are free, so this ends only what
-- refers to the same ones again and again.
local function countText(r, length)
  local left = r.text - length
  if left < 0 then fail(r, "it repeats too much text by reference") end
  r.text = left
end

cursor.countValues, cursor.countText = countValues, countText

-- The tables that can be referred to, and what each adds to the counts when it is. That of
-- an unfinished one is false.
function cursor.references()
  return {count = 0, list = {}, values = {}, text = {}}
end

-- Adds a value that is complete.
function cursor.keep(references, value, worth, text)
  local index = references.count + 1
  references.count = index
  references.list[index] = value
  references.values[index] = worth
  references.text[index] = text
  return index
end

local keep = cursor.keep

-- Adds a table, and enters it.
function cursor.openKept(r, references, target, step)
  local frame = cursor.open(r, target, step)
  frame.index = keep(references, target, false, 0)
  frame.values, frame.text = r.values, r.text
  return frame
end

function cursor.closeKept(r, references)
  local frame = r.top
  references.values[frame.index] = frame.values - r.values
  references.text[frame.index] = frame.text - r.text
  close(r)
end

-- The value at an index, which is counted from 0.
function cursor.refer(r, references, index)
  if not r.shared then fail(r, "references are refused") end
  local value = references.list[index + 1]
  if value == nil then fail(r, ("reference %d leads nowhere"):format(index)) end
  local worth = references.values[index + 1]
  if worth then
    countValues(r, worth)
    countText(r, references.text[index + 1])
  elseif not r.cyclic then
    fail(r, "a value contains itself")
  end
  return value
end

-- "0", "1", ... as the keys of arrays.
local numerals = {}
for i = 0, 255 do numerals[i] = tostring(i) end

local function numeral(number)
  return numerals[number] or ("%d"):format(number)
end

cursor.numeral = numeral

-- Starts an array whose items are named.
function cursor.beginNamed(frame)
  frame.named, frame.length, frame.item = false, nil, 0
end

-- Whether there was no name yet.
function cursor.hasNoNames(frame)
  return frame.place == 0 and not frame.named and frame.length == nil
end

-- Sets an item by its name. Those that come in order take the place they'll have.
function cursor.setNamed(frame, name, value)
  local place = frame.place
  if name == numeral(place) then
    frame.place = place + 1
    frame.target[place + 1] = value
  elseif name == "length" then
    frame.length = value
  else
    frame.named = true
    frame.target[name] = value
  end
end

-- Gives all items their names. Of two with the same the last is kept.
local function nameAll(frame)
  local target = frame.target
  for place = 1, frame.place do
    local name = numeral(place - 1)
    if target[name] == nil then target[name] = target[place] end
    target[place] = nil
  end
  if frame.length ~= nil then target.length = frame.length end
end

-- The length of an array whose items all are named, when they are named "0" to "n-1".
local function namedLength(target)
  local count = 0
  for _ in next, target do count = count + 1 end
  if target.length ~= nil and target.length == count - 1 then count = count - 1 end
  for place = 0, count - 1 do
    if target[numeral(place)] == nil then return nil end
  end
  return count
end

-- Makes an array whose items were named a sequence, if it is one.
function cursor.endNamed(frame)
  local target, length = frame.target, frame.length
  if frame.named or length ~= nil and length ~= frame.place then
    nameAll(frame)
    local count = namedLength(target)
    if not count then return values.list(target) end
    target.length = nil
    for place = 0, count - 1 do
      local name = numeral(place)
      target[place + 1], target[name] = target[name], nil
    end
  end
  if next(target) == nil then values.list(target) end
end

-- Writing. There is one buffer, since nothing that is called meanwhile writes too.

local KEEP_BUFFER = 0x10000 -- what was larger is given back

local function writerPlace(w)
  local path = {"value"}
  for depth = 1, w.depth do
    local frame = w.frames[depth]
    local key = frame.key
    if key == nil and frame.place > 0 then key = frame.place end
    if key ~= nil then
      key = type(key) == "string" and isText(key, #key) ~= 0 and key or tostring(key)
      path[#path + 1] = "[" .. key:sub(1, 64):gsub("%c", "?") .. "]"
    end
  end
  return table.concat(path)
end

-- A writer into the buffer.
function cursor.writer(options)
  options = options or {}
  buffer:reset()
  return {
    where = writerPlace,
    frames = {[0] = false},
    top = false,
    depth = 0,
    maxDepth = options.depth or 32,
    size = options.size or 0x1000000,
    shared = options.references ~= false,
    indices = {}, -- of tables that were written, from 0
    markers = {}, -- which they were written behind
    count = 0,
  }
end

-- Everything in the buffer.
function cursor.written()
  local size = #buffer
  local bytes = buffer:get()
  if size > KEEP_BUFFER then buffer:free() end
  return bytes
end

-- Gives a large buffer back that was not written to its end.
function cursor.dropped()
  if #buffer > KEEP_BUFFER then buffer:free() end
end

function cursor.putU16(value)
  local to = buffer:reserve(2)
  to[0], to[1] = rshift(value, 8), band(value, 0xff)
  buffer:commit(2)
end

function cursor.putU32(value)
  local to = buffer:reserve(4)
  to[0], to[1] = rshift(value, 24), band(rshift(value, 16), 0xff)
  to[2], to[3] = band(rshift(value, 8), 0xff), band(value, 0xff)
  buffer:commit(4)
end

function cursor.putDouble(value)
  scratch.number = value
  local high = bigEndian(scratch.halves[HIGH])
  scratch.halves[1] = bigEndian(scratch.halves[LOW])
  scratch.halves[0] = high
  buffer:putcdata(scratch.bytes, 8)
end

function cursor.checkText(w, text)
  if isText(text, #text) == 0 then fail(w, "a string is not UTF-8 (bytes are amf.bytes)") end
end

-- A field of a date and the like, which its owner may have changed.
function cursor.field(w, value, name, kind)
  local field = value[name]
  if type(field) ~= kind then
    fail(w, ("the %s of this %s is no %s"):format(name, values.kind(value), kind))
  end
  return field
end

-- A key as the name of a member.
function cursor.nameOf(w, key)
  local kind = type(key)
  if kind == "string" then return key end
  if kind ~= "number" then fail(w, ("a %s can't be a key"):format(kind)) end
  return ("%.14g"):format(key)
end

-- The key after another, nil at the end. LuaJIT as of 2022 may read a key that is a number
-- again from where next had left it, when something else is there already; the sum is a
-- copy. For the same reason values are not taken from next, but read from the table.
local function nextKey(value, key)
  local found = next(value, key)
  if type(found) == "number" then return found + 0 end
  return found
end

cursor.nextKey = nextKey

-- How many items a table has when it is to be an array, otherwise nil.
function cursor.arrayLength(value)
  local count, last = 0, 0
  local key = nextKey(value)
  while key ~= nil do
    if type(key) ~= "number" or key < 1 or key % 1 ~= 0 then return nil end
    count = count + 1
    if key > last then last = key end
    key = nextKey(value, key)
  end
  if count == 0 or last > 64 and last > count * 4 then return nil end
  return last
end

-- How many items a marked array has at 1, 2, ..., and how many other keys.
function cursor.listLength(value)
  local length, keys = 0, 0
  while rawget(value, length + 1) ~= nil do length = length + 1 end
  for _ in next, value do keys = keys + 1 end
  return length, keys - length
end

-- Whether a key is of one of so many items.
function cursor.isItem(key, count)
  return type(key) == "number" and key >= 1 and key <= count and key % 1 == 0
end

-- Remembers a table. Returns its index and marker when it was written before.
function cursor.remember(w, value, marker)
  local index = w.indices[value]
  if index then return index, w.markers[value] end
  w.indices[value], w.markers[value] = w.count, marker
  w.count = w.count + 1
end

return cursor
