--- A connection to a Redis server: bytes in and out, and what becomes of answers that somebody
-- has asked for by their place.
--
-- Redis answers in order, so an answer is known by its place in the row. Whose the link is
-- (`owner`) has the functions `linkOpened(link)`, `lost(reason, code)` and `clean(text)`; what is
-- heard is taken by `take(owner, kind, value, bytes)`, a method of the subclass. A link without
-- owner was given up.
-- @module sync.redis.link

local Protocol = require "sync.protocol"
local core = require "sync.core"
local hiredis = require "sync.redis.hiredis"
local log = require "sync.log"

local now = core.C.sync_now

-- An array of strings, as Redis reads commands.
local command = hiredis.command

-- Tells the role, too. Unlike ROLE it is not refused by access lists; Redis 5 doesn't know it.
local HELLO = command("HELLO", "2")

local Link = Protocol:extend("RedisConnection")
Link.isLink = true
Link.maxQueue = 16 * 1024 * 1024
Link.overflow = "drop" -- a command as a whole, which then has no place in the row

local LOST = {
  left = "the server has closed the connection",
  reset = "the connection has broken",
  idle = "the connection is idle",
  memory = "memory ran out",
}

function Link:begin(connector)
  -- It may have been given up in the tick in which it was made.
  self.owner = connector.attempt and connector.owner
  self.role = connector.role       -- what it is for its owner
  self.ready = false               -- whether Redis has answered all that it was asked first
  self.heard = now()
  self.asked = false               -- since when Redis owes an answer to PING
  self.roleAsked = now()
  self.sent, self.answered = 0, 0  -- commands and answers
  self.requests, self.first, self.last = {}, 1, 0 -- those that somebody waits for
  connector:giveUp()
end

function Link:onConnect()
  local owner = self.owner
  if not owner then return self:abort() end
  self.reader = owner:linkReader(self)
  owner:linkOpened(self)
end

--- Sends a text that has so many answers. Returns true, or false and why not.
function Link:put(text, answers)
  local sent, why = self:send(text)
  if not sent and why ~= "full" then return false, why end
  self.sent = self.sent + answers
  return true
end

--- The same for a request, which is told the answer of its `which`-th command: its function
-- `answer` is called with the owner, the request, "value" or "error", and that.
function Link:ask(request, text, answers, which)
  local place = self.sent + (which or 1)
  local sent, why = self:put(text, answers or 1)
  if not sent then return false, why end
  request.place = place
  self.last = self.last + 1
  self.requests[self.last] = request
  return true
end

function Link:waiting()
  return self.last - self.first + 1
end

--- Takes the next request out of the row if this answer is its own.
function Link:asker()
  self.answered = self.answered + 1
  local first = self.first
  local request = self.requests[first]
  if not request or request.place ~= self.answered then return nil end
  self.requests[first] = nil
  if first == self.last then
    self.first, self.last = 1, 0
  else
    self.first = first + 1
  end
  return request
end

-- Takes all complete replies. A flat loop, so that it becomes one trace.
local function takeAll(self)
  local reader, take = self.reader, self.take
  while true do
    local owner = self.owner
    if not owner then return end
    local kind, value, bytes = reader:next()
    if not kind then return end
    if kind == "broken" then return owner:lost("it doesn't speak Redis' protocol: " .. value) end
    if kind == "error" then value = owner:clean(value) end
    take(self, owner, kind, value, bytes)
  end
end

function Link:onData(bytes)
  if not self.owner then return end
  self.heard, self.asked = now(), false
  local fed, problem, code = self.reader:feed(bytes)
  if not fed then return self.owner:lost(problem, code) end
  repeat
    local ok, err = xpcall(takeAll, debug.traceback, self)
    if not ok then
      log.limited("error", "redis onMessage", "error in onMessage of Redis: " .. tostring(err))
    end
  until ok
end

function Link:onClose(reason)
  local owner = self.owner
  if owner then owner:lost(LOST[reason] or reason) end
  if self.reader then self.reader:close() end
end

-- What is asked of a new connection.

local function mustWork(owner, _, kind, value)
  if kind == "error" then owner:lost(value) end
end
Link.mustWork = mustWork

local function mayFail() end

local function checkRole(owner, _, kind, value)
  if kind ~= "value" or type(value) ~= "table" then return end
  for i = 1, #value - 1, 2 do
    if value[i] == "role" and value[i + 1] ~= "master" then
      return owner:lost(("it is a %s, not the master"):format(tostring(value[i + 1])))
    end
  end
end

--- Says who we are.
-- @tparam table account `user` and perhaps `password`
function Link:login(account)
  if account.password then
    local words = account.user ~= "" and {account.user, account.password} or {account.password}
    self:ask({answer = mustWork}, command("AUTH", unpack(words)))
  end
  self:ask({answer = mayFail}, command("CLIENT", "SETNAME", "sync"))
end

--- Asks whether the server is a master; one that is none is left.
function Link:askRole()
  self:ask({answer = checkRole}, HELLO)
end

return Link
