--- Who calls by an HTTP request: a client for as long as that lasts. It's in no set, and nothing
-- can be sent to it but its answers. What is limited for a client is limited for an address here.
-- @module sync.remoting.caller

local fault = require "sync.remoting.fault"
local loop = require "sync.loop"

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
    transport = "http", _wire = wire, request = request, user = request.user,
    _allowances = allowancesOf(class, request.address),
  }
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
        parts[i] = client._wire.fault(i, fault.new(fault.BUSY, "no answer in time"))
      end
    end
    finish()
  end)
end

return caller
