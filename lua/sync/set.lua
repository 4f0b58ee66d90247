--- Sets of clients: the `clients` of a class, and its rooms.
--
--     for client in set do client:send("hello") end
--     set:send("hello")                -- the same as one call, framed once
--     set:except(self):send("hello")
--
-- A set keeps its clients in an array, and their slots in a second array that the C core
-- reads. A client that is removed leaves a hole until the tick ends, so a loop over a set
-- may close clients and let them leave. A loop that waits, in sync.spawn, goes on behind the
-- client at which the loop stands, also when this client has left meanwhile; a client that has
-- come back in a later tick stands at the end.
--
-- In a cluster a set has a channel, an object that knows what the set has to do with other nodes
-- (see lua/sync/cluster/channel.lua): `publish(data, kind)`, `publishEvent(…)`, `count()`,
-- `members()`, `note(client, isIn)`, and, of a class's `clients`, `addRoom(room)`.
-- @classmod sync.Set

local core = require "sync.core"
local listMark = require "sync.list".mark

local C, handle = core.C, core.handle
local FIRST_CAPACITY = 8

local function checkData(data, set)
  if type(data) ~= "string" then
    if type(set) == "string" then
      error("send(data): it was called with a dot, as set.send(…); a method needs a colon: " ..
        "set:send(…)", 3)
    end
    error("send(data): data must be a string, not " .. type(data), 3)
  end
end

local Set = {
  --- Bytes that a room's name and a class's may have, so that both fit into a topic of every
  -- engine.
  MOST_ROOM_NAME = 128,
  MOST_CLASS_NAME = 64,
}
Set.__index = Set

local View = {}
View.__index = View

-- Sets that have holes.
local holed = {}
-- The function of sync.spawn that runs, or false.
local runner = false

--- Notes which function of sync.spawn runs; false: none.
-- @treturn Task|boolean the one that ran before
function Set.runs(task)
  local before = runner
  runner = task
  return before
end

--- Makes a class of sets that do more. Views of such sets have a class of their own, too.
-- @treturn table with `View`
function Set:extend()
  local function extend(class)
    local made = setmetatable({__call = class.__call, __tostring = class.__tostring},
      {__index = class})
    made.__index = made
    return made
  end
  local class = extend(self)
  class.View = extend(self.View)
  class.View.View = class.View
  return class
end

--- Makes an empty set.
function Set:new()
  return setmetatable({
    list = {},        -- clients, false in holes
    slots = core.slots(FIRST_CAPACITY), -- their slots, 0 in holes
    places = {},      -- place in the list by slot
    length = 0,       -- of the list
    holes = 0,        -- in the list
    left = false,     -- slots that were removed in this tick
    capacity = FIRST_CAPACITY,
    walkers = false,  -- tasks that have begun a loop over the set, as keys
    gone = false,     -- where clients stood that have left since, while there are walkers
    channel = false,  -- by which messages reach other nodes
    source = false,   -- of a view: what the view is of
  }, self)
end

local function resize(set, capacity)
  local slots = core.slots(capacity)
  core.copySlots(slots, set.slots, set.length)
  set.slots, set.capacity = slots, capacity
end

--- Whether the client is in the set.
-- @treturn boolean
function Set:has(client)
  local place = self.places[client.slot]
  return place ~= nil and self.list[place] == client
end

-- The hole that this slot has left in this tick. A client that comes back into its hole keeps
-- its place, so a loop from which a client leaves, and comes back, goes on where the loop was.
local function ownHole(set, slot)
  local place = set.places[slot]
  if place and set.list[place] == false then
    set.holes = set.holes - 1
    return place
  end
end

function Set:add(client)
  if self:has(client) then return end
  local place = ownHole(self, client.slot)
  if not place then
    place = self.length + 1
    if place > self.capacity then resize(self, self.capacity * 2) end
    self.length = place
  end
  self.list[place] = client
  self.slots[place - 1] = client.slot
  self.places[client.slot] = place
  if self.channel then self.channel:note(client, true) end
end

function Set:remove(client)
  if not self:has(client) then return end
  local place = self.places[client.slot]
  if self.gone then self.gone[client] = place end
  self.list[place] = false
  self.slots[place - 1] = 0
  if not self.left then
    self.left = {}
    holed[#holed + 1] = self
  end
  self.holes = self.holes + 1
  self.left[#self.left + 1] = client.slot
  if self.channel then self.channel:note(client, false) end
end

-- Gives the memory of a set that was much larger back.
local function shrink(set)
  local list, places = {}, {}
  for place = 1, set.length do
    local client = set.list[place]
    list[place] = client
    places[client.slot] = place
  end
  set.list, set.places = list, places
  resize(set, math.max(FIRST_CAPACITY, set.length * 2))
end

-- A task goes through the set: until it ends, the places of clients that leave are kept.
local function watchWalk(set)
  set.walkers = set.walkers or setmetatable({}, {__mode = "k"})
  set.walkers[runner] = true
  set.gone = set.gone or setmetatable({}, {__mode = "k"})
end

local function isWalked(set)
  for task in pairs(set.walkers) do
    if task:isAlive() then return true end
    set.walkers[task] = nil
  end
  return false
end

-- The holes are about to be filled: a client that has left stood behind so many that stay.
local function moveGone(set)
  if not isWalked(set) then
    set.walkers, set.gone = false, false
    return
  end
  local kept, before = 0, {}
  for place = 1, set.length do
    if set.list[place] then kept = kept + 1 end
    before[place] = kept
  end
  for client, place in pairs(set.gone) do set.gone[client] = before[place] or 0 end
end

local function fillHoles(set)
  if set.gone then moveGone(set) end
  local list, slots, places = set.list, set.slots, set.places
  for _, slot in ipairs(set.left) do
    local place = places[slot]
    if place and slots[place - 1] ~= slot then places[slot] = nil end
  end
  local kept = 0
  for place = 1, set.length do
    local client = list[place]
    if client then
      kept = kept + 1
      if kept < place then
        list[kept] = client
        slots[kept - 1] = slots[place - 1]
        places[client.slot] = kept
      end
    end
  end
  for place = kept + 1, set.length do
    list[place] = nil
    slots[place - 1] = 0
  end
  set.length, set.holes, set.left = kept, 0, false
  if set.capacity > 64 and kept < set.capacity / 8 then shrink(set) end
end

--- Fills the holes that this tick has left. The loop calls it when a tick ends.
function Set.endTick()
  for i = #holed, 1, -1 do
    fillHoles(holed[i])
    holed[i] = nil
  end
end

function Set.needsEndTick()
  return holed[1] ~= nil
end

--- How many clients are in the set.
-- @treturn number
function Set:count()
  return self.length - self.holes
end

--- How many clients are in the set on all nodes of a cluster, by what nodes have told: of the
-- clients of a class once a second, of a room at once.
-- @treturn number
function Set:total()
  return self:count() + (self.channel and self.channel:count() or 0)
end

--- Who is in a room, on all nodes of a cluster.
-- @treturn table a list, in JSON too when it is empty, of `{id = number, value = what it has
-- joined with}`, in no order
function Set:members()
  local list, name = self.channel and self.channel:members() or {}, self.name
  for client in self do
    local values = client.joined and client.joined.values
    list[#list + 1] = {id = client.id, value = values and values[name]}
  end
  return setmetatable(list, listMark)
end

--- Sends a message of another node to the clients of this process.
-- @tparam string bytes
-- @tparam number offset of the message in the bytes
-- @tparam number kind of `enum sync_kind`
function Set:deliver(bytes, offset, kind)
  C.sync_send_many_as(handle, self.slots, self.length, 0, core.behind(bytes, offset),
    #bytes - offset, kind)
end

--- Sends an event of another node to the clients of this process. Only sets of sync.Remote know
-- more of events.
-- @tparam string|nil text in JSON
function Set:deliverEvent(text)
  if text then self:deliver(text, 0, 0) end
end

-- Sends to the clients of this process: a string, or bytes of the FFI. The kind is a number of
-- `enum sync_kind`.
function Set:sendHere(data, length, kind)
  -- Not as a tail call: LuaJIT does not compile a return by way of an FFI function.
  local sent = C.sync_send_many_as(handle, self.slots, self.length, 0, data, length, kind)
  return sent
end

--- Sends a message to every client, on all nodes: framed once, and shared by all where the
-- message is large.
-- @tparam string data
-- @tparam[opt] string kind "text" or "binary", to WebSockets; by default what each client would be
-- sent alone
-- @treturn number for how many clients of this process the message was queued
function Set:send(data, kind)
  checkData(data, self)
  kind = core.kind(kind)
  if self.channel then self.channel:publish(data, kind) end
  return self:sendHere(data, #data, kind)
end

--- The same as `send`, of bytes that the FFI has: no string is made of them, unless the set has a
-- channel to other nodes.
-- @tparam cdata bytes a pointer, an array or a struct; they are copied
-- @tparam number length how many they are, which nobody can check
-- @tparam[opt] string kind as of `send`
-- @treturn number for how many clients of this process the message was queued
function Set:sendBytes(bytes, length, kind)
  core.checkBytes(self, bytes, length)
  kind = core.kind(kind, "sendBytes(bytes, length, kind)")
  if self.channel then self.channel:publish(core.string(bytes, length), kind) end
  return self:sendHere(bytes, length, kind)
end

--- The set without one client.
-- @usage self.clients:except(self):send(data)
-- @treturn sync.Set a view, with all methods that only look
function Set:except(client)
  return setmetatable({source = self, skipped = client}, self.View)
end

--- The clients of this process for which `test(client)` is true.
-- @tparam function test
-- @treturn sync.Set a view, with all methods that only look; it tests at each use
function Set:filter(test)
  if type(test) ~= "function" then
    error("filter(test): test must be a function, not " .. type(test), 2)
  end
  return setmetatable({source = self, test = test}, self.View)
end

local function pastHoles(list, place)
  local client
  repeat
    place = place + 1
    client = list[place]
  until client ~= false
  return client
end

-- The place of a client that isn't in the set, or of none: 0 is before the first.
local function placeOf(set, client)
  if client == nil then
    if runner then watchWalk(set) end
    return 0
  end
  local place = set.gone and set.gone[client]
  if not place then
    error("for client in set: the client at which this loop stands has left in an earlier " ..
      "tick; a loop that waits belongs into sync.spawn(function() … end)", 3)
  end
  return place
end

-- The step of a generic `for`: the client after `previous`. Without a loop of its own in
-- the usual case, so that the loop that it serves becomes one trace.
function Set:__call(_, previous)
  local place = (previous and self.places[previous.slot] or placeOf(self, previous)) + 1
  local client = self.list[place]
  if client == false then return pastHoles(self.list, place) end
  return client
end

function Set:__tostring()
  return ("set of %d clients"):format(self:count())
end

View.except = Set.except
View.filter = Set.filter

function View:has(client)
  return self.source:has(client) and client ~= self.skipped and
    (not self.test or self.test(client) and true or false)
end

function View:__call(_, previous)
  local source, skipped, test = self.source, self.skipped, self.test
  local client = source(nil, previous)
  while client ~= nil and (client == skipped or test and not test(client)) do
    client = source(nil, client)
  end
  return client
end

function View:count()
  local count = 0
  for _ in self do count = count + 1 end
  return count
end

-- Slots of the clients that a view lets through. A test that itself sends finds this array in
-- use, and makes another.
local scratch, scratchSize = core.slots(1024), 1024

-- Collects the slots of a view of a set: one flat loop, since a loop within the iteration
-- would keep LuaJIT from compiling either. Returns how many.
local function collect(view, slots)
  local source, skipped, test = view.source, view.skipped, view.test
  local list, count = source.list, 0
  for place = 1, source.length do
    local client = list[place]
    if client and client ~= skipped and (not test or test(client)) then
      slots[count] = client.slot
      count = count + 1
    end
  end
  return count
end

-- The same of a view of a view, which is rare. A test may let clients join: those for which the
-- slots have no room are left out.
local function collectNested(view, slots, size)
  local count = 0
  for client in view do
    if count == size then break end
    slots[count] = client.slot
    count = count + 1
  end
  return count
end

local function sendEach(view, data, length, kind)
  local set = view.source
  while set.source do set = set.source end
  local slots, size = scratch, scratchSize
  scratch = nil
  if not slots or size < set.length then
    size = math.max(1024, set.length * 2)
    slots = core.slots(size)
  end
  local count = (set == view.source and collect or collectNested)(view, slots, size)
  scratch, scratchSize = slots, size
  local sent = C.sync_send_many_as(handle, slots, count, 0, data, length, kind)
  return sent
end

-- The set of a view, and whether the view is for the set's clients on other nodes, too: not
-- where a test picks clients.
function View:origin()
  local view, isWide = self, true
  while view.source do
    isWide = isWide and not view.test
    view = view.source
  end
  return view, isWide
end

function Set:origin()
  return self, true
end

function View:sendHere(data, length, kind)
  local source, skipped = self.source, self.skipped
  if skipped and not source.source then
    local sent = C.sync_send_many_as(handle, source.slots, source.length, skipped.slot, data,
      length, kind)
    return sent
  end
  return sendEach(self, data, length, kind)
end

-- The channel to other nodes, if what is sent to a view is for them, too.
local function channelOf(view)
  if view.source.channel == false then return false end -- of a view nil
  local set, isWide = view:origin()
  return isWide and set.channel
end

function View:send(data, kind)
  checkData(data, self)
  kind = core.kind(kind)
  local channel = channelOf(self)
  if channel then channel:publish(data, kind) end
  return self:sendHere(data, #data, kind)
end

function View:sendBytes(bytes, length, kind)
  core.checkBytes(self, bytes, length)
  kind = core.kind(kind, "sendBytes(bytes, length, kind)")
  local channel = channelOf(self)
  if channel then channel:publish(core.string(bytes, length), kind) end
  return self:sendHere(bytes, length, kind)
end

View.__tostring = Set.__tostring
Set.View, View.View = View, View

return Set
