-- A server of `make bench-scale`: alone, one of several workers, or a node of an engine.
--
--     sync-lua [--workers=N] bench/peers/scale/sync.lua work|all|room PORT [ENGINE-URL]
--
-- To work, a message is some arithmetic and an echo; to all, it goes to all clients; a room's
-- goes to those who are in one room, which all are.

local sync = require "sync"

local mode, port, url = ...
if url then sync.cluster(url) end

local STEPS = 7000 -- of arithmetic a message: about 50 µs, which the bench measures
local MULTIPLIER, MODULUS = 16807, 2147483647

local Node = sync.Protocol:extend("Node")
Node.framing = "null"
Node.last = 0

local function work(self, data)
  local x = #data
  for _ = 1, STEPS do x = x * MULTIPLIER % MODULUS end
  self.last = x
  self:send(data)
end

local function sendToAll(self, data)
  self.clients:send(data)
end

local function sendToRoom(self, data)
  self:room("all"):send(data)
end

local handlers = {work = work, all = sendToAll, room = sendToRoom}
Node.onData = assert(handlers[mode], "usage: sync.lua work|all|room PORT [ENGINE-URL]")

function Node:onConnect()
  if mode == "room" then self:join("all") end
end

function Node:onStart()
  print("ready")
  io.stdout:flush()
end

sync.enable("127.0.0.1", tonumber(port), Node)
sync.start()
