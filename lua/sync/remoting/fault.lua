--- Faults: errors that a client is told.
-- @module sync.remoting.fault

local fault = {}

-- JSON-RPC's own codes, and SYNC's.
fault.PARSE, fault.REQUEST, fault.METHOD, fault.ARGUMENTS, fault.INTERNAL =
  -32700, -32600, -32601, -32602, -32603
fault.BUSY, fault.TOO_OFTEN, fault.REFUSED, fault.UNAUTHORIZED = -32000, -32001, -32002, -32003

local Fault = {}
Fault.__index = Fault
function Fault:__tostring() return ("fault %d: %s"):format(self.code, self.message) end

--- Makes an error that the client is told: `error(sync.fault(1, "not your turn"))`.
-- @tparam number code a whole number outside of -32768 to -32000, which are JSON-RPC's
-- @tparam string message
-- @param[opt] data more, as JSON
function fault.new(code, message, data)
  if type(code) ~= "number" or code % 1 ~= 0 then
    error("sync.fault(code, message, data): code must be a whole number", 2)
  end
  return setmetatable({code = code, message = tostring(message), data = data}, Fault)
end

--- Whether a value was made by `sync.fault`.
function fault.is(value)
  return getmetatable(value) == Fault
end

return fault
