-- The server that clients of others call (run.mjs): remoting on a free port, over WebSocket
-- and, line by line, over TCP. It writes its port to standard output.
--
--     sync-lua spec/clients/game.lua

local sync = require "sync"

local Game = sync.Remote:extend("Game")
Game.framing = "line"

function Game.remote:join(name)
  self.name = name
  self.clients:fire("onJoin", name, self.transport)
  return self.clients:count()
end

function Game.remote:say(text)
  self.clients:fire("onSay", {from = self.name, text = text})
end

function Game.remote.echo(_, ...) return {...} end

Game.remote.subtract = sync.method("minuend: number", "subtrahend: number",
  function(_, minuend, subtrahend) return minuend - subtrahend end)

function Game.remote.nothing() end
function Game.remote.fail() error(sync.fault(42, "not your turn", {next = "bob"})) end
function Game.remote.crash() error("this text stays in the log") end

function Game.remote:slow(seconds)
  local answer = self:later()
  sync.after(seconds, function() answer("at last") end)
end

-- Asks the client that calls, and answers with what it said.
function Game.remote:askMe(question)
  local answer = self:later()
  self:call("question", question, function(reply, err)
    answer(reply and "you said " .. reply, err)
  end)
end

local listener = sync.enable("127.0.0.1", 0, Game)
io.write("port\t", listener.port, "\n")
io.flush()
sync.start()
