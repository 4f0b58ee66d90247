--- The messages of JSON-RPC 2.0 as AMF3 values, for ActionScript 3's Socket: an object with
-- the members that the JSON text would have. There are no batches.
-- @module sync.amfwire

local amf3 = require "sync.amf3"
local null = require "cjson".null

local amfwire = {}

--- As in `sync.jsonwire`.
function amfwire.decode(bytes, depth)
  local ok, value, position = amf3.decode(bytes, 1, {depth = depth})
  if not ok then return false, "this is no AMF3: " .. tostring(value) end
  if position <= #bytes then return false, "there are bytes behind the AMF3 value" end
  return true, value, false
end

--- As in `sync.jsonwire`.
function amfwire.result(id, value)
  if value == nil then value = null end
  return amf3.encode {jsonrpc = "2.0", id = id, result = value}
end

--- As in `sync.jsonwire`.
function amfwire.fault(id, err)
  local body = {code = err.code, message = err.message, data = err.data}
  return amf3.encode {jsonrpc = "2.0", id = id, error = body} or
    amf3.encode {jsonrpc = "2.0", id = id, error = {code = err.code, message = "error"}}
end

--- As in `sync.jsonwire`.
function amfwire.request(id, name, ...)
  local params = {...}
  for i = 1, select("#", ...) do
    if params[i] == nil then params[i] = null end
    local text, problem = amf3.encode(params[i])
    if not text then return nil, problem, i end
  end
  return amf3.encode {jsonrpc = "2.0", id = id, method = name, params = amf3.list(params)}
end

return amfwire
