--- Who is in the rooms of a cluster.
--
-- A node hears of a room while it has members in it, and tells the others who comes and goes.
-- Whoever begins to hear of a room asks who is there; where a message was lost, or a node was
-- away, it asks again.
--
-- The engine has a bound on what a node hears of, which clients must not use up by names that
-- they invent. A room whose last member has left is let go: after some seconds, for its members
-- often come back; sooner where there are many. One that was only looked at is let go after a
-- minute; a client has a share of those.
-- @module sync.cluster.presence

local buffer = require "string.buffer"
local cjson = require "cjson"
local core = require "sync.core"
local frame = require "sync.cluster.frame"
local json = require "sync.remoting.json"
local log = require "sync.log"
local loop = require "sync.loop"
local Share = require "sync.cluster.share"

local now = core.C.sync_now

local IDLE_SECONDS = 5      -- that a room without members is still heard of
local LOOKED_SECONDS = 60   -- the same, since somebody has asked for its members
local MOST_IDLE = 1000      -- rooms without members that are still heard of for that
local MOST_LOOKED = 10000   -- the same that were looked at, and of which
local LOOKED_A_CLIENT = 1000 -- one may look at so many in LOOKED_SECONDS
local MOST_OTHERS = 200000  -- members of other nodes, of all rooms; further ones are left out
local ANSWER_SECONDS = 2    -- that a node has to answer before it's asked again
local MEMBERS_A_FRAME = 500
local TOPICS_A_FRAME = 500

local presence = {}
local cluster
local heard = {}            -- rooms that this node hears of, by topic
local deaf = {}             -- rooms with members that it should hear of: the engine has no room
local parked = {first = 1, last = 0} -- rooms that were left by all: {room's presence, since when}
local looked = 0            -- rooms that are heard of since somebody looked at them, about
local looks = Share.new(LOOKED_A_CLIENT, LOOKED_SECONDS)
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
    wanted = {},      -- when nodes were asked that haven't answered
    looked = -math.huge,
    idle = false,     -- since when it has no members
  }, Presence)
  for client in room do room.presence:note(client, true) end
end

local function hear(self)
  if heard[self.topic] then return end
  if not cluster.subscribe(self.topic, self.room) then
    deaf[self.topic] = self
    return
  end
  heard[self.topic], deaf[self.topic] = self, nil
  begun[#begun + 1] = self.topic
  loop.atEnd(presence.flush)
end

local clear

local function letGo(self)
  if heard[self.topic] ~= self then return end
  heard[self.topic] = nil
  cluster.unsubscribe(self.topic)
  for number in pairs(self.nodes) do clear(self, number) end
end

-- Whether nobody is in the room who hears what is sent to it, now or when coming back.
local function isEmpty(self)
  local absent = self.room.absent
  return self.room:count() == 0 and not (absent and next(absent))
end

local function isLooked(self)
  return now() - self.looked <= LOOKED_SECONDS
end

-- Notes that a room has been left by all. Of too many such rooms those that were left first are
-- let go.
local function park(self)
  self.idle = now()
  parked.last = parked.last + 1
  parked[parked.last] = {self, self.idle}
  while parked.last - parked.first >= MOST_IDLE do
    local other, since = unpack(parked[parked.first])
    parked[parked.first] = nil
    parked.first = parked.first + 1
    if other.idle == since and isEmpty(other) and not isLooked(other) then letGo(other) end
  end
end

-- Lists are cut, so that frames are not too long.
local function inPieces(list, size, fn)
  for first = 1, #list, size do
    fn({unpack(list, first, math.min(#list, first + size - 1))})
  end
end

local function allTopics()
  local topics = {}
  for topic in pairs(heard) do topics[#topics + 1] = topic end
  return topics
end

-- Notes that a node has been asked for a room: it is asked again until it answers.
local function expect(topics, node)
  local time = now()
  for _, topic in ipairs(topics) do heard[topic].wanted[node.number] = time end
end

local function ask(node, topics)
  expect(topics, node)
  inPieces(topics, TOPICS_A_FRAME, function(piece) cluster.tell(node, frame.ASK, piece) end)
end

local function askAll(topics)
  for _, node in pairs(cluster.nodes) do
    if node.alive then expect(topics, node) end
  end
  inPieces(topics, TOPICS_A_FRAME, function(piece) cluster.tellAll(frame.ASK, piece) end)
end

--- Tells other nodes what has changed in this tick.
function presence.flush()
  for i, self in ipairs(changed) do
    changed[i] = nil
    cluster.publish(self.room.outlet, frame.CHANGES, buffer.encode(self.changes))
    self.changes = false
    if isEmpty(self) then park(self) else self.idle = false end
  end
  if #begun > 0 then
    local topics = {}
    for _, topic in ipairs(begun) do
      if heard[topic] then topics[#topics + 1] = topic end
    end
    begun = {}
    askAll(topics)
  end
end

--- Asks all nodes who is in the rooms.
function presence.askAll()
  askAll(allTopics())
end

--- A node has come, or is back: it is asked who is in the rooms.
function presence.met(node)
  ask(node, allTopics())
end

local function valueOf(client, room)
  local values = client.joined and client.joined.values
  return json.note(values and values[room.name], "a member's value")
end

-- A client has come into the room, or gone.
function Presence:note(client, isIn)
  if not self.changes then
    self.changes = {}
    changed[#changed + 1] = self
    loop.atEnd(presence.flush)
  end
  self.changes[client.id] = isIn and valueOf(client, self.room)
  if isIn then hear(self) end
end

-- Whether a room may be one that was looked at.
local function mayLook(self)
  if isLooked(self) then return true end
  if looked >= MOST_LOOKED or not looks:take(loop.cause(), 1) then return false end
  if isEmpty(self) then looked = looked + 1 end
  return true
end

-- Somebody looks at the room here.
local function look(self)
  if mayLook(self) then
    self.looked = now()
  elseif isEmpty(self) then
    log.limited("warn", "looks", "too many rooms without members here are looked at: who is in " ..
      "further ones on other nodes is not known", {room = self.room.name})
    return
  end
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

function clear(self, number)
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

-- What is to be said of rooms, in pieces: {topic, whether it's the first piece, values by id}.
local function describe(topics, sets)
  local pieces = {}
  local function begin(topic, isFirst)
    pieces[#pieces + 1] = {topic = topic, isFirst = isFirst, members = {}}
    return pieces[#pieces].members
  end
  for _, topic in ipairs(topics) do
    local members, room, count = begin(topic, true), sets[topic], 0
    if room then
      for client in room do
        if count == MEMBERS_A_FRAME then members, count = begin(topic, false), 0 end
        members[client.id] = valueOf(client, room)
        count = count + 1
      end
    end
  end
  return pieces
end

--- A node asks who is in rooms here.
function presence.asked(node, topics, sets)
  local frameful, count = {}, 0
  for _, piece in ipairs(describe(topics, sets)) do
    frameful[#frameful + 1] = piece
    for _ in pairs(piece.members) do count = count + 1 end
    if count >= MEMBERS_A_FRAME then
      cluster.tell(node, frame.MEMBERS, frameful)
      frameful, count = {}, 0
    end
  end
  if #frameful > 0 then cluster.tell(node, frame.MEMBERS, frameful) end
end

--- A node answers that.
function presence.told(node, pieces, sets)
  for _, piece in ipairs(pieces) do
    local room = sets[piece.topic]
    if room and room.presence then
      room.presence.wanted[node.number] = nil
      if piece.isFirst then clear(room.presence, node.number) end
      presence.changed(node, room, piece.members)
    end
  end
end

--- Something that a node has told was lost: of the room, or else of any. It is asked again,
-- soon.
function presence.lost(node, room)
  if room and room.presence then
    room.presence.wanted[node.number] = 0
  elseif not room then
    node.isMissed = true
  end
end

--- A node has died, or stopped: its members have gone.
function presence.gone(node)
  for _, self in pairs(heard) do clear(self, node.number) end
end

-- Whether a room need not be heard of any more.
local function isIdle(self)
  if not isEmpty(self) then
    self.idle = false
    return false
  end
  self.idle = self.idle or now()
  return now() - self.idle > IDLE_SECONDS and not isLooked(self)
end

-- Asks nodes again that haven't answered, or have told something that was lost.
local function askAgain(time)
  local asked = {}
  for topic, self in pairs(heard) do
    for number, since in pairs(self.wanted) do
      local node = cluster.nodes[number]
      if not node or not node.alive then
        self.wanted[number] = nil
      elseif time - since > ANSWER_SECONDS then
        asked[node] = asked[node] or {}
        table.insert(asked[node], topic)
      end
    end
  end
  for node, topics in pairs(asked) do ask(node, topics) end
end

--- Once in a while: asks again where something was lost, and lets go of rooms that are empty.
function presence.sweep()
  for _, node in pairs(cluster.nodes) do
    if node.isMissed and node.alive then
      node.isMissed = false
      presence.met(node)
    end
  end
  askAgain(now())
  looked = 0
  for _, self in pairs(heard) do
    if isIdle(self) then
      letGo(self)
    elseif self.idle and isLooked(self) then
      looked = looked + 1
    end
  end
  for topic, self in pairs(deaf) do
    if isEmpty(self) then deaf[topic] = nil else hear(self) end
  end
end

return presence
