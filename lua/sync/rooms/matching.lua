--- Which room somebody joins who names none.
--
-- A class's `filterBy` are names: of a client's options, and of a room's metadata. Who joins with
-- options gets a room whose metadata has the same under these names; a new room has them from who
-- made it. Of several rooms `sortBy` says which is the first.
-- @module sync.rooms.matching

local directory = require "sync.rooms.directory"

local MOST_LOOKS = 500 -- at rooms, for one who joins; where there are more, these will do
local MOST_TEXT = 64   -- bytes of a text to filter by

local matching = {}

local function isPlain(value)
  local kind = type(value)
  return kind == "number" and value == value or kind == "boolean" or
    kind == "string" and #value <= MOST_TEXT
end

--- What a class filters by, of a client's options.
-- @treturn table values by name
function matching.chosen(class, given)
  local chosen = {}
  if type(given) ~= "table" then return chosen end
  for _, name in ipairs(class.filterBy) do
    if isPlain(given[name]) then chosen[name] = given[name] end
  end
  return chosen
end

--- A name of what a class filters by, the same for the same values.
-- @tparam table class
-- @tparam table values by name
-- @treturn string
function matching.bucket(class, values)
  local parts = {}
  for i, name in ipairs(class.filterBy) do
    local value = values[name]
    if not isPlain(value) then value = nil end
    local text = type(value) == "number" and ("%.17g"):format(value) or tostring(value)
    parts[i] = ("%s:%d:%s"):format(type(value), #text, text)
  end
  return table.concat(parts, "/")
end

local function valueOf(home, name)
  if name == "members" then return home:taken() end
  return home.room.metadata[name]
end

-- Whether one room goes before another.
local function isBefore(a, b, names)
  for _, name in ipairs(names) do
    local key = name:match("^%-?(.*)$")
    local x, y = valueOf(a, key), valueOf(b, key)
    if type(x) == type(y) and x ~= y and (type(x) == "number" or type(x) == "string") then
      if name:byte() == 45 then return x > y end
      return x < y
    end
  end
  return a.number < b.number
end

--- The room of a class that somebody with these options is to join.
-- @treturn Home|nil nil: there is none
function matching.find(class, given)
  local list = directory.open(class, matching.bucket(class, matching.chosen(class, given)))
  local best
  for i = 1, math.min(#list, MOST_LOOKS) do
    if not best or isBefore(list[i], best, class.sortBy) then best = list[i] end
  end
  return best
end

--- Whether metadata have all that a filter has.
-- @tparam table metadata
-- @tparam table|nil filter values by name
function matching.fits(metadata, filter)
  for name, value in pairs(filter or {}) do
    if metadata[name] ~= value then return false end
  end
  return true
end

return matching
