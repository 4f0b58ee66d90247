-- The server of `make bench-rooms`: what one client sends, all get; plain on one port and in
-- TLS on another.
--
--     sync-lua bench/peers/rooms.lua CERTIFICATE KEY

local sync = require "sync"

local Room = sync.Protocol:extend("Room")
Room.framing = "null"
Room.maxMessage = 64 * 1024
Room.maxQueue = 4 * 1024 * 1024
Room.backlog = 4096
function Room:onData(data) self.clients:send(data) end

local plain = sync.enable("127.0.0.1", 0, Room)
local encrypted = sync.enable("127.0.0.1", 0, Room,
  {tls = {certificate = arg[1], key = arg[2], only = true, minimum = "1.3"}})
print(plain.port, encrypted.port)
io.flush()
sync.start()
