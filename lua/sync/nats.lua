--- NATS as what links nodes: messages by topic, and values and logs in JetStream.
--
--     local engine, message = require("sync.nats").open("nats://localhost", handlers)
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
-- NATS 2.9 knows no expiry of one key. So the wall clock's milliseconds at which a value
-- expires stand in its header `Sync-Expires`; who reads one that has expired takes it for
-- absent, and deletes it. What nobody reads goes with `maxage`, as does all that hasn't been
-- written for so long. What is compared is the sequence number of the value's message.
--
-- **Logs** are the messages of the subjects PREFIX.l.LOG of the stream PREFIX-logs. It keeps
-- as many messages of each as the largest `most` that was asked for; logs that want fewer are
-- cut now and then, so that they hold about twice theirs at the most. Entries live for
-- `maxage` each, whatever `seconds` says. A read asks for one entry after the other.
--
-- Keys, topics and logs may be any bytes: what a subject must not hold is written =XX.
-- @module sync.nats

local Protocol = require "sync.protocol"
local core = require "sync.core"
local dial = require "sync.dial"
local ffi = require "ffi"
local json = require "cjson.safe"
local log = require "sync.log"
local loop = require "sync.loop"
local task = require "sync.task"

local now = core.C.sync_now

local nats = {}

local Engine = {
  maxBuffer = 8 * 1024 * 1024, -- bytes that wait for a connection
  maxPending = 10000,          -- operations that wait for answers
  maxTopics = 100000,
  timeLimit = 5,               -- seconds that an operation may take
  pingInterval = 5,            -- seconds; a server that leaves two unanswered has gone
  dropped = 0,                 -- messages
}
Engine.__index = Engine

local TICK = 0.25                    -- between looks at who has waited too long
local PAUSE = 0.25                   -- until a server that isn't ready is asked again
local FIRST_WAIT, LONGEST_WAIT = 0.25, 5 -- before another attempt to connect
local RENEWED_AT_ONCE = 1000         -- subscriptions
local MOST_MESSAGE = 1024 * 1024
local MOST_VALUE = 64 * 1024
local MOST_NAME = 200
local MOST_ENTRIES = 100000          -- of a log
local MOST_HEADS = 10000             -- subjects that are remembered
local MOST_INTEGER = 2 ^ 53
local DAY = 86400

local NO_JETSTREAM = "the NATS server has no JetStream: start it with -js"

-- The library.

local library, scratch

local function load()
  if library then return library end
  local path, tried = package.searchpath("sync.natslink", package.cpath)
  if not path then
    return nil, "sync/natslink.so is not on package.cpath: install libnats-dev, then build " ..
      "and install SYNC anew" .. tried
  end
  local ok, loaded = pcall(ffi.load, path)
  if not ok then
    return nil, ("%s (libnats is missing? On Debian: apt-get install libnats3.4)"):format(loaded)
  end
  ffi.cdef(require "sync.natscdef")
  library = loaded
  scratch = ffi.new "char[256]"
  return library
end

local function unbase64(text)
  local bytes = ffi.new("char[?]", #text / 4 * 3 + 1)
  local length = library.natslink_decode(text, #text, bytes)
  return length >= 0 and ffi.string(bytes, length) or ""
end

-- The URL.

local function decodePercent(text)
  return (text:gsub("%%(%x%x)", function(hex) return string.char(tonumber(hex, 16)) end))
end

local function parseServer(scheme, text)
  local host, rest = text:match "^(%[[%x:.]+%])(.*)$"
  if not host then host, rest = text:match "^([%w._-]+)(.*)$" end
  local port = host and (rest == "" and 4222 or tonumber(rest:match "^:(%d+)$"))
  if not port or port < 1 or port > 65535 then return nil end
  return ("%s://%s:%d"):format(scheme, host, port)
end

local CHECKS = {
  prefix = function(text) return text:find "^[%w_-]+$" and #text <= 64 and text end,
  ca = function(text) return text ~= "" and text end,
  maxage = function(text)
    local seconds = tonumber(text)
    return seconds and seconds >= 1 and seconds <= 3650 * DAY and seconds
  end,
  replicas = function(text) return text:find "^[1-5]$" and tonumber(text) end,
}

local function parseOptions(query, into)
  for pair in query:gmatch "[^&]+" do
    local name, text = pair:match "^([^=]*)=(.*)$"
    local check = CHECKS[name]
    if not check then
      return nil, ("unknown option %s; there are prefix, ca, maxage and replicas")
        :format(name or pair)
    end
    local value = check(decodePercent(text))
    if not value then return nil, ("option %s can't be %q"):format(name, text) end
    into[name] = value
  end
  return into
end

-- The URL may hold a password: what is said of it never quotes it.
local function parse(url)
  if type(url) ~= "string" then return nil, "the URL must be a string, not " .. type(url) end
  local scheme, rest = url:match "^(%a+)://(.*)$"
  if scheme ~= "nats" and scheme ~= "tls" then
    return nil, "the URL must begin with nats:// or tls://"
  end
  local place, query = rest:match "^([^?]*)%??(.*)$"
  local identity, hosts = place:match "^(.*)@([^@]*)$"
  local into = {prefix = "sync", maxage = DAY, replicas = 1, secure = scheme == "tls",
    servers = {}}
  for text in ((hosts or place):gsub("/$", "") .. ","):gmatch "([^,]*)," do
    local server = parseServer(scheme, text)
    if not server then return nil, ("%q is no HOST or HOST:PORT"):format(text) end
    into.servers[#into.servers + 1] = server
  end
  if #into.servers > 64 then return nil, "there are more than 64 servers" end
  if identity then
    local user, password = identity:match "^([^:]*):(.*)$"
    if user then
      into.user, into.password = decodePercent(user), decodePercent(password)
    else
      into.token = decodePercent(identity)
    end
  end
  return parseOptions(query, into)
end

-- Subjects.

local function encoded(text)
  if text == "" then return "=" end
  return (text:gsub("[^%w/_-]", function(char) return ("=%02X"):format(char:byte()) end))
end

local function checkName(what, name)
  if type(name) ~= "string" then
    error(("%s must be a string, not %s"):format(what, type(name)), 3)
  elseif #name > MOST_NAME then
    error(("%s must have at most %d bytes, not %d"):format(what, MOST_NAME, #name), 3)
  end
end

local function checkBytes(what, bytes, most)
  if type(bytes) ~= "string" then
    error(("%s must be a string, not %s"):format(what, type(bytes)), 3)
  elseif #bytes > most then
    error(("%s must have at most %d bytes, not %d"):format(what, most, #bytes), 3)
  end
end

local function number32(value)
  return string.char(bit.band(bit.rshift(value, 24), 255), bit.band(bit.rshift(value, 16), 255),
    bit.band(bit.rshift(value, 8), 255), bit.band(value, 255))
end

local NO_NUMBER = "\0\0\0\0"

-- What goes before a message of this topic. Remembered, for it's the same for most.
local function headOf(self, topic)
  local head = self.heads[topic]
  if head then return head end
  if self.headCount >= MOST_HEADS then self.heads, self.headCount = {}, 0 end
  head = "P" .. NO_NUMBER .. self.topicPrefix .. encoded(topic) .. "\0"
  self.heads[topic] = head
  self.headCount = self.headCount + 1
  return head
end

-- Calls a function of who uses the engine.
local function guard(what, fn, ...)
  local ok, err = pcall(fn, ...)
  if not ok then
    log.limited("error", "nats " .. what, ("error in %s: %s"):format(what, tostring(err)))
  end
end

-- A link's end of the socket.

local Link = Protocol:extend("NatsLink")
Link.isLink = true
Link.framing = "length32"
Link.maxMessage = 4 * 1024 * 1024
Link.maxQueue = 16 * 1024 * 1024
Link.overflow = "drop"
Link.messageTimeout = false
Link.handshakeTimeout = false
Link.own = {}

function Link:begin(door)
  self.engine = door.owner
  if self.engine.closed then return self:close() end
  self.engine.link = self
end

-- The type of a frame, and its number.
local function decode(data)
  local type, a, b, c, d = data:byte(1, 5)
  return type, ((a * 256 + b) * 256 + c) * 256 + d
end

function Link:onData(data)
  local engine = self.engine
  if engine.link ~= self then return end
  local type, number = decode(data)
  if type == 77 then -- M
    local topic = engine.bySubject[data:sub(6, 5 + number)]
    if topic then engine.deliver(topic, data:sub(6 + number)) end
  else
    engine:told(string.char(type), number, data:sub(6))
  end
end

function Link:onClose(reason)
  local engine = self.engine
  if engine.link == self then engine:lost(engine.why or "the link has " .. reason) end
end

-- Life.

--- Opens an engine; it connects in the background.
-- @tparam string url
-- @tparam table handlers functions `onUp()`, `onDown(why)`, `onMessage(topic, bytes)`
-- @treturn table|nil the engine, or nil and a message
function nats.open(url, handlers)
  local settings, message = parse(url)
  if not settings then return nil, "NATS: " .. message end
  local ok
  ok, message = load()
  if not ok then return nil, "NATS: " .. message end
  local door
  door, message = dial.door(Link, {})
  if not door then return nil, "NATS: " .. message end
  local prefix = settings.prefix
  local self = setmetatable({
    settings = settings, handlers = handlers, door = door,
    place = settings.servers[1]:match "//(.*)$", -- for the log
    topicPrefix = prefix .. ".t.",
    up = false, attempt = 0,
    numbers = {}, bySubject = {}, free = {}, last = 0, topicCount = 0, -- what is wanted
    subjects = {}, renewed = 0,                                       -- by number
    heads = {}, headCount = 0,
    waiting = {}, waitingBytes = 0,                                   -- messages
    operations = {}, operationCount = 0, asked = {}, lastRequest = 0,
    values = {
      name = "KV_" .. prefix .. "-values", subject = "$KV." .. prefix .. "-values.", most = 1,
      settings = '"discard":"new","allow_rollup_hdrs":true', replicas = settings.replicas,
    },
    logs = {
      name = prefix .. "-logs", subject = prefix .. ".l.", most = 1,
      settings = '"discard":"old"', replicas = 3,
    },
  }, Engine)
  self.deliver = function(topic, bytes) guard("onMessage", handlers.onMessage, topic, bytes) end
  door.owner = self
  self.timer = loop.startTimer(TICK, TICK, function() self:expireOperations() end)
  loop.startTimer(0, 0, function() self:connect() end)
  return self
end

--- Whether there is a connection, and all topics are subscribed to.
function Engine:isUp() return self.up end

function Engine:connect()
  if self.closed then return end
  local given = self.settings
  local options = ffi.new("struct natslink_options", {
    servers = table.concat(given.servers, ","), user = given.user, password = given.password,
    token = given.token, authority = given.ca, secure = given.secure and 1 or 0, timeout = 2000,
    ping_interval = self.pingInterval * 1000, most_waiting = 16 * 1024 * 1024,
    pending_limit = 65536,
  })
  self.why = nil
  local fd = library.natslink_open(options, scratch, 256)
  if fd < 0 then return self:lost(ffi.string(scratch)) end
  local ok, message = self.door:adopt(fd)
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
  guard("onUp", self.handlers.onUp)
end

-- The link has gone, or could not be made.
function Engine:lost(why)
  local link = self.link
  self.link, self.up, self.renewing, self.renewed = nil, false, nil, 0
  if link and link.slot ~= 0 then link:abort() end
  for _, stream in ipairs {self.values, self.logs} do stream.ready, stream.waiting = nil, nil end
  self:failOperations("away")
  if self.closed or loop.isStopping() then return end
  if self.upSince and now() - self.upSince > LONGEST_WAIT then self.attempt = 0 end
  self.upSince = nil
  local chance = tonumber(core.randomHex(4), 16) / 2 ^ 32
  local wait = math.min(LONGEST_WAIT, FIRST_WAIT * 2 ^ self.attempt) * chance
  self.attempt = math.min(self.attempt + 1, 10)
  self.retryTimer = loop.startTimer(wait, 0, function() self:connect() end)
  if self.isAway then return end
  self.isAway = true
  log.warn(("NATS: no connection to %s: %s"):format(self.place, why))
  guard("onDown", self.handlers.onDown, why)
end

--- Closes for good. Operations that wait fail with "away"; what was published is still sent.
function Engine:close()
  if self.closed then return end
  self.closed = true
  local link = self.link
  self.link, self.up = nil, false
  if link then link:close() end
  loop.stopTimer(self.timer)
  if self.retryTimer then loop.stopTimer(self.retryTimer) end
  self:failOperations("away")
  self.door:close()
end

-- Sends what must not get lost. If it can't be queued, nothing else will come right either.
function Engine:command(frame)
  local link = self.link
  if not link then return end
  local ok, why = link:send(frame)
  if not ok and why ~= "full" then self:lost("its queue is full") end
end

-- Messages.

function Engine:transmit(frame)
  local ok, why = self.link:send(frame)
  if ok or why == "full" then return true end
  self.dropped = self.dropped + 1
  return false
end

--- Publishes to all other engines that subscribe to the topic. Without a connection it waits.
-- @treturn boolean whether it was queued; false: it was dropped
function Engine:publish(topic, bytes)
  checkName("a topic", topic)
  checkBytes("a message", bytes, MOST_MESSAGE)
  local frame = headOf(self, topic) .. bytes
  if self.up then return self:transmit(frame) end
  local size = #topic + #bytes
  if self.closed or self.waitingBytes + size > self.maxBuffer then
    self.dropped = self.dropped + 1
    return false
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

--- Subscribes, until `unsubscribe` or `close`.
-- @treturn boolean true, or false when there are too many topics
function Engine:subscribe(topic)
  checkName("a topic", topic)
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

--- Takes a subscription back.
function Engine:unsubscribe(topic)
  local number = self.numbers[topic]
  if not number then return end
  self.topicCount = self.topicCount - 1
  self.bySubject[self.subjects[number]] = nil
  self.numbers[topic], self.subjects[number] = nil, false
  self.free[#self.free + 1] = number
  if number <= self.renewed then self:command("U" .. number32(number)) end
end

-- Operations: coroutines, each of which asks one thing after the other.

function Engine:nextRequest(operation)
  repeat
    self.lastRequest = self.lastRequest % 0xffffffff + 1
  until not self.asked[self.lastRequest]
  self.asked[self.lastRequest] = operation
  operation.request = self.lastRequest
  return self.lastRequest
end

local function finish(self, operation, ...)
  if operation.over then return end
  operation.over = true
  self.operations[operation] = nil
  self.operationCount = self.operationCount - 1
  if operation.request then self.asked[operation.request] = nil end
  if operation.done then guard("the answer of NATS", operation.done, ...) end
end

-- What an operation raises to end is a table with `why`.
local function fail(why) error({why = why}, 0) end

local function continued(self, operation, ok, ...)
  if not ok then
    local raised = ...
    local why = type(raised) == "table" and raised.why
    if not why then
      why = "internal error"
      log.limited("error", "nats", "NATS: " .. debug.traceback(operation.thread, tostring(raised)))
    end
    finish(self, operation, nil, why)
  elseif coroutine.status(operation.thread) == "dead" then
    finish(self, operation, ...)
  end
end

function Engine:resume(operation, ...)
  if operation.renewed then return operation.renewed() end
  if operation.over then return end
  operation.request = nil
  continued(self, operation, coroutine.resume(operation.thread, ...))
end

local function refuse(done, why)
  if done then loop.startTimer(0, 0, function() guard("the answer of NATS", done, nil, why) end) end
end

-- Runs body(self, operation, ...); what it returns goes to `done`.
local function launch(self, done, body, ...)
  local operation = {done = done, deadline = now() + self.timeLimit}
  operation.thread = task.thread(body)
  self.operations[operation] = true
  self.operationCount = self.operationCount + 1
  self:resume(operation, self, operation, ...)
end

-- The same, within the bound.
local function start(self, done, body, ...)
  if not self.up then return refuse(done, "away") end
  if self.operationCount >= self.maxPending then return refuse(done, "busy") end
  launch(self, done, body, ...)
end

-- Ends those for which the test holds. The answers may begin others.
local function failThose(self, why, test)
  local over = {}
  for operation in pairs(self.operations) do
    if test(operation) then over[#over + 1] = operation end
  end
  for _, operation in ipairs(over) do finish(self, operation, nil, why) end
end

function Engine:failOperations(why)
  failThose(self, why, function() return true end)
  self.asked = {}
end

function Engine:expireOperations()
  local time = now()
  if self.operationCount > 0 then
    failThose(self, "timeout", function(operation) return operation.deadline <= time end)
  end
  if self.renewing and self.renewing <= time then
    self:lost("the server does not answer (it must be NATS 2.2 or later)")
  end
end

-- Inside an operation: publishes a request, and waits for the answer's status and bytes.
local function ask(self, operation, subject, body, headers)
  local request = self:nextRequest(operation)
  local frame = "R" .. number32(request) .. subject .. "\0" .. (headers or "") .. "\0" .. body
  local ok, why = self.link:send(frame)
  if not ok and why ~= "full" then fail "busy" end
  return coroutine.yield()
end

local function pause(self, operation)
  loop.startTimer(PAUSE, 0, function() self:resume(operation) end)
  coroutine.yield()
end

-- Asks JetStream. Returns what it says, a table.
local function api(self, operation, what, body)
  local status, text = ask(self, operation, "$JS.API." .. what, body)
  if status == "503" then fail(NO_JETSTREAM) end
  local answer = json.decode(text)
  if type(answer) ~= "table" then fail("NATS does not answer as it should: " .. text) end
  return answer
end

-- Codes of JetStream's errors.
local NOT_ENABLED, NOT_ENABLED_FOR_ACCOUNT = 10076, 10039
local NOT_READY = {[10008] = true, [10009] = true}
local NO_STREAM, NO_MESSAGE, WRONG_SEQUENCE, NAME_TAKEN = 10059, 10037, 10071, 10058

local function failAs(err)
  local code = err.err_code
  if code == NOT_ENABLED or code == NOT_ENABLED_FOR_ACCOUNT then fail(NO_JETSTREAM) end
  fail("NATS: " .. tostring(err.description))
end

-- Streams.

local function configuration(stream, replicas, maxAge)
  return ('{"name":"%s","subjects":["%s>"],"retention":"limits","storage":"memory",' ..
    '"max_consumers":-1,"max_msgs":-1,"max_bytes":-1,"max_age":%.0f,' ..
    '"max_msgs_per_subject":%d,"num_replicas":%d,%s}')
    :format(stream.name, stream.subject, maxAge, stream.most, replicas, stream.settings)
end

-- Makes a stream, with as many replicas as the cluster allows.
local function create(self, operation, stream)
  local answer
  for replicas = stream.replicas, 1, -1 do
    answer = api(self, operation, "STREAM.CREATE." .. stream.name,
      configuration(stream, replicas, self.settings.maxage * 1e9))
    local err = answer.error
    if not err or err.err_code == NAME_TAKEN or NOT_READY[err.err_code] then break end
  end
  return answer
end

-- Finds a stream, or makes it. Another node may do the same at the same time.
local function prepare(self, operation, stream)
  local wanted = stream.most
  while true do
    local answer = api(self, operation, "STREAM.INFO." .. stream.name, "")
    if answer.error and answer.error.err_code == NO_STREAM then
      answer = create(self, operation, stream)
    end
    local err = answer.error
    if not err then
      local found = answer.config
      if found.max_msgs_per_subject >= wanted then
        stream.most = found.max_msgs_per_subject
        stream.epoch = (answer.created:gsub("%D", "") .. ("0"):rep(23)):sub(1, 23)
        return true
      end
      answer = api(self, operation, "STREAM.UPDATE." .. stream.name,
        configuration(stream, found.num_replicas, found.max_age))
      if answer.error and not NOT_READY[answer.error.err_code] then failAs(answer.error) end
    elseif not NOT_READY[err.err_code] and err.err_code ~= NAME_TAKEN then
      failAs(err)
    end
    if err or answer.error then pause(self, operation) end
  end
end

-- Waits for a stream to be ready. Operations go on in the order in which they came.
local function need(self, operation, stream)
  if stream.ready then return end
  if not stream.waiting then
    stream.waiting = {}
    launch(self, function(ok, why)
      local waiting = stream.waiting
      stream.waiting, stream.ready = nil, ok
      for _, each in ipairs(waiting or {}) do self:resume(each, ok, why) end
    end, prepare, stream)
  end
  table.insert(stream.waiting, operation)
  local ok, why = coroutine.yield()
  if not ok then fail(why) end
end

-- Publishes into a stream, once. Returns the sequence number, or nil when another has been
-- quicker (see `expected`). Nobody listens while the stream's leader is elected.
local function put(self, operation, stream, subject, bytes, headers)
  while true do
    need(self, operation, stream)
    local status, text = ask(self, operation, subject, bytes, headers)
    local answer = status == "000" and json.decode(text)
    if status == "503" then
      stream.ready = nil
      pause(self, operation)
    elseif type(answer) ~= "table" then
      fail("NATS: " .. text)
    elseif not answer.error then
      return answer.seq
    elseif answer.error.err_code == WRONG_SEQUENCE then
      return nil
    else
      failAs(answer.error)
    end
  end
end

-- Reads a message of a stream. Returns nil when there is none.
local function fetch(self, operation, stream, what)
  while true do
    need(self, operation, stream)
    local answer = api(self, operation, "STREAM.MSG.GET." .. stream.name, what)
    local err = answer.error
    if not err then
      local message = answer.message
      return {
        sequence = message.seq, bytes = unbase64(message.data or ""),
        headers = message.hdrs and unbase64(message.hdrs) or "",
      }
    elseif err.err_code == NO_MESSAGE then
      return nil
    elseif err.err_code == NO_STREAM then
      stream.ready = nil
    elseif NOT_READY[err.err_code] then
      pause(self, operation)
    else
      failAs(err)
    end
  end
end

-- Values.

-- Returns the entry of a key, and what it holds: nil when it is none, or has expired.
local function current(self, operation, subject)
  local entry = fetch(self, operation, self.values, ('{"last_by_subj":"%s"}'):format(subject))
  if not entry then return nil, nil end
  -- Another program may have deleted it as programs of key-value buckets do.
  if entry.headers:find("\nKV-Operation:", 1, true) then return entry, nil end
  local expires = tonumber(entry.headers:match "\nSync%-Expires: *(%d+)")
  entry.expires = expires
  if expires and expires <= library.natslink_time() then return entry, nil end
  return entry, entry.bytes
end

local function expiry(seconds)
  if not seconds then return nil end
  return math.floor(library.natslink_time() + seconds * 1000)
end

-- Headers: when the value expires, and which message must be the last of its subject, if any
-- (0: none).
local function headers(expires, expected)
  return (expires and ("Sync-Expires\0%.0f\0"):format(expires) or "") ..
    (expected and ("Nats-Expected-Last-Subject-Sequence\0%.0f\0"):format(expected) or "")
end

-- Deletes this very message. Returns what JetStream says.
local function deleteEntry(self, operation, entry)
  return api(self, operation, "STREAM.MSG.DELETE." .. self.values.name,
    ('{"seq":%.0f,"no_erase":true}'):format(entry.sequence))
end

local function checkSeconds(seconds)
  if seconds and (type(seconds) ~= "number" or not (seconds > 0 and seconds < 1e9)) then
    error(("seconds must be a number above 0, not %s"):format(tostring(seconds)), 3)
  end
end

local function subjectOf(self, key) return self.values.subject .. encoded(key) end

-- Replaces an entry (nil: none) by a value. Returns whether it was still the last.
local function exchange(self, operation, subject, entry, value, expires)
  return put(self, operation, self.values, subject, value,
    headers(expires, entry and entry.sequence or 0)) ~= nil
end

local function get(self, operation, subject)
  local entry, value = current(self, operation, subject)
  if entry and not value then deleteEntry(self, operation, entry) end
  return value
end

--- Reads a value: `done(value or nil)`.
function Engine:get(key, done)
  checkName("a key", key)
  start(self, done, get, subjectOf(self, key))
end

local function set(self, operation, subject, value, seconds)
  put(self, operation, self.values, subject, value, headers(expiry(seconds)))
  return true
end

--- Writes a value, for so many seconds or (nil or false) for ever: `done(true)`.
function Engine:set(key, value, seconds, done)
  checkName("a key", key)
  checkBytes("a value", value, MOST_VALUE)
  checkSeconds(seconds)
  start(self, done, set, subjectOf(self, key), value, seconds)
end

local function replace(self, operation, subject, old, new, seconds)
  while true do
    local entry, value = current(self, operation, subject)
    if value ~= old then return false, nil, value end
    if exchange(self, operation, subject, entry, new, expiry(seconds)) then return true end
  end
end

--- Writes a value where there is none: `done(true or false)`.
function Engine:add(key, value, seconds, done)
  checkName("a key", key)
  checkBytes("a value", value, MOST_VALUE)
  checkSeconds(seconds)
  start(self, done and function(ok, err) done(ok, err) end, replace, subjectOf(self, key), nil,
    value, seconds)
end

--- Writes a value where there is `old` (nil: none): `done(true)` or `done(false, nil, current)`.
function Engine:replace(key, old, new, seconds, done)
  checkName("a key", key)
  checkBytes("a value", new, MOST_VALUE)
  checkSeconds(seconds)
  start(self, done, replace, subjectOf(self, key), old, new, seconds)
end

local function increment(self, operation, subject, by, seconds)
  while true do
    local entry, value = current(self, operation, subject)
    local number = value == nil and 0 or value:find "^%-?%d+$" and tonumber(value)
    if not number or math.abs(number + by) >= MOST_INTEGER then fail "not a number" end
    local expires = expiry(seconds) or value and entry.expires
    if exchange(self, operation, subject, entry, ("%.0f"):format(number + by), expires) then
      return number + by
    end
  end
end

--- Adds an integer to a number (none is 0): `done(number)`. Without seconds it expires when it
-- would have.
function Engine:increment(key, by, seconds, done)
  checkName("a key", key)
  checkSeconds(seconds)
  if type(by) ~= "number" or by % 1 ~= 0 or math.abs(by) > MOST_INTEGER then
    error("increment needs an integer within 2^53, not " .. tostring(by), 2)
  end
  start(self, done, increment, subjectOf(self, key), by, seconds)
end

local function expire(self, operation, subject, seconds)
  while true do
    local entry, value = current(self, operation, subject)
    if value == nil then return false end
    if exchange(self, operation, subject, entry, value, expiry(seconds)) then return true end
  end
end

--- Lets a value live for so many seconds from now, or for ever: `done(true)`, or `done(false)`
-- when there is none.
function Engine:expire(key, seconds, done)
  checkName("a key", key)
  checkSeconds(seconds)
  start(self, done, expire, subjectOf(self, key), seconds)
end

local function remove(self, operation, subject)
  local last
  while true do
    local entry, value = current(self, operation, subject)
    if value == nil then return false end
    local answer = deleteEntry(self, operation, entry)
    if not answer.error then return true end
    if last == entry.sequence then failAs(answer.error) end
    last = entry.sequence
  end
end

--- Removes a value: `done(true)`, or `done(false)` when there was none.
function Engine:remove(key, done)
  checkName("a key", key)
  start(self, done, remove, subjectOf(self, key))
end

-- Logs.

-- The id of an entry. A stream in memory may be lost, and its numbers begin anew: the time at
-- which it was made goes before them.
local function idOf(stream, sequence) return ("%s-%016.0f"):format(stream.epoch, sequence) end

local function cut(self, operation, subject, most)
  api(self, operation, "STREAM.PURGE." .. self.logs.name,
    ('{"filter":"%s","keep":%d}'):format(subject, most))
end

local function append(self, operation, subject, bytes, most)
  local logs = self.logs
  if most > logs.most then logs.most, logs.ready = most, nil end
  local sequence = put(self, operation, logs, subject, bytes)
  if most < logs.most and math.random(most) == 1 then cut(self, operation, subject, most) end
  return idOf(logs, sequence)
end

--- Appends to a log, that keeps about the newest `most`: `done(id)`. Without `done` nobody is
-- asked whether the entry was stored.
function Engine:append(name, bytes, most, seconds, done)
  checkName("a log", name)
  checkBytes("an entry", bytes, MOST_MESSAGE)
  checkSeconds(seconds)
  if type(most) ~= "number" or most < 1 or most > MOST_ENTRIES or most % 1 ~= 0 then
    error(("most must be an integer from 1 to %d, not %s"):format(MOST_ENTRIES, tostring(most)), 2)
  end
  local logs = self.logs
  local subject = logs.subject .. encoded(name)
  if done or not self.up or not logs.ready or most > logs.most then
    return start(self, done, append, subject, bytes, most)
  end
  self:transmit("P" .. NO_NUMBER .. subject .. "\0" .. bytes)
  if most < logs.most and math.random(most) == 1 then start(self, nil, cut, subject, most) end
end

local function read(self, operation, subject, after, most)
  local logs, list = self.logs, {}
  need(self, operation, logs)
  local epoch, sequence = after:match "^(%d+)%-(%d+)$"
  sequence = epoch == logs.epoch and tonumber(sequence) or 0
  while #list < most do
    local entry = fetch(self, operation, logs,
      ('{"seq":%.0f,"next_by_subj":"%s"}'):format(sequence + 1, subject))
    if not entry then break end
    sequence = entry.sequence
    list[#list + 1] = {id = idOf(logs, sequence), bytes = entry.bytes}
    operation.deadline = now() + self.timeLimit -- it goes on
  end
  return list
end

--- Reads a log, at most so many entries behind an id ("" is the beginning): `done(list)` of
-- {id, bytes}, the oldest first.
function Engine:read(name, after, most, done)
  checkName("a log", name)
  if type(after) ~= "string" then error("after must be a string, not " .. type(after), 2) end
  start(self, done, read, self.logs.subject .. encoded(name), after, most)
end

return nats
