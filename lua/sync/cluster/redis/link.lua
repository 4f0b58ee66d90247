--- One of the two connections of `sync.cluster.redis` to its server.
--
-- What a link hears goes to who waits for it, or to its engine, which owns it.
-- @module sync.cluster.redis.link

local Base = require "sync.redis.link"
local hiredis = require "sync.redis.hiredis"

local command = hiredis.command

local PING = command("PING")

-- Errors of a server that can't be written to, perhaps for ever. Scripts of Redis 6 quote them.
local UNFIT = {"^READONLY", "%-READONLY", "^LOADING", "^MASTERDOWN"}

local function isUnfit(text)
  for _, pattern in ipairs(UNFIT) do
    if text:find(pattern) then return true end
  end
  return false
end

local Link = Base:extend("RedisLink")

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

--- Asks every so many seconds whether the server is still a master: one that became a replica
-- keeps its connections, and takes messages that reach nobody.
function Link:watchRole(time, seconds)
  if not self.ready or time - self.roleAsked < seconds then return end
  self.roleAsked = time
  self:askRole()
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
  elseif self.marked and (type(value) == "table" and value[2] or value) == self.mark then
    local marked = self.marked
    self.marked = nil
    engine:guard("an answer", marked)
  end
end

--- Calls a function when all has come that Redis had to tell until now; not that of one before,
-- which is given up.
function Link:whenHeard(fn)
  self.marks = (self.marks or 0) + 1
  self.mark, self.marked = ("mark %d"):format(self.marks), fn
  self:put(command("PING", self.mark), 1)
end

function Link:begin(connector)
  Base.begin(self, connector)
  self.take = self.role == "subscriber" and takePush or takeAnswer
end

-- What is asked of a new connection.

local function keepScript(engine, request, kind, value)
  engine.digests[request.script] = kind == "value" and value or nil
end

local function greeted(engine, request, kind, value)
  if kind == "error" then return engine:lost(value) end
  request.link.ready = true
  engine:greeted(request.link)
end

function Link:greet()
  local engine = self.owner
  self:login(engine.account)
  self:askRole()
  if self.role == "commander" then
    if engine.database ~= "0" then
      self:ask({answer = Link.mustWork}, command("SELECT", engine.database))
    end
    for name, text in pairs(engine.SCRIPTS) do
      self:ask({answer = keepScript, script = name}, command("SCRIPT", "LOAD", text))
    end
  end
  self:ask({answer = greeted, link = self}, PING)
end

return Link
