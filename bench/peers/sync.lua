-- The echo and the broadcast server on SYNC.
--
--     sync-lua sync.lua [bytes] echo|broadcast PORT
--
-- With "bytes" no string is made of a message.

local sync = require "sync"

local takesBytes = ... == "bytes"
local mode, port = select(takesBytes and 2 or 1, ...)

local Server = sync.Protocol:extend("Server")
Server.framing = "null"

local answer = {
  echo = function(self, data) self:send(data) end,
  broadcast = function(self, data) self.clients:send(data) end,
}
local answerBytes = {
  echo = function(self, bytes, length) self:sendBytes(bytes, length) end,
  broadcast = function(self, bytes, length) self.clients:sendBytes(bytes, length) end,
}
local handler = assert((takesBytes and answerBytes or answer)[mode],
  "usage: sync.lua [bytes] echo|broadcast PORT")
Server[takesBytes and "onBytes" or "onData"] = handler

function Server:onStart()
  print("ready " .. port)
  io.stdout:flush()
end

sync.enable("127.0.0.1", tonumber(port), Server)
sync.start()
