--- How many requests are under way, of one host and of all; who finds no place waits in a line
-- that has a bound, until a time. A host's requests don't hold up those of another.
-- @module sync.fetch.line

local loop = require "sync.loop"
local task = require "sync.task"

local line = {
  perHost = 16, -- at once
  most = 128,   -- of all hosts
  queue = 1000, -- that wait for a place
}

local counts, total = {}, 0 -- requests under way, by host
local waiters = {}          -- in order

local function isFree(host)
  return total < line.most and (counts[host] or 0) < line.perHost
end

local function enter(host)
  counts[host] = (counts[host] or 0) + 1
  total = total + 1
end

local function remove(waiter)
  for i = 1, #waiters do
    if waiters[i] == waiter then
      table.remove(waiters, i)
      loop.stopTimer(waiter.timer)
      return
    end
  end
end

-- Beginning a request takes some 0.1 ms, so many that could begin at once begin one after another.
local AT_ONCE, PAUSE = 16, 0.001
local left, pausing = AT_ONCE, false

-- The places that are free go to those who have waited longest for one of theirs.
local function serve()
  local i = 1
  while i <= #waiters and total < line.most and left > 0 do
    local waiter = waiters[i]
    if isFree(waiter.host) then
      remove(waiter)
      enter(waiter.host)
      left = left - 1
      waiter.resume(true)
      i = 1
    else
      i = i + 1
    end
  end
  if left == 0 and not pausing then
    pausing = true
    loop.startTimer(PAUSE, 0, function()
      left, pausing = AT_ONCE, false
      serve()
    end)
  end
end

-- Who waits longer than it may, or is cancelled, leaves the line.
local function stand(resume, waiter)
  waiter.resume = resume
  waiters[#waiters + 1] = waiter
  waiter.timer = loop.startTimer(waiter.seconds, 0, function()
    remove(waiter)
    resume(false)
  end)
end

--- Whether one more may wait.
function line.isFull() return #waiters >= line.queue end

--- Waits for a place: `leave` gives it back.
-- @tparam string host
-- @tparam number seconds that it may take
-- @treturn boolean|nil true; nil and "busy" or "timeout"
function line.enter(host, seconds)
  if isFree(host) and not pausing then
    enter(host)
    return true
  end
  if line.isFull() then return nil, "busy" end
  local given = task.await(stand, remove, {host = host, seconds = seconds})
  if given then return true end
  return nil, "timeout"
end

function line.leave(host)
  total = total - 1
  counts[host] = counts[host] > 1 and counts[host] - 1 or nil
  if waiters[1] then serve() end
end

--- How many are under way, and how many wait.
function line.state() return total, #waiters end

return line
