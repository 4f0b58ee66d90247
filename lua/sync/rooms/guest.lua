--- A room of another node with members who are connected here: a copy of its state, from which
-- their patches are made, and their places. Here arguments and rates are checked; the rest is the
-- home's.
-- @classmod sync.rooms.guest

local Class = require "sync.class"
local Membership = require "sync.rooms.membership"
local Replica = require "sync.state.replica"
local Rpc = require "sync.remoting.jsonrpc"
local core = require "sync.core"
local events = require "sync.remoting.events"
local fault = require "sync.remoting.fault"
local json = require "sync.remoting.json"
local log = require "sync.log"
local nodes = require "sync.rooms.nodes"
local null = require "cjson".null
local numbers = require "sync.rooms.numbers"
local pieces = require "sync.state.pieces"
local relay = require "sync.rooms.relay"
local remote = require "sync.rooms.remote"

local now = core.C.sync_now

local MOST_SNAPSHOT = 64 * 1024 * 1024 -- bytes

local Guest = Class:extend("Guest")

local byId = {}

-- A client's place in a room that lives elsewhere: see Here for what places are told.
local Place = Class:extend("Place")

-- The room of an id, with a copy that is empty at first. It may have a number that is its.
local function guestOf(id, node, class, number)
  local guest = byId[id]
  if guest then return guest end
  number = numbers.take(number)
  guest = Guest:new {id = id, node = node, class = class, number = number, epoch = 0,
    schema = class.state, replica = Replica.new(class.state, number), clients = events.Set:new(),
    places = {}, count = 0}
  byId[id] = guest
  return guest
end

-- Has the home send a snapshot.
local function want(guest) nodes.tell(guest.node, "want", {id = guest.id}) end

-- Adds a client's place.
-- @tparam table was `form`; and what is known already: `id`, the member's, `key` and `oldKey`, by
-- which the home knows the place, and `isPaused`
local function addPlace(guest, client, was)
  local place = Place:new {client = client, guest = guest, key = was.key or nodes.newKey(),
    form = was.form, membership = Membership.of(client), number = guest.number,
    remote = guest.class.remote, id = was.id or false, address = client.address,
    oldKey = was.oldKey, isPaused = was.isPaused}
  guest.places[place.key] = place
  guest.count = guest.count + 1
  return place
end

-- A place is no more. The room is let go with its last one.
local function drop(place)
  local guest = place.guest
  if guest.places[place.key] ~= place then return end
  guest.places[place.key] = nil
  guest.count = guest.count - 1
  guest.clients:remove(place.client)
  place.membership:remove(guest.number)
  if place.id then guest.replica:leave(place.id) end
  if guest.count > 0 then return end
  byId[guest.id] = nil
  numbers.free(guest.number)
end

local function told(place, said)
  local guest = place.guest
  return {room = guest.number, id = guest.id, code = said.code, name = guest.class.className,
    member = said.member, epoch = said.epoch, tickRate = said.tickRate, patchRate = said.patchRate,
    start = now() - said.age, state = guest.schema:told(),
    back = said.back and guest.id .. "." .. said.back or nil}
end

-- A client that is in hears what is fired at all.
local function listen(guest, client)
  if client.resumeTime then guest.clients:remember() end
  if client._wire ~= json then guest.clients.mixed = true end
  guest.clients.kind = client.clients.kind
  if client.slot == 0 then guest.clients:remember(client) else guest.clients:add(client) end
end

-- The home has let the client in.
local function enter(place, said, done)
  local client, guest = place.client, place.guest
  place.id = said.member
  guest.epoch = math.max(guest.epoch, said.epoch)
  place.membership:add(guest.number, place)
  done(told(place, said))
  listen(guest, client)
  if client.slot == 0 then return place:say "away" end
  guest.replica:join(place.id, client.slot, place.form)
end

local function describe(client)
  local values = {user = client.user, address = client.address}
  for _, name in ipairs(client.resumeFields or {}) do values[name] = client[name] end
  local texts = {}
  for name, value in pairs(values) do texts[name] = remote.note(value, "a member's " .. name) end
  return texts
end

--- Joins a room of another node.
-- @tparam sync.Remote client
-- @tparam table target `id`, `node`, `class`, and what the home is told: `ticket`, `made`,
-- `secret`, `isInvited`
-- @param given for onJoin
-- @tparam string form
-- @tparam function done called with what the client is told, or with nil and a fault
function Guest.join(client, target, given, form, done)
  local membership = Membership.of(client)
  local known = byId[target.id]
  if known and membership:has(known.number) then
    return done(nil, fault.new(fault.REFUSED, "the client is in the room already"))
  end
  local text, problem = remote.write(given)
  if not text then return done(nil, fault.new(fault.ARGUMENTS, "options: " .. problem)) end
  local guest = guestOf(target.id, target.node, target.class)
  local place = addPlace(guest, client, {form = form})
  membership:enter(guest.number, place)
  nodes.ask(target.node, "enter", {id = target.id, class = target.class.className,
    key = place.key, ticket = target.ticket, made = target.made, secret = target.secret,
    isInvited = target.isInvited, given = text, about = describe(client),
    returns = client.resumeTime and true or nil}, function(said)
    if guest.places[place.key] ~= place then return end -- the client has gone
    if said and said.member then return enter(place, said, done) end
    drop(place)
    if not said then place:say("quit", "left") end
    done(nil, said and remote.readFault(said.fault) or remote.away())
  end, 15)
end

-- Places.

--- Tells the home something of the client.
function Place:say(word, reason)
  nodes.tell(self.guest.node, word, {id = self.guest.id, key = self.key, reason = reason})
end

-- While the client is on its way in.
function Place:cancel()
  drop(self)
  self:say("quit", "left")
end

--- Calls a function of the room, whose answer comes later, to `owed` (see Rpc:defer); without that
-- there is none. Arguments and rates are checked here.
-- @treturn boolean|nil,fault false and why it isn't called; nil: the answer comes later
function Place:ask(name, params, input, owed)
  local fn, arguments, count = Rpc.prepare(self, name, params)
  if not fn then return false, arguments end
  local problem = relay.call(self.guest.node, self.key, name, input, owed, arguments, count)
  if problem then return false, problem end
  return nil
end

function Place:renew()
  self.guest.replica:renew(self.id)
end

function Place:away()
  self:part()
  self.guest.clients:remember(self.client)
  self.guest.replica:suspend(self.id)
  self:say "away"
end

function Place:back()
  local guest = self.guest
  guest.clients:forget(self.client)
  guest.clients:add(self.client)
  guest.replica:join(self.id, self.client.slot, self.form)
  self:say "back"
end

function Place:part()
  self.guest.clients:remove(self.client)
  self.guest.replica:suspend(self.id)
end

function Place:quit(reason)
  drop(self)
  self:say("quit", reason)
end

--- The client goes to another node: its member stays.
function Place:pack()
  local guest = self.guest
  guest.clients:forget(self.client)
  self:say "park"
  drop(self)
  return {id = guest.id, node = guest.node, class = guest.class.className, from = nodes.own(),
    key = self.key, member = self.id, form = self.form, old = guest.number}
end

--- A client has come from another node, where it was in a room that doesn't live here.
-- @tparam sync.Remote client
-- @tparam table packed of `pack`
-- @tparam table class
function Guest.adopt(client, packed, class)
  local guest = guestOf(packed.id, packed.node, class)
  local place = addPlace(guest, client, {form = packed.form, id = packed.member})
  guest.clients:remember()
  place.membership:adopt(packed.old, guest.number, place)
  nodes.ask(packed.node, "move", {id = packed.id, from = packed.from, old = packed.key,
    key = place.key}, function(said)
    if guest.places[place.key] ~= place then return end
    if not said or not said.isThere then
      drop(place)
      client:fire("sync.left", guest.number, "lost")
    elseif client.slot == 0 then
      guest.clients:remember(client)
      place:say "away"
    else
      guest.clients:add(client)
      guest.replica:join(place.id, client.slot, place.form)
    end
  end)
end

--- A client was in a room whose home was this node, and is another by now, which has to be found.
-- @tparam sync.Remote client
-- @tparam table about `id`, `class`, `epoch`, `form`, `member`, `old` (the room's number until
-- now), and `key`, by which the home knows the place
-- @treturn Guest
function Guest.follow(client, about)
  local guest = guestOf(about.id, false, about.class)
  local place = addPlace(guest, client, {form = about.form, id = about.member, oldKey = about.key})
  guest.epoch = math.max(guest.epoch, about.epoch)
  listen(guest, client)
  place.membership:adopt(about.old, guest.number, place)
  if client.slot ~= 0 then guest.replica:join(place.id, client.slot, place.form) end
  return guest
end

Guest.drop = drop

--- All rooms, by id.
function Guest.all() return byId end

--- A room of the process before, with its number, and no places yet. Its home sends a snapshot.
function Guest.goOn(was, class)
  local guest = guestOf(was.id, was.node, class, was.number)
  guest.epoch = was.epoch
  if was.node then want(guest) end
  return guest
end

--- A client is there what it was.
-- @tparam sync.Remote client
-- @tparam table was `key`, `form`, `id`, and where there are any `oldKey` and `isPaused`
function Guest:seat(client, was)
  local place = addPlace(self, client, was)
  place.membership:enter(self.number, place)
  place.membership:add(self.number, place)
  listen(self, client)
  if client.slot ~= 0 then self.replica:join(place.id, client.slot, place.form) end
end

--- The room of an id, or nil.
function Guest.find(id) return byId[id] end

--- The rooms that are on a node.
-- @treturn table a list
function Guest.on(node)
  local found = {}
  for _, guest in pairs(byId) do
    if guest.node == node then found[#found + 1] = guest end
  end
  return found
end

--- The client's room is lost.
function Place:lose()
  local guest, client = self.guest, self.client
  drop(self)
  client:fire("onRoomLost", guest.id, guest.class.className)
  client:fire("sync.left", guest.number, "lost")
end

-- What homes say.

-- The room of a word of its home.
local function find(node, said)
  local guest = byId[said.id]
  return guest and guest.node == node and guest or nil
end

local function take(guest, node, bytes)
  local took, problem = guest.replica:take(bytes)
  if problem then
    log.limited("error", "replica", ("%s of node %d: %s"):format(guest.class.className, node,
      problem))
  end
  if took ~= "applied" and took ~= "old" then
    want(guest)
  end
end

nodes.on("patch", function(node, said)
  local guest = find(node, said)
  if guest then take(guest, node, said.bytes) end
end)

-- What was lost may have been the last patch: nothing would follow that shows it.
nodes.whenMissed(function(node)
  for _, guest in ipairs(Guest.on(node)) do want(guest) end
end)

nodes.on("piece", function(node, said)
  local guest = find(node, said)
  if not guest then return end
  guest.joiner = guest.joiner or pieces.joiner(MOST_SNAPSHOT)
  local bytes, problem = guest.joiner:add(said.bytes)
  if bytes then return take(guest, node, bytes) end
  if problem then want(guest) end
end)

nodes.on("fire", function(node, said)
  local guest = find(node, said)
  if not guest then return end
  local event = remote.read(said.packed or "")
  if said.key then
    local place = guest.places[said.key]
    if place and place.id then place.client:deliverEvent(said.text, said.how, event) end
  elseif said.skipped then
    for key, place in pairs(guest.places) do
      if place.id and key ~= said.skipped then
        place.client:deliverEvent(said.text, said.how, event)
      end
    end
  else
    guest.clients:deliverEvent(said.text, said.how, false, event)
  end
end)

nodes.on("left", function(node, said)
  local guest = find(node, said)
  local place = guest and guest.places[said.key]
  if not place then return end
  if said.reason == "lost" then return place:lose() end
  drop(place)
  place.client:fire("sync.left", guest.number, said.reason)
end)

nodes.answers("ask", function(node, said, answer)
  local guest = find(node, said)
  local place = guest and guest.places[said.key]
  if not place then return answer {fault = remote.writeFault(remote.away())} end
  local arguments = remote.read(said.params) or {}
  local count = #arguments
  local given = {unpack(arguments, 1, count)}
  for i = 1, count do
    if given[i] == null then given[i] = nil end
  end
  given[count + 1] = function(result, problem)
    if problem then return answer {fault = remote.writeFault(problem)} end
    answer {result = remote.write(result)}
  end
  place.client:call(said.name, unpack(given, 1, count + 1))
end)

-- A home that is back may have members whom this node has let go meanwhile, or have let members
-- go who are here. With each place is the room's id, or true while the client is on its way in.
local function tellPlaces(number)
  local keys, away = {}, {}
  for _, guest in pairs(byId) do
    if guest.node == number then
      for key, place in pairs(guest.places) do
        keys[key] = place.id and guest.id or true
        if place.id and place.client.slot == 0 then away[#away + 1] = place end
      end
    end
  end
  nodes.tell(number, "places", {keys = keys})
  for _, place in ipairs(away) do place:say "away" end
end

nodes.on("where", tellPlaces)

-- A home has gone: its rooms are lost.
nodes.watch(function(number, isThere)
  if isThere then return tellPlaces(number) end
  for _, guest in ipairs(Guest.on(number)) do
    if not guest.class.persist then -- those may come up elsewhere: lua/sync/rooms/seeking.lua
      for _, place in pairs(guest.places) do
        if place.id then place:lose() end
      end
    end
  end
end)

return Guest
