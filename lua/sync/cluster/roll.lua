--- Which ids each lease holds: so that others find what is kept under one that is over.
--
-- A node writes its own ids, a few moments after they have changed, as values of many ids each; and
-- there is one list of all tokens of which there are such.
-- @classmod sync.cluster.roll

local Class = require "sync.class"
local clock = require "sync.cluster.clock"
local log = require "sync.log"

local TOKENS = "kept/tokens"
local BUCKETS = 32          -- values of a token's ids: 60,000 of 30 bytes fit
local FLUSH_SECONDS = 0.1
local REFRESH_SECONDS = 3600

local Roll = Class:extend("Roll")

--- Seconds that the engine keeps what isn't written any more.
Roll.SECONDS = 86400

local function bucketOf(id)
  local sum = 0
  for i = 1, #id do sum = (sum * 31 + id:byte(i)) % 65521 end
  return sum % BUCKETS
end

local function keyOf(token, bucket) return ("kept/of/%s/%d"):format(token, bucket) end

--- Makes that of a node.
-- @tparam sync.cluster.engine engine
-- @tparam string token of its lease
-- @tparam[opt] table time
function Roll.open(engine, token, time)
  return Roll:new {engine = engine, token = token, clock = time or clock, count = 0,
    buckets = {},         -- ids, as keys
    changed = {},         -- buckets that are to be written
    writing = 0,          -- values on their way
    isListed = false, written = false, timer = false}
end

local split -- texts of lines

-- Replaces the list of tokens by what a function makes of it; nil: it's right.
local function change(self, fn, done)
  self.engine:get(TOKENS, function(text, problem)
    if problem then return done(nil, problem) end
    local list = fn(split(text or ""))
    if not list then return done(true) end
    self.engine:replace(TOKENS, text, table.concat(list, "\n"), Roll.SECONDS,
      function(isDone, why)
        if isDone or why then return done(isDone, why) end
        change(self, fn, done)
      end)
  end)
end

function split(text)
  local list = {}
  for each in text:gmatch "[^\n]+" do list[#list + 1] = each end
  return list
end

local function without(list, token)
  local rest = {}
  for _, each in ipairs(list) do
    if each ~= token then rest[#rest + 1] = each end
  end
  return rest
end

local flush

local function flushLater(self, seconds)
  self.timer = self.timer or self.clock.startTimer(seconds, 0, function()
    self.timer = false
    flush(self)
  end)
end

-- The token is on the list before its ids are written.
local function enlist(self)
  local token = self.token
  self.writing = 1
  change(self, function(list)
    if #without(list, token) < #list then return nil end
    list[#list + 1] = token
    return list
  end, function(isDone)
    self.writing = 0
    self.isListed = isDone == true and token == self.token
    flushLater(self, isDone and 0 or 1)
  end)
end

local function write(self, bucket)
  local list = {}
  for id in pairs(self.buckets[bucket]) do list[#list + 1] = id end
  self.writing = self.writing + 1
  self.engine:set(keyOf(self.token, bucket), table.concat(list, "\n"), Roll.SECONDS,
    function(isDone, problem)
      self.writing = self.writing - 1
      if isDone then return end
      self.changed[bucket] = true
      log.limited("warn", "roll", "which rooms are kept here can't be written: " .. problem)
      flushLater(self, 1)
    end)
end

function flush(self)
  if self.isClosed or next(self.changed) == nil then return end
  if self.writing > 0 then return flushLater(self, FLUSH_SECONDS) end
  if not self.isListed then return enlist(self) end
  local changed = self.changed
  self.changed, self.written = {}, self.clock.now()
  for bucket in pairs(changed) do write(self, bucket) end
end

--- Notes that the lease holds an id.
function Roll:add(id)
  local bucket = bucketOf(id)
  self.buckets[bucket] = self.buckets[bucket] or {}
  if self.buckets[bucket][id] then return end
  self.buckets[bucket][id] = true
  self.changed[bucket], self.count = true, self.count + 1
  flushLater(self, FLUSH_SECONDS)
end

--- Notes that it doesn't any more.
function Roll:remove(id)
  local bucket = bucketOf(id)
  if not (self.buckets[bucket] and self.buckets[bucket][id]) then return end
  self.buckets[bucket][id] = nil
  self.changed[bucket], self.count = true, self.count - 1
  flushLater(self, FLUSH_SECONDS)
end

-- Has all written anew.
local function writeAll(self)
  for bucket in pairs(self.buckets) do self.changed[bucket] = true end
  flushLater(self, 0)
end

--- The node has another lease.
function Roll:rename(token)
  self.token, self.isListed = token, false
  writeAll(self)
end

--- What the next process of the node has to know, while nothing is being written.
function Roll:pack()
  return {buckets = self.buckets, changed = self.changed, isListed = self.isListed,
    count = self.count, written = self.written}
end

--- Goes on with that.
function Roll:goOn(told)
  for name, value in pairs(told) do self[name] = value end
  if next(self.changed) ~= nil then flushLater(self, FLUSH_SECONDS) end
end

--- To be called now and then: what the engine would forget is written again.
function Roll:refresh()
  if self.count == 0 or self.clock.now() - (self.written or 0) < REFRESH_SECONDS then return end
  self.isListed = false
  writeAll(self)
end

function Roll:close()
  self.isClosed = true
  if self.timer then self.clock.stopTimer(self.timer) end
end

--- All tokens: `done(list)`, or nil and why not.
function Roll:tokens(done)
  self.engine:get(TOKENS, function(text, problem)
    if problem then return done(nil, problem) end
    done(split(text or ""))
  end)
end

--- The ids of a token: `done(list)`, or nil and why not.
function Roll:read(token, done)
  local list, left, problem = {}, BUCKETS, nil
  for bucket = 0, BUCKETS - 1 do
    self.engine:get(keyOf(token, bucket), function(text, why)
      problem, left = problem or why, left - 1
      for _, id in ipairs(split(text or "")) do list[#list + 1] = id end
      if left == 0 then done(not problem and list or nil, problem) end
    end)
  end
end

--- Forgets a token under which nothing is kept any more.
function Roll:drop(token)
  change(self, function(list)
    local rest = without(list, token)
    return #rest < #list and rest or nil
  end, function(isDone)
    if not isDone then return end
    for bucket = 0, BUCKETS - 1 do self.engine:remove(keyOf(token, bucket)) end
  end)
end

return Roll
