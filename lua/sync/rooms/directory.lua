--- The rooms that live in this process: by id, by code, by class, and for each class those that one
-- more may join, by what its `filterBy` names.
--
-- What is kept here are homes (see lua/sync/rooms/home.lua).
-- @module sync.rooms.directory

local core = require "sync.core"

local ID_BYTES = 8

local directory = {
  --- Rooms of all classes.
  MOST = 50000,
}

local byId, byCode, byClass = {}, {}, {}
local count = 0
local named = {} -- classes

local function ofClass(class)
  local found = byClass[class]
  if not found then
    found = {all = {}, count = 0, open = {}}
    byClass[class] = found
  end
  return found
end

--- An id for a room: it says where the room lives, and can't be guessed.
-- @tparam number node
function directory.newId(node)
  return ("%xn%s"):format(node, core.randomHex(ID_BYTES))
end

--- The node of an id.
-- @treturn number|nil nil: it's none
function directory.nodeOf(id)
  return tonumber(id:match "^(%x+)n%x+$" or "", 16)
end

--- Notes a class, by whose name other nodes know it.
function directory.name(class) named[class.className] = class end

--- The class of a name.
function directory.class(name) return named[name] end

--- Whether rooms of one of the classes outlive their home.
function directory.persists()
  for _, class in pairs(named) do
    if class.persist then return true end
  end
  return false
end

--- Notes a room.
function directory.add(home)
  local rooms = ofClass(home.class)
  byId[home.room.id] = home
  rooms.all[home.number] = home
  rooms.count = rooms.count + 1
  count = count + 1
end

-- Takes a home out of the list of those that may be joined: the last one takes its place.
local function close(rooms, home)
  local list = rooms.open[home.bucket]
  local last = list[#list]
  list[home.place], last.place = last, home.place
  list[#list] = nil
  if #list == 0 then rooms.open[home.bucket] = nil end
  home.bucket, home.place = false, false
end

local function open(rooms, home, bucket)
  local list = rooms.open[bucket] or {}
  rooms.open[bucket] = list
  list[#list + 1] = home
  home.bucket, home.place = bucket, #list
end

--- Notes whether one more may join a room, and among which it is found; nil: none may.
-- @tparam Home home
-- @tparam string|nil bucket
function directory.offer(home, bucket)
  local rooms = ofClass(home.class)
  if home.bucket == (bucket or false) then return end
  if home.bucket then close(rooms, home) end
  if bucket then open(rooms, home, bucket) end
end

--- Gives a room a code, or takes it back (nil).
function directory.encode(home, code)
  if home.room.code then byCode[home.room.code] = nil end
  home.room.code = code
  if code then byCode[code] = home end
end

--- Forgets a room.
function directory.remove(home)
  local rooms = ofClass(home.class)
  directory.offer(home, nil)
  directory.encode(home, nil)
  byId[home.room.id] = nil
  rooms.all[home.number] = nil
  rooms.count = rooms.count - 1
  count = count - 1
  if rooms.count == 0 then byClass[home.class] = nil end
end

function directory.byId(id) return byId[id] end
function directory.byCode(code) return byCode[code] end

--- The rooms of a bucket that one more may join: a list, in no order.
function directory.open(class, bucket)
  local rooms = byClass[class]
  return rooms and rooms.open[bucket] or {}
end

--- How many rooms there are: of a class, or of all.
function directory.count(class)
  if not class then return count end
  local rooms = byClass[class]
  return rooms and rooms.count or 0
end

--- Rooms of a class, the oldest first; of those that `isWanted` says, some, if there are more.
-- @tparam table class
-- @tparam[opt] number most
-- @tparam[opt] function isWanted
-- @treturn table a list of homes
function directory.some(class, most, isWanted)
  local list, rooms = {}, byClass[class]
  for _, home in pairs(rooms and rooms.all or {}) do
    if #list == most then break end
    if not isWanted or isWanted(home) then list[#list + 1] = home end
  end
  table.sort(list, function(a, b) return a.number < b.number end)
  return list
end

--- The classes that have rooms, by name.
-- @treturn table a list
function directory.classes()
  local list = {}
  for class in pairs(byClass) do list[#list + 1] = class end
  table.sort(list, function(a, b) return a.className < b.className end)
  return list
end

return directory
