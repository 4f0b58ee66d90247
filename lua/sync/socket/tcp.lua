--- A TCP connection in LuaSocket's manner, for tasks: what waits there waits here without stopping
-- the loop.
--
--     local socket = require "sync.socket"
--     local connection = assert(socket.connect("localhost", 25))
--     connection:settimeout(5)
--     local line, problem, part = connection:receive "*l"
--
-- What fails returns nil and a message, "timeout" and "closed" among them, as LuaSocket says it. A
-- call that has to wait outside of a task raises an error; with `settimeout(0)` none waits.
-- @classmod sync.socket.tcp

local Class = require "sync.class"
local Wait = require "sync.socket.wait"
local core = require "sync.core"
local libc = require "sync.socket.libc"
local names = require "sync.socket.names"
local openssl = require "sync.socket.openssl"
local task = require "sync.task"

local now = core.C.sync_now

local Tcp = Class:extend("SocketTcp")

local bounds = {
  most = 1000,                   -- sockets that are open at a time
  timeout = 60,                  -- seconds of a wait, until settimeout says others
  maxReceive = 16 * 1024 * 1024, -- bytes of one line, or of all
}
Tcp.bounds = bounds

local open = 0

-- A socket without a connection.
function Tcp.create()
  return Tcp:new {fd = false, wait = false, holder = false, tls = false, host = false,
    unread = "", at = 1,        -- bytes that were read, and where those begin that nobody has had
    block = bounds.timeout,     -- seconds of one wait
    total = false,              -- of a call
    received = 0, sent = 0, since = now()}
end

-- Waiting.

-- When a call must have ended.
local function deadlineOf(self)
  return self.total and now() + self.total
end

-- Waits until the descriptor is ready. Returns true, or nil and "timeout" or "closed".
local function ready(self, interest, deadline, call)
  local seconds = self.block or nil
  if deadline then
    local left = math.max(0, deadline - now())
    seconds = seconds and math.min(seconds, left) or left
  end
  if seconds and seconds <= 0 then return nil, "timeout" end
  task.needed("sync.socket: " .. call)
  if self.wait:isBusy() then
    error(("sync.socket: %s while another task waits for this socket"):format(call), 0)
  end
  if not Wait.forAny({{self.wait, interest}}, seconds) then return nil, "timeout" end
  if not self.fd then return nil, "closed" end
  return true
end

-- Calls `try(self, …)`, which returns nil and "again" for as long as it has to wait.
local function persist(self, deadline, call, interest, try, ...)
  while true do
    local result, why = try(self, ...)
    if result then return result end
    if why == "again write" then
      interest = Wait.WRITABLE
    elseif why ~= "again" then
      return nil, why
    end
    local done, problem = ready(self, interest, deadline, call)
    if not done then return nil, problem end
  end
end

-- Opening and closing.

local function left(wait, fd)
  open = open - 1
  wait:close()
  libc.close(fd)
end

-- A descriptor becomes the socket's.
local function take(self, fd)
  local wait, problem = Wait.open(fd)
  if not wait then
    libc.close(fd)
    return nil, problem
  end
  open = open + 1
  self.fd, self.wait = fd, wait
  -- One that is forgotten is closed with the memory that it has.
  self.holder = libc.holder(fd, function()
    if not core.isClosed then left(wait, fd) end -- else it's closed with the program
  end)
  return true
end

local function drop(self)
  if not self.fd then return end
  libc.release(self.holder)
  local wait, fd = self.wait, self.fd
  self.fd, self.holder = false, false
  left(wait, fd)
end

local function dial(self, address, port, deadline)
  if open >= bounds.most then return nil, ("%d sockets are open already"):format(open) end
  local fd, isThere = libc.connect(address, port)
  if not fd then return nil, isThere end
  local taken, problem = take(self, fd)
  if not taken then return nil, problem end
  if isThere then return true end
  local ok, done
  ok, done, problem = pcall(ready, self, Wait.WRITABLE, deadline, "connect")
  if ok and done then problem = libc.failure(fd) end
  if ok and done and not problem then return true end
  drop(self)
  if not ok then error(done, 0) end
  return nil, problem
end

--- Connects.
-- @tparam string host a name, an IP address or "unix:PATH"
-- @tparam number port
-- @treturn number|nil 1, or nil and a message
function Tcp:connect(host, port)
  if self.fd then return nil, "already connected" end
  port = tonumber(port) or tostring(host):find "^unix:" and 0
  if type(host) ~= "string" or not port or port < 0 or port > 65535 or port % 1 ~= 0 then
    return nil, names.NO_HOST
  end
  local deadline = deadlineOf(self)
  local addresses, problem = names.find(host, self.block or deadline and deadline - now() or nil)
  for _, address in ipairs(addresses or {}) do
    local done
    done, problem = dial(self, address, port, deadline)
    if done then
      self.host, self.unread, self.at = host, "", 1
      return 1
    end
  end
  return nil, problem
end

--- Closes it; a task that waits for it goes on with "closed".
function Tcp:close()
  if self.tls then self.tls:close() end
  self.tls = false
  drop(self)
  return 1
end

--- Ends one half: "send", "receive" or "both".
function Tcp:shutdown(how)
  how = how or "both"
  if not self.fd or self.tls then return nil, "closed" end
  return libc.shutdown(self.fd, how) and 1 or nil
end

-- Time limits.

--- Sets the seconds of a wait ("b", as by default), or of each call in all ("t"); nil or less than
-- 0 for any time, 0 for none. Until then a wait has 60 seconds.
function Tcp:settimeout(seconds, mode)
  local value = type(seconds) == "number" and seconds >= 0 and seconds
  if mode == "t" or mode == "r" then self.total = value else self.block = value end
  return 1
end

function Tcp:gettimeout() return self.block or nil, self.total or nil end

-- Receiving.

local function readSome(self)
  if not self.fd then return nil, "closed" end
  local bytes, why
  if self.tls then
    bytes, why = self.tls:read(libc.BLOCK)
  else
    bytes, why = libc.read(self.fd, libc.BLOCK)
  end
  if bytes then self.received = self.received + #bytes end
  return bytes, why
end

-- What was read and nobody has had.
local function takeUnread(self)
  local bytes = self.at == 1 and self.unread or self.unread:sub(self.at)
  self.unread, self.at = "", 1
  return bytes
end

local function receiveCount(self, wanted, deadline)
  local have = #self.unread - self.at + 1
  if have >= wanted then
    local bytes = self.unread:sub(self.at, self.at + wanted - 1)
    self.at = self.at + wanted
    return bytes
  end
  local parts = {takeUnread(self)}
  while have < wanted do
    local bytes, problem = persist(self, deadline, "receive", Wait.READABLE, readSome)
    if not bytes then return nil, problem, table.concat(parts) end
    parts[#parts + 1] = bytes
    have = have + #bytes
  end
  local all = table.concat(parts)
  self.unread, self.at = all, wanted + 1
  return all:sub(1, wanted)
end

-- A line loses its CRs, as in LuaSocket.
local function cleaned(line)
  return (line:gsub("\r", ""))
end

local function receiveLine(self, deadline)
  local parts, length = {}, 0
  local bytes = takeUnread(self)
  while true do
    local stop = bytes:find("\n", 1, true)
    if stop then
      self.unread, self.at = bytes, stop + 1
      parts[#parts + 1] = bytes:sub(1, stop - 1)
      return cleaned(table.concat(parts))
    end
    parts[#parts + 1] = bytes
    length = length + #bytes
    if length > bounds.maxReceive then return nil, "too long", table.concat(parts) end
    local problem
    bytes, problem = persist(self, deadline, "receive", Wait.READABLE, readSome)
    if not bytes then return nil, problem, cleaned(table.concat(parts)) end
  end
end

local function receiveAll(self, deadline)
  local parts = {takeUnread(self)}
  local length = #parts[1]
  while true do
    local bytes, problem = persist(self, deadline, "receive", Wait.READABLE, readSome)
    if not bytes then
      local all = table.concat(parts)
      if problem == "closed" and #all > 0 then return all end
      return nil, problem, all
    end
    parts[#parts + 1] = bytes
    length = length + #bytes
    if length > bounds.maxReceive then return nil, "too long", table.concat(parts) end
  end
end

--- Receives so many bytes, a line ("*l", by default), or all until the other end closes ("*a").
-- @tparam[opt] number|string pattern
-- @tparam[opt] string prefix stands before what is received, and counts
-- @treturn string|nil nil, a message, and what has come before that
function Tcp:receive(pattern, prefix)
  prefix = prefix and tostring(prefix) or ""
  if not self.fd and self.at > #self.unread then return nil, "closed", prefix end
  local deadline = deadlineOf(self)
  local bytes, problem, part
  local count = tonumber(pattern)
  local letter = not count and tostring(pattern or "*l"):match "^%*?([la])$"
  if count then
    if count - #prefix > bounds.maxReceive then return nil, "too long", prefix end
    bytes, problem, part = receiveCount(self, math.max(0, count - #prefix), deadline)
  elseif letter == "l" then
    bytes, problem, part = receiveLine(self, deadline)
  elseif letter == "a" then
    bytes, problem, part = receiveAll(self, deadline)
  else
    error("receive(pattern): pattern must be a number, \"*l\" or \"*a\"", 2)
  end
  if bytes then return prefix .. bytes end
  return nil, problem, prefix .. part
end

--- Whether there are bytes that need no waiting for.
function Tcp:dirty()
  return self.at <= #self.unread or self.tls and self.tls:isPending() or false
end

-- Sending.

local function writeSome(self, bytes, from, length)
  if not self.fd then return nil, "closed" end
  if self.tls then return self.tls:write(bytes, from, length) end
  return libc.write(self.fd, bytes, from, length)
end

--- Sends bytes, from the `i`-th to the `j`-th.
-- @treturn number|nil the last that was sent; or nil, a message, and the last that was sent
function Tcp:send(bytes, i, j)
  bytes = type(bytes) == "number" and tostring(bytes) or bytes
  if type(bytes) ~= "string" then
    error("send(bytes): bytes must be a string, not " .. type(bytes), 2)
  end
  i, j = i or 1, j or -1
  if i < 0 then i = math.max(1, #bytes + i + 1) elseif i == 0 then i = 1 end
  if j < 0 then j = #bytes + j + 1 elseif j > #bytes then j = #bytes end
  local deadline, last = deadlineOf(self), i - 1
  if not self.fd then return nil, "closed", last end
  while last < j do
    local sent, problem = persist(self, deadline, "send", Wait.WRITABLE, writeSome, bytes, last,
      j - last)
    if not sent then return nil, problem, last end
    last, self.sent = last + sent, self.sent + sent
  end
  return last
end

-- TLS.

--- Goes on in TLS.
-- @tparam[opt] table options `verify` (true; false: whoever answers is trusted), `host` (that of
-- `connect`), `cafile`, `capath`, `certificate`, `key`, `minimum` ("1.2" or "1.3")
-- @treturn boolean|nil true, or nil and a message
function Tcp:sslhandshake(options)
  options = type(options) == "table" and options or {}
  if not self.fd then return nil, "closed" end
  if self.tls then return nil, "it is in TLS already" end
  local host = options.host or self.host
  local session, problem = openssl.open(self.fd, {verify = options.verify ~= false,
    host = not host:find "^unix:" and host or nil, cafile = options.cafile,
    capath = options.capath, certificate = options.certificate, key = options.key,
    minimum = options.minimum})
  if not session then return nil, problem end
  local done
  done, problem = persist(self, deadlineOf(self), "sslhandshake", Wait.READABLE, function()
    if not self.fd then return nil, "closed" end
    return session:handshake()
  end)
  if not done then return nil, problem end
  self.tls = session
  return true
end

-- About.

function Tcp:getpeername()
  if not self.fd then return nil, "closed" end
  return libc.peer(self.fd)
end

function Tcp:getsockname()
  if not self.fd then return nil, "closed" end
  return libc.name(self.fd)
end

function Tcp:getfd() return self.fd or -1 end

--- Sets "tcp-nodelay", "keepalive" or "reuseaddr".
function Tcp:setoption(name, on)
  if not self.fd then return nil, "closed" end
  local done, problem = libc.option(self.fd, name, on)
  if not done then return nil, problem end
  return 1
end

--- Bytes received and sent, and the age in seconds.
function Tcp:getstats() return self.received, self.sent, now() - self.since end

function Tcp:__tostring()
  return "tcp{" .. (self.fd and "client" or "master") .. "}: " .. (self.host or "")
end

for _, name in ipairs {"bind", "listen", "accept"} do
  Tcp[name] = function()
    error(("sync.socket: %s is not there; sync.enable serves"):format(name), 2)
  end
end

return Tcp
