-- The server of `make bench-reconnect`: it keeps sessions, and so has to be asked by each
-- client that returns whether it still knows it.
--
--     sync-lua bench/peers/reconnect.lua PORT

local sync = require "sync"

local Crowd = sync.Remote:extend("Crowd")
Crowd.resumeTime = 30

function Crowd.remote:count() -- luacheck: ignore self
  return Crowd.clients:count()
end

io.stdout:setvbuf("line")
sync.enable("127.0.0.1", tonumber((...)), Crowd)
print("ready")
sync.start()
