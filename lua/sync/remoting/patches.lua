--- Patches as a client reads them, from bytes or from JSON: docs/state.md is the wire. What is
-- wrong with one is raised as a `refusal`, so that it can be told from a defect of this code.
--
-- Both forms make sections: `{table, kind, entries}` of entries `{number, key, mine, values}`,
-- where `values` are fields and their values, one after the other.
-- @module sync.remoting.patches

local bit = require "bit"

local patches = {}

local GONE, HIDDEN, NEW, SEEN, CHANGE = 0, 1, 2, 3, 4
patches.GONE, patches.NEW, patches.CHANGE = GONE, NEW, CHANGE

--- Whether a section of a kind holds entities that the member had not: new ones, or such as come
-- into sight.
local function isAdd(kind)
  return kind == NEW or kind == SEEN
end
patches.isAdd = isAdd

local MARK = 0xC1
local MOST_NUMBER = 1048575
local MOST = 2 ^ 53 - 1

local Refusal = {}
Refusal.__index = Refusal
function Refusal:__tostring() return self.why end

--- Raises a refusal, unless a condition holds.
function patches.demand(holds, why)
  if not holds then error(setmetatable({why = why}, Refusal), 0) end
  return holds
end

local demand = patches.demand

--- Whether an error is a refusal.
function patches.isRefusal(err)
  return getmetatable(err) == Refusal
end

-- Bytes.

local Reader = {}
Reader.__index = Reader

--- Reads bytes from their beginning: `byte`, `varint`, `zigzag`, `little`, `text`, `count`.
-- @raise a refusal, where they end too early
function patches.reader(bytes)
  return setmetatable({data = bytes, at = 1}, Reader)
end

function Reader:skip(count)
  local at = self.at
  demand(count <= #self.data - at + 1, "it ends within a value")
  self.at = at + count
  return at
end

function Reader:byte()
  return self.data:byte(self:skip(1))
end

function Reader:varint()
  local n, scale = 0, 1
  for _ = 1, 8 do
    local byte = self:byte()
    n = n + byte % 128 * scale
    if byte < 128 then return demand(n <= MOST and n, "a varint is beyond 2^53") end
    scale = scale * 128
  end
  return demand(false, "a varint is too long")
end

function Reader:zigzag()
  local n = self:varint()
  return n % 2 == 0 and n / 2 or -(n + 1) / 2
end

function Reader:little(count)
  local at, n = self:skip(count), 0
  for i = at + count - 1, at, -1 do n = n * 256 + self.data:byte(i) end
  return n
end

function Reader:text()
  local length = self:varint()
  local at = self:skip(length)
  return self.data:sub(at, at + length - 1)
end

-- How many follow, each of which takes a byte or more.
function Reader:count()
  local count = self:varint()
  return demand(count <= #self.data - self.at + 1 and count, "it says more than there is")
end

-- Types: `read` takes a value of bytes, `from` one of JSON, `first` makes the default.

local function zero() return 0 end

local function isNumber(value, low, high)
  return demand(type(value) == "number" and value >= low and value <= high and value,
    "a number is none, or beyond its type")
end

local function whole(low, high, read)
  return {
    first = zero,
    read = function(reader) return isNumber(read(reader), low, high) end,
    from = function(value)
      demand(isNumber(value, low, high) % 1 == 0, "a number is not whole")
      return value
    end,
  }
end

local function signed(count)
  local half = 2 ^ (8 * count - 1)
  return whole(-half, half - 1, function(reader)
    local n = reader:little(count)
    return n < half and n or n - 2 * half
  end)
end

local function unsigned(count)
  return whole(0, 256 ^ count - 1, function(reader) return reader:little(count) end)
end

local function finite(value)
  demand(type(value) == "number" and value - value == 0, "a number is none")
  return value
end

-- IEEE 754 by arithmetic: compiled code that took numbers from C's memory here has now and then
-- taken 7 for none.
local function float(bits, width)
  local implied, bias = 2 ^ bits, 2 ^ (width - 1) - 1
  local least = 1 - bias - bits
  return {first = zero, from = finite, read = function(reader)
    local low = width == 11 and reader:little(4) or 0
    local high = reader:little(4)
    local negative, rest = high >= 2 ^ 31, high % 2 ^ 31
    local n = width == 11 and rest % 2 ^ 20 * 2 ^ 32 + low or rest % implied
    local exponent = math.floor(rest / 2 ^ (31 - width))
    demand(exponent ~= 2 * bias + 1, "a number is none")
    if exponent > 0 then n, exponent = n + implied, exponent - 1 end
    n = math.ldexp(n, exponent + least)
    return negative and -n or n
  end}
end

local function text(value)
  return demand(type(value) == "string" and value, "a text is none")
end

local function items(value)
  return demand(type(value) == "table" and value, "a list is none")
end

local SCALARS = {
  bool = {
    first = function() return false end,
    read = function(reader)
      local byte = reader:byte()
      demand(byte < 2, "a bool is neither 0 nor 1")
      return byte == 1
    end,
    from = function(value)
      demand(type(value) == "boolean", "a bool is none")
      return value
    end,
  },
  int8 = signed(1), uint8 = unsigned(1), int16 = signed(2), uint16 = unsigned(2),
  int32 = whole(-2 ^ 31, 2 ^ 31 - 1, Reader.zigzag), uint32 = whole(0, 2 ^ 32 - 1, Reader.varint),
  float32 = float(23, 8), float64 = float(52, 11),
  string = {first = function() return "" end, read = Reader.text, from = text},
}

local KEYS = {
  integer = {read = Reader.zigzag, from = function(value)
    demand(isNumber(value, -MOST, MOST) % 1 == 0, "a key is not whole")
    return value
  end},
  string = {read = Reader.text, from = text},
}

local function fixed(min, max, step)
  local most = math.floor((max - min) / step + 0.5)
  local width = most < 2 ^ 8 and 1 or most < 2 ^ 16 and 2 or most < 2 ^ 24 and 3 or 4
  return {first = function() return min end, from = finite, read = function(reader)
    return min + isNumber(reader:little(width), 0, most) * step
  end}
end

local function newTable() return {} end

local function list(kind)
  return {
    first = newTable,
    read = function(reader)
      local values = {}
      for i = 1, reader:count() do values[i] = kind.read(reader) end
      return values
    end,
    from = function(value)
      local values = {}
      for i, each in ipairs(items(value)) do values[i] = kind.from(each) end
      return values
    end,
  }
end

local function map(keys, kind)
  return {
    first = newTable,
    read = function(reader)
      local values = {}
      for _ = 1, reader:count() do
        local key = keys.read(reader)
        values[key] = kind.read(reader)
      end
      return values
    end,
    from = function(value)
      local values = {}
      for _, pair in ipairs(items(value)) do
        values[keys.from(items(pair)[1])] = kind.from(pair[2])
      end
      return values
    end,
  }
end

local function record(fields)
  local function made(valueOf)
    local values = {}
    for _, field in ipairs(fields) do values[field.name] = valueOf(field) end
    return values
  end
  return {
    first = function() return made(function(field) return field.kind.first() end) end,
    read = function(reader) return made(function(field) return field.kind.read(reader) end) end,
    from = function(value)
      items(value)
      return made(function(field) return field.kind.from(value[field.name]) end)
    end,
  }
end

local kindOf, keysOf

--- Fields as they are declared: `{{name, type}, …}`.
-- @treturn table `{{name, kind}, …}`
-- @raise a text, for types that this client doesn't know
function patches.fields(declared)
  local fields = {}
  for i, field in ipairs(declared or {}) do
    fields[i] = {name = field[1], kind = kindOf(field[2])}
  end
  return fields
end

local COMPOUNDS = {
  fixed = function(kind) return fixed(kind[2], kind[3], kind[4]) end,
  list = function(kind) return list(kindOf(kind[2])) end,
  map = function(kind) return map(keysOf(kind[2]), kindOf(kind[3])) end,
  record = function(kind) return record(patches.fields(kind[2])) end,
}

function kindOf(declared)
  local compound = type(declared) == "table" and COMPOUNDS[declared[1]]
  if compound then return compound(declared) end
  return SCALARS[declared] or
    error("the room has a type that this client doesn't know: " .. tostring(declared), 0)
end

function keysOf(declared)
  return KEYS[declared] or
    error("the room has keys that this client doesn't know: " .. tostring(declared), 0)
end

--- How the keys of a table are read; nil for the state's own fields.
function patches.keys(declared)
  return declared and keysOf(declared)
end

-- The binary form.

-- Adds to `values` a field and its value for each bit that is set but the first. Returns
-- whether that is.
local function readFields(reader, fields, values)
  local last = bit.rshift(#fields, 3)
  local start = reader:skip(last + 1)
  for i = 0, last do
    local bits = reader.data:byte(start + i)
    for j = i == 0 and 1 or 0, 7 do
      if bit.band(bits, bit.lshift(1, j)) ~= 0 then
        local field = demand(fields[i * 8 + j], "a bit stands for no field")
        values[#values + 1] = field
        values[#values + 1] = field.kind.read(reader)
      end
    end
  end
  return reader.data:byte(start) % 2 == 1
end

local function readEntry(reader, shape, kind, number)
  local entry = {number = number}
  if kind < NEW then return entry end
  if isAdd(kind) then entry.key = shape.keyKind and shape.keyKind.read(reader) or "" end
  local values = {}
  entry.values = values
  if readFields(reader, shape.fields, values) then
    local before = #values
    entry.mine = readFields(reader, shape.private, values)
    demand(entry.mine or kind == CHANGE and #values == before,
      "private fields of an entity that is another's")
  end
  return entry
end

local function readSection(reader, tables, head)
  local index, kind = math.floor(head / 8), head % 8
  local shape = demand(tables[index], "there is no such table")
  demand(kind <= CHANGE, "there is no such kind of section")
  local count, number, entries = reader:count(), -1, {}
  demand(count > 0, "a section is empty")
  for i = 1, count do
    number = number + reader:varint() + 1
    demand(number <= MOST_NUMBER, "an entity's number is too large")
    entries[i] = readEntry(reader, shape, kind, number)
  end
  return {table = index, kind = kind, entries = entries}
end

local function readSections(patch, tables)
  local reader, sections, before = patch.reader, {}, -1
  while reader.at <= #reader.data do
    local head = reader:varint()
    demand(head > before, "sections do not ascend")
    before = head
    sections[#sections + 1] = readSection(reader, tables, head)
  end
  return sections
end

--- Reads the begin of a patch.
-- @tparam string bytes
-- @treturn table `{room, epoch, tick, input, snapshot, sections}`; `sections(patch, tables)`
-- reads the rest
-- @raise a refusal
function patches.ofBytes(bytes)
  local reader = patches.reader(bytes)
  demand(reader:byte() == MARK, "it begins with another byte")
  local flags = reader:byte()
  demand(flags < 2, "there is an unknown flag")
  return {snapshot = flags == 1, room = reader:varint(), epoch = reader:varint(),
    tick = reader:varint(), input = reader:varint(), reader = reader, sections = readSections}
end

-- JSON.

local KINDS = {{"gone", GONE}, {"hidden", HIDDEN}, {"new", NEW}, {"seen", SEEN},
  {"change", CHANGE}}

local function isNatural(value)
  return type(value) == "number" and value >= 0 and value <= MOST and value % 1 == 0
end

local function valuesOf(shape, fields)
  local values = {}
  for name, value in pairs(items(fields)) do
    local field = demand(shape.byName[name], "there is no such field")
    values[#values + 1] = field
    values[#values + 1] = field.kind.from(value)
  end
  return values
end

local function entryOf(shape, kind, one)
  if kind < NEW then
    demand(isNatural(one) and one <= MOST_NUMBER, "a number is none")
    return {number = one}
  end
  local at = isAdd(kind) and 3 or 2
  local number, mine = items(one)[1], one[at + 1]
  demand(isNatural(number) and number <= MOST_NUMBER, "a number is none")
  demand(mine == nil or type(mine) == "boolean", "true or false is neither")
  local key
  if isAdd(kind) then key = shape.keyKind and shape.keyKind.from(one[2]) or "" end
  return {number = number, key = key, mine = mine, values = valuesOf(shape, one[at])}
end

local function sectionsOf(patch, tables)
  local sections, indices = {}, {}
  for i = 0, #tables do indices[tables[i].name] = i end
  for _, pair in ipairs(KINDS) do
    for name, list_ in pairs(items(patch.object[pair[1]] or {})) do
      local index = demand(indices[name], "there is no such table")
      local entries = {}
      for i, one in ipairs(items(list_)) do entries[i] = entryOf(tables[index], pair[2], one) end
      sections[#sections + 1] = {table = index, kind = pair[2], entries = entries}
    end
  end
  return sections
end

--- The same of a patch in JSON.
-- @tparam table object
function patches.ofObject(object)
  demand(type(object) == "table", "it is no object")
  for _, name in ipairs {"room", "epoch", "tick", "input"} do
    demand(isNatural(object[name]), name .. " is no number")
  end
  return {room = object.room, epoch = object.epoch, tick = object.tick, input = object.input,
    snapshot = object.snapshot == true, object = object, sections = sectionsOf}
end

return patches
