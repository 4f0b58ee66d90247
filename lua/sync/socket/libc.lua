--- Sockets as the system has them: descriptors that never block. Beside lua/sync/core.lua this
-- file knows the FFI. The numbers are Linux' own, as on x86, ARM, RISC-V and POWER.
-- @module sync.socket.libc

local ffi = require "ffi"

ffi.cdef [[
struct sync_sockaddr_in { uint16_t family; uint8_t port[2]; uint8_t address[4]; char zero[8]; };
struct sync_sockaddr_in6 {
    uint16_t family; uint8_t port[2]; uint32_t flow; uint8_t address[16]; uint32_t scope;
};
struct sync_sockaddr_un { uint16_t family; char path[108]; };
struct sync_pollfd { int fd; short events; short revents; };
struct sync_timeval { long seconds; long micros; };
int socket(int family, int type, int protocol);
int connect(int fd, const void *address, uint32_t length);
ssize_t recv(int fd, void *bytes, size_t length, int flags);
ssize_t send(int fd, const void *bytes, size_t length, int flags);
int shutdown(int fd, int how);
int close(int fd);
int getsockopt(int fd, int level, int name, void *value, uint32_t *length);
int setsockopt(int fd, int level, int name, const void *value, uint32_t length);
int getpeername(int fd, void *address, uint32_t *length);
int getsockname(int fd, void *address, uint32_t *length);
int inet_pton(int family, const char *text, void *address);
const char *inet_ntop(int family, const void *address, char *text, uint32_t length);
int poll(struct sync_pollfd *list, unsigned long count, int milliseconds);
int gettimeofday(struct sync_timeval *time, void *zone);
char *strerror(int number);
]]

local C = ffi.C

local UNIX, INET, INET6 = 1, 2, 10
local STREAM, NONBLOCK, CLOEXEC = 1, 0x800, 0x80000
local NOSIGNAL = 0x4000
local INTERRUPTED, AGAIN, PIPE, RESET, TIMED_OUT, REFUSED, IN_PROGRESS =
  4, 11, 32, 104, 110, 111, 115
local SOCKET_LEVEL, ERROR = 1, 4
local BLOCK = 65536

local libc = {BLOCK = BLOCK}

-- As LuaSocket calls them; others as the system does.
local TEXTS = {[PIPE] = "closed", [RESET] = "closed", [TIMED_OUT] = "timeout",
  [REFUSED] = "connection refused", [13] = "permission denied", [98] = "address already in use",
  [106] = "already connected"}

local function textOf(number)
  return TEXTS[number] or ffi.string(C.strerror(number))
end

local function portOf(place, port)
  place.port[0], place.port[1] = math.floor(port / 256), port % 256
end

-- The address of a text: an IP address and a port, or "unix:PATH". Returns a family, the struct
-- and its size, or nil and a message.
local function addressOf(host, port)
  local path = host:match "^unix:(.*)$"
  if path then
    if path == "" or #path > 107 then return nil, "the path is too long" end
    local place = ffi.new("struct sync_sockaddr_un", UNIX, path)
    return UNIX, place, ffi.sizeof(place)
  end
  local family = host:find(":", 1, true) and INET6 or INET
  local place = ffi.new(family == INET and "struct sync_sockaddr_in" or "struct sync_sockaddr_in6")
  place.family = family
  portOf(place, port)
  if C.inet_pton(family, host, place.address) ~= 1 then return nil, "this is no address" end
  return family, place, ffi.sizeof(place)
end

--- Begins to connect.
-- @tparam string host an IP address, or "unix:PATH"
-- @tparam number port
-- @treturn number|nil the descriptor, or nil and a message
-- @treturn boolean whether it is connected already
function libc.connect(host, port)
  local family, place, size = addressOf(host, port)
  if not family then return nil, place end
  local fd = C.socket(family, STREAM + NONBLOCK + CLOEXEC, 0)
  if fd < 0 then return nil, textOf(ffi.errno()) end
  if C.connect(fd, place, size) == 0 then return fd, true end
  local number = ffi.errno()
  if number == IN_PROGRESS then return fd, false end
  C.close(fd)
  return nil, textOf(number)
end

local value, size = ffi.new "int[1]", ffi.new "uint32_t[1]"

--- What became of an attempt to connect, once the descriptor is writable.
-- @treturn string|nil a message; nil: it stands
function libc.failure(fd)
  size[0] = 4
  if C.getsockopt(fd, SOCKET_LEVEL, ERROR, value, size) ~= 0 then return textOf(ffi.errno()) end
  if value[0] ~= 0 then return textOf(value[0]) end
end

local buffer = ffi.new("char[?]", BLOCK)

--- Reads what is there, up to `most` bytes.
-- @treturn string|nil nil and "again", "closed" or a message
function libc.read(fd, most)
  while true do
    local got = tonumber(C.recv(fd, buffer, math.min(most, BLOCK), 0))
    if got > 0 then return ffi.string(buffer, got) end
    if got == 0 then return nil, "closed" end
    local number = ffi.errno()
    if number == AGAIN then return nil, "again" end
    if number ~= INTERRUPTED then return nil, textOf(number) end
  end
end

--- Writes the bytes behind the first `from`, as many as there is room for.
-- @treturn number|nil how many; nil and "again", "closed" or a message
function libc.write(fd, bytes, from, length)
  while true do
    local sent = tonumber(C.send(fd, ffi.cast("const char *", bytes) + from, length, NOSIGNAL))
    if sent >= 0 then return sent end
    local number = ffi.errno()
    if number == AGAIN then return nil, "again" end
    if number ~= INTERRUPTED then return nil, textOf(number) end
  end
end

local HOWS = {receive = 0, send = 1, both = 2}

function libc.shutdown(fd, how)
  return C.shutdown(fd, HOWS[how]) == 0
end

--- A descriptor that is closed when nobody holds it any more.
-- @tparam number fd
-- @tparam function left called then with the number
function libc.holder(fd, left)
  return ffi.gc(ffi.new("int[1]", fd), function(held) left(held[0]) end)
end

--- Lets go of a holder without that.
function libc.release(holder) ffi.gc(holder, nil) end

function libc.close(fd) C.close(fd) end

local place, text = ffi.new "char[128]", ffi.new "char[64]"

local function nameOf(call, fd)
  size[0] = 128
  if call(fd, place, size) ~= 0 then return nil, textOf(ffi.errno()) end
  local family = ffi.cast("uint16_t *", place)[0]
  if family == UNIX then
    return ffi.string(ffi.cast("struct sync_sockaddr_un *", place).path), 0, "unix"
  end
  local found = ffi.cast(family == INET and "struct sync_sockaddr_in *" or
    "struct sync_sockaddr_in6 *", place)
  C.inet_ntop(family, found.address, text, 64)
  return ffi.string(text), found.port[0] * 256 + found.port[1], family == INET and "inet" or "inet6"
end

--- Address, port and family of the other end, and of this one; or nil and a message.
function libc.peer(fd) return nameOf(C.getpeername, fd) end
function libc.name(fd) return nameOf(C.getsockname, fd) end

-- Level and name of the options that are switches.
local SWITCHES = {["tcp-nodelay"] = {6, 1}, keepalive = {SOCKET_LEVEL, 9},
  reuseaddr = {SOCKET_LEVEL, 2}}

--- Sets an option by LuaSocket's name for it.
-- @treturn boolean|nil true, or nil and a message
function libc.option(fd, name, on)
  local option = SWITCHES[name]
  if not option then return nil, "unsupported option: " .. tostring(name) end
  value[0] = on and 1 or 0
  if C.setsockopt(fd, option[1], option[2], value, 4) == 0 then return true end
  return nil, textOf(ffi.errno())
end

local POLL_IN, POLL_OUT = 1, 4

--- Which descriptors are ready at this moment.
-- @tparam table list of `{fd, whether to write}`
-- @treturn table the same places: whether it is ready
function libc.poll(list)
  local entries = ffi.new("struct sync_pollfd[?]", math.max(1, #list))
  for i, each in ipairs(list) do
    entries[i - 1].fd, entries[i - 1].events = each[1], each[2] and POLL_OUT or POLL_IN
  end
  C.poll(entries, #list, 0)
  local ready = {}
  for i = 1, #list do ready[i] = entries[i - 1].revents ~= 0 end
  return ready
end

local time = ffi.new "struct sync_timeval"

--- Seconds since 1970, with fractions.
function libc.time()
  C.gettimeofday(time, nil)
  return tonumber(time.seconds) + tonumber(time.micros) / 1e6
end

return libc
