--- JSON-RPC 2.0: clients call the functions of a class.
--
--     local Rpc = require "sync.protocols.jsonrpc":extend("Rpc")
--     function Rpc.remote:add(a, b) return a + b end
--     sync.enable("localhost", 8080, Rpc)
--
-- Only what is in `remote` can be called; `self` is the client that calls. A function may
-- raise `sync.fault(code, message, data)`; any other error is logged, and the client gets
-- -32603 without its text. `sync.Remote` adds events, calls to clients, and resuming.
--
-- JSON is lua-cjson's: numbers go out with 14 digits, an empty table as an object. A null
-- argument is nil; deeper nulls are `sync.null`.
-- @classmod sync.protocols.jsonrpc

local Method = require "sync.method"
local Protocol = require "sync.protocol"
local cjson = require "cjson"
local core = require "sync.core"
local log = require "sync.log"
local now = require "sync.core".C.sync_now

local Rpc = Protocol:extend("JsonRpc")

Rpc.framing = "null"
--- Nesting of what a client sends; deeper is an error of parsing.
Rpc.maxDepth = 32
--- Calls in one batch.
Rpc.maxBatch = 64
--- Answers that the server owes a client (`later`), and answers of the client that the
-- server waits for (`sync.Remote`): at most so many each.
Rpc.maxCalls = 64
--- Functions that clients may call, by name; or `sync.method`s.
Rpc.remote = {}

local PARSE, REQUEST, METHOD, ARGUMENTS, INTERNAL = -32700, -32600, -32601, -32602, -32603
local BUSY, TOO_OFTEN = -32000, -32001
local EXACT = 2 ^ 53 -- whole numbers up to this one are exact

local null = cjson.null

-- Faults: errors that a client is told.

local Fault = {}
Fault.__index = Fault
function Fault:__tostring() return ("fault %d: %s"):format(self.code, self.message) end

--- Makes an error that the client is told: `error(sync.fault(1, "not your turn"))`.
-- @tparam number code a whole number outside of -32768 to -32000, which are JSON-RPC's
-- @tparam string message
-- @param[opt] data more, as JSON
function Rpc.fault(code, message, data)
  if type(code) ~= "number" or code % 1 ~= 0 then
    error("sync.fault(code, message, data): code must be a whole number", 2)
  end
  return setmetatable({code = code, message = tostring(message), data = data}, Fault)
end

local fault = Rpc.fault

function Rpc.isFault(value)
  return getmetatable(value) == Fault
end

-- Encoding and decoding.

local encoder = cjson.new()
encoder.encode_max_depth(64)
encoder.encode_sparse_array(true, 4, 64)
encoder.encode_invalid_numbers(false)
encoder.encode_keep_buffer(true)

local decoders = {}

local function decoderFor(depth)
  local decoder = decoders[depth]
  if not decoder then
    decoder = cjson.new()
    decoder.decode_max_depth(depth)
    decoder.decode_invalid_numbers(false)
    decoders[depth] = decoder
  end
  return decoder
end

--- A value as JSON.
-- @treturn string|nil or nil and why not
function Rpc.encode(value)
  if value == nil then return "null" end
  local ok, text = pcall(encoder.encode, value)
  if not ok then return nil, text end
  if not core.isText(text) then return nil, "a string in it is not UTF-8" end
  return text
end

local encode = Rpc.encode

-- A number that is an id, as it came; whole ones are exact.
local function encodeId(id)
  if id == nil or id == null then return "null" end
  if type(id) == "number" then return ("%.0f"):format(id) end
  return encoder.encode(id)
end

local function isId(id)
  return type(id) == "string" or id == null or
    type(id) == "number" and id % 1 == 0 and math.abs(id) <= EXACT
end

local function errorText(id, err)
  local text = ('{"jsonrpc":"2.0","id":%s,"error":{"code":%d,"message":%s'):format(
    encodeId(id), err.code, encode(err.message) or '"error"')
  local data = err.data ~= nil and encode(err.data)
  return text .. (data and ',"data":' .. data or "") .. "}}"
end

local function resultText(self, id, name, result)
  local text, problem = encode(result)
  if not text then
    log.limited("error", "result", ("the result of %s.remote:%s is no JSON: %s")
      :format(getmetatable(self).name, name, problem), {client = self.id})
    return errorText(id, fault(INTERNAL, "internal error"))
  end
  return ('{"jsonrpc":"2.0","id":%s,"result":%s}'):format(encodeId(id), text)
end

-- Calling.

-- Takes one call from the client's allowance for a method. Returns whether there was one.
local function allow(self, name, method)
  local allowances = self.allowances
  if not allowances then
    allowances = {}
    self.allowances = allowances
  end
  local time = now()
  local allowance = allowances[name] or {left = method.burst, at = time}
  allowances[name] = allowance
  allowance.left = math.min(method.burst, allowance.left + (time - allowance.at) * method.rate)
  allowance.at = time
  if allowance.left < 1 then return false end
  allowance.left = allowance.left - 1
  return true
end

-- Arguments by position, how many, or nil and a fault.
local function arrange(params, method)
  if params == nil then return {}, 0 end
  local named = #params == 0 and next(params) ~= nil
  local arguments, count = params, #params
  if named and method then
    local problem
    arguments, problem = method:arrange(params)
    if not arguments then return nil, fault(ARGUMENTS, problem) end
    count = method.count
  elseif named then
    return {params}, 1
  end
  local clean = {}
  for i = 1, count do
    local value = arguments[i]
    if value ~= null then clean[i] = value end
  end
  return clean, count
end

-- A traceback for the log, unless the error is meant for the client.
local function explain(err)
  if getmetatable(err) == Fault then return err end
  return {message = tostring(err), traceback = debug.traceback("", 2):sub(2)}
end

--- Calls a function of `remote` for this client.
-- @tparam string name
-- @tparam table|nil params by position or by name
-- @treturn boolean,any true and the result, or false and a fault
function Rpc:invoke(name, params)
  local entry = self.remote[name]
  local method = getmetatable(entry) == Method and entry or nil
  local fn = method and method.fn or entry
  if type(fn) ~= "function" then
    return false, fault(METHOD, ("there is no function %q"):format(name))
  end
  local arguments, count = arrange(params, method)
  if not arguments then return false, count end
  if method then
    local problem = method:problem(arguments, count)
    if problem then return false, fault(ARGUMENTS, problem) end
    if method.rate and not allow(self, name, method) then
      return false, fault(TOO_OFTEN, ("%s is called too often"):format(name))
    end
  end
  local ok, result = xpcall(fn, explain, self, unpack(arguments, 1, count))
  if ok then return true, result end
  if getmetatable(result) == Fault then return false, result end
  log.limited("error", "remote", ("error in %s.remote:%s: %s"):format(getmetatable(self).name, name,
    result.message), {client = self.id, address = self.address, traceback = result.traceback})
  return false, fault(INTERNAL, "internal error")
end

-- What `later` has returned for the call under way; checked after the call.
local deferred

--- To be called in a function of `remote` whose answer isn't known yet: what it returns is
-- then of no matter.
-- @treturn function to be called once, with the result, or with nil and a fault
function Rpc:later()
  local owed = (self.owed or 0) + 1
  if owed > self.maxCalls then error(fault(BUSY, "too many calls wait for their answers"), 2) end
  self.owed = owed
  local call = {}
  deferred = call
  local function answer(result, err)
    if call.id == nil then return end -- a notification
    if err ~= nil then
      err = Rpc.isFault(err) and err or fault(INTERNAL, "internal error")
      self:transmit(errorText(call.id, err))
    else
      self:transmit(resultText(self, call.id, call.name, result))
    end
  end
  return function(result, err)
    if call.done then return end
    call.done = true
    self.owed = self.owed - 1
    if call.name then
      answer(result, err)
    else -- within the call
      call.early = function() answer(result, err) end
    end
  end
end

-- Carries one request out. Returns the response's text, or nil when there's none.
local function request(self, message)
  local id, name, params = message.id, message.method, message.params
  local fine = message.jsonrpc == "2.0" and type(name) == "string" and
    (params == nil or type(params) == "table") and (id == nil or isId(id))
  if not fine then
    return errorText(isId(id) and id or null, fault(REQUEST, "this is no request of JSON-RPC 2.0"))
  end
  local own = self.own[name]
  deferred = nil
  local ok, result
  if own then ok, result = own(self, params, id) else ok, result = self:invoke(name, params) end
  local call = deferred
  deferred = nil
  if call and ok then
    call.id, call.name = id, name
    if call.early then call.early() end
    return nil
  end
  if id == nil or ok == nil then return nil end
  return ok and resultText(self, id, name, result) or errorText(id, result)
end

-- One element: a request, or an answer to a call of ours.
local function handle(self, message)
  if type(message) ~= "table" then
    return errorText(null, fault(REQUEST, "this is no request of JSON-RPC 2.0"))
  end
  if message.method == nil and (message.result ~= nil or message.error ~= nil) then
    self:answered(message.id, message.result, message.error)
    return nil
  end
  return request(self, message)
end

local function batch(self, messages)
  if #messages == 0 then return errorText(null, fault(REQUEST, "the batch is empty")) end
  if #messages > self.maxBatch then
    return errorText(null, fault(REQUEST, ("a batch holds at most %d calls"):format(self.maxBatch)))
  end
  local answers = {}
  for i = 1, #messages do answers[#answers + 1] = handle(self, messages[i]) end
  if answers[1] then return "[" .. table.concat(answers, ",") .. "]" end
end

--- Handles a JSON text.
function Rpc:onData(data)
  local answer
  if not core.isText(data) then
    answer = errorText(null, fault(PARSE, "this is not UTF-8"))
  else
    local ok, message = pcall(decoderFor(self.maxDepth).decode, data)
    if not ok then
      answer = errorText(null, fault(PARSE, "this is no JSON: " .. tostring(message)))
    elseif type(message) == "table" and data:find("^%s*%[") then
      answer = batch(self, message)
    else
      answer = handle(self, message)
    end
  end
  if answer then self:transmit(answer) end
end

--- Sends a text of JSON-RPC.
function Rpc:transmit(text)
  return self:send(text)
end

-- An answer to a call of the server. `sync.Remote` makes such calls.
function Rpc:answered(id, result, err) end -- luacheck: ignore id result err

-- The protocol's own functions: of the client, the params and the id. They return true and a
-- result, false and a fault, or nothing when they have answered.
Rpc.own = {
  ["sync.ping"] = function() return true, true end,
}

--- Makes a class with functions of its own; those of this class can still be called.
function Rpc:extend(name)
  local class = Protocol.extend(self, name)
  class.remote = setmetatable({}, {__index = self.remote})
  return class
end

return Rpc
