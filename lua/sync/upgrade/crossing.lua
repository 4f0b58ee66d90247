--- A node whose engine is a server's, Redis or NATS: the connection to that can't be handed over,
-- so the next process has one of its own. Nothing is lost, nor comes twice, as for a moment both
-- hear:
--
--     the next one                           the old one
--     connects, says "ready"           ─►
--                                      ◄─    what sessions keep
--                                      ◄─    all topics that it hears
--     hears them, says "heard"         ─►
--                                      ◄─    a word, by the engine
--     has it: says "here"              ─►    has heard what was published before: only then
--                                            clients aren't read any more
--                                            says nothing more, and hears nothing; what it
--                                            has said has left, what it has asked is answered
--                                      ◄─    the parcel, with how far streams have come
--     goes on: with what it has heard, but for what the old one had
--
-- Rooms that are heard of meanwhile go the same way, again.
-- @module sync.upgrade.crossing

local arrival = require "sync.upgrade.arrival"
local core = require "sync.core"
local held = require "sync.cluster.held"
local loop = require "sync.loop"
local node = require "sync.upgrade.node"
local upgrade = require "sync.upgrade"

local C, handle = core.C, core.handle

local SEND_MS = 10000
local ENGINE_SECONDS = 5 -- that the next process has to connect, and to hear topics
local STILL_SECONDS = 0.5 -- that the engine has to answer while nothing goes on
local MOST_TOPICS = 1000  -- in one item
local PARCEL_SECONDS = 60 -- until the process before goes on

local crossing = {}

-- The old process. What it does for an upgrade is a table with `fd`, of the socket to the next
-- process; `known`, topics of which that one knows; `word`, by which that one hears this one; and
-- `step`: "told" or, when it does, "done".

local Crossing = {
  --- That clients are served until no call of the engine waits, at most.
  CALM_SECONDS = 5,
}
Crossing.__index = Crossing

-- Topics of which the next process doesn't know.
local function fresh(self)
  local list = {}
  for _, topic in ipairs(self.cluster:topics()) do
    if not self.known[topic] then list[#list + 1] = topic end
  end
  return list
end

-- Tells it of them. Returns what is wrong, or nil.
local function tell(self, topics)
  local parcel = core.parcel()
  local word = ("u/%s"):format(core.randomHex(16))
  for first = 1, math.max(1, #topics), MOST_TOPICS do
    local list = {unpack(topics, first, math.min(#topics, first + MOST_TOPICS - 1))}
    upgrade.addText(parcel, {what = "topics", topics = list, word = word}, "topics")
  end
  for _, topic in ipairs(topics) do self.known[topic] = true end
  self.step, self.word = "told", word
  local code = C.sync_parcel_send(parcel, self.fd, SEND_MS)
  if code < 0 then return "the next process can't be told: " .. select(2, core.problem(code)) end
end

--- Begins, when the next process waits for it.
-- @tparam number fd
-- @tparam function done called when it hears all that this one hears, each time; or with what is
-- wrong
-- @treturn string|nil what is wrong
function Crossing:begin(fd, done)
  self.fd, self.known, self.done, self.still = fd, {}, done, false
  return tell(self, fresh(self))
end

--- Whether calls of the engine wait for answers, which may take long.
function Crossing:waits()
  return self.cluster.engine:pendingCalls() > 0
end

-- The next process hears, of all that is published from now on. What was published before is on
-- its way here.
local function isHere(self)
  local word = self.word
  local engine = self.cluster.engine
  engine:catchUp(function(ok, why)
    if self.word ~= word then return end
    if not ok then return self.done(("%s doesn't answer: %s"):format(engine.kind, why)) end
    self.step = "done"
    self.done()
  end)
end

--- The next process has said something.
-- @treturn boolean false: not to this one
function Crossing:hear(said)
  if said == "heard" then
    self.cluster.engine:publish(self.word, "here")
  elseif said == "here" then
    isHere(self)
  else
    return false
  end
  return true
end

--- What keeps the node from being handed over, or nil.
function Crossing:unrest()
  local engine = self.cluster.engine
  if not engine:isUp() then return engine.kind .. " is away, by which the nodes are linked" end
  if self.step == "done" then
    local topics = fresh(self)
    local problem = topics[1] and tell(self, topics)
    if problem then return problem end
  end
  if self.step ~= "done" then return "the next process doesn't hear all rooms yet" end
end

--- Says nothing more, and hears nothing, until `release`: what was said has left, and what was
-- asked is answered. Called between two ticks.
-- @treturn string|nil what keeps it from that
function Crossing:rest()
  local engine = self.cluster.engine
  local still, isAsking, caught = held.still(engine), false, false
  self.still = still
  local isDone = loop.runApart(function()
    if still.problem then return true end
    if isAsking or engine:pendingCalls() > 0 then return false end
    if caught == still.said then return true end
    local said = still.said
    isAsking = true
    engine:catchUp(function(ok)
      isAsking = false
      if ok then caught = said end
    end)
    return false
  end, STILL_SECONDS)
  self.said = still.said
  if still.problem then return still.problem end
  if not isDone then
    return ("%s hasn't answered %d calls"):format(engine.kind, engine:pendingCalls())
  end
end

--- Whether it rests still.
function Crossing:rests()
  local still = self.still
  return still and still.said == self.said and not still.problem and
    self.cluster.engine:pendingCalls() == 0
end

--- This process goes on.
function Crossing:release()
  local still = self.still
  if not still then return end
  self.still = false
  held.release(still)
  loop.catchUp()
end

--- The next one goes on.
function Crossing:leave()
  self.still = false
  self.cluster.engine:close()
end

--- Lets a node be handed over.
-- @tparam sync.cluster cluster
function crossing.attach(cluster)
  upgrade.crossing = setmetatable({cluster = cluster, still = false, word = false}, Crossing)
  upgrade.firsts[#upgrade.firsts + 1] = function(of, parcel, add)
    node.pack(cluster, of.told.node, parcel, add)
  end
  table.insert(upgrade.objections, function()
    local engine = cluster.engine
    if not engine:isUp() then
      return engine.kind .. " is away, by which the nodes are linked: try again when it's there"
    end
  end)
end

-- The next process.

-- Waits, while the engine is heard. Raises what is wrong.
local function await(self, what, seconds, isDone)
  local problem = self.held
  loop.runApart(function() return problem.problem or isDone() end, seconds)
  if problem.problem then error(problem.problem, 0) end
  if not isDone() then error(what, 0) end
end

-- Hears the topics of the process before, and that what it says arrives.
local function hear(self, told, say)
  local engine, isHeard, hasCome = self.engine, false, false
  for _, each in ipairs(told) do
    for _, topic in ipairs(each.topics) do
      self.topics[topic] = true
      if not engine:subscribe(topic) then error("the engine takes no more topics", 0) end
    end
  end
  local word = told[1].word
  engine:subscribe(word)
  self.held.words[word] = function() hasCome = true end
  engine:settle(function(ok) isHeard = ok end)
  await(self, engine.kind .. " didn't answer in time", ENGINE_SECONDS,
    function() return isHeard end)
  say "heard"
  await(self, "the script's cluster isn't the one that this node is in: what the process before " ..
    "says doesn't arrive", ENGINE_SECONDS, function() return hasCome end)
  engine:unsubscribe(word)
  say "here"
end

--- Makes this process's node the one that another was, when it takes over.
-- @tparam sync.cluster cluster
function crossing.arrive(cluster)
  local self = {cluster = cluster, engine = cluster.engine, held = cluster.held, topics = {}}
  local isReadable, watch = false, nil
  loop.on(C.SYNC_WATCH, function(event) isReadable = isReadable or event.id == watch end)
  arrival.crossing = {
    ready = function()
      C.sync_freeze(handle, C.SYNC_FROZEN_CLIENTS)
      await(self, self.engine.kind .. " isn't there, by which the nodes are linked", ENGINE_SECONDS,
        function() return self.engine:isUp() end)
    end,
    await = function(socket)
      watch = C.sync_watch_start(handle, socket, C.SYNC_READABLE)
      await(self, "the process before has said nothing", PARCEL_SECONDS,
        function() return isReadable end)
      C.sync_watch_stop(handle, watch)
      isReadable, watch = false, nil
    end,
    hear = function(told, say) hear(self, told, say) end,
    stop = function() C.sync_freeze(handle, C.SYNC_FROZEN_NOT) end,
  }
  arrival.afters[#arrival.afters + 1] = function()
    cluster.held = false
    if self.engine.keepTo then self.engine:keepTo(nil) end
    held.goOn(self.held)
    for topic in pairs(self.topics) do
      if cluster.sets[topic] == nil then self.engine:unsubscribe(topic) end
    end
    loop.catchUp()
  end
end

return crossing
