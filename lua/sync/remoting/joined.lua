--- A room that a client of `sync.connect` is in.
--
--     game:join("Arena", {mode = "ranked"}, function(room, err)
--       room.state.players:onAdd(function(player, id) … end)
--       room:call("aim", 90, function(result, err) … end)
--     end)
--
-- `room.state` has the state's fields, and maps: `players[id]`, `players:get(id)`,
-- `players:each()`, `players:count()`, `players:isMine(id)`, and the listeners below. What they
-- return are tables of the client; to write into them changes nothing elsewhere.
--
-- Other fields: `name` of its class, `id`, `code` (of a private room), `number`, `member` (the
-- member's id), `tickRate`, `patchRate`, `tick`, `inputTaken` (the number of the last that was),
-- and `isIn`.
-- @classmod sync.JoinedRoom

local Class = require "sync.class"
local Listeners = require "sync.remoting.listeners"
local Seen = require "sync.remoting.seen"
local null = require "cjson".null
local patches = require "sync.remoting.patches"
local task = require "sync.task"
local try = require "sync.remoting.try"

local Joined = Class:extend("JoinedRoom")

local LISTENER = "a room's listener"

local function listeners() return Listeners.new(LISTENER) end

-- Maps.

local INNER = {} -- no key is this
local methods = {}

--- The entity of a key, or nil.
function methods.get(map, key)
  local entity = map[INNER].shape.keys[key]
  return entity and entity.fields
end

--- How many there are.
function methods.count(map)
  return map[INNER].shape.count
end

--- Whether the member owns the entity of a key: its private fields are sent then.
function methods.isMine(map, key)
  local entity = map[INNER].shape.keys[key]
  return entity ~= nil and entity.mine
end

--- Goes over keys and entities.
function methods.each(map)
  local keys = map[INNER].shape.keys
  return function(_, key)
    local nextKey, entity = next(keys, key)
    return nextKey, entity and entity.fields
  end
end

--- Calls `fn(entity, key, why)` for each that is there, and each that comes: "new", or "seen"
-- when it was there before, and comes into sight.
-- @treturn function that ends it
function methods.onAdd(map, fn)
  local stop, there = map[INNER].add:add(fn), {}
  for key, fields in map:each() do there[#there + 1] = {fields, key} end
  for _, pair in ipairs(there) do try(LISTENER, nil, fn, pair[1], pair[2], "seen") end
  return stop
end

--- Calls `fn(entity, key, why)` when one is there no more: "gone", or "hidden" when it is only
-- out of sight (or has gone while nobody could tell).
-- @treturn function that ends it
function methods.onRemove(map, fn)
  return (map[INNER].remove:add(fn))
end

--- Calls `fn(entity, key, names)` with the names of the fields that a patch has brought.
-- @treturn function that ends it
function methods.onChange(map, fn)
  return (map[INNER].change:add(fn))
end

local Map = {__index = function(map, key) return methods[key] or methods.get(map, key) end}

function Map.__newindex()
  error("the state of a room is changed by the server alone", 2)
end

--- Makes a room of the answer to `sync.join`.
-- @tparam sync.Client client
-- @tparam table told
-- @raise a text, for what this client doesn't know
function Joined.create(client, told)
  local seen = Seen.new(told.state)
  local self = Joined:new {
    client = client, seen = seen, name = told.name, number = told.room, member = told.member,
    id = told.id, code = told.code, tickRate = told.tickRate,
    patchRate = told.patchRate, start = told.start, epoch = told.epoch,
    back = told.back,                                  -- by which the member comes back
    isIn = true, tick = 0, inputTaken = 0, lastInput = 0,
    waiting = true,                                    -- for a snapshot
    asks = nil,                                        -- for one: "yes", or "again" later
    maps = {},
    changes = listeners(), patched = listeners(), lefts = listeners(),
    stops = {},                                        -- of listeners to events
  }
  local byName = {}
  for _, shape in ipairs(seen.tables) do
    local map = setmetatable({[INNER] = {shape = shape, add = listeners(), remove = listeners(),
      change = listeners()}}, Map)
    self.maps[shape], byName[shape.name] = map, map
  end
  self.state = setmetatable({}, {__newindex = Map.__newindex, __index = function(_, name)
    return byName[name] or seen.root.fields[name]
  end})
  return self
end

-- A message with parameters by name.
local function about(self, fields)
  fields.room = self.number
  return fields
end

-- A list for the wire, where nil has no place.
local function listOf(arguments, count)
  for i = 1, count do
    if arguments[i] == nil then arguments[i] = null end
  end
  return arguments
end

--- Calls a function of the room.
-- @tparam string name
-- @param ... arguments, and last a function that is called with the result, or with nil and an
-- error. Inside `sync.spawn` it may be left out: then the call waits, and returns that
function Joined:call(name, ...)
  local count = select("#", ...) - 1
  local arguments = {...}
  local done = arguments[count + 1]
  if type(done) ~= "function" then
    if not task.isInside() then
      error("call(name, …, fn): the last argument must be a function, outside sync.spawn", 2)
    end
    return task.await(function(go)
      arguments[count + 2] = go
      self:call(name, unpack(arguments, 1, count + 2))
    end)
  end
  arguments[count + 1] = nil
  self.client.requests:askNamed("sync.call", about(self, {method = name,
    params = listOf(arguments, count)}), done)
end

--- Calls a function of the room as the next input, without an answer.
-- @treturn number|nil the input's number, which patches tell when it was taken; nil when it
-- can't be sent now
function Joined:input(name, ...)
  local input = self.lastInput + 1
  local sent = self.client.requests:tellNamed("sync.call", about(self, {method = name,
    input = input, params = listOf({...}, select("#", ...))}))
  if not sent then return nil end
  self.lastInput = input
  return input
end

--- Calls a function with the arguments of each event of this name, as long as the member is in
-- the room: events don't tell where they were fired.
-- @treturn function that ends it
function Joined:on(name, fn)
  local stop = self.client:on(name, fn)
  self.stops[stop] = true
  return function()
    self.stops[stop] = nil
    stop()
  end
end

--- Calls `fn(state, names)` with the names of the state's own fields that a patch has brought.
function Joined:onChange(fn) return (self.changes:add(fn)) end

--- Calls `fn(room)` after each patch.
function Joined:onPatch(fn) return (self.patched:add(fn)) end

--- Calls `fn(reason)` when the member is in the room no more, and not by `leave`.
function Joined:onLeft(fn) return (self.lefts:add(fn)) end

--- Leaves.
-- @tparam[opt] function done called when the server knows
function Joined:leave(done)
  if not self.isIn then return end
  self:finish()
  self.client.joined:remove(self)
  self.client.requests:askNamed("sync.leave", about(self, {}), done or function() end)
end

function Joined:finish()
  self.isIn = false
  for stop in pairs(self.stops) do stop() end
end

-- What the client tells.

--- The member isn't in the room any more.
function Joined:left(reason)
  if not self.isIn then return end
  self:finish()
  self.client.joined:remove(self)
  self.lefts:tell(reason)
end

--- The connection is a new one: what comes before the next snapshot is for nothing.
function Joined:resumed()
  self.waiting, self.asks = true, nil
end

--- The member is back, by another node than before.
function Joined:returned(told)
  self.number, self.start, self.back = told.room, told.start, told.back
  self.epoch = math.max(self.epoch, told.epoch)
  self:resumed()
end

--- Asks for a snapshot, once.
function Joined:ask()
  self.waiting = true
  if self.asks == "yes" then return end
  self.asks = "yes"
  self.client.requests:askNamed("sync.snapshot", about(self, {}), function(_, err)
    if not err then return end
    if self.asks == "yes" then self.asks = "again" end
    if type(err.code) == "number" then self:left(err.message) end
  end)
end

local function tellOne(self, one)
  local map, entity = self.maps[one.shape], one.entity
  if map then
    map[INNER][one.what]:tell(entity.fields, entity.key, one.detail)
    return
  end
  local names = one.detail
  if type(names) ~= "table" then
    names = {}
    for i, field in ipairs(one.shape.all) do names[i] = field.name end
  end
  self.changes:tell(self.state, names)
end

--- Takes a patch.
-- @treturn nil|string why it was refused
function Joined:take(patch)
  if patch.epoch < self.epoch then return nil end
  if self.waiting and not patch.snapshot then
    if self.asks == "again" then self:ask() end
    return nil
  end
  local ok, told = pcall(self.seen.apply, self.seen, patch)
  if not ok then
    if not patches.isRefusal(told) then error(told, 0) end
    self:ask()
    return tostring(told)
  end
  self.epoch, self.waiting, self.asks = patch.epoch, false, nil
  self.tick, self.inputTaken = patch.tick, patch.input
  for _, one in ipairs(told) do
    if self.isIn then tellOne(self, one) end
  end
  if self.isIn then self.patched:tell(self) end
  return nil
end

return Joined
