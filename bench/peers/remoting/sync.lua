-- The server of `make bench-remoting` on SYNC: a function that adds.
--
--     sync-lua bench/peers/remoting/sync.lua ws|tcp PORT

local sync = require "sync"

local _, port = ... -- a port speaks both

local Adder = sync.Remote:extend("Adder")
Adder.framing = "line"

function Adder.remote:add(a, b) return a + b end -- luacheck: ignore self

function Adder:onStart()
  print("ready " .. port)
  io.stdout:flush()
end

sync.enable("127.0.0.1", tonumber(port), Adder)
sync.start()
