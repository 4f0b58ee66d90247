--- What a node knows of other nodes' rooms, for the next process that is this node: the rooms that
-- its clients are in, which rooms have a place, and what nodes have to do. States of rooms don't
-- go along: their homes send snapshots.
-- @module sync.upgrade.guests

local Guest = require "sync.rooms.guest"
local directory = require "sync.rooms.directory"
local finder = require "sync.rooms.finder"
local keeping = require "sync.rooms.keeping"
local loop = require "sync.loop"
local nodes = require "sync.rooms.nodes"
local placing = require "sync.rooms.placing"
local seeking = require "sync.rooms.seeking"

local MOST_ROOMS = 1000 -- in one item

local guests = {}

--- Adds what comes before the rooms of this node.
function guests.packNode(parcel, add)
  add(parcel, {what = "roomsNode", nodes = nodes.pack(), loads = placing.pack(),
    keeping = keeping.pack()}, "rooms")
  for _, list in ipairs(finder.pack(MOST_ROOMS)) do
    add(parcel, {what = "roomsFound", list = list}, "rooms")
  end
end

--- Adds the rooms of other nodes.
function guests.pack(parcel, add)
  for _, guest in pairs(Guest.all()) do
    local told = {what = "guest", id = guest.id, node = guest.node, number = guest.number,
      class = guest.class.className, epoch = guest.epoch, places = {}}
    for _, place in pairs(guest.places) do
      told.places[#told.places + 1] = {client = place.client.id, key = place.key, id = place.id,
        form = place.form, oldKey = place.oldKey, isPaused = place.isPaused}
    end
    add(parcel, told, "a room of node " .. tostring(guest.node))
  end
end

function guests.restoreNode(told)
  nodes.unpack(told.nodes)
  placing.unpack(told.loads)
  if told.keeping then keeping.unpack(told.keeping) end
end

function guests.restoreFound(told) finder.unpack(told.list) end

function guests.restore(told)
  local class = directory.class(told.class)
  if not class then error(("there is no class of rooms %s any more"):format(told.class), 0) end
  local guest = Guest.goOn(told, class)
  for _, each in ipairs(told.places) do
    local client = loop.find(each.client)
    if client then
      guest:seat(client, each)
    elseif told.node then -- it was about to go
      nodes.tell(told.node, "quit", {id = told.id, key = each.key, reason = "left"})
    end
  end
  if not told.node then seeking.begin(guest) end
end

return guests
