--- The engine of Redis, 5 or later: what links nodes by way of a Redis server.
--
--     redis://[[USER]:PASSWORD@]HOST[:6379][/DATABASE][?prefix=sync]
--     unix://[[USER]:PASSWORD@]/PATH/TO/SOCKET[?db=DATABASE&prefix=sync]
--
-- What would have another meaning in a URL is written in hexadecimal: `%40` for `@`. The
-- prefix keeps servers apart that share a Redis: it stands before the names of all channels
-- and keys. Databases don't do that, for channels are in none.
--
-- **Two connections** that live and die together: one subscribes, over the other go commands
-- and messages. They are connections of the core like those of clients, and hiredis reads
-- what comes. Redis answers in order, so an answer is known by its place in the row.
--
-- **Names in Redis**: channel `PREFIX:TOPIC`, value `PREFIX:v:KEY`, log `PREFIX:l:LOG` (a
-- stream). A user of Redis' access lists needs `~PREFIX:* &PREFIX:* +@all -@dangerous`.
--
-- **Promises.** Messages of one engine to one topic arrive in their order, at most once: those
-- that were on their way when a connection broke may be lost. One server is talked to, or what
-- stands for it behind its name, which is looked up anew each time; not a Redis Cluster.
-- @module sync.redis

local buffer = require "string.buffer"
local Class = require "sync.class"
local Protocol = require "sync.protocol"
local core = require "sync.core"
local dial = require "sync.dial"
local hiredis = require "sync.hiredis"
local log = require "sync.log"
local loop = require "sync.loop"

local now = core.C.sync_now

local CONNECT_SECONDS = 5
local FIRST_WAIT, LONGEST_WAIT = 0.25, 5
local CHECK_SECONDS = 0.25         -- how often it is looked for what takes too long
local MOST_TOPICS = 100000
local TOPICS_AT_ONCE = 500         -- in one command
local MOST_NAME = 200              -- bytes of a topic, a key or a log
local MOST_VALUE = 64 * 1024
local MOST_MESSAGE = 1024 * 1024
local MOST_ERROR = 200             -- bytes of one that are told
local MOST_PREFIX = 64
local MOST_PATH = 107              -- of a Unix socket
local MOST_INTEGER = 2 ^ 53
local MOST_DIGITS = 19             -- of a 64-bit number
local MOST_SECONDS = 2 ^ 33        -- for Redis adds milliseconds to a 64-bit clock

local Engine = Class:extend("Redis")

--- Most bytes of messages that wait for a connection, as Redis will get them.
Engine.maxBuffer = 8 * 1024 * 1024
--- Most requests that wait for an answer.
Engine.maxPending = 10000
--- Seconds that an answer may take.
Engine.timeout = 5
--- Seconds of silence after which Redis is asked whether it lives, and that it has to answer.
Engine.pingSeconds = 5
--- Messages that were dropped.
Engine.dropped = 0

-- Commands as Redis reads them: an array of strings.

local function command(...)
  local count = select("#", ...)
  local parts = {("*%d\r\n"):format(count)}
  for i = 1, count do
    local part = select(i, ...)
    parts[i + 1] = ("$%d\r\n"):format(#part) .. part .. "\r\n"
  end
  return table.concat(parts)
end

local PING = command("PING")

-- Milliseconds for Redis, or "" for no time.
local function lifetime(seconds)
  if not seconds then return "" end
  if type(seconds) ~= "number" or seconds ~= seconds or seconds < 0 then
    error("seconds must be a number from 0, or nil for ever, not " .. tostring(seconds), 3)
  end
  return ("%.0f"):format(math.max(1, math.min(seconds, MOST_SECONDS) * 1000))
end

local function checkName(what, name)
  if type(name) ~= "string" or #name > MOST_NAME then
    error(("%s must be a string of at most %d bytes, not %s"):format(what, MOST_NAME,
      type(name) == "string" and #name .. " bytes" or type(name)), 3)
  end
end

local function checkMost(what, most)
  if type(most) ~= "number" or not (most >= 1 and most <= MOST_INTEGER) then
    error(("%s must be a number from 1, not %s"):format(what, tostring(most)), 3)
  end
end

local function checkBytes(what, bytes)
  if type(bytes) ~= "string" then
    error(("%s must be a string, not %s"):format(what, type(bytes)), 3)
  end
end

-- What Redis does in one step: KEYS[1] is the key, ARGV[1] milliseconds, or "".

local SCRIPTS = {
  -- ARGV: the new value, then the old one, unless there must be none.
  replace = [[
local current = redis.call('GET', KEYS[1])
if current ~= (ARGV[3] or false) then return {current} end
if ARGV[1] == '' then redis.call('SET', KEYS[1], ARGV[2])
else redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[1]) end
return 1]],
  -- ARGV: by how much. Lua's numbers are exact within 2^53, and so is what is left to that.
  increment = [[
local current = redis.call('GET', KEYS[1]) or '0'
local number, by = current:match('^-?%d+$') and tonumber(current), tonumber(ARGV[2])
if not number or math.abs(number) > 2^53 or string.format('%.0f', number + 0) ~= current or
  by > 0 and number > 2^53 - by or by < 0 and number < -2^53 - by then
  return redis.error_reply('not a number')
end
local sum = redis.call('INCRBY', KEYS[1], ARGV[2])
if ARGV[1] ~= '' then redis.call('PEXPIRE', KEYS[1], ARGV[1]) end
return sum]],
}

-- A link is one of the two connections.

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

function Link:begin(door)
  -- It may have been given up in the tick in which it was made.
  self.engine = door.attempt and door.owner
  self.role = door.role
  self.heard = now()
  self.asked = false               -- since when Redis owes an answer to PING
  self.sent, self.answered = 0, 0  -- commands and answers
  self.requests, self.first, self.last = {}, 1, 0 -- those that somebody waits for
  door:giveUp()
end

function Link:onConnect()
  local engine = self.engine
  if not engine then return self:abort() end
  self.reader = hiredis.reader(self.role == "subscriber" and #engine.channelPrefix)
  engine[self.role] = self
  engine:greet(self)
end

-- Sends a text that has so many answers. Returns true, or false and why not.
function Link:put(text, answers)
  local sent, why = self:send(text)
  if not sent and why ~= "full" then return false, why end
  self.sent = self.sent + answers
  return true
end

-- The same for a request, which is told the answer of its `which`-th command.
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
  if request then
    request.answer(engine, request, kind, value)
  elseif kind == "error" then
    engine:refused(value)
  end
end

-- A reply on the connection that subscribes.
local function takePush(self, engine, kind, value, bytes)
  if kind == "message" then
    local topic = engine.topics[value]
    if topic and topic.wanted then engine.handlers.onMessage(value, bytes) end
  elseif not self.ready then
    takeAnswer(self, engine, kind, value)
  elseif kind == "error" then
    engine:lost(value)
  elseif type(value) == "table" and value[1] ~= "pong" then
    engine:confirmed()
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

-- An error of the server as it may be told. Some servers repeat what they didn't understand.
function Engine:clean(text)
  local password = self.account.password
  if password then text = text:gsub(password:gsub("%p", "%%%0"):gsub("%z", "%%z"), "***") end
  return text:sub(1, MOST_ERROR)
end

local function mustWork(engine, _, kind, value)
  if kind == "error" then engine:lost(value) end
end

local function mayFail() end

local function keepScript(engine, request, kind, value)
  engine.digests[request.script] = kind == "value" and value or nil
end

local function greeted(engine, request, kind, value)
  if kind == "error" then return engine:lost(value) end
  local link = request.link
  link.ready = true
  if link.role == "subscriber" then engine:renew() else engine:consider() end
end

function Engine:greet(link)
  local account = self.account
  if account.password then
    local words = account.user ~= "" and {account.user, account.password} or {account.password}
    link:ask({answer = mustWork}, command("AUTH", unpack(words)))
  end
  link:ask({answer = mayFail}, command("CLIENT", "SETNAME", "sync"))
  if link.role == "commander" then
    if self.database ~= "0" then
      link:ask({answer = mustWork}, command("SELECT", self.database))
    end
    for name, text in pairs(SCRIPTS) do
      link:ask({answer = keepScript, script = name}, command("SCRIPT", "LOAD", text))
    end
  end
  link:ask({answer = greeted, link = link}, PING)
end

-- Topics: tables with `wanted`, `told` (what Redis was told last) and `queued` (to be told).
-- At most one command of each kind is under way, so that many topics fill no queue.

function Engine:forget(name, topic)
  if topic.wanted or topic.told or topic.queued or self.topics[name] ~= topic then return end
  self.topics[name] = nil
  self.topicCount = self.topicCount - 1
end

-- Whether no other topic can be wanted. There may be as many that are not any more, but of
-- which Redis was not told yet.
function Engine:hasMostTopics(topic)
  return self.wantedCount >= MOST_TOPICS or not topic and self.topicCount >= 2 * MOST_TOPICS
end

function Engine:want(name, topic, wanted)
  topic.wanted = wanted
  self.wantedCount = self.wantedCount + (wanted and 1 or -1)
  local link = self.subscriber
  if link and link.ready and not topic.queued and topic.wanted ~= topic.told then
    topic.queued = true
    self.lastChange = self.lastChange + 1
    self.changes[self.lastChange] = name
    self:tellChanges()
  end
  self:forget(name, topic)
end

-- Takes up to so many names out of the row: those to subscribe to, and those not any more.
function Engine:takeChanges(most)
  local on, off = {"SUBSCRIBE"}, {"UNSUBSCRIBE"}
  while #on + #off < most + 2 and self.firstChange <= self.lastChange do
    local name = self.changes[self.firstChange]
    self.changes[self.firstChange] = nil
    self.firstChange = self.firstChange + 1
    local topic = self.topics[name]
    topic.queued = false
    if topic.wanted ~= topic.told then
      topic.told = topic.wanted
      local list = topic.wanted and on or off
      list[#list + 1] = self.channelPrefix .. name
    end
    self:forget(name, topic)
  end
  if self.firstChange > self.lastChange then self.firstChange, self.lastChange = 1, 0 end
  return on, off
end

function Engine:tellChanges()
  if self.unconfirmed > 0 then return end
  local on, off = self:takeChanges(TOPICS_AT_ONCE)
  for _, words in ipairs {on, off} do
    if #words > 1 then
      self.unconfirmed = self.unconfirmed + #words - 1
      self.subscriber:put(command(unpack(words)), 1)
    end
  end
end

-- Redis has noted one of the topics.
function Engine:confirmed()
  self.unconfirmed = self.unconfirmed - 1
  if self.unconfirmed > 0 then return end
  self:tellChanges()
  if self.unconfirmed == 0 then self:consider() end
end

-- Subscribes anew to all that is wanted.
function Engine:renew()
  for name, topic in pairs(self.topics) do
    topic.queued = true
    self.lastChange = self.lastChange + 1
    self.changes[self.lastChange] = name
  end
  self.unconfirmed = 0
  self:tellChanges()
  if self.unconfirmed == 0 then self:consider() end
end

-- Nothing is subscribed to any more.
function Engine:dropTopics()
  self.changes, self.firstChange, self.lastChange, self.unconfirmed = {}, 1, 0, 0
  for name, topic in pairs(self.topics) do
    topic.told, topic.queued = false, false
    self:forget(name, topic)
  end
end

-- Life.

-- What the operator can do about an error of the server; also, each is said once in a row.
local ADVICE = {
  {"^NOAUTH", "write the password into the URL: redis://:PASSWORD@HOST, or USER:PASSWORD@HOST"},
  {"^WRONGPASS", "correct user and password in the URL"},
  {"^ERR invalid password", "correct the password in the URL"},
  {"^ERR.*no password is set", "take the password out of the URL"},
  {"^ERR wrong number of arguments for 'auth'", "users need Redis 6: write redis://:PASSWORD@HOST"},
  {"^ERR AUTH.*without any password", "take the password out of the URL"},
  {"^NOPERM", "allow the user what the engine needs: see sync.redis"},
  {"^LOADING", "it passes when Redis has read its data from the disk"},
  {"^DENIED", "give Redis a password, or turn its protected mode off"},
  {"^ERR.*DB index", "the URL names a database that the server doesn't have"},
  {"max number of clients", "raise maxclients in redis.conf"},
}

-- Says why there is no connection. Each kind of reason is said once until there is one.
local function complain(engine, reason)
  local kind, advice = "", ""
  for _, pair in ipairs(ADVICE) do
    if reason:find(pair[1]) then kind, advice = pair[1], " (" .. pair[2] .. ")" end
  end
  if engine.said[kind] or kind == "" and next(engine.said) then return end
  engine.said[kind] = true
  log.warn(("Redis at %s: %s%s; trying again"):format(engine.name, reason, advice))
end

local function guard(what, fn, ...)
  local ok, err = xpcall(fn, debug.traceback, ...)
  if not ok then
    log.limited("error", "redis " .. what, ("error in %s of Redis: %s"):format(what, tostring(err)))
  end
end

-- Counts messages that are lost here.
local function drop(engine, count, why)
  engine.dropped = engine.dropped + count
  log.limited("warn", "redis dropped", ("Redis at %s: messages are dropped: %s")
    :format(engine.name, why), {dropped = engine.dropped})
  return false
end

-- An error that nobody waits for: of a message, or of a request without `done`.
function Engine:refused(text)
  log.limited("error", "redis refused", ("Redis at %s refuses a command: %s")
    :format(self.name, text))
end

function Engine:connect()
  for _, door in ipairs(self.doors) do
    door:connect(self.host, self.port, CONNECT_SECONDS, function(message) self:lost(message) end)
  end
end

-- Sends what has waited for the connection. Returns false when that has gone again.
function Engine:sendBuffered()
  local count = self.buffered
  if count == 0 then return true end
  local sent, why = self.commander:put(self.buffer:tostring(), count)
  if why == "closed" then return false end
  self.buffer:free()
  self.buffered = 0
  if not sent then drop(self, count, "they are more than a connection takes") end
  return true
end

-- Both connections stand, and all topics are subscribed to?
function Engine:consider()
  local commander, subscriber = self.commander, self.subscriber
  if self.up or not (commander and commander.ready and subscriber and subscriber.ready) or
    self.unconfirmed > 0 then return end
  if not self:sendBuffered() then return end
  self.up, self.upSince = true, now()
  self.said, self.isLost = {}, false
  log.info(("Redis at %s: connected"):format(self.name))
  if self.handlers.onUp then guard("onUp", self.handlers.onUp) end
end

-- Takes the connections away and returns the requests that have waited for them.
function Engine:detach(leave)
  local requests = {}
  for _, door in ipairs(self.doors) do
    door:giveUp()
    local link = self[door.role]
    self[door.role] = nil
    if link then
      for i = link.first, link.last do requests[#requests + 1] = link.requests[i] end
      link.engine = false
      leave(link)
    end
  end
  self.up = false
  self:dropTopics()
  return requests
end

local function jitter()
  -- math.random is the same in every process, which would come back together.
  return tonumber(core.randomHex(4), 16) / 2 ^ 32
end

function Engine:retryLater()
  if self.upSince and now() - self.upSince >= LONGEST_WAIT then self.attempt = 0 end
  self.upSince = nil
  local longest = math.min(LONGEST_WAIT, FIRST_WAIT * 2 ^ self.attempt)
  self.attempt = math.min(self.attempt + 1, 30)
  self.retryTimer = loop.startTimer(longest * jitter(), 0, function()
    self.retryTimer = nil
    self:connect()
  end)
end

-- There is no connection, or none any more.
function Engine:lost(reason)
  if self.closed then return end
  if loop.isStopping() then return self:close() end
  local requests = self:detach(Link.abort)
  self:retryLater()
  complain(self, reason)
  local first = not self.isLost
  self.isLost = true
  for _, request in ipairs(requests) do
    if request.done then guard("an answer", request.done, nil, "away") end
  end
  if first and self.handlers.onDown then guard("onDown", self.handlers.onDown, reason) end
end

-- Looks for answers that take too long. When this process itself has been held up they may
-- be there already, and it looks again after the tick.
function Engine:check(late)
  self.isLate = late > CHECK_SECONDS and not self.isLate
  if self.isLate then return end
  local time = now()
  for _, door in ipairs(self.doors) do
    local link = self[door.role]
    if link and not self:isAlive(link, time) then
      return self:lost(("no answer in %g s"):format(self.pingSeconds))
    end
  end
  if self.commander then self:checkRequests(self.commander, time) end
end

-- Whether a connection is not known to be dead. Asks it when it has been silent.
function Engine:isAlive(link, time)
  if link.asked then return time - link.asked < self.pingSeconds end
  if time - link.heard >= self.pingSeconds then
    link.asked = time
    link:put(PING, 1)
  end
  return true
end

function Engine:checkRequests(link, time)
  local requests = link.requests
  for i = link.first, link.last do
    local request = requests[i]
    if not request or request.due and request.due > time then return end
    local done = request.done
    request.done = nil -- its place in the row stays
    if done then guard("an answer", done, nil, "timeout") end
  end
end

--- Ends it: connections are closed when all has been written, and those who wait for an
-- answer are told "away".
function Engine:close()
  if self.closed then return end
  self:finish(self:detach(Link.close))
end

function Engine:finish(requests)
  self.closed = true
  for _, door in ipairs(self.doors) do door:close() end
  loop.stopTimer(self.checkTimer)
  if self.retryTimer then loop.stopTimer(self.retryTimer) end
  self.buffer:reset()
  self.topics = {}
  for _, request in ipairs(requests) do self:tellLater(request.done, nil, "away") end
end

--- Whether there is a connection, and all topics are subscribed to.
-- @treturn boolean
function Engine:isUp()
  return self.up
end

-- Messages.

--- Sends a message to all that have subscribed to a topic, this engine included. While there
-- is no connection it waits.
-- @tparam string topic at most 200 bytes
-- @tparam string bytes at most 1 MiB
-- @treturn boolean whether it was sent or waits; false: it was dropped
function Engine:publish(topic, bytes)
  checkName("publish(topic, bytes): topic", topic)
  checkBytes("publish(topic, bytes): bytes", bytes)
  if self.closed then return false end
  if #bytes > MOST_MESSAGE then return drop(self, 1, "one is longer than 1 MiB") end
  local channel = self.channelPrefix .. topic
  local text = "*3\r\n$7\r\nPUBLISH\r\n$" .. #channel .. "\r\n" .. channel .. "\r\n$" ..
    #bytes .. "\r\n" .. bytes .. "\r\n"
  if self.up then
    local sent, why = self.commander:put(text, 1)
    if sent then return true end
    if why ~= "closed" then return drop(self, 1, "Redis reads too slowly") end
  end
  if #self.buffer + #text > self.maxBuffer then
    return drop(self, 1, "too many wait for a connection")
  end
  self.buffer:put(text)
  self.buffered = self.buffered + 1
  return true
end

--- Bytes that Redis has not taken yet, or that wait for a connection.
-- @treturn number
function Engine:unsent()
  return self.up and self.commander:queued() or #self.buffer
end

--- Asks for a topic's messages. Asking again changes nothing; a topic stays asked for when the
-- connection is lost.
-- @tparam string topic at most 200 bytes
-- @treturn boolean whether it was noted; false: there are 100,000 topics
function Engine:subscribe(topic)
  checkName("subscribe(topic): topic", topic)
  if self.closed then return false end
  local entry = self.topics[topic]
  if not (entry and entry.wanted) and self:hasMostTopics(entry) then
    log.limited("error", "redis topics", ("Redis at %s: more than %d topics are asked for")
      :format(self.name, MOST_TOPICS))
    return false
  end
  if not entry then
    entry = {wanted = false, told = false, queued = false}
    self.topics[topic] = entry
    self.topicCount = self.topicCount + 1
  end
  if not entry.wanted then self:want(topic, entry, true) end
  return true
end

--- Ends that.
-- @tparam string topic
function Engine:unsubscribe(topic)
  checkName("unsubscribe(topic): topic", topic)
  local entry = self.topics[topic]
  if entry and entry.wanted then self:want(topic, entry, false) end
end

-- Requests: tables with `done`, `read` (makes an answer what done is given), `due` and, for
-- one that goes again when Redis has forgotten its script, `again`.

-- Calls `done` after the tick, as it may not be called by what it is given to.
function Engine:tellLater(done, ...)
  if not done then return end
  local list = self.later
  list[#list + 1] = {done, ...}
  if #list > 1 then return end
  loop.startTimer(0, 0, function()
    self.later = {}
    for _, call in ipairs(list) do guard("an answer", call[1], unpack(call, 2, 3)) end
  end)
end

local function answer(engine, request, kind, value)
  local done = request.done
  if not done then return end
  if kind == "value" then
    guard("an answer", done, request.read(value))
  elseif request.again and value:find("^NOSCRIPT") then
    engine:again(request)
  else
    guard("an answer", done, nil, (value:gsub("^ERR ", "")))
  end
end

function Engine:again(request)
  local text = request.again
  request.again = nil
  if not self.commander:ask(request, text) then guard("an answer", request.done, nil, "busy") end
end

-- Sends the commands of a request. `which` of their answers is the one that counts; the first
-- if it isn't said.
function Engine:request(done, read, text, answers, which, again)
  local link = self.commander
  if not self.up then return self:tellLater(done, nil, "away") end
  if not done then
    link:put(text, answers or 1)
    return
  end
  if link:waiting() >= self.maxPending then return self:tellLater(done, nil, "busy") end
  local request = {answer = answer, done = done, read = read, due = now() + self.timeout,
    again = again}
  local sent, why = link:ask(request, text, answers, which)
  if not sent then self:tellLater(done, nil, why == "closed" and "away" or "busy") end
end

-- Runs a script by its digest, or as text when Redis doesn't know it.
function Engine:run(done, read, script, ...)
  local digest = self.digests[script]
  local whole = command("EVAL", SCRIPTS[script], "1", ...)
  if not digest then return self:request(done, read, whole) end
  self:request(done, read, command("EVALSHA", digest, "1", ...), 1, 1, whole)
end

local function asItIs(value) return value end
local function isOne(value) return value == 1 end
local function isSome(value) return value ~= nil end

local function asReplaced(value)
  if value == 1 then return true end
  return false, nil, value[1]
end

local function asEntries(list)
  local entries = {}
  for i, entry in ipairs(list) do entries[i] = {id = entry[1], bytes = entry[2][2]} end
  return entries
end

-- Whether a value is short enough; if not, `done` is told.
local function fits(engine, value, most, done)
  if #value <= most then return true end
  engine:tellLater(done, nil, "too long")
end

--- The value of a key.
-- @tparam string key at most 200 bytes, like all keys
-- @tparam function done called with a string, or nil when there is none; or with nil and why
-- it isn't known: "away" (there is no connection), "busy" (too many wait), "timeout", or an
-- error of Redis. So it is for all requests; none is called before the call has returned.
function Engine:get(key, done)
  checkName("get(key, done): key", key)
  self:request(done, asItIs, command("GET", self.valuePrefix .. key))
end

-- SET, if there is nothing else to say (`extra`) or that is so.
local function set(engine, key, value, milliseconds, done, extra)
  local words = {"SET", engine.valuePrefix .. key, value}
  if milliseconds ~= "" then words[4], words[5] = "PX", milliseconds end
  words[#words + 1] = extra
  engine:request(done, isSome, command(unpack(words)))
end

--- Sets a value.
-- @tparam string key
-- @tparam string value at most 64 KiB
-- @tparam number|nil seconds that it is kept, or nil for ever
-- @tparam[opt] function done called with true
function Engine:set(key, value, seconds, done)
  checkName("set(key, value, seconds, done): key", key)
  checkBytes("set(key, value, seconds, done): value", value)
  local milliseconds = lifetime(seconds)
  if fits(self, value, MOST_VALUE, done) then set(self, key, value, milliseconds, done) end
end

--- Sets a value if there is none.
-- @tparam string key
-- @tparam string value at most 64 KiB
-- @tparam number|nil seconds
-- @tparam[opt] function done called with whether there was none
function Engine:add(key, value, seconds, done)
  checkName("add(key, value, seconds, done): key", key)
  checkBytes("add(key, value, seconds, done): value", value)
  local milliseconds = lifetime(seconds)
  if fits(self, value, MOST_VALUE, done) then set(self, key, value, milliseconds, done, "NX") end
end

--- Sets a value if the one that is there is the old one.
-- @tparam string key
-- @tparam string|nil old nil: there must be none
-- @tparam string new at most 64 KiB
-- @tparam number|nil seconds
-- @tparam[opt] function done called with true; or with false, nil and the value that is there
function Engine:replace(key, old, new, seconds, done)
  checkName("replace(key, old, new, seconds, done): key", key)
  checkBytes("replace(key, old, new, seconds, done): new", new)
  if old ~= nil then checkBytes("replace(key, old, new, seconds, done): old", old) end
  local milliseconds = lifetime(seconds)
  if not fits(self, new, MOST_VALUE, done) then return end
  local words = {self.valuePrefix .. key, milliseconds, new, old}
  self:run(done, asReplaced, "replace", unpack(words))
end

--- Adds to a value that is a whole number within 2^53, or absent, which counts as 0.
-- @tparam string key
-- @tparam number by a whole number within 2^53
-- @tparam number|nil seconds that it is kept from now on; nil: as long as before
-- @tparam[opt] function done called with the sum; or with nil and "not a number", which what
-- is beyond 2^53 is, too
function Engine:increment(key, by, seconds, done)
  checkName("increment(key, by, seconds, done): key", key)
  if type(by) ~= "number" or by % 1 ~= 0 or math.abs(by) > MOST_INTEGER then
    error("increment(key, by, seconds, done): by must be a whole number, not " .. tostring(by), 2)
  end
  self:run(done, asItIs, "increment", self.valuePrefix .. key, lifetime(seconds),
    ("%.0f"):format(by + 0)) -- which is never -0
end

--- Changes how long a value is kept.
-- @tparam string key
-- @tparam number|nil seconds from now on, or nil for ever
-- @tparam[opt] function done called with whether there is a value
function Engine:expire(key, seconds, done)
  checkName("expire(key, seconds, done): key", key)
  local name, milliseconds = self.valuePrefix .. key, lifetime(seconds)
  if milliseconds ~= "" then
    return self:request(done, isOne, command("PEXPIRE", name, milliseconds))
  end
  -- PERSIST tells something else: whether it was to expire.
  self:request(done, isOne, command("PERSIST", name) .. command("EXISTS", name), 2, 2)
end

--- Removes a value.
-- @tparam string key
-- @tparam[opt] function done called with whether there was one
function Engine:remove(key, done)
  checkName("remove(key, done): key", key)
  self:request(done, isOne, command("DEL", self.valuePrefix .. key))
end

--- Puts an entry at the end of a log.
-- @tparam string name of the log, at most 200 bytes
-- @tparam string bytes at most 1 MiB
-- @tparam number most entries that are kept, or about a hundred more, for Redis drops them in
-- blocks
-- @tparam number|nil seconds that the log is kept from now on
-- @tparam[opt] function done called with the entry's id
function Engine:append(name, bytes, most, seconds, done)
  checkName("append(log, bytes, most, seconds, done): log", name)
  checkBytes("append(log, bytes, most, seconds, done): bytes", bytes)
  checkMost("append(log, bytes, most, seconds, done): most", most)
  local key, milliseconds = self.logPrefix .. name, lifetime(seconds)
  if not fits(self, bytes, MOST_MESSAGE, done) then return end
  local text = command("XADD", key, "MAXLEN", "~", ("%d"):format(most), "*", "b", bytes)
  local after = milliseconds == "" and command("PERSIST", key) or
    command("PEXPIRE", key, milliseconds)
  self:request(done, asItIs, text .. after, 2, 1)
end

-- The id that follows; "-" is the first of all. Redis knows "(ID" only since 6.2.
local function following(id)
  local time, number = id:match("^(%d+)%-(%d+)$")
  number = tonumber(number)
  if not number or #time > MOST_DIGITS or number >= MOST_INTEGER then return "-" end
  return ("%s-%.0f"):format(time, number + 1)
end

--- Reads a log.
-- @tparam string name
-- @tparam string after the id of an entry: those behind it are read; "" and what is no id of
-- Redis reads all
-- @tparam number most entries
-- @tparam function done called with a list of {id = string, bytes = string}, oldest first
function Engine:read(name, after, most, done)
  checkName("read(log, after, most, done): log", name)
  checkBytes("read(log, after, most, done): after", after)
  checkMost("read(log, after, most, done): most", most)
  self:request(done, asEntries, command("XRANGE", self.logPrefix .. name, following(after), "+",
    "COUNT", ("%d"):format(most)))
end

-- URLs. Nothing of one is told in a message: what is wrong with it may be where its password
-- stands.

local SYNTAX = "redis://[[USER]:PASSWORD@]HOST[:PORT][/DATABASE][?prefix=PREFIX] or " ..
  "unix://[[USER]:PASSWORD@]/PATH[?db=DATABASE&prefix=PREFIX]"

local function decode(text)
  if text:gsub("%%%x%x", ""):find("%%") then
    return nil, "a % must stand before two hexadecimal digits (%25 is a %)"
  end
  return (text:gsub("%%(%x%x)", function(digits) return string.char(tonumber(digits, 16)) end))
end

local function readParameters(query, known)
  for pair in query:gmatch("[^&]+") do
    local name, value = pair:match("^(%l+)=(.*)$")
    if not name or not known[name] then return nil, "there is a parameter that is not known" end
    local text, problem = decode(value)
    if not text then return nil, problem end
    known[name] = text
  end
  return known
end

local function readAccount(text)
  if not text then return {user = ""} end
  local user, password = text:match("^([^:]*):(.+)$")
  if not user then return nil, "before the @ there must be USER:PASSWORD, or :PASSWORD" end
  local problem
  user, problem = decode(user)
  if user then password, problem = decode(password) end
  if problem then return nil, problem end
  return {user = user, password = password}
end

-- Host and port of a server, or the path of a socket.
local function readPlace(scheme, place, path)
  if scheme == "unix" then
    local decoded, problem = decode(path)
    if not decoded then return nil, problem end
    if place ~= "" or #decoded < 2 or #decoded > MOST_PATH or decoded:find("%z") then
      return nil, ("the path must begin with / and have at most %d bytes: unix:///PATH")
        :format(MOST_PATH)
    end
    return "unix:" .. decoded, 0
  end
  local host, port = place:match("^%[([%x:.]+)%](.*)$")
  if not host then host, port = place:match("^([^:%[%]%%%s%c]+)(.*)$") end
  if not host then return nil, "the host is missing, or is none" end
  port = port == "" and 6379 or tonumber(port:match("^:(%d+)$"))
  if not port or port < 1 or port > 65535 then return nil, "the port is none" end
  return host, port
end

local function readUrl(url)
  local scheme, rest = url:match("^(%l+)://(.*)$")
  if scheme == "rediss" then
    return nil, "rediss://: TLS to the engine is not supported yet; let stunnel or haproxy on " ..
      "this machine carry it and connect to that by redis://, or use NATS, which speaks TLS"
  end
  if scheme ~= "redis" and scheme ~= "unix" then return nil, "it must be " .. SYNTAX end
  local address, query = rest:match("^([^?]*)%??(.*)$")
  local authority, path = address:match("^([^/]*)(.*)$")
  local text, place = authority:match("^(.*)@(.*)$")
  local account, problem = readAccount(text)
  if not account then return nil, problem end
  local host, port = readPlace(scheme, place or authority, path)
  if not host then return nil, port end
  local known = {prefix = "sync", db = scheme == "unix" and "0" or nil}
  known, problem = readParameters(query, known)
  if not known then return nil, problem end
  local database = known.db or path:sub(2)
  if database == "" then database = "0" end
  if not database:find("^%d%d?%d?%d?%d?$") then return nil, "the database must be a number" end
  if known.prefix == "" or #known.prefix > MOST_PREFIX or known.prefix:find(":", 1, true) then
    return nil, ("the prefix must have 1 to %d bytes, and no colon"):format(MOST_PREFIX)
  end
  return {account = account, host = host, port = port, prefix = known.prefix,
    database = ("%d"):format(tonumber(database))}
end

-- For the log: where Redis is.
local function nameOf(host, port)
  if host:find("^unix:") then return host end
  return (host:find(":", 1, true) and "[%s]:%d" or "%s:%d"):format(host, port)
end

local function openDoors(engine)
  for i, role in ipairs {"commander", "subscriber"} do
    local door, problem = dial.door(Link, {})
    if not door then return nil, problem end
    door.owner, door.role = engine, role
    engine.doors[i] = door
  end
  return true
end

local redis = {}

--- Begins to connect to a Redis server, and does so again whenever the connection is lost.
-- @tparam string url
-- @tparam table handlers functions, all but the last optional: `onUp()` (connected, and all
-- topics are subscribed to), `onDown(why)` (the connection is lost or could not be made; once
-- until it is back) and `onMessage(topic, bytes)`
-- @treturn table|nil the engine, or nil and what is wrong with the URL, or that hiredis is not
-- installed
function redis.open(url, handlers)
  if type(url) ~= "string" then return nil, "the URL of Redis must be a string" end
  local found, problem = readUrl(url)
  if not found then return nil, "the URL of Redis: " .. problem end
  local loaded, missing = hiredis.load()
  if not loaded then return nil, missing end
  local prefix = found.prefix .. ":"
  local self = Engine:new {
    handlers = handlers, account = found.account, database = found.database,
    host = found.host, port = found.port, name = nameOf(found.host, found.port),
    channelPrefix = prefix, valuePrefix = prefix .. "v:", logPrefix = prefix .. "l:",
    doors = {}, commander = nil, subscriber = nil,
    up = false, closed = false, isLost = false, isLate = false,
    attempt = 0,                                   -- in a row, that failed
    said = {},                                     -- by kind, since the connection is lost
    digests = {},                                  -- of scripts, by name
    topics = {}, topicCount = 0, wantedCount = 0,
    changes = {}, firstChange = 1, lastChange = 0, -- names of topics of which to tell Redis
    unconfirmed = 0,                               -- topics that Redis was told of
    buffer = buffer.new(), buffered = 0,           -- messages that wait for a connection
    later = {},
  }
  local opened
  opened, problem = openDoors(self)
  if not opened then return nil, problem end
  self.checkTimer = loop.startTimer(CHECK_SECONDS, CHECK_SECONDS, function(late)
    self:check(late)
  end)
  self:connect()
  return self
end

return redis
