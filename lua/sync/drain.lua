--- Drain: a process that is to end sends its clients elsewhere, a batch each second, and goes on
-- for those who are still here. `sync.drain` is its face.
--
-- First nobody new is accepted, and `onShutdown` of classes and rooms is called, which may wait:
-- clients whose class or room has not finished are left alone. The others are told to go, by
-- `onGoAway`. When nobody is left, or the time has passed, the server stops. In the last part of
-- the time all are told.
-- @module sync.drain

local core = require "sync.core"
local log = require "sync.log"
local loop = require "sync.loop"
local task = require "sync.task"

local C, handle, now = core.C, core.handle, core.C.sync_now

local SECONDS = 30     -- that it takes at most, by default
local MOST = 86400
local EACH = 1         -- seconds between two batches; a batch leaves within them
local STEPS = 5        -- that there are at least
local TELLING = 0.5    -- the share of the time in which all are told, without `batch`
local LAST = 0.2       -- the share of the time in which nobody is left alone any more
local MOST_LAST = 10   -- seconds of it

local drain = {
  --- Seconds that SIGTERM gives, of --drain; false: none.
  onTerm = false,
}

local current = false  -- what is under way
local parts = {}

--- Has others take part, as rooms do: of each part `begin(seconds, hold)` is called first, where
-- `hold(what)` returns a function to be called once `what` has finished; `holds(client)` says
-- whether a client is to be left alone; `finish()` is called before the server stops.
-- @tparam table part
function drain.addPart(part)
  parts[#parts + 1] = part
end

--- Whether one is under way.
function drain.isOn()
  return current ~= false
end

--- Seconds that are left; nil when none is under way.
function drain.left()
  return current and math.max(0, current.due - now()) or nil
end

--- What is wrong with what sync.drain was given, or nil.
function drain.problem(given)
  if type(given) ~= "table" then return "options must be a table, not " .. type(given) end
  for name, value in pairs(given) do
    if name ~= "seconds" and name ~= "batch" then
      return ("unknown option %s: there are seconds and batch"):format(tostring(name))
    elseif type(value) ~= "number" or not (value > 0 and value <= (name == "seconds" and MOST or
      10 ^ 7)) then
      return ("%s must be a number above 0, not %s"):format(name, tostring(value))
    end
  end
end

--- Reads what stands behind --drain=.
-- @treturn number|nil
-- @treturn string what is wrong
function drain.parse(text)
  local seconds = tonumber(text)
  if seconds and seconds > 0 and seconds <= MOST then return seconds end
  return nil, ("--drain takes seconds, from 1 to %d, not %q"):format(MOST, text)
end

-- Something has yet to finish. Returns what is called when it has.
local function hold(self, what)
  self.open[what] = (self.open[what] or 0) + 1
  return function()
    self.open[what] = self.open[what] > 1 and self.open[what] - 1 or nil
  end
end

-- Calls onShutdown of a class, whose clients are left alone until it has returned.
local function shutDown(self, class, seconds)
  local done = hold(self, class)
  local function run()
    loop.guard("onShutdown of " .. class.className, class.onShutdown, class, seconds)
    done()
  end
  if not pcall(task.spawn, run) then run() end -- too many functions wait
end

local function isHeld(self, client)
  if self.open[getmetatable(client)] then return true end
  for _, part in ipairs(parts) do
    if part.holds(client) then return true end
  end
  return false
end

-- Those that are here, and of them those that may be told now.
local function survey(self, isLast)
  local count, free = 0, {}
  for _, class in ipairs(self.classes) do
    for client in class.clients do
      count = count + 1
      if not self.told[client] and not client.closing and (isLast or not isHeld(self, client)) then
        free[#free + 1] = client
      end
    end
  end
  for _ in pairs(loop.away) do count = count + 1 end
  return count, free
end

local function tell(self, free, most)
  local count = math.min(#free, most)
  for i = 1, count do
    local client = free[i]
    self.told[client] = true
    loop.guard("onGoAway of " .. getmetatable(client).className, client.onGoAway, client,
      self.each * (i - 1) / count)
  end
end

local function finish(self, left)
  loop.stopTimer(self.timer)
  for what in pairs(self.open) do
    log.warn(("onShutdown of %s didn't end in time"):format(what.className or tostring(what)))
  end
  for _, part in ipairs(parts) do loop.guard("the end of a drain", part.finish) end
  log.info(left == 0 and "drained: nobody is left" or "the time to drain is over",
    {clients = left})
  self.stop()
end

local function step(self)
  local time = now()
  local isLast = time >= self.last
  local left, free = survey(self, isLast)
  if left == 0 and next(self.open) == nil or time >= self.due then return finish(self, left) end
  local most = self.batch
  if isLast then -- all, before the time is over
    most = math.max(most, #free / math.max(1, math.floor((self.due - time) * TELLING / self.each)))
  end
  tell(self, free, math.ceil(most))
end

-- Nobody new comes: where HTTP is spoken, operators are told so; other ports close.
local function closeDoors(listeners)
  C.sync_drain(handle)
  C.sync_close_idle(handle, 0)
  for _, listener in ipairs(listeners) do
    listener.isDraining = true
    if not listener.settings.transports.http then listener:stop() end
  end
end

--- Begins.
-- @tparam table server `listeners`, `classes`, and `stop`, a function
-- @tparam table given as of sync.drain
function drain.begin(server, given)
  local seconds, begun = given.seconds or SECONDS, now()
  local last = math.min(seconds * LAST, MOST_LAST)
  local self = {classes = server.classes, stop = server.stop, open = {},
    told = setmetatable({}, {__mode = "k"}),
    each = math.min(EACH, seconds / STEPS), due = begun + seconds, last = begun + seconds - last}
  current = self
  closeDoors(server.listeners)
  for _, class in ipairs(self.classes) do shutDown(self, class, seconds - last) end
  for _, part in ipairs(parts) do
    part.begin(seconds - last, function(what) return hold(self, what) end)
  end
  local count = survey(self, true)
  self.batch = given.batch and given.batch * self.each or
    math.max(1, count * self.each / (seconds * TELLING))
  log.info("draining: clients are sent elsewhere", {clients = count, seconds = seconds})
  self.timer = loop.startTimer(0, self.each, function() step(self) end)
end

--- The server stops: what is under way ends.
function drain.stopped()
  if not current then return end
  loop.stopTimer(current.timer)
  current = false
end

return drain
