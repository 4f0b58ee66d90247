-- sync-lua serve.lua echo|beside|bytes|game|broadcast PORT: the handler whose instructions are
-- counted. `game` is a game's step, whose answer is as long as the message.
-- `beside` is echo in a program that has handlers and routes that wait, a database and passwords,
-- which were used.

local sync = require "sync"

local Server = sync.Protocol:extend("Server")
Server.framing = "null"

-- Uses what waits, and has it there; calls fn when it's done.
local function useAll(fn)
  local db = sync.sql "sqlite::memory:"
  local Waiter = sync.Remote:extend("Waiter")
  Waiter.remote.ask = sync.method("a: any", {waits = true}, function()
    return db:value "select 1"
  end)
  Waiter.onConnect = sync.waits(function() sync.sleep(0.01) end)
  Waiter.routes["GET /ask"] = function() return 200, tostring(db:value "select 1") end
  sync.enable("127.0.0.1", 0, Waiter)
  sync.spawn(function()
    db:value "select 1"
    assert(sync.password.verify("x", assert(sync.password.hash("x", {memory = 64}))))
    fn()
  end)
end

local function ready()
  print("ready")
  io.stdout:flush()
end

if arg[1] == "echo" or arg[1] == "beside" then
  function Server:onData(data) self:send(data) end
elseif arg[1] == "bytes" then
  function Server:onBytes(bytes, length) self:sendBytes(bytes, length) end
elseif arg[1] == "game" then
  local Game = dofile "bench/peers/jit/game.lua"
  Server.onConnect, Server.onData = Game.onConnect, Game.onData
  function Server:send(data) Server.super.send(self, data .. (" "):rep(64 - #data)) end
else
  function Server:onData(data) self.clients:send(data) end
end

sync.enable("127.0.0.1", tonumber(arg[2]), Server)
if arg[1] == "beside" then useAll(ready) else ready() end
sync.start()
