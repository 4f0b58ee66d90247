--- Clients that go on in the next process: what Lua has of each, as a table of plain values, and
-- the same client there. Their connections are the core's (src/upgrade/carry.h).
-- @module sync.upgrade.clients

local auth = require "sync.auth"
local bundle = require "sync.upgrade.bundle"
local failure = require "sync.failure"
local histories = require "sync.upgrade.histories"
local loop = require "sync.loop"
local resume = require "sync.remoting.resume"

local clients = {}

--- Calls a handler of a client, or of a room, that has to do with an upgrade.
-- @raise what is wrong, for the log: it ends the attempt
function clients.call(object, name, ...)
  local ok, result = xpcall(object[name], failure.trace, object, ...)
  if ok then return result end
  error(("error in %s of %s: %s"):format(name, getmetatable(object).className, tostring(result)), 0)
end

-- Rooms by name, with what others are told of it there, or true.
local function packJoined(joined)
  local list = {}
  for name in pairs(joined.rooms) do
    local value = joined.values and joined.values[name]
    list[name] = value == nil or {value}
  end
  return list
end

--- Calls of the server that wait for a client's answer get none any more: their functions are
-- called in this process.
function clients.loseCalls()
  local list = {}
  for _, client in pairs(loop.clients) do list[#list + 1] = client end
  for client in pairs(loop.away) do list[#list + 1] = client end
  for _, client in ipairs(list) do
    if not client.isLink then client:loseAnswers() end
  end
end

--- What Lua has of a client.
-- @tparam sync.Protocol client
-- @tparam Teller teller of what sessions keep
-- @treturn table
function clients.pack(client, teller)
  local told = {id = client.id, address = client.address, port = client.port,
    transport = client.transport}
  if client._isAtDoor then
    told.isAtDoor = true
    return told
  end
  if client.user ~= nil then
    bundle.put(told, "user", client.user)
    told.userEnds = client._userEnds or nil
  end
  if client.joined then bundle.put(told, "rooms", packJoined(client.joined)) end
  bundle.put(told, "data", clients.call(client, "onHandover"))
  if client._session then
    told.session = client._session:pack()
    teller:add(client._session)
  end
  if client._calls then told.lastCall = client._calls.last end
  return told
end

local function restoreJoined(client, list)
  for name, held in pairs(list) do
    local value
    if held ~= true then value = held[1] end
    if client.slot == 0 then resume.rejoin(client, name, value) else client:join(name, value) end
  end
end

local function restore(client, told, listener)
  if told.packed then bundle.unpack(told) end
  if told.session then told.history = histories.of(told.session.token) end
  if told.user then auth.give(client, told.user, told.userEnds) end
  if client.slot ~= 0 then client.clients:add(client) end
  client:begin(listener, told)
  if told.rooms then restoreJoined(client, told.rooms) end
  if client._session and told.session then resume.goOn(client, told.session) end
  if told.data ~= nil then clients.call(client, "onTakeover", told.data) end
end

--- Makes a connection that was taken over the client that it was.
-- @tparam table told of `pack`
-- @tparam number slot
-- @tparam sync.Listener listener
function clients.connected(told, slot, listener)
  local client = loop.adopt(slot, listener, told.id, told)
  if told.isAtDoor then
    client._isAtDoor = true
    return client:knock(listener)
  end
  restore(client, told, listener)
end

--- The same of one that is away, if its class lets clients be away still.
-- @tparam table told with `class`
-- @tparam Listener listener where it was
function clients.away(told, listener)
  local class = listener.class
  if not (class.resumeTime and told.session) then return end
  local client = class:new {slot = 0, closing = false, id = told.id, address = told.address,
    port = told.port, transport = told.transport}
  restore(client, told, listener)
  resume.absent(client, told.session)
  loop.continueFrom(told.id)
end

return clients
