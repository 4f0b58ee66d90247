--- The addresses of names. Who asks for the same name waits for one look-up: where the name servers
-- say nothing, it keeps a thread for many seconds.
-- @module sync.service.lookup

local core = require "sync.core"
local loop = require "sync.loop"

local C, handle = core.C, core.handle

local lookup = {}

local names = {} -- by name: those who wait for it, as keys

local function answer(host, list, problem)
  local all = names[host]
  names[host] = nil
  for asking in pairs(all) do asking.fn(list, problem) end
end

--- Begins one.
-- @tparam string host
-- @tparam function fn called later with a list of addresses, or with nil and a message
-- @treturn table|nil for `stop`, or nil and a message
function lookup.begin(host, fn)
  local all = names[host]
  if not all then
    local request = C.sync_resolve(handle, host)
    if request < 0 then return nil, select(2, core.problem(request)) end
    all = {}
    names[host] = all
    loop.lookups[request] = function(list, problem) answer(host, list, problem) end
  end
  local asking = {fn = fn, all = all}
  all[asking] = true
  return asking
end

--- Nobody waits for it any more; `fn` is not called.
function lookup.stop(asking)
  asking.all[asking] = nil
end

return lookup
