--- The next process of an upgrade: it listens on the sockets of the one before, loads the script,
-- says that it's ready, and takes over. See lua/sync/upgrade/init.lua.
-- @module sync.upgrade.arrival

local bundle = require "sync.upgrade.bundle"
local clients = require "sync.upgrade.clients"
local core = require "sync.core"
local histories = require "sync.upgrade.histories"
local loop = require "sync.loop"
local upgrade = require "sync.upgrade"
local values = require "sync.cluster.values"

local C, handle = core.C, core.handle

local SOCKET = 3
local HELLO_MS = 10000
local PARCEL_MS = 60000
local SAY_MS = 10000

local arrival = {
  --- Whether this process takes over, and hasn't yet.
  isNext = false,
  --- What the process before has said first: a table.
  hello = false,
}

--- Whether this process only tries whether it could take over.
function arrival.isTrial() return arrival.hello and arrival.hello.isTrial == true end

-- What a text of a parcel says.
local function decode(item)
  local text = core.string(item.data, item.length)
  if text:sub(1, #bundle.MARK) == bundle.MARK then return bundle.decode(text) end
  local ok, told = values.decode(text)
  if not ok or type(told) ~= "table" then error("what was handed over can't be read", 0) end
  return told
end

arrival.decode = decode

-- Calls `visit` with each item and its type.
local function eachItem(parcel, visit)
  local item = core.item()
  local code = C.sync_parcel_next(parcel, item)
  while code == 1 do
    visit(item, tonumber(item.type))
    code = C.sync_parcel_next(parcel, item)
  end
  if code < 0 then error("what was handed over ends too early", 0) end
end

arrival.eachItem = eachItem

local function receive(milliseconds)
  local parcel, why = core.receiveParcel(SOCKET, milliseconds)
  if not parcel then
    error("sync: the process before has given up: " .. why, 0)
  end
  return parcel
end

--- Called before the script is loaded: looks whether there is a process before.
function arrival.begin()
  if C.sync_is_next() == 0 then return end
  arrival.isNext = true
  local parcel = receive(HELLO_MS)
  eachItem(parcel, function(item, type)
    if type == C.SYNC_ITEM_TEXT then
      arrival.hello = decode(item)
    elseif C.sync_parcel_inherit(handle, parcel, item) < 0 then
      error("sync: no memory for the sockets of the process before", 0)
    end
  end)
  if not arrival.hello or arrival.hello.format ~= upgrade.FORMAT then
    local text = ("the program has another format (%s) than the one that runs (%s)")
      :format(upgrade.FORMAT, tostring(arrival.hello and arrival.hello.format))
    C.sync_next_say(SOCKET, text, SAY_MS)
    error("sync: " .. text, 0)
  end
  upgrade.generation = arrival.hello.generation
end

-- The listener that goes on for one of the process before.
local function successor(told, listeners, taken)
  for _, listener in ipairs(listeners) do
    local own = listener:describe()
    if not taken[listener] and own.host == told.host and own.port == told.port then
      taken[listener] = true
      return listener, own
    end
  end
end

-- Listeners in the order of those before. Raises what doesn't agree.
local function match(listeners)
  local list, taken = {}, {}
  for i, told in ipairs(arrival.hello.listeners) do
    local name = ("%s port %d"):format(told.host, told.port)
    local listener, own = successor(told, listeners, taken)
    if not listener then error(("the script doesn't enable %s any more"):format(name), 0) end
    for _, setting in ipairs {"framing", "encoding"} do
      if own[setting] ~= told[setting] then
        error(("%s has another %s, which its clients don't speak"):format(name, setting), 0)
      end
    end
    list[i] = listener
  end
  C.sync_disinherit(handle)
  return list
end

-- Functions that take what else was handed over, by `what`: of the table, and of all listeners;
-- those of `firsts` before there are clients.
arrival.parts, arrival.firsts = {}, {}

--- Functions that are called when the process before has gone.
arrival.afters = {}

--- More that connections which are handed over may belong to, by their places: tables with `id`,
-- and `take(slot, told)`.
arrival.places = {}

--- What a node of a cluster does about its engine (lua/sync/upgrade/crossing.lua): `ready()`,
-- called before this process is; `await(socket)`, before a parcel comes; `hear(told, say)`, of
-- topics; and `stop()`, when clients come. Or false.
arrival.crossing = false

local function takeClient(parcel, item, given, listeners)
  local listener = listeners[given.place]
  local slot = C.sync_parcel_take(handle, parcel, item, listener.id)
  if slot < 0 then
    error("a connection can't be taken over: " .. select(2, core.problem(slot)), 0)
  end
  if arrival.places[given.place] then listener.take(slot, given)
  elseif given.id then clients.connected(given, slot, listener) end
end

-- Takes a text, or returns it: it is for when all clients have come.
local function takeText(self, told, listeners)
  if told.what == "clients" then
    self.bySlot = {}
    for _, client in ipairs(told.list) do self.bySlot[client.slot] = client end
  elseif told.what == "kept" then
    histories.receive(told)
  elseif told.what == "topics" then
    self.topics[#self.topics + 1] = told
  elseif arrival.firsts[told.what] then
    arrival.firsts[told.what](told, listeners)
  else
    return told
  end
end

local function say(word)
  local code = C.sync_next_say(SOCKET, word, SAY_MS)
  if code < 0 then error("sync.start: upgrade: the process before has gone", 0) end
end

-- The topics of a node's engine, which a parcel has told.
local function takeTopics(self)
  local list = self.topics
  if not list[1] then return end
  self.topics = {}
  if not arrival.crossing then
    error("the script doesn't join the cluster that this process is in", 0)
  end
  arrival.crossing.hear(list, say)
end

-- From now on nobody is served.
local function begin(self)
  if arrival.crossing then arrival.crossing.stop() end
  self.clock = os.clock()
  collectgarbage "stop"
end

-- Takes what is handed over. From its head on nobody is served.
local function takeAll(self, listeners)
  local later, isWhole = {}, false
  repeat
    if arrival.crossing and not self.clock then arrival.crossing.await(SOCKET) end
    local parcel = receive(PARCEL_MS)
    eachItem(parcel, function(item, type)
      if type == C.SYNC_ITEM_CLIENT then
        return takeClient(parcel, item, self.bySlot[item.value], listeners)
      end
      local told = takeText(self, decode(item), listeners)
      if not told then return end
      if told.what == "head" then begin(self) end
      isWhole = isWhole or told.what == "end"
      later[#later + 1] = told
    end)
    core.freeParcel(parcel)
    takeTopics(self)
  until isWhole
  for _, told in ipairs(later) do
    if told.what == "head" then loop.continueFrom(told.lastId)
    elseif told.what == "away" then clients.away(told, listeners[told.place])
    elseif told.what ~= "end" then arrival.parts[told.what](told, listeners) end
  end
  histories.forget()
end

-- This process ends. Clients that it has taken aren't read meanwhile: they aren't its own.
local function giveUp(problem)
  C.sync_freeze(handle, C.SYNC_FROZEN_ALL)
  error("sync.start: upgrade: " .. problem, 0)
end

local function refuse(problem)
  C.sync_next_say(SOCKET, "the next process: " .. problem, SAY_MS)
  giveUp(problem)
end

--- Takes over; called when the script is loaded and could be run.
-- @tparam table opened listeners
function arrival.finish(opened)
  if not arrival.isNext then return end
  local ok, listeners = pcall(match, opened)
  if not ok then refuse(listeners) end
  if arrival.crossing and not arrival.isTrial() then
    local isThere, problem = pcall(arrival.crossing.ready)
    if not isThere then refuse(problem) end
  end
  say "ready"
  if arrival.isTrial() then os.exit(0) end
  for place, listener in pairs(arrival.places) do listeners[place] = listener end
  local taking = {topics = {}, clock = false} -- of when it has begun
  local done, problem = pcall(takeAll, taking, listeners)
  collectgarbage "restart"
  if not done then refuse(tostring(problem)) end
  say(("taken %.1f"):format(1000 * (os.clock() - taking.clock)))
  -- Where the process before has died now, its clients are here alone.
  local said, why, _, isOver = core.hear(SOCKET, PARCEL_MS)
  if said ~= "go" and not isOver then
    giveUp("the process before goes on: " .. (said or why))
  end
  C.sync_next_close(SOCKET)
  arrival.isNext = false
  for _, listener in ipairs(core.worker and {} or listeners) do listener:own() end
  for _, fn in ipairs(arrival.afters) do fn() end
end

return arrival
