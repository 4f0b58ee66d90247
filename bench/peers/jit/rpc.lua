-- Remoting of a small call: JSON-RPC 2.0, {"jsonrpc":"2.0","method":"add","params":[1,2],
-- "id":1}.

local sync = require "sync"
local cjson = require "cjson"

local decode, encode = cjson.decode, cjson.encode

local Rpc = sync.Protocol:extend("Rpc")

local methods = {}

function methods.add(params)
  return params[1] + params[2]
end

function Rpc:onData(data)
  local call = decode(data)
  local method = methods[call.method]
  local answer = {jsonrpc = "2.0", id = call.id}
  if method then
    answer.result = method(call.params)
  else
    answer.error = {code = -32601, message = "Method not found"}
  end
  self:send(encode(answer))
end

return Rpc
