-- Clients of sync.testing that join rooms.

local cjson = require "cjson"
local support = require "spec.support"
local sync = require "sync"
local testing = require "sync.testing"

local rooms = {}

local classes, number = {}, 0

--- A class of rooms with a name that no other has.
function rooms.class(fields)
  number = number + 1
  local class = sync.Room:extend("Duel" .. number)
  for name, value in pairs(fields or {}) do class[name] = value end
  classes[#classes + 1] = class
  return class
end

--- A class of clients that may join them.
function rooms.game(fields)
  return support.protocol(fields, sync.Remote)
end

--- Ends what specs have made. For after_each.
function rooms.cleanUp()
  support.cleanUp()
  for _, class in ipairs(classes) do
    for _, room in ipairs(class:all()) do room:close() end
  end
  classes = {}
end

--- What a client was sent since the last call, decoded.
function rooms.messages(client)
  testing.settle()
  local list = {}
  for text in client:received():gmatch("(%Z*)%z") do list[#list + 1] = cjson.decode(text) end
  return list
end

--- Sends a call.
function rooms.send(client, method, params)
  client:send(cjson.encode {jsonrpc = "2.0", id = 1, method = method, params = params} .. "\0")
end

--- The answer among the messages of a client; nil when there is none yet.
function rooms.answer(client)
  for _, message in ipairs(rooms.messages(client)) do
    if message.id == 1 then return message end
  end
end

--- Calls, and returns the result, or nil and the error.
function rooms.call(client, method, params)
  rooms.send(client, method, params)
  local message = rooms.answer(client)
  if not message then return nil, {code = 0, message = "no answer"} end
  return message.result, message.error
end

--- Joins by the name of a class.
function rooms.join(client, class, options)
  return rooms.call(client, "sync.join", {room = class.className, options = options})
end

return rooms
