-- Matchmaking: two of about the same rating are given a room. The longer one waits, the wider the
-- bounds. In the consoles of two browser windows, both on http://localhost:8080:
--
--     sync-lua examples/matchmaking.lua
--     const {connect} = await import("/sync.js"), game = await connect();
--     game.on("onMatch", async seat => console.log((await game.joinById(seat)).id));
--     await game.call("seek", [1500]);      // and game.call("stop") to wait no more

local sync = require "sync"

local FIRST, WIDER, WIDEST = 50, 25, 500 -- of rating: at once, a second more, and at most

local Duel = sync.Room:extend("Duel")
Duel.maxMembers, Duel.clientsCreate = 2, false
Duel.state = sync.state {players = sync.map {name = "string"}}

function Duel:onJoin(member)
  self.state.players[member.id] = {owner = member, name = "player " .. member.id}
end

local Game = sync.Remote:extend("Game")
Game.rooms = {Duel}
local waiting = {} -- clients who look for somebody, by rating

local function stop(client)
  for i, other in ipairs(waiting) do
    if other == client then return table.remove(waiting, i) end
  end
end

Game.remote.stop = stop
Game.onClose = stop

Game.remote.seek = sync.method("rating: number", {rate = 1, burst = 5}, function(self, rating)
  stop(self)
  self.rating, self.since = rating, sync.now()
  waiting[#waiting + 1] = self
  table.sort(waiting, function(a, b) return a.rating < b.rating end)
end)

local function bound(client)
  return math.min(WIDEST, FIRST + WIDER * (sync.now() - client.since))
end

-- Neighbours in the list are those whose ratings differ least.
sync.every(0.25, function()
  local i = 1
  while waiting[i + 1] do
    local a, b = waiting[i], waiting[i + 1]
    local room = b.rating - a.rating <= math.min(bound(a), bound(b)) and Duel:create()
    if room then
      for _, client in ipairs {a, b} do stop(client):fire("onMatch", room:reserve()) end
    else
      i = i + 1
    end
  end
end)

sync.enable("*", 8080, Game)
sync.start()
