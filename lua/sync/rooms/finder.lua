--- Who joins a room by a filter, in a cluster: one node, that with the lowest number, brings all
-- together, so that no two nodes each begin a room of their own.
--
-- Homes tell that node which rooms have a place. It gives tickets: one is a place that is taken for
-- it until the room's home has seen the ticket, or for some seconds. Where there is no room, the
-- node of who asks first is told to make one, and those who ask next get tickets for it at once.
-- @module sync.rooms.finder

local core = require "sync.core"
local directory = require "sync.rooms.directory"
local loop = require "sync.loop"
local matching = require "sync.rooms.matching"
local nodes = require "sync.rooms.nodes"
local placing = require "sync.rooms.placing"

local now = core.C.sync_now

-- A node that is slow, as with a thousand who join at once, must not begin rooms of its own.
local ANSWER_SECONDS, TICKET_SECONDS = 15, 20
local MOST_ROOMS = 50000 -- that the node knows of

local finder = {}

-- At the node that brings together: rooms by id, and lists of them by class and bucket.
local known, buckets, count, age = {}, {}, 0, 0

local function keyOf(class, bucket) return class .. "\0" .. bucket end

local function forget(room)
  known[room.id] = nil
  count = count - 1
  local list = buckets[room.key]
  for i, other in ipairs(list) do
    if other == room then table.remove(list, i) end
  end
  if not list[1] then buckets[room.key] = nil end
end

local function remember(room)
  known[room.id] = room
  count = count + 1
  buckets[room.key] = buckets[room.key] or {}
  table.insert(buckets[room.key], room)
end

local function handed(room)
  local time, sum = now(), 0
  for ticket, due in pairs(room.tickets) do
    if due < time then room.tickets[ticket] = nil else sum = sum + 1 end
  end
  return sum
end

-- A home tells of a room; without a bucket nobody more is to be brought there.
nodes.on("offer", function(node, said)
  local room = known[said.id]
  -- A home that has lost its room to another node doesn't know that yet.
  if room and room.node ~= node and said.epoch <= room.epoch then return end
  if not said.bucket then
    if room and said.isOver then forget(room) end
    if room and not said.isOver then
      room.isOpen = false
      for _, ticket in ipairs(said.seen) do room.tickets[ticket] = nil end
    end
    return
  end
  local key = keyOf(said.class, said.bucket)
  if room and room.key ~= key then
    forget(room)
    room = nil
  end
  if not room then
    if count >= MOST_ROOMS then return end
    age = age + 1
    room = {id = said.id, key = key, age = age, tickets = {}}
    remember(room)
  end
  room.node, room.epoch = node, said.epoch
  room.isOpen, room.taken, room.most, room.values = true, said.taken, said.most, said.values
  for _, ticket in ipairs(said.seen) do room.tickets[ticket] = nil end
end)

local function isBefore(a, b, names)
  for i, name in ipairs(names) do
    local key = name:match "^%-?(.*)$"
    local x, y = a.values[i], b.values[i]
    if key == "members" then x, y = a.filled, b.filled end
    if type(x) == type(y) and x ~= y and (type(x) == "number" or type(x) == "string") then
      if name:byte() == 45 then return x > y end
      return x < y
    end
  end
  return a.age < b.age
end

local function best(key, sortBy)
  local found
  for _, room in ipairs(buckets[key] or {}) do
    room.filled = room.taken + handed(room)
    local has = room.isOpen and (not room.most or room.filled < room.most)
    if has and (not found or isBefore(room, found, sortBy)) then found = room end
  end
  return found
end

nodes.answers("match", function(node, said, answer)
  local key = keyOf(said.class, said.bucket)
  local room = best(key, said.sortBy)
  local isNew = not room
  if isNew then
    if not said.mayCreate or count >= MOST_ROOMS then return answer {} end
    age = age + 1
    local class = said.isLeast and directory.class(said.class)
    local home = class and placing.node(class) or said.home or node
    room = {id = directory.newId(home), node = home, epoch = 0, key = key, age = age, tickets = {},
      taken = 0,
      most = said.most, values = {}, isOpen = true, given = said.given}
    remember(room)
  end
  local ticket = core.randomHex(8)
  room.tickets[ticket] = now() + TICKET_SECONDS
  answer {id = room.id, node = room.node, ticket = ticket, isNew = isNew, given = room.given}
end)

-- Rooms of a node that has gone are gone.
nodes.watch(function(number, isThere)
  if isThere then return end
  for _, room in pairs(known) do
    if room.node == number then forget(room) end
  end
end)

--- What the next process of this node has to know, if it's the node that brings together.
-- @treturn table lists of at most `most` rooms
function finder.pack(most)
  local lists = {{}}
  for _, room in pairs(known) do
    if #lists[#lists] == most then lists[#lists + 1] = {} end
    table.insert(lists[#lists], room)
  end
  return lists
end

--- Goes on with one of these lists.
function finder.unpack(list)
  for _, room in ipairs(list) do
    age = math.max(age, room.age)
    remember(room)
  end
end

-- At homes: those that have changed in this tick.
local changed, isWaiting = {}, false

local function offer(home)
  local room, seen = home.room, home.seen
  home.seen = {}
  local values = {}
  for i, name in ipairs(home.class.sortBy) do
    local value = room.metadata[name:match "^%-?(.*)$"]
    if type(value) == "number" or type(value) == "string" then values[i] = value end
  end
  nodes.tell(nodes.list()[1], "offer", {id = room.id, class = home.class.className,
    bucket = home.bucket, epoch = home.epoch, isOver = home.ended, taken = home:taken(),
    most = room.maxMembers,
    values = values, seen = seen})
end

local function flush()
  local list = changed
  changed, isWaiting = {}, false
  for home in pairs(list) do offer(home) end
end

--- A room has changed.
function finder.changed(home)
  if nodes.own() == 0 then return end
  changed[home] = true
  if isWaiting then return end
  isWaiting = true
  loop.atEnd(flush)
end

-- Another node may bring together from now on.
nodes.watch(function()
  if nodes.list()[1] ~= nodes.own() then known, buckets, count = {}, {}, 0 end
  for _, class in ipairs(directory.classes()) do
    for _, home in ipairs(directory.some(class)) do finder.changed(home) end
  end
end)

--- Finds the room that somebody with these options is to join.
-- @tparam table class
-- @param given the options
-- @tparam string text the same as JSON
-- @tparam function done called with a table: `id`, `node`, `ticket`, `isNew` and `given`; or nil
-- when nobody answers
function finder.find(class, given, text, done)
  nodes.ask(nodes.list()[1], "match", {class = class.className,
    bucket = matching.bucket(class, matching.chosen(class, given)), given = text,
    mayCreate = class.clientsCreate, isLeast = class.home == "least",
    home = class.home == "here" and placing.node(class) or nil,
    sortBy = class.sortBy, most = class.maxMembers}, done, ANSWER_SECONDS)
end

return finder
