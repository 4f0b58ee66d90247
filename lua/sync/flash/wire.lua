--- The messages of JSON-RPC 2.0 as AMF3 values, for ActionScript 3's Socket: an object with
-- the members that the JSON text would have. There are no batches.
-- @module sync.flash.wire

local values = require "sync.flash.values"
local amf3 = require "sync.flash.amf3"
local null = require "cjson".null

local amfwire = {
  --- What logs call it.
  name = "AMF3",
}

local MOST_DEPTH = 64
local DEEP = {depth = MOST_DEPTH} -- what was read can be written, within other tables, too

--- As in `sync.remoting.json`.
function amfwire.decode(bytes, depth)
  local ok, value, position = amf3.decode(bytes, 1, {depth = math.min(depth, MOST_DEPTH)})
  if not ok then return false, "this is no AMF3: " .. tostring(value) end
  if position <= #bytes then return false, "there are bytes behind the AMF3 value" end
  return true, value, false
end

--- As in `sync.remoting.json`.
function amfwire.result(id, value)
  if value == nil then value = null end
  return amf3.encode({jsonrpc = "2.0", id = id, result = value}, DEEP)
end

--- As in `sync.remoting.json`.
function amfwire.fault(id, err)
  local body = {code = err.code, message = err.message, data = err.data}
  return amf3.encode({jsonrpc = "2.0", id = id, error = body}, DEEP) or
    amf3.encode {jsonrpc = "2.0", id = id, error = {code = err.code, message = "error"}}
end

-- The first argument that can't be written.
local function culprit(params)
  for i, value in ipairs(params) do
    local bytes, problem = amf3.encode(value, DEEP)
    if not bytes then return problem, i end
  end
end

--- As in `sync.remoting.json`.
function amfwire.request(id, name, ...)
  local params = {...}
  for i = 1, select("#", ...) do
    if params[i] == nil then params[i] = null end
  end
  local bytes, problem = amf3.encode({jsonrpc = "2.0", id = id, method = name,
    params = values.list(params)}, DEEP)
  if bytes then return bytes end
  local why, argument = culprit(params)
  return nil, why or problem, argument or 0
end

--- As in `sync.remoting.json`.
function amfwire.named(id, name, params)
  return amf3.encode({jsonrpc = "2.0", id = id, method = name, params = params}, DEEP)
end

-- The end of an object, and the same behind a member of it: `late`, which is false.
local END, LATE = "\1", "\9late\2\1"

--- As in `sync.remoting.json`.
function amfwire.late(bytes)
  return bytes:sub(1, -#END - 1) .. LATE
end

--- What is around the bytes of a ByteArray, its length not counted, in a notification that has
-- it as its one argument.
-- @tparam string name
-- @treturn number how many of these bytes are before it
-- @treturn string
function amfwire.around(name)
  local inner = "the bytes of a ByteArray"
  local bytes = amfwire.request(nil, name, values.bytes(inner))
  local at = bytes:find(inner, 1, true)
  return at - 2, bytes:sub(1, at - 2) .. bytes:sub(at + #inner) -- its length is one byte
end

return amfwire
