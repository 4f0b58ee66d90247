-- The arena of rooms.mjs: `sync-lua spec/clients/rooms.lua`. It writes its port.

local sync = require "sync"

local NEAR = 100

local Arena = sync.Room:extend "Arena"
Arena.tickRate, Arena.patchRate = 60, 30
Arena.state = sync.state {
  phase = "string",
  players = sync.map({name = "string", x = "float32", y = "float32", hp = "uint8",
    aim = sync.fixed(0, 360, 0.5), vx = sync.server "float32", vy = sync.server "float32",
    hand = sync.private(sync.listOf "uint8")}, {sees = sync.near(NEAR)}),
  items = sync.map({count = "uint16", bag = sync.map("int32", {keys = "string"})},
    {keys = "string"}),
}

function Arena:onCreate(options)
  if options == "private" then self:makePrivate() end
  self.state.phase = "play"
  self.isMoving = true
  for i = 1, 40 do
    self.state.players[1000 + i] = {name = "bot " .. i, x = math.random(400), y = math.random(400),
      vx = math.random(-90, 90), vy = math.random(-90, 90)}
  end
end

function Arena:onJoin(member, options)
  self.state.players[member.id] = {owner = member, name = options, x = 200, y = 200,
    hand = {member.id, 1}}
end

function Arena:onLeave(member) self.state.players[member.id] = nil end

local function change(state, tick)
  local id = 1000 + tick % 40 + 1
  if tick % 50 == 0 then state.players[id] = {name = "again " .. tick, x = 200, y = 190} end
  local key = "item " .. tick % 5
  if tick % 7 == 0 then state.items[key] = {count = tick % 1000, bag = {gold = tick}} end
  if tick % 31 == 0 then state.items[key] = nil end
end

function Arena:onTick(dt)
  if not self.isMoving then return end
  for _, p in self.state.players:each() do
    p.x, p.y = (p.x + p.vx * dt) % 400, (p.y + p.vy * dt) % 400
    p.aim = (p.aim + 90 * dt) % 360
    p.hp = (p.hp + 1) % 256
  end
  change(self.state, self.tick)
end

-- All stands still. Returns all that a member could see, to the last digit that is sent.
function Arena.remote.freeze(room)
  room.isMoving = false
  local all, items = {}, {}
  for id, p in room.state.players:each() do
    all[#all + 1] = {id = id, name = p.name, x = p.x, y = p.y, hp = p.hp, aim = p.aim}
  end
  for key, item in room.state.items:each() do
    items[#items + 1] = {key = key, count = item.count, gold = item.bag.gold}
  end
  return {players = all, items = items}
end

function Arena.remote.go(room) room.isMoving = true end
function Arena.remote.kick(_, member) member:kick "enough" end

function Arena.remote.move(room, member, dx)
  local p = room.state.players[member.id]
  p.x = p.x + dx
  room:fire("onMoved", member.id, p.x)
  return p.x
end

local Game = sync.Remote:extend "Game"
Game.rooms, Game.resumeTime = {Arena}, 10
io.stdout:setvbuf "line"
print("port", sync.enable("127.0.0.1", 0, Game).port)
sync.start()
