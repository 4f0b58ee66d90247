-- The servers that soak.c puts under load. They print their port.
--
--     sync-lua spec/soak/server.lua OVERFLOW WHAT MAX_MESSAGE [CERTIFICATE]
--
-- WHAT is "all", and what one client sends, all get, but for what begins with a "j", which is
-- the name of a room to join; "self", and only the client gets it; or "sessions", and a client
-- may come back within 5 s, and is sent 250 KB that are its own when it calls `fill`.

local sync = require "sync"

local overflow, what, most, certificate = ...

local Game = sync.Remote:extend("Game")
Game.resumeTime = 5

function Game.remote:fill()
  for i = 1, 16 do self:fire("on", ("%d.%d."):format(self.id, i):rep(1600):sub(1, 15900)) end
end

local Soaked = sync.Protocol:extend("Soaked")
Soaked.framing = "null"
Soaked.tls = certificate ~= nil and {certificate = certificate, key = certificate}

function Soaked:onData(data)
  if what == "self" then return self:send(data) end
  if data:byte() == 106 then return self:join(data) end
  self.clients:send(data)
end

local Class = what == "sessions" and Game or Soaked
Class.overflow, Class.maxMessage = overflow, tonumber(most)
local listener = sync.enable("127.0.0.1", 0, Class)
io.stdout:write(listener.port, "\n")
io.stdout:flush()
sync.start()
