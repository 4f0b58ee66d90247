-- sync-lua serve.lua echo|bytes|broadcast PORT: the handler whose instructions are counted.

local sync = require "sync"

local Server = sync.Protocol:extend("Server")
Server.framing = "null"

if arg[1] == "echo" then
  function Server:onData(data) self:send(data) end
elseif arg[1] == "bytes" then
  function Server:onBytes(bytes, length) self:sendBytes(bytes, length) end
else
  function Server:onData(data) self.clients:send(data) end
end

sync.enable("127.0.0.1", tonumber(arg[2]), Server)
print("ready")
io.stdout:flush()
sync.start()
