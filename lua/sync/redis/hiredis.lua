--- The protocol of Redis: its replies are read by the library hiredis.
--
-- Of hiredis only the reader is used. It knows no socket and calls nobody back: bytes go in,
-- replies come out. The library is loaded when it is first needed. Beside lua/sync/core.lua
-- this file knows the FFI.
-- @module sync.redis.hiredis

local ffi = require "ffi"

ffi.cdef [[
struct sync_redis_reader { /* its first fields, the same in all versions */
    int err;
    char errstr[128];
};
struct sync_redis_reply_0 { /* until hiredis 0.14 */
    int type;
    long long integer;
    size_t len;
    char *str;
    size_t elements;
    struct sync_redis_reply_0 **element;
};
struct sync_redis_reply_1 { /* since hiredis 1.0 */
    int type;
    long long integer;
    double dval;
    size_t len;
    char *str;
    char vtype[4];
    size_t elements;
    struct sync_redis_reply_1 **element;
};
struct sync_redis_reader *redisReaderCreate(void);
void redisReaderFree(struct sync_redis_reader *reader);
int redisReaderFeed(struct sync_redis_reader *reader, const char *bytes, size_t length);
int redisReaderGetReply(struct sync_redis_reader *reader, void **reply);
void freeReplyObject(void *reply);
]]

-- "hiredis" is there with the header files only.
local NAMES = {"hiredis", "libhiredis.so.1.3.0", "libhiredis.so.1.1.0", "libhiredis.so.1.0.0",
  "libhiredis.so.0.14"}
local STRING, ARRAY, INTEGER, NIL, ERROR = 1, 2, 3, 4, 6
local MESSAGE = #"message"
local LONGEST = 64 * 1024 * 1024 -- bytes of a reply that is not complete
local MOST_ELEMENTS = 100000     -- of an array, unless more are wanted
local LONGEST_LINE = 8 * 1024
local EXACT = 2 ^ 53            -- whole numbers up to this one are exact

local hiredis = {}
local Reader -- once the library is loaded

local function load()
  for _, name in ipairs(NAMES) do
    local ok, lib = pcall(ffi.load, name)
    if ok then return lib end
  end
  return nil, "Redis needs the library hiredis, which is not there: apt-get install " ..
    "libhiredis-dev (or without headers: libhiredis1.1.0, on Debian 12 libhiredis0.14)"
end

-- Names of files don't tell the version, but a reply does: where the length was until 0.14,
-- later versions have a number that is 0 here, and none is shorter than the older layout.
local function layout(lib)
  local reader, place = lib.redisReaderCreate(), ffi.new("void *[1]")
  if reader == nil then return nil, "hiredis: not enough memory" end
  lib.redisReaderFeed(reader, "$1\r\n?\r\n", 7)
  lib.redisReaderGetReply(reader, place)
  for _, name in ipairs {"struct sync_redis_reply_0 *", "struct sync_redis_reply_1 *"} do
    local reply = ffi.cast(name, place[0])
    if reply ~= nil and reply.type == STRING and reply.len == 1 then
      lib.freeReplyObject(place[0])
      lib.redisReaderFree(reader)
      return ffi.typeof(name)
    end
  end
  return nil, "this version of hiredis is not known: 0.14 and 1.0 to 1.3 are"
end

-- Types of replies, by their first byte: those that tell how many bytes follow, or elements.
local BULKS = {[("$"):byte()] = true, [("="):byte()] = true}
local ARRAYS = {}
for type in ("*%~>|"):gmatch "." do ARRAYS[type:byte()] = true end

-- Follows the lines of what is read. hiredis makes an array as large as it is said to be, before
-- there is anything in it: 13 bytes would cost 16 GB. Since hiredis 1.0 readers have a bound for
-- this, in 0.14 they have none. Returns true, or nil and what is wrong.
local function follow(self, bytes)
  bytes = self.line .. bytes
  local length, at = #bytes, self.ahead + 1
  self.ahead, self.line = 0, ""
  while at <= length do
    local stop = bytes:find("\r\n", at, true)
    if not stop then
      self.line = bytes:sub(at)
      if #self.line > LONGEST_LINE then return nil, "a line is too long" end
      return true
    end
    local type = bytes:byte(at)
    local count = (BULKS[type] or ARRAYS[type]) and (tonumber(bytes:sub(at + 1, stop - 1)) or 1 / 0)
    if count and count > (BULKS[type] and self.longest or self.mostElements) then
      local line = bytes:sub(at, math.min(stop - 1, at + 40))
      return nil, "a length or a count is too large: " .. line, "too large"
    end
    at = stop + 2
    if BULKS[type] and count >= 0 then at = at + count + 2 end
  end
  self.ahead = at - length - 1
  return true
end

-- The methods of readers, with library and layout as constants, so that they are compiled.
local function methods(lib, Reply)
  local class = {}
  class.__index = class
  local place = ffi.new("void *[1]")

  local function read(reply)
    local type = reply.type
    if type == INTEGER then return tonumber(reply.integer) end
    if type == NIL then return nil end
    if type ~= ARRAY then return ffi.string(reply.str, reply.len) end
    local list = {}
    for i = 1, tonumber(reply.elements) do list[i] = read(reply.element[i - 1]) end
    return list
  end

  -- The same for applications: integers are exact, an error within an array is what `failed` makes
  -- of its text, and lists say by `n` how many they hold, for nil is among them.
  local function readExactly(reply, failed)
    local type = reply.type
    if type == INTEGER then
      local number = reply.integer
      return number <= EXACT and number >= -EXACT and tonumber(number) or number
    end
    if type == NIL then return nil end
    if type == ERROR then return failed(ffi.string(reply.str, reply.len)) end
    if type ~= ARRAY then return ffi.string(reply.str, reply.len) end
    local count = tonumber(reply.elements)
    local list = {n = count}
    for i = 1, count do list[i] = readExactly(reply.element[i - 1], failed) end
    return list
  end

  -- Whether a reply is the array "message", channel, bytes; others of three end in a number.
  local function isMessage(reply, skip)
    if reply.type ~= ARRAY or reply.elements ~= 3 then return false end
    local element = reply.element
    return element[0].type == STRING and element[0].len == MESSAGE and
      element[1].type == STRING and element[1].len >= skip and element[2].type == STRING
  end

  -- Takes in bytes, of which a copy is made. Returns true, or nil, what is wrong, and "too large"
  -- when that is it.
  function class:feed(bytes)
    self.unfinished = self.unfinished + #bytes
    if self.unfinished > self.longest then
      return nil, ("a reply is longer than %g MiB"):format(self.longest / 2 ^ 20), "too large"
    end
    local followed, problem, code = follow(self, bytes)
    if not followed then return nil, problem, code end
    if lib.redisReaderFeed(self.reader, bytes, #bytes) ~= 0 then
      return nil, ffi.string(self.reader.errstr)
    end
    return true
  end

  -- The next complete reply: "message", its channel and its bytes; "value" and what it is;
  -- "error" and its text; "broken" and what is wrong, after which nothing more can be read;
  -- or nil: more bytes are needed.
  function class:next()
    if lib.redisReaderGetReply(self.reader, place) ~= 0 then
      return "broken", ffi.string(self.reader.errstr)
    end
    local whole = place[0]
    if whole == nil then return nil end
    self.unfinished = 0 -- what is left is less than the bytes that came last
    local reply, skip = ffi.cast(Reply, whole), self.skip
    if skip and isMessage(reply, skip) then
      local name, message = reply.element[1], reply.element[2]
      local channel = ffi.string(name.str + skip, name.len - skip)
      local bytes = ffi.string(message.str, message.len)
      lib.freeReplyObject(whole)
      return "message", channel, bytes
    end
    local kind, value = "value"
    if reply.type == ERROR then
      kind, value = "error", ffi.string(reply.str, reply.len)
    elseif self.failed then
      value = readExactly(reply, self.failed)
    else
      value = read(reply)
    end
    lib.freeReplyObject(whole)
    return kind, value
  end

  -- Frees it. It may not be used any more.
  function class:close()
    lib.redisReaderFree(ffi.gc(self.reader, nil))
    self.reader = nil
  end

  function class.new(skip, exactly)
    local reader = lib.redisReaderCreate()
    if reader == nil then error("hiredis: not enough memory", 0) end
    return setmetatable({reader = ffi.gc(reader, lib.redisReaderFree), unfinished = 0,
      ahead = 0,  -- bytes that follow as what was announced
      line = "",  -- one that is not complete
      skip = skip or false,
      failed = exactly and exactly.failed,
      longest = exactly and exactly.longest or LONGEST,
      mostElements = exactly and exactly.mostElements or MOST_ELEMENTS}, class)
  end

  return class
end

--- A command as Redis reads it: an array of strings.
-- @tparam string ... its words
-- @treturn string
function hiredis.command(...)
  local count = select("#", ...)
  local parts = {("*%d\r\n"):format(count)}
  for i = 1, count do
    local part = select(i, ...)
    parts[i + 1] = ("$%d\r\n"):format(#part) .. part .. "\r\n"
  end
  return table.concat(parts)
end

--- Loads the library, if that has not been done.
-- @treturn boolean|nil true, or nil and a message
function hiredis.load()
  if Reader then return true end
  local lib, message = load()
  if not lib then return nil, message end
  local Reply
  Reply, message = layout(lib)
  if not Reply then return nil, message end
  Reader = methods(lib, Reply)
  return true
end

--- Makes a reader; `hiredis.load` was called before.
-- @tparam[opt] number skip for a connection that subscribes: how many bytes of the names of
-- channels are left out
-- @tparam[opt] table exactly for applications, whose integers beyond 2^53 are kept: `failed`, which
-- makes something of an error within an array; `longest`, bytes of a reply; `mostElements` of an
-- array
-- @treturn table with `feed`, `next` and `close`
function hiredis.reader(skip, exactly)
  return Reader.new(skip, exactly)
end

return hiredis
