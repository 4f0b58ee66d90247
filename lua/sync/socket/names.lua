--- Names of hosts, looked up while a task waits.
-- @module sync.socket.names

local lookup = require "sync.service.lookup"
local loop = require "sync.loop"
local task = require "sync.task"

local NO_HOST = "host or service not provided, or not known"

local names = {NO_HOST = NO_HOST}

local function isAddress(host)
  return host:find("^unix:") or host:find(":", 1, true) or host:find("^%d+%.%d+%.%d+%.%d+$")
end

--- The addresses of a host.
-- @tparam string host a name, an IP address, or "unix:PATH"
-- @tparam number|nil seconds that this may take
-- @treturn table|nil a list, or nil and a message
function names.find(host, seconds)
  if isAddress(host) then return {host} end
  task.needed "sync.socket: looking up a name"
  local asking, timer
  local ok, addresses, problem = pcall(task.await, function(resume)
    asking = lookup.begin(host, function(found) resume(found, not found and NO_HOST or nil) end)
    if not asking then return resume(nil, NO_HOST) end
    if seconds then
      timer = loop.startTimer(math.max(0, seconds), 0, function() resume(nil, "timeout") end)
    end
  end)
  if timer then loop.stopTimer(timer) end
  if asking then lookup.stop(asking) end
  if not ok then error(addresses, 0) end
  return addresses, problem
end

return names
