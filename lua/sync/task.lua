--- Functions that wait without blocking the loop: `sync.spawn` and `sync.sleep`.
--
--     sync.spawn(function()
--       local best = sync.shared("scores"):get("best")  -- waits for the engine's answer
--       local answer, err = client:call("ask", best)    -- for the client's
--       sync.sleep(1)
--     end)
--
-- While such a function waits, handlers and others run. It is a coroutine: for what happens now
-- and then, and not for the hot path, which LuaJIT compiles without coroutines.
-- @module sync.task

local Set = require "sync.set"
local failure = require "sync.failure"
local log = require "sync.log"
local loop = require "sync.loop"

local MOST = 10000 -- at a time

local task = {}

local Task = {}
Task.__index = Task

local byThread = setmetatable({}, {__mode = "k"})
local live = 0

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

local function finish(self, status)
  self.status = status
  byThread[self.thread] = nil
  live = live - 1
end

local function go(self, ...)
  self.status = "running"
  local caller = Set.runs(self)
  local ok, err = coroutine.resume(self.thread, ...)
  Set.runs(caller)
  if self.status == "cancelled" then return end
  if not ok then
    finish(self, "failed")
    log.limited("error", "task", "error in a function of sync.spawn: " .. failure.describe(err),
      {traceback = failure.fold(debug.traceback(self.thread))})
  elseif coroutine.status(self.thread) == "dead" then
    finish(self, "done")
  else
    self.status = "waiting"
  end
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
  if live >= MOST then
    error(("sync.spawn: %d functions wait already; do they ever end?"):format(MOST), 2)
  end
  local self = setmetatable({status = "running", thread = task.thread(fn), waits = 0}, Task)
  live = live + 1
  byThread[self.thread] = self
  go(self, ...)
  return self
end

--- Ends the task where it waits: the answer that it waits for is dropped.
function Task:cancel()
  if byThread[self.thread] then finish(self, "cancelled") end
end

-- Whether the task has not come to its end.
function Task:isAlive()
  return byThread[self.thread] ~= nil
end

local function current()
  local thread = coroutine.running()
  return thread and byThread[thread]
end

--- The task that runs, nil outside sync.spawn.
task.current = current

--- Whether what runs may wait.
-- @treturn boolean
function task.isInside()
  return current() ~= nil
end

--- Waits for an operation: `start` begins it, and gets the function that ends the waiting.
-- @tparam function start called with `resume`; may call it at once
-- @return what `resume` is called with
-- @raise outside sync.spawn
function task.await(start)
  local self = current()
  if not self then
    error("this waits, so it must be called inside sync.spawn(function() … end), or be given a " ..
      "function that gets the result", 3)
  end
  self.waits = self.waits + 1
  local turn, hasYielded, early = self.waits, false, nil
  start(function(...)
    if self.waits ~= turn or early or not byThread[self.thread] then return end -- once
    if hasYielded then
      self.waits = self.waits + 1
      go(self, ...)
    else
      early = {count = select("#", ...), ...}
    end
  end)
  if early then
    self.waits = self.waits + 1
    return unpack(early, 1, early.count)
  end
  hasYielded = true
  return coroutine.yield()
end

--- Waits for a time.
-- @function sync.sleep
-- @tparam number seconds
-- @raise outside sync.spawn
function task.sleep(seconds)
  if type(seconds) ~= "number" or seconds ~= seconds or seconds < 0 then
    error("sync.sleep(seconds): seconds must be a number from 0 on", 2)
  end
  task.await(function(resume) loop.startTimer(seconds, 0, function() resume() end) end)
end

return task
