--- The messages of JSON-RPC 2.0 as JSON texts.
--
-- JSON is lua-cjson's: numbers go out with 14 digits, an empty table as an object. What can be
-- read can be written: one client's value may have to be told to others.
-- @module sync.remoting.json

local cjson = require "cjson"
local core = require "sync.core"
local log = require "sync.log"

local jsonwire = {}

local null = cjson.null
local overflows = core.C.sync_json_overflows

local MOST_DEPTH = 64

local encoder = cjson.new()
encoder.encode_max_depth(MOST_DEPTH)
encoder.encode_sparse_array(true, 4, 64)
encoder.encode_invalid_numbers(false)
encoder.encode_keep_buffer(true)

local OBJECT = ("{"):byte()

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
function jsonwire.encode(value)
  if value == nil then return "null" end
  -- cjson leaves a number to printf, which takes several times as long.
  if type(value) == "number" and value % 1 == 0 and value < 1e14 and value > -1e14 then
    return ("%.0f"):format(value)
  end
  local ok, text = pcall(encoder.encode, value)
  if not ok then return nil, text end
  if not core.isText(text) then return nil, "a string in it is not UTF-8" end
  return text
end

local encode = jsonwire.encode

--- A value of the program's own as JSON, for other nodes: "" for nil. One that JSON can't say
-- is nil there, and told by the log: it may be told long after it was set, on behalf of others.
-- @tparam any value
-- @tparam string what it is, for the log
-- @treturn string
function jsonwire.note(value, what)
  if value == nil then return "" end
  local ok, text = pcall(cjson.encode, value)
  if ok then return text end
  log.limited("error", "note", ("%s can't be told to other nodes: %s"):format(what, text))
  return ""
end

--- Reads a message.
-- @tparam string bytes
-- @tparam number depth to which it may be nested, at most 64
-- @treturn boolean,any,boolean true, the value, and whether it is a batch; or false and what
-- is wrong
function jsonwire.decode(bytes, depth)
  if not core.isText(bytes) then return false, "this is not UTF-8" end
  -- cjson would take it for the end.
  if bytes:find("\0", 1, true) then return false, "this is no JSON: there is a NUL in it" end
  if overflows(bytes, #bytes) ~= 0 then
    return false, "this is no JSON: a number in it is too large" -- cjson says infinity
  end
  local ok, value = pcall(decoderFor(math.min(depth, MOST_DEPTH)).decode, bytes)
  if not ok then return false, "this is no JSON: " .. tostring(value) end
  local isBatch = bytes:byte(1) ~= OBJECT and type(value) == "table" and
    bytes:find("^%s*%[") ~= nil
  return true, value, isBatch
end

-- A number that is an id, as it came; whole ones are exact.
local function encodeId(id)
  if id == nil or id == null then return "null" end
  if type(id) == "number" then return ("%.0f"):format(id) end
  return encoder.encode(id)
end

--- The answer to a request.
-- @treturn string|nil or nil and why the result can't be sent
function jsonwire.result(id, value)
  local text, problem = encode(value)
  if not text then return nil, problem end
  return ('{"jsonrpc":"2.0","id":%s,"result":%s}'):format(encodeId(id), text)
end

--- The answer to a request that failed. Data that is no JSON is left out.
-- @tparam any id
-- @param err a fault
-- @treturn string
function jsonwire.fault(id, err)
  local text = ('{"jsonrpc":"2.0","id":%s,"error":{"code":%d,"message":%s'):format(
    encodeId(id), err.code, encode(err.message) or '"error"')
  local data = err.data ~= nil and encode(err.data)
  return text .. (data and ',"data":' .. data or "") .. "}}"
end

--- A request; without an id a notification.
-- @tparam string|number|nil id
-- @tparam string name
-- @param ... arguments
-- @treturn string|nil or nil, what is wrong, and with which argument (0: the name)
function jsonwire.request(id, name, ...)
  local parts = {}
  for i = 1, select("#", ...) do
    local text, problem = encode((select(i, ...)))
    if not text then return nil, problem, i end
    parts[i] = text
  end
  local method, problem = encode(name)
  if not method then return nil, problem, 0 end
  return ('{"jsonrpc":"2.0",%s"method":%s,"params":[%s]}')
    :format(id and ('"id":%s,'):format(encodeId(id)) or "", method, table.concat(parts, ","))
end

--- The same with parameters by name.
-- @tparam string|number|nil id
-- @tparam string name
-- @tparam table params
-- @treturn string|nil or nil and what is wrong
function jsonwire.named(id, name, params)
  local text, problem = encode(params)
  if not text then return nil, problem end
  return ('{"jsonrpc":"2.0",%s"method":%s,"params":%s}')
    :format(id and ('"id":%s,'):format(encodeId(id)) or "", encode(name), text)
end

--- Several answers as one message.
function jsonwire.batch(texts)
  return "[" .. table.concat(texts, ",") .. "]"
end

return jsonwire
