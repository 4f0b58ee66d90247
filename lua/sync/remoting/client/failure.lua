--- Errors that a client of `sync.connect` is told: `code`, `message` and `data`.
-- @module sync.remoting.client.failure

local RemoteError = {}
RemoteError.__index = RemoteError

function RemoteError:__tostring() return ("%s (%s)"):format(self.message, tostring(self.code)) end

--- Makes one.
-- @param code the server's number, or a word that says why there is no answer
-- @tparam string message
-- @param[opt] data
-- @treturn table
return function(code, message, data)
  return setmetatable({code = code, message = message, data = data}, RemoteError)
end
