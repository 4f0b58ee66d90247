--- JSON-RPC 2.0 by HTTP: a POST to a class's `rpcPath` calls the functions of its `remote`, one or
-- a batch of them.
--
-- The caller is a client for as long as its request lasts: see sync.remoting.caller. Its cookies
-- and headers are in `self.request`. Any page can have a visitor's browser send a POST, cookies
-- included, but JSON only to sites that let it: so other types are refused, and so are origins
-- that may not connect.
-- @module sync.remoting.posted

local caller = require "sync.remoting.caller"
local fault = require "sync.remoting.fault"
local json = require "sync.remoting.json"
local null = require "cjson".null
local origins = require "sync.http.origins"

local posted = {}

-- Writes answers under the ids that the calls had: a call is known by its number meanwhile.
local function wireFor(ids)
  local wire = {}
  function wire.result(number, value)
    local text, problem = json.result(ids[number], value)
    if not text then return nil, problem end
    return {id = number, text = text}
  end
  function wire.fault(number, err)
    local id = null
    if type(number) == "number" then id = ids[number] end
    return {id = number, text = json.fault(id, err)}
  end
  function wire.request() return "" end -- transmit refuses it
  return wire
end

local JSON = {["Content-Type"] = "application/json", ["Cache-Control"] = "no-store"}

local function refusedAs(code, text)
  return json.fault(null, fault.new(code, text))
end

-- A call under a number; its own id is kept.
local function numbered(message, number, ids)
  local copy = {}
  for name, value in pairs(message) do copy[name] = value end
  ids[number] = message.id
  copy.id = number
  return copy
end

local function isNotification(message)
  return type(message) == "table" and message.id == nil and message.jsonrpc == "2.0" and
    type(message.method) == "string" and
    (message.params == nil or message.params == null or type(message.params) == "table")
end

local function carryOut(client, message, number, ids)
  if isNotification(message) then
    client:take(message) -- what comes of it is nobody's
    return false
  end
  local isCall = type(message) == "table"
  if isCall and message.method == nil and (message.result ~= nil or message.error ~= nil) then
    return false -- an answer, to nothing
  end
  if not isCall or not client.isId(message.id) then
    ids[number] = null
    return client._wire.fault(number, fault.new(fault.REQUEST,
      "this is no request of JSON-RPC 2.0"))
  end
  return client:take(numbered(message, number, ids))
end

local function callAll(class, request, messages, isBatch, answer)
  local ids = {}
  local client = caller.new(class, request, wireFor(ids))
  caller.collect(client, #messages, function(i)
    return carryOut(client, messages[i], i, ids)
  end, function(parts)
    local texts = {}
    for i = 1, #messages do
      if parts[i] then texts[#texts + 1] = parts[i].text end
    end
    if #texts == 0 then return answer(204, {["Cache-Control"] = "no-store"}, "") end
    answer(200, JSON, isBatch and json.batch(texts) or texts[1])
  end)
end

local function say(answer, status, text, headers)
  headers = headers or {}
  headers["Content-Type"] = "text/plain; charset=utf-8"
  answer(status, headers, text .. "\n")
end

--- Carries a request out. As `Protocol.takesRequest` says.
-- @tparam sync.http.exchange exchange
function posted.serve(exchange)
  local request, listener, answer = exchange.request, exchange.listener, exchange:later()
  local class = listener.class
  if not origins.allow(listener.settings.origins, request.origin, request.headers.host) then
    return say(answer, 403, origins.refuse(class, request))
  end
  local kind = (request.headers["content-type"] or ""):lower():match "^[^;%s]*"
  if kind ~= "application/json" then
    return say(answer, 415, "calls are JSON-RPC 2.0: application/json",
      {["Accept-Post"] = "application/json"})
  end
  local ok, message, isBatch = json.decode(request.body, class.maxDepth)
  if not ok then return answer(400, JSON, refusedAs(fault.PARSE, message)) end
  if type(message) ~= "table" then
    return answer(400, JSON, refusedAs(fault.REQUEST, "this is no request of JSON-RPC 2.0"))
  elseif isBatch and #message == 0 then
    return answer(400, JSON, refusedAs(fault.REQUEST, "the batch is empty"))
  elseif isBatch and #message > class.maxBatch then
    return answer(400, JSON, refusedAs(fault.REQUEST, ("a batch holds at most %d calls")
      :format(class.maxBatch)))
  end
  callAll(class, request, isBatch and message or {message}, isBatch, answer)
end

return posted
