--- What `sync.state {…}` makes: the tables of a state, and for each a C struct of its numbers.
--
-- Table 0 is the state's own fields; each map of entities is another. A field's place is that
-- of its name in order, those that are sent to all first.
-- @module sync.state.schema

local Record = require "sync.state.record"
local types = require "sync.state.type"

local MOST_ENTITIES = 10000
local MOST_BYTES = 16 * 1024 * 1024 -- of strings, lists, maps and keys
local MOST_FIELDS = 250

local Schema = {}
Schema.__index = Schema

function Schema:__tostring()
  return ("a state with %d maps"):format(#self.maps)
end

local SCOPES = {all = 1, owner = 2, server = 3}

-- The fields of a record, in order, and by name.
local function fieldsOf(declaration, where)
  local list, byName = {}, {}
  for _, name in ipairs(types.sorted(declaration)) do
    local path = where == "" and name or where .. "." .. name
    if name == "owner" and where ~= "" then
      error(path .. ": every entity has an owner; don't declare it", 0)
    end
    local field = {name = name, path = path, type = types.field(declaration[name], path)}
    if where == "" and field.type.scope == "owner" then
      error(path .. ": the state itself has no owner", 0)
    end
    list[#list + 1], byName[name] = field, field
  end
  if #list > MOST_FIELDS then
    error(("%s: %d fields are too many; there may be %d"):format(where, #list, MOST_FIELDS), 0)
  end
  local sent = {}
  for scope = SCOPES.all, SCOPES.owner do
    for _, field in ipairs(list) do
      if SCOPES[field.type.scope] == scope then
        field.place = #sent
        sent[#sent + 1] = field
      end
    end
  end
  return list, byName, sent
end

-- What clients are told of fields; nil for none.
local function told(shape, scope)
  local list = {}
  for _, field in ipairs(shape.sent) do
    if field.type.scope == scope then list[#list + 1] = {field.name, field.type.told} end
  end
  return list[1] and list
end

local function newShape(name, declaration, keys)
  local shape = {name = name, keys = keys}
  shape.fields, shape.byName, shape.sent = fieldsOf(declaration, name)
  shape.record = Record.new(shape)
  return shape
end

local function number(options, name, default, where)
  local value = options[name]
  if value == nil then return default end
  if type(value) ~= "number" or value ~= value or value <= 0 then
    error(("%s: %s must be a number above 0"):format(where, name), 0)
  end
  return value
end

local OPTIONS = {keys = true, most = true, sees = true, rate = true, budget = true, bytes = true}

local function seeNear(shape, near)
  for _, axis in ipairs {near.x, near.y} do
    local field = shape.byName[axis]
    if not field or not field.type.isNumber or field.type.kind == "bool" then
      error(("%s: sync.near needs a number %s in it; {x = name, y = name} say others")
        :format(shape.name, axis), 0)
    end
  end
  shape.sees, shape.near = "near", near
end

local function mapShape(name, declaration)
  local options = declaration.options
  for option in pairs(options) do
    if not OPTIONS[option] then
      error(("%s: there is no option %s%s"):format(name, option, types.nearest(option, OPTIONS)), 0)
    end
  end
  local shape = newShape(name, declaration.of, declaration.keys)
  shape.most = number(options, "most", MOST_ENTITIES, name)
  shape.bytes = number(options, "bytes", MOST_BYTES, name)
  local sees = options.sees or "all"
  if type(sees) == "function" then
    shape.sees, shape.ask = "asked", sees
    shape.rate = number(options, "rate", 4, name)
    shape.budget = number(options, "budget", 2000, name)
  elseif types.isNear(sees) then
    seeNear(shape, sees)
  elseif sees == "all" or sees == "shown" then
    shape.sees = sees
  else
    error(('%s: sees is "all", "shown", sync.near(distance) or a function'):format(name), 0)
  end
  return shape
end

local function compile(declaration)
  local own, maps = {}, {}
  for _, name in ipairs(types.sorted(declaration)) do
    if types.isEntities(declaration[name]) then
      maps[#maps + 1] = mapShape(name, declaration[name])
    else
      own[name] = declaration[name]
    end
  end
  if #maps > 63 then error("a state has 63 maps of records at most", 0) end
  local root = newShape("", own)
  root.sees, root.most, root.bytes = "all", 1, MOST_BYTES
  return setmetatable({root = root, maps = maps}, Schema)
end

--- Declares what a room's members see.
-- @tparam table declaration types by name; see docs/state.md
-- @treturn Schema to be a class's `state`
-- @raise what is wrong with it
function Schema.new(declaration)
  if type(declaration) ~= "table" then
    error("sync.state(declaration): it must be a table of types by name, not " ..
      type(declaration), 2)
  end
  local ok, made = pcall(compile, declaration)
  if not ok then error("sync.state: " .. tostring(made), 2) end
  return made
end

--- Whether a value is a schema.
function Schema.is(value)
  return getmetatable(value) == Schema
end

--- What clients are told of it: the `state` of docs/state.md.
function Schema:told()
  local maps = {}
  for i, shape in ipairs(self.maps) do
    maps[i] = {name = shape.name, keys = shape.keys, fields = told(shape, "all"),
      private = told(shape, "owner")}
  end
  return {fields = told(self.root, "all"), maps = maps[1] and maps}
end

return Schema
