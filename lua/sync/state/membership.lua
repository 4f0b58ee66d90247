--- The rooms that a client is in, and what it calls to join, leave, and speak to them: the
-- protocol's own functions of docs/state.md.
-- @module sync.state.membership

local Remote = require "sync.remoting.remote"
local core = require "sync.core"
local failure = require "sync.failure"
local fault = require "sync.remoting.fault"
local log = require "sync.log"

local C = core.C

local MOST_INPUT = 2 ^ 53 - 1

local Membership = {}
Membership.__index = Membership

--- The membership of a client.
function Membership.of(client)
  local self = client._membership
  if not self then
    self = setmetatable({client = client, members = {}}, Membership)
    client._membership = self
  end
  return self
end

function Membership:add(room, member)
  self.members[room.number] = member
end

function Membership:remove(room)
  self.members[room.number] = nil
end

-- The client has lost its connection, and may come back.
function Membership:suspend()
  for _, member in pairs(self.members) do
    local room = member.room
    C.sync_state_connect(room.inner.handle, member.number, 0)
    room.clients:remove(self.client)
    room.clients:remember(self.client)
  end
end

-- It is back: each room sends a snapshot.
function Membership:resume()
  for _, member in pairs(self.members) do
    local room = member.room
    room.clients:forget(self.client)
    room.clients:add(self.client)
    C.sync_state_connect(room.inner.handle, member.number, self.client.slot)
  end
end

-- It has gone.
function Membership:finish()
  for _, member in pairs(self.members) do
    member.room:remove(member, self.client.closing or "left")
  end
end

local function wrong(text, ...)
  return false, fault.new(fault.ARGUMENTS, text:format(...))
end

local function memberOf(client, params)
  local number = type(params) == "table" and params.room
  local member = number and client._membership and client._membership.members[number]
  if member then return member end
  return nil, fault.new(fault.ARGUMENTS, "room: this client is in no such room")
end

local function classOf(client, name)
  for _, class in ipairs(client.rooms) do
    if class.className == name then return class end
  end
end

local function join(client, params)
  local class = type(params) == "table" and classOf(client, params.room)
  if not class then return wrong("room: clients may not join a room of this name") end
  local open = rawget(class, "open")
  if open and client._membership and client._membership.members[open.number] then
    return false, fault.new(fault.REFUSED, "the client is in the room already")
  end
  local form = params.form
  if form ~= nil and type(form) ~= "string" then return wrong("form must be a string") end
  local ok, result, problem = xpcall(function()
    local joined, why = class:find():admit(client, params.options, form)
    return joined, why
  end, failure.trace)
  if not ok then
    log.limited("error", "join of " .. class.className, ("error while a client joins %s: %s")
      :format(class.className, tostring(result)), {client = client.id, address = client.address})
    return false, fault.new(fault.INTERNAL, "internal error")
  end
  if not result then return false, problem end
  return true, result
end

local function leave(client, params)
  local member, problem = memberOf(client, params)
  if not member then return false, problem end
  member.room:remove(member, "left")
  return true, true
end

local function call(client, params)
  local member, problem = memberOf(client, params)
  if not member then return false, problem end
  local name, input = params.method, params.input
  if type(name) ~= "string" then return wrong("method must be a string") end
  if params.params ~= nil and type(params.params) ~= "table" then
    return wrong("params must be a list")
  end
  if input ~= nil and not (type(input) == "number" and input % 1 == 0 and input >= 1 and
    input <= MOST_INPUT) then
    return wrong("input must be a whole number from 1 to 2^53 - 1")
  end
  local ok, result = member:invoke(name, params.params)
  if input and member.number ~= 0 then
    C.sync_state_input(member.room.inner.handle, member.number, input)
  end
  return ok, result
end

local function snapshot(client, params)
  local member, problem = memberOf(client, params)
  if not member then return false, problem end
  C.sync_state_renew(member.room.inner.handle, member.number)
  return true, true
end

Remote.serve {
  ["sync.join"] = join,
  ["sync.leave"] = leave,
  ["sync.call"] = call,
  ["sync.snapshot"] = snapshot,
  ["sync.time"] = function() return true, C.sync_now() end,
}

return Membership
