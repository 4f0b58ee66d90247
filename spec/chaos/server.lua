-- What `make chaos` disturbs: a server whose every message has a number, so that one that is lost,
-- doubled or out of order is an error in its log.
--
--     sync-lua spec/chaos/server.lua PORT TLS_PORT GAME_PORT CERTIFICATE KEY
--
-- A line that begins with a number comes back. The first letter of others says what is wanted:
--
--     b NUMBER        to all, and to players as an event
--     l NUMBER        as many lines in the log, `l`
--     t MILLISECONDS  the clocks, `t NOW TIME`, after so long
--     j               a token for an hour; `v TOKEN`: whether it's right
--     s KEY           is shared for ten minutes, `s true`; `g KEY`: whether it's there, `g true`
--     x ADDRESS       is shut out, `x true`

local sync = require "sync"

local port, tlsPort, gamePort, certificate, key = ...
local TOKENS = {algorithm = "HS256", key = ("k"):rep(32), expires = 3600}

local Duel = sync.Room:extend "Duel"
Duel.maxMembers, Duel.filterBy, Duel.tickRate = 4, {"mode"}, 20
Duel.state = sync.state {players = sync.map {x = "uint32"}}

function Duel:onJoin(member) self.state.players[member.id] = {owner = member} end
function Duel:onLeave(member) self.state.players[member.id] = nil end

function Duel.remote.move(room, member)
  local player = room.state.players[member.id]
  player.x = player.x + 1
  return player.x
end

local Game = sync.Remote:extend "Game"
Game.rooms, Game.resumeFields, Game.resumeTime = {Duel}, {"last", "missing"}, 60
Game.createRate = 1000

function Game:onConnect()
  self.last, self.missing = 0, 0
  self:join "all"
end

--- Takes the caller's next number, and returns how many have not come.
function Game.remote:add(number)
  if number <= self.last then error(("call %d after %d"):format(number, self.last)) end
  self.missing = self.missing + number - self.last - 1
  self.last = number
  return self.missing
end

local Echo = sync.Protocol:extend "Echo"
Echo.framing, Echo.compressFrom, Echo.sendTakeover, Echo.receiveTakeover = "line", 1, true, true
Echo.resumeFields, Echo.maxQueue = {"count"}, 8 * 1024 * 1024
Echo.detectTimeout, Game.detectTimeout = 15, 15 -- all speak first, but processes may stand still

function Echo:onConnect()
  self.count = 0
  self:join "all"
end

local function broadcast(text)
  Echo:room("all"):send(text)
  Game:room("all"):fire("onSay", tonumber(text:sub(2)))
end

local wanted = {}

function wanted.b(_, text) broadcast("b" .. text) end

function wanted.l(client, text)
  for i = 1, tonumber(text) do sync.log.info(("line %d of l%s."):format(i, text)) end
  client:send("l")
end

function wanted.t(client, text)
  sync.after(tonumber(text) / 1000, function()
    client:send(("t %.6f %d"):format(sync.now(), os.time()))
  end)
end

function wanted.j(client)
  client:send("j " .. assert(sync.jwt.sign({sub = "ann"}, TOKENS)))
end

function wanted.v(client, text)
  local claims, why = sync.jwt.verify(text:sub(2), TOKENS)
  client:send(claims and "v right" or "v " .. why)
end

local values = sync.shared "values"

function wanted.s(client, text)
  values:set(text:sub(2), true, {expire = 600}, function(done)
    client:send("s " .. tostring(done))
  end)
end

function wanted.g(client, text)
  values:get(text:sub(2), function(value) client:send("g " .. tostring(value)) end)
end

function wanted.x(client, text)
  client:send("x " .. tostring(sync.ban(text:sub(2), {seconds = 3600})))
end

function Echo:onData(data, kind)
  local answer = wanted[data:sub(1, 1)]
  if answer then return answer(self, data:sub(2)) end
  self.count = self.count + 1
  if tonumber(data:match "^%d+") ~= self.count then
    error(("message %s, not %d"):format(data:sub(1, 20), self.count))
  end
  self:send(data, kind)
end

sync.enable("127.0.0.1", tonumber(port), Echo)
sync.enable("127.0.0.1", tonumber(tlsPort), Echo, {tls = {certificate = certificate, key = key}})
sync.enable("127.0.0.1", tonumber(gamePort), Game)
sync.after(7200, sync.stop) -- whatever has become of who started it
sync.start()
