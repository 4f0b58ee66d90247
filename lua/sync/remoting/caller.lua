--- Who calls by an HTTP request: a client for as long as that lasts. It's in no set, and nothing
-- can be sent to it but its answers. What is limited for a client is limited for an address here.
-- @module sync.remoting.caller

local auth = require "sync.auth"
local failure = require "sync.failure"
local fault = require "sync.remoting.fault"
local log = require "sync.log"
local loop = require "sync.loop"
local task = require "sync.task"
local waits = require "sync.waits"

local caller = {}

local MOST_KEPT = 5000 -- entries of a store that are young; as many again are old

-- A store by keys of clients: when the young are many, they take the place of the old.
local Store = {}
Store.__index = Store

function Store.new()
  return setmetatable({young = {}, old = {}, count = 0}, Store)
end

function Store:put(key, value)
  if self.count >= MOST_KEPT then
    self.old, self.young, self.count = self.young, {}, 0
  end
  self.young[key] = value
  self.count = self.count + 1
end

function Store:get(key)
  local found = self.young[key]
  if found == nil then
    found = self.old[key]
    if found ~= nil then self:put(key, found) end
  end
  return found
end

function Store:remove(key)
  self.young[key], self.old[key] = nil, nil
end

caller.Store = Store

-- The allowances of addresses, by class.
local byClass = setmetatable({}, {__mode = "k"})

local function allowancesOf(class, address)
  local store = byClass[class] or Store.new()
  byClass[class] = store
  local found = store:get(address)
  if not found then
    found = {}
    store:put(address, found)
  end
  return found
end

--- A client without a connection.
-- @tparam sync.Remote class
-- @tparam table request
-- @tparam table wire what writes its answers; each is a table whose `id` is the call's
-- @treturn sync.Remote
function caller.new(class, request, wire)
  return class:new {
    slot = 0, closing = false, id = 0, address = request.address, port = request.port,
    transport = "http", wire = wire, request = request, user = request.user,
    allowances = allowancesOf(class, request.address),
    user = request.user, userEnds = request.userEnds,
  }
end

-- Whose token it is may have to be waited for.

local Admission = task.kind {}

function Admission:leave()
  if self.hasWaited then return end
  self.hasWaited = true
  waits.count(self.class, 1)
end

local function say(answer, status, text, headers)
  headers = headers or {}
  headers["Content-Type"] = "text/plain; charset=utf-8"
  answer(status, headers, text .. "\n")
end

function Admission:ended(ok, status, text)
  if self.hasWaited then waits.count(self.class, -1) end
  if not ok then
    log.limited("error", "auth of " .. self.class.className, ("error in %s.auth: %s"):format(
      self.class.className, failure.describe(status.raised)), {traceback = status.traceback})
    return say(self.answer, 503, "try again later")
  elseif status then
    local header = status == 401 and {["WWW-Authenticate"] = "Bearer"} or nil
    return say(self.answer, status, text, header)
  end
  if self.exchange:isWaiting() then self.go() end
end

local function judge(class, request)
  local status, text = auth.handshake(class, request)
  if not status and not request.user then return 401, "there is no token" end
  return status, text
end

--- Lets a request make calls: of a class with `auth` it needs a token, in its header Authorization.
-- @tparam sync.http.exchange exchange
-- @tparam function answer that `exchange:later` has returned: who isn't let in is told so
-- @tparam function go called once the request is let in; not when its client has gone by then
function caller.admit(exchange, answer, go)
  local class = exchange.listener.class
  if not class.auth then return go() end
  if waits.isFull(class) then
    return say(answer, 503, "too many requests wait; try again later", {["Retry-After"] = "1"})
  end
  task.start(Admission, {exchange = exchange, class = class, answer = answer, go = go,
    limit = class.waitTimeout or nil}, judge, class, exchange.request)
end

--- Carries calls out, numbered from 1 on, and collects their answers, of which some may come later:
-- those that aren't there in `callTimeout` seconds are faults.
-- @tparam sync.Remote client
-- @tparam number count
-- @tparam function carryOut of a number; returns its answer, false when there will be none, or nil
-- when the answer comes later
-- @tparam function done called once, with the answers by number; it may be called before this
-- returns
function caller.collect(client, count, carryOut, done)
  local parts, waiting, timer = {}, 0, nil
  local function finish()
    if timer then loop.stopTimer(timer) end
    waiting = 0
    done(parts)
  end
  function client.transmit(_, part) -- an answer that comes later
    if type(part) ~= "table" then return false, "closed" end
    if waiting > 0 and parts[part.id] == nil then
      parts[part.id] = part
      waiting = waiting - 1
      if waiting == 0 then finish() end
    end
    return true
  end
  for i = 1, count do
    parts[i] = carryOut(i)
    if parts[i] == nil then waiting = waiting + 1 end
  end
  if waiting == 0 then return finish() end
  timer = loop.startTimer(client.callTimeout, 0, function()
    for i = 1, count do
      if parts[i] == nil then
        parts[i] = client.wire.fault(i, fault.new(fault.BUSY, "no answer in time"))
      end
    end
    finish()
  end)
end

return caller
