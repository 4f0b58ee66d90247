--- Flash Remoting: `NetConnection.call` reaches the functions of `remote`, by POST of
-- application/x-amf to any path.
--
-- A body holds any number of messages, each for a target: a function's name, or the class's
-- name, a dot and that. The caller is a client for as long as its POST lasts: it's in no set,
-- and nothing can be sent to it but its answers. What is limited for a client is limited for
-- an address here.
-- @module sync.flash.gateway

local amfpacket = require "sync.flash.packet"
local fault = require "sync.remoting.fault"
local log = require "sync.log"
local loop = require "sync.loop"
local origins = require "sync.http.origins"

local gateway = {}

local ADDRESSES = 5000 -- whose allowances are kept, twice
local MOST_NAME = 255  -- bytes of a response's

-- Allowances of addresses; when the young ones are many, they take the place of the old.
local allowances = setmetatable({}, {__mode = "k"}) -- by class

local function allowancesOf(class, address)
  local known = allowances[class] or {young = {}, old = {}, count = 0}
  allowances[class] = known
  local found = known.young[address]
  if found then return found end
  if known.count >= ADDRESSES then
    known.old, known.young, known.count = known.young, {}, 0
  end
  found = known.old[address] or {}
  known.young[address] = found
  known.count = known.count + 1
  return found
end

-- Writes answers when they are given. The last one may be given on behalf of somebody else,
-- where there must be nothing left that can go wrong.
local function wireFor(version)
  local wire = {}
  function wire.result(id, value)
    local bytes, problem = amfpacket.value(value, version)
    if not bytes then return nil, problem end
    return {id = id, status = "/onResult", bytes = bytes}
  end
  function wire.fault(id, err)
    local function write(message, data)
      return amfpacket.value({level = "error", code = err.code, description = message,
        details = data}, version)
    end
    return {id = id, status = "/onStatus",
      bytes = write(err.message, err.data) or write(err.message) or write("error")}
  end
  function wire.request() return "" end -- transmit refuses it
  return wire
end

-- The caller: a client without a connection.
local function caller(class, request, version)
  return class:new {
    slot = 0, closing = false, id = 0, address = request.address, port = request.port,
    transport = "http", wire = wireFor(version), request = request,
    allowances = allowancesOf(class, request.address),
  }
end

-- "Game.join" is join, where Game is the class's name.
local function functionName(class, target)
  local prefix = class.name .. "."
  return target:sub(1, #prefix) == prefix and target:sub(#prefix + 1) or target
end

local function arguments(value)
  if type(value) == "table" and (#value > 0 or next(value) == nil) then return value end
  return {value}
end

-- What must be understood, and isn't.
local function strangeHeader(packet)
  for _, header in ipairs(packet.headers) do
    if header.mustUnderstand then return header.name end
  end
end

local function isGiven(response)
  return response:find("^/") ~= nil
end

-- A response's name is a few bytes, such as "/1"; one that is too long for the answer's packet
-- would be found out too late.
local function hasLongName(packet)
  for _, message in ipairs(packet.messages) do
    if #message.response > MOST_NAME then return true end
  end
  return false
end

local function say(answer, status, text)
  answer(status, {["Content-Type"] = "text/plain; charset=utf-8"}, text .. "\n")
end

-- Sends the answers that have come, in the order of their messages.
local function finish(class, packet, parts, answer)
  local messages = {}
  for i, message in ipairs(packet.messages) do
    local part = parts[i]
    if part and isGiven(message.response) then
      messages[#messages + 1] = {target = message.response .. part.status, response = "null",
        bytes = part.bytes}
    end
  end
  local bytes, problem = amfpacket.encode {version = packet.version, messages = messages}
  if not bytes then
    log.limited("error", "gateway of " .. class.name,
      ("the answers of %s can't be sent: %s"):format(class.name, problem))
    return say(answer, 500, "internal error")
  end
  answer(200, {["Content-Type"] = "application/x-amf", ["Cache-Control"] = "no-store"}, bytes)
end

local function callAll(class, request, packet, answer)
  local parts, waiting, timer = {}, 0, nil
  local client = caller(class, request, packet.version)
  local function done()
    if timer then loop.stopTimer(timer) end
    waiting = 0
    finish(class, packet, parts, answer)
  end
  function client.transmit(_, part) -- an answer that comes later
    if type(part) ~= "table" then return false, "closed" end
    if waiting > 0 and not parts[part.id] then
      parts[part.id] = part
      waiting = waiting - 1
      if waiting == 0 then done() end
    end
    return true
  end
  local strange = strangeHeader(packet)
  for i, message in ipairs(packet.messages) do
    if strange then
      parts[i] = client.wire.fault(i, fault.new(fault.REQUEST,
        ("the header %q is not understood"):format(strange)))
    else
      parts[i] = client:take {jsonrpc = "2.0", id = i, method = functionName(class, message.target),
        params = arguments(message.value)}
    end
    if not parts[i] then waiting = waiting + 1 end
  end
  if waiting == 0 then return done() end
  timer = loop.startTimer(class.callTimeout, 0, function()
    for i in ipairs(packet.messages) do
      parts[i] = parts[i] or client.wire.fault(i, fault.new(fault.BUSY, "no answer in time"))
    end
    done()
  end)
end

--- Carries a request out. As `Protocol.takesRequest` says.
-- @tparam sync.http.exchange exchange
function gateway.serve(exchange)
  local request, listener, answer = exchange.request, exchange.listener, exchange:later()
  local class = listener.class
  if not origins.allow(listener.settings.origins, request.origin, request.headers.host) then
    return say(answer, 403, origins.refuse(class, request))
  end
  local packet, problem = amfpacket.decode(request.body,
    {depth = math.min(class.maxDepth, amfpacket.MOST_DEPTH)})
  if not packet then return say(answer, 400, "this is no AMF: " .. problem) end
  if #packet.messages > class.maxBatch then
    return say(answer, 400, ("a request holds at most %d calls"):format(class.maxBatch))
  end
  if hasLongName(packet) then
    return say(answer, 400, ("a response's name has at most %d bytes"):format(MOST_NAME))
  end
  callAll(class, request, packet, answer)
end

return gateway
