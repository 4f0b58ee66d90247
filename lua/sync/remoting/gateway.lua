--- Flash Remoting: `NetConnection.call` reaches the functions of `remote`, by POST of
-- application/x-amf to any path.
--
-- A body holds any number of messages, each for a target: a function's name, or the class's
-- name, a dot and that. The caller is a client for as long as its POST lasts: see
-- sync.remoting.caller.
--
-- `self.request.amfHeaders` has the packet's headers by name. Flex's RemoteObject calls through
-- messages of its own, whose headers are among them; one that has logged in is known again by
-- the id (DSId) that its messages give, and `self.request.login` is what `onLogin` has said.
-- @module sync.remoting.gateway

local amfpacket = require "sync.flash.packet"
local caller = require "sync.remoting.caller"
local failure = require "sync.failure"
local fault = require "sync.remoting.fault"
local flex = require "sync.flash.flex"
local log = require "sync.log"
local origins = require "sync.http.origins"

local gateway = {}

local MOST_NAME = 255  -- bytes of a response's

-- Who has logged in by Flex's id, by class.
local byClass = setmetatable({}, {__mode = "k"})

local function loginsOf(class)
  local logins = byClass[class] or caller.Store.new()
  byClass[class] = logins
  return logins
end

-- Writes answers when they are given. The last one may be given on behalf of somebody else,
-- where there must be nothing left that can go wrong.
local function wireFor(packet)
  local wire, version = {}, packet.version
  function wire.result(id, value)
    local asked = packet.messages[id].flex
    if asked then value = flex.result(asked, value) end
    local bytes, problem = amfpacket.value(value, version)
    if not bytes then return nil, problem end
    return {id = id, status = "/onResult", bytes = bytes}
  end
  function wire.fault(id, err)
    local asked = packet.messages[id].flex
    local function write(message, data)
      if asked then
        return amfpacket.value(flex.fault(asked, err.code, message, data), version)
      end
      return amfpacket.value({level = "error", code = err.code, description = message,
        details = data}, version)
    end
    return {id = id, status = "/onStatus",
      bytes = write(err.message, err.data) or write(err.message) or write("error")}
  end
  function wire.request() return "" end -- transmit refuses it
  return wire
end

-- "Game.join" is join, where Game is the class's name.
local function functionName(class, target)
  local prefix = class.className .. "."
  return target:sub(1, #prefix) == prefix and target:sub(#prefix + 1) or target
end

local function arguments(value)
  if type(value) == "table" and (#value > 0 or next(value) == nil) then return value end
  return {value}
end

-- What must be understood, and isn't.
local function strangeHeader(class, packet)
  for _, header in ipairs(packet.headers) do
    local known = false
    for _, name in ipairs(class.understands) do known = known or name == header.name end
    if header.mustUnderstand and not known then return header.name end
  end
end

-- The headers of a packet and of its messages by name; of those that come twice, the first.
local function headersOf(packet)
  local all = {}
  local function add(name, value)
    if type(name) == "string" and all[name] == nil then all[name] = value end
  end
  for _, header in ipairs(packet.headers) do add(header.name, header.value) end
  for _, message in ipairs(packet.messages) do
    for name, value in pairs(message.flex and message.flex.headers or {}) do add(name, value) end
  end
  if all.Credentials == nil then
    local name, password = flex.credentials(all.DSRemoteCredentials)
    if name then all.Credentials = {userid = name, password = password} end
  end
  return all
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
    log.limited("error", "gateway of " .. class.className,
      ("the answers of %s can't be sent: %s"):format(class.className, problem))
    return say(answer, 500, "internal error")
  end
  answer(200, {["Content-Type"] = "application/x-amf", ["Cache-Control"] = "no-store"}, bytes)
end

-- Commands of Flex: functions of the caller and the message. They return the answer's value and
-- headers, or nil and a fault.
local commands = {}

local function idOf(client)
  local id = client.request.amfHeaders.DSId
  return type(id) == "string" and #id == 36 and id or nil
end

function commands.ping(client)
  return true, {DSId = idOf(client) or flex.newId()}
end

function commands.login(client, message)
  local id, name, password = idOf(client), flex.credentials(message.body)
  local class = getmetatable(client)
  local ok, login = xpcall(function()
    return id and name and client:onLogin(name, password)
  end, failure.trace)
  if not ok then
    log.limited("error", "onLogin of " .. class.className,
      ("error in onLogin of %s: %s"):format(class.className, login), {address = client.address})
    return nil, fault.new(fault.INTERNAL, "internal error")
  elseif not login then
    return nil, {code = "Client.Authentication", message = "the name or the password is wrong"}
  end
  loginsOf(class):put(id, login)
  return "success"
end

function commands.logout(client)
  local id = idOf(client)
  if id then loginsOf(getmetatable(client)):remove(id) end
  return "success"
end

local function command(client, packet, i)
  local message = packet.messages[i].flex
  local act = commands[message.command]
  if not act then
    return client._wire.fault(i, fault.new(fault.REQUEST, "there is no such command here"))
  end
  local value, more = act(client, message)
  if value == nil then return client._wire.fault(i, more) end
  return {id = i, status = "/onResult",
    bytes = amfpacket.value(flex.result(message, value, more), packet.version)}
end

-- Carries one message out. Returns its answer, or nil when that comes later.
local function carryOut(client, packet, i, strange)
  local message = packet.messages[i]
  if strange then
    return client._wire.fault(i, fault.new(fault.REQUEST,
      ("the header %q is not understood"):format(strange)))
  end
  local asked = message.flex
  if asked and asked.command ~= "call" then return command(client, packet, i) end
  return client:take {jsonrpc = "2.0", id = i,
    method = functionName(getmetatable(client), asked and asked.target or message.target),
    params = asked and asked.arguments or arguments(message.value)}
end

local function callAll(class, request, packet, answer)
  for _, message in ipairs(packet.messages) do message.flex = flex.read(message.value) end
  local client = caller.new(class, request, wireFor(packet))
  request.amfHeaders = headersOf(packet)
  local id = idOf(client)
  request.login = id and loginsOf(class):get(id)
  local strange = strangeHeader(class, packet)
  caller.collect(client, #packet.messages, function(i)
    return carryOut(client, packet, i, strange)
  end, function(parts) finish(class, packet, parts, answer) end)
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
