--- Rooms: a class of rooms is what you extend, an instance is one room. Clients of a `sync.Remote`
-- whose `rooms` lists the class join them, and see their state.
--
--     local Duel = sync.Room:extend("Duel")
--     Duel.maxMembers = 2
--     Duel.filterBy = {"mode"}
--     Duel.state = sync.state {players = sync.map {name = "string", hp = "uint8"}}
--     function Duel:onJoin(member, options)
--       self.state.players[member.id] = {owner = member, name = member.user, hp = 100}
--     end
--     function Duel:onLeave(member) self.state.players[member.id] = nil end
--     Duel.remote.hit = sync.method("id: integer", {rate = 5}, function(room, member, id) … end)
--     Game.rooms = {Duel}
--
-- See docs/rooms.md for a room's life, and docs/state.md for what its members see. What is inside
-- a room is in lua/sync/rooms/home.lua.
-- @classmod sync.Room

local Class = require "sync.class"
local Member = require "sync.rooms.member"
local Record = require "sync.state.record"
local Schema = require "sync.state.schema"
local code = require "sync.rooms.code"
local core = require "sync.core"
local declared = require "sync.declared"
local directory = require "sync.rooms.directory"
local functions = require "sync.rooms.functions"
local json = require "sync.remoting.json"
local making = require "sync.rooms.making"
local options = require "sync.options"
local shutdown = require "sync.rooms.shutdown"
local waits = require "sync.waits"
require "sync.rooms.calls"
require "sync.rooms.looking"
require "sync.rooms.takeover"

local C = core.C

local MOST_METADATA = 2048 -- bytes, as JSON
local SEAT_SECONDS = 15

local Room = Class:extend("Room")

local setting, settings = options.setting, {}

--- Ticks a second, at which `onTick` is called; 0: none.
settings.tickRate = setting {0, options.number(0, 1000), onClass = true}
--- Patches a second, at most: they are made behind ticks, where there are such.
settings.patchRate = setting {20, options.number(0.1, 1000), onClass = true}
--- Most members; false: any number.
settings.maxMembers = setting {false, options.orFalse(options.wholeNumber(1, 10 ^ 6)),
  onClass = true}
--- Rooms of the class that a process has at a time.
settings.maxOpen = setting {10000, options.wholeNumber(1, directory.MOST), onClass = true}
--- Seconds that a room stays when the last has left; 0: none, false: until `close`.
settings.emptyTime = setting {0, options.orFalse(options.number(0, 86400)), onClass = true}
--- Whether clients may make rooms of the class; if not, the server alone does, by `create`.
settings.clientsCreate = setting {true, options.boolean, onClass = true}
--- Whether a room outlives its home, in a cluster: seconds between the snapshots from which another
-- node goes on with it; true: 1.
settings.persist = setting {false, {check = function(value)
  return type(value) == "boolean" or type(value) == "number" and value >= 0.1 and value <= 3600,
    "a boolean, or seconds from 0.1 to 3600"
end}, onClass = true}
--- On which node a room begins that clients make: "here", that of who makes it, or "least", that
-- whose rooms have the least to do (see lua/sync/rooms/placing.lua).
settings.home = setting {"here", options.oneOf {"here", "least"}, onClass = true}
--- Names of options that choose a room for who names none: those of the room's metadata are the
-- same.
settings.filterBy = setting {{}, options.listOf("a list of names"), onClass = true}
--- Which of several rooms is the first: names of metadata, or "members"; behind a minus those that
-- have more go first. What is equal goes by age.
settings.sortBy = setting {{"-members"}, options.listOf("a list of names"), onClass = true}

--- What members see: of `sync.state`.
settings.state = setting {Schema.new {}, {check = function(value)
  return Schema.is(value), "made by sync.state"
end}, onClass = true}

options.declare(Room, settings)

--- Functions that members may call, by name; or `sync.method`s. They get the room, the member
-- and the arguments.
Room.remote = {}

--- What makes a room known on all nodes: a text.
-- @field id

--- By which a private room is joined, or nil.
-- @field code

--- Who is in the room: a list, not to be changed.
-- @field members

--- What clients see of the room that aren't in it: set by `setMetadata`, not to be changed.
-- @field metadata

--- The number of the last tick.
-- @field tick

--- Whether nobody more may come in, by `lock`.
Room.isLocked = false

--- Whether it's joined by its code alone, by `makePrivate`.
Room.isPrivate = false

-- The functions of a class as those of a member, which `invoke` calls.
local function bound(class)
  return functions.wrapped(rawget(class.memberClass, "remote"), class, function(_, fn)
    local inner = declared[fn] or fn
    local function call(member, ...) return inner(member.room, member, ...) end
    return inner ~= fn and waits.declare(call) or call
  end)
end

Room.keptByReload = {"memberClass"}

-- Rooms that live keep their pace: their members were told it. The shape of their state stays, too.
function Room:_renewed(before)
  making.forget(self)
  for _, home in ipairs(directory.some(self)) do
    for _, name in ipairs {"tickRate", "patchRate"} do
      local was = before[name] or self.super[name]
      if rawget(home.room, name) == nil then home.room[name] = was end
    end
  end
end

--- Makes a class of rooms.
-- @tparam string name by which clients join
function Room:extend(name)
  local class = Class.extend(self, name)
  class.remote = setmetatable({}, {__index = self.remote})
  class.memberClass = rawget(class, "memberClass") or Member:extend(name)
  class.memberClass.remote = bound(class)
  directory.name(class)
  return class
end

-- Handlers. Those of which that is said may wait, as in sync.spawn.

--- Called when the room has been made, before anybody joins, who wait for it. May wait.
-- What it raises ends the room; a `sync.fault` is told to who has made it.
-- @param given options of who makes it: of a client, or of `create`
function Room:onCreate(given) end -- luacheck: ignore given

--- Called when a client wants to join. It's a member, and in `members`, when this has accepted it.
-- May wait: its place is kept.
-- @tparam sync.Member member
-- @param given options of the client
-- @treturn nil|boolean,string false, and why, refuses it; a `sync.fault` may be raised, too
function Room:onJoin(member, given) end -- luacheck: ignore member given

--- Called when a member has left; what it owned is nobody's then. May wait.
-- @tparam sync.Member member
-- @tparam string reason "left", what `kick` or `close` was given, or what `onClose` of its client
-- is told
function Room:onLeave(member, reason) end -- luacheck: ignore member reason

--- Called when a member's client has lost its connection, and has `resumeTime` to come back.
-- @tparam sync.Member member
function Room:onAway(member) end -- luacheck: ignore member

--- Called when it is back.
-- @tparam sync.Member member
function Room:onReturn(member) end -- luacheck: ignore member

--- Called at each tick.
-- @tparam number dt seconds that a tick lasts, always the same
function Room:onTick(dt) end -- luacheck: ignore dt

--- Called when the server drains (`sync.drain`, `--drain`): the room is locked. May wait, until a
-- match is over: till then its members are not sent elsewhere, and then the room ends. A room
-- without such a handler ends when the server stops; its members are told "drain".
-- @tparam number seconds that it may take
function Room:onShutdown(seconds) end -- luacheck: ignore seconds
shutdown.watch(Room.onShutdown)

--- Called when the room has ended. May wait.
function Room:onEnd() end

--- Called, instead of `onCreate`, when the room has come up on this node with its state, as its
-- home has died: all else of it is to be set here. Its members are there, and away. May wait.
function Room:onRestore() end

--- Called when another node has the room, which was thought dead here: this instance of it is over.
-- What it has begun is to be ended, and nothing to be written anywhere.
function Room:onTaken() end

--- Called at an upgrade, when the next process is about to take the room over, which goes on there
-- with its declared state and members: what this returns is told to `onTakeover`. See
-- docs/upgrade.md.
-- @return a value without functions and the like; nil: nothing
function Room:onHandover() end

--- Called there with it, instead of `onCreate`, unless it was nil.
-- @param data
function Room:onTakeover(data) end -- luacheck: ignore data

-- Making and finding rooms, by their class.

--- Makes a room. Without members it ends after 10 s, or `emptyTime` if that is longer.
-- @function Class:create
-- @param[opt] given for `onCreate`
-- @treturn sync.Room|nil or nil and a `sync.fault`: there are too many, or onCreate has failed
function Room:create(given)
  making.check(self)
  local home, problem = making.make(self, given)
  return home and home.room, problem
end

--- The rooms of a class that live in this process: a list, the oldest first.
function Room:all()
  local list = {}
  for i, home in ipairs(directory.some(self)) do list[i] = home.room end
  return list
end

--- The room of an id, if it lives in this process.
function Room:find(id)
  local home = directory.byId(id)
  return home and home.class == self and home.room or nil
end

-- What a room does.

--- Fires an event at all members.
-- @tparam string name
-- @param ... arguments
function Room:fire(name, ...)
  return self.inner:fire(nil, name, ...)
end

--- The room without one member: `room:except(member):fire(name, …)`.
function Room:except(member)
  local home = self.inner
  return {fire = function(_, ...) return home:fire(member, ...) end}
end

--- The member of an id, or nil.
function Room:member(id)
  return self.inner.byMember[id]
end

--- Lets nobody more in, but for those who have a seat.
function Room:lock()
  self.isLocked = true
  self.inner:offer()
end

--- Ends that.
function Room:unlock()
  self.isLocked = nil
  self.inner:offer()
end

--- Makes the room private: it isn't listed, and joined by its code alone.
-- @treturn string the code
function Room:makePrivate()
  if self.code or self.inner.ended then return self.code end
  local made
  repeat made = code.make() until not directory.byCode(made)
  self.isPrivate = true
  directory.encode(self.inner, made)
  self.inner:offer()
  return made
end

--- Makes it public again.
function Room:makePublic()
  self.isPrivate = nil
  directory.encode(self.inner, nil)
  self.inner:offer()
end

--- Sets what clients see that aren't in the room, and filter by.
-- @tparam table metadata values by name, at most 2 KiB as JSON
function Room:setMetadata(metadata)
  local text, problem
  if type(metadata) == "table" then text, problem = json.encode(metadata) end
  if not text or #text > MOST_METADATA then
    error(("setMetadata(metadata): metadata must be a table of values by name, with at most %d " ..
      "bytes as JSON%s"):format(MOST_METADATA, problem and ": " .. problem or ""), 2)
  end
  self.metadata = metadata
  self.inner:offer()
end

--- Keeps a place: who joins by what this returns (`joinById`) gets it, also where the room is
-- locked or private.
-- @tparam[opt=15] number seconds that it is kept
-- @treturn string|nil nil: the room is full, or has ended
function Room:reserve(seconds)
  local secret = self.inner:reserve(seconds or SEAT_SECONDS)
  return secret and self.id .. "." .. secret
end

--- Ends the room, with whoever is in it: `onLeave` for each, and then `onEnd`.
-- @tparam[opt="ended"] string reason that the members are told
function Room:close(reason)
  self.inner:finish(reason)
end

-- Seeing.

--- Has a member look at a place, instead of at what it owns; without one, back to that.
-- @tparam sync.Member member
-- @tparam[opt] number x
-- @tparam[opt] number y
function Room:look(member, x, y)
  self.inner.hasSights = true
  C.sync_state_look(self.inner.state.handle, member.number, x and 1 or 0, x or 0, y or 0)
end

local function setSight(self, call, member, entity, sight)
  local side = Record.side(entity)
  if not side then error(("%s(member, entity): this is no entity"):format(call), 3) end
  self.inner.hasSights = true
  if side.number then
    C.sync_state_sight(self.inner.state.handle, member.number, side.table, side.number, sight)
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
  return ("%s %s"):format(self.className, self.id or "")
end

return Room
