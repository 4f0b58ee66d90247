-- The server that soak.c puts under load: what one client sends all get, or only itself.
--
--     sync-lua spec/soak/server.lua OVERFLOW all|self MAX_MESSAGE    prints its port

local sync = require "sync"

local overflow, whom, most = ...
local Soaked = sync.Protocol:extend("Soaked")
Soaked.framing = "null"
Soaked.overflow = overflow
Soaked.maxMessage = tonumber(most)

if whom == "all" then
  function Soaked:onData(data) self.clients:send(data) end
else
  function Soaked:onData(data) self:send(data) end
end

local listener = sync.enable("127.0.0.1", 0, Soaked)
io.stdout:write(listener.port, "\n")
io.stdout:flush()
sync.start()
