-- The echo server that the conformance cases are played against. Prints its port.
--
--     sync-lua spec/conformance/echo.lua [takeover]

local sync = require "sync"

local Echo = sync.Protocol:extend("Echo")
Echo.transports = {"websocket"}
Echo.maxMessage = 16 * 2 ^ 20
Echo.maxQueue = 64 * 2 ^ 20
Echo.messageTimeout = 600 -- byte by byte a message takes its time on a busy machine
if arg[1] == "takeover" then
  Echo.sendTakeover, Echo.receiveTakeover, Echo.compressFrom = true, true, 1
end

function Echo:onData(data) self:send(data) end

local listener = sync.enable("127.0.0.1", 0, Echo)
print(listener.port)
io.flush()
sync.start()
