--- NATS as what links nodes: messages by topic, and values and logs in JetStream.
--
--     local engine, message = require("sync.cluster.nats").open("nats://localhost", handlers)
--
-- The URL is `nats://[USER:PASSWORD@|TOKEN@]HOST[:4222][,HOST2…][?OPTION=VALUE&…]`, or
-- `tls://…`. Options: `prefix` (of all names, "sync"), `ca` (a PEM file of who signs the
-- servers' certificates), `maxage` (seconds until anything in JetStream goes, 86400), `replicas`.
--
-- libnats does the talking, in threads of its own; see src/nats/natslink.h. One link is one
-- connection. When it has gone, another is opened, and told all topics anew.
--
-- **Messages** of a topic have the subject PREFIX.t.TOPIC, and are delivered at most once.
--
-- **Values** are the last messages of the subjects of a JetStream key-value bucket,
-- PREFIX-values, in memory, with as many replicas as `replicas` says (1), or as the cluster
-- allows. More than one outlive their server; but with more than one nats-server 2.9 may take
-- two changes that come at once for right, both, and what should be atomic isn't.
-- NATS 2.9 knows no expiry of one key. So the milliseconds of the server's clock at which a
-- value expires stand in its header `Sync-Expires`; a node learns from the times of messages how
-- far that clock is ahead of its own that only goes on, so that its wall clock doesn't count. Who
-- reads a value that has expired takes it for absent, and deletes it. What nobody reads goes with
-- `maxage`, as does all that hasn't been written for so long. What is compared is the sequence
-- number of the value's message.
--
-- **Logs** are the messages of the subjects PREFIX.l.LOG of the stream PREFIX-logs. It keeps
-- as many messages of each as the largest `most` that was asked for; logs that want fewer are
-- cut now and then, so that they hold about twice theirs at the most. Entries live for
-- `maxage` each, whatever `seconds` says. A read asks for one entry after the other.
--
-- Keys, topics and logs may be any bytes: what a subject must not hold is written =XX.
-- @module sync.cluster.nats

local Connector = require "sync.connector"
local Stream = require "sync.cluster.nats.stream"
local Values = require "sync.cluster.nats.values"
local core = require "sync.core"
local engineurl = require "sync.cluster.url"
local log = require "sync.log"
local loop = require "sync.loop"
local natslibrary = require "sync.cluster.nats.library"
local natswire = require "sync.cluster.nats.wire"

local now = core.C.sync_now
local encoded, number32 = natswire.encoded, natswire.number32

local TICK = 0.25            -- between looks at who has waited too long
local RENEWED_AT_ONCE = 1000 -- subscriptions
local MOST_HEADS = 10000     -- subjects that are remembered

local Engine = Values:extend("Nats")

--- Seconds between questions whether the server lives; one that leaves two unanswered has gone.
Engine.pingInterval = 5

local nats = {}

-- Life.

local function makeStreams(engine, settings)
  local prefix = settings.prefix
  engine.values = Stream:new {
    engine = engine, name = "KV_" .. prefix .. "-values", most = 1,
    subject = "$KV." .. prefix .. "-values.", replicas = settings.replicas,
    settings = '"discard":"new","allow_rollup_hdrs":true',
  }
  engine.logs = Stream:new {
    engine = engine, name = prefix .. "-logs", subject = prefix .. ".l.", most = 1,
    settings = '"discard":"old"', replicas = 3,
  }
end

--- Opens an engine; it connects in the background.
-- @tparam string url
-- @tparam[opt] table handlers as for `attach`
-- @treturn table|nil the engine, or nil and a message
function nats.open(url, handlers)
  local settings, message = engineurl.nats(url)
  if not settings then return nil, "NATS: " .. message end
  local ok
  ok, message = natslibrary.load()
  if not ok then return nil, "NATS: " .. message end
  local connector
  connector, message = Connector.new(natswire.Link, {}, true)
  if not connector then return nil, "NATS: " .. message end
  local self = Engine:new {
    settings = settings, handlers = handlers or {}, connector = connector,
    place = settings.servers[1]:match "//(.*)$", -- for the log
    topicPrefix = settings.prefix .. ".t.",
    up = false, closed = false, attempt = 0,
    numbers = {}, bySubject = {}, free = {}, last = 0, topicCount = 0, -- what is wanted
    subjects = {}, renewed = 0,                                        -- by number
    unsettled = {},                                                    -- until it is up
    heads = {}, headCount = 0,
    waiting = {}, waitingBytes = 0,                                    -- messages
    operations = {}, operationCount = 0, asked = {}, lastRequest = 0,
  }
  makeStreams(self, settings)
  connector.owner = self
  self.timer = loop.startTimer(TICK, TICK, function() self:check() end)
  loop.startTimer(0, 0, function() self:connect() end)
  return self
end

function Engine:connect()
  if self.closed then return end
  local given = self.settings
  self.why = nil
  local fd, problem = natslibrary.open {
    servers = self.only or table.concat(given.servers, ","), user = given.user,
    password = given.password, token = given.token, authority = given.ca,
    secure = given.secure and 1 or 0, timeout = 2000,
    ping_interval = self.pingInterval * 1000, most_waiting = 16 * 1024 * 1024,
    pending_limit = 65536,
  }
  if not fd then return self:lost(problem) end
  local ok, message = self.connector:adopt(fd)
  if not ok then self:lost(message) end -- memory ran out, and the socket was closed
end

-- What a link says that is no message.
function Engine:told(type, number, text)
  if type == "R" then
    local operation = self.asked[number]
    self.asked[number] = nil
    if operation then self:resume(operation, text:sub(1, 3), text:sub(4)) end
  elseif type == "U" then
    self.place = text:gsub("^.-://", ""):gsub("^.*@", "")
    self:renew()
  elseif type == "D" then
    self.why = text
  elseif type == "L" then
    self.dropped = self.dropped + number
    log.limited("warn", "nats dropped", "NATS: messages came or went faster than they could " ..
      "be taken, and were dropped", {count = number})
  elseif type == "E" then
    log.limited("warn", "nats error", "NATS says: " .. text, {server = self.place})
  end
end

-- Subscribes again, so many topics at once. An answer shows that the server knows those:
-- that nobody is there, for nobody listens to this subject.
function Engine:renew()
  local link = self.link
  self.renewing = now() + self.timeLimit
  local last = math.min(self.last, self.renewed + RENEWED_AT_ONCE)
  for number = self.renewed + 1, last do
    local subject = self.subjects[number]
    if subject then self:command("S" .. number32(number) .. subject .. "\0") end
  end
  self.renewed = last
  local request = self:nextRequest({over = true, renewed = function()
    if self.link ~= link then return end
    if self.renewed < self.last then return self:renew() end
    self:becomeUp()
  end})
  self:command("R" .. number32(request) .. self.settings.prefix .. ".ready\0\0")
end

function Engine:becomeUp()
  self.up, self.renewing, self.upSince = true, nil, now()
  self.renewed = math.huge
  if self.isAway then log.info(("NATS: the connection is back, to %s"):format(self.place)) end
  self.isAway = false
  local waiting = self.waiting
  self.waiting, self.waitingBytes = {}, 0
  for _, frame in ipairs(waiting) do self:transmit(frame) end
  for _, done in ipairs(self:takeUnsettled()) do self:tellLater(done, true) end
  self:tell "onUp"
end

-- The link has gone, or could not be made.
function Engine:lost(why)
  local link = self.link
  self.link, self.up, self.renewing, self.renewed, self.serverClock = nil, false, nil, 0, nil
  if link and link.slot ~= 0 then link:abort() end
  for _, stream in ipairs {self.values, self.logs} do stream:forget() end
  self:failOperations("away")
  if self.closed or loop.isStopping() then return end
  self:retryLater()
  if self.isAway then return end
  self.isAway = true
  log.warn(("NATS: no connection to %s: %s"):format(self.place, why))
  self:tell("onDown", why)
end

-- Looks who has waited too long.
function Engine:check()
  local time = now()
  self:expireOperations(time)
  self:askAgain(time)
  if self.renewing and self.renewing <= time then
    self:lost("the server does not answer (it must be NATS 2.2 or later)")
  end
end

function Engine:shut()
  local link = self.link
  self.link, self.up = nil, false
  if link then link:close() end
  loop.stopTimer(self.timer)
  self:stopRetrying()
  for operation in pairs(self.operations) do
    local done = operation.done
    operation.done = done and function(...) self:tellLater(done, ...) end
  end
  self:failOperations("away")
  for _, done in ipairs(self:takeUnsettled()) do self:tellLater(done, nil, "away") end
  self.connector:close()
end

-- Sends what must not get lost. If it can't be queued, nothing else will come right either.
function Engine:command(frame)
  local link = self.link
  if not link then return end
  local ok, why = link:send(frame)
  if not ok and why ~= "full" then self:lost("its queue is full") end
end

-- Messages.

-- What goes before a message of this topic. Heads are remembered, for most messages are of few
-- topics.
local function headOf(self, topic)
  local head = self.heads[topic]
  if head then return head end
  if self.headCount >= MOST_HEADS then self.heads, self.headCount = {}, 0 end
  head = "P" .. natswire.NO_NUMBER .. self.topicPrefix .. encoded(topic) .. "\0"
  self.heads[topic] = head
  self.headCount = self.headCount + 1
  return head
end

function Engine:transmit(frame)
  local ok, why = self.link:send(frame)
  return ok or why == "full" or self:drop(1, "the server reads too slowly")
end

function Engine:carry(topic, bytes)
  local frame = headOf(self, topic) .. bytes
  if self.up then return self:transmit(frame) end
  local size = #topic + #bytes
  if self.waitingBytes + size > self.maxBuffer then
    return self:drop(1, "too many wait for a connection")
  end
  self.waiting[#self.waiting + 1] = frame
  self.waitingBytes = self.waitingBytes + size
  return true
end

--- Bytes that the server has not taken yet, or that wait for a connection.
-- @treturn number
function Engine:unsent()
  return self.up and self.link:queued() or self.waitingBytes
end

function Engine:hear(topic)
  if self.numbers[topic] then return true end
  if self.topicCount >= self.maxTopics then return false end
  local number = table.remove(self.free)
  if not number then
    number = self.last + 1
    self.last = number
  end
  local subject = self.topicPrefix .. encoded(topic)
  self.topicCount = self.topicCount + 1
  self.numbers[topic], self.subjects[number], self.bySubject[subject] = number, subject, topic
  if number <= self.renewed then self:command("S" .. number32(number) .. subject .. "\0") end
  return true
end

function Engine:unhear(topic)
  local number = self.numbers[topic]
  if not number then return end
  self.topicCount = self.topicCount - 1
  self.bySubject[self.subjects[number]] = nil
  self.numbers[topic], self.subjects[number] = nil, false
  self.free[#self.free + 1] = number
  if number <= self.renewed then self:command("U" .. number32(number)) end
end

-- Asks what the server answers behind all that it was told before: nobody listens to this subject.
local function askReady(self, operation)
  self:request(operation, self.settings.prefix .. ".ready", "")
  return true
end

function Engine:takeUnsettled()
  local list = self.unsettled
  self.unsettled = {}
  return list
end

-- Other servers of a NATS cluster hear of a subscription a moment later.
function Engine:confirm(done)
  if self.up then
    return self:start(function(ok, why)
      if why ~= "away" or self.closed then return done(ok, why) end
      self:confirm(done) -- the connection was lost meanwhile
    end, askReady)
  end
  if #self.unsettled >= self.maxPending then return self:tellLater(done, nil, "busy") end
  self.unsettled[#self.unsettled + 1] = done
end

-- Handing over.

--- As of lua/sync/cluster/redis/init.lua.
function Engine:pendingCalls()
  return self.operationCount + (self.later and #self.later or 0)
end

-- One thread gives the messages and answers of a connection to its program, in their order.
function Engine:catchUp(done)
  if self.up then self:start(done, askReady) else self:tellLater(done, nil, "away") end
end

--- Where it's connected to: the next process connects to the same of several servers, so that what
-- the two publish stays in its order.
-- @treturn string
function Engine:server() return self.place end

--- Connects to that server alone; nil: to any.
function Engine:keepTo(server)
  local scheme = self.settings.servers[1]:match "^%a+://"
  self.only = server and scheme .. server
end

return nats
