--- Calls a handler whose error must not keep what follows from being done.
-- @module sync.remoting.try

local failure = require "sync.failure"
local log = require "sync.log"

--- Calls a handler, and logs its error.
-- @tparam string what the handler is called in the log
-- @tparam table client
-- @tparam function fn
-- @param ... its arguments
-- @treturn boolean whether there was no error
return function(what, client, fn, ...)
  local ok, err = xpcall(fn, failure.trace, ...)
  if not ok then
    log.limited("error", what, ("error in %s: %s"):format(what, tostring(err)),
      {client = client.id})
  end
  return ok
end
