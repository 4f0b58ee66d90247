--- One connection of a client of `sync.connect`: what it reads and hears goes to the client.
-- @classmod sync.remoting.client.link

local Rpc = require "sync.remoting.jsonrpc"
local failures = require "sync.failure"
local fault = require "sync.remoting.fault"
local log = require "sync.log"
local null = require "cjson".null

local Link = Rpc:extend("Link")
Link.own = {}

function Link:begin(connector)
  Rpc.begin(self, connector)
  self.client = connector.owner
  connector:giveUp()
end

function Link:onConnect()
  self.client:connected(self)
end

function Link:onData(data)
  self.client:received(self, data)
end

function Link:onClose(reason)
  self.client:lost(self, reason)
end

function Link:answered(id, result, err)
  self.client.requests:answered(id, result, err)
end

-- A function of the user that the server calls.
local function carryOut(name, fn, ...)
  if not fn then return false, fault.new(fault.METHOD, ("there is no function %q"):format(name)) end
  local failed
  local ok, result = xpcall(fn, function(err)
    failed = fault.is(err) and err
    return failed or failures.trace(err)
  end, ...)
  if ok then return true, result end
  if failed then return false, failed end
  log.limited("error", "handle", ("error in the handler of %s: %s"):format(name, result))
  return false, fault.new(fault.INTERNAL, "internal error")
end

-- An event, or a call of the server.
function Link:invoke(name, params, id)
  local arguments = params or {}
  if #arguments == 0 and next(arguments) ~= nil then arguments = {arguments} end
  local count = #arguments
  for i = 1, count do
    if arguments[i] == null then arguments[i] = nil end
  end
  local client = self.client
  if id ~= nil then
    return carryOut(name, client.handlers[name], unpack(arguments, 1, count))
  end
  client:emit(name, unpack(arguments, 1, count))
  return nil
end

return Link
