--- The next process of an upgrade: it listens on the sockets of the one before, loads the script,
-- says that it's ready, and takes over. See lua/sync/upgrade/init.lua.
-- @module sync.upgrade.arrival

local bundle = require "sync.upgrade.bundle"
local clients = require "sync.upgrade.clients"
local core = require "sync.core"
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
  if text:sub(1, #bundle.MARK) == bundle.MARK then
    return {what = "clients", list = bundle.decode(text)}
  end
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

--- Functions that take what else was handed over, by `what`: of the table, and of all listeners;
-- those of `firsts` before there are clients.
arrival.parts, arrival.firsts = {}, {}

--- Functions that are called when the process before has gone.
arrival.afters = {}

--- More that connections which are handed over may belong to, by their places: tables with `id`,
-- and `take(slot, told)`.
arrival.places = {}

local function takeAll(parcel, head, listeners)
  local bySlot, later, texts = {}, {head}, nil
  local list = {}
  eachItem(parcel, function(item, type)
    if type == C.SYNC_ITEM_TEXT then
      local told = decode(item)
      if told.what == "clients" then
        for _, client in ipairs(told.list) do bySlot[client.slot] = client end
      elseif told.what == "end" then
        texts = told.texts
      elseif arrival.firsts[told.what] then
        arrival.firsts[told.what](told, listeners)
      else
        later[#later + 1] = told
      end
    elseif type == C.SYNC_ITEM_CLIENT then
      local given = bySlot[item.value]
      local listener = listeners[given.place]
      local slot = C.sync_parcel_take(handle, parcel, item, listener.id)
      if slot < 0 then
        error("a connection can't be taken over: " .. select(2, core.problem(slot)), 0)
      end
      if arrival.places[given.place] then listener.take(slot, given)
      elseif given.id then list[#list + 1] = {given, slot, listener} end
    end
  end)
  if not texts then error("what was handed over has no end", 0) end
  local shared = require "sync.remoting.session".shared(texts)
  for _, entry in ipairs(list) do
    entry[1].texts = shared
    clients.connected(entry[1], entry[2], entry[3])
  end
  for _, told in ipairs(later) do
    told.texts = shared
    if told.what == "head" then loop.continueFrom(told.lastId)
    elseif told.what == "away" then clients.away(told, listeners[told.place])
    else arrival.parts[told.what](told, listeners) end
  end
end

local function refuse(problem)
  C.sync_next_say(SOCKET, "the next process: " .. problem, SAY_MS)
  error("sync.start: upgrade: " .. problem, 0)
end

local function say(word)
  local code = C.sync_next_say(SOCKET, word, SAY_MS)
  if code < 0 then error("sync.start: upgrade: the process before has gone", 0) end
end

-- A parcel, and the first that it says; or the texts of one of topics.
local function receiveNext()
  local parcel, item = receive(PARCEL_MS), core.item()
  if C.sync_parcel_next(parcel, item) ~= 1 then error("what was handed over is nothing", 0) end
  local head = decode(item)
  if head.what ~= "topics" then return {parcel, head} end
  local list = {head}
  eachItem(parcel, function(following) list[#list + 1] = decode(following) end)
  return nil, list
end

--- Says that this process is ready, and waits for the parcel. A node whose engine is a server's has
-- more to do (lua/sync/upgrade/crossing.lua): it gets the socket and seconds, too.
function arrival.await(_, _, sayTo, receiveFrom)
  sayTo "ready"
  local given = receiveFrom()
  return given or error("the script doesn't join the cluster that this process is in", 0)
end

--- Takes over; called when the script is loaded and could be run.
-- @tparam table opened listeners
function arrival.finish(opened)
  if not arrival.isNext then return end
  local ok, listeners = pcall(match, opened)
  if not ok then refuse(listeners) end
  if arrival.isTrial() then
    say "ready"
    os.exit(0)
  end
  for place, listener in pairs(arrival.places) do listeners[place] = listener end
  local isThere, given = pcall(arrival.await, SOCKET, PARCEL_MS / 1000, say, receiveNext)
  if not isThere then refuse(given) end
  local clock = os.clock()
  collectgarbage "stop" -- for as long as nobody is served
  local done, problem = pcall(takeAll, given[1], given[2], listeners)
  collectgarbage "restart"
  if not done then refuse(tostring(problem)) end
  say(("taken %.1f"):format(1000 * (os.clock() - clock)))
  -- Where the process before has died now, its clients are here alone.
  local said, why, _, isOver = core.hear(SOCKET, PARCEL_MS)
  if said ~= "go" and not isOver then
    error("sync.start: upgrade: the process before goes on: " .. (said or why), 0)
  end
  C.sync_next_close(SOCKET)
  arrival.isNext = false
  for _, listener in ipairs(core.worker and {} or listeners) do listener:own() end
  for _, fn in ipairs(arrival.afters) do fn() end
end

return arrival
