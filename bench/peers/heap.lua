-- An echo on top of live objects, of which each message replaces one.
--
--     sync-lua heap.lua strings|tables OBJECTS PORT
--
-- An object is a string that no other is equal to, or a table of two numbers.

local sync = require "sync"

local kind, count, port = ...
count = tonumber(count)

local made = 0
local makers = {
  strings = function()
    made = made + 1
    return "object " .. made
  end,
  tables = function()
    made = made + 1
    return {made, made}
  end,
}
local make = assert(makers[kind], "usage: heap.lua strings|tables OBJECTS PORT")

local objects = {} -- luacheck: ignore 241 (they only have to live)
for i = 1, count do objects[i] = make() end

local Server = sync.Protocol:extend("Server")
Server.framing = "null"

local place = 0
function Server:onData(data)
  if count > 0 then
    place = place % count + 1
    objects[place] = make()
  end
  self:send(data)
end

function Server:onStart()
  print("ready " .. port)
  io.stdout:flush()
end

sync.enable("127.0.0.1", tonumber(port), Server)
sync.start()
