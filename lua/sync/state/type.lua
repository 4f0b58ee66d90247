--- What fields of a state may hold: declarations, and values as bytes.
--
-- A declaration is a name ("float32"), or what `fixed`, `list` and `map` make; `server` and
-- `private` say who gets it. It becomes a *type*: its `code` for the core (src/state/type.h),
-- its `default`, its form in the declaration that clients get (`told`), and `write`, which
-- makes bytes of a value of a list or a map.
-- @module sync.state.type

local bytes = require "sync.state.bytes"
local core = require "sync.core"

local floor = math.floor

local types = {
  --- Bytes of a string, and how many values a list or a map may have.
  MOST_STRING = 4096,
  MOST_VALUES = 256,
}

local Declaration = {}
Declaration.__index = Declaration

local Type = {}
Type.__index = Type

local function declare(kind, fields)
  fields.kind = kind
  return setmetatable(fields, Declaration)
end

local function isDeclaration(value)
  return getmetatable(value) == Declaration
end

--- A number from min to max in steps: it takes as few bytes as can hold their count.
-- @tparam number min
-- @tparam number max
-- @tparam number step
-- @usage aim = sync.fixed(0, 360, 0.5)
function types.fixed(min, max, step)
  local steps = type(min) == "number" and type(max) == "number" and type(step) == "number" and
    floor((max - min) / step + 0.5)
  if not steps or not (step > 0 and steps >= 1 and steps < 2 ^ 32) then
    error("sync.fixed(min, max, step): three numbers, with 1 to 2^32 - 1 steps from min to max", 2)
  end
  return declare("fixed", {min = min, max = max, step = step})
end

--- A list of values of one type: a name, `fixed`, or a record, `{name = type, …}`.
-- @param of the type
-- @tparam[opt] table options `most`: how many it may have (256)
function types.listOf(of, options)
  return declare("list", {of = of, most = options and options.most or types.MOST_VALUES})
end

--- A map. Of records in the state itself, it's one of entities, each of which is sent when it
-- changes; elsewhere, and of other types, it's a value, sent whole.
-- @param of the type
-- @tparam[opt] table options `keys`: "integer", the default, or "string"; `most`: how many it
-- may have (256, and of entities 10,000); of entities: `sees`, which may be `sync.near`, "shown",
-- or a function of member and entity, asked `rate` times a second (4), and at most `budget`
-- times in a patch (2,000)
function types.map(of, options)
  options = options or {}
  if options.keys and options.keys ~= "integer" and options.keys ~= "string" then
    error(('sync.map(type, options): keys are "integer" or "string", not %s')
      :format(tostring(options.keys)), 2)
  end
  return declare("map", {of = of, keys = options.keys or "integer", options = options,
    most = options.most or types.MOST_VALUES})
end

--- A field that is never sent: a name of a type, or "any" for any value of Lua.
function types.server(of)
  return declare("server", {of = of})
end

--- A field that the entity's owner alone is sent.
function types.private(of)
  return declare("private", {of = of})
end

--- Whom a member sees: what is at most so far from what it owns, or from where `room:look` has
-- it look.
-- @tparam number distance
-- @tparam[opt] table options `x` and `y`: the names of fields ("x", "y")
function types.near(distance, options)
  if type(distance) ~= "number" or not (distance > 0 and distance < math.huge) then
    error("sync.near(distance): the distance must be a number above 0", 2)
  end
  return declare("near", {distance = distance, x = options and options.x or "x",
    y = options and options.y or "y"})
end

-- Numbers and strings, by the places that they have in enum type_kind.
local NAMES = {"bool", "int8", "uint8", "int16", "uint16", "int32", "uint32", "float32", "float64",
  "fixed", "string", "list", "map", "record"}
local KINDS, KEYS = {}, {integer = 1, string = 2}
for i, name in ipairs(NAMES) do KINDS[name] = i - 1 end

-- How unlike two names are: what must be put in, taken out or changed.
local function distance(a, b)
  local row = {}
  for j = 0, #b do row[j] = j end
  for i = 1, #a do
    local diagonal = row[0]
    row[0] = i
    for j = 1, #b do
      local changed = diagonal + (a:byte(i) == b:byte(j) and 0 or 1)
      diagonal = row[j]
      row[j] = math.min(changed, row[j] + 1, row[j - 1] + 1)
    end
  end
  return row[#b]
end

--- The name of a table's keys that is the most like one that isn't there, for an error: " (did
-- you mean …?)", or "".
function types.nearest(name, names)
  local best, least = nil, 1 + #tostring(name) / 2
  for other in pairs(names) do
    local unlike = distance(tostring(name), tostring(other))
    if unlike < least or unlike == least and best and other < best then
      best, least = other, unlike
    end
  end
  return best and (" (did you mean %s?)"):format(best) or ""
end

-- Values as bytes.

local char, concat = string.char, table.concat
local varint, zigzag, little = bytes.varint, bytes.zigzag, bytes.little

-- Bounds, and bytes or a way to write.
local WHOLE = {
  int8 = {-2 ^ 7, 2 ^ 7 - 1, 1}, uint8 = {0, 2 ^ 8 - 1, 1},
  int16 = {-2 ^ 15, 2 ^ 15 - 1, 2}, uint16 = {0, 2 ^ 16 - 1, 2},
  int32 = {-2 ^ 31, 2 ^ 31 - 1, zigzag}, uint32 = {0, 2 ^ 32 - 1, varint},
}
local FLOATS = {float32 = 3.4028234663852886e38, float64 = 1.7976931348623157e308}

local function clamp(value, min, max, default)
  if value ~= value then return default end
  return math.min(math.max(value, min), max)
end

local function isNumber(value)
  if type(value) ~= "number" then return "a number" end
end

local function isBoolean(value)
  if type(value) ~= "boolean" then return "true or false" end
end

-- What a string should have been, or nil if it is that.
local function isString(value)
  if type(value) ~= "string" then return "a string" end
  if #value > types.MOST_STRING then
    return ("a string of at most %d bytes"):format(types.MOST_STRING)
  end
  if not core.isText(value) then return "a string in UTF-8" end
end
types.isString = isString

local function wholeType(name)
  local min, max, how = unpack(WHOLE[name])
  return {check = isNumber, default = 0, write = function(value)
    value = floor(clamp(value, min, max, 0) + 0.5)
    if type(how) == "function" then return how(value) end
    return little(value % 256 ^ how, how)
  end}
end

local function fixedType(of)
  local steps = floor((of.max - of.min) / of.step + 0.5)
  local width = steps < 2 ^ 8 and 1 or steps < 2 ^ 16 and 2 or steps < 2 ^ 24 and 3 or 4
  return {check = isNumber, default = of.min, told = {"fixed", of.min, of.max, of.step},
    code = core.doubles(of.min, of.max, of.step), write = function(value)
      value = clamp(value, of.min, of.max, of.min)
      return little(math.min(floor((value - of.min) / of.step + 0.5), steps), width)
    end}
end

local function scalar(name)
  if WHOLE[name] then return wholeType(name) end
  if FLOATS[name] then
    local most = FLOATS[name]
    return {check = isNumber, default = 0, write = function(value)
      value = clamp(value, -most, most, 0) + 0
      return name == "float32" and core.float(value) or core.doubles(value)
    end}
  elseif name == "bool" then
    return {check = isBoolean, default = false,
      write = function(value) return value and "\1" or "\0" end}
  elseif name == "string" then
    return {check = isString, default = "", write = function(value)
      return varint(#value) .. value
    end}
  end
end

local function finish(kind, made)
  made.kind = kind
  made.told = made.told or kind
  made.code = char(KINDS[kind]) .. (made.code or "")
  made.isNumber = KINDS[kind] < KINDS.string
  return setmetatable(made, Type)
end

-- What is in lists, maps and records: `where` is the field, for errors.
local inner

-- Names in order: each place has the same, whatever the table says.
local function sorted(names)
  local list = {}
  for name in pairs(names) do
    if type(name) ~= "string" or not name:find("^[%a_][%w_]*$") or #name > 64 then
      error(("the name %s: it has letters, digits and _, and 64 of them at most")
        :format(tostring(name)), 0)
    end
    list[#list + 1] = name
  end
  table.sort(list)
  return list
end
types.sorted = sorted

local function frozen(fields)
  return setmetatable({}, {__index = fields, __newindex = function(_, name)
    error(("%s: a record in a list or a map can't be changed: set it anew"):format(name), 2)
  end})
end

local function recordType(of, where)
  local fields, names, told, code = {}, sorted(of), {}, {}
  if #names == 0 or #names > 32 then
    error(("%s: a record in it has 1 to 32 fields"):format(where), 0)
  end
  for i, name in ipairs(names) do
    local field = inner(of[name], where .. "." .. name)
    fields[name], told[i] = field, {name, field.told}
    code[i] = char(#name) .. name .. field.code
  end
  local made = {told = {"record", told}, code = char(#names) .. concat(code)}
  function made.check(value)
    if type(value) ~= "table" then return "a table" end
    for name in pairs(value) do
      if not fields[name] then
        return ("a record without %s%s"):format(tostring(name), types.nearest(name, fields))
      end
    end
    for _, name in ipairs(names) do
      local wanted = value[name] ~= nil and fields[name].check(value[name])
      if wanted then return ("a record whose %s is %s"):format(name, wanted) end
    end
  end
  function made.write(value)
    local parts = {}
    for i, name in ipairs(names) do
      local part = value[name]
      if part == nil then part = fields[name].default end
      parts[i] = fields[name].write(part)
    end
    return concat(parts)
  end
  -- What is kept: whoever has given it may go on with the table.
  function made.keep(value)
    local copy = {}
    for _, name in ipairs(names) do
      copy[name] = value[name]
      if copy[name] == nil then copy[name] = fields[name].default end
    end
    return frozen(copy)
  end
  return finish("record", made)
end

function inner(of, where, mayBeRecord)
  if type(of) == "string" then
    local made = scalar(of)
    if made then return finish(of, made) end
    error(("%s: there is no type %q%s"):format(where, of, types.nearest(of, KINDS)), 0)
  elseif isDeclaration(of) and of.kind == "fixed" then
    return finish("fixed", fixedType(of))
  elseif mayBeRecord and type(of) == "table" and not isDeclaration(of) then
    return recordType(of, where)
  end
  error(("%s: this is a list, a map or a mark within another; there are two levels, and no more")
    :format(where), 0)
end

local function checkMost(most, where)
  if type(most) ~= "number" or most % 1 ~= 0 or most < 1 or most > 65536 then
    error(("%s: most must be a whole number from 1 to 65,536"):format(where), 0)
  end
  return most
end

local function listType(of, where)
  local element = inner(of.of, where, true)
  return finish("list", {element = element, most = checkMost(of.most, where),
    told = {"list", element.told}, code = element.code, write = function(items)
      local parts = {varint(#items)}
      for i = 1, #items do parts[i + 1] = element.write(items[i]) end
      return concat(parts)
    end})
end

local function mapType(of, where)
  local element = inner(of.of, where, true)
  local key = of.keys == "integer" and zigzag or scalar("string").write
  return finish("map", {element = element, keys = of.keys, most = checkMost(of.most, where),
    told = {"map", of.keys, element.told}, code = char(KEYS[of.keys]) .. element.code,
    write = function(items)
      local keys, parts = {}, {}
      for name in pairs(items) do keys[#keys + 1] = name end
      table.sort(keys)
      parts[1] = varint(#keys)
      for i, name in ipairs(keys) do parts[i + 1] = key(name) .. element.write(items[name]) end
      return concat(parts)
    end})
end

--- The type of a field.
-- @param of what is declared
-- @tparam string where it is, for errors
-- @treturn Type with `scope`: "all", "owner" or "server"
function types.field(of, where)
  local scope = "all"
  if isDeclaration(of) and (of.kind == "server" or of.kind == "private") then
    scope = of.kind == "server" and "server" or "owner"
    of = of.of
  end
  local made
  if scope == "server" and type(of) == "string" and (of == "any" or not scalar(of) or
    of == "string") then
    if of ~= "any" and of ~= "string" then inner(of, where) end
    made = setmetatable({kind = "any"}, Type)
  elseif isDeclaration(of) and of.kind == "list" then made = listType(of, where)
  elseif isDeclaration(of) and of.kind == "map" then made = mapType(of, where)
  else made = inner(of, where) end
  if scope == "server" and not made.isNumber then made.kind = "any" end
  made.scope = scope
  return made
end

--- Whether a declaration is a map of entities.
function types.isEntities(of)
  return isDeclaration(of) and of.kind == "map" and type(of.of) == "table" and
    not isDeclaration(of.of)
end

--- Whether a declaration is what `near` has made.
function types.isNear(of)
  return isDeclaration(of) and of.kind == "near"
end

--- What a key should have been, or nil if it is that: of a map with these keys.
function types.badKey(key, keys)
  if keys == "string" then return isString(key) end
  if type(key) ~= "number" or key % 1 ~= 0 or key > 2 ^ 52 or key < -2 ^ 52 then
    return "a whole number to ±2^52"
  end
end

return types
