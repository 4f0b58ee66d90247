--- What `db:subscribe` and `db:psubscribe` have asked for: one connection hears all of it, and is
-- opened again, with all that is wanted, when it was lost. What was published meanwhile is lost.
-- @classmod sync.redis.subscriptions

local Class = require "sync.class"
local Connection = require "sync.redis.connection"
local Pause = require "sync.service.pause"
local core = require "sync.core"
local declared = require "sync.declared"
local failure = require "sync.failure"
local failures = require "sync.redis.failures"
local hiredis = require "sync.redis.hiredis"
local limits = require "sync.limits"
local log = require "sync.log"
local loop = require "sync.loop"
local task = require "sync.task"
local waits = require "sync.waits"

local now = core.C.sync_now
local command = hiredis.command

local MOST_HELD = 1000 -- messages for a function that waits
local PING_SECONDS = 5 -- of silence until Redis is asked whether it lives, and that it has then

local Subscriptions = Class:extend("RedisSubscriptions")

-- What one caller has asked for. It waits by `resume` until Redis has confirmed that.
local Subscription = Class:extend("RedisSubscription")

function Subscriptions.open(place, options)
  local self = Subscriptions:new {options = options, place = place, name = place.name,
    channels = {}, patterns = {}, -- lists of subscriptions by name, with `isConfirmed`
    count = 0, asked = {}, first = 1, last = 0, -- what Redis was asked, and hasn't answered
    connection = false, timer = false, pingTimer = false, pause = Pause.new(), problem = false,
    pinged = false, isClosed = false}
  return self
end

-- Asking. One command names one thing, so each has one answer.

local function tell(self, word, list)
  local last = self.last + 1
  self.last, self.asked[last] = last, list or word
  self.connection.link:put(list and command(word, list.name) or command(word), 1)
end

local function isOpen(self)
  return self.connection and self.connection.state == "ready"
end

function Subscriptions:connectionReady()
  if self.problem then log.info(("Redis at %s: subscribed again"):format(self.name)) end
  self.problem, self.pinged = false, false
  for _, list in pairs(self.channels) do tell(self, "SUBSCRIBE", list) end
  for _, list in pairs(self.patterns) do tell(self, "PSUBSCRIBE", list) end
end

local function connect(self)
  if self.connection.state == "idle" and not self.timer then self.connection:connect() end
end

local function raiseAll(list, why)
  for i = #list, 1, -1 do
    local each = list[i]
    if each.resume then each:finish(why) end
  end
end

local function failWaiting(self, why)
  for _, names in ipairs {self.channels, self.patterns} do
    local all = {}
    for _, list in pairs(names) do all[#all + 1] = list end
    for _, list in ipairs(all) do raiseAll(list, why) end
  end
end

function Subscriptions:connectionLost(_, reason)
  self.asked, self.first, self.last = {}, 1, 0
  for _, list in pairs(self.channels) do list.isConfirmed = false end
  for _, list in pairs(self.patterns) do list.isConfirmed = false end
  if loop.isStopping() or self.isClosed then return end
  if not self.problem then
    log.warn(("Redis at %s: %s; what is subscribed to is lost meanwhile"):format(self.name, reason))
  end
  self.problem = reason
  local why = failures.ofRedis(reason)
  if why.code == "denied" then failWaiting(self, why) end
  if self.count == 0 then return end
  local pause = self.pause:nextByChance()
  self.timer = loop.startTimer(pause, 0, function()
    self.timer = false
    if self.count > 0 then connect(self) end
  end)
end

function Subscriptions:connectionDrained() end

-- Hearing.

-- A function that was declared to wait gets one message after the other.
local function work(each)
  while not each.isBusy and each.first <= each.last do
    local heard = each.held[each.first]
    each.held[each.first] = nil
    each.first = each.first + 1
    each.isBusy = true
    local hasWaited = false
    waits.call(function(ok, caught)
      each.isBusy = false
      if not ok then
        log.limited("error", "redis subscription", "error in a subscription of Redis: " ..
          failure.describe(caught.raised), {traceback = caught.traceback})
      end
      if hasWaited then work(each) end
    end, each.fn, heard[1], heard[2])
    hasWaited = true
  end
end

-- Messages that such a function has not come to are held, up to a bound.
local function hold(each, message, channel)
  if each.last - each.first + 1 >= MOST_HELD then
    log.limited("warn", "redis subscription", ("a function that is subscribed to Redis is %d " ..
      "messages behind: more are dropped"):format(MOST_HELD))
    return
  end
  each.last = each.last + 1
  each.held[each.last] = {message, channel}
  work(each)
end

local function give(list, message, channel)
  if not list then return end
  local all = {} -- one may close itself, or another
  for i, each in ipairs(list) do all[i] = each end
  for _, each in ipairs(all) do
    if not each.isClosed and each.held then
      hold(each, message, channel)
    elseif not each.isClosed then
      loop.guard("a subscription of Redis", each.fn, message, channel)
    end
  end
end

-- The answer to what was asked first.
local function answered(self, why)
  local list = self.asked[self.first]
  self.asked[self.first] = nil
  self.first = self.first + 1
  if self.first > self.last then self.first, self.last = 1, 0 end
  if type(list) ~= "table" then
    self.pinged = false
    return
  end
  if why then return raiseAll(list, why) end
  if list.isWanted then
    list.isConfirmed = true
    self.pause:reset()
    raiseAll(list, nil)
  end
end

function Subscriptions:connectionHeard(kind, value, bytes)
  if kind == "message" then return give(self.channels[value], bytes, value) end
  if kind == "error" then return answered(self, failures.ofRedis(value)) end
  if type(value) == "table" and value[1] == "pmessage" then
    return give(self.patterns[value[2]], value[4], value[3])
  end
  answered(self)
end

-- Looks whether the server lives: it may be silent for long.
local function ping(self)
  if not isOpen(self) then return end
  local silence = now() - self.connection.link.heard
  if self.pinged and silence >= 2 * PING_SECONDS then
    return self.connection:lost(("no answer in %g s"):format(PING_SECONDS))
  end
  if silence >= PING_SECONDS and not self.pinged then
    self.pinged = true
    tell(self, "PING")
  end
end

-- Subscribing.

local function remove(self, subscription)
  local list = subscription.list
  for i, each in ipairs(list) do
    if each == subscription then
      table.remove(list, i)
      self.count = self.count - 1
      break
    end
  end
  if #list > 0 or not list.isWanted then return end
  list.isWanted = false
  list.names[list.name] = nil
  if self.count == 0 then return self:rest() end
  if isOpen(self) then tell(self, list.isPattern and "PUNSUBSCRIBE" or "UNSUBSCRIBE", list) end
end

--- Nobody wants anything: the connection ends.
function Subscriptions:rest()
  for _, timer in ipairs {self.timer or nil, self.pingTimer or nil} do loop.stopTimer(timer) end
  if self.pingTimer then loop.stopTimer(self.pingTimer) end
  self.timer, self.pingTimer, self.problem = false, false, false
  self.asked, self.first, self.last = {}, 1, 0
  if self.connection then self.connection:close() end
  self.connection = false
end

local function begin(self)
  self.connection = assert(Connection.open(self.place, self.options, self, true))
  self.pingTimer = loop.startTimer(PING_SECONDS / 2, PING_SECONDS / 2, function() ping(self) end)
end

function Subscription:finish(why)
  local resume = self.resume
  self.resume = nil
  limits.stop(self)
  if why then self:close() end
  if resume then resume(why) end
end

function Subscription:expire()
  local all = self.all
  self:finish(failures.new("away", ("Redis at %s has not confirmed a subscription in %g s%s")
    :format(all.name, all.options.timeout, all.problem and " (" .. all.problem .. ")" or "")))
end

--- Ends it. The function isn't called any more.
function Subscription:close()
  if self.isClosed then return end
  self.isClosed = true
  self.first, self.last = 1, 0 -- what is held is dropped
  remove(self.all, self)
end

-- The list of those of one name, made with the first.
local function listOf(self, name, isPattern)
  local names = isPattern and self.patterns or self.channels
  local list = names[name]
  if not list then
    list = {name = name, names = names, isPattern = isPattern, isWanted = true, isConfirmed = false}
    names[name] = list
    if isOpen(self) then tell(self, isPattern and "PSUBSCRIBE" or "SUBSCRIBE", list) end
  end
  return list
end

--- Calls a function with what is published, and with where; waits until Redis has confirmed that.
-- @tparam string name of a channel, or a pattern
-- @tparam function fn
-- @tparam boolean isPattern
-- @treturn Subscription with `close`
-- @raise failures: then nothing is subscribed to
function Subscriptions:add(name, fn, isPattern)
  if self.isClosed then error(failures.new("closed", "it was closed"), 0) end
  if self.count >= self.options.subscriptions then
    error(failures.new("busy", ("there are %d subscriptions already"):format(self.count)), 0)
  end
  if not self.connection then begin(self) end
  local list = listOf(self, name, isPattern)
  local subscription = Subscription:new {all = self, list = list, fn = fn, isClosed = false,
    held = declared[fn] and {}, first = 1, last = 0, isBusy = false}
  list[#list + 1] = subscription
  self.count = self.count + 1
  if list.isConfirmed then return subscription end
  connect(self)
  limits.start(subscription, self.options.timeout)
  local ok, why = pcall(task.await, function(resume) subscription.resume = resume end)
  if not ok then
    subscription.resume = nil
    subscription:finish(why)
  end
  if why then error(why, 0) end
  return subscription
end

function Subscriptions:close()
  self.isClosed = true
  failWaiting(self, failures.new("closed", "it was closed"))
  self.channels, self.patterns, self.count = {}, {}, 0
  self:rest()
end

return Subscriptions
