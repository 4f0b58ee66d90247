--- A client's way into a room: from its question to `onJoin`'s answer, for which it may have to
-- wait. Its place is kept meanwhile. Who goes before was never in the room: `onJoin` ends where it
-- waits, and `onLeave` isn't called.
-- @classmod sync.rooms.entry

local Class = require "sync.class"
local Member = require "sync.rooms.member"
local failure = require "sync.failure"
local fault = require "sync.remoting.fault"
local log = require "sync.log"
local loop = require "sync.loop"
local task = require "sync.task"

local Entry = Class:extend("Entry")

local function refuse(why)
  return fault.new(fault.REFUSED, why)
end

local function catch(raised)
  return fault.is(raised) and raised or failure.catch(raised)
end

--- What a client is told of something that was raised: a fault, or that there was an error, of
-- which the log has the rest.
-- @param problem as `catch` keeps it
-- @tparam string what
function Entry.tell(problem, what)
  if fault.is(problem) then return problem end
  log.limited("error", what, ("error in %s: %s"):format(what, failure.describe(problem.raised)),
    {traceback = problem.traceback})
  return fault.new(fault.INTERNAL, "internal error")
end
Entry.catch = catch

-- Why nobody may come in now, or nil.
local function objection(home, line, isInvited)
  if home.ended then return "the room has ended" end
  if home.keep and home.keep.hasBegun and not home:goesOn() then return "the room is paused" end
  if line:isIn() then return "the client is in the room already" end
  if home.room.isLocked and not isInvited then return "the room is locked" end
  if home:isFull() then return "the room is full" end
end

-- Events that have waited go behind the answer, which leaves when the call returns.
local flushing = {}
local function flush()
  local list = flushing
  flushing = {}
  for _, member in ipairs(list) do member:fireEarly() end
end

-- Ends the waiting: there is a member, or nobody.
local function settle(self)
  self.isOver, self.member.entry = true, nil
  self.home:settle(self)
end

local function accept(self)
  local home, member = self.home, self.member
  settle(self)
  home:add(member)
  self.done(home:describe(member))
  local isHere = self.line:begin()
  flushing[#flushing + 1] = member
  loop.atEnd(flush)
  if not isHere then home:away(member) end
end

local function reject(self, problem)
  local home, member = self.home, self.member
  settle(self)
  member:leave(false)
  member.room = nil
  self.done(nil, problem)
  home:offer()
  home:look()
end

local function ask(self, given)
  local room = self.home.room
  local ok, accepted, why = xpcall(room.onJoin, catch, room, self.member, given)
  if self.isOver then return end
  if not ok then return reject(self, Entry.tell(accepted, room.className .. ":onJoin")) end
  if accepted == false then return reject(self, refuse(why or "the room has refused it")) end
  accept(self)
end

-- onJoin may wait.
local function start(self, given)
  local ok, started = pcall(task.spawn, ask, self, given)
  if not ok then
    if not self.isOver then reject(self, fault.new(fault.BUSY, "too many clients wait")) end
  elseif not self.isOver then
    self.task = started
  end
end

--- Begins one.
-- @tparam Home home
-- @tparam table line to the client
-- @param given for onJoin
-- @tparam boolean isInvited whether the client may come in although the room is locked
-- @tparam function done called once, with what the client is told, or with nil and a fault
function Entry.begin(home, line, given, isInvited, done)
  local why = objection(home, line, isInvited)
  if why then return done(nil, refuse(why)) end
  home.lastMember = home.lastMember + 1
  local member = Member.create(home.room, line, home.lastMember, line:describe())
  local self = Entry:new {home = home, line = line, member = member, done = done, isOver = false}
  member.entry = self
  line:enter(self, member)
  home:expect(self)
  home:whenOpen(function(problem)
    if self.isOver then return end
    if problem then
      return reject(self, Entry.tell(problem, home.class.className .. ":onCreate"))
    end
    start(self, given)
  end)
end

--- The client has gone, or is not wanted: it's not let in.
-- @tparam[opt] string why
function Entry:cancel(why)
  if self.isOver then return end
  reject(self, refuse(why or "the client has gone"))
  if self.task then self.task:cancel() end
end

return Entry
