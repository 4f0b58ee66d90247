--- Calls a handler whose error must not keep what follows from being done.
-- @module sync.remoting.try

local failure = require "sync.failure"
local log = require "sync.log"

--- Calls a handler, and logs its error.
-- @tparam string what the handler is called in the log
-- @tparam table|nil client of the server, which the log names
-- @tparam function fn
-- @param ... its arguments
-- @treturn boolean whether there was no error
-- @return its first result, or the error as text
return function(what, client, fn, ...)
  local ok, result = xpcall(fn, failure.trace, ...)
  if not ok then
    log.limited("error", what, ("error in %s: %s"):format(what, tostring(result)),
      client and {client = client.id})
  end
  return ok, result
end
