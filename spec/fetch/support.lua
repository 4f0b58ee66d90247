-- What the specs of sync.http share: a server that answers badly, and calls that wait.

local Process = require "spec.support.process"
local support = require "spec.support"
local sync = require "sync"

local fetch = {}

--- Runs a function that may wait, and returns what it returns; its errors are raised.
function fetch.waits(fn, ...)
  local results
  local function run(...) results = {pcall(fn, ...)} end
  sync.spawn(run, ...)
  support.wait(function() return results end, Process.BOUND)
  if not results[1] then error(results[2], 0) end
  return unpack(results, 2, table.maxn(results))
end

--- Starts the peer of peer.mjs.
-- @treturn table `url`, and `process`
function fetch.peer(port)
  local process = Process.start {"node", "spec/fetch/peer.mjs", port or 0}
  local found = process:expect("stdout", "listening on (%d+)")
  return {process = process, port = tonumber(found), url = "http://127.0.0.1:" .. found}
end

--- Options for a path of a peer, without the proxies of whoever runs the specs.
function fetch.options(peer, path, more)
  local options = {url = peer.url .. path, proxy = false}
  for name, value in pairs(more or {}) do options[name] = value end
  return options
end

--- sync.http in a function that may wait.
function fetch.get(peer, path, more)
  return fetch.waits(function() return sync.http(fetch.options(peer, path, more)) end)
end

return fetch
