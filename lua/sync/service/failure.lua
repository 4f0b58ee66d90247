--- What a call of another server raises: a table with `code`, `message` and `native`, which is
-- that server's own code. As text it says all of them.
-- @module sync.service.failure

local failure = {}

local Failure = {}
Failure.__index = Failure

function Failure:__tostring()
  return ("%s: %s (%s%s)"):format(self.service, self.message, self.code,
    self.native and ", " .. self.native or "")
end

--- What makes the failures of a service.
-- @tparam string service "sync.sql", as their text begins
-- @treturn function of a code, a message, and perhaps the server's own code
function failure.of(service)
  return function(code, message, native)
    return setmetatable({code = code, message = message, native = native, service = service},
      Failure)
  end
end

function failure.is(value) return getmetatable(value) == Failure end

return failure
