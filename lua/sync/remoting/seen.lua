--- What a member has of a room's state. A patch is read and checked whole before anything of
-- it is done: one that is refused changes nothing.
-- @module sync.remoting.seen

local patches = require "sync.remoting.patches"

local GONE, NEW, CHANGE = patches.GONE, patches.NEW, patches.CHANGE
local demand, isAdd = patches.demand, patches.isAdd

local Seen = {}
Seen.__index = Seen

local function shapeOf(declared)
  local shape = {name = declared.name, keyKind = patches.keys(declared.keys),
    fields = patches.fields(declared.fields), private = patches.fields(declared.private),
    byName = {}, all = {}, numbers = {}, keys = {}, count = 0}
  for _, list in ipairs {shape.fields, shape.private} do
    for _, field in ipairs(list) do
      shape.all[#shape.all + 1] = field
      shape.byName[field.name] = field
    end
  end
  return shape
end

local function reset(fields, list)
  for _, field in ipairs(list) do fields[field.name] = field.kind.first() end
end

local function make(shape, entry)
  local fields, values = {}, entry.values or {}
  reset(fields, shape.all)
  for i = 1, #values, 2 do fields[values[i].name] = values[i + 1] end
  return {number = entry.number, key = entry.key, mine = entry.mine == true, fields = fields}
end

--- Nothing yet.
-- @tparam table declared `state` of the answer to `sync.join`
-- @raise a text, for what this client doesn't know
function Seen.new(declared)
  local tables = {[0] = shapeOf {name = "", fields = declared.fields}}
  for i, each in ipairs(declared.maps or {}) do tables[i] = shapeOf(each) end
  return setmetatable({tables = tables, tick = 0, input = 0, empty = true,
    root = make(tables[0], {number = 0, key = ""})}, Seen)
end

-- Whether what is read fits what is there, table by table.
local function fitOf(shape, snapshot)
  local removed, added, taken = {}, {}, {}
  local function has(number)
    return added[number] or not snapshot and shape.numbers[number] ~= nil and not removed[number]
  end
  local function isTaken(key)
    local other = shape.keys[key]
    return taken[key] or other and has(other.number) and not added[other.number]
  end
  return function(kind, entry)
    local number = entry.number
    demand(shape.keyKind or number == 0, "the state's own fields are one entity")
    demand((has(number) or false) ~= isAdd(kind), "it does not fit what is there")
    if isAdd(kind) then
      demand(not isTaken(entry.key), "a key is there already")
      added[number], taken[entry.key] = true, true
    elseif kind ~= CHANGE then
      removed[number] = true
    end
  end
end

local function check(self, sections, snapshot)
  local fits = {}
  for _, section in ipairs(sections) do
    demand(not snapshot or isAdd(section.kind), "a snapshot holds adds alone")
    local index = section.table
    fits[index] = fits[index] or fitOf(self.tables[index], snapshot)
    for _, entry in ipairs(section.entries) do fits[index](section.kind, entry) end
  end
end

local function put(self, shape, made, kind, told)
  local entity = made
  if shape == self.tables[0] then -- its fields stay in the hands of users
    entity = self.root
    for name, value in pairs(made.fields) do entity.fields[name] = value end
  end
  shape.numbers[entity.number], shape.keys[entity.key] = entity, entity
  shape.count = shape.count + 1
  told[#told + 1] = {what = "add", shape = shape, entity = entity,
    detail = kind == NEW and "new" or "seen"}
end

local function take(self, shape, entity, why, told)
  shape.numbers[entity.number], shape.keys[entity.key] = nil, nil
  shape.count = shape.count - 1
  if entity == self.root then reset(entity.fields, shape.all) end
  told[#told + 1] = {what = "remove", shape = shape, entity = entity, detail = why}
end

local function change(shape, entity, entry, told)
  local fields, values, names = entity.fields, entry.values, {}
  if entry.mine ~= nil then entity.mine = entry.mine end
  if entry.mine == false then reset(fields, shape.private) end
  for i = 1, #values, 2 do
    fields[values[i].name] = values[i + 1]
    names[#names + 1] = values[i].name
  end
  told[#told + 1] = {what = "change", shape = shape, entity = entity, detail = names}
end

local function applyAll(self, sections, told)
  for _, section in ipairs(sections) do
    local shape, kind = self.tables[section.table], section.kind
    for _, entry in ipairs(section.entries) do
      if isAdd(kind) then put(self, shape, make(shape, entry), kind, told)
      elseif kind == CHANGE then change(shape, shape.numbers[entry.number], entry, told)
      else take(self, shape, shape.numbers[entry.number], kind == GONE and "gone" or "hidden", told)
      end
    end
  end
end

local function same(a, b)
  if a == b or type(a) ~= "table" or type(b) ~= "table" then return a == b end
  for key, value in pairs(a) do
    if not same(value, b[key]) then return false end
  end
  for key in pairs(b) do
    if a[key] == nil then return false end
  end
  return true
end

-- Makes an entity what another one is.
local function assign(shape, entity, other, told)
  local names = {}
  for _, field in ipairs(shape.all) do
    local name = field.name
    if not same(entity.fields[name], other.fields[name]) then
      entity.fields[name] = other.fields[name]
      names[#names + 1] = name
    end
  end
  if names[1] or entity.mine ~= other.mine then
    told[#told + 1] = {what = "change", shape = shape, entity = entity, detail = names}
  end
  entity.mine = other.mine
end

-- A snapshot of one table. What isn't in it may have gone, or not: it is out of sight. But what
-- has given its number to another has gone.
local function replace(self, shape, entries, told)
  local wanted, leaving = {}, {}
  for _, one in ipairs(entries) do wanted[one.entry.number] = one end
  for number, entity in pairs(shape.numbers) do
    local one = wanted[number]
    if not one or one.kind == NEW or one.entry.key ~= entity.key then
      leaving[#leaving + 1] = entity
    end
  end
  for _, entity in ipairs(leaving) do
    take(self, shape, entity, wanted[entity.number] and "gone" or "hidden", told)
  end
  for _, one in ipairs(entries) do
    local entity, other = shape.numbers[one.entry.number], make(shape, one.entry)
    if entity then assign(shape, entity, other, told)
    else put(self, shape, other, one.kind, told) end
  end
end

local function replaceAll(self, sections, told)
  local entries = {}
  for _, section in ipairs(sections) do
    local list = entries[section.table] or {}
    entries[section.table] = list
    for _, entry in ipairs(section.entries) do
      list[#list + 1] = {entry = entry, kind = section.kind}
    end
  end
  for i = 0, #self.tables do replace(self, self.tables[i], entries[i] or {}, told) end
end

--- Does what a patch says.
-- @tparam table patch of `patches.ofBytes` or `ofObject`
-- @treturn table what there is to tell, in order: `{what, shape, entity, detail}`, where `what`
-- is "add", "remove" or "change", and `detail` "new" or "seen", "gone" or "hidden", or names of
-- fields
-- @raise a refusal; then nothing has changed
function Seen:apply(patch)
  demand(patch.snapshot or not self.empty, "the first patch is a snapshot")
  local sections, told = patch:sections(self.tables), {}
  check(self, sections, patch.snapshot)
  if patch.snapshot then replaceAll(self, sections, told) else applyAll(self, sections, told) end
  self.tick, self.input, self.empty = patch.tick, patch.input, false
  return told
end

return Seen
