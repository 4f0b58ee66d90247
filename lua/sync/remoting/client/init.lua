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
local Greeting = require "sync.remoting.client.greeting"
local Link = require "sync.remoting.client.link"
local Listeners = require "sync.remoting.listeners"
local Move = require "sync.remoting.client.move"
local Requests = require "sync.remoting.client.requests"
local Rooms = require "sync.remoting.client.rooms"
local core = require "sync.core"
local log = require "sync.log"
local loop = require "sync.loop"
local settings = require "sync.remoting.client.settings"
local task = require "sync.task"
local try = require "sync.remoting.try"

local now = core.C.sync_now

local GONE = "the server that it was sent to has gone: the call may have been done, or not"

local Client = Class:extend("Client")

-- Life.

-- Returns a connector for a URL, or nil and what is wrong.
local function connectorFor(host, isSecure, given, chosen)
  local connector, problem = Connector.new(Link, {framing = chosen.framing,
    encoding = chosen.encoding, maxMessage = chosen.maxMessage, maxQueue = chosen.maxQueue})
  if not connector or not isSecure then return connector, problem end
  local trusts, why = connector:trust(host, given)
  if trusts then return connector end
  connector:close()
  return nil, why
end

--- Connects: see `sync.connect`.
-- @tparam string url
-- @tparam[opt] table given options, see sync.remoting.client.settings
-- @treturn sync.Client
function Client.connect(url, given)
  local chosen = settings.complete(given)
  local host, port, isSecure = Connector.parse(url)
  if not host then error("sync.connect: " .. port, 2) end
  for _, name in ipairs {"ca", "certificate", "key"} do
    if rawget(chosen, name) and not isSecure then
      error(("sync.connect: %s is for tls://"):format(name), 2)
    end
  end
  local connector, problem = connectorFor(host, isSecure, given or {}, chosen)
  if not connector then error("sync.connect: " .. problem, 2) end
  local self = Client:new {
    --- "connecting", "open", "waiting" (to connect again) or "closed" (for good).
    state = "connecting",
    --- Whether the connection goes on with the session of the one before.
    resumed = false,
    url = url, host = host, port = port, settings = chosen, connector = connector,
    attempt = 0,                             -- in a row, that failed
    sessions = 0,                            -- begun
    count = 0,                               -- messages of the session
    listeners = {},                          -- by the event's name
    stateListeners = Listeners.new "onState", sessionListeners = Listeners.new "onSession",
    handlers = {},
  }
  self.requests = Requests.new(chosen, self)
  self.joined = Rooms.new(self)
  self.move = Move.new(self)
  connector.owner = self
  self:open()
  return self
end

function Client:become(state, detail)
  self.state = state
  self.stateListeners:tell(state, detail or {})
end

function Client:open()
  self.link = nil
  self.connector:connect(self.host, self.port, self.settings.connectTimeout, function(message)
    self:away(message)
  end)
  self:become("connecting", {attempt = self.attempt})
end

function Client:connected(link)
  if not self.move:arrived(link) then self:begin(link) end
end

-- Has a connection, on which a session goes on or begins.
function Client:begin(link)
  self.link = link
  self.silent = false
  Greeting.begin(self, link)
end

-- The same, while there is another.
function Client:goOver(link)
  self:stopTimers()
  self.openedAt = nil
  self:begin(link)
end

-- The server doesn't take the token.
function Client:refused(why)
  local link = self.link
  self.link = nil
  link:abort()
  if type(self.settings.token) ~= "function" or self.asksAgain then return self:finish(why) end
  self.asksAgain = true -- once, until a connection holds
  self:away(why)
end

-- The session goes on.
function Client:resume(told)
  local areLost = told.callsLost == true
  self.requests:markSent(areLost)
  if areLost then self.joined:comeBack() end
  self:ready(true, told.missed)
end

-- A session begins, of which these messages have already come.
function Client:beginSession(early)
  local link = self.link
  self.sessions = self.sessions + 1
  self.token, self.count = nil, 0
  self.requests:begin("the connection was lost, and the session is over")
  self.joined:lose("the session is over")
  self:ready(false, 0)
  for _, message in ipairs(early) do
    if self.link == link then self:take(message) end
  end
end

function Client:stopTimers()
  if self.greeting then self.greeting:stop() end
  if self.heartbeatTimer then loop.stopTimer(self.heartbeatTimer) end
  self.greeting, self.heartbeatTimer = nil, nil
end

function Client:ready(resumed, missed)
  self:stopTimers()
  self.move:leaveFormer()
  local heartbeat = self.settings.heartbeat
  if heartbeat and heartbeat > 0 then
    self.heartbeatTimer = loop.startTimer(heartbeat, heartbeat, function()
      if self.silent then self:probe() end
      self.silent = true
    end)
  end
  self.openedAt = now()
  self.resumed = resumed
  self.state = "open"
  self.joined:resumed()
  if not resumed then self.sessionListeners:tell() end
  self.requests:flush()
  if self.state == "open" then self:become("open", {resumed = resumed, missed = missed}) end
end

-- Asks the server for life, now or not at all.
function Client:ping(seconds, done)
  self.requests:call("sync.ping", {n = 0}, done, {timeout = seconds, offline = "refuse"})
end

-- A connection can be dead for long before anybody says so.
function Client:probe()
  local link, seconds = self.link, self.settings.connectTimeout
  self:ping(seconds, function(_, err)
    if err and err.code == "timeout" and self.link == link and self.silent then
      self:drop(("silent for %g s"):format(seconds))
    end
  end)
end

-- Gives a connection up without waiting for the other side.
function Client:drop(reason)
  local link = self.link
  self:lost(link, reason)
  link:abort()
end

function Client:lost(link, reason)
  if self.move:lost(link) then
    self.state = "open"
    self.requests:flush()
    self:become("open", {resumed = true, missed = 0})
  end
  if self.link ~= link then return end
  self.link = nil
  self:away(reason)
end

-- There is no connection, or none any more.
function Client:away(reason)
  self:stopTimers()
  self.move:stop()
  local chosen = self.settings
  if self.openedAt and now() - self.openedAt >= settings.longestWait(chosen, self.attempt) then
    self.attempt, self.asksAgain = 0, false
  end
  self.openedAt = nil
  local over = not chosen.reconnect or self.attempt >= chosen.attempts or loop.isStopping()
  if over or not self.token then self.requests:failSent("the connection was lost: " .. reason) end
  if over then return self:finish(reason) end
  local delay = settings.wait(chosen, self.attempt)
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
  self.move:stop()
  if self.retryTimer then loop.stopTimer(self.retryTimer) end
  self.connector:close()
  self.state = "closed"
  local message = "the client is closed: " .. reason
  self.requests:close(message)
  self.joined:lose(message)
  self:become("closed", {reason = reason})
end

-- Calling.

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
      self.requests:call(name, arguments, resume)
    end)
  end
  arguments[count] = nil
  self.requests:call(name, arguments, done)
end

--- Calls a function of the server without an answer.
-- @tparam string name
-- @param ... arguments
-- @treturn boolean,string true when it was sent or queued, or false and why not
function Client:notify(name, ...)
  local code = self.requests:notify(name, {n = select("#", ...), ...})
  if code then return false, code end
  return true
end

-- Rooms.

-- Has a question asked whose answer `done` is told, or waits for that. The error is for the
-- user's line: those between are gone by tail calls.
local function await(call, done, ask)
  if done then return ask(done) end
  if not task.isInside() then error(call .. ": fn must be a function, outside sync.spawn", 2) end
  return task.await(ask)
end

-- Comes into a room; `call` is what the user has called.
local function come(self, call, method, params, given, done)
  if type(given) == "function" and done == nil then given, done = nil, given end
  params.options = given
  return await(call, done, function(answered)
    self.joined:come(method, params, answered)
  end)
end

--- Joins a room that has a place, as its class's `filterBy` and `sortBy` say, or makes one.
-- @tparam string name its class's
-- @param[opt] given for the room's `onCreate` and `onJoin`
-- @tparam[opt] function done called with the `sync.JoinedRoom`, or with nil and an error. Its
-- state is there with its first patch (`room:onPatch`). Inside `sync.spawn` it may be left
-- out: then the call waits, and returns that
function Client:join(name, given, done)
  return come(self, "join(name, options, fn)", "sync.join", {room = name}, given, done)
end

--- The same, of a new room.
function Client:create(name, given, done)
  return come(self, "create(name, options, fn)", "sync.create", {room = name}, given, done)
end

--- The same, of the room of an id, or by a seat that the server has reserved.
function Client:joinById(id, given, done)
  return come(self, "joinById(id, options, fn)", "sync.joinById", {id = id}, given, done)
end

--- The same, of a private room.
function Client:joinByCode(code, given, done)
  return come(self, "joinByCode(code, options, fn)", "sync.joinByCode", {code = code}, given, done)
end

--- Lists rooms that may be joined.
-- @tparam string name their class's
-- @tparam[opt] table filter what their metadata are to have
-- @tparam[opt] function done called with a list of `{id, members, maxMembers, metadata}`, or with
-- nil and an error. Inside `sync.spawn` it may be left out
function Client:rooms(name, filter, done)
  if type(filter) == "function" and done == nil then filter, done = nil, filter end
  return await("rooms(name, filter, fn)", done, function(answered)
    self.requests:askNamed("sync.rooms", {room = name, filter = filter}, answered)
  end)
end

-- Events, and calls of the server.

--- Calls a function with the arguments of each event of this name; with "*", with the name
-- and the arguments of every event.
-- @treturn function that ends it
function Client:on(name, fn)
  self.listeners[name] = self.listeners[name] or Listeners.new("on " .. name)
  return (self.listeners[name]:add(fn))
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
  return (self.stateListeners:add(fn))
end

--- Calls a function when a session begins, and now if one is on: the place to log in. What
-- it calls goes before what waits.
-- @treturn function that ends it
function Client:onSession(fn)
  local stop = self.sessionListeners:add(fn)
  if self.state == "open" then try("onSession", nil, fn) end
  return stop
end

-- What the server tells the client itself.
local OURS = {
  ["sync.left"] = function(self, number, reason) self.joined:left(number, reason) end,
  ["sync.moved"] = function(self, old, number) self.joined:renumber(old, number) end,
  ["sync.goaway"] = function(self, said) self.move:asked(said) end,
}

function Client:emit(name, ...)
  local take = OURS[name]
  if take then return take(self, ...) end
  if name:find("^sync%.") then return end -- of a protocol newer than this client
  local named, all = self.listeners[name], self.listeners["*"]
  if named then named:tell(...) end
  if all then all:tell(name, ...) end
end

-- What the server sends.

function Client:received(link, data)
  if self.move:keeps(link, data) or self.link ~= link then return end
  self.silent = false
  local ok, message, isBatch = link._wire.decode(data, link.maxDepth)
  if not ok then
    log.limited("warn", "unreadable", ("%s sent what can't be read: %s"):format(self.url, message))
  end
  local one = {ok = ok, value = message, isBatch = isBatch}
  if self.greeting then self.greeting:take(one, #data) else self:take(one) end
end

-- One message of the session, in order.
function Client:take(message)
  local value = message.value
  if message.ok and type(value) == "table" and value.method == "sync.session" then
    local session = type(value.params) == "table" and value.params[1]
    self.token = type(session) == "table" and session.token or nil
    self.count = 0
    self.requests:failLost(GONE) -- the missed messages end here
    return
  end
  if message.ok and type(value) == "table" and value.method == "sync.patch" then
    self.joined:patch(value.params) -- it doesn't count
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
