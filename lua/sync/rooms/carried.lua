--- What goes with a room's state to another node: its members, its metadata, its code, its time.
-- docs/rooms.md says what doesn't.
-- @module sync.rooms.carried

local Member = require "sync.rooms.member"
local There = require "sync.rooms.there"
local core = require "sync.core"
local directory = require "sync.rooms.directory"
local nodes = require "sync.rooms.nodes"
local remote = require "sync.rooms.remote"
local returning = require "sync.rooms.returning"
local saved = require "sync.state.saved"

local C = core.C

local carried = {}

-- What is known of a member, as texts by name: it doesn't change.
local function toldOf(member)
  local told = member.carried
  if not told then
    told = {}
    for name, value in pairs(member.line:describe()) do
      told[name] = remote.note(value, "a member's " .. name)
    end
    member.carried = told
  end
  return told
end

-- Where a member's client is: its node, and the key by which that one knows its place. One that is
-- connected to the home has no such key, and gets one that no other has.
local function placeOf(member)
  local line = member.line
  if line.client then return nodes.own(), carried.keyOf(member.id) end
  return line.node, line.key
end

--- The key of a member whose client is connected to the home.
function carried.keyOf(id) return -id end

--- What goes along in the bytes of the state: the same as long as nothing of it changes.
-- @tparam Home home
-- @treturn table
function carried.describe(home)
  local room, members = home.room, {}
  for i, member in ipairs(room.members) do
    local node, key = placeOf(member)
    local list = {member.id, node, key, member.lastInput or 0, member.secret or false}
    for name, text in pairs(toldOf(member)) do
      list[#list + 1] = name
      list[#list + 1] = text
    end
    members[i] = list
  end
  return {members = members, lastMember = home.lastMember,
    metadata = remote.note(room.metadata, "metadata"), code = room.code or nil,
    isLocked = room.isLocked or nil, isPrivate = room.isPrivate or nil}
end

--- What changes all the time.
function carried.about(home)
  return {class = home.class.className, tick = home.room.tick, wall = C.sync_wall(),
    age = C.sync_now() - home.start}
end

local function addMember(home, list)
  local id, node, key, input, secret = unpack(list, 1, 5)
  local told = {}
  for i = 6, #list, 2 do told[list[i]] = remote.read(list[i + 1]) end
  local line = There.create(node, key, home, told)
  local member = Member.create(home.room, line, id, told)
  member.isAway, member.early, member.lastInput = true, nil, input
  if secret then returning.know(member, secret) end
  line:goOn({parked = There.WAIT_SECONDS}, member)
  if input > 0 then C.sync_state_input(home.state.handle, member.number, input) end
  home:add(member)
end

-- Tick n stays at the time at which it was to be.
local function goOn(home, about)
  local room = home.room
  local age = about.age + math.max(0, C.sync_wall() - about.wall)
  home.start = C.sync_now() - age
  room.tick = about.tick + 1
  if room.tickRate > 0 then
    room.tick = math.max(room.tick, math.floor(age * room.tickRate))
    home.patched = math.floor(room.tick * math.min(1, room.patchRate / room.tickRate))
  end
end

--- Makes a fresh home's room what it was.
-- @tparam Home home
-- @tparam string bytes
-- @tparam table about
-- @treturn true|nil nil: they can't be read
-- @treturn nil|string why
function carried.fill(home, bytes, about)
  local room = home.room
  local extra, problem = saved.extra(bytes)
  if not extra then return nil, problem end
  room.metadata, room.isLocked = remote.read(extra.metadata) or {}, extra.isLocked
  room.isPrivate, home.lastMember, home.hasBegun = extra.isPrivate, extra.lastMember, true
  if extra.code then directory.encode(home, extra.code) end
  for _, list in ipairs(extra.members) do addMember(home, list) end
  goOn(home, about)
  local ok, why = saved.read(home.state, bytes, function(id) return home.byMember[id] end)
  return ok, why
end

return carried
