--- Nodes: processes, on one machine or on many, that act as one server.
--
--     sync.cluster("redis://localhost")       -- or sync-lua --cluster=redis://localhost app.lua
--
-- What is sent to a class's `clients` or to a room reaches its clients on every node. An
-- engine carries it: the parent of workers (`sync.bus`), Redis (`sync.redis`) or NATS
-- (`sync.nats`). A message leaves a node as one frame, whatever the number of clients, and is
-- framed for clients where they are.
--
-- **Promises.** Messages of one node to one set arrive in their order, at most once. A
-- message that is lost on its way is counted in `lost` by each node that it did not reach.
-- Nodes tell each other once a second that they live; after five seconds of silence a node's
-- members have gone.
-- @module sync.cluster

local buffer = require "string.buffer"
local Set = require "sync.set"
local core = require "sync.core"
local frame = require "sync.cluster.frame"
local log = require "sync.log"
local loop = require "sync.loop"

local now = core.C.sync_now

local BEAT_SECONDS = 1
local SILENT_SECONDS = 5    -- of a node that has died
local FORGET_SECONDS = 60   -- in which one that comes back goes on where it was
local CLAIM_BEATS = 3       -- how often a node tells what it has sent last, and again when one of
                            -- the two was away: it may have been so for longer
local MOST_CLAIMS = 2000    -- in one beat; others wait for the next
local MOST_RECENT = 20000   -- outlets of which beats tell; further ones are left out
local MANY_RECENT = 10000   -- then those that were told are forgotten at once
local MOST_UNSENT = 6 * 1024 * 1024 -- bytes that wait for the engine; its own bounds are above
local MOST_NODES = 16383    -- so that ids have at most 14 digits
local IDS_A_NODE = 2 ^ 32
local CLAIM_SECONDS = 15    -- that a node's number is kept for it, since it was last heard of
local EVERYBODY = "a"       -- the topic of all nodes
local PLUS = ("+"):byte()

local cluster = {
  --- What carries messages; false while this process is alone.
  engine = false,
  --- This node's number; 0 while it is alone.
  node = 0,
  --- Messages of other nodes that were lost on their way here.
  lost = 0,
  --- Functions that are called once a second.
  everyBeat = {},
  --- The others, by number: tables with `number`, `alive`, `counts` (clients by class).
  nodes = {},
}

local nodes = cluster.nodes
local sets = {}      -- by topic that this node hears of; false where there is no set
local classes = {}   -- by name
local recent = {}    -- outlets that have sent in the last FORGET_SECONDS
local byTopic = {}   -- these, but for those of control frames
local epoch = 0
local lastStream = 0
local shed = 0       -- messages that were not given to the engine
local beatTimer, keepNumber
local presence       -- loaded when it begins

--- Messages of this node that could not be sent, to no node.
-- @treturn number
function cluster.dropped()
  return shed + (cluster.engine and cluster.engine.dropped or 0)
end

-- Outlets: what this node sends to a topic, numbered. What nodes have to tell each other has
-- numbers of its own, so that `lost` counts the application's messages alone; its key is that
-- of the topic with a + before it.

local function newOutlet(topic, key)
  lastStream = lastStream + 1
  return {topic = topic, key = key or topic, stream = lastStream, number = 0, control = false,
    isRecent = false, -- whether it is in `recent`
    sentAt = 0,       -- about when it has sent last
    beats = 0}        -- that are yet to tell of it
end

-- A room may have been forgotten, and made anew, since it has sent: its numbers go on.
local function outletOf(topic)
  return byTopic[topic] or newOutlet(topic)
end

local function noteSending(outlet)
  if not outlet.isRecent then
    if #recent >= MOST_RECENT then return end
    recent[#recent + 1], outlet.isRecent = outlet, true
    if outlet.key == outlet.topic then byTopic[outlet.topic] = outlet end
  end
  outlet.beats = CLAIM_BEATS
end

local everybody = newOutlet(EVERYBODY)

local function isControl(type)
  return type >= frame.BEAT
end

local function controlOf(outlet)
  outlet.control = outlet.control or newOutlet(outlet.topic, "+" .. outlet.topic)
  return outlet.control
end

local function send(outlet, type, body)
  outlet.number = outlet.number + 1
  return cluster.engine:publish(outlet.topic,
    frame.write(type, cluster.node, epoch, outlet.stream, outlet.number, body))
end

-- The same, and the next beats tell that it was sent. Where the engine doesn't keep up, the
-- application's messages are left out first, the newest: what nodes have to tell each other
-- finds room, so that none takes another for dead.
local function publish(outlet, type, body)
  if isControl(type) then outlet = controlOf(outlet) end
  noteSending(outlet)
  if not isControl(type) and cluster.engine:unsent() > MOST_UNSENT then
    outlet.number = outlet.number + 1 -- others notice that it's missing
    shed = shed + 1
    log.limited("warn", "shed", "the engine doesn't keep up: messages to other nodes are " ..
      "dropped", {dropped = cluster.dropped()})
    return false
  end
  return send(outlet, type, body)
end
cluster.publish = publish

--- Sends a frame with a table to another node.
function cluster.tell(node, type, content)
  publish(node.outlet, type, buffer.encode(content))
end

--- Sends a frame with a table to all other nodes.
function cluster.tellAll(type, content)
  publish(everybody, type, buffer.encode(content))
end


-- Returns false when the engine is asked for as many topics as it may be.
local function subscribe(topic, set)
  if not cluster.engine:subscribe(topic) then
    log.limited("error", "topics", "too many rooms have members on this node: what other nodes " ..
      "send to further ones does not reach it", {topic = topic})
    return false
  end
  sets[topic], sets["+" .. topic] = set, set
  return true
end
cluster.subscribe = subscribe

function cluster.unsubscribe(topic)
  local control = "+" .. topic
  sets[topic], sets[control] = nil, nil
  for _, node in pairs(nodes) do node.streams[topic], node.streams[control] = nil, nil end
  cluster.engine:unsubscribe(topic)
end

-- What comes from other nodes.

local function lose(node, key, count)
  if key:byte() == PLUS then
    presence.lost(node, sets[key])
    return
  end
  cluster.lost = cluster.lost + count
  log.limited("warn", "lost", ("node %d: %d messages were lost on their way here")
    :format(node.number, count), {lost = cluster.lost})
end

-- Whether a frame is the next that is wanted of its stream. Notes those that are missing.
local function isNext(node, key, stream, number)
  local seen = node.streams[key]
  if not seen then
    node.streams[key] = {stream = stream, number = number, claimed = 0}
    return true
  end
  if stream ~= seen.stream then
    if stream < seen.stream then return false end
    seen.stream, seen.number, seen.claimed = stream, 0, 0
  end
  local missing = number - seen.number - 1
  if missing < 0 then return false end
  seen.number = number
  if missing > 0 then lose(node, key, missing) end
  return true
end

-- What another node says it has sent by now. What does not arrive until the next beat is
-- lost.
local function hearClaims(node, claims)
  for i = 1, #claims, 3 do
    local key, stream, number = claims[i], claims[i + 1], claims[i + 2]
    local seen = node.streams[key]
    if seen and seen.stream <= stream and sets[key] ~= nil then
      if seen.stream < stream then seen.stream, seen.number, seen.claimed = stream, 0, 0 end
      if number > seen.number and number > seen.claimed then
        seen.claimed = number
        node.claimed[key] = {seen, stream, number, now() + BEAT_SECONDS}
      end
    elseif not seen and sets[key] ~= nil then
      node.streams[key] = {stream = stream, number = number, claimed = number}
    end
  end
end

local function checkClaims(node)
  for key, claim in pairs(node.claimed) do
    local seen, stream, number, due = unpack(claim)
    if seen.stream ~= stream or seen.number >= number then
      node.claimed[key] = nil
    elseif now() >= due then
      node.claimed[key] = nil
      local missing = number - seen.number
      seen.number = number
      lose(node, key, missing)
    end
  end
end

local function meet(number, itsEpoch, before)
  local node = {number = number, epoch = itsEpoch, before = before and before.epoch,
    alive = false, heard = now(), counts = {}, streams = {}, claimed = {},
    outlet = newOutlet("n" .. number)}
  nodes[number] = node
  return node
end

local function bury(node, why)
  node.alive = false
  node.counts = {}
  presence.gone(node)
  log.info(("node %d %s"):format(node.number, why))
end

-- The table of a frame.
local function content(bytes)
  return frame.decode(bytes, frame.HEAD)
end

-- Whatever comes from a node shows that it lives.
local function hear(node)
  node.heard = now()
  if node.alive then return end
  node.alive = true
  log.info(("node %d is there"):format(node.number))
  presence.met(node)
end

local receive = {}

receive[frame.DATA] = function(_, set, bytes)
  if set then set:deliver(bytes, frame.HEAD) end
end

-- The event that is being delivered: what makes it one, wherever it came by.
local origin = {node = 0, stream = 0, number = 0}

--- A name of the event that this node has fired last, or that it is delivering: the same on
-- all nodes.
-- @treturn string
function cluster.eventName()
  return ("%d.%d.%d"):format(origin.node, origin.stream, origin.number)
end

local function note(node, stream, number)
  origin.node, origin.stream, origin.number = node, stream, number
end

receive[frame.FIRE] = function(_, set, bytes)
  if not set then return end
  local _, node, _, stream, number = frame.read(bytes)
  note(node, stream, number)
  set:deliverEvent(bytes:sub(frame.HEAD + 1))
end

receive[frame.BEAT] = function(node, _, bytes)
  local said = content(bytes)
  node.counts = said.counts
  hearClaims(node, said.claims)
end

receive[frame.BYE] = function(node)
  if node.alive then bury(node, "has stopped") end
end

local DIRECT = {
  function(client, text) client:send(text) end,
  function(client, text) client:deliverEvent(text) end,
  function(client, text) client:close(text ~= "" and text or nil) end,
}

receive[frame.DIRECT] = function(_, _, bytes)
  local verb, id, text = frame.readDirect(bytes)
  local act, client = DIRECT[verb], id and loop.find(id)
  if act and client then act(client, text) end
end

receive[frame.ASK] = function(node, _, bytes)
  presence.asked(node, content(bytes), sets)
end

receive[frame.MEMBERS] = function(node, _, bytes)
  presence.told(node, content(bytes), sets)
end

--- Lets a function of a node and a table receive frames of a type.
function cluster.onFrame(type, fn)
  receive[type] = function(node, _, bytes) fn(node, content(bytes)) end
end

receive[frame.CHANGES] = function(node, set, bytes)
  if set then presence.changed(node, set, content(bytes)) end
end

local function onMessage(topic, bytes)
  local type, number, itsEpoch, stream, count = frame.read(bytes)
  local act = type and receive[type]
  if not act or number == cluster.node and itsEpoch == epoch then return end
  local node = nodes[number]
  if not node or node.epoch ~= itsEpoch then
    if node and node.before == itsEpoch then return end -- late words of one that has died
    if node and node.alive then bury(node, "has been replaced") end
    node = meet(number, itsEpoch, node)
  end
  hear(node)
  if type == frame.DATA then
    if isNext(node, topic, stream, count) then act(node, sets[topic], bytes) end
    return
  end
  if not isNext(node, isControl(type) and "+" .. topic or topic, stream, count) then return end
  local ok, problem = pcall(act, node, sets[topic], bytes)
  if not ok then
    log.limited("error", "frame", ("node %d: a frame can't be read: %s"):format(number,
      tostring(problem)))
  end
end

-- The beat.

-- What this node has sent lately: key, stream, number, …
local function claims()
  local list, kept, time, isLong = {}, {}, now(), #recent > MANY_RECENT
  for _, outlet in ipairs(recent) do
    if outlet.beats == CLAIM_BEATS then outlet.sentAt = time end
    if outlet.beats > 0 and #list < 3 * MOST_CLAIMS then
      list[#list + 1], list[#list + 2], list[#list + 3] =
        outlet.key, outlet.stream, outlet.number
      outlet.beats = outlet.beats - 1
    end
    outlet.isRecent = outlet.beats > 0 or not isLong and time - outlet.sentAt <= FORGET_SECONDS
    if outlet.isRecent then
      kept[#kept + 1] = outlet
    elseif byTopic[outlet.topic] == outlet then
      byTopic[outlet.topic] = nil
    end
  end
  recent = kept
  return list
end

-- Tells again what was sent in the last FORGET_SECONDS. This node was away, or another.
local function claimAgain()
  for _, outlet in ipairs(recent) do outlet.beats = CLAIM_BEATS end
end

receive[frame.BACK] = claimAgain

local function beat()
  local counts = {}
  for name, class in pairs(classes) do counts[name] = class.clients:count() end
  send(controlOf(everybody), frame.BEAT, buffer.encode {counts = counts, claims = claims()})
end

local function onBeat()
  beat()
  for _, fn in ipairs(cluster.everyBeat) do fn() end
  for number, node in pairs(nodes) do
    checkClaims(node)
    local silence = now() - node.heard
    if node.alive and silence > SILENT_SECONDS then
      bury(node, ("has been silent for %d s: its members have gone"):format(SILENT_SECONDS))
    elseif silence > FORGET_SECONDS then
      nodes[number] = nil
    end
  end
  presence.sweep()
end

-- This node's number, which no other may have. Ids that were given under another one stay
-- as they are, but other nodes find their clients no more.
local function takeNumber(number)
  if cluster.node ~= 0 then cluster.unsubscribe("n" .. cluster.node) end
  cluster.node = number
  loop.firstId(number * IDS_A_NODE)
  subscribe("n" .. number, false)
end

local function claimNumber()
  local engine, number = cluster.engine, cluster.node
  local key, mine = "node/" .. number, ("%d"):format(epoch)
  engine:add(key, mine, CLAIM_SECONDS, function(added, problem)
    if added or problem or engine ~= cluster.engine then return end
    engine:get(key, function(owner)
      if owner == mine then
        engine:expire(key, CLAIM_SECONDS)
      elseif owner and engine == cluster.engine then
        takeNumber(1 + core.randomNumber(MOST_NODES))
        claimNumber()
      end
    end)
  end)
end

-- Classes and rooms.

local MOST_CLASS_NAME = 64
local MOST_TOPIC = 198 -- bytes: engines take 200, and logs of topics have a longer name

-- Makes a room's messages reach other nodes. It's one of the class whose `clients` are given.
local function addRoom(all, room)
  local topic = type(room.name) == "string" and cluster.topicOf(all.name, room.name)
  if not topic or #topic > MOST_TOPIC then
    log.limited("warn", "room name", "a room's name is no string, or too long: its messages " ..
      "stay on this node", {room = tostring(room.name):sub(1, 40)})
    return
  end
  room.outlet = outletOf(topic)
  presence.watch(room)
end

--- Makes a class's messages reach other nodes. Called for each that is enabled.
function cluster.addClass(class)
  if not cluster.engine or classes[class.className] == class then return end
  if #class.className > MOST_CLASS_NAME or class.className:find("/", 1, true) then
    error(("the class %q: in a cluster a name has at most %d bytes, and no slash")
      :format(class.className:sub(1, 100), MOST_CLASS_NAME), 3)
  end
  if classes[class.className] then
    error(("two classes have the name %q: nodes know classes by their names")
      :format(class.className), 3)
  end
  classes[class.className] = class
  class.clients.name = class.className
  class.clients.outlet = outletOf(cluster.topicOf(class.className))
  if class.resumeTime then class.clients:remember() end
  subscribe(class.clients.outlet.topic, class.clients)
  for _, room in pairs(class.roomsByName) do addRoom(class.clients, room) end
end

-- How many clients of a class there are on other nodes, as of their last beats.
local function countOthers(set)
  local count = 0
  for _, node in pairs(nodes) do
    if node.alive then count = count + (node.counts[set.name] or 0) end
  end
  return count
end

--- The topic of a class's clients, or of one of its rooms.
function cluster.topicOf(class, room)
  return room and ("r/%s/%s"):format(class, room) or "c/" .. class
end

--- What tells this process's life as a node from others'.
-- @treturn number
function cluster.epoch()
  return epoch
end

--- The class of a name that this node serves.
function cluster.classOf(name)
  return classes[name]
end

-- Clients of other nodes.

local Distant = {}
Distant.__index = Distant

local function direct(client, verb, text)
  local node = nodes[client.node]
  if not node or not node.alive then return false, "closed" end
  return publish(node.outlet, frame.DIRECT, frame.direct(verb, client.id, text)), "dropped"
end

function Distant:send(data)
  if type(data) ~= "string" then
    error("send(data): data must be a string, not " .. type(data), 2)
  end
  return direct(self, 1, data)
end

function Distant:fire(name, ...)
  local json = require "sync.remoting.json"
  local text, problem = json.request(nil, name, ...)
  if not text then error("fire: " .. problem, 2) end
  return direct(self, 2, text)
end

function Distant:close(reason)
  direct(self, 3, reason or "")
end

function Distant:__tostring()
  return ("client %d of node %d"):format(self.id, self.node)
end

--- The client of an id that is on another node.
-- @treturn table|nil with `id`, `node`, `send`, `fire` and `close`; nil when its node is not
-- there
function cluster.distant(id)
  local number = math.floor(id / IDS_A_NODE)
  local node = nodes[number]
  if not node or not node.alive then return nil end
  return setmetatable({id = id, node = number}, Distant)
end

--- What operators want to know of this node.
-- @treturn table `node`, `worker`, `others` (nodes that are alive), `isUp`, `lost`, `dropped`,
-- `unsent` (bytes that wait for the engine)
function cluster.state()
  local others = 0
  for _, node in pairs(nodes) do others = others + (node.alive and 1 or 0) end
  return {node = cluster.node, worker = core.worker, others = others,
    isUp = cluster.engine:isUp(), lost = cluster.lost, dropped = cluster.dropped(),
    unsent = cluster.engine:unsent()}
end

-- Beginning and end.

local ENGINES = {redis = "sync.cluster.redis", rediss = "sync.cluster.redis",
  unix = "sync.cluster.redis", nats = "sync.cluster.nats", tls = "sync.cluster.nats"}

-- Tells the others that this node stops, and gives its number back.
local function stop()
  presence.flush()
  cluster.tellAll(frame.BYE, {})
  loop.stopTimer(beatTimer)
  if keepNumber then
    loop.stopTimer(keepNumber)
    cluster.engine:remove("node/" .. cluster.node)
  end
end

local function begin(open, number)
  presence = require "sync.cluster.presence"
  presence.begin(cluster)
  epoch = math.floor(os.time() * 16 + core.randomNumber(16)) % 2 ^ 32
  local engine, problem = open {
    onMessage = onMessage,
    onUp = function()
      if number == nil then claimNumber() end
      claimAgain()
      beat()
      cluster.tellAll(frame.BACK, {})
      presence.askAll()
    end,
    onDown = function() end,
  }
  if not engine then return nil, problem end
  cluster.engine = engine
  Set.publish = function(set, type, body)
    local outlet = set.outlet
    publish(outlet, type, body)
    note(cluster.node, outlet.stream, outlet.number)
    if type == frame.FIRE and set.resumable then
      require "sync.cluster.journal".keepEvent(outlet.topic, cluster.eventName(), body)
    end
  end
  Set.countOthers, Set.addRoom = countOthers, addRoom
  subscribe(EVERYBODY, false)
  takeNumber(number or 1 + core.randomNumber(MOST_NODES))
  if number == nil then
    keepNumber = loop.startTimer(CLAIM_SECONDS / 3, CLAIM_SECONDS / 3, claimNumber)
  end
  beatTimer = loop.startTimer(BEAT_SECONDS, BEAT_SECONDS, onBeat)
  loop.beforeLinksClose(stop)
  cluster.onBegin(cluster)
  return cluster
end

--- Makes this process a node, with the engine of a URL.
-- @treturn sync.cluster|nil or nil and a message
function cluster.open(url)
  if cluster.engine then return nil, "this process is a node already" end
  local scheme = type(url) == "string" and url:match("^(%a+):")
  local module = scheme and ENGINES[scheme]
  if not module then
    return nil, ("%s is no URL of an engine: there are redis://HOST and nats://HOST")
      :format(tostring(url):gsub("//[^@/]*@", "//…@"))
  end
  return begin(function(handlers) return require(module).open(url, handlers) end)
end

--- Makes a worker a node, by way of its parent.
function cluster.openBus(number)
  return begin(function(handlers) return require("sync.cluster.bus").open(handlers) end, number)
end

return setmetatable(cluster, {
  __call = function(_, url)
    local done, problem = cluster.open(url)
    if not done then error("sync.cluster: " .. problem, 2) end
    return done
  end,
})
