--- Reads logs of the engine, a few at a time, and works on them bit by bit: what many clients make
-- a node do must not let others wait.
--
-- Those who ask for the same log share its reading: that of a room while it hasn't begun, for
-- they want what comes until they ask; that of a journal, which changes no more, also while it is
-- read, and a while longer.
-- @classmod sync.cluster.reader

local frame = require "sync.cluster.frame"
local failure = require "sync.failure"
local log = require "sync.log"

local READ = 32            -- entries at once: what a worker is told in one message holds them
local MOST_READ = 64 * 1024 * 1024 -- bytes of a log
local MOST_READING = 8     -- logs at a time
local READING_SECONDS = 2  -- that a journal which was read is kept, at least
local READING_SHARE = 4    -- and as many times as long as reading took
local CHORES_SECONDS = 0.005 -- that reading, and what follows, may have of a tick

local Reader = {}
Reader.__index = Reader

--- Makes that of a node.
-- @tparam sync.cluster cluster
function Reader.new(cluster)
  local self
  self = setmetatable({cluster = cluster, clock = cluster.clock,
    chores = {}, firstChore = 1, lastChore = 0, isBusy = false,
    readings = {},  -- by log, which may still be shared
    waiting = {}, firstWaiting = 1, lastWaiting = 0, -- readings that have not begun
    underWay = 0,   -- readings
    doChores = function() self:work() end,
  }, Reader)
  return self
end

-- Chores.

function Reader:work()
  local clock, chores = self.clock, self.chores
  local stop = clock.now() + CHORES_SECONDS
  repeat
    local fn = chores[self.firstChore]
    chores[self.firstChore] = nil
    self.firstChore = self.firstChore + 1
    local ok, problem = xpcall(fn, failure.trace)
    if not ok then
      log.limited("error", "journal", "error in what was read of a journal: " .. tostring(problem))
    end
  until self.firstChore > self.lastChore or clock.now() >= stop
  if self.firstChore <= self.lastChore then return clock.startTimer(0, 0, self.doChores) end
  self.firstChore, self.lastChore, self.isBusy = 1, 0, false
end

function Reader:later(fn)
  self.lastChore = self.lastChore + 1
  self.chores[self.lastChore] = fn
  if not self.isBusy then self.clock.startTimer(0, 0, self.doChores) end
  self.isBusy = true
end

-- Readings.

-- Ends a reading. Who waits is told.
function Reader:finish(reading, problem)
  reading.problem, reading.isDone = problem, true
  self.underWay = self.underWay - 1
  if reading.isLasting then
    local took = self.clock.now() - reading.begun
    self.clock.startTimer(math.max(READING_SECONDS, READING_SHARE * took), 0, function()
      self.readings[reading.name] = nil
    end)
  end
  for _, done in ipairs(reading.waiting) do self:later(function() done(reading) end) end
  reading.waiting = nil
  self:startNext()
end

local function takeEntries(reading, list)
  for _, entry in ipairs(list) do
    reading.bytes = reading.bytes + #entry.bytes
    reading:add(frame.decode(entry.bytes, 0))
  end
end

function Reader:takePage(reading, list, problem)
  if not list then return self:finish(reading, "the engine: " .. tostring(problem)) end
  if not pcall(takeEntries, reading, list) then
    return self:finish(reading, "its log can't be read")
  end
  if #list < READ then return self:finish(reading) end
  if reading.bytes > MOST_READ then return self:finish(reading, "its log is too long") end
  self:readOn(reading, list[#list].id)
end

function Reader:readOn(reading, after)
  local function done(list, problem)
    self:later(function() self:takePage(reading, list, problem) end)
  end
  local engine = self.cluster.engine
  local ok, problem = pcall(engine.read, engine, reading.name, after, READ, done)
  if not ok then done(nil, problem) end -- a name that is too long
end

function Reader:startNext()
  while self.underWay < MOST_READING and self.firstWaiting <= self.lastWaiting do
    local reading = self.waiting[self.firstWaiting]
    self.waiting[self.firstWaiting] = nil
    self.firstWaiting = self.firstWaiting + 1
    self.underWay = self.underWay + 1
    if not reading.isLasting then self.readings[reading.name] = nil end
    reading.begun = self.clock.now()
    self:readOn(reading, "")
  end
end

--- Reads a log.
-- @tparam string name
-- @tparam table Kind whose `new()` makes a reading, with `add(entry)`, and `isLasting` if the log
-- changes no more
-- @tparam function done called with the reading; its `problem` says why the log could not be read
function Reader:read(name, Kind, done)
  local reading = self.readings[name]
  if reading and reading.isDone then return self:later(function() done(reading) end) end
  if not reading then
    reading = Kind.new()
    reading.name, reading.bytes, reading.waiting = name, 0, {}
    self.readings[name] = reading
    self.lastWaiting = self.lastWaiting + 1
    self.waiting[self.lastWaiting] = reading
  end
  table.insert(reading.waiting, done)
  self:startNext()
end

return Reader
