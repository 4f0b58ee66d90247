-- What several specs share. Clients are those of sync.testing; programs are in
-- spec/support/program.lua.

local log = require "sync.log"
local loop = require "sync.loop"
local socket = require "socket"
local sync = require "sync"
local testing = require "sync.testing"

local support = {}

local servers = {}
local number = 0

--- A protocol with a name that no other has: what the log leaves out depends on it.
function support.protocol(fields, base)
  number = number + 1
  local class = (base or sync.Protocol):extend("Spec" .. number)
  for name, value in pairs(fields or {}) do class[name] = value end
  return class
end

--- Serves a class until the spec ends.
function support.serve(class, options)
  local server = testing.serve(class, options)
  servers[#servers + 1] = server
  return server
end

--- Serves a class and connects clients to it.
-- @treturn testing.Client ... as many as were asked for
function support.connect(class, count, options)
  local server = support.serve(class, options)
  local clients = {}
  for i = 1, count or 1 do clients[i] = server:connect() end
  return unpack(clients)
end

--- Closes what `serve` has opened. For after_each.
function support.cleanUp()
  for _, server in ipairs(servers) do server:close() end
  servers = {}
end

--- Turns the loop until something holds.
-- @tparam function condition
-- @tparam[opt] number seconds it may take on a busy machine (20)
-- @return what `condition` has returned
function support.wait(condition, seconds)
  local deadline = socket.gettime() + (seconds or 20)
  while true do
    local value = condition()
    if value then return value end
    assert(socket.gettime() < deadline, "waited in vain")
    if loop.step() == 0 then socket.sleep(0.001) end
  end
end

--- Collects what is logged while `fn` runs.
-- @treturn table a list of lines
function support.logged(fn)
  local write, lines = log.write, {}
  log.write = function(line) lines[#lines + 1] = line end
  local ok, err = pcall(fn)
  log.write = write
  if not ok then error(err, 0) end
  return lines
end

--- The message of the error that fn raises, without its place.
function support.raised(fn, ...)
  local ok, err = pcall(fn, ...)
  assert(not ok, "no error was raised")
  return (tostring(err):gsub("^[^%s:]+:%d+: ", ""))
end

--- Calls `try(feed)` twice: `feed(client, bytes)` sends whole, then one byte at a time.
function support.bothWays(try)
  try(function(client, bytes) client:send(bytes) end, "whole")
  try(function(client, bytes) client:sendSlowly(bytes) end, "one byte at a time")
end

return support
