--- Functions that wait without blocking the loop: tasks. `sync.spawn` and `sync.sleep`; see
-- lua/sync/waits.lua for handlers that wait.
--
--     sync.spawn(function()
--       local best = sync.shared("scores"):get("best")  -- waits for the engine's answer
--       local answer, err = client:call("ask", best)    -- for the client's
--       sync.sleep(1)
--     end)
--
-- While such a function waits, handlers and others run. It is a coroutine, which costs about a
-- microsecond: what never waits needs none.
--
-- **Time limits and cancelling.** Both raise an error where the function waits: so a transaction
-- is rolled back, and a connection is given back. It's a table with `code`, "timeout" or
-- "cancelled". A function that catches the error may wait again, to tidy up.
-- @module sync.task

local Set = require "sync.set"
local failure = require "sync.failure"
local limits = require "sync.limits"
local log = require "sync.log"
local loop = require "sync.loop"

local MOST = 10000     -- functions of sync.spawn at a time
local MOST_IDLE = 256  -- coroutines that are kept for the next function

local task = {}

local Task = {}
Task.__index = Task

local running = false  -- the task whose function runs
local idle = {}        -- coroutines without a function
local ready = {}       -- tasks that go on behind the one that runs, with what they get

local Failure = {}
Failure.__index = Failure

--- What time limits and `cancel` raise.
task.Failure = Failure

function Failure:__tostring() return self.message end

--- What is raised at a wait that is given up.
-- @tparam string code
-- @tparam string message
function task.failure(code, message)
  return setmetatable({code = code, message = message}, Failure)
end

-- Coroutines.

--- Makes a coroutine. LuaJIT may crash when it begins to compile the very function that a
-- coroutine begins with, while somebody watches the compiler (`--jit-report`, the panel): so each
-- begins with a function that is never compiled.
-- @tparam function fn of which at most three results are kept
-- @treturn thread
function task.thread(fn)
  local function begin(...)
    local a, b, c = fn(...) -- no tail call
    return a, b, c
  end
  jit.off(begin)
  return coroutine.create(begin)
end

local function conclude(self, ok, a, b, c)
  if not ok and type(a) ~= "table" then a = {raised = a, traceback = ""} end -- out of memory
  self.isOver, self.ok = true, ok
  self.a, self.b, self.c = a, b, c
end

local function once(self, fn, ...)
  conclude(self, xpcall(fn, failure.catch, ...))
  return coroutine.yield()
end

-- Each coroutine calls one function after the other, for making one costs more than calling.
local function worker(...)
  return worker(once(...))
end
jit.off(worker)

-- Slices: what a task does between two waits.

local function over(self)
  self.thread = nil
  if self.isTimed then limits.stop(self) end
  if self.ok then
    self.status = "done"
  else
    self.status = self.a.raised == self.lastFailure and self.a.raised.code == "cancelled" and
      "cancelled" or "failed"
  end
  self:ended(self.ok, self.a, self.b, self.c)
end

local function slice(self, ...)
  local thread, before, caller = self.thread, running, Set.runs(self)
  running, self.status, self.isParked = self, "running", false
  self:enter()
  local ok, err = coroutine.resume(thread, ...)
  running = before
  Set.runs(caller)
  if self.isOver then
    if #idle < MOST_IDLE then idle[#idle + 1] = thread end
  elseif ok and self.isParked then
    self.status = "waiting"
    return self:leave()
  else
    conclude(self, false, {traceback = debug.traceback(thread), raised = ok and
      "a function that waits must not call coroutine.yield itself" or err})
  end
  over(self)
end

local function drain()
  while ready[1] do
    local list = ready
    ready = {}
    for _, entry in ipairs(list) do slice(entry[1], unpack(entry, 3, 2 + entry[2])) end
  end
end

-- One at a time goes on: what another's function has ended the waiting of comes behind that.
local function go(self, ...)
  self.isParked = false
  if running then
    ready[#ready + 1] = {self, select("#", ...), ...}
    return
  end
  slice(self, ...)
  if ready[1] then drain() end
end

--- A kind of tasks. Its methods are called outside of the function: `enter` before and `leave`
-- after each slice but the last, and `ended(ok, a, b, c)` last, once: with what the function has
-- returned, or with false and what `failure.catch` makes of its error.
-- @tparam table methods
function task.kind(methods)
  methods.__index = methods
  return setmetatable(methods, Task)
end

function Task.enter() end
function Task.leave() end
function Task.ended() end

--- Begins a task, whose function runs at once until it first waits.
-- @tparam table kind
-- @tparam table fields of the task: the kind's, and `limit`, the seconds that it may wait in all
-- @tparam function fn of which at most three results are kept
-- @param ... its arguments
-- @treturn Task
function task.start(kind, fields, fn, ...)
  fields.turn, fields.isOver, fields.isParked, fields.doomed = 0, false, false, false
  fields.thread = table.remove(idle) or coroutine.create(worker)
  local self = setmetatable(fields, kind)
  slice(self, self, fn, ...)
  if not running and ready[1] then drain() end
  return self
end

-- Spawned ones.

local spawned = 0

local Spawned = task.kind {}

function Spawned:ended(ok, caught)
  spawned = spawned - 1
  if ok or self.status == "cancelled" then return end
  log.limited("error", "task", "error in a function of sync.spawn: " ..
    failure.describe(caught.raised), {traceback = caught.traceback})
end

--- Runs a function, at once until it first waits. An error in it is logged, and costs nothing
-- else.
-- @function sync.spawn
-- @tparam function fn
-- @param ... its arguments
-- @treturn Task with `status`: "running", "waiting", "done", "failed" or "cancelled"
-- @raise when 10,000 are alive already
function task.spawn(fn, ...)
  if type(fn) ~= "function" then
    error("sync.spawn(fn, …): fn must be a function, not " .. type(fn), 2)
  end
  if spawned >= MOST then
    error(("sync.spawn: %d functions wait already; do they ever end?"):format(MOST), 2)
  end
  spawned = spawned + 1
  return task.start(Spawned, {}, fn, ...)
end

-- Ending a wait before its time.

local function doom(self, why)
  self.lastFailure = why
  if not self.isParked then -- it runs, or is about to: it hears of it when it waits next
    self.doomed = why
    return
  end
  self.turn = self.turn + 1 -- what it has waited for comes too late
  local stop = self.stop
  self.stop = nil
  if stop then stop(self.who, why) end
  go(self, why)
end

--- Ends the task where it waits, by an error that is raised there: what it waits for is dropped.
-- A task that runs hears of it when it waits next.
-- @param[opt] why what is raised; a failure with the code "cancelled"
function Task:cancel(why)
  if self.thread then
    doom(self, why or task.failure("cancelled", "the function was cancelled while it waited"))
  end
end

--- Ends the task in so many seconds, as `cancel` does, by a failure with the code "timeout".
-- @tparam number seconds
function Task:timeout(seconds)
  if type(seconds) ~= "number" or seconds ~= seconds or seconds <= 0 then
    error("timeout(seconds): seconds must be a number above 0", 2)
  end
  if not self.thread then return end
  self.limit, self.isTimed = seconds, true
  limits.start(self, seconds)
end

-- It may catch the error, and wait on: then it's told again.
function Task:expire()
  limits.start(self, self.limit)
  doom(self, task.failure("timeout", ("the function has waited for more than %g s")
    :format(self.limit)))
end

--- Whether the task has not come to its end.
function Task:isAlive()
  return self.thread ~= nil
end

-- Waiting.

local function current()
  local self = running
  return self and coroutine.running() == self.thread and self or nil
end

--- The task that runs, nil outside of one.
task.current = current

--- Whether what runs may wait.
-- @treturn boolean
function task.isInside()
  return current() ~= nil
end

--- The task that runs.
-- @tparam string call that needs one
-- @tparam[opt=1] number level of the caller to blame
-- @raise outside of a task
function task.needed(call, level)
  local self = current()
  if self then return self end
  error(call .. " waits, so it must be called inside sync.spawn(function() … end), a handler " ..
    "that was declared by sync.waits, or a route", (level or 1) + 1)
end

local function goneOn(why, ...)
  if why ~= nil then error(why, 0) end
  return ...
end

local function isDoomed(self)
  local why = self.doomed
  self.doomed = false
  return why
end

--- Waits for an operation: `start` begins it, and gets the function that ends the waiting.
-- @tparam function start called with `resume` and `who`; may call `resume` at once
-- @tparam[opt] function stop gives the operation up: called with `who` and what will be raised,
-- when the wait ends before its time; `resume` does nothing any more
-- @param[opt] who
-- @return what `resume` is called with
-- @raise outside of a task; and what a time limit or `cancel` raises
function task.await(start, stop, who)
  local self = current()
  if not self then
    error("this waits, so it must be called inside sync.spawn(function() … end), a handler that " ..
      "was declared by sync.waits, or a route; or be given a function that gets the result", 3)
  end
  if self.doomed then error(isDoomed(self), 0) end
  local turn = self.turn + 1
  self.turn = turn
  start(function(...) -- of few variables, since each costs an allocation
    if self.turn ~= turn then return end -- once
    self.turn = turn + 1
    if self.isParked then
      self.stop = nil
      go(self, nil, ...)
    else
      self.early = {count = select("#", ...), ...}
    end
  end, who)
  local early = self.early
  if early then
    self.early = nil
    return unpack(early, 1, early.count)
  end
  if self.doomed then
    self.turn = turn + 1
    if stop then stop(who, self.doomed) end
    error(isDoomed(self), 0)
  end
  if self.limit and not self.isTimed then
    self.isTimed = true
    limits.start(self, self.limit)
  end
  self.isParked, self.stop, self.who = true, stop, who
  return goneOn(coroutine.yield())
end

--- Waits for a time.
-- @function sync.sleep
-- @tparam number seconds
-- @raise outside of a task
function task.sleep(seconds)
  if type(seconds) ~= "number" or seconds ~= seconds or seconds < 0 then
    error("sync.sleep(seconds): seconds must be a number from 0 on", 2)
  end
  local timer
  task.await(function(resume) timer = loop.startTimer(seconds, 0, function() resume() end) end,
    function() loop.stopTimer(timer) end)
end

return task
