-- The room of secure.mjs, with and without TLS on one port. Prints the port.
--
--     sync-lua secure.lua FOLDER      FOLDER has default.pem/.key, other.pem/.key and web/

local sync = require "sync"
local folder = arg[1]

local Room = sync.Protocol:extend("Room")
Room.framing = "line"
Room.web = folder .. "/web"
Room.tls = {
  {certificate = folder .. "/default.pem", key = folder .. "/default.key"},
  {certificate = folder .. "/other.pem", key = folder .. "/other.key"},
}

function Room:onData(data)
  self.clients:send((self:isSecure() and "secure " or "plain ") .. self.transport .. " " .. data)
end

local listener = sync.enable("127.0.0.1", 0, Room)
print(listener.port)
io.flush()
sync.start()
