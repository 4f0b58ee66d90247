--- The parent's part in an upgrade of workers: a process tries whether the new program and script
-- could begin; the parent becomes its next program (lua/sync/upgrade/exec.lua); and then one worker
-- after the other hands over to a process of its own.
--
-- A worker whose hand-over fails goes on as it was. What happens when a process dies meanwhile:
--
--     the new one, before it has taken over   the old one goes on
--     the old one, before that                the new one ends, too; the worker is started again
--     either, later                           as ever: a worker that dies is started again
-- @module sync.upgrade.parent

local core = require "sync.core"
local exec = require "sync.upgrade.exec"
local log = require "sync.log"
local loop = require "sync.loop"
local upgrade = require "sync.upgrade"

local C, handle, now = core.C, core.handle, core.C.sync_now

local KILL = 9
local HELLO_SECONDS = 10 -- that a worker has to say what it listens on
local TRIAL_SECONDS = 60 -- that the new script has to load, as in lua/sync/upgrade/init.lua
local WARM_SECONDS = 0.5 -- that the last one who has begun runs, until its code is compiled
local STEP_SECONDS = 80  -- that a worker's hand-over may take, which has bounds of its own

local parent = {}

local current = false -- the upgrade under way

--- Whether one is under way.
function parent.isUnderWay() return current ~= false end

local function stopWaiting(self)
  if self.timer then loop.stopTimer(self.timer) end
  if self.watch then C.sync_watch_stop(handle, self.watch) end
  if self.fd then C.sync_next_close(self.fd) end
  self.timer, self.watch, self.fd = nil, nil, nil
end

-- Waits for what comes next: an answer, the end of a process, or so many seconds.
local function wait(self, seconds, late)
  stopWaiting(self)
  self.timer = loop.startTimer(seconds, 0, function()
    self.timer = nil
    late()
  end)
end

local function finish(self, problem)
  stopWaiting(self)
  current = false
  if problem then
    log.error(("upgrade: %s; the workers go on as they are"):format(problem))
    return upgrade.answer("failed: " .. problem)
  end
  local text = ("%d workers of process %d have been replaced"):format(self.done, C.sync_process())
  if self.problems[1] then
    local problems = table.concat(self.problems, "; ")
    log.error(("upgrade: %s, but not all: %s"):format(text, problems))
    return upgrade.answer(("failed: %s, but not all: %s"):format(text, problems))
  end
  log.info("upgrade: " .. text)
  upgrade.answer("done: " .. text)
end

-- One after the other.

local nextWhenWarm

local function stepDone(self, problem)
  local worker = self.worker
  stopWaiting(self)
  C.sync_next_withdraw(handle, self.successor)
  self.worker, self.successor = false, false
  if problem then
    self.problems[#self.problems + 1] = ("worker %d: %s"):format(worker.number, problem)
    log.error(("upgrade: worker %d stays what it is: %s"):format(worker.number, problem))
    self.parent.settle(worker)
  else
    self.done = self.done + 1
  end
  nextWhenWarm(self)
end

local function step(self, worker)
  local link = loop.clients[worker.slot]
  local process, fd = core.spawnNext(self.parent.words, worker.number, #self.parent.list, "1")
  self.worker, self.successor = worker, process
  local code = process < 0 and process or C.sync_next_offer(handle, process, fd)
  if code < 0 then
    if process > 0 then C.sync_kill(process, KILL) end
    return stepDone(self, "its successor can't be started: " .. select(2, core.problem(code)))
  end
  worker.wasAsked = true
  upgrade.answer(("going: worker %d of %d"):format(worker.number, #self.parent.list))
  link:askUpgrade {process = process}
  wait(self, STEP_SECONDS, function()
    C.sync_kill(process, KILL)
    stepDone(self, ("it wasn't replaced within %d s"):format(STEP_SECONDS))
  end)
end

-- Workers that are being started are of the new program and script anyway.
local function nextWorker(self)
  local worker
  repeat
    self.at = self.at + 1
    worker = self.parent.list[self.at]
    if not worker then return finish(self) end
  until worker.process and worker.slot and loop.clients[worker.slot]
  step(self, worker)
end

-- Clients notice the more of an upgrade the more processes are cold at once.
function nextWhenWarm(self)
  wait(self, WARM_SECONDS, function() nextWorker(self) end)
end

-- The trial.

-- Its process has ended, too.
local function tried(self)
  stopWaiting(self)
  exec.begin(self.parent, function(problem)
    finish(self, "the parent's next program: " .. problem)
  end)
end

loop.on(C.SYNC_WATCH, function(event)
  local self = current
  if not self or event.id ~= self.watch then return end
  local said, _, isEarly, isOver = core.hear(self.fd, 0)
  if isEarly then return end
  self.isTried = said == "ready"
  if self.isTried or isOver then -- its end tells more
    C.sync_watch_stop(handle, self.watch)
    self.watch = nil
    return
  end
  C.sync_kill(self.trial, KILL)
  finish(self, said or "the new process can't be heard")
end)

local function try(self, hello)
  hello.isTrial = true
  local process, fd = core.spawnNext(self.parent.words, 1, #self.parent.list, "trial")
  if process < 0 then
    return finish(self, ("%s can't be started: %s"):format(self.parent.words[1],
      select(2, core.problem(process))))
  end
  self.trial = process
  wait(self, TRIAL_SECONDS, function()
    C.sync_kill(process, KILL)
    finish(self, ("the new script wasn't ready within %d s"):format(TRIAL_SECONDS))
  end)
  self.fd = fd
  upgrade.introduce(fd, hello, {})
  self.watch = C.sync_watch_start(handle, fd, C.SYNC_READABLE)
end

-- What happens.

--- A worker has told something of the upgrade.
-- @tparam number slot of its connection
-- @tparam table said
function parent.answered(slot, said)
  local self = current
  if not self then return end
  if self.asked == slot then
    self.asked = false
    if said.problem then return finish(self, said.problem) end
    return try(self, said.hello)
  end
  if not said.process or said.process ~= self.successor then return end
  if said.problem then
    C.sync_kill(self.successor, KILL)
    return stepDone(self, said.problem)
  end
  local worker = self.worker
  if worker.process then self.parent.leaving[worker.process] = true end
  worker.process, worker.begun, worker.wasAsked = self.successor, now(), false
  stepDone(self)
end

--- A process has ended.
-- @tparam number process
-- @tparam string how for the log
-- @treturn boolean whether it belongs to the upgrade
function parent.ended(process, how)
  local self = current
  if not self then return false end
  if process == self.trial then
    self.trial = false
    if self.isTried then
      tried(self)
    else
      finish(self, ("the new script can't begin: its process %s; its own log says why"):format(how))
    end
    return true
  elseif process == self.successor then
    stepDone(self, "its successor " .. how)
    return true
  end
  return false
end

--- Whether a worker is being replaced: what becomes of it is told then.
function parent.isOf(worker)
  return current and current.worker == worker
end

--- Ends it: the parent stops.
function parent.stop()
  local self = current
  if not self then return end
  for _, process in pairs {self.trial, self.successor} do
    if process then C.sync_kill(process, KILL) end
  end
  stopWaiting(self)
  current = false
  upgrade.answer "failed: the workers are told to stop"
end

-- Beginning.

-- A worker that can be asked.
local function anyLink(given)
  for _, worker in ipairs(given.list) do
    local link = worker.process and worker.slot and loop.clients[worker.slot]
    if link then return link end
  end
end

-- One that is under way.
local function new(given)
  current = {parent = given, at = 0, done = 0, problems = {}, asked = false,
    trial = false, successor = false, worker = false}
  return current
end

--- The program before has begun one: it's the workers' turn.
function parent.goOn(given)
  log.info "upgrade: the parent is its next program"
  nextWhenWarm(new(given))
end

-- What the program before has handed to this one: see lua/sync/upgrade/exec.lua.
parent.before, parent.take = exec.before, exec.take

--- There is to be none.
function parent.refuse(problem)
  log.error("upgrade: " .. problem)
  upgrade.answer("failed: " .. problem)
end

--- Begins one.
-- @tparam table given `list`, of workers; `words`, the command line; `leaving`, processes whose
-- place another has, as keys; `settle(worker)`, called when a worker's hand-over has failed; and
-- `state` and `hub`, as for lua/sync/upgrade/exec.lua
function parent.begin(given)
  local link = anyLink(given)
  if current or not link then
    return parent.refuse(current and "an upgrade is under way already" or "no worker runs")
  end
  local self = new(given)
  self.asked = link.slot
  link:askUpgrade {}
  wait(self, HELLO_SECONDS, function()
    finish(self, ("a worker didn't answer within %d s"):format(HELLO_SECONDS))
  end)
end

return parent
