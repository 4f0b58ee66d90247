--- Lists and maps that are fields of an entity. They look like tables, and check what is put
-- into them; the core is given all of one that has changed before the next patch.
--
--     p.hand = {1, 2}          p.hand:add(3)          p.hand[1] = 9
--     #p.hand                  p.hand:remove(1)       for i, card in p.hand:each() do … end
--     p.scores.ann = 7         p.scores:get("ann")    p.scores:count()
--
-- The names of methods go before keys of a map; `get` and `set` take all.
-- @module sync.state.values

local core = require "sync.core"
local types = require "sync.state.type"

local values = {}

-- By the object: what is in it. An object is a C struct, for these have a length.
local inside = setmetatable({}, {__mode = "k"})

local function changed(self)
  if not self.isChanged then
    self.isChanged = true
    self.changed(self)
  end
end

local function misused(self, level, text, ...)
  error(self.field.path .. ": " .. text:format(...), level + 1)
end

-- A value as it is kept.
local function take(self, value, level)
  local of = self.field.type.element
  local wanted = of.check(value)
  if wanted then misused(self, level + 1, "a value must be %s", wanted) end
  return of.keep and of.keep(value) or value
end

local function checkRoom(self, count, level)
  if count > self.field.type.most then
    misused(self, level + 1, "it may have %d values at most; raise `most` for more",
      self.field.type.most)
  end
end

local List, Map = {}, {}

function List.get(list, i)
  return inside[list].items[i]
end

function List.set(list, i, value)
  local self = inside[list]
  local count = #self.items
  if type(i) ~= "number" or i % 1 ~= 0 or i < 1 or i > count + 1 then
    misused(self, 2, "there is no place %s in a list of %d", tostring(i), count)
  end
  if value == nil and i < count then misused(self, 2, "remove(%d) takes a value out", i) end
  if value ~= nil then value = take(self, value, 2) end
  checkRoom(self, i, 2)
  self.items[i] = value
  changed(self)
end

--- Puts a value at the end.
function List.add(list, value)
  local self = inside[list]
  value = take(self, value, 2)
  checkRoom(self, #self.items + 1, 2)
  self.items[#self.items + 1] = value
  changed(self)
end

--- Takes the value of a place out; those behind move up.
-- @return it
function List.remove(list, i)
  local self = inside[list]
  local value = table.remove(self.items, i)
  changed(self)
  return value
end

function List.count(list)
  return #inside[list].items
end

function List.each(list)
  return ipairs(inside[list].items)
end

function Map.get(map, key)
  return inside[map].items[key]
end

function Map.set(map, key, value)
  local self = inside[map]
  local wanted = types.badKey(key, self.field.type.keys)
  if wanted then misused(self, 2, "a key must be %s", wanted) end
  local before = self.items[key]
  if value ~= nil then value = take(self, value, 2) end
  local count = self.count + (before == nil and 1 or 0) - (value == nil and 1 or 0)
  checkRoom(self, count, 2)
  self.items[key], self.count = value, count
  changed(self)
end

function Map.count(map)
  return inside[map].count
end

function Map.each(map)
  return pairs(inside[map].items)
end

local function behaviour(methods)
  return {
    __index = function(object, key)
      local method = methods[key]
      if method then return method end
      return inside[object].items[key]
    end,
    __newindex = function(object, key, value) methods.set(object, key, value) end,
    __len = methods.count,
    __tostring = function(object)
      return ("%s with %d values"):format(inside[object].field.path, methods.count(object))
    end,
  }
end

local makeList = core.object(behaviour(List))
local makeMap = core.object(behaviour(Map))

--- Makes one.
-- @tparam table field with `path` and `type`
-- @tparam function onChange called with what is in it, once until `bytes` is asked for
-- @treturn cdata
-- @treturn table what is in it
function values.new(field, onChange)
  local object = (field.type.kind == "list" and makeList or makeMap)()
  local self = {field = field, items = {}, count = 0, changed = onChange, isChanged = false}
  inside[object] = self
  return object, self
end

--- Puts all of a table, or of another such object, in its place.
function values.assign(self, from, level)
  local given = inside[from]
  local items = given and given.items or from
  if type(items) ~= "table" then misused(self, level, "it must be a table, not %s", type(from)) end
  local new, count, kind = {}, 0, self.field.type
  for key, value in pairs(items) do
    local wanted = types.badKey(key, kind.keys)
    if wanted then misused(self, level, "a key must be %s", wanted) end
    new[key], count = take(self, value, level), count + 1
  end
  if kind.kind == "list" and count ~= #new then misused(self, level, "a list has no gaps") end
  checkRoom(self, count, level)
  self.items, self.count = new, count
  changed(self)
end

jit.off(values.assign) -- as Record.fill

--- Its bytes, as they are sent.
function values.bytes(self)
  self.isChanged = false
  return self.field.type.write(self.items)
end

return values
