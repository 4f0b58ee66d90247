--- One of the two connections of `sync.cluster.redis` to its server.
--
-- Redis answers in order, so an answer is known by its place in the row. What a link hears
-- goes to who waits for it, or to its engine, which is a field.
-- @module sync.cluster.redis.link

local Protocol = require "sync.protocol"
local core = require "sync.core"
local hiredis = require "sync.cluster.redis.hiredis"
local log = require "sync.log"

local now = core.C.sync_now

-- An array of strings, as Redis reads commands.
local command = hiredis.command

local PING = command("PING")
-- Tells the role, too. Unlike ROLE it is not refused by access lists; Redis 5 doesn't know it.
local HELLO = command("HELLO", "2")

-- Errors of a server that can't be written to, perhaps for ever. Scripts of Redis 6 quote them.
local UNFIT = {"^READONLY", "%-READONLY", "^LOADING", "^MASTERDOWN"}

local function isUnfit(text)
  for _, pattern in ipairs(UNFIT) do
    if text:find(pattern) then return true end
  end
  return false
end

local Link = Protocol:extend("RedisLink")
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
  self.engine = connector.attempt and connector.owner
  self.role = connector.role            -- "commander" or "subscriber", the engine's field
  self.ready = false               -- whether Redis has answered all of `greet`
  self.heard = now()
  self.asked = false               -- since when Redis owes an answer to PING
  self.roleAsked = now()
  self.sent, self.answered = 0, 0  -- commands and answers
  self.requests, self.first, self.last = {}, 1, 0 -- those that somebody waits for
  connector:giveUp()
end

function Link:onConnect()
  local engine = self.engine
  if not engine then return self:abort() end
  self.reader = hiredis.reader(self.role == "subscriber" and #engine.channelPrefix)
  engine[self.role] = self
  self:greet()
end

-- Sends a text that has so many answers. Returns true, or false and why not.
function Link:put(text, answers)
  local sent, why = self:send(text)
  if not sent and why ~= "full" then return false, why end
  self.sent = self.sent + answers
  return true
end

-- The same for a request, which is told the answer of its `which`-th command: its function
-- `answer` is called with the engine, the request, "value" or "error", and that.
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

-- Whether the connection is not known to be dead. Asks it when it has been silent so long;
-- as long an answer may take.
function Link:isAlive(time, seconds)
  if self.asked then return time - self.asked < seconds end
  if time - self.heard >= seconds then
    self.asked = time
    self:put(PING, 1)
  end
  return true
end

local function checkRole(engine, _, kind, value)
  if kind ~= "value" or type(value) ~= "table" then return end
  for i = 1, #value - 1, 2 do
    if value[i] == "role" and value[i + 1] ~= "master" then
      return engine:lost(("it is a %s, not the master"):format(tostring(value[i + 1])))
    end
  end
end

--- Asks every so many seconds whether the server is still a master: one that became a replica
-- keeps its connections, and takes messages that reach nobody.
function Link:watchRole(time, seconds)
  if not self.ready or time - self.roleAsked < seconds then return end
  self.roleAsked = time
  self:ask({answer = checkRole}, HELLO)
end

-- Takes the next request out of the row if this answer is its own.
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

-- A reply on the connection of commands, or before the other one has subscribed to anything.
local function takeAnswer(self, engine, kind, value)
  local request = self:asker()
  if kind == "error" and isUnfit(value) then
    engine:lost(value)
    if request and request.done then engine:guard("an answer", request.done, nil, "away") end
  elseif request then
    request.answer(engine, request, kind, value)
  elseif kind == "error" then
    engine:refused(value)
  end
end

-- A reply on the connection that subscribes.
local function takePush(self, engine, kind, value, bytes)
  if kind == "message" then
    local topic, heard = engine.topics.byName[value], engine.handlers.onMessage
    if heard and topic and topic.wanted then heard(value, bytes) end
  elseif not self.ready then
    takeAnswer(self, engine, kind, value)
  elseif kind == "error" then
    engine:lost(value)
  elseif type(value) == "table" and value[1] ~= "pong" then
    engine.topics:confirmed()
  end
end

-- Takes all complete replies. A flat loop, so that it becomes one trace.
local function takeAll(self)
  local reader = self.reader
  local take = self.role == "subscriber" and takePush or takeAnswer
  while true do
    local engine = self.engine
    if not engine then return end
    local kind, value, bytes = reader:next()
    if not kind then return end
    if kind == "broken" then return engine:lost("it doesn't speak Redis' protocol: " .. value) end
    if kind == "error" then value = engine:clean(value) end
    take(self, engine, kind, value, bytes)
  end
end

function Link:onData(bytes)
  self.heard, self.asked = now(), false
  local fed, problem = self.reader:feed(bytes)
  if not fed then return self.engine:lost(problem) end
  repeat
    local ok, err = xpcall(takeAll, debug.traceback, self)
    if not ok then
      log.limited("error", "redis onMessage", "error in onMessage of Redis: " .. tostring(err))
    end
  until ok
end

function Link:onClose(reason)
  local engine = self.engine
  if engine then engine:lost(LOST[reason] or reason) end
  if self.reader then self.reader:close() end
end

-- What is asked of a new connection.

local function mustWork(engine, _, kind, value)
  if kind == "error" then engine:lost(value) end
end

local function mayFail() end

local function keepScript(engine, request, kind, value)
  engine.digests[request.script] = kind == "value" and value or nil
end

local function greeted(engine, request, kind, value)
  if kind == "error" then return engine:lost(value) end
  request.link.ready = true
  engine:greeted(request.link)
end

function Link:greet()
  local engine = self.engine
  local account = engine.account
  if account.password then
    local words = account.user ~= "" and {account.user, account.password} or {account.password}
    self:ask({answer = mustWork}, command("AUTH", unpack(words)))
  end
  self:ask({answer = mayFail}, command("CLIENT", "SETNAME", "sync"))
  self:ask({answer = checkRole}, HELLO)
  if self.role == "commander" then
    if engine.database ~= "0" then
      self:ask({answer = mustWork}, command("SELECT", engine.database))
    end
    for name, text in pairs(engine.SCRIPTS) do
      self:ask({answer = keepScript, script = name}, command("SCRIPT", "LOAD", text))
    end
  end
  self:ask({answer = greeted, link = self}, PING)
end

return Link
