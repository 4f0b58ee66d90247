--- The messages of JSON-RPC 2.0 as JSON texts. What can be read can be written: one client's
-- value may have to be told to others.
-- @module sync.remoting.json

local json = require "sync.json"
local null = require "cjson".null

local messages = {
  --- What logs call it.
  name = "JSON",
}

local OBJECT = ("{"):byte()

--- A value as JSON: see `sync.json`.
messages.encode = json.encode

--- Whether the last text says all of what it is of: see `sync.json`.
messages.isPlain = json.isPlain

--- Reads a message.
-- @tparam string bytes
-- @tparam number depth to which it may be nested, at most 64
-- @treturn boolean,any,boolean true, the value, and whether it is a batch; or false and what
-- is wrong
function messages.decode(bytes, depth)
  local ok, value = json.decode(bytes, depth)
  if not ok then return false, value end
  return true, value, bytes:byte(1) ~= OBJECT and type(value) == "table" and
    getmetatable(value) ~= nil
end

-- Begins an answer.
local function begin(id)
  json.begin '{"jsonrpc":"2.0","id":'
  json.put(id == nil and null or id)
end

--- The answer to a request.
-- @treturn string|nil or nil and why the result can't be sent
function messages.result(id, value)
  begin(id)
  json.raw ',"result":'
  json.put(value)
  json.raw "}"
  return json.finish()
end

--- The answer to a request that failed. Data that is no JSON is left out.
-- @tparam any id
-- @param err a fault
-- @treturn string
function messages.fault(id, err)
  local message, data = json.encode(err.message), err.data ~= nil and json.encode(err.data)
  begin(id)
  json.raw((',"error":{"code":%d,"message":%s'):format(err.code, message or '"error"'))
  if data then json.raw(',"data":' .. data) end
  json.raw "}}"
  return json.finish()
end

-- Which of the arguments can't be written: 0 is the name.
local function culprit(name, ...)
  if not json.encode(name) then return 0 end
  for i = 1, select("#", ...) do
    if not json.encode((select(i, ...))) then return i end
  end
end

-- Begins a request, up to its parameters.
local function ask(id, name)
  json.begin '{"jsonrpc":"2.0",'
  if id then
    json.raw '"id":'
    json.put(id)
    json.raw ","
  end
  json.raw '"method":'
  json.put(name)
  json.raw ',"params":'
end

--- A request; without an id a notification.
-- @tparam string|number|nil id
-- @tparam string name
-- @param ... arguments
-- @treturn string|nil or nil, what is wrong, and with which argument (0: the name)
function messages.request(id, name, ...)
  ask(id, name)
  json.raw "["
  for i = 1, select("#", ...) do json.put((select(i, ...))) end
  json.raw "]}"
  local text, problem = json.finish()
  if text then return text end
  return nil, problem, culprit(name, ...)
end

--- The same with parameters by name.
-- @tparam string|number|nil id
-- @tparam string name
-- @tparam table params
-- @treturn string|nil or nil and what is wrong
function messages.named(id, name, params)
  ask(id, name)
  json.put(params)
  json.raw "}"
  return json.finish()
end

--- An event that the receiver doesn't count: see docs/remoting.md, "Resuming".
-- @tparam string text of `request`
-- @treturn string
function messages.late(text)
  return text:sub(1, -2) .. ',"late":false}'
end

--- Several answers as one message.
function messages.batch(texts)
  return "[" .. table.concat(texts, ",") .. "]"
end

return messages
