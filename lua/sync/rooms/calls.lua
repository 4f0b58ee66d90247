--- What clients call to find rooms, to join and to leave them, and to speak to them: the protocol's
-- own functions of docs/rooms.md and docs/state.md.
-- @module sync.rooms.calls

local Entry = require "sync.rooms.entry"
local Here = require "sync.rooms.here"
local Membership = require "sync.rooms.membership"
local Allowance = require "sync.rooms.allowance"
local Remote = require "sync.remoting.remote"
local code = require "sync.rooms.code"
local core = require "sync.core"
local directory = require "sync.rooms.directory"
local fault = require "sync.remoting.fault"
local list = require "sync.list"
local making = require "sync.rooms.making"
local matching = require "sync.rooms.matching"
local options = require "sync.options"

local C = core.C

local MOST_INPUT = 2 ^ 53 - 1
local MOST_LISTED = 100 -- rooms in an answer
local MOST_FILTER = 16  -- names
local GUESSES = 20      -- codes and ids that nobody has, a minute and address
local LOOKS = 60        -- at the list of rooms, a minute and client

local setting, settings = options.setting, {}

--- Rooms that a client may be in, or be on its way into, at a time.
settings.maxJoined = setting {8, options.wholeNumber(1, 1000), onClass = true}
--- Rooms that a client may make in a minute.
settings.createRate = setting {10, options.wholeNumber(0, 10000), onClass = true}

options.declare(Remote, settings)

local guesses, creations, looks = Allowance.new(), Allowance.new(), Allowance.new()

local function wrong(text, ...)
  return fault.new(fault.ARGUMENTS, text:format(...))
end

local function refuse(text)
  return fault.new(fault.REFUSED, text)
end

local function classOf(client, params)
  local name = type(params) == "table" and params.room
  for _, class in ipairs(client.rooms) do
    if class.className == name then return class end
  end
  return nil, wrong "room: clients may not join a room of this name"
end

-- Finding. Each returns a home and whether the client is invited, or nil and a fault.

local function make(client, class, params)
  if not class.clientsCreate then return nil, refuse "there is no such room" end
  if not creations:take(client, client.createRate) then
    return nil, fault.new(fault.TOO_OFTEN, "this client makes too many rooms")
  end
  return making.make(class, params.options)
end

-- An address may ask for what there isn't so often.
local function missing(client)
  if guesses:take(client.address or client, GUESSES) then return refuse "there is no such room" end
  return fault.new(fault.TOO_OFTEN, "rooms that aren't there are asked for too often")
end

local finders = {}

function finders.join(client, params, class)
  local home = matching.find(class, params.options)
  if home then return home end
  return make(client, class, params)
end

function finders.create(client, params, class)
  return make(client, class, params)
end

function finders.joinById(client, params)
  local id, secret = tostring(params.id):match "^(%w+)%.?(%w*)$"
  local home = id and directory.byId(id)
  if home and secret ~= "" and home:release(secret) then return home, true end
  local isListed = home and secret == "" and not home.room.isPrivate
  local ok = isListed and classOf(client, {room = home.class.className})
  if ok then return home end
  return nil, missing(client)
end

function finders.joinByCode(client, params)
  local home = directory.byCode(code.read(params.code) or "")
  local ok = home and classOf(client, {room = home.class.className})
  if ok then return home end
  return nil, missing(client)
end

-- Answers a call of a client's: at once, or when something has been waited for.
local function answering(client)
  local ok, answer = pcall(client.later, client)
  if ok then return answer end
  return nil, answer
end

local function enter(client, params, find)
  if type(params) ~= "table" then return false, wrong "parameters have names" end
  local form, problem, class = params.form
  if form ~= nil and type(form) ~= "string" then return false, wrong "form must be a string" end
  form, problem = Here.form(client, form)
  if not form then return false, problem end
  if Membership.of(client).count >= client.maxJoined then
    return false, refuse "the client is in too many rooms"
  end
  if find == finders.join or find == finders.create then
    class, problem = classOf(client, params)
    if not class then return false, problem end
  end
  local answer
  answer, problem = answering(client)
  if not answer then return false, problem end
  local home, found = find(client, params, class)
  if not home then return false, found end
  Entry.begin(home, Here.create(client, home, form), params.options, found == true, answer)
  return true
end

local function isFilter(filter)
  if type(filter) ~= "table" then return false end
  local count = 0
  for _ in pairs(filter) do count = count + 1 end
  return count <= MOST_FILTER
end

local function rooms(client, params)
  local class, problem = classOf(client, params)
  if not class then return false, problem end
  local filter = params.filter
  if filter ~= nil and not isFilter(filter) then
    return false, wrong("filter must be an object of at most %d names", MOST_FILTER)
  end
  if not looks:take(client, LOOKS) then
    return false, fault.new(fault.TOO_OFTEN, "this client asks for rooms too often")
  end
  local found = list.new {}
  for _, home in ipairs(directory.some(class, MOST_LISTED, function(home)
    local room = home.room
    return not room.isPrivate and not room.isLocked and matching.fits(room.metadata, filter)
  end)) do
    local room = home.room
    found[#found + 1] = {id = room.id, members = home:taken(), maxMembers = room.maxMembers or nil,
      metadata = room.metadata}
  end
  return true, found
end

-- Speaking to a room that the client is in.

local function placeOf(client, params)
  local number = type(params) == "table" and params.room
  local place = number and client.membership and client.membership.places[number]
  if place then return place end
  return nil, wrong "room: this client is in no such room"
end

local function leave(client, params)
  local place, problem = placeOf(client, params)
  if not place then return false, problem end
  place:quit "left"
  return true, true
end

local function call(client, params)
  local place, problem = placeOf(client, params)
  if not place then return false, problem end
  local name, input = params.method, params.input
  if type(name) ~= "string" then return false, wrong "method must be a string" end
  if params.params ~= nil and type(params.params) ~= "table" then
    return false, wrong "params must be a list"
  end
  if input ~= nil and not (type(input) == "number" and input % 1 == 0 and input >= 1 and
    input <= MOST_INPUT) then
    return false, wrong "input must be a whole number from 1 to 2^53 - 1"
  end
  local ok, result = place:invoke(name, params.params)
  if input then place:input(input) end
  return ok, result
end

local function snapshot(client, params)
  local place, problem = placeOf(client, params)
  if not place then return false, problem end
  place:renew()
  return true, true
end

local functions = {
  ["sync.leave"] = leave,
  ["sync.call"] = call,
  ["sync.snapshot"] = snapshot,
  ["sync.rooms"] = rooms,
  ["sync.time"] = function() return true, C.sync_now() end,
}
for name, find in pairs(finders) do
  functions["sync." .. name] = function(client, params) return enter(client, params, find) end
end
Remote.serve(functions)
