--- Remoting: a client's call fires a function of the server's class, which fires a local
-- event at clients. `sync.Remote` is this class.
--
--     local Game = sync.Remote:extend("Game")
--
--     function Game.remote:join(name)      -- clients call it; self is the one that calls
--       self.name = name
--       self.clients:fire("onJoin", name)  -- an event at every client
--       return self.clients:count()        -- the caller's result
--     end
--
-- The wire is JSON-RPC 2.0, written down in docs/remoting.md; Flash movies may also call
-- through NetConnection (Flash Remoting).
-- @classmod sync.Remote

local Rpc = require "sync.remoting.jsonrpc"
local Session = require "sync.remoting.session"
local Set = require "sync.set"
local core = require "sync.core"
local FIRE = require("sync.cluster.frame").FIRE
local fault = require "sync.remoting.fault"
local json = require "sync.remoting.json"
local latest = require "sync.remoting.latest"
local log = require "sync.log"
local loop = require "sync.loop"
local task = require "sync.task"
local cjson = require "cjson"
local null = cjson.null

local Remote = Rpc:extend("Remote")

--- Seconds that a client has to answer a call of the server.
Remote.callTimeout = 10
--- Seconds within which a client that has lost its connection may come back and be who it
-- was: the same instance, in the same rooms, with the events it has missed; false: never.
Remote.resumeTime = false
--- At most so many messages, and bytes of them, are kept for each client for that; one that
-- has missed more starts anew.
Remote.resumeMessages = 256
Remote.resumeBytes = 256 * 1024
--- At most so many bytes are kept for all clients of the class in a process, those that are
-- connected included; an event that many are sent counts once. Beyond that the clients for whom
-- the most is kept lose it: one that has then missed something starts anew.
Remote.resumeTotal = 64 * 1024 * 1024
--- Clients of the class that may be away at a time; more are let go.
Remote.maxAway = 10000

--- Fields of a client that go with it when it comes back to another node of a cluster, where
-- it is another instance: names, of values that JSON can say.
Remote.resumeFields = {}

--- Classes of rooms that clients may join: see `sync.Room`.
Remote.rooms = {}

local TOKEN_BYTES = 16
-- A connection that ended so was not ended on purpose, and its client may come back.
local MAY_RETURN = {left = true, reset = true, silent = true, timeout = true, idle = true,
  full = true}

--- Makes a class.
function Remote:extend(name)
  local class = Rpc.extend(self, name)
  class.sessions = {}  -- by token: instances, connected or away
  class.awayCount = 0
  class.sessionGroup = Session.group(name)
  return class
end

-- What sessions of a cluster need; see there.
local function cluster() return require "sync.cluster" end
local function handover() return require "sync.cluster.handover" end
local function journal() return require "sync.cluster.journal" end

-- Events.

-- An event, or a call, as a text. The error is about the caller's arguments.
local function write(wire, verb, id, name, ...)
  if type(name) ~= "string" then
    error(("%s(name, …): the name must be a string, not %s"):format(verb, type(name)), 3)
  end
  local text, problem, argument = wire.request(id, name, ...)
  if not text then
    error(("%s(%q): %s: %s"):format(verb, name,
      argument == 0 and "the name" or "argument " .. argument, problem), 3)
  end
  return text
end

-- Keeps a text for a client that may have to be sent it again.
local function keep(session, text, event)
  if session.moving then handover().note(session, event) end
  session:keep(text, event)
  if session.sid then
    journal().note(session, session.last, event and cluster().eventName() or nil, text)
  end
end

-- Sends a text that counts; that of an event goes to a whole set. One that is away gets it
-- when it's back; one that has come back to another node gets it from there.
function Remote:transmit(text, event)
  local session = self.session
  if session and session.heir then return handover().forward(session.heir, text) end
  if session and (session.away or session.isHeld) then
    keep(session, text, event)
    return true
  end
  local ok, why = self:send(text)
  if session and why ~= "dropped" and why ~= "too long" then keep(session, text, event) end
  return ok, why
end

--- Fires a local event at this client. `fire({latest = "key"}, name, …)` is for one that is
-- worthless when late: a client that reads slowly gets the last of each key (see latest.lua).
-- @tparam string name
-- @param ... arguments, as JSON
-- @treturn boolean,string as `send`
function Remote:fire(name, ...)
  if type(name) == "table" and name.latest ~= nil then
    return latest.send(self, latest.key(name, 2), write(self.wire, "fire", nil, ...))
  end
  return self:transmit(write(self.wire, "fire", nil, name, ...))
end

-- Calls `visit` with those of a set, or of a view of one, who are away.
local function eachAbsent(set, source, visit)
  for client in pairs(source.absent) do
    local view, meant = set, true
    while meant and view ~= source do
      meant = client ~= view.skipped and (not view.test or view.test(client))
      view = view.source
    end
    if meant then visit(client) end
  end
end

-- An event by wire, each made when a client first needs it. What one client said may be more
-- than another's wire can say (NaN in JSON, an empty name in AMF3): false, then, so that the
-- others get it.
local function eventsOf(name, ...)
  local arguments, count = {...}, select("#", ...)
  return setmetatable({}, {__index = function(events, wire)
    local text, problem = wire.request(nil, name, unpack(arguments, 1, count))
    if not text then
      log.limited("error", "event", ("the event %s can't be told to all: %s"):format(name, problem))
    end
    events[wire] = text and Session.event(text) or false
    return events[wire]
  end})
end

-- Sends an event to the clients of this process one by one: they speak several wires, or
-- are sent it again when they resume.
local function transmitEach(self, source, events)
  local sent = 0
  local function transmit(client)
    local event = events[client.wire]
    if not event then return end
    local ok, why = client:transmit(event.text, event)
    if ok or why == "full" then sent = sent + 1 end
  end
  for client in self do transmit(client) end
  local here = sent
  if source.resumable then eachAbsent(self, source, transmit) end
  return here
end

-- The same for an event of which each gets the latest alone.
local function fireLatest(self, key, name, ...)
  local source, isWide = self:origin()
  local text = write(json, "fire", nil, name, ...)
  if source.outlet and isWide then Set.publish(source, FIRE, text) end
  local events, sent = eventsOf(name, ...), 0
  events[json] = Session.event(text)
  local function send(client)
    local event = events[client.wire]
    if event and latest.send(client, key, event.text, event) then sent = sent + 1 end
  end
  for client in self do send(client) end
  if source.resumable then eachAbsent(self, source, send) end
  return sent
end

--- Fires a local event at every client of a set: of `clients`, of a room, or of a view, on
-- all nodes. It is encoded once. `fire({latest = "key"}, name, …)` is as for one client.
-- @function sync.Set:fire
-- @tparam string name
-- @param ... arguments, as JSON
-- @treturn number how many clients of this process it was queued for
function Set:fire(name, ...)
  if type(name) == "table" and name.latest ~= nil then
    return fireLatest(self, latest.key(name, 2), ...)
  end
  local source, isWide = self:origin()
  local events, text
  if source.mixed and type(name) == "string" then
    events = eventsOf(name, ...)
    text = events[json] and events[json].text
  else
    text = write(json, "fire", nil, name, ...)
  end
  if text and source.outlet and isWide then Set.publish(source, FIRE, text) end
  if not source.resumable and not source.mixed then return self:sendHere(text) end
  if not events then
    events = eventsOf(name, ...)
    events[json] = Session.event(text)
  end
  return transmitEach(self, source, events)
end
Set.View.fire = Set.fire

-- The name and the arguments of an event in JSON.
local function readEvent(text)
  local event = cjson.decode(text)
  local params = event.params or {}
  for i = 1, #params do
    if params[i] == null then params[i] = nil end
  end
  return event.method, unpack(params, 1, table.maxn(params))
end

-- Fires an event of another node at this process's clients.
function Set:deliverEvent(text)
  if not self.resumable and not self.mixed then return self:deliver(text, 0) end
  local events = eventsOf(readEvent(text))
  events[json] = Session.event(text)
  transmitEach(self, self, events)
end

-- The same for one client.
function Remote:deliverEvent(text)
  if self.wire == json then return self:transmit(text) end
  local event = eventsOf(readEvent(text))[self.wire]
  if event then self:transmit(event.text) end
end

-- Flash Remoting.
Remote.methodsTaken = {POST = true}
function Remote:takesRequest(request)
  local kind = (request.headers["content-type"] or ""):lower():match("^[^;%s]*")
  if request.method == "POST" and kind == "application/x-amf" then
    return require "sync.flash.gateway".serve
  end
end

-- Calls to the client.

local function forget(self, id)
  local call = self.calls[id]
  self.calls[id] = nil
  self.callCount = self.callCount - 1
  loop.stopTimer(call.timer)
  return call.done
end

-- Below the first id of a call. In a cluster it's left to chance: a client that has come from
-- another node may still answer what that one has asked.
local function firstId(self)
  if not self.session or not self.clients.outlet then return 0 end
  return math.floor(tonumber(core.randomHex(4), 16) / 4) -- up to 2^30
end

--- Calls a function of the client.
-- @tparam string name
-- @param ... arguments, and last a function that is called with the result, or with nil and a
-- fault: the client's own, or one with the code -32000 when it does not answer in time, has
-- gone, or too many calls wait. Inside `sync.spawn` it may be left out: then the call waits, and
-- returns that
function Remote:call(name, ...)
  local count = select("#", ...)
  local done = select(math.max(count, 1), ...)
  local arguments = {...}
  if type(done) ~= "function" then
    if not task.isInside() then
      error("call(name, …, fn): the last argument must be a function, outside sync.spawn", 2)
    end
    return task.await(function(resume)
      arguments[count + 1] = resume
      self:call(name, unpack(arguments, 1, count + 1))
    end)
  end
  arguments[count] = nil
  local calls = self.calls
  if not calls then
    calls = {}
    self.calls, self.callCount, self.lastCall = calls, 0, firstId(self)
  end
  local id = self.lastCall + 1
  local text = write(self.wire, "call", id, name, unpack(arguments, 1, count - 1))
  if self.session and self.session.heir then
    done(nil, fault.new(fault.BUSY, "the client has gone"))
    return
  end
  if self.callCount >= self.maxCalls then
    done(nil, fault.new(fault.BUSY, "too many calls wait for this client"))
    return
  end
  self.lastCall = id
  self.callCount = self.callCount + 1
  calls[id] = {done = done, timer = loop.startTimer(self.callTimeout, 0, function()
    forget(self, id)(nil, fault.new(fault.BUSY, "the client did not answer in time"))
  end)}
  local ok, why = self:transmit(text)
  if not ok and why ~= "full" then
    forget(self, id)(nil, fault.new(fault.BUSY, "the client can't be called: " .. why))
  end
end

function Remote:answered(id, result, err)
  if not self.calls or not self.calls[id] then return end -- too late, or never asked
  local done = forget(self, id)
  if err ~= nil and err ~= null then
    if type(err) ~= "table" then err = {message = err} end
    local code = type(err.code) == "number" and err.code % 1 == 0 and err.code or fault.INTERNAL
    done(nil, fault.new(code, tostring(err.message), err.data))
  else
    if result == null then result = nil end
    done(result)
  end
end

-- Logs the error of a handler that must not keep what follows from being done. Returns
-- whether there was none.
local function try(what, self, fn, ...)
  local ok, err = xpcall(fn, debug.traceback, ...)
  if not ok then
    log.limited("error", what, ("error in %s: %s"):format(what, tostring(err)), {client = self.id})
  end
  return ok
end

-- A function that is told may call again, in vain: so each time it's the first that is left.
local function failCalls(self)
  local id = next(self.calls or {})
  while id do
    try("the answer of a call", self, forget(self, id), nil,
      fault.new(fault.BUSY, "the client has gone"))
    id = next(self.calls)
  end
end

-- Sessions.

local function greet(self, session)
  self:send(self.wire.request(nil, "sync.remoting.session",
    {token = session.token, time = self.resumeTime}))
end

-- The room; one whose members may be away counts what is fired at them.
function Remote:room(name)
  local room = Rpc.room(self, name)
  if self.resumeTime then room:remember() end
  if self.isMixed then room.mixed = true end
  return room
end

function Remote:join(name, value)
  local was = self:isIn(name)
  local ok, why = Rpc.join(self, name, value)
  local session = self.session
  if ok and session and session.sid and (not was or value ~= nil) then
    journal().joined(self, name)
  end
  return ok, why
end

function Remote:leave(name)
  local session = self.session
  if session and session.sid and self:isIn(name) then journal().left(self, name) end
  Rpc.leave(self, name)
end

-- A client of the class has another wire than JSON, or may have: its sets are told.
local function mix(class)
  class.isMixed = true
  class.clients.mixed = true
  for _, room in pairs(class.roomsByName) do room.mixed = true end
end

-- Called before onConnect.
function Remote:begin(listener)
  Rpc.begin(self, listener)
  local class = getmetatable(self)
  if (self.mirrors or self.wire ~= json) and not rawget(class, "isMixed") then mix(class) end
  if not self.resumeTime then return end
  local token = core.randomHex(TOKEN_BYTES)
  if self.clients.outlet then token = handover().prefix() .. token end
  local group = class.sessionGroup
  group.most = self.resumeTotal
  local session = Session.new(group, token, self.resumeMessages,
    math.min(self.resumeBytes, listener.settings.maxQueue / 2)) -- it's sent at once
  self.session = session
  self.sessions[token] = self
  if self.clients.outlet and self.wire == json then journal().begin(self) end
  self.clients:remember()
  greet(self, session)
end

-- Called after onClose.
function Remote:finish()
  local session = self.session
  if session then
    self.sessions[session.token] = nil
    if session.moving then handover().stop(session) end
    if session.sid then journal().finish(session) end
    session:finish()
  end
  failCalls(self)
  if self.membership then self.membership:finish() end
end

-- Takes the client out of its sets. They remember it, if `absent`.
local function leaveSets(self, absent)
  if absent and self.membership then self.membership:suspend() end
  self.clients:remove(self)
  if absent then self.clients:remember(self) end
  for _, room in pairs(self.joined and self.joined.rooms or {}) do
    room:remove(self)
    if absent then room:remember(self) end
  end
end

local function enterSets(self)
  if self.membership then self.membership:resume() end
  self.clients:forget(self)
  self.clients:add(self)
  for _, room in pairs(self.joined and self.joined.rooms or {}) do
    room:forget(self)
    room:add(self)
  end
end

-- The client does not come back, or may not.
local function expire(self, reason)
  local session = self.session
  loop.stopTimer(session.away)
  session.away = false
  loop.away[self] = nil
  getmetatable(self).awayCount = getmetatable(self).awayCount - 1
  self.clients:forget(self)
  local joined = self.joined
  for _, room in pairs(joined and joined.rooms or {}) do room:forget(self) end
  self.joined = nil
  self.closing = reason or session.reason
  loop.closed(self, self.closing, session.code)
end

-- One that is away has no connection to close: its session ends.

function Remote:close(reason, code)
  if self.session and self.session.away then
    expire(self, reason or "closed")
  else
    Rpc.close(self, reason, code)
  end
end

function Remote:abort()
  if self.session and self.session.away then
    expire(self, "aborted")
  else
    Rpc.abort(self)
  end
end

--- Called when a client of a class with `resumeTime` has lost its connection.
function Remote:onAway() end

--- Called when it is back, and before it gets what it has missed.
function Remote:onResume() end

-- The connection has ended. Returns whether the client is kept for a while, though onAway may
-- have ended that. While a session is on its way here from another node, the way back is there.
function Remote:suspend(reason, code)
  local session, class = self.session, getmetatable(self)
  if not session or session.moving or not MAY_RETURN[reason] or code == 1000 or
    loop.isStopping() or class.awayCount >= self.maxAway then
    return false
  end
  session.away = loop.startTimer(self.resumeTime, 0, function() expire(self) end)
  leaveSets(self, true)
  self.slot = 0
  session.reason, session.code = reason, code
  class.awayCount = class.awayCount + 1
  loop.away[self] = true
  try("onAway", self, self.onAway, self)
  return true
end

-- Gives the connection of one instance to another, which was away.
local function takeOver(self, newcomer)
  local slot = newcomer.slot
  leaveSets(newcomer)
  newcomer.joined = nil
  newcomer.slot = 0
  newcomer.closing = "resumed"
  self.slot, self.closing = slot, false
  self.address, self.port, self.transport = newcomer.address, newcomer.port, newcomer.transport
  loop.clients[slot] = self
  local session = self.session
  loop.stopTimer(session.away)
  session.away = false
  if session.moving then handover().stop(session) end
  loop.away[self] = nil
  getmetatable(self).awayCount = getmetatable(self).awayCount - 1
  enterSets(self)
end

-- Does not count, so it goes past `transmit`.
local function answerResume(self, id, result)
  if id ~= nil then self:send(self.wire.result(id, result)) end
end

-- Makes sure that an instance has no connection: one that is broken, unnoticed, is given up.
-- Returns whether the session lasts, which onAway may have ended.
local function release(self)
  if not self.session.away then
    loop.detach(self)
    if not self:suspend("reset") then
      leaveSets(self)
      self.slot, self.joined, self.closing = 0, nil, "reset"
      loop.closed(self, "reset")
    end
  end
  return self.session.away ~= false
end

--- What lua/sync/cluster/handover.lua needs to move sessions between nodes.
Remote.sessionTools = {expire = expire, release = release}

-- Calls onResume, unless a function that was called on the way has closed the client.
local function resumed(self)
  if self.closing then return end
  if not try("onResume", self, self.onResume, self) then self:close("error") end
end

-- The session may be another node's. Returns whether that is asked.
local function resumeElsewhere(newcomer, token, received, id)
  if not newcomer.clients.outlet then return false end
  return handover().take(newcomer, token, received, function(missed, isRebuilt)
    if not missed then return answerResume(newcomer, id, {resumed = false}) end
    answerResume(newcomer, id,
      {resumed = true, missed = #missed, callsLost = isRebuilt or nil})
    for _, text in ipairs(missed) do newcomer:send(text) end
    greet(newcomer, newcomer.session)
    resumed(newcomer)
  end)
end

-- Whether an instance has no connection, and is what a client with so many messages was.
-- One that can't be ends.
local function fits(self, newcomer, received)
  if not release(self) then return false end
  local session = self.session
  if newcomer.wire == self.wire and received <= session.last and received + 1 >= session.first then
    return true
  end
  expire(self)
  return false
end

-- Answers by itself. What `fits` and `loop.closed` call may close either side, and send.
local function resume(newcomer, token, received, id)
  local self = newcomer.sessions[token]
  if not self and resumeElsewhere(newcomer, token, received, id) then return end
  if not self or self == newcomer or self.closing or newcomer.session.moving or
    not fits(self, newcomer, received) then
    return answerResume(newcomer, id, {resumed = false})
  end
  if newcomer.closing then return end -- its place is no longer to be had
  takeOver(self, newcomer)
  local session = self.session
  answerResume(self, id, {resumed = true, missed = session.last - received})
  for number = received + 1, session.last do self:send(session:text(number)) end
  loop.closed(newcomer, "resumed")
  resumed(self)
end

Remote.own = setmetatable({
  ["sync.resume"] = function(self, params, id)
    if not self.session then return true, {resumed = false} end
    local token, received
    if type(params) == "table" then token, received = params[1], params[2] end
    if type(token) ~= "string" or type(received) ~= "number" or received % 1 ~= 0 then
      return answerResume(self, id, {resumed = false})
    end
    return resume(self, token, received, id)
  end,
}, {__index = Rpc.own})

--- Adds functions of the protocol itself, which clients of all classes may call. What they keep
-- for a client is its `membership`: it is told, by `suspend`, `resume` and `finish`, when the
-- client is away, back, and gone.
-- @tparam table functions by name, as `own` has them
function Remote.serve(functions)
  for name, fn in pairs(functions) do Remote.own[name] = fn end
end

return Remote
