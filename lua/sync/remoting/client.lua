--- The client of remoting, on the same loop: for bots, tests, and servers that call servers.
--
--     local game = sync.connect("tcp://localhost:8080")
--     game:on("onJoin", function(name) print(name, "is here") end)
--     game:call("join", "ann", function(count, err) … end)
--
-- The URL is `tcp://HOST:PORT`, `tls://HOST:PORT` or `unix:/PATH`.
--
-- It connects in the background, and comes back by itself when the connection is lost; a
-- server that keeps sessions (`resumeTime`) then goes on where it was. What is called
-- meanwhile waits, or is refused. Whatever could grow has a bound.
--
-- **Errors** are tables with `code`, `message` and `data`. The code is the server's number,
-- or says why there is no answer: "timeout", "disconnected" (in between, or the server has
-- gone: the function may have run), "offline" (no connection, and `offline` is "refuse"),
-- "full" (a bound is reached), "closed" (the client is).
-- @classmod sync.Client

local Class = require "sync.class"
local Connector = require "sync.connector"
local Joined = require "sync.remoting.joined"
local Rpc = require "sync.remoting.jsonrpc"
local core = require "sync.core"
local failures = require "sync.failure"
local fault = require "sync.remoting.fault"
local json = require "sync.remoting.json"
local log = require "sync.log"
local loop = require "sync.loop"
local null = require "cjson".null
local options = require "sync.options"
local patches = require "sync.remoting.patches"
local task = require "sync.task"

local now = core.C.sync_now

local LONGEST_DELAY = 2 ^ 31 -- ms
local RETURN_SECONDS = 20 -- at least, that a room has to come up again whose node has died
local PARTING_SECONDS = 1 -- that a server which sends us elsewhere has to read what was sent
local GONE = "the server that it was sent to has gone: the call may have been done, or not"

-- Calls by which a client comes into a room.
local JOINS = {["sync.join"] = true, ["sync.create"] = true, ["sync.joinById"] = true,
  ["sync.joinByCode"] = true}

local Client = Class:extend("Client")

--- What `sync.connect` may be told. All times are in seconds.
Client.defaults = {
  framing = "null",         -- the listener's
  encoding = "json",        -- the same
  token = "",               -- for the server's auth, or a function that returns it, and may wait
  timeout = 10,             -- for an answer, the waiting for a connection included; false: none
  offline = "queue",        -- what is called without a connection waits, or: "refuse"
  queueLimit = 256,         -- messages that wait for a connection
  pendingLimit = 1024,      -- calls that wait for answers
  maxMessage = 1024 * 1024, -- bytes of a message of the server
  maxQueue = 1024 * 1024,   -- unsent bytes, beyond which calls are refused
  connectTimeout = 10,      -- for a connection to be made, and for a silent one to show life
  heartbeat = 25,           -- of silence, after which the server is asked for life; false: never
  reconnect = true,         -- whether a lost connection is replaced
  firstWait = 0.25,         -- the longest before the first attempt to come back
  waitFactor = 2,           -- by which it grows
  longestWait = 10,
  jitter = 1,               -- the share of a wait that is left to chance
  attempts = math.huge,     -- in a row, until it gives up
  ca = "",                  -- for tls://: a file of authorities in PEM; else the system's
  certificate = "",         -- and for servers that ask for one, a file, and that of its key
  key = "",
}

local CHECKS = {
  number = function(value) return type(value) == "number" and value >= 0 end,
  string = function(value) return type(value) == "string" end,
  boolean = function(value) return type(value) == "boolean" end,
}

local function complete(given)
  local defaults, names = Client.defaults, {}
  for name in pairs(defaults) do names[#names + 1] = name end
  for name, value in pairs(given) do
    local default = defaults[name]
    if default == nil then
      local meant = options.nearest(tostring(name), names)
      error(("sync.connect: unknown option %s%s"):format(tostring(name),
        meant and ("; did you mean %s?"):format(meant) or ""), 3)
    end
    local maybeFn = name == "token" and type(value) == "function"
    local maybeFalse = name == "timeout" or name == "heartbeat"
    local isFine = CHECKS[type(default)](value) or maybeFn or maybeFalse and value == false
    if not isFine then
      error(("sync.connect: option %s must be a %s, not %s"):format(name, type(default),
        tostring(value)), 3)
    end
  end
  if given.offline and given.offline ~= "queue" and given.offline ~= "refuse" then
    error('sync.connect: option offline must be "queue" or "refuse"', 3)
  end
  return setmetatable(given, {__index = defaults})
end

local RemoteError = {}
RemoteError.__index = RemoteError
function RemoteError:__tostring() return ("%s (%s)"):format(self.message, tostring(self.code)) end

local function failure(code, message, data)
  return setmetatable({code = code, message = message, data = data}, RemoteError)
end

-- Calls a function of the user. What it raises is logged, and costs nothing else.
local function guard(what, fn, ...)
  local ok, result = xpcall(fn, failures.trace, ...)
  if not ok then log.limited("error", what, ("error in %s: %s"):format(what, tostring(result))) end
  return ok, result
end

-- For rooms, whose listeners are the user's, too.
Client.guard = guard

-- A link is one connection of a client.

local Link = Rpc:extend("Link")
Link.own = {}

function Link:begin(connector)
  Rpc.begin(self, connector)
  self.client = connector.owner
  connector:giveUp()
end

function Link:onConnect()
  self.client:connected(self)
end

function Link:onData(data)
  self.client:received(self, data)
end

function Link:onClose(reason)
  self.client:lost(self, reason)
end

-- An event, or a call of the server.
function Link:invoke(name, params, id)
  local client = self.client
  local arguments = params or {}
  if #arguments == 0 and next(arguments) ~= nil then arguments = {arguments} end
  local count = #arguments
  for i = 1, count do
    if arguments[i] == null then arguments[i] = nil end
  end
  if id == nil then
    client:emit(name, unpack(arguments, 1, count))
    return nil
  end
  local fn = client.handlers[name]
  if not fn then return false, fault.new(fault.METHOD, ("there is no function %q"):format(name)) end
  local failed
  local ok, result = xpcall(fn, function(err)
    failed = fault.is(err) and err
    return failed or failures.trace(err)
  end, unpack(arguments, 1, count))
  if ok then return true, result end
  if failed then return false, failed end
  log.limited("error", "handle", ("error in the handler of %s: %s"):format(name, result))
  return false, fault.new(fault.INTERNAL, "internal error")
end

function Link:answered(id, result, err)
  local client = self.client
  local done = client:settle(id)
  if not done then return client:tooLate(id, result) end
  if type(err) == "table" then
    done(nil, failure(err.code, tostring(err.message), err.data))
  else
    if result == null then result = nil end
    done(result)
  end
end

-- Life.

--- Connects: see `sync.connect`.
-- @tparam string url
-- @tparam[opt] table given options
-- @treturn sync.Client
function Client.connect(url, given)
  if given ~= nil and type(given) ~= "table" then
    error("sync.connect: options must be a table, not " .. type(given), 2)
  end
  local copy = {}
  for name, value in pairs(given or {}) do copy[name] = value end
  local settings = complete(copy)
  local host, port, isSecure = Connector.parse(url)
  if not host then error("sync.connect: " .. port, 2) end
  for _, name in ipairs {"ca", "certificate", "key"} do
    if given and given[name] and not isSecure then
      error(("sync.connect: %s is for tls://"):format(name), 2)
    end
  end
  local connector, problem = Connector.new(Link, {framing = settings.framing,
    encoding = settings.encoding, maxMessage = settings.maxMessage, maxQueue = settings.maxQueue})
  if connector and isSecure then
    local trusts, why = connector:trust(host, given or {})
    if not trusts then
      connector:close()
      connector, problem = nil, why
    end
  end
  if not connector then error("sync.connect: " .. problem, 2) end
  local self = Client:new {
    --- "connecting", "open", "waiting" (to connect again) or "closed" (for good).
    state = "connecting",
    --- Whether the connection goes on with the session of the one before.
    resumed = false,
    url = url, host = host, port = port, settings = settings, connector = connector,
    attempt = 0,                             -- in a row, that failed
    sessions = 0,                            -- begun
    count = 0,                               -- messages of the session
    pending = {}, pendingCount = 0, lastId = 0,
    queue = {}, first = 1, last = 0,         -- what waits for a connection
    listeners = {}, stateListeners = {}, sessionListeners = {},
    handlers = {},
    joined = {},                             -- rooms, by number
    lateJoins = {}, lateCount = 0,           -- that nobody waits for any more
  }
  connector.owner = self
  self:open()
  return self
end

function Client:become(state, detail)
  self.state = state
  for _, fn in ipairs {unpack(self.stateListeners)} do
    guard("onState", fn, state, detail or {})
  end
end

function Client:open()
  self.link = nil
  self.connector:connect(self.host, self.port, self.settings.connectTimeout, function(message)
    self:away(message)
  end)
  self:become("connecting", {attempt = self.attempt})
end

function Client:connected(link)
  if self.moving then return self:part(link) end
  self:begin(link)
end

-- Has a connection, on which a session goes on or begins.
function Client:begin(link)
  self.link = link
  self.silent = false
  if self.token or self.settings.token ~= "" then
    self.openTimer = loop.startTimer(self.settings.connectTimeout, 0, function()
      self:drop("no answer to sync.auth or sync.resume")
    end)
  end
  if self.settings.token == "" then return self:greet(link) end
  self.isGuest = true
  task.spawn(self.showToken, self, link)
end

-- May wait.
function Client:showToken(link)
  local token, ok = self.settings.token, true
  if type(token) == "function" then ok, token = guard("token", token) end
  if self.link ~= link then return end
  if not ok or type(token) ~= "string" then return self:drop("there is no token") end
  link:send(link._wire.request("auth", "sync.auth", token))
end

-- The server says whether it takes the token; nothing else comes before.
function Client:welcome(message)
  local value, link = message.value, self.link
  if not message.ok or type(value) ~= "table" or value.id ~= "auth" then return end
  self.isGuest = false
  if value.error == nil then return self:greet(link) end
  self.link = nil
  link:abort()
  local why = "the token was refused"
  if type(value.error) == "table" then why = why .. ": " .. tostring(value.error.message) end
  if type(self.settings.token) ~= "function" or self.asksAgain then return self:finish(why) end
  self.asksAgain = true -- once, until a connection holds
  self:away(why)
end

function Client:greet(link)
  if self.token then
    self.early = {}
    self.earlyBytes = 0
    link:send(link._wire.request("resume", "sync.resume", self.token, self.count))
  else
    self:beginSession {}
  end
end

-- A session begins, of which these messages have already come.
function Client:beginSession(early)
  local link = self.link
  self.sessions = self.sessions + 1
  self.token, self.count = nil, 0
  self:failSent("the connection was lost, and the session is over")
  self:loseRooms("the session is over")
  self:ready(false, 0)
  for _, message in ipairs(early) do
    if self.link == link then self:take(message) end
  end
end

function Client:stopTimers()
  if self.openTimer then loop.stopTimer(self.openTimer) end
  if self.heartbeatTimer then loop.stopTimer(self.heartbeatTimer) end
  self.openTimer, self.heartbeatTimer = nil, nil
end

function Client:ready(resumed, missed)
  self:stopTimers()
  self:leaveFormer()
  local settings = self.settings
  if settings.heartbeat and settings.heartbeat > 0 then
    self.heartbeatTimer = loop.startTimer(settings.heartbeat, settings.heartbeat, function()
      if self.silent then self:probe() end
      self.silent = true
    end)
  end
  self.openedAt = now()
  self.resumed = resumed
  self.state = "open"
  for _, room in pairs(self.joined) do room:resumed() end
  if not resumed then
    for _, fn in ipairs {unpack(self.sessionListeners)} do guard("onSession", fn) end
  end
  self:flush()
  if self.state == "open" then self:become("open", {resumed = resumed, missed = missed}) end
end

-- A connection can be dead for long before anybody says so.
function Client:probe()
  local link = self.link
  self:submit("sync.ping", {n = 0}, self.settings.connectTimeout, "refuse", function(_, err)
    if err and err.code == "timeout" and self.link == link and self.silent then
      self:drop(("silent for %g s"):format(self.settings.connectTimeout))
    end
  end)
end

-- A wait before attempt number `attempt`, and the longest that it can be: math.random is the same
-- in every process, which would come back together.
local function longestWait(self, attempt)
  local settings = self.settings
  return math.min(settings.longestWait, settings.firstWait * settings.waitFactor ^ attempt)
end

local function waitOf(self, attempt)
  local chance = tonumber(core.randomHex(4), 16) / 2 ^ 32
  return longestWait(self, attempt) * (1 - self.settings.jitter * chance)
end

-- Gives a connection up without waiting for the other side.
function Client:drop(reason)
  local link = self.link
  self:lost(link, reason)
  link:abort()
end

function Client:lost(link, reason)
  if self.coming == link then
    self.coming, self.held, self.state = nil, nil, "open"
    self:moveIn(waitOf(self, 0), 1)
    self:flush()
    self:become("open", {resumed = true, missed = 0})
  end
  if self.link ~= link then return end
  self.link = nil
  self:away(reason)
end

-- Going elsewhere.

-- The server is about to end: another connection is made, by which this one is replaced. Until
-- then it goes on; it may end first, and is then mended as always.
function Client:goAway(params)
  local said = type(params) == "table" and params[1]
  local delay = type(said) == "table" and tonumber(said.delay) or 0
  if not self.settings.reconnect or self.moveTimer or self.moving then return end
  self:moveIn(math.min(math.max(delay, 0), LONGEST_DELAY) / 1000, 0)
end

function Client:moveIn(seconds, attempt)
  self.moveTimer = loop.startTimer(seconds, 0, function()
    self.moveTimer = nil
    self:move(attempt)
  end)
end

function Client:move(attempt)
  self.moving = true
  self.connector:connect(self.host, self.port, self.settings.connectTimeout, function()
    self.moving = nil
    self:moveIn(waitOf(self, attempt), attempt + 1)
  end)
end

-- Another connection is there. Nothing more is sent here, and when what was sent has arrived, as a
-- ping says, the client goes over.
function Client:part(link)
  self.moving, self.coming, self.held, self.attempt = nil, link, {}, 0
  self:submit("sync.ping", {n = 0}, PARTING_SECONDS, "refuse", function()
    if self.coming == link then self:goOver(link) end
  end)
  if self.coming == link then self:become("connecting", {attempt = 0}) end
end

-- The connection before is left when the session has moved: it would end with it.
function Client:goOver(link)
  local held = self.held
  self:stopTimers()
  self.former, self.coming, self.held, self.openedAt = self.link, nil, nil, nil
  self:begin(link)
  for _, data in ipairs(held) do self:received(link, data) end
end

function Client:leaveFormer()
  local former = self.former
  self.former = nil
  if former then former:close "moved" end
end

-- Ends what is under way of that.
function Client:stay()
  if self.moveTimer then loop.stopTimer(self.moveTimer) end
  self.moveTimer = nil
  if self.moving then self.connector:giveUp() end
  if self.coming then self.coming:close "moved" end
  self.moving, self.coming, self.held = nil, nil, nil
  self:leaveFormer()
end

-- There is no connection, or none any more.
function Client:away(reason)
  self:stopTimers()
  self:stay()
  local settings = self.settings
  if self.openedAt and now() - self.openedAt >= longestWait(self, self.attempt) then
    self.attempt, self.asksAgain = 0, false
  end
  self.openedAt, self.early, self.isGuest = nil, nil, false
  local over = not settings.reconnect or self.attempt >= settings.attempts or loop.isStopping()
  if over or not self.token then self:failSent("the connection was lost: " .. reason) end
  if over then return self:finish(reason) end
  local delay = waitOf(self, self.attempt)
  self.attempt = self.attempt + 1
  self.retryTimer = loop.startTimer(delay, 0, function()
    self.retryTimer = nil
    self:open()
  end)
  self:become("waiting", {reason = reason, delay = delay, attempt = self.attempt})
end

--- Closes for good. Calls that wait fail with "closed".
-- @tparam[opt] string reason
function Client:close(reason)
  if self.state == "closed" then return end
  local link = self.link
  self.link = nil
  if link then link:close(reason) end
  self:finish(reason or "closed")
end

function Client:finish(reason)
  self:stopTimers()
  self:stay()
  if self.retryTimer then loop.stopTimer(self.retryTimer) end
  self.connector:close()
  self.queue, self.first, self.last = {}, 1, 0
  self.state = "closed"
  for id in pairs(self.pending) do
    self:fail(id, "closed", "the client is closed: " .. reason)
  end
  self:loseRooms("the client is closed: " .. reason)
  self:become("closed", {reason = reason})
end

-- Calling.

-- Ends the waiting for an answer. Returns the function that waits, or nil.
function Client:settle(id)
  local call = self.pending[id]
  if not call then return nil end
  self.pending[id] = nil
  self.pendingCount = self.pendingCount - 1
  if call.timer then loop.stopTimer(call.timer) end
  return function(result, err) guard("the answer to " .. call.name, call.done, result, err) end
end

function Client:fail(id, code, message)
  local call = self.pending[id]
  local done = self:settle(id)
  if done and JOINS[call.name] and call.sent then self:expectLate(id) end
  if done then done(nil, failure(code, call.name .. ": " .. message)) end
end

-- Fails the calls for which a field is true. Who is told may call again.
function Client:failWhich(field, message)
  local ids = {}
  for id, call in pairs(self.pending) do
    if call[field] then ids[#ids + 1] = id end
  end
  for _, id in ipairs(ids) do self:fail(id, "disconnected", message) end
end

function Client:failSent(message)
  self:failWhich("sent", message)
end

-- If the calls that were sent are lost, only answers among the missed messages still come.
function Client:markSent(areLost)
  for _, call in pairs(self.pending) do call.lost = areLost and call.sent end
end

-- Sends a message now. Returns nil, or a code and why it can't be.
function Client:transmit(text)
  local ok, why = self.link:send(text)
  if ok or why == "full" then return nil end
  return "full", "the connection takes no more: " .. why
end

-- Sends a message, or queues it. Returns nil, or a code and why it does neither.
function Client:sendOrQueue(text, id, timeout, offline)
  if self.state == "closed" then return "closed", "the client is closed" end
  if self.state == "open" then return self:transmit(text) end
  if offline == "refuse" then return "offline", "there is no connection" end
  self:prune()
  if self.last - self.first + 1 >= self.settings.queueLimit then
    return "full", "too many calls wait for a connection"
  end
  self.last = self.last + 1
  self.queue[self.last] = {text = text, id = id, expires = now() + (timeout or math.huge)}
  return nil
end

-- Takes out of the queue what has waited too long.
function Client:prune()
  local kept, last = {}, 0
  for i = self.first, self.last do
    local entry = self.queue[i]
    if entry.id and self.pending[entry.id] or not entry.id and entry.expires > now() then
      last = last + 1
      kept[last] = entry
    end
  end
  self.queue, self.first, self.last = kept, 1, last
end

function Client:flush()
  self:prune()
  while self.first <= self.last and self.state == "open" do
    local entry = self.queue[self.first]
    self.queue[self.first] = nil
    self.first = self.first + 1
    local call = entry.id and self.pending[entry.id]
    if call then call.sent = true end
    local code, why = self:transmit(entry.text)
    if code and entry.id then self:fail(entry.id, code, why) end
  end
end

-- Returns the text of a request; the error is about the arguments of the caller's caller.
-- `arguments` have `n`, or `named` are the parameters by name.
local function compose(self, id, name, arguments)
  if type(name) ~= "string" then
    error("a function's name must be a string, not " .. type(name), 4)
  end
  local wire = self.settings.encoding == "amf3" and require "sync.flash.wire" or json
  local text, problem, argument
  if arguments.named then
    text, problem, argument = wire.named(id, name, arguments.named)
  else
    text, problem, argument = wire.request(id, name, unpack(arguments, 1, arguments.n))
  end
  if not text then
    local where = argument and argument > 0 and "argument " .. argument or
      argument and "the name" or "the arguments"
    error(("%s: %s: %s"):format(name, where, problem), 4)
  end
  return text
end

function Client:submit(name, arguments, timeout, offline, done)
  local id = self.lastId + 1
  local text = compose(self, id, name, arguments)
  self.lastId = id
  if self.pendingCount >= self.settings.pendingLimit then
    guard("the answer to " .. name, done, nil,
      failure("full", name .. ": too many calls wait for answers"))
    return
  end
  local call = {name = name, done = done, sent = self.state == "open"}
  self.pending[id] = call
  self.pendingCount = self.pendingCount + 1
  if timeout and timeout > 0 then
    call.timer = loop.startTimer(timeout, 0, function()
      self:fail(id, "timeout", ("no answer in %g s"):format(timeout))
    end)
  end
  local code, why = self:sendOrQueue(text, id, timeout, offline)
  if code then self:fail(id, code, why) end
end

--- Calls a function of the server.
-- @tparam string name
-- @param ... arguments, and last a function that is called with the result, or with nil and an
-- error. Inside `sync.spawn` it may be left out: then the call waits, and returns that
function Client:call(name, ...)
  local count = select("#", ...)
  local done = select(math.max(count, 1), ...)
  local arguments = {n = count - 1, ...}
  if type(done) ~= "function" then
    if not task.isInside() then
      error("call(name, …, fn): the last argument must be a function, outside sync.spawn; " ..
        "notify needs none", 2)
    end
    return task.await(function(resume)
      arguments.n = count
      self:submit(name, arguments, self.settings.timeout, self.settings.offline, resume)
    end)
  end
  arguments[count] = nil
  self:submit(name, arguments, self.settings.timeout, self.settings.offline, done)
end

--- Calls a function of the server without an answer.
-- @tparam string name
-- @param ... arguments
-- @treturn boolean,string true when it was sent or queued, or false and why not
function Client:notify(name, ...)
  local text = compose(self, nil, name, {n = select("#", ...), ...})
  local code = self:sendOrQueue(text, nil, self.settings.timeout, self.settings.offline)
  if code then return false, code end
  return true
end

-- Rooms.

--- Calls a function with parameters by name.
function Client:askNamed(name, params, done)
  self:submit(name, {named = params}, self.settings.timeout, self.settings.offline, done)
end

--- The same without an answer, and not later.
-- @treturn boolean whether it was sent
function Client:tellNamed(name, params)
  local text = compose(self, nil, name, {named = params})
  return self:sendOrQueue(text, nil, nil, "refuse") == nil
end

local function enter(self, told)
  local ok, room = pcall(Joined.create, self, told)
  if not ok then -- this client is too old for the room
    self:tellNamed("sync.leave", {room = told.room})
    return nil, failure("unknown", tostring(room))
  end
  self.joined[room.number] = room
  return room
end

-- The node that had the session has died. Who was in a room of another node, or in one that comes
-- up again, comes back there, as the member that it was; other rooms are lost.
function Client:returnToRooms()
  local rooms = self.joined
  self.joined = {}
  for _, room in pairs(rooms) do
    local function lose()
      if room.isIn then room:left "lost" end
    end
    if room.back then
      local seconds = self.settings.timeout
      seconds = seconds and math.max(seconds, RETURN_SECONDS)
      self:submit("sync.joinById", {named = {id = room.back}}, seconds, "queue",
        function(told)
          if not told then return lose() end
          if not room.isIn then return self:tellNamed("sync.leave", {room = told.room}) end
          self.joined[told.room] = room
          room:returned(told)
        end)
    else
      lose()
    end
  end
end

local function asking(self, call, method, params, given, done)
  if type(given) == "function" and done == nil then given, done = nil, given end
  params.options = given
  local function ask(answered)
    self:askNamed(method, params, function(told, err)
      if err then answered(nil, err) else answered(enter(self, told)) end
    end)
  end
  if done then return ask(done) end
  if not task.isInside() then
    error(call .. ": fn must be a function, outside sync.spawn", 3)
  end
  return task.await(ask)
end

--- Joins a room that has a place, as its class's `filterBy` and `sortBy` say, or makes one.
-- @tparam string name its class's
-- @param[opt] given for the room's `onCreate` and `onJoin`
-- @tparam[opt] function done called with the `sync.JoinedRoom`, or with nil and an error. Its
-- state is there with its first patch (`room:onPatch`). Inside `sync.spawn` it may be left
-- out: then the call waits, and returns that
function Client:join(name, given, done)
  return asking(self, "join(name, options, fn)", "sync.join", {room = name}, given, done)
end

--- The same, of a new room.
function Client:create(name, given, done)
  return asking(self, "create(name, options, fn)", "sync.create", {room = name}, given, done)
end

--- The same, of the room of an id, or by a seat that the server has reserved.
function Client:joinById(id, given, done)
  return asking(self, "joinById(id, options, fn)", "sync.joinById", {id = id}, given, done)
end

--- The same, of a private room.
function Client:joinByCode(code, given, done)
  return asking(self, "joinByCode(code, options, fn)", "sync.joinByCode", {code = code}, given,
    done)
end

--- Lists rooms that may be joined.
-- @tparam string name their class's
-- @tparam[opt] table filter what their metadata are to have
-- @tparam[opt] function done called with a list of `{id, members, maxMembers, metadata}`, or with
-- nil and an error. Inside `sync.spawn` it may be left out
function Client:rooms(name, filter, done)
  if type(filter) == "function" and done == nil then filter, done = nil, filter end
  local function ask(answered)
    self:askNamed("sync.rooms", {room = name, filter = filter}, answered)
  end
  if done then return ask(done) end
  if not task.isInside() then
    error("rooms(name, filter, fn): fn must be a function, outside sync.spawn", 2)
  end
  return task.await(ask)
end

-- The session goes on at another node, where the room has another number.
function Client:renumber(old, number)
  local room = self.joined[old]
  if not room then return end
  self.joined[old] = nil
  self.joined[number] = room
  room.number = number
end

function Client:loseRooms(reason)
  self.lateJoins, self.lateCount = {}, 0
  for _, room in pairs(self.joined) do room:left(reason) end
end

-- The server may let us into a room that nobody here waits for any more.
function Client:expectLate(id)
  if self.lateCount >= self.settings.pendingLimit then return end
  self.lateJoins[id], self.lateCount = true, self.lateCount + 1
end

-- An answer that nobody waits for.
function Client:tooLate(id, result)
  if not self.lateJoins[id] then return end
  self.lateJoins[id], self.lateCount = nil, self.lateCount - 1
  if type(result) == "table" then self:tellNamed("sync.leave", {room = result.room}) end
end

-- What comes for a room that was left is for nothing.
function Client:patch(params)
  local data = type(params) == "table" and params[1]
  local bytes = type(data) == "table" and data.amf == "bytes" and data.data
  local read = bytes and patches.ofBytes or patches.ofObject
  local ok, patch = pcall(read, bytes or data)
  local refused
  if ok then
    local room = self.joined[patch.room]
    refused = room and room:take(patch)
  else
    refused = tostring(patch)
    for _, room in pairs(self.joined) do room:ask() end
  end
  if refused then
    log.limited("warn", "patch", ("%s sent a patch that is wrong: %s"):format(self.url, refused))
  end
end

-- Events, and calls of the server.

local function add(list, fn)
  if type(fn) ~= "function" then error("a listener must be a function", 3) end
  list[#list + 1] = fn
  return function()
    for i, each in ipairs(list) do
      if each == fn then return table.remove(list, i) end
    end
  end
end

--- Calls a function with the arguments of each event of this name; with "*", with the name
-- and the arguments of every event.
-- @treturn function that ends it
function Client:on(name, fn)
  self.listeners[name] = self.listeners[name] or {}
  return add(self.listeners[name], fn)
end

--- The same, for the next event alone.
function Client:once(name, fn)
  local stop
  stop = self:on(name, function(...)
    stop()
    fn(...)
  end)
  return stop
end

--- Lets the server call a function: its result is the answer, and it may raise `sync.fault`.
-- @tparam string name
-- @tparam function|nil fn nil takes it back
function Client:handle(name, fn)
  self.handlers[name] = fn
end

--- Calls a function with the state, and what is known, when the state has changed.
-- @treturn function that ends it
function Client:onState(fn)
  return add(self.stateListeners, fn)
end

--- Calls a function when a session begins, and now if one is on: the place to log in. What
-- it calls goes before what waits.
-- @treturn function that ends it
function Client:onSession(fn)
  local stop = add(self.sessionListeners, fn)
  if self.state == "open" then guard("onSession", fn) end
  return stop
end

function Client:emit(name, ...)
  if name == "sync.left" then
    local number, reason = ...
    local room = self.joined[number]
    if room then room:left(reason) end
  end
  if name == "sync.moved" then self:renumber(...) end
  if name == "sync.goaway" then self:goAway {...} end
  if name:find("^sync%.") then return end -- of a protocol newer than this client
  for _, fn in ipairs {unpack(self.listeners[name] or {})} do guard("on " .. name, fn, ...) end
  for _, fn in ipairs {unpack(self.listeners["*"] or {})} do guard("on *", fn, name, ...) end
end

-- What the server sends.

function Client:received(link, data)
  if self.coming == link then self.held[#self.held + 1] = data end
  if self.link ~= link then return end
  self.silent = false
  local ok, message, isBatch = link._wire.decode(data, link.maxDepth)
  if not ok then
    log.limited("warn", "unreadable", ("%s sent what can't be read: %s"):format(self.url, message))
  end
  local one = {ok = ok, value = message, isBatch = isBatch}
  if self.isGuest then return self:welcome(one) end
  if self.early then self:keepEarly(one, #data) else self:take(one) end
end

-- What comes before the answer to sync.resume is of a session that may not be ours.
function Client:keepEarly(message, bytes)
  local value = message.value
  if message.ok and type(value) == "table" and value.id == "resume" and not value.method then
    local early = self.early
    self.early = nil
    local result = value.result
    if type(result) == "table" and result.resumed == true then
      self:markSent(result.callsLost == true)
      if result.callsLost == true then self:returnToRooms() end
      self:ready(true, result.missed)
    else
      self:beginSession(early)
    end
    return
  end
  self.early[#self.early + 1] = message
  self.earlyBytes = self.earlyBytes + bytes
  if self.earlyBytes > self.settings.maxMessage then self:drop("no answer to sync.resume") end
end

-- One message of the session, in order.
function Client:take(message)
  local value = message.value
  if message.ok and type(value) == "table" and value.method == "sync.session" then
    local session = type(value.params) == "table" and value.params[1]
    self.token = type(session) == "table" and session.token or nil
    self.count = 0
    self:failWhich("lost", GONE) -- the missed messages end here
    return
  end
  if message.ok and type(value) == "table" and value.method == "sync.patch" then
    self:patch(value.params) -- it doesn't count
    return
  end
  local isFleeting = message.ok and type(value) == "table" and value.late == false
  if not isFleeting then self.count = self.count + 1 end -- what is worthless when late doesn't
  if not message.ok then return end
  local link = self.link
  for _, each in ipairs(message.isBatch and value or {value}) do
    local answer = link:take(each)
    if answer and self.link == link then link:send(answer) end
  end
end

return Client
