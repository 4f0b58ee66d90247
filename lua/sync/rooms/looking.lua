--- What operators see of rooms, and may do to them: see lua/sync/http/panel.lua.
--
-- `/panel.json` lists rooms, `/panel/room.json?id=…` tells the whole state of one as it is now,
-- what members don't see too, and a POST to `/panel/close?id=…` ends one.
-- @module sync.rooms.looking

local cjson = require "cjson"
local directory = require "sync.rooms.directory"
local list = require "sync.list"
local json = require "sync.json"
local panel = require "sync.http.panel"

local MOST_ROOMS = 100     -- of a class, in the list
local MOST_ENTITIES = 200  -- of a map
local MOST_MEMBERS = 200
local MOST_TEXT = 200      -- characters of a value

-- A value of a state as people read it.
local function show(value)
  local kind = type(value)
  if kind == "number" then return ("%.10g"):format(value) end
  local isList, each = pcall(function() return value.each end)
  if isList and type(each) == "function" and kind ~= "string" then
    local parts = {}
    for key, item in each(value) do
      parts[#parts + 1] = ("%s: %s"):format(tostring(key), show(item))
      if #parts == 20 then break end
    end
    return table.concat(parts, ", ")
  end
  if kind == "table" then return (json.encode(value) or tostring(value)):sub(1, MOST_TEXT) end
  return tostring(value):sub(1, MOST_TEXT)
end

local function fieldsOf(shape, entity)
  local fields = {}
  for _, field in ipairs(shape.fields) do
    local value = entity[field.name]
    if value ~= nil then fields[#fields + 1] = {field.name, show(value)} end
  end
  return list.new(fields)
end

local function stateOf(home)
  local schema, state = home.state.schema, home.room.state
  local maps = list.new {}
  for i, shape in ipairs(schema.maps) do
    local map, entities = state[shape.name], list.new {}
    for key, entity in map:each() do
      if #entities == MOST_ENTITIES then break end
      entities[#entities + 1] = {key = tostring(key), fields = fieldsOf(shape, entity)}
    end
    maps[i] = {name = shape.name, count = map:count(), entities = entities}
  end
  return {fields = fieldsOf(schema.root, state), maps = maps}
end

local function summary(home)
  local room = home.room
  return {id = room.id, class = home.class.className, members = #room.members,
    taken = home:taken(), most = room.maxMembers or nil, tick = room.tick,
    locked = room.isLocked or nil, private = room.isPrivate or nil, metadata = show(room.metadata)}
end

local function all()
  local found = {}
  for _, class in ipairs(directory.classes()) do
    for _, home in ipairs(directory.some(class, MOST_ROOMS)) do
      found[#found + 1] = summary(home)
    end
  end
  return found[1] and {count = directory.count(), list = found} or nil
end

local function one(request)
  local home = directory.byId(request.params.id or "")
  if not home then return 404, "application/json", "null" end
  local told, members = summary(home), list.new {}
  for i, member in ipairs(home.room.members) do
    if i > MOST_MEMBERS then break end
    members[i] = {id = member.id, away = member.isAway, address = member.address,
      node = member.line.node}
  end
  told.who, told.state = members, stateOf(home)
  return 200, "application/json", json.encode(told) or cjson.encode {id = told.id}
end

local function close(request)
  local home = directory.byId(request.params.id or "")
  if not home then return 404, "application/json", "false" end
  home:finish("closed by an operator")
  return 200, "application/json", "true"
end

panel.addSource("rooms", all)
panel.addPath("GET", "/panel/room.json", one)
panel.addPath("POST", "/panel/close", close)
