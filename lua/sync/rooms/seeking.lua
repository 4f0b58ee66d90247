--- Members whose room's home has died, of a class that persists: their places wait until the room
-- has come up on another node, or are lost.
--
-- The new home tells all nodes which rooms it has; who doesn't hear that asks. Each place then says
-- to the new home that it's there, by the key that the old one knew.
-- @module sync.rooms.seeking

local Guest = require "sync.rooms.guest"
local Here = require "sync.rooms.here"
local carried = require "sync.rooms.carried"
local core = require "sync.core"
local directory = require "sync.rooms.directory"
local loop = require "sync.loop"
local nodes = require "sync.rooms.nodes"

local now = core.C.sync_now

local ASK_SECONDS = 1
local LOST_SECONDS = 40 -- after which a room is lost that nobody has
local MOST_ASKED = 1000 -- rooms at once

local seeking = {}

local sought, count, timer = {}, 0, nil -- when guests are lost, by their ids

-- Members are told that their room is paused, or back.
local function tell(place, isPaused)
  if not place.id or (place.isPaused or false) == isPaused then return end
  local guest = place.guest
  place.isPaused = isPaused
  place.client:fire(isPaused and "onRoomPaused" or "onRoomBack", guest.id, guest.class.className)
end

local function placesOf(guest)
  local list = {}
  for _, place in pairs(guest.places) do
    if place.id then list[#list + 1] = place end
  end
  return list
end

nodes.on("paused", function(node, said)
  local guest = Guest.find(said.id)
  if not guest or guest.node ~= node then return end
  for _, place in ipairs(placesOf(guest)) do tell(place, said.isPaused) end
end)

local function forget(id)
  if not sought[id] then return end
  sought[id], count = nil, count - 1
end

local function lose(guest)
  forget(guest.id)
  for _, place in ipairs(placesOf(guest)) do place:lose() end
end

local function ask()
  local list, time = {}, now()
  for id, due in pairs(sought) do
    local guest = Guest.find(id)
    if not guest then
      forget(id)
    elseif due < time then
      lose(guest)
    elseif #list < MOST_ASKED then
      list[#list + 1] = id
    end
  end
  if count == 0 then
    loop.stopTimer(timer)
    timer = nil
    return
  end
  for _, node in ipairs(nodes.others()) do nodes.tell(node, "seek", {ids = list}) end
end

--- Seeks the home of a room.
-- @tparam Guest guest
function seeking.begin(guest)
  if sought[guest.id] then return end
  guest.node = false
  sought[guest.id], count = now() + LOST_SECONDS, count + 1
  for _, place in ipairs(placesOf(guest)) do tell(place, true) end
  timer = timer or loop.startTimer(ASK_SECONDS, ASK_SECONDS, ask)
end

-- The room's home is this node: a member of its own.
local function bringHome(place, id)
  local guest, client = place.guest, place.client
  local home, wasPaused = directory.byId(id), place.isPaused
  Guest.drop(place)
  if home and Here.adopt(client, {id = id, from = nodes.own(), key = place.oldKey or place.key,
    form = place.form, old = guest.number}, home) then
    if wasPaused then client:fire("onRoomBack", id, home.class.className) end
    return
  end
  client:fire("onRoomLost", id, guest.class.className)
  client:fire("sync.left", guest.number, "lost")
end

local function arrived(place, node, said)
  local guest = place.guest
  if guest.places[place.key] ~= place or guest.node ~= node then return end
  if not said then return seeking.begin(guest) end
  if not said.isThere then return place:lose() end
  place.oldKey = nil
  if place.client.slot == 0 then place:say "away" end
  tell(place, false)
end

local function found(guest, node, epoch)
  forget(guest.id)
  guest.node, guest.epoch = node, epoch
  for _, place in ipairs(placesOf(guest)) do
    if node == nodes.own() then
      bringHome(place, guest.id)
    else
      nodes.ask(node, "move", {id = guest.id, from = nodes.own(), old = place.oldKey or place.key,
        key = place.key}, function(said) arrived(place, node, said) end)
    end
  end
end

-- A node says which rooms it has: a list of ids, each with its epoch behind it.
nodes.on("homes", function(node, said)
  for i = 1, #said.list, 2 do
    local guest, epoch = Guest.find(said.list[i]), said.list[i + 1]
    if guest and (epoch > guest.epoch or epoch == guest.epoch and
      (sought[guest.id] or guest.node == node)) then
      found(guest, node, epoch)
    end
  end
end)

-- It can't go on anywhere.
nodes.on("ended", function(_, said)
  local guest = Guest.find(said.id)
  if guest and sought[guest.id] then lose(guest) end
end)

--- Tells all nodes that a room whose home has died can't go on.
function seeking.bury(id)
  for _, node in ipairs(nodes.list()) do nodes.tell(node, "ended", {id = id}) end
end

--- Tells a node that rooms are here.
-- @tparam number node
-- @tparam table homes a list
function seeking.announce(node, homes)
  local list = {}
  for _, home in ipairs(homes) do
    list[#list + 1] = home.room.id
    list[#list + 1] = home.epoch
  end
  if list[1] then nodes.tell(node, "homes", {list = list}) end
end

nodes.on("seek", function(node, said)
  local list = {}
  for _, id in ipairs(said.ids) do
    local home = directory.byId(id)
    if home and home.keep and not home.isOpening and home:goesOn() then list[#list + 1] = home end
  end
  seeking.announce(node, list)
end)

-- A node that is back may not know that its members are waited for.
local function tellWaiting(number)
  local list = {}
  for _, class in ipairs(directory.classes()) do
    for _, home in ipairs(class.persist and directory.some(class) or {}) do
      local isWaiting = false
      for _, line in pairs(home.lines) do
        isWaiting = isWaiting or line.parked and line.node == number
      end
      if isWaiting and home:goesOn() then list[#list + 1] = home end
    end
  end
  seeking.announce(number, list)
end

nodes.watch(function(number, isThere)
  if isThere then return tellWaiting(number) end
  for _, guest in ipairs(Guest.on(number)) do
    if guest.class.persist then seeking.begin(guest) end
  end
end)

--- Another node has a room that was here: the members who are connected here stay in it.
-- @tparam Home home
function seeking.follow(home)
  local guest
  for _, left in ipairs(home:abandon()) do
    local line = left.line
    if line.client then
      guest = Guest.follow(line.client, {id = home.room.id, class = home.class, epoch = home.epoch,
        form = line.form, member = left.id, old = home.number, key = carried.keyOf(left.id)})
    end
  end
  if guest then seeking.begin(guest) end
end

return seeking
