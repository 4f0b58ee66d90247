--- What clients call to find rooms, to join and to leave them, and to speak to them: the protocol's
-- own functions of docs/rooms.md and docs/state.md.
-- @module sync.rooms.calls

local Entry = require "sync.rooms.entry"
local Guest = require "sync.rooms.guest"
local Here = require "sync.rooms.here"
local Membership = require "sync.rooms.membership"
local Allowance = require "sync.rooms.allowance"
local Remote = require "sync.remoting.remote"
local Rpc = require "sync.remoting.jsonrpc"
local arriving = require "sync.rooms.arriving"
local code = require "sync.rooms.code"
local core = require "sync.core"
local directory = require "sync.rooms.directory"
local fault = require "sync.remoting.fault"
local finder = require "sync.rooms.finder"
local list = require "sync.list"
local loop = require "sync.loop"
local making = require "sync.rooms.making"
local matching = require "sync.rooms.matching"
local nodes = require "sync.rooms.nodes"
local options = require "sync.options"
local placing = require "sync.rooms.placing"
local remote = require "sync.rooms.remote"
local returning = require "sync.rooms.returning"

local C = core.C
local now = C.sync_now

local MOST_INPUT = 2 ^ 53 - 1
local MOST_FILTER = 16  -- names
local GUESSES = 20      -- codes and ids that nobody has, a minute and address
local ELSEWHERE = 120   -- the same of other nodes' rooms, that there are or not
local LIST_SECONDS = 1  -- that nodes have to list theirs
local LOOKS = 60        -- at the list of rooms, a minute and client
local RETURN_SECONDS, AGAIN_SECONDS = 15, 1 -- that a member waits for its room; between tries
local MOST_RETURNERS = 10000 -- that wait at a time

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

-- Finding. Each calls `found` once with a home, or with a table that says where another node has
-- the room (see Guest.join), and whether the client is invited, or the line of the member that it
-- was; or with nil and a fault.

local function mayMake(client, class)
  if not class.clientsCreate then return refuse "there is no such room" end
  if not creations:take(client, client.createRate) then
    return fault.new(fault.TOO_OFTEN, "this client makes too many rooms")
  end
end

local function make(client, class, params, found, id)
  local problem = mayMake(client, class)
  if problem then return found(nil, problem) end
  local node = id and nodes.own() or placing.node(class)
  if node == nodes.own() then return found(making.make(class, params.options, id)) end
  local text
  text, problem = remote.write(params.options)
  if not text then return found(nil, wrong("options: %s", problem)) end
  found {id = directory.newId(node), node = node, class = class, made = text}
end

-- An address may ask for what there isn't so often.
local function missing(client)
  if guesses:take(client.address or client, GUESSES) then return refuse "there is no such room" end
  return fault.new(fault.TOO_OFTEN, "rooms that aren't there are asked for too often")
end

local finders = {}

local function joinHere(client, class, params, found)
  local home = matching.find(class, params.options)
  if home then return found(home) end
  make(client, class, params, found)
end

-- The node that brings together says where.
local function follow(client, class, params, said, found)
  if not said then return joinHere(client, class, params, found) end
  if not said.id then return found(nil, refuse "there is no such room") end
  if said.isNew then
    local problem = mayMake(client, class)
    if problem then return found(nil, problem) end
  end
  if said.node ~= nodes.own() then
    return found {id = said.id, node = said.node, class = class, ticket = said.ticket,
      made = said.given}
  end
  local home, why = directory.byId(said.id), nil
  if not home and said.given then
    home, why = making.make(class, remote.read(said.given), said.id)
  end
  if not home then return found(nil, why or refuse "there is no such room") end
  home.seen[#home.seen + 1] = said.ticket
  finder.changed(home)
  found(home)
end

function finders.join(client, params, class, found)
  if nodes.isAlone() then return joinHere(client, class, params, found) end
  local text, problem = remote.write(params.options)
  if not text then return found(nil, wrong("options: %s", problem)) end
  finder.find(class, params.options, text, function(said)
    follow(client, class, params, said, found)
  end)
end

function finders.create(client, params, class, found)
  make(client, class, params, found)
end

-- Whether the client's rooms may be on another node than that of their ids.
local function mayMove(client)
  for _, class in ipairs(client.rooms) do
    if class.persist then return true end
  end
  return false
end

-- Asks nodes which of them has a room, all at once; `found` gets nil when none has it.
local function askThese(client, asked, word, said, target, found)
  local left, isOver = #asked, false
  local function answered(node, answer)
    left = left - 1
    if isOver then return end
    local class = answer and answer.class and classOf(client, {room = answer.class})
    if class then
      isOver = true
      found {id = answer.id, node = node, class = class, isInvited = target.isInvited,
        secret = target.secret}
    elseif left == 0 then
      isOver = true
      found(nil)
    end
  end
  if left == 0 then return found(nil) end
  for _, node in ipairs(asked) do
    local question = {}
    for name, value in pairs(said) do question[name] = value end
    nodes.ask(node, word, question, function(answer) answered(node, answer) end)
  end
end

local function mayAsk(client)
  if guesses:take(client.address or client, ELSEWHERE) then return true end
  return false, fault.new(fault.TOO_OFTEN, "rooms are asked for too often")
end

-- For who asks whether it's told of what isn't there.
local function orMissing(client, found)
  return function(target)
    if target then return found(target) end
    found(nil, missing(client))
  end
end

local returners = 0

-- Finds the room of a member whose node has died. If that was the home, too, the room comes up
-- again on another node: this is waited for.
local function findAgain(client, id, secret, found)
  local due = now() + RETURN_SECONDS
  returners = returners + 1
  local function finish(...)
    returners = returners - 1
    found(...)
  end
  local function try()
    local line = returning.find(secret, id)
    if line and line.home:goesOn() then return finish(line.home, line) end
    askThese(client, nodes.others(), "which", {id = id}, {secret = secret}, function(target)
      if target then return finish(target) end
      if now() > due or Membership.of(client).isOver then return finish(nil, missing(client)) end
      loop.startTimer(AGAIN_SECONDS, 0, try)
    end)
  end
  try()
end

function finders.joinById(client, params, _, found)
  local id, secret = tostring(params.id):match "^(%w+)%.?(%w*)$"
  local home = id and directory.byId(id)
  local class = home and classOf(client, {room = home.class.className})
  if class then
    if secret ~= "" and home:release(secret) then return found(home, true) end
    local line = secret ~= "" and returning.find(secret, id)
    if line then return found(home, line) end
    if secret == "" and not home.room.isPrivate then return found(home) end
  end
  local node = id and not home and directory.nodeOf(id)
  local asked = {node}
  if node and mayMove(client) then
    asked = nodes.others()
  elseif not node or node == nodes.own() or not nodes.isAlive(node) then
    return found(nil, missing(client))
  end
  local isAllowed, problem = mayAsk(client)
  if not isAllowed then return found(nil, problem) end
  if node and mayMove(client) and returning.isSecret(secret) and returners < MOST_RETURNERS then
    return findAgain(client, id, secret, found)
  end
  askThese(client, asked, "which", {id = id}, {secret = secret ~= "" and secret or nil},
    orMissing(client, found))
end

function finders.joinByCode(client, params, _, found)
  local text = code.read(params.code)
  local home = text and directory.byCode(text)
  if home and classOf(client, {room = home.class.className}) then return found(home) end
  if not text or home or nodes.isAlone() then return found(nil, missing(client)) end
  local isAllowed, problem = mayAsk(client)
  if not isAllowed then return found(nil, problem) end
  askThese(client, nodes.others(), "code", {code = text}, {isInvited = true},
    orMissing(client, found))
end

nodes.answers("which", function(_, said, answer)
  local home = directory.byId(said.id)
  if home and home.keep and not home:goesOn() then home = nil end -- another node may have it
  answer {id = home and said.id, class = home and home.class.className}
end)

-- Answers a call of a client's: at once, or when something has been waited for.
local function answering(client)
  local ok, answer = pcall(client.later, client)
  if ok then return answer end
  return nil, answer
end

local function crowded(client)
  if Membership.of(client).count < client.maxJoined then return nil end
  return refuse "the client is in too many rooms"
end

-- Brings a client to what was found for it.
local function bring(client, target, isInvited, params, form, answer)
  local membership = Membership.of(client)
  if membership.isOver then return end
  local problem = crowded(client)
  if problem then return answer(nil, problem) end
  if target.room and type(isInvited) == "table" then
    return target:whenOpen(function()
      if membership.isOver or isInvited.home.lines[isInvited.name] ~= isInvited then
        return answer(nil, missing(client))
      end
      answer(Here.create(client, target, form):comeBack(isInvited))
    end)
  elseif target.room then
    return Entry.begin(target, Here.create(client, target, form), params.options, isInvited == true,
      answer)
  end
  Guest.join(client, target, params.options, form, answer)
end

local function enter(client, params, find)
  if type(params) ~= "table" then return false, wrong "parameters have names" end
  local form, problem, class = params.form
  if form ~= nil and type(form) ~= "string" then return false, wrong "form must be a string" end
  form, problem = Here.form(client, form)
  problem = problem or crowded(client)
  if problem then return false, problem end
  if find == finders.join or find == finders.create then
    class, problem = classOf(client, params)
    if not class then return false, problem end
  end
  local answer
  answer, problem = answering(client)
  if not answer then return false, problem end
  find(client, params, class, function(target, isInvited)
    if not target then return answer(nil, isInvited) end
    bring(client, target, isInvited, params, form, answer)
  end)
  return true
end

local function isFilter(filter)
  if type(filter) ~= "table" then return false end
  local count = 0
  for _ in pairs(filter) do count = count + 1 end
  return count <= MOST_FILTER
end

-- What all nodes have, of which each has some seconds to answer.
local function gather(class, filter, answer)
  local found, others = list.new(arriving.list(class, filter)), nodes.others()
  local left = #others
  for _, node in ipairs(others) do
    nodes.ask(node, "rooms", {class = class.className, filter = remote.write(filter)},
      function(said)
        for _, each in ipairs(said and remote.read(said.list) or {}) do
          if #found < arriving.MOST_LISTED then found[#found + 1] = each end
        end
        left = left - 1
        if left == 0 then answer(found) end
      end, LIST_SECONDS)
  end
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
  if nodes.isAlone() then return true, list.new(arriving.list(class, filter)) end
  local answer
  answer, problem = answering(client)
  if not answer then return false, problem end
  gather(class, filter, answer)
  return true
end

-- Speaking to a room that the client is in.

local function placeOf(client, params)
  local number = type(params) == "table" and params.room
  local place = number and client._membership and client._membership:find(number)
  if place then return place end
  return nil, wrong "room: this client is in no such room"
end

local function leave(client, params)
  local place, problem = placeOf(client, params)
  if not place then return false, problem end
  place:quit "left"
  return true, true
end

local function call(client, params, id)
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
  if place.ask then -- it's another node's
    if id == nil then return place:ask(name, params.params, input) end -- a notification
    local owed
    owed, problem = client:defer()
    if not owed then return false, problem end
    local isAsked, refusal = place:ask(name, params.params, input, owed)
    if isAsked == false then Rpc.settle(owed, nil, refusal) end
    return true
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

-- A session goes to another node with the rooms that its client is in.

local function adopt(client, packed)
  for _, each in ipairs(packed) do
    local class, home = directory.class(each.class), directory.byId(each.id)
    local isIn = home and Here.adopt(client, each, home)
    if not home and class and each.node ~= nodes.own() then
      Guest.adopt(client, each, class)
    elseif not isIn then
      client:fire("sync.left", each.old, "lost")
    end
  end
end

Remote.carryPlaces(function(client)
  return client._membership and client._membership:pack()
end, adopt)
