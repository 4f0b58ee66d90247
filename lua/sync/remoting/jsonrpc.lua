--- JSON-RPC 2.0: clients call the functions of a class.
--
--     local Rpc = require "sync.remoting.jsonrpc":extend("Rpc")
--     function Rpc.remote:add(a, b) return a + b end
--     sync.enable("localhost", 8080, Rpc)
--
-- Only what is in `remote` can be called; `self` is the client that calls. A function may
-- raise `sync.fault(code, message, data)`; any other error is logged, and the client gets
-- -32603 without its text. `sync.Remote` adds events, calls to clients, and resuming.
--
-- A null argument is nil; deeper nulls are `sync.null`. Messages are JSON texts, or AMF3
-- values on a listener with `encoding = "amf3"`.
-- @classmod sync.remoting.jsonrpc

local Batch = require "sync.remoting.batch"
local Method = require "sync.remoting.method"
local Protocol = require "sync.protocol"
local arrival = require "sync.remoting.arrival"
local auth = require "sync.auth"
local core = require "sync.core"
local declared = require "sync.declared"
local failure = require "sync.failure"
local fault = require "sync.remoting.fault"
local json = require "sync.remoting.json"
local limits = require "sync.limits"
local log = require "sync.log"
local loop = require "sync.loop"
local null = require "cjson".null
local options = require "sync.options"
local task = require "sync.task"
local waits = require "sync.waits"

local C, handle = core.C, core.handle
local now = C.sync_now

local Rpc = Protocol:extend("JsonRpc")

Rpc.framing = "null"
Rpc.countsCalls = true

local setting, settings = options.setting, {}

--- How messages are written: "json", or "amf3" for ActionScript 3's Socket, where text
-- frames of a WebSocket still are JSON.
settings.encoding = setting {"json", options.oneOf {"json", "amf3"},
  open = function(listener, value)
    if value ~= "json" then listener.class:takesOther() end
    return true
  end}
--- Nesting of what a client sends, 64 at most; deeper is an error of parsing.
settings.maxDepth = setting {32, options.wholeNumber(1, 10 ^ 6), onClass = true}
--- Calls in one batch.
settings.maxBatch = setting {64, options.wholeNumber(1, 10 ^ 6), onClass = true}
--- Answers that the server owes a client (`later`), and answers of the client that the
-- server waits for (`sync.Remote`): at most so many each.
settings.maxCalls = setting {64, options.wholeNumber(0, 10 ^ 6), onClass = true}
--- Seconds that a batch's answers wait for those that come later, and that a client has to
-- answer a call of the server.
settings.callTimeout = setting {10, options.seconds, onClass = true}

--- The path, as "/rpc", on which calls are taken by HTTP POST; false: none.
settings.rpcPath = setting {false, {check = function(value)
  return value == false or type(value) == "string" and value:find "^/[^%s?#]*$" ~= nil,
    'false, or a path as "/rpc"'
end}, onClass = true}

options.declare(Rpc, settings)

--- Functions that clients may call, by name; or `sync.method`s.
Rpc.remote = {}

-- Calls by HTTP.
function Rpc:methodsOf(path)
  local isOurs = path == self.rpcPath
  return {POST = isOurs or nil}, isOurs
end
function Rpc:takesRequest(request)
  if request.path == self.rpcPath and request.method == "POST" then
    return require "sync.remoting.posted".serve
  end
end

-- Writes and reads the messages of the client: sync.remoting.json, or another like it.
Rpc._wire = json

local EXACT = 2 ^ 53 -- whole numbers up to this one are exact
local MOST_ID = 128  -- bytes of an id, which `later` keeps
local MOST_ARGUMENTS = 250 -- of a call; Lua's stack could not hold many thousands

local function isId(id)
  return type(id) == "string" and #id <= MOST_ID or id == null or
    type(id) == "number" and id % 1 == 0 and math.abs(id) <= EXACT
end

-- Whether a value may be the id of a call.
Rpc.isId = isId

local function refused(self, id, code, message)
  return self._wire.fault(id, fault.new(code, message))
end

local function answerOf(self, id, name, result)
  local text, problem = self._wire.result(id, result)
  if text then return text end
  local what = ("the result of %s.remote:%s"):format(getmetatable(self).className, name)
  log.limited("error", what, ("%s can't be sent: %s"):format(what, problem), {client = self.id})
  return refused(self, id, fault.INTERNAL, "internal error")
end

-- Calling.

-- Takes one call from the client's allowance for a method. Returns whether there was one.
local function allow(self, name, method)
  local allowances = self._allowances
  if not allowances then
    allowances = {}
    self._allowances = allowances
  end
  local time = now()
  local allowance = allowances[name] or {left = method.burst, at = time}
  allowances[name] = allowance
  allowance.left = math.min(method.burst, allowance.left + (time - allowance.at) * method.rate)
  allowance.at = time
  if allowance.left < 1 then return false end
  allowance.left = allowance.left - 1
  return true
end

-- Arguments by position, how many, or nil and a fault.
local function arrange(params, method)
  if params == nil then return {}, 0 end
  local named = #params == 0 and next(params) ~= nil
  local arguments, count = params, #params
  if count > MOST_ARGUMENTS then
    return nil, fault.new(fault.ARGUMENTS, ("a call has at most %d arguments")
      :format(MOST_ARGUMENTS))
  end
  if named and method then
    local problem
    arguments, problem = method:arrange(params)
    if not arguments then return nil, fault.new(fault.ARGUMENTS, problem) end
    count = method.count
  elseif named then
    return {params}, 1
  end
  for i = 1, count do
    if arguments[i] == null then arguments[i] = nil end
  end
  return arguments, count
end

-- A traceback for the log, unless the error is meant for the client.
local function explain(err)
  if fault.is(err) then return err end
  return failure.catch(err)
end

-- Logs what went wrong in a function. Returns what the client is told of it.
local function internal(self, name, message, traceback)
  local where = ("%s.remote:%s"):format(getmetatable(self).className, name)
  log.limited("error", where, ("error in %s: %s"):format(where, message),
    {client = self.id, address = self.address, traceback = traceback})
  return fault.new(fault.INTERNAL, "internal error")
end

-- By how many arguments there are: unpack isn't compiled, and what it calls then isn't.
local CALLS = {
  [0] = function(fn, self) return xpcall(fn, explain, self) end,
  function(fn, self, a) return xpcall(fn, explain, self, a[1]) end,
  function(fn, self, a) return xpcall(fn, explain, self, a[1], a[2]) end,
  function(fn, self, a) return xpcall(fn, explain, self, a[1], a[2], a[3]) end,
  function(fn, self, a) return xpcall(fn, explain, self, a[1], a[2], a[3], a[4]) end,
}
local function callMany(fn, self, a, count)
  return xpcall(fn, explain, self, unpack(a, 1, count))
end

-- Functions that wait. The task of one has the call's name, and what it has given `later`; when it
-- waits, it gets the call's id, and its place in a batch.

local Call = waits.bound {}

-- What comes of a function: true and its result, or false and a fault.
local function cameOf(self, name, ok, result)
  if ok then return true, result end
  if fault.is(result) then return false, result end
  return false, internal(self, name, failure.describe(result.raised, self), result.traceback)
end

-- The message in hand: its kind, the client whose call is under way, what `later` has made for it,
-- and the batch it is of. A function that waits has its own.
local messageKind, caller, deferred, batch

-- Begins one. Returns as Rpc:invoke.
local function begin(self, name, fn, arguments, count)
  local client = caller or self -- a member of a room calls for its client, which is answered
  if (client._owed or 0) >= client.maxCalls then
    return false, fault.new(fault.BUSY, "too many calls wait for their answers")
  elseif waits.isFull(getmetatable(client)) then
    return false, fault.new(fault.BUSY, "too many functions wait here; try again later")
  end
  local begun = waits.start(Call, client, {name = name, target = self,
    kind = messageKind}, CALLS[count] or callMany, fn, self, arguments, count)
  if not begun.isOver then
    client._owed = (client._owed or 0) + 1
    return nil, begun
  end
  deferred = begun.deferred
  return cameOf(self, name, begun.a, begun.b)
end

--- Looks for a function of `remote`, and whether this client may call it so.
-- @tparam table self with `remote`: a client, or who stands for one
-- @tparam string name
-- @tparam table|nil params by position or by name
-- @treturn function|nil or nil and a fault
-- @treturn table arguments, by position
-- @treturn number how many
-- @treturn sync.remoting.method|nil the function's, if it is one
function Rpc.prepare(self, name, params)
  local entry = self.remote[name]
  local method = getmetatable(entry) == Method and entry or nil
  local fn = method and method.fn or entry
  if type(fn) ~= "function" then
    return nil, fault.new(fault.METHOD, ("there is no function %q"):format(name))
  end
  local arguments, count = arrange(params, method)
  if not arguments then return nil, count end
  if method then
    local problem = method:problem(arguments, count)
    if problem then return nil, fault.new(fault.ARGUMENTS, problem) end
    if method.rate and not allow(self, name, method) then
      return nil, fault.new(fault.TOO_OFTEN, ("%s is called too often"):format(name))
    end
  end
  return fn, arguments, count, method
end

--- Calls a function of `remote` for this client.
-- @tparam string name
-- @tparam table|nil params by position or by name
-- @treturn boolean,any true and the result, or false and a fault; nil and its task, when it waits:
-- give that what `Call:done` needs
function Rpc:invoke(name, params)
  local fn, arguments, count, method = Rpc.prepare(self, name, params)
  if not fn then return false, arguments end
  local inner = method and (method.waits and fn or nil) or declared[fn]
  if inner and not task.isInside() then return begin(self, name, inner, arguments, count) end
  local call = CALLS[count] or callMany
  return cameOf(self, name, call(fn, self, arguments, count))
end

-- Sends an answer. One that is longer than the client's queue may be becomes an error.
local function reply(self, id, text)
  if arrival.holds(self, reply, id, text) then return end
  local _, why = self:transmit(text)
  if why ~= "too long" then return end
  self:transmit(refused(self, id, fault.INTERNAL, "the answer is too long"))
end

-- What was given to a function of `later`: true and the result, or false and a fault.
local function outcome(self, call, name)
  local err = call.err
  if err == nil then return true, call.result end
  if fault.is(err) then return false, err end
  return false, internal(self, name, tostring(err))
end

-- Sends an answer, or puts it into its batch.
local function answerLate(self, call, ok, value)
  if call.id == nil then return end -- a notification
  local text = ok and answerOf(self, call.id, call.name, value) or self._wire.fault(call.id, value)
  if call.fill then return call.fill(text) end
  reply(self, call.id, text)
end

-- A function has ended that has waited. Its message's kind is the client's now.
function Call:done(isWhole, ok, result)
  if not self.isCounted then return end -- at once
  local client = self.client
  client._owed = client._owed - 1
  if not isWhole then ok, result = false, ok end -- it was given up
  if not ok and not fault.is(result) and getmetatable(result.raised) == task.Failure then
    local class = getmetatable(self.target)
    log.limited("warn", "waitTimeout", ("%s.remote:%s: %s"):format(class.className, self.name,
      result.raised.message), {client = client.id})
    ok, result = false, fault.new(fault.BUSY, "the function has taken too long, or was cancelled")
  end
  ok, result = cameOf(self.target, self.name, ok, result)
  local call = self.deferred
  if call then
    if not ok then
      Rpc.settle(call) -- is of no matter any more
    elseif call.done then
      ok, result = outcome(client, call, self.name)
    else
      call.id, call.name, call.fill = self.id, self.name, self.fill
      return
    end
  end
  answerLate(client, self, ok, result)
end

--- Gives a call that was deferred what it is answered: the result, or nil and a fault.
-- @tparam table call of `defer`
-- @param result a value, or nil
-- @tparam[opt] table err the fault
function Rpc.settle(call, result, err)
  if call.done then return end
  local self = call.client
  call.done, call.result, call.err = true, result, err
  self._owed = self._owed - 1
  if not call.name then return end -- within the call
  waits.asKind(self, call.kind, answerLate, self, call, outcome(self, call, call.name))
end

--- Lets the answer of the call under way come later: `later` without a function.
-- @treturn table|nil the call, for `settle`; or nil and a fault
function Rpc:defer()
  local own = task.current()
  own = own and getmetatable(own) == Call and own.client == self and own or nil
  if not own and caller ~= self then
    error("later() answers the call under way: it belongs into a function of remote", 3)
  end
  local before
  if own then before = own.deferred else before = deferred end
  if before then return before end
  local owed = (self._owed or 0) + 1
  if owed > self.maxCalls then
    return nil, fault.new(fault.BUSY, "too many calls wait for their answers")
  end
  self._owed = owed
  -- All that it gets later has its place at once: a table that grows costs more.
  local call = {client = self, kind = own and own.kind or messageKind, done = false, id = nil,
    name = nil, result = nil, node = nil, due = nil, lost = nil}
  if own then own.deferred = call else deferred = call end
  return call
end

--- To be called in a function of `remote` whose answer isn't known yet: what it returns is
-- then of no matter. In a batch, the others' answers wait for it, at most `callTimeout` seconds.
-- @treturn function to be called once, with the result, or with nil and a fault; another
-- error is logged, as if it were raised
function Rpc:later()
  local call, problem = self:defer()
  if not call then error(problem, 2) end
  call.answer = call.answer or function(result, err) Rpc.settle(call, result, err) end
  return call.answer
end

-- Calls the function. Returns true and its result, false and a fault, or nothing when the
-- answer comes later.
local function carryOut(self, id, name, params)
  local own = self.own[name]
  caller, deferred = self, nil
  local ok, result
  if own then ok, result = own(self, params, id) else ok, result = self:invoke(name, params, id) end
  local call = deferred
  caller, deferred = nil, nil
  if ok == nil and getmetatable(result) == Call then -- a function that waits
    result.id = id
    if batch and id ~= nil then result.fill = batch:owe(id) end
    return nil
  end
  if not call then return ok, result end
  if not ok then
    Rpc.settle(call) -- is of no matter any more
    return false, result
  end
  if call.done then return outcome(self, call, name) end
  call.id, call.name = id, name
  if batch and id ~= nil then call.fill = batch:owe(id) end
end

-- Carries one request out. Returns the answer's text, or nil when there's none.
local function request(self, message)
  local id, name, params = message.id, message.method, message.params
  if params == null then params = nil end -- what some clients write for none
  local fine = message.jsonrpc == "2.0" and type(name) == "string" and
    (params == nil or type(params) == "table") and (id == nil or isId(id))
  if not fine then
    return refused(self, isId(id) and id or null, fault.REQUEST,
      "this is no request of JSON-RPC 2.0")
  end
  local ok, result = carryOut(self, id, name, params)
  if id == nil or ok == nil then return nil end
  return ok and answerOf(self, id, name, result) or self._wire.fault(id, result)
end

--- Takes one element: a request, or an answer to a call of ours.
-- @treturn string|nil the answer's text
function Rpc:take(message)
  if type(message) ~= "table" then
    return refused(self, null, fault.REQUEST, "this is no request of JSON-RPC 2.0")
  end
  if message.method == nil and (message.result ~= nil or message.error ~= nil) then
    self:answered(message.id, message.result, message.error)
    return nil
  end
  return request(self, message)
end

local function takeBatch(self, messages)
  if #messages == 0 then return refused(self, null, fault.REQUEST, "the batch is empty") end
  if #messages > self.maxBatch then
    return refused(self, null, fault.REQUEST, ("a batch holds at most %d calls")
      :format(self.maxBatch))
  end
  local own = Batch.begin(self, function(text) reply(self, null, text) end)
  for i = 1, #messages do
    own:step()
    batch = own
    own:answer(self:take(messages[i]))
    batch = nil
    if self.closing then return own:drop() end -- nothing more is delivered
  end
  own:ended()
end

--- Called for each binary message of a WebSocket, where a class has it: they are then no calls,
-- which come and leave as text beside them. Not with `encoding = "amf3"`, where binary messages are
-- calls.
-- @tparam string data
Rpc.onBinary = false

--- Handles a message.
function Rpc:onData(data, kind)
  messageKind = kind
  if self._mirrors then
    self:chooseWire()
  elseif kind == "binary" and self.onBinary then
    return self:onBinary(data)
  end
  local ok, message, isBatch = self._wire.decode(data, self.maxDepth)
  local id, answer = null
  if not ok then
    answer = refused(self, null, fault.PARSE, message)
  elseif isBatch then
    answer = takeBatch(self, message)
  else
    answer = self:take(message)
    id = type(message) == "table" and isId(message.id) and message.id or null
  end
  if answer then reply(self, id, answer) end
end

-- A function goes on, or an answer leaves, of a message of this kind.
function Rpc:resumeKind(kind)
  Protocol.resumeKind(self, kind)
  if self._mirrors then self:chooseWire() end
end

-- A WebSocket's text frames are JSON, whatever the encoding of the others.
function Rpc:chooseWire()
  local isText = C.sync_sends_text(handle, self.slot) ~= 0
  self._wire = isText and json or require "sync.flash.wire"
end

-- Called on the class when clients may come that speak another wire than JSON.
function Rpc:takesOther() end

-- Called before onConnect.
function Rpc:begin(listener)
  if listener.settings.encoding ~= "amf3" then return end
  self._mirrors = self.transport == "websocket"
  self:chooseWire()
end

--- Sends a text of JSON-RPC.
function Rpc:transmitNow(text)
  return self:send(text, self.onBinary and not self._mirrors and "text" or nil)
end

--- The same of one that counts.
function Rpc:transmit(text)
  return self:transmitNow(text)
end

-- An answer to a call of the server. `sync.Remote` makes such calls.
function Rpc:answered(id, result, err) end -- luacheck: ignore id result err

-- Tokens. Who has shown none is at the door: its first call must be sync.auth.

local Guest = {} -- waits for the token of a client; has a time limit
Guest.__index = Guest

function Guest:expire()
  if self.client._isAtDoor then self.client:close("unauthorized", auth.UNAUTHORIZED) end
end

local function tokenOf(params)
  if type(params) ~= "table" then return nil end
  return params[1] or params.token
end

local function turnAway(self, id, why, status)
  auth.refused(getmetatable(self), why, self.address, self.slot)
  -- Without an answer, which clients take for a refusal: they try again.
  if status == 503 then return self:close("busy", auth.TRY_AGAIN) end
  reply(self, id, refused(self, id, fault.UNAUTHORIZED, why))
  self:close("unauthorized", status == 403 and auth.FORBIDDEN or auth.UNAUTHORIZED)
end

-- The onData of a client at the door. What comes behind the call waits.
local atDoor = waits.declare(function(self, data)
  if self._mirrors then self:chooseWire() end
  local ok, message = self._wire.decode(data, self.maxDepth)
  local id = ok and type(message) == "table" and isId(message.id) and message.id or null
  if not ok or type(message) ~= "table" or message.method ~= "sync.auth" then
    if ok and type(message) == "table" and message.method == "sync.ping" then
      return reply(self, id, answerOf(self, id, "sync.ping", true))
    end
    return turnAway(self, id, "the first call must be sync.auth, with a token", 401)
  end
  local user, more, status = auth.ask(getmetatable(self), tokenOf(message.params))
  if self.closing then return end
  if not user then return turnAway(self, id, more, status) end
  local guest = self._isAtDoor
  limits.stop(guest)
  auth.give(self, user, more)
  self.onData = nil
  reply(self, id, answerOf(self, id, "sync.auth", true))
  loop.letIn(self, guest.listener)
end)

function Rpc:knock(listener)
  local guest = setmetatable({client = self, listener = listener}, Guest)
  self._isAtDoor = guest
  Rpc.begin(self, listener)
  self.onData = atDoor
  limits.start(guest, listener.settings.handshakeTimeout or 10)
end

-- A client shows another token of the same user, before the first one ends.
local function renew(self, token)
  local class = getmetatable(self)
  local user, more, status = auth.ask(class, token)
  if not user then
    error(fault.new(status == 503 and fault.BUSY or fault.UNAUTHORIZED, more), 0)
  end
  if not auth.isSame(user, self.user) then
    error(fault.new(fault.UNAUTHORIZED, "the token is another user's"), 0)
  end
  auth.give(self, user, more)
  return true
end

local function askAgain(self, params)
  if not self.auth then
    return false, fault.new(fault.METHOD, 'there is no function "sync.auth"')
  end
  return begin(self, "sync.auth", renew, {tokenOf(params)}, 1)
end

-- The protocol's own functions: of the client, the params and the id. They return true and a
-- result, false and a fault, or nothing when they have answered.
Rpc.own = {
  ["sync.ping"] = function() return true, true end,
  ["sync.auth"] = askAgain,
}

--- Makes a class with functions of its own; those of this class can still be called.
function Rpc:extend(name)
  local class = Protocol.extend(self, name)
  class.remote = setmetatable({}, {__index = self.remote})
  return class
end

return Rpc
