-- The server that soak.c puts under load: what one client sends, all get. What begins with a
-- "j" is the name of a room to join.
--
--     sync-lua spec/soak/server.lua OVERFLOW [CERTIFICATE]    prints its port

local sync = require "sync"

local All = sync.Protocol:extend("All")
All.framing = "null"
local overflow, certificate = ...
All.overflow = overflow
All.tls = certificate ~= nil and {certificate = certificate, key = certificate}

function All:onData(data)
  if data:byte() == 106 then return self:join(data) end
  self.clients:send(data)
end

local listener = sync.enable("127.0.0.1", 0, All)
io.stdout:write(listener.port, "\n")
io.stdout:flush()
sync.start()
