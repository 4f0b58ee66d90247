-- The game of the Flash client's tests: what a movie may call, and how it's called back.
--
--     sync-lua spec/clients/flash_game.lua [port [amfPort [origin ...]]]
--
-- The first port is for XMLSocket, pages and NetConnection, the second for flash.net.Socket.
-- To standard output it writes both, and who comes and goes: lines for flash.mjs.

local sync = require "sync"

local Arena = sync.Room:extend("Arena")
Arena.patchRate = 50
Arena.state = sync.state {
  phase = "string",
  players = sync.map {name = "string", x = "float32", hand = sync.private(sync.listOf "uint8")},
}

function Arena:onJoin(member, options)
  if options == "not today" then return false, options end
  self.state.phase = "play"
  self.state.players[member.id] = {owner = member, name = options, hand = {member.id}}
end

function Arena:onLeave(member) self.state.players[member.id] = nil end

function Arena.remote.move(room, member, by)
  local player = room.state.players[member.id]
  player.x = player.x + by
  return player.x
end

function Arena.remote.hit(room, member) room:fire("onHit", member.id) end
function Arena.remote.kick(_, member) member:kick("enough") end

local Game = sync.Remote:extend("Game")
Game.rooms = {Arena}
Game.framing = "null"
Game.resumeTime = 20
Game.origins = select("#", ...) > 2 and {select(3, ...)} -- else its own pages

function Game.remote:join(name)
  self.name = name
  print("join", self.transport, name)
  self.clients:fire("onJoin", name)
  return self.clients:count()
end

function Game.remote:whoAmI()
  return {name = self.name, id = self.id}
end

function Game.remote:echo(value) -- luacheck: ignore self
  return value
end

function Game.remote:move(x, y) self.clients:except(self):fire("onMove", self.name, x, y) end

function Game.remote:refuse(code, message, data) -- luacheck: ignore self
  error(sync.fault(code, message, data))
end

function Game.remote:crash() -- luacheck: ignore self
  error("the text of the log")
end

-- Never answers.
function Game.remote:wait()
  self:later()
end

-- Calls a function of the caller. Returns {result} or {code, message} of its fault.
function Game.remote:askMe(name, ...)
  local answer = self:later()
  local arguments = {...}
  arguments[#arguments + 1] = function(result, err)
    answer(err and {code = err.code, message = err.message} or {result = result})
  end
  self:call(name, unpack(arguments))
end

-- Fires at the clients of a name, also at one that is away.
function Game.remote:goAway() self:onGoAway(0.05) end

function Game.remote:tell(name, text)
  self.clients:filter(function(client) return client.name == name end):fire("onTold", text)
end

function Game:onAway() print("away", self.name) end
function Game:onResume() print("resumed", self.name) end
function Game:onClose(reason) print("left", self.name, reason) end

io.stdout:setvbuf("line")
local port, amfPort = ...
local listener = sync.enable("127.0.0.1", tonumber(port) or 0, Game)
local amf = sync.enable("127.0.0.1", tonumber(amfPort) or 0, Game,
  {framing = "length32", encoding = "amf3"})

-- A class for those who show a token.
local Guarded = sync.Remote:extend("Guarded")
Guarded.framing, Guarded.origins = "null", Game.origins
function Guarded.remote:join() return self.clients:count() end
function Guarded.auth(token)
  local id = token:match "^right (%w+)$"
  if not id then return nil, "wrong" end
  return {id = id}
end
function Guarded.remote:who() return self.user.id end
local guarded = sync.enable("127.0.0.1", 0, Guarded)
print("port", listener.port, amf.port, guarded.port)
sync.start()
