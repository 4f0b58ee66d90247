-- Serves one of the handlers beside this file, for bench/runs/jit.py.
--
--     sync-lua bench/peers/jit/serve.lua echo|chat|game|rpc PORT

local sync = require "sync"

local work, port = ...
local folder = arg[0]:match("^(.*/)") or ""
local Server = dofile(folder .. work .. ".lua")

Server.framing = "null"

function Server:onStart()
  print("ready " .. port)
  io.stdout:flush()
end

sync.enable("127.0.0.1", tonumber(port), Server)
sync.start()
