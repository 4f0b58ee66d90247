--- Entities: C structs, of which the numbers are plain fields, for native code to read and
-- write. All else that one has is kept beside the struct, and reached by its metatable; so is
-- what is not there, which is an error.
--
-- A handler may hold an entity for as long as it likes. The core reads a struct only as long as
-- the entity is in its map; one that was taken out is memory of its own.
-- @module sync.state.record

local core = require "sync.core"
local types = require "sync.state.type"
local values = require "sync.state.values"

local C = core.C

local Record = {}
Record.__index = Record

-- By the struct: its `record`, `number`, false when it was removed, `values` by name, `owner`, and
-- `home`, where the state is found as long as somebody else holds it.
local sides = setmetatable({}, {__mode = "k"})

local function unknown(self, name)
  local names = {owner = self.name ~= "" and true or nil}
  for other in pairs(self.byName) do names[other] = true end
  local what = self.name == "" and "the state" or "an entity of " .. self.name
  error(("%s has no field %s%s"):format(what, tostring(name), types.nearest(name, names)), 3)
end

-- What the core says, as an error.
local function check(code, field, level)
  if code >= 0 then return code end
  local name, text = core.problem(code)
  if name == "ENOSPC" then
    text = "the strings, lists and maps of all entities have as many bytes as they may; " ..
      "`bytes` of its map is the bound"
  end
  error(("%s: %s"):format(field.path, text), level + 1)
end
Record.check = check

local WEAK = {__mode = "v"}

-- A list or a map that the core is to be given anew before the next patch. What is in one doesn't
-- keep what has it: that has it, in turn.
local function onChange(of, field)
  local found = setmetatable({side = of}, WEAK)
  return function(inner)
    local side = found.side
    local state = side and side.home.state
    if not state or not side.number then
      inner.isChanged = false
      return
    end
    state.changed[#state.changed + 1] = {side = side, field = field, inner = inner}
  end
end

local function collection(side, field)
  local object, inner = values.new(field, onChange(side, field))
  side.values[field.name], side.inner[field.name] = object, inner
  return object, inner
end

local function read(p, name)
  local side = sides[p]
  local self = side.record
  local value = side.values[name]
  if value ~= nil then return value end
  local field = self.byName[name]
  if not field then
    if name == "owner" and self.name ~= "" then
      local owner = side.owner
      return owner and owner.number ~= 0 and owner or nil
    end
    return unknown(self, name)
  end
  local kind = field.type.kind
  if kind == "list" or kind == "map" then return (collection(side, field)) end
  return field.type.default
end

local function setOwner(side, member)
  if member ~= nil and (type(member) ~= "table" or type(member.number) ~= "number") then
    error("owner must be a member of the room, or nil", 3)
  end
  local state = side.home.state
  if side.number and state then
    local code = C.sync_state_own(state.handle, side.table, side.number,
      member and member.number or 0)
    if code < 0 then error("owner must be a member of this room", 3) end
  end
  side.owner = member
end

local function setString(side, field, value)
  local wanted = types.isString(value)
  if wanted then error(("%s must be %s"):format(field.path, wanted), 3) end
  local state = side.home.state
  if side.number and state then
    check(C.sync_state_put(state.handle, side.table, side.number, field.place, value, #value),
      field, 3)
  end
  side.values[field.name] = value
end

local function write(p, name, value)
  local side = sides[p]
  local self = side.record
  local field = self.byName[name]
  if not field then
    if name == "owner" and self.name ~= "" then return setOwner(side, value) end
    if side.values[name] then error(name .. " is a map: set what is in it", 3) end
    return unknown(self, name)
  end
  local kind = field.type.kind
  if kind == "string" then return setString(side, field, value) end
  if kind == "any" then
    side.values[name] = value
    return
  end
  local inner = side.inner[name]
  if not inner then
    local _
    _, inner = collection(side, field)
  end
  values.assign(inner, value, 3)
end

local function describe(p)
  local name = sides[p].record.name
  return name == "" and "state" or "entity of " .. name
end

-- Structs by what they are made of: LuaJIT keeps a type of C for good, and has room for 65,536, of
-- which a struct takes one and one more a field. So a declaration that is made again, as by a
-- reload, takes no more.
local MOST_TYPES = 30000
local structs, typeCount = {}, 0

local function structOf(numbers)
  local parts = {}
  for i, number in ipairs(numbers) do parts[i] = number[2] .. " " .. number[1] end
  local text = table.concat(parts, ";")
  local struct = structs[text]
  if not struct then
    if typeCount + #numbers + 1 > MOST_TYPES then
      error("this process has declared states with too many different fields: declare them " ..
        "once, when the script starts", 0)
    end
    typeCount = typeCount + #numbers + 1
    struct = {core.record(numbers, {__index = read, __newindex = write, __tostring = describe})}
    structs[text] = struct
  end
  return struct[1], struct[2]
end

--- Makes the struct of a shape.
function Record.new(shape)
  local self = setmetatable({name = shape.name, byName = shape.byName, shape = shape}, Record)
  local numbers, starts = {}, {}
  for _, field in ipairs(shape.fields) do
    if field.type.isNumber then
      numbers[#numbers + 1] = {field.name, field.type.kind == "bool" and "bool" or "double"}
      if field.type.default ~= 0 and field.type.default ~= false then
        starts[#starts + 1] = {field.name, field.type.default}
      end
    end
  end
  self.make, self.offset = structOf(numbers)
  self.starts = starts
  return self
end

--- Makes an entity that is nowhere yet.
-- @tparam table home with the state
-- @tparam number index of its table
function Record:create(home, index)
  local p = self.make()
  for _, start in ipairs(self.starts) do p[start[1]] = start[2] end
  sides[p] = {number = false, table = index, values = {}, inner = {}, home = home,
    record = self}
  return p
end

--- What is kept beside an entity; nil for what is none.
function Record.side(p)
  return type(p) == "cdata" and sides[p] or nil
end

--- An entity is in its map no more. Its numbers, strings and lists stay; what else it refers
-- to, it would keep.
function Record:drop(p)
  local side = sides[p]
  side.number, side.owner = false, nil
  for _, field in ipairs(self.shape.fields) do
    if field.type.kind == "any" then side.values[field.name] = nil end
  end
end

--- Fills an entity from a table of fields. Not compiled: its loop over `pairs` is all kinds of
-- values', and comes once an entity.
function Record:fill(p, fields)
  local owner = fields.owner -- first, so that an error leaves nothing
  if owner ~= nil then p.owner = owner end
  for name, value in pairs(fields) do
    if name ~= "owner" then
      if not self.byName[name] then unknown(self, name) end
      p[name] = value
    end
  end
end

jit.off(Record.fill)

return Record
