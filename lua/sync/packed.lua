--- Values as texts that lose nothing: for other nodes, and for what nodes share.
--
-- A value that JSON says in full is JSON, which other programs can read, too. Any other one (with
-- dates, bytes, numbers that are not finite or stand as keys, 64-bit integers, …) is a byte of 1,
-- and what string.buffer makes of the value, in which each table is a list: what the table is, and
-- its parts. Equal values are equal texts, where that is asked for.
--
-- What the tables of a format are is told by the format: `packed.add`.
-- @module sync.packed

local buffer = require "string.buffer"
local json = require "sync.json"
local listMark = require "sync.list".mark
local null = require "cjson".null

local packed = {
  --- What a text that isn't JSON begins with.
  MARK = "\1",
}

local MOST_DEPTH = 64
local MOST_VALUES = 1000000 -- a table that stands in two places counts, and is packed, twice

-- What tables are.
local OBJECT, LIST, MARKED, NAMED = 1, 2, 3, 4

-- By the name that is `amf` of their metatable: {take, make}.
local kinds = {}

--- Lets tables of a kind be packed.
-- @tparam string name what `amf` of their metatable is
-- @tparam function take returns the parts of one, among them no nil
-- @tparam function make makes one of the parts
function packed.add(name, take, make)
  kinds[name] = {take = take, make = make}
end

local function kindOf(value)
  local mark = getmetatable(value)
  return mark ~= listMark and type(mark) == "table" and rawget(mark, "amf") or nil
end

-- How many items a table has that is nothing but a list; nil if it is another.
local function lengthOf(value)
  local count = 0
  for key in pairs(value) do
    if type(key) ~= "number" then return nil end
    count = count + 1
  end
  for i = 1, count do
    if rawget(value, i) == nil then return nil end
  end
  if count == 0 and getmetatable(value) ~= listMark then return nil end
  return count
end

-- What is plain: what JSON says in full.

-- In the order of their keys, where equal values are to be equal texts.
local function sortedKeys(value)
  local keys = {}
  for key in pairs(value) do keys[#keys + 1] = key end
  table.sort(keys, function(a, b)
    local one, other = type(a), type(b)
    if one ~= other then return one < other end
    if one == "number" or one == "string" then return a < b end
    return tostring(a) < tostring(b)
  end)
  return keys
end

-- How many values are left, of MOST_VALUES, if a value is plain, but for strings, which the writer
-- of JSON looks at; else nil.
local function leftOfPlain(value, depth, left)
  local kind = type(value)
  if kind == "number" then return value - value == 0 and left - 1 or nil end
  if kind ~= "table" then
    return (kind == "string" or kind == "boolean" or value == null) and left - 1 or nil
  end
  if depth == 0 or left <= 0 or kindOf(value) then return nil end
  local isList = lengthOf(value) ~= nil
  for key, item in pairs(value) do
    if not isList and type(key) ~= "string" then return nil end
    left = leftOfPlain(item, depth - 1, left - 1)
    if not left then return nil end
  end
  return left
end

local function sortedJson(value)
  if type(value) ~= "table" then
    return json.encode(value == 0 and 0 or value) -- -0 is equal
  end
  local parts, count = {}, lengthOf(value)
  if count then
    for i = 1, count do
      local text, problem = sortedJson(rawget(value, i))
      if not text then return nil, problem end
      parts[i] = text
    end
    return "[" .. table.concat(parts, ",") .. "]"
  end
  for i, key in ipairs(sortedKeys(value)) do
    local name, item = json.encode(key), sortedJson(value[key])
    if not name or not item then return nil, "a string in it is not UTF-8" end
    parts[i] = name .. ":" .. item
  end
  return "{" .. table.concat(parts, ",") .. "}"
end

-- What isn't.

local function isScalar(value)
  local kind = type(value)
  if kind == "cdata" then return tostring(value):find("^%-?%d+U?LL$") ~= nil end
  return kind == "number" or kind == "string" or kind == "boolean" or value == null
end

local pack

local function packAll(state, depth, list, ...)
  for i = 1, select("#", ...) do list[#list + 1] = pack(state, (select(i, ...)), depth) end
  return list
end

local function packTable(state, value, depth)
  local known = kinds[kindOf(value)]
  if known then return packAll(state, depth, {kindOf(value)}, known.take(value)) end
  local isMarked, count = getmetatable(value) == listMark, lengthOf(value)
  local list = {count and (isMarked and MARKED or LIST) or isMarked and NAMED or OBJECT}
  if count then
    for i = 1, count do list[i + 1] = pack(state, rawget(value, i), depth) end
    return list
  end
  for _, key in ipairs(sortedKeys(value)) do
    if type(key) == "table" then error({problem = "a table can't be a key"}, 0) end
    list[#list + 1] = pack(state, key, depth)
    list[#list + 1] = pack(state, value[key], depth)
  end
  return list
end

-- A value, with lists in the place of tables.
function pack(state, value, depth)
  state.count = state.count + 1
  if state.count > MOST_VALUES then error({problem = "it has more than a million values"}, 0) end
  if isScalar(value) then
    if state.isSorted and type(value) == "number" and value == 0 then return 0 end -- -0 is equal
    return value
  end
  if type(value) ~= "table" then
    error({problem = ("a %s can't be told to others"):format(type(value))}, 0)
  end
  if depth == 0 then
    error({problem = ("tables are nested more than %d deep"):format(MOST_DEPTH)}, 0)
  end
  return packTable(state, value, depth - 1)
end

local unpackValue

local function unpackParts(list, from, to)
  local parts = {}
  for i = from, to do parts[#parts + 1] = unpackValue(list[i]) end
  return parts
end

function unpackValue(value)
  if type(value) ~= "table" then return value end
  local what, last = value[1], #value
  local known = kinds[what]
  if known then
    local parts = unpackParts(value, 2, last)
    return known.make(unpack(parts, 1, #parts))
  end
  if what == LIST or what == MARKED then
    local list = unpackParts(value, 2, last)
    return what == MARKED and setmetatable(list, listMark) or list
  end
  local object = {}
  for i = 2, last, 2 do object[unpackValue(value[i])] = unpackValue(value[i + 1]) end
  return what == NAMED and setmetatable(object, listMark) or object
end

--- A value as a text.
-- @param value not nil
-- @tparam[opt] boolean isSorted whether equal values are to be equal texts
-- @treturn string|nil or nil and why it can't be
function packed.encode(value, isSorted)
  if leftOfPlain(value, MOST_DEPTH, MOST_VALUES) then
    local text = (isSorted and sortedJson or json.encode)(value)
    if text then return text end
  end
  local ok, tree = pcall(pack, {count = 0, isSorted = isSorted}, value, MOST_DEPTH)
  if ok then return packed.MARK .. buffer.encode(tree) end
  if type(tree) ~= "table" then error(tree, 0) end
  return nil, tree.problem
end

--- What stands in the place of a value in a text that isn't JSON, as the value.
-- @param tree of what string.buffer has read
-- @raise when the tree is none
packed.restore = unpackValue

return packed
