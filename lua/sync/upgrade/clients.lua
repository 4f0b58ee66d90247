--- Clients that go on in the next process: what Lua has of each, as a table of plain values, and
-- the same client there. Their connections are the core's (src/upgrade/carry.h).
-- @module sync.upgrade.clients

local auth = require "sync.auth"
local core = require "sync.core"
local failure = require "sync.failure"
local loop = require "sync.loop"
local resume = require "sync.remoting.resume"

local C, handle = core.C, core.handle

local clients = {}

--- Calls a handler that has to do with an upgrade.
-- @raise what is wrong, for the log: it ends the attempt
function clients.call(what, fn, ...)
  local ok, result = xpcall(fn, failure.trace, ...)
  if not ok then error(("error in %s: %s"):format(what, tostring(result)), 0) end
  return result
end

local function handlerOf(client, name)
  return ("%s of %s"):format(name, getmetatable(client).className)
end

-- Rooms by name, with what others are told of it there.
local function packJoined(joined)
  local list = {}
  for name in pairs(joined and joined.rooms or {}) do
    local value = joined.values and joined.values[name]
    list[#list + 1] = {name = name, value = value}
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
-- @tparam table texts of events that sessions share: see `Session:pack`
-- @treturn table
function clients.pack(client, texts)
  local told = {id = client.id}
  if client._isAtDoor then
    told.isAtDoor = true
    return told
  end
  told.user, told.userEnds = client.user, client._userEnds or nil
  told.joined = packJoined(client.joined)
  told.data = clients.call(handlerOf(client, "onHandover"), client.onHandover, client)
  if client._session then told.session = client._session:pack(texts) end
  if client._calls then told.lastCall = client._calls.last end
  return told
end

local function restoreJoined(client, list)
  for _, room in ipairs(list) do
    if client.slot == 0 then resume.rejoin(client, room.name, room.value)
    else client:join(room.name, room.value) end
  end
end

local function restore(client, told, listener)
  if told.user then auth.give(client, told.user, told.userEnds) end
  if client.slot ~= 0 then client.clients:add(client) end
  client:begin(listener, told)
  restoreJoined(client, told.joined)
  if client._session and told.session then resume.goOn(client, told.session) end
  if told.data ~= nil then
    clients.call(handlerOf(client, "onTakeover"), client.onTakeover, client, told.data)
  end
end

--- Makes a connection that was taken over the client that it was.
-- @tparam table told of `pack`, with events' texts in `told.texts`
-- @tparam number slot
-- @tparam sync.Listener listener
function clients.connected(told, slot, listener)
  local client = loop.adopt(slot, listener, told.id)
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

--- Whether the core can say now what a client's connection is.
function clients.may(client)
  return C.sync_parcel_may(handle, client.slot) ~= 0
end

return clients
