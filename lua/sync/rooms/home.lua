--- What is inside a room that lives in this process: its state, its members' lines, the places that
-- are kept, and its end. `sync.Room` is its face.
--
-- A place of a room is taken by a member (who may be away), by an entry (whose `onJoin` waits),
-- or by a seat that was reserved. A room ends when nothing takes a place any more, and none of
-- its handlers waits; or when it's told.
-- @classmod sync.rooms.home

local Class = require "sync.class"
local State = require "sync.state.state"
local There = require "sync.rooms.there"
local core = require "sync.core"
local directory = require "sync.rooms.directory"
local events = require "sync.remoting.events"
local finder = require "sync.rooms.finder"
local keeping = require "sync.rooms.keeping"
local loop = require "sync.loop"
local matching = require "sync.rooms.matching"
local nodes = require "sync.rooms.nodes"
local numbers = require "sync.rooms.numbers"
local pace = require "sync.rooms.pace"
local placing = require "sync.rooms.placing"
local returning = require "sync.rooms.returning"
local task = require "sync.task"

local FIRST_SECONDS = 10    -- that a room waits for its first member, whom nobody has brought
local SECRET_BYTES = 8
local MOST_SEATS = 10000

local Home = Class:extend("Home")

--- Makes that of a room: the room has a number, an id, a state and no members from now on.
-- @tparam sync.Room room
-- @tparam[opt] string id
-- @tparam[opt] number number that it had in another process
function Home.create(room, id, number)
  local class = getmetatable(room)
  local self = Home:new {
    room = room, class = class,
    number = numbers.take(number), -- in this process, by which clients name the room
    lastMember = 0, byMember = {}, -- members by id
    entries = {}, entryCount = 0,  -- who is on the way in
    seats = {}, seatCount = 0,     -- timers, by secret
    busy = 0,                      -- handlers that wait
    isOpening = false,             -- onCreate waits
    keep = false, epoch = 0,       -- of a room that outlives its home: lua/sync/rooms/keep.lua
    waiting = {},                  -- for it: functions
    hasBegun = false,              -- somebody has come
    bucket = false, place = false, -- in the directory
    ended = false,
    emptyTimer = false,
    clients = events.Set:new(),    -- of the members who are here
    lines = {}, guests = {},       -- of those who aren't, by node and key; how many, by node
    load = 0,                      -- of the node's: see placing.lua
    seen = {},                     -- tickets, of which the finder isn't told yet
  }
  self.state = State.new(class.state, self.number)
  room.id, room.state, room.members = id or directory.newId(nodes.own()), self.state.root, {}
  room.inner = self
  directory.add(self)
  pace.begin(self)
  return self
end

-- Handlers that may wait.

-- What the state refers to is free, when no handler may look at it any more.
local function clear(self)
  if not self.ended or self.busy > 0 or self.isCleared then return end
  self.isCleared = true
  self.state:clear()
  numbers.free(self.number)
end

--- Calls a handler, which may wait, and then a function. What it raises is logged.
-- @tparam string what its name in the log
-- @tparam function after
-- @tparam function fn
function Home:handle(what, after, fn, ...)
  self.busy = self.busy + 1
  local function run(...)
    loop.guard(what, fn, ...)
    self.busy = self.busy - 1
    after()
    clear(self)
  end
  if not pcall(task.spawn, run, ...) then run(...) end -- too many functions wait
end

-- Whether it hasn't begun yet.
local function isComing(self)
  return self.isOpening or self.keep and not self.keep.hasBegun
end

--- Calls a function when onCreate has ended: at once, or later.
function Home:whenOpen(fn)
  if isComing(self) then self.waiting[#self.waiting + 1] = fn else fn() end
end

--- Calls what has waited for that, if there is no more to wait for.
-- @param[opt] problem that has ended the room
function Home:letIn(problem)
  if not problem and isComing(self) then return end
  local waiting = self.waiting
  self.waiting = {}
  for _, fn in ipairs(waiting) do fn(problem) end
end

--- Whether it may go on: always, but where another node may have a room that outlives its home.
function Home:goesOn()
  local keep = self.keep
  return not keep or keep:holds()
end

--- Calls onCreate or onRestore.
-- @tparam string name of the handler
-- @tparam function catch
-- @param given
-- @treturn boolean,any false and what was raised, as failure.catch keeps it
function Home:open(name, catch, given)
  local room = self.room
  local failed
  self.isOpening = true
  self.busy = self.busy + 1
  local function run()
    local ok, problem = xpcall(room[name], catch, room, given)
    self.isOpening = false
    self.busy = self.busy - 1
    if not ok then failed = problem end
    if not ok and not self.ended then self:vanish() end
    self:letIn(failed)
    clear(self)
    if not self.ended then
      self:offer()
      self:look()
    end
  end
  local ok, problem = pcall(task.spawn, run)
  if not ok then
    self.busy = self.busy - 1
    self:vanish()
    clear(self)
    return false, catch(problem)
  end
  return failed == nil, failed
end

-- Places.

--- How many places are taken.
function Home:taken()
  return #self.room.members + self.entryCount + self.seatCount
end

function Home:isFull()
  local most = self.room.maxMembers
  return most ~= false and self:taken() >= most
end

--- Says whether somebody who names no room may be brought here.
function Home:offer()
  local room = self.room
  local isPaused = self.keep and self.keep.isPaused and self.keep.hasBegun
  local isOpen = not (self.ended or isPaused or room.isLocked or room.isPrivate or self:isFull())
  directory.offer(self, isOpen and matching.bucket(self.class, room.metadata) or nil)
  finder.changed(self)
  placing.changed(self)
end

--- Keeps a place.
-- @tparam number seconds
-- @treturn string|nil a secret, for which it is given; nil: there is none left
function Home:reserve(seconds)
  if self.ended or self:isFull() or self.seatCount >= MOST_SEATS then return nil end
  local secret = core.randomHex(SECRET_BYTES)
  self:keepSeat(secret, seconds)
  self:offer()
  return secret
end

--- Keeps a place for this secret.
function Home:keepSeat(secret, seconds)
  self.seatCount = self.seatCount + 1
  self.seats[secret] = loop.startTimer(seconds, 0, function()
    self:release(secret)
    self:look()
  end)
  self.seats[secret].due = core.C.sync_now() + seconds
end

--- Gives a place back that was kept.
-- @treturn boolean whether it was
function Home:release(secret)
  local timer = self.seats[secret]
  if not timer then return false end
  loop.stopTimer(timer)
  self.seats[secret] = nil
  self.seatCount = self.seatCount - 1
  self:offer()
  return true
end

-- Members.

--- Somebody is on the way in.
function Home:expect(entry)
  self.hasBegun = true
  if self.emptyTimer then loop.stopTimer(self.emptyTimer) end
  self.emptyTimer = false
  self.entries[entry] = true
  self.entryCount = self.entryCount + 1
  self:offer()
end

--- Is it no more: there is a member, or nobody.
function Home:settle(entry)
  self.entries[entry] = nil
  self.entryCount = self.entryCount - 1
end

--- A member is in.
function Home:add(member)
  local members = self.room.members
  members[#members + 1] = member
  self.byMember[member.id] = member
  self:offer()
end

--- Takes a member out.
-- @tparam sync.Member member
-- @tparam string reason
-- @tparam boolean tells whether its client is told
function Home:remove(member, reason, tells)
  if not self.byMember[member.id] then return end
  local room, members = self.room, self.room.members
  for i, other in ipairs(members) do
    if other == member then table.remove(members, i) end
  end
  self.byMember[member.id] = nil
  member:leave(tells and reason)
  self:offer()
  self:handle("onLeave", function()
    member.room = nil
    self:look()
  end, room.onLeave, room, member, reason)
end

--- Fires an event at all members, but for one.
-- @tparam sync.Member|nil skipped
function Home:fire(skipped, ...)
  if not self:goesOn() then return false, "paused" end
  local line = skipped and skipped.line
  local set = line and line.client and self.clients:except(line.client) or self.clients
  local sent = set:fire(...)
  There.fireAll(self, line and line.node and line, ...)
  return sent
end

--- A member's client has lost its connection, and may come back.
function Home:away(member)
  if not self.byMember[member.id] then return end
  member.isAway = true
  loop.guard("onAway", self.room.onAway, self.room, member)
end

--- It is back.
function Home:back(member)
  if not self.byMember[member.id] then return end
  member.isAway = false
  loop.guard("onReturn", self.room.onReturn, self.room, member)
end

-- By what a member who is connected here comes back, when this node has died.
local function backOf(self, member)
  local client = member.line.client
  if not (client and client.resumeTime and self.keep) then return nil end
  return self.room.id .. "." .. returning.secretOf(member)
end

--- What a client is told that has come in: the result of sync.join.
function Home:describe(member)
  local room = self.room
  return {room = self.number, id = room.id, code = room.code, name = self.class.className,
    member = member.id, epoch = self.epoch, tickRate = room.tickRate, patchRate = room.patchRate,
    start = self.start, state = self.state.schema:told(), back = backOf(self, member)}
end

-- The end.

--- Whether nothing keeps the room.
function Home:isEmpty()
  return self:taken() == 0 and self.busy == 0
end

--- Ends the room if it's time to.
function Home:look()
  if self.ended or self.emptyTimer or not self:isEmpty() then return end
  local seconds = self.room.emptyTime
  if seconds == false then return end
  if not self.hasBegun then seconds = math.max(seconds, FIRST_SECONDS) end
  if seconds == 0 then return self:finish() end
  self.emptyTimer = loop.startTimer(seconds, 0, function()
    self.emptyTimer = false
    if self:isEmpty() then self:finish() end
  end)
end

--- Takes the room out of everything, without a word to its handlers.
function Home:vanish()
  self.ended = true
  directory.remove(self)
  finder.changed(self)
  placing.changed(self)
  pace.stop(self)
  if self.keep then keeping.remove(self) end
  if self.emptyTimer then loop.stopTimer(self.emptyTimer) end
  for secret in pairs(self.seats) do self:release(secret) end
end

--- It can't begin: who waits is told why.
function Home:fail(problem)
  self:vanish()
  self:letIn(problem)
  clear(self)
end

--- Another node has the room: it's over here.
-- @treturn table a list of `{line, id}` of those who were its members
function Home:abandon()
  self:vanish()
  for entry in pairs(self.entries) do entry:cancel("the room is on another node by now") end
  local left, room = {}, self.room
  for i, member in ipairs(room.members) do
    left[i] = {line = member.line, id = member.id}
    member:leave(false)
    member.room = nil
  end
  room.members, self.byMember = {}, {}
  self:handle("onTaken", function() end, room.onTaken, room)
  return left
end

--- Ends the room, with whoever is in it.
-- @tparam[opt] string reason for the members
function Home:finish(reason)
  if self.ended then return end
  self:vanish()
  for entry in pairs(self.entries) do entry:cancel("the room has ended") end
  local members = self.room.members
  for i = #members, 1, -1 do self:remove(members[i], reason or "ended", true) end
  self:handle("onEnd", function() end, self.room.onEnd, self.room)
end

return Home
