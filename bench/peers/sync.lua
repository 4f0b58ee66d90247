-- The echo and the broadcast server on SYNC.
--
--     sync-lua sync.lua echo|broadcast PORT

local sync = require "sync"

local mode, port = ...

local Server = sync.Protocol:extend("Server")
Server.framing = "null"

local answer = {
  echo = function(self, data) self:send(data) end,
  broadcast = function(self, data) self.clients:send(data) end,
}
Server.onData = assert(answer[mode], "usage: sync.lua echo|broadcast PORT")

function Server:onStart()
  print("ready " .. port)
  io.stdout:flush()
end

sync.enable("127.0.0.1", tonumber(port), Server)
sync.start()
