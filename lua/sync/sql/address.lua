--- The addresses of names, for libraries that would wait for them.
-- @module sync.sql.address

local limits = require "sync.limits"
local lookup = require "sync.service.lookup"
local task = require "sync.task"

local address = {}

-- Who waits for a name.
local Asking = {}
Asking.__index = Asking

function Asking:expire()
  lookup.stop(self.lookup)
  self.resume(nil, ("its name servers have not answered in %g s"):format(self.seconds))
end

local function begin(resume, asking)
  local problem
  asking.resume = resume
  asking.lookup, problem = lookup.begin(asking.host, function(...)
    limits.stop(asking)
    resume(...)
  end)
  if not asking.lookup then return resume(nil, problem) end
  limits.start(asking, asking.seconds)
end

local function stop(asking)
  limits.stop(asking)
  lookup.stop(asking.lookup)
end

--- The first address of a name; waits.
-- @tparam string host
-- @tparam number seconds at most
-- @treturn string|nil the address, or nil and why there is none
function address.of(host, seconds)
  local list, problem = task.await(begin, stop,
    setmetatable({host = host, seconds = seconds}, Asking))
  if not list then return nil, problem end
  return list[1]
end

return address
