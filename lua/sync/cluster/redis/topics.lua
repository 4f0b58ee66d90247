--- The topics that `sync.cluster.redis` is asked for, and what of that Redis was told.
--
-- A topic is a table with `wanted`, `told` (what Redis was told last) and `queued` (to be
-- told). At most one command of each kind is under way, so that many topics fill no queue.
-- @classmod sync.cluster.redis.topics

local Class = require "sync.class"
local Engine = require "sync.cluster.engine"
local hiredis = require "sync.redis.hiredis"

local TOPICS_AT_ONCE = 500 -- in one command

local Topics = Class:extend("RedisTopics")

--- How many may be asked for.
Topics.MOST = Engine.maxTopics

--- Makes an empty set of topics.
-- @tparam string prefix what stands before their names in Redis
-- @tparam function onSettled called when Redis has noted all that it was told
-- @tparam function onNoted called with each function of `settle` whose time has come
function Topics.open(prefix, onSettled, onNoted)
  return Topics:new {
    prefix = prefix, onSettled = onSettled, onNoted = onNoted,
    link = false,                         -- to tell by, while there is one
    byName = {}, count = 0, wantedCount = 0,
    changes = {}, first = 1, last = 0,    -- names of topics of which to tell Redis
    unconfirmed = 0,                      -- topics that Redis was told of
    waiting = {},                         -- {last of the names that Redis is to note, done}
  }
end

--- Asks for a topic.
-- @treturn boolean whether it is asked for; false: there are as many as may be
function Topics:add(name)
  local topic = self.byName[name]
  if topic and topic.wanted then return true end
  if self:isFull(topic) then return false end
  if not topic then
    topic = {wanted = false, told = false, queued = false}
    self.byName[name] = topic
    self.count = self.count + 1
  end
  self:want(name, topic, true)
  return true
end

--- Ends that.
function Topics:remove(name)
  local topic = self.byName[name]
  if topic and topic.wanted then self:want(name, topic, false) end
end

-- Whether no other topic can be wanted. There may be as many that are not any more, but of
-- which Redis was not told yet.
function Topics:isFull(topic)
  return self.wantedCount >= Topics.MOST or not topic and self.count >= 2 * Topics.MOST
end

function Topics:want(name, topic, wanted)
  topic.wanted = wanted
  self.wantedCount = self.wantedCount + (wanted and 1 or -1)
  if self.link and not topic.queued and topic.wanted ~= topic.told then
    self:enqueue(name, topic)
    self:tell()
  end
  self:forget(name, topic)
end

function Topics:enqueue(name, topic)
  topic.queued = true
  self.last = self.last + 1
  self.changes[self.last] = name
end

function Topics:forget(name, topic)
  if topic.wanted or topic.told or topic.queued or self.byName[name] ~= topic then return end
  self.byName[name] = nil
  self.count = self.count - 1
end

-- Takes up to so many names out of the row: those to subscribe to, and those not any more.
function Topics:takeChanges(most)
  local on, off = {"SUBSCRIBE"}, {"UNSUBSCRIBE"}
  while #on + #off < most + 2 and self.first <= self.last do
    local name = self.changes[self.first]
    self.changes[self.first] = nil
    self.first = self.first + 1
    local topic = self.byName[name]
    topic.queued = false
    if topic.wanted ~= topic.told then
      topic.told = topic.wanted
      local list = topic.wanted and on or off
      list[#list + 1] = self.prefix .. name
    end
    self:forget(name, topic)
  end
  return on, off
end

function Topics:tell()
  if self.unconfirmed > 0 then return end
  local on, off = self:takeChanges(TOPICS_AT_ONCE)
  for _, words in ipairs {on, off} do
    if #words > 1 then
      self.unconfirmed = self.unconfirmed + #words - 1
      self.link:put(hiredis.command(unpack(words)), 1)
    end
  end
end

--- Calls a function when Redis has noted all that is wanted now.
-- @tparam function done
-- @treturn boolean false: too many wait
function Topics:settle(done)
  if #self.waiting >= Engine.maxPending then return false end
  table.insert(self.waiting, {last = self.last, done = done})
  if self.link and self.unconfirmed == 0 then self:tellSettled() end
  return true
end

-- All that Redis was told it has noted: those who waited for no more are told.
function Topics:tellSettled()
  local waiting, kept = self.waiting, {}
  self.waiting = kept
  for _, each in ipairs(waiting) do
    if each.last < self.first then
      self.onNoted(each.done)
    else
      kept[#kept + 1] = each
    end
  end
end

--- Nobody waits any more.
-- @treturn table the functions that did
function Topics:takeWaiting()
  local list = {}
  for i, each in ipairs(self.waiting) do list[i] = each.done end
  self.waiting = {}
  return list
end

--- Redis has noted one of them.
function Topics:confirmed()
  self.unconfirmed = self.unconfirmed - 1
  if self.unconfirmed > 0 then return end
  self:tellSettled()
  self:tell()
  if self.unconfirmed == 0 then self.onSettled() end
end

--- Subscribes anew to all that is wanted, by this link.
function Topics:renew(link)
  self.link = link
  for name, topic in pairs(self.byName) do self:enqueue(name, topic) end
  for _, each in ipairs(self.waiting) do each.last = self.last end
  self:tell()
  if self.unconfirmed == 0 then self:tellSettled() end
  if self.unconfirmed == 0 then self.onSettled() end
end

--- The link has gone, and with it all subscriptions.
function Topics:drop()
  self.link = false
  self.changes, self.first, self.last, self.unconfirmed = {}, 1, 0, 0
  for _, each in ipairs(self.waiting) do each.last = math.huge end -- until `renew`
  for name, topic in pairs(self.byName) do
    topic.told, topic.queued = false, false
    self:forget(name, topic)
  end
end

return Topics
