--- The parent of workers becomes its next program: the process, its id and its children stay.
--
--     a trial went well ─► nothing is read ─► a parcel to itself ─► exec ─► the parcel is taken
--
-- Workers notice nothing: what they say meanwhile waits in their sockets. Up to the exec nothing
-- has changed, and when that fails the parent goes on. What was sent to itself has the format of
-- upgrades, which the trial has seen, and a sum. What can't be read nevertheless ends the server.
-- @module sync.upgrade.exec

local arrival = require "sync.upgrade.arrival"
local core = require "sync.core"
local hubs = require "sync.cluster.hub"
local log = require "sync.log"
local loop = require "sync.loop"
local systemd = require "sync.systemd"
local upgrade = require "sync.upgrade"

local C, handle, now = core.C, core.handle, core.C.sync_now

local REST_SECONDS = 1    -- that the kernel may take to end what is under way
local LOOK_SECONDS = 0.005
local PATIENCE_MS = 10000
local LOG_MS = 1000       -- that what is logged has to be written

local exec = {}

-- The old program.

local function addLinks(given, parcel)
  for _, worker in ipairs(given.list) do
    local link = worker.process and worker.slot and loop.clients[worker.slot]
    if link then
      local told = hubs.packLink(link)
      told.what, told.number = "link", worker.number
      upgrade.addText(parcel, told, "what a worker hears of")
      if C.sync_parcel_client(handle, parcel, link.slot) ~= 1 then
        error(("the connection to worker %d can't be handed over now"):format(worker.number), 0)
      end
    end
  end
end

local function pack(given)
  local parcel, told = core.parcel(), given.state()
  told.what, told.format = "parent", upgrade.FORMAT
  upgrade.addText(parcel, told, "the workers")
  C.sync_parcel_workers(handle, parcel)
  addLinks(given, parcel)
  hubs.pack(given.hub(), function(kept)
    kept.what = "store"
    upgrade.addText(parcel, kept, "sync.shared")
  end)
  upgrade.addText(parcel, {what = "end"}, "the end")
  return parcel
end

local function check(code, what)
  if code < 0 then error(("%s: %s"):format(what, select(2, core.problem(code))), 0) end
  return code
end

-- Returns only when it fails.
local function replace(given, parcel, from, to)
  local sum = C.sync_parcel_sum(parcel)
  check(C.sync_parcel_send(parcel, from, PATIENCE_MS), "what there is can't be told")
  check(C.sync_next_say(from, ("%.0f"):format(sum), PATIENCE_MS), "its sum")
  log.info "upgrade: the parent becomes its next program"
  C.sync_log_flush(LOG_MS)
  C.sync_print_flush(LOG_MS)
  systemd.tell(("RELOADING=1\nMONOTONIC_USEC=%.0f"):format(now() * 1e6))
  local code = core.exec(given.words, to)
  systemd.tell "READY=1"
  check(code, given.words[1] .. " can't be executed")
end

local function try(given)
  local from, to = core.pair()
  check(from, "no socket")
  local ok, problem = pcall(function() replace(given, pack(given), from, to) end)
  C.sync_next_close(from)
  C.sync_next_close(to)
  return not ok and tostring(problem) or "it goes on"
end

--- Replaces this program.
-- @tparam table given `list`, `words`, and functions: `state`, which returns what the next one is
-- told first, and `hub`
-- @tparam function failed called with what is wrong: this program goes on
function exec.begin(given, failed)
  C.sync_freeze(handle, C.SYNC_FROZEN_ALL)
  local due, look = now() + REST_SECONDS, nil
  local function attempt()
    loop.between = nil
    local rests = C.sync_rests(handle) ~= 0
    if not rests and now() < due then return end
    loop.stopTimer(look)
    local problem = rests and try(given) or "the kernel sends or receives still"
    C.sync_freeze(handle, C.SYNC_FROZEN_NOT)
    failed(problem)
  end
  look = loop.startTimer(LOOK_SECONDS, LOOK_SECONDS, function() loop.between = attempt end)
end

-- The new one.

local function firstOf(parcel)
  local item = core.item()
  local told = C.sync_parcel_next(parcel, item) == 1 and tonumber(item.type) == C.SYNC_ITEM_TEXT and
    arrival.decode(item)
  if not told or told.what ~= "parent" or told.format ~= upgrade.FORMAT then
    error("it has another format", 0)
  end
  return told
end

--- What the program before has handed to this one.
-- @treturn table|nil `told`, what `state` has returned, and `parcel`; nil: there was none
-- @raise when it can't be read
function exec.before()
  local fd = C.sync_exec_fd()
  if fd < 0 then return nil end
  local parcel, why = core.receiveParcel(fd, PATIENCE_MS)
  if not parcel then error(why, 0) end
  local sum = core.hear(fd, PATIENCE_MS)
  C.sync_next_close(fd)
  if tonumber(sum) ~= C.sync_parcel_sum(parcel) then error("its sum is wrong", 0) end
  return {told = firstOf(parcel), parcel = parcel}
end

--- Takes the rest.
-- @tparam table before of that function
-- @tparam Connector hub
-- @tparam function linked called with a worker's number and its connection
function exec.take(before, hub, linked)
  local pending, isWhole
  local function text(told)
    pending = told.what == "link" and told
    if told.what == "store" then hubs.unpack(hub, told) end
    isWhole = told.what == "end"
  end
  arrival.eachItem(before.parcel, function(item, type)
    if type == C.SYNC_ITEM_TEXT then return text(arrival.decode(item)) end
    if type == C.SYNC_ITEM_CLIENT then
      local slot = check(C.sync_parcel_take(handle, before.parcel, item, hub.id), "a worker")
      return linked(pending.number, hubs.takeLink(hub, slot, pending))
    end
    check(C.sync_parcel_take_workers(handle, before.parcel, item), "what workers share")
  end)
  if not isWhole then error("it has no end", 0) end
end

return exec
