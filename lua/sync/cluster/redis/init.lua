--- The engine of Redis, 5 or later: what links nodes by way of a Redis server.
--
--     redis://[[USER]:PASSWORD@]HOST[:6379][/DATABASE][?prefix=sync]
--     rediss://…                      -- in TLS [?ca=FILE&certificate=FILE&key=FILE]
--     unix://[[USER]:PASSWORD@]/PATH/TO/SOCKET[?db=DATABASE&prefix=sync]
--     redis+sentinel://[[USER]:PASSWORD@]HOST[:26379],…/MASTER[/DATABASE][?prefix=sync]
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
-- stands for it behind its name, which is looked up anew each time, or the master that Sentinel
-- names; not a Redis Cluster. A server that is no master, or no more, is left: another may be.
-- @module sync.cluster.redis

local Connector = require "sync.connector"
local buffer = require "string.buffer"
local Link = require "sync.cluster.redis.link"
local Search = require "sync.redis.sentinel"
local Topics = require "sync.cluster.redis.topics"
local Values = require "sync.cluster.redis.values"
local core = require "sync.core"
local engineurl = require "sync.cluster.url"
local hiredis = require "sync.redis.hiredis"
local log = require "sync.log"
local loop = require "sync.loop"

local now = core.C.sync_now

local CONNECT_SECONDS = 5
local CHECK_SECONDS = 0.25 -- how often it is looked for what takes too long
local MOST_ERROR = 200     -- bytes of one that are told

local Engine = Values:extend("Redis")

--- Seconds of silence after which Redis is asked whether it lives, and that it has to answer.
Engine.pingSeconds = 5

-- Life.

-- What the operator can do about an error of the server; also, each is said once in a row.
local ADVICE = {
  {"^NOAUTH", "write the password into the URL: redis://:PASSWORD@HOST, or USER:PASSWORD@HOST"},
  {"^WRONGPASS", "correct user and password in the URL"},
  {"^ERR invalid password", "correct the password in the URL"},
  {"^ERR.*no password is set", "take the password out of the URL"},
  {"^ERR wrong number of arguments for 'auth'", "users need Redis 6: write redis://:PASSWORD@HOST"},
  {"^ERR AUTH.*without any password", "take the password out of the URL"},
  {"^NOPERM", "allow the user what the engine needs: see docs/scaling.md"},
  {"READONLY", "it is a replica: write the master's address into the URL, or redis+sentinel://"},
  {"^it is a %a+, not the master", "write the master's address into the URL, or redis+sentinel://"},
  {"^MASTERDOWN", "it is a replica that has lost its master"},
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

-- An error of the server as it may be told. Some servers repeat what they didn't understand.
function Engine:clean(text)
  local password = self.account.password
  if password then text = text:gsub(password:gsub("%p", "%%%0"):gsub("%z", "%%z"), "***") end
  return text:sub(1, MOST_ERROR)
end

-- An error that nobody waits for: of a message, or of a request without `done`.
function Engine:refused(text)
  log.limited("error", "redis refused", ("Redis at %s refuses a command: %s")
    :format(self.name, text))
end

-- For the log: where Redis is.
local function nameOf(host, port)
  if host:find("^unix:") then return host end
  return (host:find(":", 1, true) and "[%s]:%d" or "%s:%d"):format(host, port)
end

-- Where its server is.
function Engine:place(host, port)
  self.host, self.port, self.name = host, port, nameOf(host, port)
  self.label = "Redis at " .. self.name
end

function Engine:connect()
  if not self.search then return self:dial() end
  self.search:begin(function(host, port)
    if not host then return self:lost(port) end
    self:place(host, port)
    self:dial()
  end)
end

function Engine:dial()
  local function failed(message) self:lost(message) end
  for _, connector in ipairs(self.connectors) do
    connector:connect(self.host, self.port, CONNECT_SECONDS, failed)
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
  if not sent then self:drop(count, "they are more than a connection takes") end
  return true
end

-- What its connections ask of whose they are.

function Engine:linkReader(link)
  return hiredis.reader(link.role == "subscriber" and #self.channelPrefix)
end

function Engine:linkOpened(link)
  self[link.role] = link
  link:greet()
end

-- A connection is ready: Redis has taken all that it was asked first.
function Engine:greeted(link)
  if link.role == "subscriber" then self.topics:renew(link) else self:consider() end
end

-- Both connections stand, and all topics are subscribed to?
function Engine:consider()
  local commander, subscriber = self.commander, self.subscriber
  if self.up or not (commander and commander.ready and subscriber and subscriber.ready) or
    self.topics.unconfirmed > 0 then return end
  if not self:sendBuffered() then return end
  self.up, self.upSince = true, now()
  self.said, self.isLost = {}, false
  log.info(("Redis at %s: connected"):format(self.name))
  self:tell "onUp"
end

-- Takes the connections away and returns the requests that have waited for them.
function Engine:detach(leave)
  local requests = {}
  if self.search then self.search:giveUp() end
  for _, connector in ipairs(self.connectors) do
    connector:giveUp()
    local link = self[connector.role]
    self[connector.role] = nil
    if link then
      for i = link.first, link.last do requests[#requests + 1] = link.requests[i] end
      link.owner = false
      leave(link)
    end
  end
  self.up = false
  self.topics:drop()
  return requests
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
    if request.done then self:guard("an answer", request.done, nil, "away") end
  end
  if first then self:tell("onDown", reason) end
end

-- Looks for answers that take too long. When this process itself has been held up they may
-- be there already, and it looks again after the tick.
function Engine:check(late)
  self.isLate = late > CHECK_SECONDS and not self.isLate
  if self.isLate then return end
  local time = now()
  for _, connector in ipairs(self.connectors) do
    local link = self[connector.role]
    if link and not link:isAlive(time, self.pingSeconds) then
      return self:lost(("no answer in %g s"):format(self.pingSeconds))
    end
  end
  if not self.commander then return end
  self.commander:watchRole(time, self.pingSeconds)
  self:checkRequests(self.commander, time)
end

-- Connections are closed when all has been written.
function Engine:shut()
  local requests = self:detach(Link.close)
  for _, connector in ipairs(self.connectors) do connector:close() end
  if self.search then self.search:close() end
  loop.stopTimer(self.checkTimer)
  self:stopRetrying()
  self.buffer:reset()
  for _, request in ipairs(requests) do self:tellLater(request.done, nil, "away") end
  for _, done in ipairs(self.topics:takeWaiting()) do self:tellLater(done, nil, "away") end
end

-- Messages.

function Engine:carry(topic, bytes)
  local channel = self.channelPrefix .. topic
  local text = "*3\r\n$7\r\nPUBLISH\r\n$" .. #channel .. "\r\n" .. channel .. "\r\n$" ..
    #bytes .. "\r\n" .. bytes .. "\r\n"
  if self.up then
    local sent, why = self.commander:put(text, 1)
    if sent then return true end
    if why ~= "closed" then return self:drop(1, "Redis reads too slowly") end
  end
  if #self.buffer + #text > self.maxBuffer then
    return self:drop(1, "too many wait for a connection")
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

function Engine:hear(topic)
  if self.topics:add(topic) then return true end
  log.limited("error", "redis topics", ("Redis at %s: more than %d topics are asked for")
    :format(self.name, self.topics.MOST))
  return false
end

function Engine:unhear(topic)
  self.topics:remove(topic)
end

function Engine:confirm(done)
  if not self.topics:settle(done) then self:tellLater(done, nil, "busy") end
end

-- Handing over.

--- Operations that wait for an answer.
-- @treturn number
function Engine:pendingCalls()
  return (self.commander and self.commander:waiting() or 0) + (self.later and #self.later or 0)
end

--- Tells when what was published until now has been taken, and what others had published before
-- has been heard here: `done(true)`, or nil and why nobody knows. One at a time.
-- @tparam function done
function Engine:catchUp(done)
  local count, isOver = 0, false
  local function arrived(ok, why)
    count = count + 1
    if isOver or ok and count < 2 then return end
    isOver = true
    done(ok, why)
  end
  self:ping(arrived)
  if self.up then self.subscriber:whenHeard(function() arrived(true) end) end
end

-- A connector of a role, in TLS if `trust` says whom to trust.
local function openConnector(engine, role, trust)
  local connector, problem = Connector.new(Link, {}, true)
  if not connector then return nil, problem end
  connector.owner, connector.role = engine, role
  if trust then
    local trusted
    trusted, problem = connector:trust(engine.host, trust)
    if not trusted then
      connector:close()
      return nil, problem
    end
  end
  return connector
end

local function openConnectors(engine, trust)
  for i, role in ipairs {"commander", "subscriber"} do
    local connector, problem = openConnector(engine, role, trust)
    if not connector then return nil, problem end
    engine.connectors[i] = connector
  end
  return true
end

local redis = {}

--- Begins to connect to a Redis server, and does so again whenever the connection is lost.
-- @tparam string url
-- @tparam[opt] table handlers as for `attach`
-- @treturn table|nil the engine, or nil and what is wrong with the URL, or that hiredis is not
-- installed
function redis.open(url, handlers)
  if type(url) ~= "string" then return nil, "the URL of Redis must be a string" end
  local found, problem = engineurl.redis(url)
  if not found then return nil, "the URL of Redis: " .. problem end
  local loaded, missing = hiredis.load()
  if not loaded then return nil, missing end
  local prefix = found.prefix .. ":"
  local self = Engine:new {
    handlers = handlers or {}, account = found.account, database = found.database,
    channelPrefix = prefix, valuePrefix = prefix .. "v:", logPrefix = prefix .. "l:",
    connectors = {}, commander = nil, subscriber = nil,
    up = false, closed = false, isLost = false, isLate = false,
    attempt = 0,                         -- in a row, that failed
    said = {},                           -- by kind, since the connection is lost
    digests = {},                        -- of scripts, by name
    buffer = buffer.new(), buffered = 0, -- messages that wait for a connection
  }
  self:place(found.host, found.port)
  self.topics = Topics.open(prefix, function() self:consider() end, function(done)
    self:tellLater(done, true)
  end)
  local opened
  opened, problem = openConnectors(self, found.trust)
  if opened and found.master then
    self.search, problem = Search.open(found.servers, found.master, found.sentinelpassword)
  end
  if problem then return nil, problem end
  self.checkTimer = loop.startTimer(CHECK_SECONDS, CHECK_SECONDS, function(late)
    self:check(late)
  end)
  self:connect()
  return self
end

return redis
