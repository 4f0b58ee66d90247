--- Handlers that wait: `sync.waits`.
--
--     Game.onData = sync.waits(function(self, line)
--       local points = db:value("select points from score where name = ?", line)
--       self:send(tostring(points or 0))
--     end)
--
-- What it returns is a plain function: called in a function that may wait, it's that function;
-- called by the loop, it begins a task. A handler that isn't declared costs nothing more.
--
-- **A client's messages** come one at a time, in order, when onConnect or onData waits: meanwhile
-- the core reads no more of this client, and what it has handed out already, a tick's, waits here.
--
-- **What waits belongs to its client.** When the client goes, it goes on, `send` says "closed",
-- and onClose follows its end.
-- @module sync.waits

local core = require "sync.core"
local declared = require "sync.declared"
local failure = require "sync.failure"
local log = require "sync.log"
local loop = require "sync.loop"
local task = require "sync.task"

local C, handle = core.C, core.handle

local TRY_AGAIN = 1013 -- a WebSocket's closing code

local waits = {}

-- How many functions of a class wait.
local counts = setmetatable({}, {__mode = "k"})

--- Whether as many functions of a class wait as may (`maxWaiting`).
function waits.isFull(class)
  return (counts[class] or 0) >= class.maxWaiting
end

--- Counts a function that waits, or with -1 no more.
function waits.count(class, change)
  counts[class] = (counts[class] or 0) + change
end

-- Functions of a client.

local Bound = {}

-- The kind that a WebSocket's messages leave as now.
local function kindNow(client)
  if client.transport ~= "websocket" or client.slot == 0 then return nil end
  return C.sync_sends_text(handle, client.slot) ~= 0 and "text" or "binary"
end

--- Calls a function while a client is sent messages of a kind, if it has kinds.
-- @tparam table client
-- @tparam string|nil kind
-- @tparam function fn
-- @param ... its arguments
function waits.asKind(client, kind, fn, ...)
  local before = kind and kindNow(client)
  if not before then return fn(...) end
  client:resumeKind(kind)
  fn(...)
  if client.slot ~= 0 then client:resumeKind(before) end
end

function Bound:enter()
  if self.kind then
    self.before = kindNow(self.client)
    if self.before then self.client:resumeKind(self.kind) end
  end
end

local function restore(self)
  if self.before and self.client.slot ~= 0 then self.client:resumeKind(self.before) end
end

function Bound:leave()
  restore(self)
  if self.isCounted then return end
  local client = self.client
  self.isCounted = true
  waits.count(self.class, 1)
  client._underWay = client._underWay + 1
  loop.waiting = loop.waiting + 1
end

function Bound:ended(...)
  self:done(...)
  restore(self)
  if not self.isCounted then return end
  local client = self.client
  waits.count(self.class, -1)
  loop.waiting = loop.waiting - 1
  client._underWay = client._underWay - 1
  if client._underWay == 0 then loop.settled(client) end
end

--- A kind of tasks that belong to a client: their fields are `client`, and `kind`, that of the
-- message which they handle. In place of `ended` they have `done`, which is called first.
-- @tparam table methods
function waits.bound(methods)
  for name, fn in pairs(Bound) do methods[name] = methods[name] or fn end
  return task.kind(methods)
end

--- Begins one. The caller has asked `isFull`.
function waits.start(kind, client, fields, fn, ...)
  fields.client, fields.class = client, getmetatable(client)
  fields.limit = client.waitTimeout or nil
  return task.start(kind, fields, fn, ...)
end

-- Handlers whose messages may go on side by side with it, such as onDrain.

local Handler = waits.bound {}

function Handler:done(ok, caught)
  -- At once: the caller hears of it.
  if not ok and self.isCounted and self.status ~= "cancelled" then
    loop.failed(self.client, caught)
  end
end

-- Turns: onConnect and onData. While one waits, the client's field `inHand` has its task and what
-- has come behind it, and the client's onData is the gate.

local Turn = waits.bound {}

-- The client's own onData, which it may change while it waits; nil: its class's.
local function ownHandler(client, gate, hand)
  local own = rawget(client, "onData")
  if own ~= gate then hand.own = own end
  return hand.own
end

local function gate(client, data, kind)
  local hand = client._inHand
  if task.current() == hand.task then
    return (hand.own or getmetatable(client).onData)(client, data, kind)
  end
  hand.last = hand.last + 1
  hand[hand.last] = {data, kind}
  C.sync_pause(handle, client.slot, 1) -- also where it has come back, on another connection
  if kind and hand.kind then client:resumeKind(hand.kind) end -- until it has its turn
end

-- The same of a class that takes bytes, which live until this returns.
local function bytesGate(client, bytes, length, kind)
  gate(client, core.string(bytes, length), kind)
end

function Turn:leave()
  local client = self.client
  self.kind = self.kind or kindNow(client)
  Bound.leave(self)
  local hand = client._inHand
  if not hand then
    hand = {first = 1, last = 0}
    client._inHand = hand
    C.sync_pause(handle, client.slot, 1)
  end
  hand.task, hand.kind = self, self.kind
  ownHandler(client, gate, hand)
  client.onData = gate
  if hand.takesBytes == nil then hand.takesBytes = client.onBytes and true or false end
  if hand.takesBytes then client.onBytes = bytesGate end
end

local function deliver(client, hand, text, kind)
  if not hand.takesBytes then return client:onData(text, kind) end
  client:onBytes(core.bytes(text), #text, kind)
end

-- Handles what has come behind a message that waited, until one of these waits.
local function goOn(client, hand)
  hand.isGoing = true
  client.onData = ownHandler(client, gate, hand)
  if hand.takesBytes then client.onBytes = nil end
  while hand.first <= hand.last and not client.closing do
    local message = hand[hand.first]
    hand[hand.first] = nil
    hand.first = hand.first + 1
    if message[2] and client.slot ~= 0 then client:resumeKind(message[2]) end
    local ok, caught = xpcall(deliver, failure.catch, client, hand, message[1], message[2])
    if not ok then loop.failed(client, caught) end
    if rawget(client, "onData") == gate then
      hand.isGoing = false
      return
    end
  end
  client._inHand = nil
  C.sync_pause(handle, client.slot, 0)
end

function Turn:done(ok, caught)
  local client = self.client
  if not ok and self.status ~= "cancelled" then loop.failed(client, caught) end
  local hand = client._inHand
  if hand and not hand.isGoing then goOn(client, hand) end
end

local function takeTurn(client, fn, ...)
  if waits.isFull(getmetatable(client)) then
    log.limited("warn", "maxWaiting", "as many functions wait as may (maxWaiting): a client " ..
      "whose message would have to wait is closed", {client = client.id})
    return client:close("busy", TRY_AGAIN)
  end
  -- With all the fields that it gets, so that it's made once and never grows.
  waits.start(Turn, client, {client = client, class = false, limit = false, turn = 0,
    isOver = false, isParked = false, doomed = false, thread = false, status = "running",
    kind = false, before = false, isCounted = false, isTimed = false, early = false, stop = false,
    who = false, ok = false, a = false, b = false, c = false}, fn, client, ...)
end

-- Functions of nobody, as of a room or a timer.

local Free = task.kind {}

function Free:leave() self.hasWaited = true end

function Free:ended(ok, caught)
  if ok or not self.hasWaited or self.status == "cancelled" then return end
  log.limited("error", "sync.waits", "error in a function that waited: " ..
    failure.describe(caught.raised), {traceback = caught.traceback})
end

-- What it has returned or raised, if it has ended at once.
local function outcome(begun)
  if not begun.isOver then return end
  if not begun.ok then error(begun.a.raised, 0) end
  return begun.a, begun.b, begun.c
end

local function begin(plain, fn, self, ...)
  local isClient = type(self) == "table" and rawget(self, "slot") ~= nil
  if not isClient then return outcome(task.start(Free, {}, fn, self, ...)) end
  if self.onData == plain or self.onConnect == plain then return takeTurn(self, fn, ...) end
  if waits.isFull(getmetatable(self)) then
    error("as many functions wait as may (maxWaiting)", 0)
  end
  return outcome(waits.start(Handler, self, {}, fn, self, ...))
end

--- Declares that a function may wait: it's to be a handler, a function of `remote`, or called by a
-- timer. Of a handler's results at most three are kept, if it doesn't wait, and none if it does.
-- @function sync.waits
-- @tparam function fn
-- @treturn function
function waits.declare(fn)
  if type(fn) ~= "function" then
    error("sync.waits(fn): fn must be a function, not " .. type(fn), 2)
  end
  if declared[fn] then return fn end
  local function plain(...)
    if task.isInside() then return fn(...) end
    return begin(plain, fn, ...)
  end
  declared[plain] = fn
  return plain
end

local Called = task.kind {}

function Called:ended(...) self.tell(...) end

--- Calls a function that may have been declared.
-- @tparam function tell called when it has ended, with true and at most three results, or with
-- false and what `failure.catch` makes of the error; before this returns, if it hasn't waited
-- @tparam function fn
-- @param ... its arguments
-- @treturn Task|nil the task that waits; nil when it has ended
function waits.call(tell, fn, ...)
  local inner = declared[fn]
  if not inner or task.isInside() then
    tell(xpcall(inner or fn, failure.catch, ...))
    return nil
  end
  local begun = task.start(Called, {tell = tell}, inner, ...)
  return not begun.isOver and begun or nil
end

return waits
