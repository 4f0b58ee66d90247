--- Calls of members to rooms that live on other nodes, and their answers. All that a tick has for
-- a node stands in one flat list, plain arguments and results as they are: what a call costs is
-- to be near to what one costs where the room lives.
--
-- A call in the list is the key of the client's place, the number of the question (0: nobody waits
-- for an answer), that of the input (0: it's none), the function's name, how many arguments there
-- are, and these. An answer is the number of the question, what it is, and its value.
-- @module sync.rooms.relay

local Rpc = require "sync.remoting.jsonrpc"
local There = require "sync.rooms.there"
local core = require "sync.core"
local fault = require "sync.remoting.fault"
local list = require "sync.list"
local loop = require "sync.loop"
local nodes = require "sync.rooms.nodes"
local null = require "cjson".null
local remote = require "sync.rooms.remote"
local running = require "sync.rooms.running"

local C = core.C

local HEAD = 40        -- bytes of a call or an answer, about, without names and texts
local MOST_PLAIN = 4   -- arguments that stand as they are
local PACKED = -1      -- in the place of their number: one text has all
local VALUE, TEXT, FAULT = 1, 2, 3 -- what an answer is

local relay = {}

local PLAIN = {number = true, string = true, boolean = true, ["nil"] = true}

local function isPlain(value) return PLAIN[type(value)] or value == null end

local function size(value) return type(value) == "string" and #value or 0 end

local function given(value)
  if value == null then return nil end
  return value
end

local function noted(value)
  if value == nil then return null end
  return value
end

-- At the node of the client.

local function pack(arguments, count)
  local all = list.new {}
  for i = 1, count do all[i] = noted(arguments[i]) end
  return remote.write(all)
end

local function lose(owed) Rpc.settle(owed, nil, remote.away()) end

--- Calls a function of a room on its node.
-- @tparam number node
-- @tparam number key of the client's place
-- @tparam string name
-- @tparam number|nil input
-- @tparam table|nil owed the call that gets the answer: see Rpc:defer
-- @tparam table arguments
-- @tparam number count of them
-- @treturn fault|nil of arguments that can't be told
function relay.call(node, key, name, input, owed, arguments, count)
  local a, b, c, d = arguments[1], arguments[2], arguments[3], arguments[4]
  if count > MOST_PLAIN or not (isPlain(a) and isPlain(b) and isPlain(c) and isPlain(d)) then
    local text, problem = pack(arguments, count)
    if not text then return fault.new(fault.ARGUMENTS, problem) end
    count, a, b, c, d = PACKED, text, nil, nil, nil
  end
  local question = 0
  if owed then
    question = nodes.expect(node, owed, lose)
    if not question then return nil end
  end
  local lot = nodes.lot(node, "calls", HEAD + #name + size(a) + size(b) + size(c) + size(d))
  if not lot then
    nodes.giveUp(question)
    return nil
  end
  local said, n = lot.list, lot.n
  said[n + 1], said[n + 2], said[n + 3], said[n + 4], said[n + 5] =
    key, question, input or 0, name, count
  n = n + 5
  if count ~= 0 then said[n + 1] = noted(a) end
  if count > 1 then said[n + 2] = noted(b) end
  if count > 2 then said[n + 3] = noted(c) end
  if count > 3 then said[n + 4] = noted(d) end
  lot.n = n + (count == PACKED and 1 or count)
  return nil
end

local function deliver(owed, what, value)
  if what == VALUE then return Rpc.settle(owed, given(value)) end
  if what == TEXT then return Rpc.settle(owed, remote.read(value)) end
  Rpc.settle(owed, nil, remote.readFault(value))
end

nodes.on("answers", function(node, lot)
  local said = lot.list
  for at = 1, lot.n, 3 do
    local owed = nodes.settle(said[at], node)
    if owed then loop.guard("another node's answer", deliver, owed, said[at + 1], said[at + 2]) end
  end
end)

-- At the node of the room.

local function say(node, question, what, value)
  local lot = nodes.lot(node, "answers", HEAD + size(value))
  if not lot then return end
  local said, n = lot.list, lot.n
  said[n + 1], said[n + 2], said[n + 3] = question, what, value
  lot.n = n + 3
end

-- What has come of a function.
local function answer(call, ok, result)
  local node, question = call.node, call.question
  if question == 0 then return end
  if not ok then return say(node, question, FAULT, remote.writeFault(result)) end
  if isPlain(result) then return say(node, question, VALUE, noted(result)) end
  local text, problem = remote.write(result)
  if text then return say(node, question, TEXT, text) end
  running.complain(call.member, call.name, problem)
  say(node, question, FAULT,
    remote.writeFault(fault.new(fault.INTERNAL, "internal error")))
end

local NOT_IN = "room: this client is in no such room"

local hand = {} -- the call in hand: a function that waits has a copy

local function run(line, name, input, count, a, b, c, d)
  local member = line and line.hasBegun and line.member
  if not member then return answer(hand, false, fault.new(fault.ARGUMENTS, NOT_IN)) end
  if not line.home:goesOn() then return answer(hand, false, remote.paused()) end
  hand.member, hand.name = member, name
  if count == PACKED then
    running.run(member, name, answer, hand, running.arguments(remote.read(a)))
  else
    running.run(member, name, answer, hand, count, given(a), given(b), given(c), given(d))
  end
  if input ~= 0 and member.number ~= 0 then
    member.lastInput = math.max(member.lastInput or 0, input)
    C.sync_state_input(line.home.state.handle, member.number, input)
  end
end

nodes.on("calls", function(node, lot)
  local said, at = lot.list, 1
  while at <= lot.n do
    local count, a, b, c, d = said[at + 4], said[at + 5], nil, nil, nil
    if count > 1 then b = said[at + 6] end
    if count > 2 then c = said[at + 7] end
    if count > 3 then d = said[at + 8] end
    hand.node, hand.question = node, said[at + 1]
    run(There.at(node, said[at]), said[at + 3], said[at + 2], count, a, b, c, d)
    at = at + 5 + (count == PACKED and 1 or count)
  end
end)

return relay
