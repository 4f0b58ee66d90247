-- The server speaks by itself: every second it tells all clients the time.
--
--     sync-lua examples/clock.lua
--     nc localhost 8080

local sync = require "sync"

local Clock = sync.Protocol:extend("Clock")
Clock.framing = "line"

function Clock:onStart()
  sync.every(1, function() self.clients:send(os.date("%H:%M:%S")) end)
end

function Clock:onConnect()
  self:send("You are client " .. self.id .. " of " .. self.clients:count())
end

sync.enable("localhost", 8080, Clock)
sync.start()
