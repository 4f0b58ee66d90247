--- Nodes: processes, on one machine or on many, that act as one server.
--
--     sync.cluster("redis://localhost")       -- or sync-lua --cluster=redis://localhost app.lua
--
-- What is sent to a class's `clients` or to a room reaches its clients on every node. An
-- engine carries messages: the parent of workers, Redis or NATS (see
-- lua/sync/cluster/engine.lua). A message leaves a node as one frame, whatever the number of
-- clients, and is framed for clients where they are.
--
-- **Promises.** Messages of one node to one set arrive in their order, at most once. A
-- message that is lost on its way is counted in `lost` by each node that the message did not
-- reach. Nodes tell each other once a second that they live; after five seconds of silence a
-- node's members have gone.
--
-- `sync.cluster` is what this process has to do with others: a node as soon as an engine is
-- linked. Specs make more of them, by `new`.
-- @module sync.cluster

local banning = require "sync.cluster.banning"
local buffer = require "string.buffer"
local Channel = require "sync.cluster.channel"
local Class = require "sync.class"
local Distant = require "sync.cluster.distant"
local Engine = require "sync.cluster.engine"
local Handover = require "sync.cluster.handover"
local Journal = require "sync.cluster.journal"
local Peer = require "sync.cluster.peer"
local Presence = require "sync.cluster.presence"
local Set = require "sync.set"
local Streams = require "sync.cluster.streams"
local clock = require "sync.cluster.clock"
local core = require "sync.core"
local event = require "sync.cluster.event"
local frame = require "sync.cluster.frame"
local held = require "sync.cluster.held"
local log = require "sync.log"
local loop = require "sync.loop"

local BEAT_SECONDS = 1
local SILENT_SECONDS = 5    -- of a node that has died
local MOST_UNSENT = 6 * 1024 * 1024 -- bytes that wait for the engine; its own bounds are above
local MOST_NODES = 16383    -- so that ids have at most 14 digits
local IDS_A_NODE = 2 ^ 32
local CLAIM_SECONDS = 15    -- that a node's number is kept for it, since it was last heard of
local EVERYBODY = "a"       -- the topic of all nodes
local MOST_TOPIC = Engine.MOST_NAME - #Journal.eventsOf "" -- bytes: the log of a topic has a
                            -- longer name
local PLUS = ("+"):byte()

local REDIS, NATS = "sync.cluster.redis", "sync.cluster.nats"
local ENGINES = {redis = REDIS, rediss = REDIS, ["redis+sentinel"] = REDIS, unix = REDIS,
  nats = NATS,
  tls = NATS}

local cluster = {}

local Cluster = Class:extend("Cluster")

--- Makes a node, or what may become one.
-- @tparam sync.cluster.engine|nil engine nil: it is alone, until `open` or `link`
-- @tparam[opt] table given `number` (of the node; nil: one that no other has), `clock`,
-- `onBegin`, a function that is called with the node when it is one, and `before`, one that `open`
-- asks for what `link` is to know of the process before
-- @treturn sync.cluster
function cluster.new(engine, given)
  given = given or {}
  local self
  self = Cluster:new {
    --- What carries messages; false while this process is alone.
    engine = false,
    --- What the engine hears until this process goes on for another, and is asked for; or false.
    held = false,
    --- This node's number; 0 while it is alone.
    node = 0,
    --- Messages of other nodes that were lost on their way here.
    lost = 0,
    --- The others, by number: tables with `number`, `alive`, `counts` (clients by class).
    nodes = {},
    --- How many messages of this node could not be sent, to no node.
    dropped = function() return self.shed + (self.engine and self.engine.dropped or 0) end,
    shed = 0,       -- messages that were not given to the engine
    epoch = 0,      -- tells this process's life as a node from others'
    clock = given.clock or clock,
    onBegin = given.onBegin or function() end,
    before = given.before or function() end,
    sets = {},      -- by topic that this node hears of; false where there is no set
    classes = {},   -- by name
    rooms = {said = function() end, changed = function() end, missed = function() end}, -- onRooms
  }
  if engine then self:link(engine, given.number) end
  return self
end

-- Sending.

local function isControl(type)
  return type >= frame.BEAT
end

function Cluster:send(stream, type, body, kind)
  stream.number = stream.number + 1
  return self.engine:publish(stream.topic,
    frame.write(type, self.node, self.epoch, stream.id, stream.number, body, kind))
end

--- Sends a frame, of which the next beats tell. Where the engine doesn't keep up, the
-- application's messages are left out first, the newest: what nodes have to tell each other
-- finds room, so that none takes another for dead.
-- @treturn boolean whether the frame is on its way
function Cluster:publish(stream, type, body, kind)
  if isControl(type) then stream = self.streams:controlOf(stream) end
  self.streams:note(stream)
  if not isControl(type) and self.engine:unsent(stream.topic) > MOST_UNSENT then
    stream.number = stream.number + 1 -- others notice that this one is missing
    self.shed = self.shed + 1
    log.limited("warn", "shed", "the engine doesn't keep up: messages to other nodes are " ..
      "dropped", {dropped = self.dropped()})
    return false
  end
  return self:send(stream, type, body, kind)
end

--- Sends a frame with a table to another node. What is said of its members' rooms may take a way of
-- its own, and overtake all else: that has an order with events, which go to many nodes.
function Cluster:tell(peer, type, content)
  self:publish(type == frame.ROOM and peer.way or peer.stream, type, buffer.encode(content))
end

--- Sends a frame with a table to all other nodes.
function Cluster:tellAll(type, content)
  self:publish(self.everybody, type, buffer.encode(content))
end

--- Asks the engine for a topic: what comes is for a set, or (false) for the node.
-- @treturn boolean false: the engine has as many topics as it takes
function Cluster:subscribe(topic, set)
  if not self.engine:subscribe(topic) then
    log.limited("error", "topics", "too many rooms have members on this node: what other nodes " ..
      "send to further ones does not reach it", {topic = topic})
    return false
  end
  self.sets[topic], self.sets["+" .. topic] = set, set
  return true
end

function Cluster:unsubscribe(topic)
  local control = "+" .. topic
  self.sets[topic], self.sets[control] = nil, nil
  for _, peer in pairs(self.nodes) do
    peer:forget(topic)
    peer:forget(control)
  end
  self.engine:unsubscribe(topic)
end

-- What comes from other nodes.

-- The topic of what may take a way of its own.
local function wayTo(number) return "w" .. number end

function Cluster:lose(peer, key, count)
  if key == "+" .. wayTo(self.node) then return self.rooms.missed(peer.number) end
  if key:byte() == PLUS then
    self.presence:lost(peer, self.sets[key])
    return
  end
  self.lost = self.lost + count
  log.limited("warn", "lost", ("node %d: %d messages were lost on their way here")
    :format(peer.number, count), {lost = self.lost})
end

function Cluster:isNext(peer, key, id, number)
  local isNext, missing = peer:take(key, id, number)
  if missing > 0 then self:lose(peer, key, missing) end
  return isNext
end

function Cluster:meet(number, epoch, before)
  local peer = Peer.new(number, epoch, before and before.epoch, self.clock)
  peer.stream, peer.way = self.streams:add("n" .. number), self.streams:add(wayTo(number))
  self.nodes[number] = peer
  self.engine:pair(wayTo(self.node), peer.way.topic)
  return peer
end

function Cluster:bury(peer, why)
  peer.alive = false
  peer.counts = {}
  self.presence:gone(peer)
  self.rooms.changed(peer.number, false)
  log.info(("node %d %s"):format(peer.number, why))
end

-- Whatever comes from a node shows that it lives.
function Cluster:hear(peer)
  peer.heard = self.clock.now()
  if peer.alive then return end
  peer.alive = true
  log.info(("node %d is there"):format(peer.number))
  self.presence:met(peer)
  banning.met(self, peer)
  self.rooms.changed(peer.number, true)
end

--- Tells somebody what other nodes say about rooms, `said(node, table)`, of which nodes some of
-- that was lost, `missed(node)`, and which nodes come and go, `changed(node, isThere)`.
function Cluster:onRooms(handlers)
  self.rooms = handlers
end

-- The table of a frame.
local function content(bytes)
  return frame.decode(bytes, frame.HEAD)
end

local receive = {}

receive[frame.DATA] = function(_, _, set, bytes)
  if set then set:deliver(bytes, frame.HEAD, frame.kind(bytes)) end
end

receive[frame.FIRE] = function(_, _, set, bytes)
  if not set then return end
  local text, how, list = event.read(bytes, frame.HEAD + 1, frame.flags(bytes))
  local _, node, _, stream, number = frame.read(bytes)
  set:deliverEvent(text, how, set.resumable and frame.eventName(node, stream, number), list)
end

receive[frame.DIRECT] = function(_, _, _, bytes)
  Distant.receive(bytes)
end

receive[frame.BEAT] = function(self, peer, _, bytes)
  local said = content(bytes)
  peer.counts = said.counts
  peer:hearClaims(said.claims, self.sets, BEAT_SECONDS)
end

-- It comes by each way, behind all that was said before.
receive[frame.BYE] = function(self, peer)
  peer.byes = peer.byes + 1
  if peer.alive and peer.byes == 2 then self:bury(peer, "has stopped") end
end

receive[frame.BACK] = function(self)
  self.streams:claimAgain()
end

receive[frame.ASK] = function(self, peer, _, bytes)
  self.presence:asked(peer, content(bytes))
end

receive[frame.MEMBERS] = function(self, peer, _, bytes)
  self.presence:told(peer, content(bytes))
end

receive[frame.CHANGES] = function(_, peer, set, bytes)
  if set then set.channel:changed(peer, content(bytes)) end
end

receive[frame.ROOM] = function(self, peer, _, bytes)
  self.rooms.said(peer.number, content(bytes))
end

receive[frame.BANS] = function(_, _, _, bytes)
  banning.hear(content(bytes))
end

receive[frame.TAKE] = function(self, peer, _, bytes)
  self.handover:asked(peer, content(bytes))
end

receive[frame.GIVEN] = function(self, _, _, bytes)
  self.handover:given(content(bytes))
end

-- The node that a frame is of; nil when that one has been replaced.
local function senderOf(self, number, epoch)
  local peer = self.nodes[number]
  if peer and peer.epoch == epoch then return peer end
  if peer and peer.before == epoch then return nil end -- late words of one that has died
  if peer and peer.alive then self:bury(peer, "has been replaced") end
  return self:meet(number, epoch, peer)
end

local function onMessage(self, topic, bytes)
  local type, number, epoch, id, count = frame.read(bytes)
  local act = type and receive[type]
  if not act or number == self.node and epoch == self.epoch then return end
  local peer = senderOf(self, number, epoch)
  if not peer then return end
  self:hear(peer)
  local set = self.sets[topic]
  if type == frame.DATA then
    if self:isNext(peer, topic, id, count) then act(self, peer, set, bytes) end
    return
  end
  if not self:isNext(peer, isControl(type) and "+" .. topic or topic, id, count) then return end
  local ok, problem = pcall(act, self, peer, set, bytes)
  if not ok then
    log.limited("error", "frame", ("node %d: a frame can't be read: %s"):format(number,
      tostring(problem)))
  end
end

-- The beat.

local function beat(self)
  local counts = {}
  for name, class in pairs(self.classes) do counts[name] = class.clients:count() end
  self:send(self.streams:controlOf(self.everybody), frame.BEAT,
    buffer.encode {counts = counts, claims = self.streams:claims()})
end

local function checkPeer(self, peer)
  peer:checkClaims(function(key, count) self:lose(peer, key, count) end)
  local silence = self.clock.now() - peer.heard
  if peer.alive and silence > SILENT_SECONDS then
    self:bury(peer, ("has been silent for %d s: its members have gone"):format(SILENT_SECONDS))
  elseif silence > Streams.FORGET_SECONDS then
    self.nodes[peer.number] = nil
  end
end

local function onBeat(self)
  beat(self)
  self.journal:beat()
  for _, peer in pairs(self.nodes) do checkPeer(self, peer) end
  self.presence:sweep()
end

-- This node's number, which no other may have. Ids that were given under another one stay
-- as they are, but other nodes find their clients no more.
local function takeNumber(self, number)
  if self.node ~= 0 then
    self:unsubscribe("n" .. self.node)
    self:unsubscribe(wayTo(self.node))
  end
  self.node = number
  loop.firstId(number * IDS_A_NODE)
  self:subscribe("n" .. number, false)
  self:subscribe(wayTo(number), false)
end

local function claimNumber(self)
  local engine = self.engine
  local key, mine = "node/" .. self.node, ("%d"):format(self.epoch)
  engine:add(key, mine, CLAIM_SECONDS, function(added, problem)
    if added or problem then return end
    engine:get(key, function(owner)
      if owner == mine then
        engine:expire(key, CLAIM_SECONDS)
      elseif owner then
        takeNumber(self, 1 + core.randomNumber(MOST_NODES))
        claimNumber(self)
      end
    end)
  end)
end

-- Classes and rooms.

--- The topic of a class's clients, or of one of its rooms.
function Cluster.topicOf(class, room)
  return room and ("r/%s/%s"):format(class, room) or "c/" .. class
end

--- Makes a room's messages reach other nodes. The room is of the class whose `clients` are given.
function Cluster:addRoom(all, room)
  local topic = type(room.name) == "string" and self.topicOf(all.name, room.name)
  if not topic or #topic > MOST_TOPIC then
    log.limited("warn", "room name", "a room's name is no string, or too long: its messages " ..
      "stay on this node", {room = tostring(room.name):sub(1, 40)})
    return
  end
  self.presence:watch(room, topic)
end

--- Makes a class's messages reach other nodes. Called for each that is enabled.
function Cluster:addClass(class)
  if not self.engine or self.classes[class.className] == class then return end
  if #class.className > Set.MOST_CLASS_NAME or class.className:find("/", 1, true) then
    error(("the class %q: in a cluster a name has at most %d bytes, and no slash")
      :format(class.className:sub(1, 100), Set.MOST_CLASS_NAME), 3)
  end
  if self.classes[class.className] then
    error(("two classes have the name %q: nodes know classes by their names")
      :format(class.className), 3)
  end
  local topic, all = self.topicOf(class.className), class.clients
  self.classes[class.className] = class
  all.name, all.channel = class.className, Channel:open(self, all, topic)
  if class.keepSessions then class:keepSessions(self.handover) end
  self:subscribe(topic, all)
  for _, room in pairs(class.roomsByName) do self:addRoom(all, room) end
end

--- The client of an id that is on another node.
-- @treturn table|nil with `id`, `node`, `send`, `fire` and `close`; nil when its node is not
-- there
function Cluster:distant(id)
  local number = math.floor(id / IDS_A_NODE)
  local peer = self.nodes[number]
  return peer and peer.alive and Distant.new(self, id, number) or nil
end

--- The topics that it hears.
-- @treturn table a list
function Cluster:topics()
  local list = {}
  for topic in pairs(self.sets) do
    if topic:byte() ~= PLUS then list[#list + 1] = topic end
  end
  return list
end

--- What operators want to know of this node.
-- @treturn table `node`, `worker`, `others` (nodes that are alive), `isUp`, `lost`, `dropped`,
-- `unsent` (bytes that wait for the engine)
function Cluster:state()
  local others = 0
  for _, peer in pairs(self.nodes) do others = others + (peer.alive and 1 or 0) end
  return {node = self.node, worker = core.worker, others = others,
    isUp = self.engine:isUp(), lost = self.lost, dropped = self.dropped(),
    unsent = self.engine:unsent()}
end

-- Beginning and end.

-- Whether another node may have the number shows in what the engine keeps for all.
local function keepNumber(self)
  local pause = CLAIM_SECONDS / 3
  self.numberTimer = self.clock.startTimer(pause, pause, function() claimNumber(self) end)
end

local function onUp(self)
  if self.numberTimer then claimNumber(self) end
  self.streams:claimAgain()
  beat(self)
  self:tellAll(frame.BACK, {})
  self.presence:askAll()
end

--- Makes it a node, by an engine.
-- @tparam sync.cluster.engine engine
-- @tparam[opt] number number of the node; nil: one that no other has
-- @tparam[opt] table before what lua/sync/cluster/carried.lua says of the same node in the process
-- before
function Cluster:link(engine, number, before)
  self.engine = engine
  self.epoch = before and before.epoch or
    math.floor(os.time() * 16 + core.randomNumber(16)) % 2 ^ 32
  self.streams = Streams.new(self.clock, before and before.lastStream)
  self.everybody = self.streams:add(EVERYBODY)
  self.presence = Presence.new(self)
  self.journal = Journal.new(self)
  self.handover = Handover.new(self)
  self:subscribe(EVERYBODY, false)
  takeNumber(self, number or before and before.number or 1 + core.randomNumber(MOST_NODES))
  if not number then keepNumber(self) end
  self.beatTimer = self.clock.startTimer(BEAT_SECONDS, BEAT_SECONDS, function() onBeat(self) end)
  loop.beforeLinksClose(function() self:stop() end)
  engine:attach {
    onMessage = function(topic, bytes) onMessage(self, topic, bytes) end,
    onUp = function() onUp(self) end,
  }
  banning.begin(self)
  self.onBegin(self)
end

--- Tells the others that this node stops, and gives its number back.
function Cluster:stop()
  if self.isOver then return end
  self.isOver = true
  self.presence:flush()
  for _, peer in pairs(self.nodes) do
    self:publish(peer.stream, frame.BYE, buffer.encode {})
    self:publish(peer.way, frame.BYE, buffer.encode {})
  end
  self.clock.stopTimer(self.beatTimer)
  if self.numberTimer then
    self.clock.stopTimer(self.numberTimer)
    self.engine:remove("node/" .. self.node)
  end
end

--- Makes it a node, by the engine of a URL.
-- @treturn sync.cluster|nil or nil and a message
function Cluster:open(url)
  if self.engine then return nil, "this process is a node already" end
  local scheme = type(url) == "string" and url:match("^([%a+]+):")
  local module = scheme and ENGINES[scheme]
  if not module then
    return nil, ("%s is no URL of an engine: there are redis://HOST and nats://HOST")
      :format(tostring(url):gsub("//[^@/]*@", "//…@"))
  end
  local before = self.before()
  local engine, problem = loop.early(require(module).open, url)
  if not engine then return nil, problem end
  if before then
    if before.kind ~= engine.kind then
      return nil, ("an upgrade can't move a node from %s to %s"):format(before.kind, engine.kind)
    end
    self.held = held.begin(engine)
    if before.server then engine:keepTo(before.server) end
  end
  self:link(engine, nil, before)
  return self
end

function Cluster:__call(url)
  local done, problem = self:open(url)
  if not done then error("sync.cluster: " .. problem, 2) end
  return done
end

return cluster
