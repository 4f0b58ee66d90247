--- A state as bytes, which a fresh room begins with: all that is declared, `server` fields too, and
-- who owns what, by the members' ids.
--
--     local bytes = saved.write(state, {tick = 71})
--     local ok, extra = saved.read(other, bytes, function(id) return members[id] end)
--
-- Fields are found by their names, so a state may be read by a later version of its script: what is
-- not declared any more is dropped, what is new has its default, and a value that its field can't
-- have any more is dropped, too. Numbers are kept as handlers have them, not as they are sent.
-- Of a field of any value (`sync.server "any"`), booleans, numbers, strings and tables of these are
-- kept; all else is lost: functions, members, entities.
-- @module sync.state.saved

local Map = require "sync.state.map"
local Record = require "sync.state.record"
local bytes = require "sync.state.bytes"
local cjson = require "cjson"
local core = require "sync.core"
local log = require "sync.log"
local patches = require "sync.remoting.patches"

local saved = {}

local MARK, VERSION = 0xC3, 1
local MOST_DEPTH = 16 -- of tables in a value
local varint, text = bytes.varint, bytes.text
local demand = patches.demand

-- Any value of Lua. What can't be kept is nil.

local NIL, FALSE, TRUE, NUMBER, TEXT, TABLE = 0, 1, 2, 3, 4, 5

local writeValue

local function writeTable(value, depth)
  if depth == 0 then return nil end
  local parts, count = {}, 0
  for key, one in pairs(value) do
    local first, second = writeValue(key, depth - 1), writeValue(one, depth - 1)
    if first and second then
      count = count + 1
      parts[#parts + 1] = first .. second
    end
  end
  return string.char(TABLE) .. varint(count) .. table.concat(parts)
end

function writeValue(value, depth)
  local kind = type(value)
  if kind == "nil" then return string.char(NIL) end
  if kind == "boolean" then return string.char(value and TRUE or FALSE) end
  if kind == "number" then return string.char(NUMBER) .. core.doubles(value) end
  if kind == "string" then return string.char(TEXT) .. text(value) end
  if kind == "table" and not getmetatable(value) then return writeTable(value, depth) end
  return nil
end

local function readValue(reader, depth)
  local kind = reader:byte()
  if kind == NIL then return nil end
  if kind == FALSE or kind == TRUE then return kind == TRUE end
  if kind == NUMBER then return core.toDouble(reader.data, reader:skip(8)) end
  if kind == TEXT then return reader:text() end
  demand(kind == TABLE and depth > 0, "a value is none")
  local value = {}
  for _ = 1, reader:count() do
    local key = readValue(reader, depth - 1)
    demand(key ~= nil and key == key, "a key is none")
    value[key] = readValue(reader, depth - 1)
  end
  return value
end

-- Fields. Numbers come first, all at once; then the others.

local function split(shape)
  local numbers, others = {}, {}
  for _, field in ipairs(shape.fields) do
    local list = field.type.isNumber and numbers or others
    list[#list + 1] = field
  end
  return numbers, others
end

-- What a field is, for the one that reads it.
local function describe(field)
  local kind = field.type
  return {field.name, kind.kind == "any" and "any" or kind.told}
end

local function describeAll(list)
  local told = {}
  for i, field in ipairs(list) do told[i] = describe(field) end
  return told
end

local function writeOther(p, side, field)
  local kind = field.type.kind
  if kind == "string" then return text(p[field.name]) end
  if kind == "any" then
    local written = writeValue(side.values[field.name], MOST_DEPTH)
    if not written then
      log.limited("warn", "saved " .. field.path, field.path ..
        " has a value that can't be kept: it will be lost with the room's home")
    end
    return written or string.char(NIL)
  end
  local inner = side.inner[field.name]
  return text(field.type.write(inner and inner.items or {}))
end

local function writeFields(p, numbers, others, buffer)
  local side = Record.side(p)
  local parts = {}
  for i = 1, #numbers do
    local value = p[numbers[i].name]
    parts[i] = tonumber(value) or value and 1 or 0
  end
  buffer[#buffer + 1] = core.doubles(unpack(parts))
  for i = 1, #others do buffer[#buffer + 1] = writeOther(p, side, others[i]) end
end

local function writeMap(map, shape, buffer)
  local numbers, others = split(shape)
  buffer[#buffer + 1] = varint(map:count())
  for key, p in Map.methods.each(map) do
    buffer[#buffer + 1] = shape.keys == "integer" and bytes.zigzag(key) or text(key)
    local owner = p.owner
    buffer[#buffer + 1] = varint(owner and owner.id or 0)
    writeFields(p, numbers, others, buffer)
  end
end

local function header(schema)
  local told = {}
  for i, shape in ipairs {schema.root, unpack(schema.maps)} do
    local numbers, others = split(shape)
    told[i] = {name = shape.name, keys = shape.keys, numbers = describeAll(numbers),
      others = describeAll(others)}
  end
  return text(cjson.encode(told))
end

--- Makes bytes of a state.
-- @tparam State state
-- @param[opt] extra a value that `read` gives back: booleans, numbers, strings, tables of these
-- @treturn string
function saved.write(state, extra)
  local buffer = {string.char(MARK, VERSION), header(state.schema),
    writeValue(extra, MOST_DEPTH) or string.char(NIL)}
  local numbers, others = split(state.schema.root)
  writeFields(state.root, numbers, others, buffer)
  for index, shape in ipairs(state.schema.maps) do writeMap(state.maps[index], shape, buffer) end
  return table.concat(buffer)
end

-- Reading.

-- How to read what a field was: a function of the reader.
local function readerOf(told)
  if told[2] == "any" then return function(reader) return readValue(reader, MOST_DEPTH) end end
  if told[2] == "string" then return function(reader) return reader:text() end end
  local kind = patches.fields({told})[1].kind
  return function(reader)
    local inner = patches.reader(reader:text())
    local value = kind.read(inner)
    demand(inner.at == #inner.data + 1, "a list or a map has more bytes than it says")
    return value
  end
end

local function put(p, shape, name, value)
  local field = shape and shape.byName[name]
  if not field or value == nil then return end
  if field.type.kind == "bool" and type(value) == "number" then value = value ~= 0 end
  local ok, problem = pcall(function() p[name] = value end)
  if not ok then
    log.limited("warn", "saved " .. field.path, "a value that was kept is dropped: " ..
      tostring(problem))
  end
end

local function readFields(reader, p, shape, told)
  local at = reader:skip(8 * #told.numbers)
  for i, one in ipairs(told.numbers) do
    put(p, shape, one[1], core.toDouble(reader.data, at + 8 * (i - 1)))
  end
  for i, one in ipairs(told.others) do put(p, shape, one[1], told.readers[i](reader)) end
end

local function readMap(reader, map, shape, told, ownerOf)
  for _ = 1, reader:count() do
    local key = told.keys == "integer" and reader:zigzag() or reader:text()
    local owner = reader:varint()
    local p = {} -- of a map that is declared no more
    if map then
      map[key] = {}
      p = map:get(key)
      local member = owner > 0 and ownerOf and ownerOf(owner)
      if member then p.owner = member end
    end
    readFields(reader, p, shape, told)
  end
end

local function readHeader(reader)
  demand(reader:byte() == MARK and reader:byte() == VERSION, "this is no state that was kept")
  local ok, list = pcall(cjson.decode, reader:text())
  demand(ok and type(list) == "table" and type(list[1]) == "table", "its declaration can't be read")
  for _, told in ipairs(list) do
    demand(type(told) == "table" and type(told.numbers) == "table" and
      type(told.others) == "table", "its declaration can't be read")
    told.readers = {}
    for i, one in ipairs(told.others) do
      local made, reads = pcall(readerOf, one)
      demand(made, "its declaration can't be read")
      told.readers[i] = reads
    end
  end
  return list
end

local function read(state, given, ownerOf)
  local reader = patches.reader(given)
  local list = readHeader(reader)
  local extra = readValue(reader, MOST_DEPTH)
  local byName = {}
  for index, shape in ipairs(state.schema.maps) do byName[shape.name] = index end
  readFields(reader, state.root, state.schema.root, list[1])
  for i = 2, #list do
    local index = byName[list[i].name]
    local shape = index and state.schema.maps[index]
    if shape and shape.keys ~= list[i].keys then index, shape = nil, nil end
    readMap(reader, index and state.maps[index], shape, list[i], ownerOf)
  end
  demand(reader.at == #given + 1, "there is more than it says")
  return extra
end

--- The `extra` of bytes, before a state is filled with them.
-- @tparam string given what `write` has made
-- @treturn any|nil nil: they can't be read
-- @treturn nil|string why
function saved.extra(given)
  local ok, extra = pcall(function()
    local reader = patches.reader(given)
    readHeader(reader)
    return readValue(reader, MOST_DEPTH)
  end)
  if ok then return extra end
  return nil, tostring(extra)
end

--- Fills a state that has nothing yet.
-- @tparam State state
-- @tparam string given what `write` has made
-- @tparam[opt] function ownerOf called with a member's id, for the member, or nil
-- @treturn true|nil nil when it can't be read; then the state has a part of it
-- @return `extra`, or why
function saved.read(state, given, ownerOf)
  local ok, extra = pcall(read, state, given, ownerOf)
  if ok then return true, extra end
  return nil, tostring(extra)
end

return saved
