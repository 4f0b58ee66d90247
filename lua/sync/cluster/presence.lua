--- Who is in the rooms of a cluster.
--
-- A node hears of a room while the room has members there, and tells the others who comes and
-- goes. Whoever begins to hear of a room asks who is there; where a message was lost, or a node
-- was away, the question is asked again.
--
-- The engine has a bound on what a node hears of, which clients must not use up by names that
-- they invent. A room whose last member has left is let go: after some seconds, for its members
-- often come back; sooner where there are many. One that was only looked at is let go after a
-- minute; a client has a share of those.
-- @classmod sync.cluster.presence

local Channel = require "sync.cluster.channel"
local Share = require "sync.cluster.share"
local buffer = require "string.buffer"
local frame = require "sync.cluster.frame"
local log = require "sync.log"
local loop = require "sync.loop"
local values = require "sync.cluster.values"

local IDLE_SECONDS = 5      -- that a room without members is still heard of
local LOOKED_SECONDS = 60   -- the same, since somebody has asked for its members
local MOST_IDLE = 1000      -- rooms without members that are still heard of for that
local MOST_LOOKED = 10000   -- the same that were looked at, and of which
local LOOKED_A_CLIENT = 1000 -- one may look at so many in LOOKED_SECONDS
local MOST_OTHERS = 200000  -- members of other nodes, of all rooms; further ones are left out
local SETTLE_SECONDS = 1    -- that who has joined waits for the engine's word
local ANSWER_SECONDS = 2    -- that a node has to answer before the question is asked again
local MEMBERS_A_FRAME = 500
local TOPICS_A_FRAME = 500

local Presence = {}
Presence.__index = Presence

--- Makes that of a node, which hears of no room.
-- @tparam sync.cluster cluster
function Presence.new(cluster)
  local self
  self = setmetatable({
    cluster = cluster,
    clock = cluster.clock,
    heard = {},             -- rooms' channels that the node hears of, by topic
    deaf = {},              -- those with members that it should hear of: the engine has no room
    parked = {first = 1, last = 0}, -- those that all have left: {channel, since when}
    looked = 0,             -- how many are heard of since somebody looked at them, about
    looks = Share.new(LOOKED_A_CLIENT, LOOKED_SECONDS, cluster.clock),
    changed = {},           -- in this tick: channels of rooms whose members have
    begun = {},             -- in this tick: topics that are heard of anew
    others = 0,             -- members on other nodes
    atEnd = function() self:flush() end,
  }, Presence)
  return self
end

-- Lists are cut, so that frames are not too long.
local function inPieces(list, size, fn)
  for first = 1, #list, size do
    fn({unpack(list, first, math.min(#list, first + size - 1))})
  end
end

-- A room's channel.

local Room = Channel:extend("RoomChannel")

--- Gives a room a channel: other nodes know its members from now on.
function Presence:watch(room, topic)
  local channel = Room:open(self.cluster, room, topic)
  channel.presence = self
  channel.changes = false    -- of this tick: values as texts by id, false of those that have gone
  channel.nodes = {}         -- members by id, by node
  channel.known = 0          -- how many these are
  channel.wanted = {}        -- when nodes were asked that haven't answered
  channel.looked = -math.huge
  channel.idle = false       -- since when the room has no members
  channel.isHeard = false    -- whether the engine has said so
  channel.isUnsure = false   -- or that it can't say
  channel.round = 0          -- how often the node has begun to hear of the room
  channel.waiting = false    -- functions that wait for that
  room.channel = channel
  for client in room do channel:note(client, true) end
end

-- Whether nobody is in the room who hears what is sent to it, now or when coming back.
function Room:isEmpty()
  local absent = self.set.absent
  return self.set:count() == 0 and not (absent and next(absent))
end

function Room:isLooked()
  return self.presence.clock.now() - self.looked <= LOOKED_SECONDS
end

function Room:hear()
  local presence, topic = self.presence, self.topic
  if presence.heard[topic] then return end
  if not self.cluster:subscribe(topic, self.set) then
    presence.deaf[topic] = self
    return
  end
  presence.heard[topic], presence.deaf[topic] = self, nil
  self.isHeard, self.round = false, self.round + 1
  presence.begun[#presence.begun + 1] = topic
  loop.atEnd(presence.atEnd)
end

function Room:letGo()
  local heard = self.presence.heard
  if heard[self.topic] ~= self then return end
  heard[self.topic] = nil
  self:tellHeard()
  self.cluster:unsubscribe(self.topic)
  for number in pairs(self.nodes) do self:clear(number) end
end

-- Tells those who wait that they need not any more.
function Room:tellHeard()
  local waiting = self.waiting
  if not waiting then return end
  self.waiting = false
  self.presence.clock.stopTimer(waiting.timer)
  for _, fn in ipairs(waiting) do self.cluster.engine:guard("join", fn) end
end

--- Calls a function when messages of other nodes are sure to arrive here, or after a second.
-- @tparam function fn
-- @treturn boolean false: they are already, or never will be: the function isn't called
function Room:whenHeard(fn)
  if self.isHeard or self.presence.heard[self.topic] ~= self then return false end
  local waiting = self.waiting
  if not waiting then
    waiting = {timer = self.presence.clock.startTimer(SETTLE_SECONDS, 0, function()
      log.limited("warn", "settle", ("%s has not said within %d s that messages of other nodes " ..
        "to a room arrive here: who has joined is told so all the same"):format(
        self.cluster.engine.kind, SETTLE_SECONDS), {room = self.set.name})
      self:tellHeard()
    end)}
    self.waiting = waiting
  end
  waiting[#waiting + 1] = fn
  return true
end

local function valueOf(client, room)
  local joined = client.joined and client.joined.values
  return values.note(joined and joined[room.name], "a member's value")
end

-- What is to be told of a member: its value as a text, or that it has gone.
local function change(self, id, text)
  local presence = self.presence
  if not self.changes then
    self.changes = {}
    presence.changed[#presence.changed + 1] = self
    loop.atEnd(presence.atEnd)
  end
  self.changes[id] = text
end

-- A client has come into the room, or gone.
function Room:note(client, isIn)
  change(self, client.id, isIn and valueOf(client, self.set))
  if isIn then self:hear() end
end

--- A member of the process before isn't in the room any more.
function Room:noteGone(id) change(self, id, false) end

-- Whether a room may be one that was looked at.
function Room:mayLook()
  if self:isLooked() then return true end
  local presence = self.presence
  if presence.looked >= MOST_LOOKED or not presence.looks:take(loop.cause(), 1) then
    return false
  end
  if self:isEmpty() then presence.looked = presence.looked + 1 end
  return true
end

-- Somebody looks at the room here.
function Room:look()
  if self:mayLook() then
    self.looked = self.presence.clock.now()
  elseif self:isEmpty() then
    log.limited("warn", "looks", "too many rooms without members here are looked at: who is in " ..
      "further ones on other nodes is not known", {room = self.set.name})
    return
  end
  self:hear()
end

--- How many members the room has on other nodes.
-- @treturn number
function Room:count()
  self:look()
  return self.known
end

--- Who they are.
-- @treturn table a list of `{id, value}`
function Room:members()
  self:look()
  local list = {}
  for _, members in pairs(self.nodes) do
    for _, member in pairs(members) do
      list[#list + 1] = {id = member.id, value = member.value}
    end
  end
  return list
end

function Room:drop(members, id)
  if not members or not members[id] then return end
  members[id] = nil
  self.known = self.known - 1
  self.presence.others = self.presence.others - 1
end

function Room:put(number, id, text)
  local members, presence = self.nodes[number], self.presence
  if not members then
    members = {}
    self.nodes[number] = members
  end
  if not members[id] then
    if presence.others >= MOST_OTHERS then
      log.limited("warn", "members", ("more than %d members are in rooms on other nodes: " ..
        "further ones are not counted"):format(MOST_OTHERS))
      return
    end
    self.known = self.known + 1
    presence.others = presence.others + 1
  end
  members[id] = {id = id, value = values.read(text)}
end

--- Forgets the members on a node.
function Room:clear(number)
  for id in pairs(self.nodes[number] or {}) do self:drop(self.nodes[number], id) end
  self.nodes[number] = nil
end

--- A node tells what has changed in the room.
function Room:changed(peer, changes)
  for id, text in pairs(changes) do
    if text then
      self:put(peer.number, id, text)
    else
      self:drop(self.nodes[peer.number], id)
    end
  end
end

-- Whether a room need not be heard of any more.
function Room:isIdle()
  if not self:isEmpty() then
    self.idle = false
    return false
  end
  local time = self.presence.clock.now()
  self.idle = self.idle or time
  return time - self.idle > IDLE_SECONDS and not self:isLooked()
end

-- Asking, and telling.

-- Notes that all have left a room. Of too many such rooms those that were left first are let go.
function Presence:park(channel)
  local parked = self.parked
  channel.idle = self.clock.now()
  parked.last = parked.last + 1
  parked[parked.last] = {channel, channel.idle}
  while parked.last - parked.first >= MOST_IDLE do
    local other, since = unpack(parked[parked.first])
    parked[parked.first] = nil
    parked.first = parked.first + 1
    if other.idle == since and other:isEmpty() and not other:isLooked() then other:letGo() end
  end
end

local function allTopics(self)
  local topics = {}
  for topic in pairs(self.heard) do topics[#topics + 1] = topic end
  return topics
end

-- Notes that a node has been asked for rooms: it is asked again until it answers.
local function expect(self, topics, peer)
  local time = self.clock.now()
  for _, topic in ipairs(topics) do self.heard[topic].wanted[peer.number] = time end
end

local function ask(self, peer, topics)
  expect(self, topics, peer)
  inPieces(topics, TOPICS_A_FRAME, function(piece) self.cluster:tell(peer, frame.ASK, piece) end)
end

local function askAll(self, topics)
  for _, peer in pairs(self.cluster.nodes) do
    if peer.alive then expect(self, topics, peer) end
  end
  inPieces(topics, TOPICS_A_FRAME, function(piece) self.cluster:tellAll(frame.ASK, piece) end)
end

--- Tells other nodes what has changed in this tick.
function Presence:flush()
  for i, channel in ipairs(self.changed) do
    self.changed[i] = nil
    self.cluster:publish(channel.stream, frame.CHANGES, buffer.encode(channel.changes))
    channel.changes = false
    if channel:isEmpty() then self:park(channel) else channel.idle = false end
  end
  if #self.begun > 0 then
    local topics = {}
    for _, topic in ipairs(self.begun) do
      if self.heard[topic] then topics[#topics + 1] = topic end
    end
    self.begun = {}
    if #topics > 0 then self:settle(topics) end
    askAll(self, topics)
  end
end

-- Asks the engine when topics that were asked for are heard.
function Presence:settle(topics)
  local channels, rounds = {}, {}
  for i, topic in ipairs(topics) do
    local channel = self.heard[topic]
    channels[i], rounds[i], channel.isUnsure = channel, channel.round, false
  end
  self.cluster.engine:settle(function(isHeard)
    for i, channel in ipairs(channels) do
      if self.heard[channel.topic] == channel and channel.round == rounds[i] then
        channel.isHeard, channel.isUnsure = isHeard == true, not isHeard
        if isHeard then channel:tellHeard() end
      end
    end
  end)
end

--- Asks all nodes who is in the rooms.
function Presence:askAll()
  askAll(self, allTopics(self))
end

--- A node has come, or is back: it is asked who is in the rooms.
function Presence:met(peer)
  ask(self, peer, allTopics(self))
end

-- What is to be said of rooms, in pieces: {topic, whether this is the first piece, values by id}.
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
function Presence:asked(peer, topics)
  local frameful, count = {}, 0
  for _, piece in ipairs(describe(topics, self.cluster.sets)) do
    frameful[#frameful + 1] = piece
    for _ in pairs(piece.members) do count = count + 1 end
    if count >= MEMBERS_A_FRAME then
      self.cluster:tell(peer, frame.MEMBERS, frameful)
      frameful, count = {}, 0
    end
  end
  if #frameful > 0 then self.cluster:tell(peer, frame.MEMBERS, frameful) end
end

--- A node answers who is in its rooms.
function Presence:told(peer, pieces)
  for _, piece in ipairs(pieces) do
    local channel = self.heard[piece.topic]
    if channel then
      channel.wanted[peer.number] = nil
      if piece.isFirst then channel:clear(peer.number) end
      channel:changed(peer, piece.members)
    end
  end
end

--- Something that a node has told was lost: of the room, or else of any. The node is asked
-- again, soon.
function Presence:lost(peer, room)
  local channel = room and self.heard[room.channel.topic]
  if channel then
    channel.wanted[peer.number] = 0
  elseif not room then
    peer.isMissed = true
  end
end

--- A node has died, or stopped: its members have gone.
function Presence:gone(peer)
  for _, channel in pairs(self.heard) do channel:clear(peer.number) end
end

-- Asks nodes again that haven't answered, or have told something that was lost.
local function askAgain(self)
  local asked, time = {}, self.clock.now()
  for topic, channel in pairs(self.heard) do
    for number, since in pairs(channel.wanted) do
      local peer = self.cluster.nodes[number]
      if not peer or not peer.alive then
        channel.wanted[number] = nil
      elseif time - since > ANSWER_SECONDS then
        asked[peer] = asked[peer] or {}
        table.insert(asked[peer], topic)
      end
    end
  end
  for peer, topics in pairs(asked) do ask(self, peer, topics) end
end

--- Once in a while: asks again where something was lost, and lets go of rooms that are empty.
function Presence:sweep()
  for _, peer in pairs(self.cluster.nodes) do
    if peer.isMissed and peer.alive then
      peer.isMissed = false
      self:met(peer)
    end
  end
  askAgain(self)
  self.looked = 0
  local unsure = {}
  for topic, channel in pairs(self.heard) do
    if channel.isUnsure then unsure[#unsure + 1] = topic end
  end
  if #unsure > 0 then self:settle(unsure) end
  for _, channel in pairs(self.heard) do
    if channel:isIdle() then
      channel:letGo()
    elseif channel.idle and channel:isLooked() then
      self.looked = self.looked + 1
    end
  end
  for topic, channel in pairs(self.deaf) do
    if channel:isEmpty() then self.deaf[topic] = nil else channel:hear() end
  end
end

return Presence
