--- What other nodes ask of the rooms that live here: to let a client in, which room has a code, and
-- which there are.
-- @module sync.rooms.arriving

local Entry = require "sync.rooms.entry"
local There = require "sync.rooms.there"
local core = require "sync.core"
local directory = require "sync.rooms.directory"
local fault = require "sync.remoting.fault"
local finder = require "sync.rooms.finder"
local making = require "sync.rooms.making"
local matching = require "sync.rooms.matching"
local nodes = require "sync.rooms.nodes"
local remote = require "sync.rooms.remote"
local returning = require "sync.rooms.returning"

local now = core.C.sync_now

local arriving = {
  --- Rooms in a list.
  MOST_LISTED = 100,
}

local function missing()
  return fault.new(fault.REFUSED, "there is no such room")
end

-- The room that somebody is to enter, and whether it's also let in where the room is closed; or
-- nil and a fault.
local function homeOf(said)
  local home = directory.byId(said.id)
  local class = directory.class(said.class)
  if not home and said.made and class then
    local problem
    home, problem = making.make(class, remote.read(said.made), said.id)
    if not home then return nil, problem end
  end
  if not home then
    if said.ticket then
      nodes.tell(nodes.list()[1], "offer", {id = said.id, epoch = 0, isOver = true,
        seen = {}})
    end
    return nil, missing()
  end
  if said.ticket then
    home.seen[#home.seen + 1] = said.ticket
    finder.changed(home)
  end
  if said.secret then
    if home:release(said.secret) then return home, true end
    return nil, missing()
  end
  if home.room.isPrivate and not said.isInvited then return nil, missing() end
  return home, false
end

local function describe(about)
  local told = {}
  for name, text in pairs(about) do told[name] = remote.read(text) end
  return told
end

-- What the client's node is told of a member.
local function inform(answer, home, told, member, returns)
  answer {member = told.member, code = told.code, epoch = told.epoch, tickRate = told.tickRate,
    patchRate = told.patchRate, age = now() - home.start,
    back = returns and returning.secretOf(member) or nil}
end

nodes.answers("enter", function(node, said, answer)
  local known = said.secret and returning.find(said.secret, said.id)
  if known then
    return known.home:whenOpen(function()
      if returning.find(said.secret, said.id) ~= known then
        return answer {fault = remote.writeFault(missing())}
      end
      known:move(node, said.key)
      inform(answer, known.home, known.home:describe(known.member), known.member, said.returns)
    end)
  end
  local home, isInvited = homeOf(said)
  if not home then return answer {fault = remote.writeFault(isInvited)} end
  local line = There.create(node, said.key, home, describe(said.about))
  Entry.begin(home, line, remote.read(said.given), isInvited, function(told, problem)
    if not told then return answer {fault = remote.writeFault(problem)} end
    inform(answer, home, told, line.member, said.returns)
  end)
end)

nodes.answers("code", function(_, said, answer)
  local home = directory.byCode(said.code)
  answer {id = home and home.room.id, class = home and home.class.className}
end)

--- The rooms of a class that live here and may be joined: as lists have them.
-- @tparam table class
-- @tparam table|nil filter
function arriving.list(class, filter)
  local found = {}
  for i, home in ipairs(directory.some(class, arriving.MOST_LISTED, function(home)
    local room = home.room
    return not room.isPrivate and not room.isLocked and matching.fits(room.metadata, filter)
  end)) do
    local room = home.room
    found[i] = {id = room.id, members = home:taken(), maxMembers = room.maxMembers or nil,
      metadata = room.metadata}
  end
  return found
end

nodes.answers("rooms", function(_, said, answer)
  local class = directory.class(said.class)
  answer {list = remote.write(class and arriving.list(class, remote.read(said.filter)) or nil)}
end)

return arriving
