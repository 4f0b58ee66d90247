-- Rooms that outlive their home: what spec/rooms/persist_spec.lua starts. What members do is
-- written to a file that all processes share, SYNC_APPLIED.

local sync = require "sync"

local applied = assert(io.open(os.getenv "SYNC_APPLIED", "a"))
applied:setvbuf "no"

local Field = sync.Room:extend "Field"
Field.persist, Field.tickRate, Field.emptyTime = 0.5, 10, 30
Field.state = sync.state {node = "uint32", ticks = "uint32", hidden = sync.server "any",
  players = sync.map {name = "string", last = "uint32", hand = sync.private(sync.listOf "uint8")}}

function Field:onCreate(options)
  self.state.node = sync.cluster.node
  self.state.hidden = {deck = {3, 1, 2}}
  if options and options.private then self:makePrivate() end
  self:setMetadata {mode = "free"}
end

function Field:onRestore()
  sync.sleep(0.01) -- as a database would
  self.state.node = sync.cluster.node
  self.isRestored = true
end

function Field:onTaken() self.isOver = true end

function Field:onTick()
  self.state.ticks = self.state.ticks + 1
end

function Field:onJoin(member)
  self.state.players[member.id] = {owner = member, name = member.nick, hand = {member.id}}
end

function Field:onLeave(member) self.state.players[member.id] = nil end
function Field:onReturn(member) self:fire("onReturn", member.id) end

function Field.remote.add(room, member, n)
  applied:write(("%s %d %d %d\n"):format(room.id, member.id, n, room.inner.epoch))
  local p = room.state.players[member.id]
  p.last = math.max(p.last, n)
  return n
end

function Field.remote.look(room, member)
  local away = 0
  for _, other in ipairs(room.members) do away = away + (other.isAway and 1 or 0) end
  return {node = sync.cluster.node, isRestored = room.isRestored, deck = room.state.hidden.deck,
    nick = member.nick, members = #room.members, away = away, code = room.code,
    mode = room.metadata.mode, owned = room.state.players[member.id].owner == member}
end

local Plain = sync.Room:extend "Plain"
Plain.tickRate, Plain.state = 10, sync.state {ticks = "uint32"}
function Plain:onTick() self.state.ticks = self.state.ticks + 1 end

local Game = sync.Remote:extend "Game"
Game.rooms, Game.resumeFields, Game.createRate = {Field, Plain}, {"nick"}, 1000
Game.resumeTime = 20

function Game:onConnect() self.nick = "nobody" end
function Game.remote:name(nick) self.nick = nick end
function Game.remote:node() return sync.cluster:state().node end
function Game.remote.drain() sync.drain {seconds = 10} end
function Game.remote:process() return io.open("/proc/self/stat"):read "*n" end
function Game.remote:others() return sync.cluster:state().others end

sync.enable("127.0.0.1", 0, Game)
sync.start()
