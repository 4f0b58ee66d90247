--- The addresses of names, for libraries that would wait for them. Who asks for the same name
-- waits for one look-up: where the name servers say nothing, it keeps a thread for many seconds.
-- @module sync.sql.address

local core = require "sync.core"
local limits = require "sync.limits"
local loop = require "sync.loop"
local task = require "sync.task"

local C, handle = core.C, core.handle

local address = {}

-- Who waits for a name.
local Asking = {}
Asking.__index = Asking

local names = {} -- by name: those who wait for it, as keys

function Asking:expire()
  self.all[self] = nil
  self.resume(nil, ("its name servers have not answered in %g s"):format(self.seconds))
end

local function answer(host, list, problem)
  local all = names[host]
  names[host] = nil
  for asking in pairs(all) do
    limits.stop(asking)
    asking.resume(list, problem)
  end
end

local function begin(resume, asking)
  local host = asking.host
  local all = names[host]
  if not all then
    local request = C.sync_resolve(handle, host)
    if request < 0 then return resume(nil, select(2, core.problem(request))) end
    all = {}
    names[host] = all
    loop.lookups[request] = function(list, problem) answer(host, list, problem) end
  end
  asking.resume, asking.all = resume, all
  all[asking] = true
  limits.start(asking, asking.seconds)
end

local function stop(asking)
  limits.stop(asking)
  asking.all[asking] = nil
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
