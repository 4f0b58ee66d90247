--- Sockets in LuaSocket's manner that wait without stopping the loop: `sync.socket`.
--
-- `sync.socket.install()` puts it in the place of `require "socket"`, and of LuaSec's
-- `require "ssl"`, so that drivers written for those run unblocked in tasks. See
-- sync.socket.tcp for the sockets; there are none that listen, and no UDP.
-- @module sync.socket

local Tcp = require "sync.socket.tcp"
local Wait = require "sync.socket.wait"
local filters = require "sync.socket.filters"
local libc = require "sync.socket.libc"
local names = require "sync.socket.names"
local ssl = require "sync.socket.ssl"
local task = require "sync.task"

local socket = {
  _VERSION = "sync.socket, in the manner of LuaSocket 3.1",
  BLOCKSIZE = filters.BLOCKSIZE,
  sinkt = filters.sinks, sourcet = filters.sources,
  sink = filters.sink, source = filters.source,
  newtry = filters.newtry, protect = filters.protect, skip = filters.skip,
  try = filters.newtry(),
  choose = filters.choose,
  gettime = libc.time,
  sleep = task.sleep,
  tcp = Tcp.create, tcp4 = Tcp.create, tcp6 = Tcp.create,
  --- What all sockets keep to: `most` (1000 open at a time), `timeout` (60 seconds of a wait,
  -- until `settimeout` says others) and `maxReceive` (16 MiB of a line, or of all).
  bounds = Tcp.bounds,
}

--- Makes a socket that is connected.
-- @treturn sync.socket.tcp|nil or nil and a message
function socket.connect(host, port)
  local made = Tcp.create()
  local done, problem = made:connect(host, port)
  if not done then return nil, problem end
  return made
end
socket.connect4, socket.connect6 = socket.connect, socket.connect

-- A socket of a path.
local function unix()
  local made = Tcp.create()
  function made:connect(path) return Tcp.connect(self, "unix:" .. path, 0) end
  return made
end
socket.unix = unix

for _, name in ipairs {"bind", "udp", "udp4", "udp6"} do
  socket[name] = function()
    error(("sync.socket: %s is not there: sockets here connect, by TCP"):format(name), 2)
  end
end

-- Those of a list that can be read or written, of which a socket may have bytes already.
local function readyOf(list, isWrite, into)
  local asked, result = {}, {}
  for i, each in ipairs(list or {}) do asked[i] = {each:getfd(), isWrite} end
  local ready = libc.poll(asked)
  for i, each in ipairs(list or {}) do
    if ready[i] or not isWrite and each:dirty() then
      result[#result + 1], result[each] = each, #result + 1
      into.any = true
    end
  end
  return result
end

--- Waits until one of the sockets can be read, or written.
-- @tparam table|nil receivers a list
-- @tparam table|nil senders a list
-- @tparam[opt] number seconds nil: any time
-- @treturn table those that can be read; also each with its place
-- @treturn table those that can be written
-- @treturn string|nil "timeout"
function socket.select(receivers, senders, seconds)
  local found = {}
  local reads, writes = readyOf(receivers, false, found), readyOf(senders, true, found)
  if found.any then return reads, writes end
  if seconds and seconds <= 0 then return {}, {}, "timeout" end
  local list = {}
  for _, each in ipairs(receivers or {}) do list[#list + 1] = {each.wait, Wait.READABLE} end
  for _, each in ipairs(senders or {}) do list[#list + 1] = {each.wait, Wait.WRITABLE} end
  if not Wait.forAny(list, seconds and seconds >= 0 and seconds or nil) then
    return {}, {}, "timeout"
  end
  return readyOf(receivers, false, found), readyOf(senders, true, found)
end

socket.dns = {}

--- The first address of a name; and all of them.
function socket.dns.toip(host)
  local addresses, problem = names.find(host)
  if not addresses then return nil, problem end
  return addresses[1], {name = host, ip = addresses, alias = {}}
end

--- Puts this in the place of LuaSocket, and of LuaSec, for all that is required from now on.
-- Modules of LuaSocket that are written in Lua (`socket.http`, `socket.smtp`) use it, too.
function socket.install()
  local loaded = package.loaded
  loaded["socket"], loaded["socket.core"], loaded["socket.unix"] = socket, socket, unix
  loaded["ssl"], loaded["ssl.core"] = ssl, nil
end

return socket
