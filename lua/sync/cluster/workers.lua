--- The parent of workers, which serves nobody.
--
-- This is what `sync-lua --workers=N app.lua` runs. It starts the workers, and starts those again
-- that have died; it binds the ports, which all workers share, and it has the hub by which they
-- are one server.
-- @module sync.cluster.workers

local core = require "sync.core"
local drain = require "sync.drain"
local hubs = require "sync.cluster.hub"
local log = require "sync.log"
local loop = require "sync.loop"
local reloads = require "sync.cluster.reloads"
local systemd = require "sync.systemd"

local C, handle, now = core.C, core.handle, core.C.sync_now

local FIRST_WAIT, LONGEST_WAIT = 0.25, 10 -- before a worker is started again
local LONG_LIFE = 10        -- seconds of a worker that is started again at once
local LISTEN_SECONDS = 2    -- that the others wait for the first one to listen
local INT, TERM, KILL = 2, 15, 9
local PASSED_ON = {HUP = 1, USR1 = 10, USR2 = 12}
local UPGRADE = PASSED_ON.USR2 -- unless the script has a handler for it
local MOST = 1024           -- workers
local STOP_SECONDS = 10     -- that workers get to end by themselves

local workers = {}

local list = {}             -- by number
local arguments             -- of the workers, for C
local hub
local stopping, exitCode = false, 0
local passedOn = {}         -- signals, by number
local hasListened = false   -- some worker, ever
local leaving = {}          -- processes whose place another has, as keys
local upgrades              -- lua/sync/upgrade/parent.lua
local ownSignals = {}       -- of which the script has handlers, by number
local startOthers

-- The processes.

local function describe(how)
  local signal = math.floor(how / 256)
  if how == loop.TOLD then return "was told to stop" end
  if signal > 0 then return "was ended by signal " .. signal end
  return "ended with code " .. how
end

local start

local function startLater(worker, seconds)
  worker.timer = loop.startTimer(seconds, 0, function()
    worker.timer = nil
    start(worker)
  end)
end

local function waitOf(worker)
  if now() - worker.begun >= LONG_LIFE then
    worker.failures = 0
    return 0
  end
  worker.failures = worker.failures + 1
  local longest = math.min(LONGEST_WAIT, FIRST_WAIT * 2 ^ (worker.failures - 1))
  return longest * (0.5 + core.randomNumber(1024) / 2048)
end

function start(worker)
  worker.begun = now()
  local process, fd = core.spawn(arguments, worker.number, #list)
  local problem = process < 0 and select(2, core.problem(process))
  if not problem then
    worker.process = process
    local adopted
    adopted, problem = hub:adopt(fd)
    worker.slot = adopted
    if adopted then return end
    C.sync_kill(process, KILL) -- it is started again when it has ended
  end
  local wait = not worker.process and waitOf(worker)
  log.error(("worker %d can't be started: %s; trying again%s"):format(worker.number, problem,
    wait and (" in %.1f s"):format(wait) or ""))
  if wait then startLater(worker, wait) end
end

function startOthers()
  if stopping then return end
  for _, worker in ipairs(list) do
    if not worker.begun then start(worker) end
  end
end

local function isAlone()
  for _, worker in ipairs(list) do
    if worker.process or worker.timer then return false end
  end
  return next(leaving) == nil
end

local function finish()
  if isAlone() then
    C.sync_shares_close(handle)
    loop.stop(1)
  end
end

local function killAll()
  for _, worker in ipairs(list) do
    if worker.process then C.sync_kill(worker.process, KILL) end
  end
  for process in pairs(leaving) do C.sync_kill(process, KILL) end
end

-- Ends those that don't end, such as one with a stuck handler.
local function killStuck()
  for _, worker in ipairs(list) do
    if worker.process then
      log.error(("worker %d didn't stop within %d s: it is killed"):format(worker.number,
        STOP_SECONDS + (drain.onTerm or 0)))
    end
  end
  killAll()
end

local function stop()
  if stopping then return killAll() end
  stopping = true
  upgrades.stop()
  for _, worker in ipairs(list) do
    if worker.timer then
      loop.stopTimer(worker.timer)
      worker.timer = nil
    end
    if worker.process then C.sync_kill(worker.process, TERM) end
  end
  loop.startTimer(STOP_SECONDS + (drain.onTerm or 0), 0, killStuck)
  C.sync_shares_close(handle) -- new clients are refused, as by one process that stops
  finish()
end

local function onSignal(number)
  if not stopping then
    log.info((number == INT and "interrupted" or "told to stop") .. ": stopping the workers")
  end
  stop()
end

-- A process has ended that isn't a worker any more, or not yet.
-- @treturn boolean whether it was one
local function otherEnded(process, how)
  if not leaving[process] then return upgrades.ended(process, describe(how)) end
  leaving[process] = nil
  if how ~= 0 then
    log.error(("process %d, whose place another has, %s"):format(process, describe(how)))
  end
  if stopping then finish() end
  return true
end

-- Starts a worker again that is no more: its process has ended, or has left its place to one that
-- has died.
local function settle(worker)
  local process = worker.process
  if process and not loop.clients[worker.slot] then
    leaving[process], worker.process = true, nil
    C.sync_shares_leave(handle, worker.number)
  end
  if not worker.process and not worker.timer and not stopping then
    startLater(worker, waitOf(worker))
  end
end

-- A worker's connection has ended.
local function onGone(link)
  for _, worker in ipairs(list) do
    if worker.slot == link.slot and worker.wasAsked and not upgrades.isOf(worker) then
      settle(worker)
    end
  end
end

-- A worker's process has ended.
local function onExited(event)
  local process, how = event.id, event.value
  if otherEnded(process, how) then return end
  local worker
  for _, each in ipairs(list) do
    if each.process == process then worker = each end
  end
  if not worker then return end
  worker.process = nil
  reloads.gone(worker)
  if upgrades.isOf(worker) then return end -- its successor goes on, or settles it
  C.sync_shares_leave(handle, worker.number)
  if stopping then return finish() end
  if how == 0 then -- the script has come to its end
    startOthers()
    return finish()
  end
  if not hasListened then -- the script itself is wrong, and has said so
    exitCode = how < 256 and how or 1
    return stop()
  end
  local signal = math.floor(how / 256)
  -- The script has no handler, so the signal would have ended one process, too.
  if passedOn[signal] and signal ~= PASSED_ON.HUP then
    log.info(("worker %d %s; stopping the others"):format(worker.number, describe(how)))
    exitCode = 128 + signal
    return stop()
  end
  local wait = waitOf(worker)
  local say = how == loop.TOLD and log.info or log.error
  say(("worker %d %s; it is started again%s"):format(worker.number, describe(how),
    wait > 0 and (" in %.1f s"):format(wait) or ""))
  startLater(worker, wait)
end

loop.on(C.SYNC_EXITED, onExited)

local function watchSignals()
  for _, number in ipairs {INT, TERM} do
    loop.signals[number] = onSignal
    C.sync_signal_start(handle, number, 0)
  end
  for _, number in pairs(PASSED_ON) do
    loop.signals[number] = function()
      if number == UPGRADE and not ownSignals[number] then return workers.upgrade() end
      passedOn[number] = true
      if number == PASSED_ON.HUP then log.reopen() end
      for _, worker in ipairs(list) do
        if worker.process then C.sync_kill(worker.process, number) end
      end
    end
    C.sync_signal_start(handle, number, 0)
  end
end

--- The workers: tables with `number` and, of one that runs, `process`.
function workers.list() return list end

--- Has all workers reload, one first.
-- @tparam boolean back whether the version before is wanted
-- @tparam function done called with true, or with nil and what is wrong
function workers.reload(back, done)
  if stopping then return done(nil, "the workers stop") end
  if upgrades.isUnderWay() then return done(nil, "an upgrade is under way") end
  reloads.begin(list, back, done)
end

-- What the next program is told.
local function state()
  local told = {list = {}, leaving = {}, signals = {}, version = reloads.version()}
  for number, worker in ipairs(list) do
    told.list[number] = {process = worker.process, begun = worker.begun,
      failures = worker.failures, wasAsked = worker.wasAsked}
  end
  for process in pairs(leaving) do told.leaving[#told.leaving + 1] = process end
  for number in pairs(ownSignals) do told.signals[#told.signals + 1] = number end
  return told
end

-- What an upgrade has to know of the workers.
local function described()
  return {list = list, words = arguments, leaving = leaving, settle = settle, state = state,
    hub = function() return hub end}
end

--- Has this program replaced, and all workers, one after the other.
function workers.upgrade()
  if stopping then return upgrades.refuse "the workers stop" end
  if reloads.isUnderWay() then return upgrades.refuse "a reload is under way" end
  upgrades.begin(described())
end

--- The number of the version that workers have.
workers.version = reloads.version

--- How many workers an option asks for.
-- @tparam string text a number, or "auto": one for each core this process may use
-- @treturn number|nil or nil and a message
function workers.count(text)
  local count = text == "auto" and C.sync_core_count() or tonumber(text)
  if not count or count % 1 ~= 0 or count < 1 or count > MOST then
    return nil, ("--workers takes a number from 1 to %d, or auto, not %q"):format(MOST, text)
  end
  return count
end

local function openHub(count)
  hub = hubs.open(count, {
    onListens = function(slot, signals)
      if not hasListened then systemd.ready() end
      hasListened = true
      for _, number in ipairs(signals) do ownSignals[number] = true end
      reloads.tell(slot)
      startOthers()
    end,
    onReload = workers.reload, onReloaded = reloads.answered,
    onUpgraded = upgrades.answered, onGone = onGone,
  })
end

local function run()
  watchSignals()
  C.sync_exec_done()
  loop.run()
  return exitCode
end

local function begin(count)
  local problem = C.sync_shares_new(handle, count)
  if problem < 0 then
    log.error("workers: " .. select(2, core.problem(problem)))
    return 1
  end
  openHub(count)
  for number = 1, count do list[number] = {number = number, failures = 0} end
  log.info(("%d workers"):format(count))
  start(list[1])
  loop.startTimer(LISTEN_SECONDS, 0, startOthers)
  return run()
end

-- A process that the program before has started.
local function adopt(process)
  local code = C.sync_adopt_worker(handle, process)
  if code < 0 then error(select(2, core.problem(code)), 0) end
end

-- This program was another before, which had these workers.
local function goOn(before)
  local told = before.told
  openHub(#told.list)
  hasListened = true
  reloads.goOn(told.version)
  for number, worker in ipairs(told.list) do
    worker.number, list[number] = number, worker
    if worker.process then adopt(worker.process) end
  end
  for _, process in ipairs(told.leaving) do
    leaving[process] = true
    adopt(process)
  end
  for _, number in ipairs(told.signals) do ownSignals[number] = true end
  upgrades.take(before, hub, function(number, link) list[number].slot = link.slot end)
  for _, worker in ipairs(list) do
    if not worker.process then startLater(worker, 0) end
  end
  systemd.ready()
  upgrades.goOn(described())
end

--- Runs workers until they are told to stop.
-- @tparam number count
-- @tparam table words the command line of each, its first word the program's name
-- @tparam table replacing lua/sync/upgrade/parent.lua, which has workers replaced
-- @treturn number the exit code
function workers.run(count, words, replacing)
  upgrades, arguments = replacing, words
  local ok, before = pcall(upgrades.before)
  if ok and not before then return begin(count) end
  local problem = before
  if ok then ok, problem = pcall(goOn, before) end
  if ok then return run() end
  log.error("upgrade: what the program before has handed over can't be read: " .. tostring(problem))
  return 1
end

return workers
