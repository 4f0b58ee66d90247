--- An upgrade: the next process is started, tried, and handed what this one has.
--
--     SIGUSR2 ─► start the next ─► it has loaded the script, and says "ready"
--       ─► what sessions keep, a little at each tick ─► of a node, what its engine hears
--       ─► nothing is read any more ─► handlers that wait end ─► parcels ─► "taken MS" ─► "go"
--
-- Parcels are taken while the next one is filled: two cores share the work, for nobody is served.
-- What this process hands over stays its own until "taken" was said, with the processor time that
-- it took: whatever goes wrong before, the next process is killed, which has read nothing, and this
-- one goes on. See docs/upgrade.md; the other side is lua/sync/upgrade/arrival.lua.
-- @module sync.upgrade

local bundle = require "sync.upgrade.bundle"
local clients = require "sync.upgrade.clients"
local core = require "sync.core"
local histories = require "sync.upgrade.histories"
local latest = require "sync.remoting.latest"
local log = require "sync.log"
local loop = require "sync.loop"
local systemd = require "sync.systemd"
local values = require "sync.cluster.values"

local C, handle, now = core.C, core.handle, core.C.sync_now

local TRIAL_SECONDS = 60  -- that the next process has to load its script
local CALM_SECONDS = 2    -- that a moment is waited for in which nothing is under way
local BRIEF_SECONDS = 0.01 -- that something may take which has begun since
local QUIET_SECONDS = 1   -- that handlers have to come to their end, while nothing is read
local LOOK_SECONDS = 0.005
local KERNEL_SECONDS = 0.05 -- that the kernel has to give back what it reads
local PATIENCE_MS = 10000 -- for a parcel to be taken; after which the watchdog tells of it, too
local REST_SECONDS = 30   -- that answers have that are under way
local BUNDLE = 256        -- clients whose texts are one
local AHEAD = 64 * 1024   -- bytes of what sessions keep, in a tick
local RELAY_SECONDS = 24 * 3600 -- that clients in TLS are passed on

local upgrade = {
  --- What both processes must know to understand each other.
  FORMAT = tonumber(C.SYNC_HANDOVER_FORMAT),
}

local KILL = 9

local current -- the upgrade under way, or nil

--- Where who asks for an upgrade hears what came of it.
function upgrade.answerName(process)
  return "sync-upgrade-" .. process
end

--- Tells who has asked what came of it.
function upgrade.answer(text)
  C.sync_answer(upgrade.answerName(C.sync_process()), text)
end

local function finish(self)
  current, loop.between = nil, nil
  if self.watch then C.sync_watch_stop(handle, self.watch) end
  for _, timer in pairs {self.trial, self.look} do loop.stopTimer(timer) end
  if upgrade.crossing then upgrade.crossing:release() end
  C.sync_next_close(self.fd)
  if self.parcel then core.freeParcel(self.parcel) end
end

-- The next process isn't wanted: this one goes on.
local function fail(self, why)
  C.sync_kill(self.process, KILL)
  finish(self)
  C.sync_freeze(handle, C.SYNC_FROZEN_NOT)
  log.error(("upgrade: %s; this process goes on"):format(why))
  self.answer("failed: " .. why)
end

-- What is wrong where something raises, or nil.
local function problemOf(fn, ...)
  local ok, problem = pcall(fn, ...)
  if not ok then return tostring(problem) end
  return problem
end

-- Packing.

local function addText(parcel, told, what)
  local text, problem = values.encode(told)
  if not text then error(("%s: %s"):format(what, problem), 0) end
  C.sync_parcel_text(parcel, text, #text)
end

local function listenerOf(self, slot)
  return self.places[tonumber(C.sync_listener_of(handle, slot))]
end

upgrade.addText = addText

local function addBundle(parcel, told)
  local text = bundle.encode(told)
  C.sync_parcel_text(parcel, text, #text)
end

-- Adds what sessions keep, if the teller has something. Returns whether it has.
local function addHistories(self, parcel)
  local told = self.teller:take()
  if told then addBundle(parcel, told) end
  return told ~= nil
end

-- Sends what a parcel holds; it is empty then.
local function send(self, parcel)
  local code = C.sync_parcel_send(parcel, self.fd, PATIENCE_MS)
  if code < 0 then
    error(core.hear(self.fd, 0) or
      "the next process didn't take over: " .. select(2, core.problem(code)), 0)
  end
end

-- What is told of a connection, or nil: those that are on their way out stay here.
local function tell(self, slot)
  local client, place = loop.clients[slot], listenerOf(self, slot)
  if not place or client and client.closing or C.sync_parcel_may(handle, slot) == 0 then return end
  local told = client and clients.pack(client, self.teller) or {}
  told.slot, told.place = slot, place
  return told
end

local function addConnections(self, parcel, list)
  addHistories(self, parcel)
  addBundle(parcel, {what = "clients", list = list})
  for _, told in ipairs(list) do
    if C.sync_parcel_client(handle, parcel, told.slot) == 1 then
      self.slots[#self.slots + 1] = told.slot
    elseif told.id then
      error(tostring(loop.clients[told.slot]) .. ": too much of its message is unfinished", 0)
    end
  end
end

local function sendConnections(self, parcel)
  local list, slot = {}, C.sync_next_slot(handle, 0)
  while slot ~= 0 do
    list[#list + 1] = tell(self, slot)
    slot = C.sync_next_slot(handle, slot)
    if #list == BUNDLE or slot == 0 then
      addConnections(self, parcel, list)
      send(self, parcel)
      list = {}
    end
  end
end

local function addAway(self, parcel)
  for client in pairs(loop.away) do
    local told = clients.pack(client, self.teller)
    told.what, told.class = "away", getmetatable(client).className
    told.place = self.classes[getmetatable(client)]
    if told.place then addText(parcel, told, tostring(client)) end
  end
  addHistories(self, parcel)
end

local function sendAll(self)
  local parcel = self.parcel -- which is empty again
  addText(parcel, {what = "head", lastId = loop.lastId()}, "the head")
  for _, add in ipairs(upgrade.firsts) do add(self, parcel, addText) end
  if self.addFirst then self:addFirst(parcel, addText) end
  sendConnections(self, parcel)
  addAway(self, parcel)
  for _, add in ipairs(upgrade.parts) do add(parcel, addText) end
  addText(parcel, {what = "end"}, "the end")
  send(self, parcel)
end

-- Functions that add what there is before the clients to a parcel, and what else there is; that say
-- what has to come to its end before, or nil; and that add to what the next process is told before
-- it loads its script.
upgrade.firsts, upgrade.parts, upgrade.unrests, upgrade.hellos = {}, {}, {}, {}

-- What a node of a cluster does about its engine: see lua/sync/upgrade/crossing.lua; or false.
upgrade.crossing = false

-- Handing over.

-- What has begun and waits for others, or nil.
local function underWay()
  local away = upgrade.crossing and upgrade.crossing:unrest()
  if away then return away end
  for _, unrestOf in ipairs(upgrade.unrests) do
    local why = unrestOf()
    if why then return why end
  end
  if loop.waiting > 0 then return ("%d handlers wait (sync.waits)"):format(loop.waiting) end
end

-- What still has to come to its end before anything is handed over, or nil.
local function unrest(self)
  local why = underWay()
  if why then return why end
  local slot = C.sync_next_slot(handle, 0)
  while slot ~= 0 do
    local client = C.sync_parcel_may(handle, slot) == 0 and loop.clients[slot]
    if client and not client.closing and client.transport ~= "memory" and
      listenerOf(self, slot) then
      return tostring(client) .. " is about to go"
    end
    slot = C.sync_next_slot(handle, slot)
  end
end

-- Which connections aren't read.
local function freeze(self, which)
  if self.isFrozen ~= which then C.sync_freeze(handle, which) end
  self.isFrozen = which
end

local function letGo(self)
  for _, slot in ipairs(self.slots) do
    local client = loop.clients[slot]
    if client then loop.release(client) end
    C.sync_let_go(handle, self.parcel, slot)
  end
  for client in pairs(loop.away) do
    loop.away[client] = nil
    client.closing = "upgraded"
  end
  for _, listener in ipairs(self.listeners) do
    C.sync_listener_let_go(handle, listener.id)
    listener.closed = true
  end
end

-- What this process has left are connections that end, and answers under way.
local function leave(self)
  if not self.addFirst then systemd.tell(("MAINPID=%d"):format(self.process)) end
  letGo(self)
  if upgrade.crossing then upgrade.crossing:leave() end
  local process, count = self.process, #self.slots
  finish(self)
  C.sync_freeze(handle, C.SYNC_FROZEN_NOT)
  loop.stopTimers()
  log.info(("upgrade: process %d has taken over, with %d connections, within %.0f ms; of a " ..
    "core it took %.0f ms here, and %.0f ms there"):format(process, count,
    1000 * (now() - self.frozenAt), 1000 * (os.clock() - self.clock), self.costThere))
  self.answer(("done: process %d has taken over"):format(process))
  self.onLeft(REST_SECONDS)
  if handle.relay_count > 0 then
    loop.startTimer(RELAY_SECONDS, 0, function() C.sync_end_relays(handle) end)
  end
end

local function give(self)
  self.slots = {}
  sendAll(self)
  local said, why = core.hear(self.fd, PATIENCE_MS)
  self.costThere = tonumber(said and said:match "^taken (%S+)$")
  if not self.costThere then
    error(said or "the next process didn't take over: " .. why, 0)
  end
  if C.sync_next_say(self.fd, "go", PATIENCE_MS) < 0 then error("the next process has died", 0) end
end

-- Something has begun in the moment before nothing was read any more: what takes long is waited
-- for while all is read.
local function goesBack(self)
  local time = now()
  return time < self.calmUntil and time > self.frozenAt + BRIEF_SECONDS and underWay()
end

local awaitCalm, handOver

-- The same when the engine of a node says nothing more either, and nothing is on its way.
local function unrestAtEngine(self, crossing)
  local why = crossing:rest()
  if current ~= self then return end -- it has failed meanwhile
  why = why or unrest(self)
  if why then return why end
  freeze(self, self.frozen)
  loop.runApart(function() return C.sync_rests(handle) == 1 end, KERNEL_SECONDS)
  if not crossing:rests() then return "the engine is asked for something still" end
end

function handOver()
  local self, crossing = current, upgrade.crossing
  loop.between = nil
  if goesBack(self) then
    freeze(self, C.SYNC_FROZEN_NOT)
    self.step = awaitCalm
    return
  end
  local why = unrest(self)
  if not why and crossing then why = unrestAtEngine(self, crossing) end
  if current ~= self then return end
  freeze(self, why and C.SYNC_FROZEN_CLIENTS or self.frozen)
  if not why and C.sync_rests(handle) == 0 then
    why = "the kernel sends or receives still"
    loop.between = handOver -- its end is an event
  end
  if why then
    if crossing then crossing:release() end
    if now() > self.quietUntil then fail(self, why) end
    return
  end
  C.sync_watchdog_allow(handle, PATIENCE_MS)
  collectgarbage "stop" -- for as long as nobody is served
  local problem = problemOf(give, self)
  collectgarbage "restart"
  if problem then return fail(self, problem) end
  leave(self)
end

-- From now on nothing is read; between two ticks everything is handed over.
local function quieten(self)
  freeze(self, C.SYNC_FROZEN_CLIENTS)
  self.frozenAt, self.clock = now(), os.clock()
  self.quietUntil = now() + QUIET_SECONDS
  latest.flush()
  clients.loseCalls()
  loop.between, self.step = handOver, handOver
end

-- What goes ahead of the clients.

-- Adds to a parcel what some sessions keep. Returns false when all have been looked at.
local function fill(self, parcel)
  local teller, list = self.teller, self.sessions
  while list[1] and teller.size < AHEAD do
    local session = table.remove(list)
    if not session.isOver then teller:add(session) end
  end
  return addHistories(self, parcel)
end

-- A moment in which nothing is under way costs nobody the time until that has come to its end.
function awaitCalm()
  local self = current
  loop.between = nil
  local crossing = upgrade.crossing
  if now() < self.calmUntil and (underWay() or crossing and crossing:waits()) then return end
  quieten(self)
end

local function beginCalm(self)
  local seconds = upgrade.crossing and upgrade.crossing.CALM_SECONDS or CALM_SECONDS
  self.step, self.calmUntil = awaitCalm, now() + seconds
end

-- Nothing is to be done until the next process has said something.
local function idle() loop.between = nil end

-- The engine of a node: the next process hears what this one hears.
local function beginCrossing(self, crossing)
  self.step = idle
  local problem = crossing:begin(self.fd, function(trouble)
    if current ~= self then return end
    if trouble then return fail(self, trouble) end
    if self.step == idle then beginCalm(self) end
  end)
  if problem then fail(self, problem) end
end

-- The next process takes some more, or has too much to take.
local function goAhead()
  local self = current
  loop.between = nil
  if not self.isFull and not fill(self, self.parcel) then
    if upgrade.crossing then return beginCrossing(self, upgrade.crossing) end
    beginCalm(self)
    return awaitCalm()
  end
  local code = C.sync_parcel_send(self.parcel, self.fd, 0)
  self.isFull = code < 0 and core.problem(code) == "EAGAIN"
  if code < 0 and not self.isFull then fail(self, "the next process has died") end
end

local function beginAhead(self)
  self.parcel, self.teller, self.sessions = core.parcel(), histories.teller(), histories.sessions()
  loop.between, self.step = goAhead, goAhead
  self.look = loop.startTimer(LOOK_SECONDS, LOOK_SECONDS, function() loop.between = self.step end)
end

local function heard(event)
  local self = current
  if not self or event.id ~= self.watch then return end
  local said, why, isEarly = core.hear(self.fd, 0)
  if isEarly then return end
  local crossing = upgrade.crossing
  if crossing and said == "ready" then return beginAhead(self) end
  if crossing and said and crossing:hear(said) then return end
  C.sync_watch_stop(handle, self.watch)
  self.watch = nil
  if said == "ready" then return beginAhead(self) end
  fail(self, said or "the next process has ended before it was ready; its own log says why (" ..
    why .. ")")
end

loop.on(C.SYNC_WATCH, heard)

--- What the next process needs to load its script.
-- @tparam table listeners
-- @treturn table
function upgrade.hello(listeners)
  local told = {what = "hello", format = upgrade.FORMAT, generation = upgrade.generation + 1,
    listeners = {}}
  for i, listener in ipairs(listeners) do told.listeners[i] = listener:describe() end
  for _, add in ipairs(upgrade.hellos) do add(told) end
  return told
end

--- Sends a process a table, which is its first parcel. Its sockets follow, if it has them from
-- here.
-- @treturn number 0 or an error code
function upgrade.introduce(fd, told, listeners)
  local parcel = core.parcel()
  addText(parcel, told, "hello")
  for _, listener in ipairs(listeners) do
    local name = listener:describe()
    C.sync_parcel_listener(handle, parcel, listener.id, name.host, name.port)
  end
  return C.sync_parcel_send(parcel, fd, PATIENCE_MS)
end

--- How many upgrades led to this process.
upgrade.generation = 0

local function objection()
  if C.sync_process() == 1 then
    return "process 1 can't be replaced: start it with --workers, whose parent stays"
  end
  for _, why in ipairs(upgrade.objections) do
    local text = why()
    if text then return text end
  end
end

--- Functions that return why there can be no upgrade, or nil.
upgrade.objections = {}

local function start(self, words)
  if not self.process then self.process, self.fd = core.startNext(words) end
  local code = math.min(self.process, self.fd)
  if code < 0 then
    return ("%s can't be started: %s"):format(words[1], select(2, core.problem(code)))
  end
  current = self
  self.told = upgrade.hello(self.listeners)
  code = upgrade.introduce(self.fd, self.told, self.addFirst and {} or self.listeners)
  if code < 0 then
    fail(self, "the next process can't be told of this one: " .. select(2, core.problem(code)))
    return
  end
  self.watch = C.sync_watch_start(handle, self.fd, C.SYNC_READABLE)
  self.trial = loop.startTimer(TRIAL_SECONDS, 0, function()
    fail(self, ("the next process wasn't ready within %d s"):format(TRIAL_SECONDS))
  end)
end

--- Begins an upgrade.
-- @tparam table words the command line of this process
-- @tparam table listeners that are open
-- @tparam function onLeft called when the next process has taken over, with seconds that what is
-- left has to end
-- @tparam[opt] table worker of a worker, what makes it another upgrade: `process` and `fd` of the
-- next one, which its parent has started, `answer(text)`, `frozen` (which connections rest), and
-- `addFirst(self, parcel, add)`, which adds what is handed over before the clients
function upgrade.begin(words, listeners, onLeft, worker)
  local why = current and "an upgrade is under way already" or not worker and objection() or nil
  local self = {answer = upgrade.answer, frozen = C.SYNC_FROZEN_CLIENTS, slots = {}}
  for name, value in pairs(worker or {}) do self[name] = value end
  self.listeners, self.places, self.classes, self.onLeft = {}, {}, {}, onLeft
  for _, listener in ipairs(listeners) do
    if not listener.closed then
      self.listeners[#self.listeners + 1] = listener
      self.places[listener.id] = #self.listeners
      self.classes[listener.class] = self.classes[listener.class] or #self.listeners
    end
  end
  why = why or start(self, words)
  if not why then return end
  log.error(("upgrade: %s; this process goes on"):format(why))
  self.answer("failed: " .. why)
end

return upgrade
