--- Sets that fire: `clients` and rooms of `sync.Remote`. An event is encoded once for each wire
-- that clients of the set speak, and goes to all nodes.
--
-- A set is `resumable` if its clients may come back, and then fires at those who are away, too.
-- It is `mixed` if one has come that speaks another wire than JSON, and `isOpen` if one may come,
-- here or elsewhere: then what JSON can't say is no error.
-- @module sync.remoting.events

local Session = require "sync.remoting.session"
local Set = require "sync.set"
local json = require "sync.remoting.json"
local latest = require "sync.remoting.latest"
local log = require "sync.log"
local null = require "cjson".null
local readJson = require "sync.json".decode

local events = {}

local EventSet = Set:extend()
EventSet.resumable = false
EventSet.mixed = false
EventSet.isOpen = false
EventSet.kind = 0 -- of JSON: the client's own, or text where binary messages are no calls
EventSet.absent = false -- clients who are away, as keys
events.Set = EventSet

--- An event, or a call, as a text. The error is about the arguments of who called the caller.
-- @tparam table wire
-- @tparam string verb what errors call the function
-- @tparam number|nil id of a call
-- @tparam string name
-- @param ... arguments
-- @treturn string
function events.write(wire, verb, id, name, ...)
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

-- An event by wire, each made when a client first needs it. What one client said may be more
-- than another's wire can say (NaN in JSON, an empty name in AMF3): false, then, so that the
-- others get it. On all nodes the event has the same name, or (false) none.
local function byWire(eventName, name, ...)
  local arguments, count = {...}, select("#", ...)
  return setmetatable({}, {__index = function(made, wire)
    local text, problem = wire.request(nil, name, unpack(arguments, 1, count))
    if not text then
      log.limited("error", "event", ("the event %s can't be told to clients that speak %s: %s")
        :format(name, wire.name, problem))
    end
    made[wire] = text and Session.event(text, eventName) or false
    return made[wire]
  end})
end

-- The name and the arguments of an event in JSON, or of a list of them.
local function read(text, list)
  local params = list
  local name
  if text then
    local _, event = readJson(text)
    name, params = event.method, event.params or {}
  else
    name = table.remove(list, 1)
  end
  for i = 1, #params do
    if params[i] == null then params[i] = nil end
  end
  return name, unpack(params, 1, table.maxn(params))
end

-- The same of another node, by wire.
local function received(text, list, eventName)
  local made = byWire(eventName, read(text, list))
  if text then made[json] = Session.event(text, eventName) end
  return made
end

--- Notes that a client's absence is no leaving: it may come back, and events are kept for
-- it. Without a client: that this may happen to the set's members.
function EventSet:remember(client)
  self.resumable = true
  self.absent = self.absent or {}
  if client then self.absent[client] = true end
end

--- A client is away no more.
function EventSet:forget(client)
  if self.absent then self.absent[client] = nil end
end

function EventSet:remove(client)
  self:forget(client)
  Set.remove(self, client)
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

-- Tells one client an event. `how` is nil, or what `latest.options` gives.
local function tell(client, made, how)
  local event = made[client._wire]
  if not event then return false, "dropped" end
  if how == nil then return client:transmit(event.text, event) end
  if not how then return latest.now(client, event) end
  return latest.send(client, how, event.text, event)
end

-- The same to the clients of a set, or of a view of one, one by one: they speak several wires, are
-- sent the event again when they resume, or are told it by how far each has read.
local function tellEach(set, source, made, how)
  local sent = 0
  for client in set do
    local ok, why = tell(client, made, how)
    if ok or why == "full" then sent = sent + 1 end
  end
  if source.resumable and how ~= false then
    eachAbsent(set, source, function(client) tell(client, made, how) end)
  end
  return sent
end

-- Whether clients may come that can say what JSON can't.
local function canBeSaid(source, name, ...)
  return source.isOpen and require "sync.flash.wire".request(nil, name, ...) ~= nil
end

-- Fires an event; the errors are about what the caller of the caller has given.
local function fire(self, how, name, ...)
  local source, isWide = self:origin()
  local text = type(name) == "string" and json.request(nil, name, ...)
  local isPlain = text and json.isPlain()
  if not text and (type(name) ~= "string" or not canBeSaid(source, name, ...)) then
    events.write(json, "fire", nil, name, ...) -- raises
  end
  local eventName = false
  if source.channel and isWide then
    eventName = source.channel:publishEvent(how, text or nil, isPlain, name, ...)
  end
  if text and how == nil and not source.resumable and not source.mixed then
    return self:sendHere(text, #text, source.kind)
  end
  local made = byWire(eventName, name, ...)
  if text then made[json] = Session.event(text, eventName) end
  return tellEach(self, source, made, how)
end

--- Fires a local event at every client of a set: of `clients`, of a room, or of a view, on
-- all nodes. The event is encoded once for each encoding that there is. `fire({latest = "key"},
-- name, …)` and `fire({late = false}, name, …)` are as for one client.
-- @function sync.Set:fire
-- @tparam string name
-- @param ... arguments: what JSON can say, and on listeners with `encoding = "amf3"` what AMF3 can
-- @treturn number how many clients of this process it was queued for
function EventSet:fire(name, ...)
  if type(name) == "table" then return fire(self, latest.options(name, 2), ...) end
  return fire(self, nil, name, ...)
end
EventSet.View.fire = EventSet.fire

--- Fires an event of another node at this process's clients.
-- @tparam string|nil text in JSON
-- @param how nil, or what `latest.options` gives
-- @tparam[opt] string|boolean eventName its name on all nodes
-- @tparam[opt] table list its name and arguments, where there is no text
function EventSet:deliverEvent(text, how, eventName, list)
  if text and how == nil and not self.resumable and not self.mixed then
    return self:deliver(text, 0, self.kind)
  end
  tellEach(self, self, received(text, list, eventName or false), how)
end

--- The same for one client.
function events.deliver(client, text, how, list)
  if text and how == nil and client._wire == json then return client:transmit(text) end
  local event = received(text, list, false)[client._wire]
  if not event then return end
  if how == nil then return client:transmit(event.text) end
  tell(client, {[client._wire] = event}, how)
end

return events
