-- SYNC's state without sockets, for bench/runs/state.py:
--
--     sync-lua core.lua time|elsewhere|dump COUNT RADIUS TICKS WARM_UP float32|fixed [FILE]
--
-- Each entity belongs to a member, which sees those within RADIUS of it (0: all). `time`
-- writes {cpu, move, bytes, patches, seen}: seconds of CPU in comparing, working out who sees
-- what and writing each member's patch, and in moving, a tick; bytes and patches a tick; and
-- entities in sight of a member. `elsewhere` has all members at a replica: {home, replica,
-- bytes}, seconds of CPU a tick at both, and bytes from one to the other. `dump` writes all
-- patches into FILE instead, warm-up included: what sync.join tells, and each patch, behind its
-- length, by ticks and members.

package.path = "bench/peers/state/?.lua;" .. package.path

local ffi = require "ffi"
local Replica = require "sync.state.replica"
local State = require "sync.state.state"
local cjson = require "cjson"
local core = require "sync.core"
local sync = require "sync"
local world = require "world"

local C = core.C

local mode, count, radius, ticks, warmUp, kind, path = ...
count, radius, ticks, warmUp = tonumber(count), tonumber(radius), tonumber(ticks), tonumber(warmUp)

local PLACE = kind == "fixed" and sync.fixed(0, 1000, 0.05) or "float32"
local schema = sync.state {
  players = sync.map({name = "string", x = PLACE, y = PLACE, hp = "uint8"},
    {sees = radius > 0 and sync.near(radius) or "all"}),
}

local state = State.new(schema, 1)
local members = {}
for id = 1, count do
  members[id] = {number = C.sync_state_join(state.handle, C.SYNC_FORM_BINARY), id = id,
    room = {inner = state}}
end
local list = world.fill(count, function(id, fields)
  fields.owner = members[id]
  state.root.players[id] = fields
  return state.root.players[id]
end)

local function dump()
  local file = assert(io.open(path, "wb"))
  local size = ffi.new "uint32_t[1]"
  local function write(bytes)
    size[0] = #bytes
    file:write(ffi.string(size, 4), bytes)
  end
  write(cjson.encode {room = 1, epoch = 0, state = schema:told()})
  for tick = 1, warmUp + ticks do
    world.move(list, tick)
    state:compare()
    for id = 1, count do write(state:write(members[id].number, tick) or "") end
    state:finish()
  end
  file:close()
end

local length = ffi.new "size_t[1]"

local function patch(tick)
  local bytes, patches = 0, 0
  state:compare()
  for id = 1, count do
    if C.sync_state_write(state.handle, members[id].number, tick, length) ~= nil then
      bytes, patches = bytes + tonumber(length[0]), patches + 1
    end
  end
  state:finish()
  return bytes, patches
end

local function time()
  local cpu, moving, bytes, patches = 0, 0, 0, 0
  for tick = 1, warmUp + ticks do
    local from = os.clock()
    world.move(list, tick)
    local moved = os.clock()
    local size, number = patch(tick)
    if tick > warmUp then
      cpu, moving = cpu + os.clock() - moved, moving + moved - from
      bytes, patches = bytes + size, patches + number
    end
  end
  print(cjson.encode {cpu = cpu / ticks, move = moving / ticks, bytes = bytes / ticks,
    patches = patches / ticks})
end

local function elsewhere()
  local replica = Replica.new(schema, 1)
  for id = 1, count do state:setElsewhere(members[id].number, id) end
  local home, there, bytes = 0, 0, 0
  for tick = 1, warmUp + ticks do
    world.move(list, tick)
    local from = os.clock()
    state:patch(tick)
    local changes, snapshot = state:copied()
    local made = os.clock()
    assert(replica:apply(changes or snapshot) == C.SYNC_APPLIED)
    for id = 1, count do
      C.sync_state_write(replica.handle, members[id].number, tick, length)
    end
    replica:finish()
    if tick > warmUp then
      home, there, bytes = home + made - from, there + os.clock() - made, bytes + #changes
    end
  end
  print(cjson.encode {home = home / ticks, replica = there / ticks, bytes = bytes / ticks})
end

local modes = {time = time, dump = dump, elsewhere = elsewhere}
modes[mode]()
