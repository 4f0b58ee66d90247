-- The server of `make bench-tls`: one echo, plain on one port and in TLS on another.
--
--     sync-lua bench/peers/tls.lua CERTIFICATE KEY

local sync = require "sync"

local Echo = sync.Protocol:extend("Echo")
Echo.framing = "null"
function Echo:onData(data) self:send(data) end

local plain = sync.enable("127.0.0.1", 0, Echo)
local encrypted = sync.enable("127.0.0.1", 0, Echo,
  {tls = {certificate = arg[1], key = arg[2], only = true, minimum = "1.3"}})
print(plain.port, encrypted.port)
io.flush()
sync.start()
