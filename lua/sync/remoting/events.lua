--- Sets that fire: `clients` and rooms of `sync.Remote`. An event is encoded once for all of a
-- set, or once for each wire that its clients speak, and goes to all nodes.
--
-- A set is `resumable` if its clients may come back, and then fires at those who are away, too.
-- It is `mixed` if they speak, or may speak, another wire than JSON.
-- @module sync.remoting.events

local Session = require "sync.remoting.session"
local Set = require "sync.set"
local cjson = require "cjson"
local json = require "sync.remoting.json"
local latest = require "sync.remoting.latest"
local log = require "sync.log"
local null = cjson.null

local events = {}

local EventSet = Set:extend()
EventSet.resumable = false
EventSet.mixed = false
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
-- others get it.
local function byWire(name, ...)
  local arguments, count = {...}, select("#", ...)
  return setmetatable({}, {__index = function(made, wire)
    local text, problem = wire.request(nil, name, unpack(arguments, 1, count))
    if not text then
      log.limited("error", "event", ("the event %s can't be told to all: %s"):format(name, problem))
    end
    made[wire] = text and Session.event(text) or false
    return made[wire]
  end})
end

-- The name and the arguments of an event in JSON.
local function read(text)
  local event = cjson.decode(text)
  local params = event.params or {}
  for i = 1, #params do
    if params[i] == null then params[i] = nil end
  end
  return event.method, unpack(params, 1, table.maxn(params))
end

--- An event in JSON, in another wire.
-- @tparam string text
-- @tparam table wire
-- @treturn string|nil nil: the wire can't say it
function events.translate(text, wire)
  if wire == json then return text end
  local event = byWire(read(text))[wire]
  return event and event.text
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

-- Sends an event to the clients of this process one by one: they speak several wires, or
-- are sent the event again when they resume.
local function transmitEach(self, source, made)
  local sent = 0
  local function transmit(client)
    local event = made[client.wire]
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
  local text = events.write(json, "fire", nil, name, ...)
  if source.channel and isWide then source.channel:publishEvent(text) end
  local made, sent = byWire(name, ...), 0
  made[json] = Session.event(text)
  local function send(client)
    local event = made[client.wire]
    if event and latest.send(client, key, event.text, event) then sent = sent + 1 end
  end
  for client in self do send(client) end
  if source.resumable then eachAbsent(self, source, send) end
  return sent
end

--- Fires a local event at every client of a set: of `clients`, of a room, or of a view, on
-- all nodes. The event is encoded once. `fire({latest = "key"}, name, …)` is as for one client.
-- @function sync.Set:fire
-- @tparam string name
-- @param ... arguments, as JSON
-- @treturn number how many clients of this process it was queued for
function EventSet:fire(name, ...)
  if type(name) == "table" and name.latest ~= nil then
    return fireLatest(self, latest.key(name, 2), ...)
  end
  local source, isWide = self:origin()
  local made, text
  if source.mixed and type(name) == "string" then
    made = byWire(name, ...)
    text = made[json] and made[json].text
  else
    text = events.write(json, "fire", nil, name, ...)
  end
  if text and source.channel and isWide then source.channel:publishEvent(text) end
  if not source.resumable and not source.mixed then
    return self:sendHere(text, #text, source.kind)
  end
  if not made then
    made = byWire(name, ...)
    made[json] = Session.event(text)
  end
  return transmitEach(self, source, made)
end
EventSet.View.fire = EventSet.fire

--- Fires an event of another node at this process's clients.
-- @tparam string text in JSON
function EventSet:deliverEvent(text)
  if not self.resumable and not self.mixed then return self:deliver(text, 0, self.kind) end
  local made = byWire(read(text))
  made[json] = Session.event(text)
  transmitEach(self, self, made)
end

return events
