--- Who is in the rooms of a cluster.
--
-- A node hears of a room while it has members in it, and tells the others who comes and goes.
-- Whoever begins to hear of a room asks who is there; where a message was lost, or a node was
-- away, it asks again.
-- @module sync.presence

local buffer = require "string.buffer"
local cjson = require "cjson"
local core = require "sync.core"
local frame = require "sync.frame"
local log = require "sync.log"
local loop = require "sync.loop"

local now = core.C.sync_now

local IDLE_SECONDS = 5      -- that a room without members is still heard of
local LOOKED_SECONDS = 60   -- the same, since somebody has asked for its members
local MOST_OTHERS = 200000  -- members of other nodes, of all rooms; further ones are left out
local MEMBERS_A_FRAME = 500
local TOPICS_A_FRAME = 500

local presence = {}
local cluster
local heard = {}            -- rooms that this node hears of, by topic
local changed, begun = {}, {} -- in this tick: rooms whose members have, and topics
local others = 0

local Presence = {}
Presence.__index = Presence

function presence.begin(owner)
  cluster = owner
end

--- Makes a room one whose members other nodes know.
function presence.watch(room)
  room.presence = setmetatable({
    room = room,
    topic = room.outlet.topic,
    changes = false,  -- of this tick: values in JSON by id, false of those that have gone
    nodes = {},       -- members by id, by node
    known = 0,        -- how many these are
    wanted = {},      -- nodes that have to be asked again
    looked = -math.huge,
    idle = false,     -- since when it has no members
  }, Presence)
  for client in room do room.presence:note(client, true) end
end

local function hear(self)
  if heard[self.topic] then return end
  heard[self.topic] = self
  cluster.subscribe(self.topic, self.room)
  begun[#begun + 1] = self.topic
  loop.atEnd = presence.flush
end

-- Lists are cut, so that frames are not too long.
local function inPieces(list, size, fn)
  for first = 1, #list, size do
    fn({unpack(list, first, math.min(#list, first + size - 1))})
  end
end

--- Tells other nodes what has changed in this tick.
function presence.flush()
  for i, self in ipairs(changed) do
    changed[i] = nil
    cluster.publish(self.room.outlet, frame.CHANGES, buffer.encode(self.changes))
    self.changes = false
  end
  if #begun > 0 then
    inPieces(begun, TOPICS_A_FRAME, function(topics) cluster.tellAll(frame.ASK, topics) end)
    begun = {}
  end
end

--- Asks all nodes who is in the rooms.
function presence.askAll()
  local topics = {}
  for topic in pairs(heard) do topics[#topics + 1] = topic end
  inPieces(topics, TOPICS_A_FRAME, function(piece) cluster.tellAll(frame.ASK, piece) end)
end

--- A node has come, or is back: it is asked who is in the rooms.
function presence.met(node)
  local topics = {}
  for topic in pairs(heard) do topics[#topics + 1] = topic end
  inPieces(topics, TOPICS_A_FRAME, function(piece) cluster.tell(node, frame.ASK, piece) end)
end

local function valueOf(client, room)
  local values = client.joined and client.joined.values
  local value = values and values[room.name]
  return value ~= nil and cjson.encode(value) or ""
end

-- A client has come into the room, or gone.
function Presence:note(client, isIn)
  if not self.changes then
    self.changes = {}
    changed[#changed + 1] = self
    loop.atEnd = presence.flush
  end
  self.changes[client.id] = isIn and valueOf(client, self.room)
  if isIn then hear(self) end
end

-- Somebody looks at the room here.
local function look(self)
  self.looked = now()
  hear(self)
end

function Presence:count()
  look(self)
  return self.known
end

function Presence:list()
  look(self)
  local list = {}
  for _, members in pairs(self.nodes) do
    for _, member in pairs(members) do
      list[#list + 1] = {id = member.id, value = member.value}
    end
  end
  return list
end

-- What other nodes say.

local function remove(self, members, id)
  if not members or not members[id] then return end
  members[id] = nil
  self.known = self.known - 1
  others = others - 1
end

local function put(self, number, id, text)
  local members = self.nodes[number]
  if not members then
    members = {}
    self.nodes[number] = members
  end
  if not members[id] then
    if others >= MOST_OTHERS then
      log.limited("warn", "members", ("more than %d members are in rooms on other nodes: " ..
        "further ones are not counted"):format(MOST_OTHERS))
      return
    end
    self.known = self.known + 1
    others = others + 1
  end
  local ok, value = pcall(cjson.decode, text)
  members[id] = {id = id, value = ok and value or nil}
end

local function clear(self, number)
  for id in pairs(self.nodes[number] or {}) do remove(self, self.nodes[number], id) end
  self.nodes[number] = nil
end

--- A node tells what has changed in a room.
function presence.changed(node, room, changes)
  local self = room.presence
  for id, text in pairs(changes) do
    if text then
      put(self, node.number, id, text)
    else
      remove(self, self.nodes[node.number], id)
    end
  end
end

--- A node asks who is in rooms here.
function presence.asked(node, topics, sets)
  for _, topic in ipairs(topics) do
    local room = sets[topic]
    local ids, values = {}, {}
    for client in room or {} do
      ids[#ids + 1] = client.id
      values[client.id] = valueOf(client, room)
    end
    local isFirst = true
    inPieces(ids, MEMBERS_A_FRAME, function(piece)
      local members = {}
      for _, id in ipairs(piece) do members[id] = values[id] end
      cluster.tell(node, frame.MEMBERS, {topic = topic, isFirst = isFirst, members = members})
      isFirst = false
    end)
    if isFirst then
      cluster.tell(node, frame.MEMBERS, {topic = topic, isFirst = true, members = {}})
    end
  end
end

--- A node answers that.
function presence.told(node, said, sets)
  local room = sets[said.topic]
  if not room or not room.presence then return end
  if said.isFirst then clear(room.presence, node.number) end
  presence.changed(node, room, said.members)
end

--- A message of a node to a room was lost: it may have told who came and went.
function presence.lost(node, _, set)
  if set.presence then set.presence.wanted[node.number] = true end
end

--- A node has died, or stopped: its members have gone.
function presence.gone(node)
  for _, self in pairs(heard) do clear(self, node.number) end
end

-- Whether a room need not be heard of any more.
local function isIdle(self)
  if self.room:count() > 0 then
    self.idle = false
    return false
  end
  self.idle = self.idle or now()
  return now() - self.idle > IDLE_SECONDS and now() - self.looked > LOOKED_SECONDS
end

--- Once in a while: asks again where something was lost, and lets go of rooms that are empty.
function presence.sweep()
  for topic, self in pairs(heard) do
    for number in pairs(self.wanted) do
      local node = cluster.nodes[number]
      if node and node.alive then cluster.tell(node, frame.ASK, {topic}) end
      self.wanted[number] = nil
    end
    if isIdle(self) then
      heard[topic] = nil
      cluster.unsubscribe(topic)
      for number in pairs(self.nodes) do clear(self, number) end
    end
  end
end

return presence
