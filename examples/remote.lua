-- Remoting: pages call functions of this class, which fire events at all pages.
--
--     sync-lua examples/remote.lua
--     http://localhost:8080              (in two windows; click)
--
-- A program needs no library: {"jsonrpc":"2.0","id":1,"method":"hit","params":["red"]} as a
-- text message of a WebSocket, or as a line of `nc localhost 8081`.

local sync = require "sync"

local Game = sync.Remote:extend("Game")
Game.web = arg[0]:gsub("%.lua$", "")
Game.resumeTime = 30

local score = {red = 0, blue = 0}

Game.remote.hit = sync.method("team: string", {rate = 20, burst = 40}, function(self, team)
  if not score[team] then error(sync.fault(1, "there is no team " .. team)) end
  score[team] = score[team] + 1
  self.hits = (self.hits or 0) + 1
  self.clients:fire("onScore", score, team)
  return self.hits
end)

function Game.remote:look() -- luacheck: ignore self
  return {score = score, players = self.clients:count()}
end

function Game:onConnect()
  self.clients:fire("onPlayers", self.clients:count())
end

function Game:onClose()
  self.clients:fire("onPlayers", self.clients:count())
end

sync.enable("localhost", 8080, Game)
sync.enable("localhost", 8081, Game, {framing = "line"})
sync.start()
