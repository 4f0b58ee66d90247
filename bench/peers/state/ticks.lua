-- A room's ticks in Lua, for bench/runs/state.py: `sync-lua ticks.lua SECONDS`. Prints
--
--   native   the share of onTick's time in native code: samples of LuaJIT's profiler, which -jp=v
--            shows, in an arena of 1,000 entities that all move
--   fields   time to read and write two fields of each entity reached by `each`, beside the same on
--            plain tables of Lua in an array (least of many rounds each, in turns)
--   garbage  bytes of garbage that a tick of a room makes, patch included, while nobody joins; the
--            room is a real one, with members that see all and read all

local ffi = require "ffi"
local core = require "sync.core"
local loop = require "sync.loop"
local profile = require "jit.profile"
local cjson = require "cjson"
local sync = require "sync"
local testing = require "sync.testing"

local C = core.C
local COUNT, MEMBERS, BORDER = 1000, 10, 1000
local seconds = tonumber((...)) or 10

local Arena = sync.Room:extend "Arena"
Arena.tickRate, Arena.patchRate = 100, 100
Arena.state = sync.state {players = sync.map {name = "string", x = "float32", y = "float32",
  hp = "uint8", vx = sync.server "float32", vy = sync.server "float32"}}
local room, ticks = nil, 0

function Arena:onCreate()
  room = self
  math.randomseed(1)
  for id = 1, COUNT do
    self.state.players[id] = {name = "p" .. id, hp = 100, x = math.random(BORDER),
      y = math.random(BORDER), vx = math.random() - 0.5, vy = math.random() - 0.5}
  end
end

function Arena:onTick(dt)
  ticks = ticks + 1
  for _, p in self.state.players:each() do
    local x, y = p.x + p.vx * dt, p.y + p.vy * dt
    if x < 0 or x > BORDER then p.vx, x = -p.vx, p.x end
    if y < 0 or y > BORDER then p.vy, y = -p.vy, p.y end
    p.x, p.y = x, y
  end
end

local Game = sync.Remote:extend "Game"
Game.rooms = {Arena}
local server = testing.serve(Game)
local clients = {}
for i = 1, MEMBERS do
  clients[i] = server:connect()
  clients[i]:send(cjson.encode {jsonrpc = "2.0", id = 1, method = "sync.join",
    params = {room = "Arena"}} .. "\0")
end
testing.settle()
assert(room and #room.members == MEMBERS)

-- Native code.

local inTick, samples, native = false, 0, 0
local function sampled(_, count, state)
  if inTick then
    samples = samples + count
    native = native + (state == "N" and count or 0)
  end
end

local function shareOfNative()
  for _ = 1, 200 do Arena.onTick(room, 0.01) end
  profile.start("i1", sampled)
  local ends = os.clock() + seconds
  while os.clock() < ends do
    inTick = true
    for _ = 1, 10 do Arena.onTick(room, 0.01) end
    inTick = false
  end
  profile.stop()
  return native / samples
end

-- Two fields.

local plain = {}
for id = 1, COUNT do plain[id] = {name = "p" .. id, x = 1, y = 2, hp = 100} end

local function overState(rounds)
  local players = room.state.players
  for _ = 1, rounds do
    for _, p in players:each() do
      p.x = p.x + 1
      p.y = p.y - 1
    end
  end
end

local function overTables(rounds)
  for _ = 1, rounds do
    for i = 1, #plain do
      local p = plain[i]
      p.x = p.x + 1
      p.y = p.y - 1
    end
  end
end

local function timed(fn)
  local before = os.clock()
  fn(1000)
  return os.clock() - before
end

local function ratioOfFields()
  local state, tables = math.huge, math.huge
  for _ = 1, 30 do
    state, tables = math.min(state, timed(overState)), math.min(tables, timed(overTables))
  end
  return state / tables, state / 1000 / COUNT
end

-- Garbage.

local buffer = ffi.new "char[65536]"

local function readAll()
  for i = 1, MEMBERS do
    repeat
      local took = C.sync_memory_take(core.handle, clients[i].slot, buffer, 65536)
    until took < 65536
  end
end

local function turn(wanted)
  local from = ticks
  while ticks - from < wanted do
    loop.step()
    readAll()
  end
  return ticks - from
end

local function garbage()
  turn(200)
  collectgarbage()
  collectgarbage "stop"
  local before = collectgarbage "count"
  local done = turn(300)
  local made = collectgarbage "count" - before
  collectgarbage "restart"
  return 1024 * made / done
end

local made = garbage()
local fields, each = ratioOfFields()
print(cjson.encode {native = shareOfNative(), fields = fields, each = each, garbage = made})
os.exit(0)
