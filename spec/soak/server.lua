-- The servers that soak.c puts under load. They print their port.
--
--     sync-lua spec/soak/server.lua OVERFLOW [CERTIFICATE]
--         what one client sends, all get; what begins with a "j" is the name of a room to join
--     sync-lua spec/soak/server.lua sessions
--         a client may come back within 5 s, and is sent 250 KB that are its own when it
--         calls `fill`

local sync = require "sync"

local kind, certificate = ...

local All = sync.Protocol:extend("All")
All.framing = "null"
All.tls = certificate ~= nil and {certificate = certificate, key = certificate}

function All:onData(data)
  if data:byte() == 106 then return self:join(data) end
  self.clients:send(data)
end

local Game = sync.Remote:extend("Game")
Game.resumeTime = 5

function Game.remote:fill()
  for i = 1, 16 do self:fire("on", ("%d.%d."):format(self.id, i):rep(1600):sub(1, 15900)) end
end

local isGame = kind == "sessions"
if not isGame then All.overflow = kind end
local listener = sync.enable("127.0.0.1", 0, isGame and Game or All)
io.stdout:write(listener.port, "\n")
io.stdout:flush()
sync.start()
