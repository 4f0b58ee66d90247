--- What calls of `sync.redis` raise, and what Redis' own errors are among that.
-- @module sync.redis.failures

local failure = require "sync.service.failure"

local failures = {}

--- Makes a failure of a code, a message, and perhaps Redis' own code.
failures.new = failure.of "sync.redis"
failures.is = failure.is

-- Codes of Redis, as those of all services are called; others are "failed".
local CODES = {
  NOAUTH = "denied", WRONGPASS = "denied", NOPERM = "denied", DENIED = "denied",
  LOADING = "busy", BUSY = "busy", MASTERDOWN = "busy", TRYAGAIN = "busy", CLUSTERDOWN = "busy",
}

-- Words of servers before 6, whose code is ERR.
local DENIED = {"invalid password", "AUTH.*password", "max number of clients"}

--- The failure that an error of Redis is.
-- @tparam string text as "WRONGTYPE Operation against a key …"
function failures.ofRedis(text)
  local native, message = text:match("^(%u[%u%d]*) (.*)$")
  if not native then native, message = "ERR", text end
  local code = CODES[native] or "failed"
  for _, words in ipairs(DENIED) do
    if native == "ERR" and message:find(words) then code = "denied" end
  end
  return failures.new(code, message, native)
end

return failures
