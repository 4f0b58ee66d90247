-- Rooms on several nodes: what spec/rooms/nodes_spec.lua starts.

local sync = require "sync"

local Duel = sync.Room:extend "Duel"
Duel.maxMembers, Duel.filterBy, Duel.tickRate = 4, {"mode"}, 20
Duel.state = sync.state {moves = "uint32", players = sync.map {name = "string", x = "float32",
  hand = sync.private(sync.listOf "uint8")}}

function Duel:onCreate(options)
  if options and options.private then self:makePrivate() end
end

function Duel:onJoin(member, options)
  sync.sleep(0.01) -- as a database would
  if options and options.refused then return false, "not you" end
  self.state.players[member.id] = {owner = member, name = member.nick, hand = {member.id}}
  self:fire("onCome", member.id)
end

function Duel:onAway(member) self:fire("onAway", member.id) end
function Duel:onReturn(member) self:fire("onReturn", member.id) end

function Duel:onLeave(member, reason)
  self.state.players[member.id] = nil
  self:fire("onGo", member.id, reason)
end

Duel.remote.move = sync.method("x: number", {rate = 50}, function(room, member, x)
  local p = room.state.players[member.id]
  p.x = p.x + x
  room.state.moves = room.state.moves + 1
  room:except(member):fire("onMove", member.id, p.x)
  return p.x
end)

Duel.remote.slow = sync.waits(function(_, member, text)
  sync.sleep(0.01)
  return ("%s, %d"):format(text, member.id)
end)

function Duel.remote.echo(_, _, ...)
  local all = {count = select("#", ...)}
  for i = 1, all.count do all["a" .. i] = (select(i, ...)) end
  return all
end

function Duel.remote.kick(_, member) member:kick "enough" end
function Duel.remote.list() return sync.list() end

function Duel.remote.ask(room, member, question)
  for _, other in ipairs(room.members) do
    if other ~= member then
      other:call("answer", question, function(result) member:fire("onAnswer", result) end)
    end
  end
end

local Spread = sync.Room:extend "Spread"
Spread.home, Spread.filterBy = "least", {"mode"}

local Game = sync.Remote:extend "Game"
Game.rooms, Game.resumeFields, Game.createRate = {Duel, Spread}, {"nick"}, 1000
Game.resumeTime = 20

function Game:onConnect() self.nick = "nobody" end
function Game.remote:name(nick) self.nick = nick end
function Game.remote:node() return sync.cluster:state().node end
function Game.remote:others() return sync.cluster:state().others end

--- Takes a node for dead, as one that wasn't heard for a while; it's there again at its next word.
function Game.remote:bury(number)
  sync.cluster:bury(sync.cluster.nodes[number], "was taken for dead")
end

function Game.remote:loadOf(node) return require "sync.rooms.placing".loadOf(node) end

-- Patches of rooms that have left this node by its engine, since it was first asked: a word of each
-- message says what it is.
local carried
function Game.remote.carried()
  if carried then return carried end
  local engine = sync.cluster.engine
  local carry = engine.carry
  carried = 0
  function engine.carry(self, topic, bytes)
    for _ in bytes:gmatch "patch" do carried = carried + 1 end
    return carry(self, topic, bytes)
  end
  return carried
end

function Game.remote:count() return #Duel:all() end

sync.enable("127.0.0.1", 0, Game)
sync.start()
