--- Values of Flash that Lua has no type of its own for: what users know as `sync.amf`.
--
-- AMF0 and AMF3 are Adobe's two binary formats of ActionScript's values, which
-- `sync.flash.amf0` and `sync.flash.amf3` read and write. Both map them alike:
--
-- - null and undefined are `cjson.null` (`sync.null`); nil is written as null.
-- - A text is a string in UTF-8. A string that is not is a problem in either direction:
--   were it written as bytes, the client would get another type, depending on the content.
--   Bytes are `amf.bytes`.
-- - An array is a table from 1 on. So is an associative array whose keys are "0" to "n-1",
--   with or without a "length" that is n, in any order, for that is how players send plain
--   arrays too. Any other array is a table with strings for keys ("0" is the first), marked
--   by `amf.list` (`sync.list`); so is an empty one, since an empty table is written as an
--   object.
-- - An object is a table with strings for keys; one of a class is `amf.typed`.
-- - Flex's `ArrayCollection`, `ArrayList` and `ObjectProxy` wrap one value: `collection.value`.
--
-- A table whose keys are whole numbers from 1 on is written as an array, holes as null,
-- unless it has more than 64 places and three quarters of them are holes. Any other table
-- is written as an object, numbers among its keys as text: the same rules as for JSON.
-- @module sync.flash.values

local null = require "cjson".null
local packed = require "sync.packed"
local List = require "sync.list".mark

local values = {null = null}

-- Each has a metatable, whose `amf` says what it is.

local Dictionary = {amf = "dictionary"}
local Date, Xml, Bytes = {amf = "date"}, {amf = "xml"}, {amf = "bytes"}
Date.__index, Xml.__index, Bytes.__index = Date, Xml, Bytes

-- Metatables by class name, while there are objects of it: the names come from clients.
local classes = setmetatable({}, {__mode = "v"})
local vectors = setmetatable({}, {__mode = "v"})

local function isTable(value, call)
  if type(value) ~= "table" then
    error(("%s: it takes a table, not %s"):format(call, type(value)), 3)
  end
  return value
end

local function isString(value, call)
  if type(value) ~= "string" then
    error(("%s: it takes a string, not %s"):format(call, type(value)), 3)
  end
  return value
end

--- The metatable of the objects of a class.
function values.classMark(name)
  local mark = classes[name]
  if not mark then
    mark = {amf = "typed", className = name}
    classes[name] = mark
  end
  return mark
end

--- The metatable of the vectors of a kind.
function values.vectorMark(kind, fixed, className)
  local key = kind .. (fixed and " fixed " or " ") .. className
  local mark = vectors[key]
  if not mark then
    mark = {amf = "vector", kind = kind, fixed = fixed, className = className}
    mark.__index = mark
    vectors[key] = mark
  end
  return mark
end

-- Externalizable classes write themselves, and only their programs can read them; these of Flex
-- write one value each.
local externals = {}
for _, name in ipairs {"ArrayCollection", "ArrayList", "ObjectProxy"} do
  local class = "flex.messaging.io." .. name
  externals[class] = {amf = "external", className = class}
end

--- The metatable of the objects of an externalizable class, or nil when it is not known.
function values.externalMark(name)
  return externals[name]
end

--- Marks a table as an array, whatever it holds: what is at 1, 2, ... are its items, other
-- keys are the names of an associative array.
-- @tparam[opt={}] table items
-- @treturn table the same table
function values.list(items)
  return setmetatable(isTable(items or {}, "amf.list(items)"), List)
end

--- Makes a table an object of a class.
-- @tparam string className as in ActionScript's `registerClassAlias`
-- @tparam[opt={}] table fields
-- @treturn table the same table
function values.typed(className, fields)
  if isString(className, "amf.typed(className, fields)") == "" then
    error("amf.typed(className, fields): the name is empty", 2)
  end
  return setmetatable(isTable(fields or {}, "amf.typed(className, fields)"),
    values.classMark(className))
end

--- What a value of AMF is.
-- @treturn string|nil "list", "typed", "external", "dictionary", "vector", "date", "xml" or
-- "bytes"; nil of all others
function values.kind(value)
  local mark = type(value) == "table" and getmetatable(value)
  return type(mark) == "table" and rawget(mark, "amf") or nil
end

local kindOf = values.kind

--- The class name of an object, or of the items of a vector of objects.
-- @treturn string|nil
function values.className(value)
  local kind = kindOf(value)
  local named = kind == "typed" or kind == "vector" or kind == "external"
  local name = named and getmetatable(value).className
  return name and name ~= "" and name or nil
end

--- Wraps a table from 1 on in Flex's `ArrayCollection`, which AMF0 has not: `collection.value`.
-- @tparam[opt={}] table items
function values.collection(items)
  return setmetatable({value = isTable(items or values.list(), "amf.collection(items)")},
    externals["flex.messaging.io.ArrayCollection"])
end

--- Wraps an object in Flex's `ObjectProxy`, which AMF0 has not: `proxy.value`.
-- @tparam[opt={}] table object
function values.proxy(object)
  return setmetatable({value = isTable(object or {}, "amf.proxy(object)")},
    externals["flex.messaging.io.ObjectProxy"])
end

--- A moment: `date.milliseconds` since 1970, in UTC. AMF0's time zone, which players set to
-- 0, is not kept. NaN is what ActionScript calls an invalid date.
-- @tparam number milliseconds
-- @treturn table a value whose tostring is as in "2012-05-11T09:30:00.250Z"
function values.date(milliseconds)
  if type(milliseconds) ~= "number" then
    error("amf.date(milliseconds): it takes a number, not " .. type(milliseconds), 2)
  end
  return setmetatable({milliseconds = milliseconds}, Date)
end

local DATE_RANGE = 8.64e15 -- ActionScript's dates end there

function Date:__tostring()
  local time = self.milliseconds
  if time ~= time or math.abs(time) > DATE_RANGE then return "invalid date" end
  local seconds = math.floor(time / 1000)
  return ("%s.%03dZ"):format(os.date("!%Y-%m-%dT%H:%M:%S", seconds), time - seconds * 1000)
end

--- XML, unparsed: `xml.text` and `xml.kind`.
-- @tparam string text
-- @tparam[opt="document"] string kind "document" (`XMLDocument`, ActionScript 2's `XML`) or
-- "e4x" (ActionScript 3's `XML`; AMF0 knows only documents)
function values.xml(text, kind)
  kind = kind or "document"
  if kind ~= "document" and kind ~= "e4x" then
    error('amf.xml(text, kind): the kind is "document" or "e4x"', 2)
  end
  return setmetatable({text = isString(text, "amf.xml(text, kind)"), kind = kind}, Xml)
end

function Xml:__tostring() return self.text end

--- A `ByteArray`, which AMF0 has not: `bytes.data`, or tostring.
-- @tparam string data
function values.bytes(data)
  return setmetatable({data = isString(data, "amf.bytes(data)")}, Bytes)
end

function Bytes:__tostring() return self.data end

local VECTORS = {int = true, uint = true, double = true, object = true}

--- Makes a table from 1 on a `Vector`, which AMF0 has not. It can be asked for its `kind`
-- and whether it is `fixed`.
-- @tparam string kind "int", "uint", "double" or "object"
-- @tparam[opt={}] table items
-- @tparam[opt=false] boolean fixed whether its length is fixed at the client
-- @tparam[opt=""] string className of a vector of objects
-- @treturn table the same table
function values.vector(kind, items, fixed, className)
  if not VECTORS[kind] then
    error('amf.vector(kind, items): the kind is "int", "uint", "double" or "object"', 2)
  end
  return setmetatable(isTable(items or {}, "amf.vector(kind, items)"),
    values.vectorMark(kind, not not fixed, className or ""))
end

--- Makes a table a `Dictionary`, which AMF0 has not: its keys keep their types, and tables
-- are keys by identity. Whether the client holds keys weakly is not kept.
-- @tparam[opt={}] table entries
-- @treturn table the same table
function values.dictionary(entries)
  return setmetatable(isTable(entries or {}, "amf.dictionary(entries)"), Dictionary)
end

-- How they travel between nodes: see lua/sync/packed.lua.

local function plain(value)
  local copy = {}
  for key, item in pairs(value) do copy[key] = item end
  return copy
end

packed.add("date", function(date) return date.milliseconds end, values.date)
packed.add("bytes", function(bytes) return bytes.data end, values.bytes)
packed.add("xml", function(xml) return xml.text, xml.kind end, values.xml)
packed.add("typed", function(object)
  return getmetatable(object).className, plain(object)
end, values.typed)
packed.add("vector", function(vector)
  return vector.kind, vector.fixed, vector.className, plain(vector)
end, function(kind, fixed, className, items)
  return values.vector(kind, items, fixed, className)
end)
packed.add("dictionary", function(dictionary)
  local list = {}
  for key, value in pairs(dictionary) do list[#list + 1], list[#list + 2] = key, value end
  return list
end, function(list)
  local entries = {}
  for i = 1, #list, 2 do entries[list[i]] = list[i + 1] end
  return values.dictionary(entries)
end)
packed.add("external", function(object)
  return getmetatable(object).className, object.value == nil and null or object.value
end, function(name, value)
  return setmetatable({value = value}, externals[name])
end)

return values
