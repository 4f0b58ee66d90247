--- Rooms: a class of rooms is what you extend, an instance is one room. Clients of a `sync.Remote`
-- whose `rooms` lists the class join it, and see its state.
--
--     local Arena = sync.Room:extend("Arena")
--     Arena.state = sync.state {players = sync.map {x = "float32", y = "float32"}}
--     function Arena:onJoin(member) self.state.players[member.id] = {owner = member} end
--     function Arena:onLeave(member) self.state.players[member.id] = nil end
--     function Arena:onTick(dt)
--       for id, p in self.state.players:each() do p.x = p.x + dt end
--     end
--     Game.rooms = {Arena}
--
-- A class has one room, which is made when the first client joins, and ends when the last
-- member has left. See docs/state.md.
-- @classmod sync.Room

local Class = require "sync.class"
local Member = require "sync.state.member"
local Membership = require "sync.state.membership"
local Method = require "sync.remoting.method"
local Record = require "sync.state.record"
local Schema = require "sync.state.schema"
local State = require "sync.state.state"
local compiler = require "sync.jit"
local core = require "sync.core"
local events = require "sync.remoting.events"
local failure = require "sync.failure"
local fault = require "sync.remoting.fault"
local json = require "sync.remoting.json"
local loop = require "sync.loop"
local options = require "sync.options"

local C = core.C
local now = C.sync_now

local MOST_CATCH_UP = 8 -- ticks at once: what is missed beyond is left out

local Room = Class:extend("Room")

local setting, settings = options.setting, {}

--- Ticks a second, at which `onTick` is called; 0: none.
settings.tickRate = setting {0, options.number(0, 1000), onClass = true}
--- Patches a second, at most: they are made behind ticks, where there are such.
settings.patchRate = setting {20, options.number(0.1, 1000), onClass = true}
--- Most members; false: any number.
settings.maxMembers = setting {false, options.orFalse(options.wholeNumber(1, 10 ^ 6)),
  onClass = true}

options.declare(Room, settings)

--- What members see: of `sync.state`.
Room.state = Schema.new {}
--- Functions that members may call, by name; or `sync.method`s. They get the room, the member
-- and the arguments.
Room.remote = {}

local lastNumber = 0

-- The functions of a class as those of a member, which `invoke` calls.
local function bound(class)
  return setmetatable({}, {__index = function(functions, name)
    local entry = class.remote[name]
    local method = getmetatable(entry) == Method and entry
    local fn = method and method.fn or entry
    if type(fn) ~= "function" then return nil end
    local function call(member, ...) return fn(member.room, member, ...) end
    if method then
      call = setmetatable({fn = call}, {__index = method, __metatable = Method})
    end
    functions[name] = call
    return call
  end})
end

--- Makes a class of rooms.
-- @tparam string name by which clients join
function Room:extend(name)
  local class = Class.extend(self, name)
  class.remote = setmetatable({}, {__index = self.remote})
  class.memberClass = Member:extend(name)
  class.memberClass.remote = bound(class)
  return class
end

--- Called when the room has been made, before the first member joins.
function Room:onCreate() end

--- Called when a client joins: it's a member from then on.
-- @tparam sync.Member member
-- @param options what the client has said
-- @treturn nil|boolean,string false, and why, refuses it; a `sync.fault` may be raised, too
function Room:onJoin(member, options) end -- luacheck: ignore member options

--- Called when a member has left; what it owned is nobody's then.
-- @tparam sync.Member member
-- @tparam string reason "left", what `kick` was given, or what `onClose` of its client is told
function Room:onLeave(member, reason) end -- luacheck: ignore member reason

--- Called at each tick.
-- @tparam number dt seconds that a tick lasts, always the same
function Room:onTick(dt) end -- luacheck: ignore dt

--- Called when the last member has left.
function Room:onEnd() end

local function begin(self)
  local class = getmetatable(self)
  local checked, problem = options.check(class)
  if not checked then error(problem, 0) end
  if not Schema.is(class.state) then
    error(class.className .. ".state must be made by sync.state", 0)
  end
  lastNumber = lastNumber + 1
  self.number, self.start, self.tick, self.patched = lastNumber, now(), 0, 0
  self.members, self.lastMember, self.clients = {}, 0, events.Set:new()
  self.inner = State.new(class.state, lastNumber)
  self.state = self.inner.root
  local rate = self.tickRate > 0 and self.tickRate or self.patchRate
  self.timer = loop.startTimer(1 / rate, 1 / rate, function() self:run() end)
  compiler.name(class.className .. ":onTick", class.onTick)
end

local function finish(self)
  if self.ended or self.members[1] then return end
  self.ended = true
  getmetatable(self).open = nil
  loop.stopTimer(self.timer)
  loop.guard("onEnd", self.onEnd, self)
  self.inner:clear()
end

--- The room of a class: it's made, if there is none.
-- @treturn sync.Room
function Room.find(class)
  local room = rawget(class, "open")
  if not room then
    room = class:new {}
    begin(room)
    class.open = room
    local ok, err = xpcall(room.onCreate, failure.trace, room)
    if not ok then
      finish(room)
      error(err, 0)
    end
  end
  return room
end

--- Who is in the room: a list, not to be changed.
-- @field members

--- The members' clients, as a set: for `send` and `except`.
-- @field clients

--- Fires an event at all members.
-- @tparam string name
-- @param ... arguments
function Room:fire(name, ...)
  return self.clients:fire(name, ...)
end

-- Time.

local function patch(self)
  local rate = self.tickRate > 0 and math.min(self.patchRate, self.tickRate) or self.patchRate
  if self.inner.asked[1] then self.inner:ask(self.members, rate) end
  self.inner:patch(self.tick)
end

local function ticks(self)
  local rate = self.tickRate
  local due = math.floor((now() - self.start) * rate + 1e-3)
  self.tick = math.max(self.tick, due - MOST_CATCH_UP)
  while self.tick < due and not self.ended do
    self.tick = self.tick + 1
    loop.guard("onTick", self.onTick, self, 1 / rate)
  end
end

-- Does what is due.
function Room:run()
  if self.tickRate == 0 then
    self.tick = self.tick + 1
    return patch(self)
  end
  ticks(self)
  local due = math.floor(self.tick * math.min(1, self.patchRate / self.tickRate))
  if due > self.patched and not self.ended then
    self.patched = due
    patch(self)
  end
end

-- Members.

local function envelope(self)
  if self.enveloped then return end
  self.enveloped = true
  local head, text = require "sync.flash.wire".around("sync.patch")
  C.sync_state_envelope(self.inner.handle, text, head, #text)
end

local FORMS = {binary = C.SYNC_FORM_BINARY, json = C.SYNC_FORM_JSON, amf3 = C.SYNC_FORM_AMF3}

-- The form that a client has asked for, or that of its wire; nil and why not.
local function formOf(client, wanted)
  local isJson = client._wire == json
  local form = wanted == nil and (isJson and "json" or "amf3") or wanted
  local fits = form == "json" and isJson or form == "amf3" and not isJson or
    form == "binary" and isJson and client.transport == "websocket"
  if fits then return form end
  return nil, ('form must be one that the connection can carry: "json"%s, or on AMF3 "amf3"')
    :format(client.transport == "websocket" and ' or "binary"' or "")
end

local function enter(self, member, client, form)
  local code = C.sync_state_join(self.inner.handle, FORMS[form])
  if code < 0 then error("sync_state_join: " .. core.problem(code), 0) end
  member.number = code
  C.sync_state_connect(self.inner.handle, code, client.slot)
  self.members[#self.members + 1] = member
  if client.resumeTime then self.clients:remember() end
  if client._wire ~= json then self.clients.mixed = true end
  self.clients:add(client)
end

-- Takes a member out of all but its onLeave.
local function forget(self, member)
  C.sync_state_leave(self.inner.handle, member.number)
  member.number = 0
  for i, other in ipairs(self.members) do
    if other == member then table.remove(self.members, i) end
  end
  self.clients:remove(member.client)
  member.client._membership:remove(self)
end

--- Takes a member out.
-- @tparam sync.Member member
-- @tparam string reason
-- @tparam boolean tells whether its client is told
function Room:remove(member, reason, tells)
  if member.number == 0 then return end
  forget(self, member)
  if tells then member.client:fire("sync.left", self.number, reason) end
  loop.guard("onLeave", self.onLeave, self, member, reason)
  member.room = nil
  finish(self)
end

local function refuse(why)
  return fault.new(fault.REFUSED, why)
end

-- Calls onJoin. Returns whether the member is accepted; if not, a fault, or what was raised.
local function askJoin(self, member, given)
  local ok, accepted, reason = xpcall(self.onJoin, function(err)
    return fault.is(err) and err or failure.trace(err)
  end, self, member, given)
  if not ok then return false, accepted end
  if member.number == 0 then return false, refuse "the room has taken the member out" end
  return accepted ~= false, refuse(reason or "the room has refused it")
end

-- Makes a client a member, or returns nil and a fault, or what was raised.
local function admit(self, client, given, wanted)
  local form, why = formOf(client, wanted)
  if not form then return nil, fault.new(fault.ARGUMENTS, why) end
  if self.maxMembers and #self.members >= self.maxMembers then
    return nil, refuse "the room is full"
  end
  if form == "amf3" then envelope(self) end
  self.lastMember = self.lastMember + 1
  local member = Member.create(self, client, self.lastMember)
  enter(self, member, client, form)
  Membership.of(client):add(self, member)
  local accepted, problem = askJoin(self, member, given)
  if accepted then return self:describe(member) end
  if member.number ~= 0 then forget(self, member) end
  member.room = nil
  return nil, problem
end

--- Makes a client a member.
-- @tparam sync.Remote client
-- @param given for `onJoin`
-- @tparam string|nil form
-- @treturn table|nil what the client is told, or nil and a fault
-- @raise what `onJoin` has raised
function Room:admit(client, given, form)
  local told, problem = admit(self, client, given, form)
  if told then return told end
  finish(self)
  if not fault.is(problem) then error(problem, 0) end
  return nil, problem
end

-- The result of sync.join.
function Room:describe(member)
  return {room = self.number, name = getmetatable(self).className, member = member.id, epoch = 0,
    tickRate = self.tickRate, patchRate = self.patchRate, start = self.start,
    state = self.inner.schema:told()}
end

-- Seeing.

--- Has a member look at a place, instead of at what it owns; without one, back to that.
-- @tparam sync.Member member
-- @tparam[opt] number x
-- @tparam[opt] number y
function Room:look(member, x, y)
  C.sync_state_look(self.inner.handle, member.number, x and 1 or 0, x or 0, y or 0)
end

local function setSight(self, call, member, entity, sight)
  local side = Record.side(entity)
  if not side then error(("%s(member, entity): this is no entity"):format(call), 3) end
  if side.number then
    C.sync_state_sight(self.inner.handle, member.number, side.table, side.number, sight)
  end
end

--- Shows an entity to a member, whatever the map's rule says.
function Room:show(member, entity)
  setSight(self, "show", member, entity, C.SYNC_SIGHT_SHOWN)
end

--- Hides an entity from a member, its owner too, whatever the map's rule says.
function Room:hide(member, entity)
  setSight(self, "hide", member, entity, C.SYNC_SIGHT_HIDDEN)
end

--- Leaves it to the map's rule again whether a member sees an entity.
function Room:unset(member, entity)
  setSight(self, "unset", member, entity, C.SYNC_SIGHT_RULE)
end

function Room:__tostring()
  return ("%s %d"):format(getmetatable(self).className, self.number or 0)
end

return Room
