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

local Calls = require "sync.remoting.calls"
local Class = require "sync.class"
local Rpc = require "sync.remoting.jsonrpc"
local Session = require "sync.remoting.session"
local arrival = require "sync.remoting.arrival"
local core = require "sync.core"
local events = require "sync.remoting.events"
local fault = require "sync.remoting.fault"
local json = require "sync.remoting.json"
local latest = require "sync.remoting.latest"
local options = require "sync.options"
local resume = require "sync.remoting.resume"
local task = require "sync.task"

local Remote = Rpc:extend("Remote")

local setting, settings = options.setting, {}

-- A list of classes.
local classes = {check = function(value)
  local wanted = "a list of classes"
  if type(value) ~= "table" then return false, wanted end
  for _, class in pairs(value) do
    if not Class.isClass(class) then return false, wanted end
  end
  return next(value) == nil or #value > 0, wanted
end}

--- Seconds within which a client that has lost its connection may come back and be who it
-- was: the same instance, in the same rooms, with the events it has missed; false: never.
settings.resumeTime = setting {false, options.orFalse(options.seconds), onClass = true}
--- At most so many bytes of messages are kept for each client for that, and half of `maxQueue`;
-- one that has missed more starts anew. The log says so when that is less than what a client is
-- sent in `resumeTime`.
settings.resumeBytes = setting {256 * 1024, options.bytes(0), onClass = true}
--- The same in messages; false: any number.
settings.resumeMessages = setting {false, options.orFalse(options.wholeNumber(0, 10 ^ 6)),
  onClass = true}
--- At most so many bytes are kept for all clients of the class in a process, those that are
-- connected included; an event that many are sent counts once. Beyond that the clients for whom
-- the most is kept lose it: one that has then missed something starts anew.
settings.resumeTotal = setting {64 * 1024 * 1024, options.bytes(0), onClass = true}
--- Clients of the class that may be away at a time; more are let go.
settings.maxAway = setting {10000, options.wholeNumber(0, 10 ^ 7), onClass = true}
--- Headers of Flash Remoting that a class looks at, in `self.request.amfHeaders`: names. A call
-- that demands another to be understood is refused.
settings.understands = setting {{}, options.listOf("a list of names"), onClass = true}

--- Classes of rooms that clients may join: see `sync.Room`. Their settings are checked here.
settings.rooms = setting {{}, classes, onClass = true, conflict = function(values)
  for _, class in ipairs(values.rooms) do
    local checked, problem = options.check(class)
    if not checked then return problem end
  end
end}

options.declare(Remote, settings)

-- What its `clients` and its rooms are.
Remote.Set = events.Set

-- Keeps sessions where other processes find them: see lua/sync/remoting/resume.lua. false: there
-- are none.
Remote.sessionStore = false

Remote.keptByReload = {"sessions", "awayCount", "sessionGroup", "sessionStore"}

--- Makes a class.
function Remote:extend(name)
  local class = Rpc.extend(self, name)
  class.sessions = rawget(class, "sessions") or {}  -- by token: instances, connected or away
  class.awayCount = rawget(class, "awayCount") or 0
  class.sessionGroup = rawget(class, "sessionGroup") or Session.group(name)
  return class
end

-- Gives the class a session store.
function Remote:keepSessions(store)
  self.sessionStore = store
  if self.resumeTime then self.clients:remember() end
end

-- Events.

-- Sends a text that counts, as an answer or an event does.
function Remote:transmit(text, event)
  if self._session then return resume.transmit(self, text, event) end
  return self:transmitNow(text)
end

--- Fires a local event at this client. Two kinds are worthless when late (see latest.lua): of
-- `fire({latest = "key"}, name, …)` a client that reads slowly gets the last of each key, and
-- `fire({late = false}, name, …)` it doesn't get. The latter is also nothing that a client which
-- resumes is sent again.
-- @tparam string name
-- @param ... arguments, as JSON
-- @treturn boolean,string as `send`
function Remote:fire(name, ...)
  Class.needColon(self, "fire(name, …)")
  if type(name) ~= "table" then
    return self:transmit(events.write(self._wire, "fire", nil, name, ...))
  end
  local key = latest.options(name, 2)
  local text = events.write(self._wire, "fire", nil, ...)
  if key then return latest.send(self, key, text) end
  return latest.now(self, {text = text})
end

-- An event of another node for this client: see `EventSet:deliverEvent`.
function Remote:deliverEvent(text, how, list)
  events.deliver(self, text, how, list)
end

--- Called when a Flex RemoteObject logs in (`ChannelSet.login`). What it returns is
-- `self.request.login` in the calls that follow; nothing, or false, refuses.
-- @tparam string name
-- @tparam string password
function Remote:onLogin(name, password) end -- luacheck: ignore name password

-- Flash Remoting.
function Remote:methodsOf(path) return {POST = true}, path == self.rpcPath end
function Remote:takesRequest(request)
  local take = Rpc.takesRequest(self, request)
  if take then return take end
  local kind = (request.headers["content-type"] or ""):lower():match("^[^;%s]*")
  if request.method == "POST" and kind == "application/x-amf" then
    return require "sync.remoting.gateway".serve
  end
end

-- Calls to the client.

--- Calls a function of the client.
-- @tparam string name
-- @param ... arguments, and last a function that is called with the result, or with nil and a
-- fault: the client's own, or one with the code -32000 when it does not answer in time, has
-- gone, or too many calls wait. Inside `sync.spawn` it may be left out: then the call waits, and
-- returns that
function Remote:call(name, ...)
  Class.needColon(self, "call(name, …, fn)")
  local count = select("#", ...)
  local done = select(math.max(count, 1), ...)
  local arguments = {...}
  if type(done) ~= "function" then
    if not task.isInside() then
      error("call(name, …, fn): the last argument must be a function, outside sync.spawn", 2)
    end
    return task.await(function(go)
      arguments[count + 1] = go
      self:call(name, unpack(arguments, 1, count + 1))
    end)
  end
  arguments[count] = nil
  local session = self._session
  local calls = self._calls or Calls.new(session and session.store)
  self._calls = calls
  local text = events.write(self._wire, "call", calls:next(), name,
    unpack(arguments, 1, count - 1))
  local problem = session and session.successor and "the client has gone" or
    calls.count >= self.maxCalls and "too many calls wait for this client"
  if problem then
    done(nil, fault.new(fault.BUSY, problem))
    return
  end
  local id = calls:add(self.callTimeout, done)
  local ok, why = self:transmit(text)
  if not ok and why ~= "full" then
    calls:forget(id)(nil, fault.new(fault.BUSY, "the client can't be called: " .. why))
  end
end

function Remote:answered(id, result, err)
  if self._calls then self._calls:answered(id, result, err) end
end

-- Rooms, and sessions.

-- The room; one whose members may be away counts what is fired at them.
function Remote:room(name)
  Class.needColon(self, "room(name)")
  local room = Rpc.room(self, name)
  if self.resumeTime then room:remember() end
  local all = self.clients
  room.kind, room.mixed, room.isOpen = all.kind, all.mixed, all.isOpen
  return room
end

function Remote:join(name, value, done)
  Class.needColon(self, "join(name)")
  local was = self:isIn(name)
  local ok, why = Rpc.join(self, name, value, done)
  local session = self._session
  if ok and self.clients.channel then arrival.expect(self, name) end
  if ok and session and session.store and (not was or value ~= nil) then
    session.store:joined(self, name)
  end
  return ok, why
end

function Remote:leave(name)
  Class.needColon(self, "leave(name)")
  local session = self._session
  if session and session.store and self:isIn(name) then session.store:left(self, name) end
  Rpc.leave(self, name)
end

-- Tells the sets of a class something of its clients.
local function tellSets(class, name)
  class.clients[name] = true
  for _, room in pairs(class.roomsByName) do room[name] = true end
end

-- A client of the class may have another wire than JSON.
function Remote:takesOther()
  tellSets(self, "isOpen")
end

-- Called before onConnect, or when the client was taken over from another process.
function Remote:begin(listener, told)
  Rpc.begin(self, listener)
  if self.onBinary then self.clients.kind = core.kinds.text end
  local class = getmetatable(self)
  if (self._mirrors or self._wire ~= json) and not self.clients.mixed then
    tellSets(class, "isOpen")
    tellSets(class, "mixed")
  end
  if told and told.lastCall then
    self._calls = Calls.new()
    self._calls.last = told.lastCall
  end
  if self.resumeTime then resume.begin(self, listener, told) end
end

function Remote:loseAnswers()
  if self._calls then self._calls:failAll(self) end
end

-- Called after onClose.
function Remote:finish()
  if self._session then resume.finish(self) end
  if self._calls then self._calls:failAll(self) end
  if self._membership then self._membership:finish() end
end

-- One that is away has no connection to close: its session ends.
function Remote:close(reason, code)
  Class.needColon(self, "close(reason)")
  if self._session and self._session.away then
    resume.expire(self, reason or "closed")
  else
    Rpc.close(self, reason, code)
  end
end

function Remote:abort()
  if self._session and self._session.away then
    resume.expire(self, "aborted")
  else
    Rpc.abort(self)
  end
end

--- Called when the server drains: the client is told to connect anew, and to leave when it has.
-- @tparam number delay seconds until then
function Remote:onGoAway(delay)
  self:fire({late = false}, "sync.goaway", {delay = math.floor(delay * 1000)})
end

--- Called when a client of a class with `resumeTime` has lost its connection.
function Remote:onAway() end

--- Called when it is back, and before it gets what it has missed.
function Remote:onResume() end

-- The connection has ended. Returns whether the client is kept for a while.
Remote.suspend = resume.suspend

Remote.own = setmetatable({["sync.resume"] = resume.asked}, {__index = Rpc.own})

--- Adds functions of the protocol itself, which clients of all classes may call. What they keep
-- for a client is its `membership`: it is told, by `suspend`, `resume`, `part` and `finish`,
-- when the client is away, back, about to lose its connection for good, and gone.
-- @tparam table functions by name, as `own` has them
function Remote.serve(functions)
  for name, fn in pairs(functions) do Remote.own[name] = fn end
end

-- What a client takes along to another node beside its session: see `carryPlaces`.
local function nothing() end
local carried = {pack = nothing, adopt = nothing}

--- Lets something of a client go with its session to another node: `pack(client)` returns a table
-- for frames, and lets go of the client; `adopt(client, table)` is called on the other node.
function Remote.carryPlaces(pack, adopt)
  carried.pack, carried.adopt = pack, adopt
end

function Remote:packPlaces() return carried.pack(self) end
function Remote:adoptPlaces(places) return carried.adopt(self, places) end

return Remote
