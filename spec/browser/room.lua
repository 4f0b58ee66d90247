-- The room of the browser tests: everybody gets what anybody says, and a newcomer a greeting.
--
--     sync-lua spec/browser/room.lua [port [origin ...]]
--
-- To standard output it writes the port, and who comes and goes: lines for run.mjs.

local sync = require "sync"

local folder = arg[0]:match("^(.*/)") or "./"

local Room = sync.Protocol:extend("Room")
Room.framing = "null"
Room.maxMessage = 256 * 1024
Room.detectTimeout = 1 -- the TCP client waits for its greeting, and pages make spare connections
Room.origins = select("#", ...) > 1 and {select(2, ...)} -- else its own pages

-- The WebSocket page, from the port that its WebSocket goes to.
Room.routes["GET /"] = function()
  local file = assert(io.open(folder .. "socket.html", "rb"))
  local page = file:read("*a")
  file:close()
  return 200, page, {["Content-Type"] = "text/html; charset=utf-8"}
end

function Room:onConnect()
  print("joined", self.id, self.transport)
  self:send(("Welcome, client %d."):format(self.id))
end

function Room:onData(data)
  self.clients:send(data)
end

function Room:onClose(reason, code)
  print("left", self.id, reason, code or 0)
end

io.stdout:setvbuf("line")
local listener = sync.enable("127.0.0.1", tonumber((...)) or 0, Room)
print("port", listener.port)
sync.start()
