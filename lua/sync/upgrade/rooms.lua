--- Rooms that go on in the next process: their declared state, members, codes and seats. Members
-- that are connected get a snapshot there.
-- @module sync.upgrade.rooms

local Here = require "sync.rooms.here"
local Home = require "sync.rooms.home"
local Member = require "sync.rooms.member"
local Room = require "sync.rooms.room"
local There = require "sync.rooms.there"
local clients = require "sync.upgrade.clients"
local core = require "sync.core"
local directory = require "sync.rooms.directory"
local keeping = require "sync.rooms.keeping"
local loop = require "sync.loop"
local making = require "sync.rooms.making"
local nodes = require "sync.rooms.nodes"
local packed = require "sync.packed"
local returning = require "sync.rooms.returning"
local saved = require "sync.state.saved"

local now = core.C.sync_now

local rooms = {}

local function each(visit)
  for _, class in ipairs(directory.classes()) do
    for _, home in ipairs(directory.some(class)) do visit(home) end
  end
end

--- What still has to come to its end, or nil.
function rooms.unrest()
  local why
  if nodes.waiting() > 0 then
    return ("%d questions to other nodes wait for answers"):format(nodes.waiting())
  end
  each(function(home)
    if home.keep and (home.keep.isWriting or home.keep.heir) then
      why = ("the engine keeps %s just now"):format(tostring(home.room))
    end
    if home.busy > 0 or home.entryCount > 0 or home.isOpening then
      why = ("a handler of %s waits"):format(tostring(home.room))
    end
  end)
  return why
end

local function packMember(member)
  local told, line = {}, member.line
  for name in pairs(line:describe()) do told[name] = member[name] end
  return {id = member.id, client = line.client and line.client.id, form = line.form,
    isAway = member.isAway, told = told, input = member.lastInput, secret = member.secret,
    there = not line.client and line:pack() or nil}
end

local function packSeats(home)
  local seats = {}
  for secret, timer in pairs(home.seats) do seats[secret] = timer.due - now() end
  return seats
end

local function shapeOf(home)
  return (packed.encode(home.state.schema:told(), true)) -- equal ones are equal texts
end

local function pack(home)
  local room, class = home.room, home.class
  if home.hasSights and class.onTakeover == Room.onTakeover then
    error(("%s has used look, show, hide or unset, which don't go along: say them again in " ..
      "onTakeover"):format(tostring(room)), 0)
  end
  local members = {}
  for i, member in ipairs(room.members) do members[i] = packMember(member) end
  return {what = "room", class = class.className, id = room.id, code = room.code,
    number = home.number, isLocked = rawget(room, "isLocked"),
    isPrivate = rawget(room, "isPrivate"), metadata = room.metadata, tick = room.tick,
    start = home.start, patched = home.patched, lastMember = home.lastMember,
    hasBegun = home.hasBegun, members = members, seats = packSeats(home),
    keep = home.keep and home.keep:pack() or nil, shape = shapeOf(home),
    state = saved.write(home.state), data = clients.call(room, "onHandover")}
end

--- Adds all rooms to a parcel.
function rooms.pack(parcel, add)
  each(function(home) add(parcel, pack(home), tostring(home.room)) end)
end

-- One whose client is connected to another node.
local function restoreThere(home, told)
  local line = There.create(told.there.node, told.there.key, home, told.told)
  local member = Member.create(home.room, line, told.id, told.told)
  member.early, member.isAway, member.lastInput = nil, told.isAway, told.input
  line:goOn(told.there, member)
  if told.secret then returning.know(member, told.secret) end
  home:add(member)
end

local function restoreMember(home, told)
  if told.there then return restoreThere(home, told) end
  local client = loop.find(told.client)
  if not client then return end -- it was about to go
  local line = Here.create(client, home, told.form)
  local member = Member.create(home.room, line, told.id, told.told)
  line:enter({cancel = function() end}, member)
  if told.secret then returning.know(member, told.secret) end
  home:add(member)
  member.early = nil
  member.isAway = told.isAway
  line:begin()
end

local function restoreTime(home, told)
  home.start, home.patched, home.room.tick = told.start, told.patched, told.tick
  home.lastMember, home.hasBegun = told.lastMember, told.hasBegun
end

local function restoreState(home, told)
  local ok, why = saved.read(home.state, told.state, function(id) return home.byMember[id] end)
  if not ok then error(("the state of %s: %s"):format(tostring(home.room), why), 0) end
  if #home.room.members > 0 and shapeOf(home) ~= told.shape then
    error(("the state of %s is declared otherwise than its members know it"):format(told.class), 0)
  end
end

--- Makes a room what it was in the process before.
-- @tparam table told of `pack`
function rooms.restore(told)
  local class = directory.class(told.class)
  if not class then error(("there is no class of rooms %s any more"):format(told.class), 0) end
  making.check(class)
  local room = class:new {metadata = told.metadata, isLocked = told.isLocked,
    isPrivate = told.isPrivate}
  local home = Home.create(room, told.id, told.number)
  restoreTime(home, told)
  if told.keep then keeping.goOn(home, told.keep) end
  if told.code then directory.encode(home, told.code) end
  for _, member in ipairs(told.members) do restoreMember(home, member) end
  restoreState(home, told)
  for secret, seconds in pairs(told.seats) do home:keepSeat(secret, math.max(seconds, 0.001)) end
  if told.data ~= nil then clients.call(room, "onTakeover", told.data) end
  home:offer()
  home:look()
end

return rooms
