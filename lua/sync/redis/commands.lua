--- The commands of Redis: how they are written, and which of them a connection that others share
-- can't have.
-- @module sync.redis.commands

local failures = require "sync.redis.failures"
local hiredis = require "sync.redis.hiredis"

local commands = {}

local EXACT = 2 ^ 53

local function misuse(...)
  error(failures.new("misuse", (...):format(select(2, ...))), 0)
end

-- An argument as bytes.
local function write(value, name, place)
  local kind = type(value)
  if kind == "string" then return value end
  if kind == "number" then
    if value ~= value then misuse("%s: argument %d is NaN", name, place) end
    if value % 1 == 0 and value <= EXACT and value >= -EXACT then return ("%d"):format(value) end
    return ("%.17g"):format(value)
  end
  local integer = kind == "cdata" and tostring(value):match "^(%-?%d+)U?LL$"
  if integer then return integer end
  misuse("%s: argument %d is a %s; Redis knows strings and numbers", name, place,
    value == nil and "nil" or kind)
end

--- A command as Redis reads it.
-- @tparam string name
-- @param ... its arguments: strings, numbers, 64-bit integers
-- @treturn string
-- @raise the failure "misuse" for other arguments
function commands.write(name, ...)
  local count = select("#", ...)
  if count == 0 then return hiredis.command(name) end
  local words = {name, ...}
  for i = 2, count + 1 do
    if type(words[i]) ~= "string" then words[i] = write(words[i], name, i - 1) end
  end
  return hiredis.command(unpack(words, 1, count + 1))
end

-- What would change a connection for all who share it, and what is called instead.
local REFUSED = {
  MULTI = "db:multi", EXEC = "db:multi", DISCARD = "db:multi", WATCH = "db:watch",
  UNWATCH = "db:watch",
  SUBSCRIBE = "db:subscribe", UNSUBSCRIBE = "the subscription's close",
  PSUBSCRIBE = "db:psubscribe", PUNSUBSCRIBE = "the subscription's close",
  SSUBSCRIBE = "db:subscribe", SUNSUBSCRIBE = "db:subscribe",
  SELECT = "the URL", AUTH = "the URL", HELLO = "the URL", QUIT = "db:close",
  RESET = "db:close", MONITOR = "redis-cli", SYNC = "redis-cli", PSYNC = "redis-cli",
  WAIT = "db:watch, behind the writes that it waits for",
  WAITAOF = "db:watch, behind the writes that it waits for",
}

-- Of a session, which has its connection alone.
local OF_SESSION = {WAIT = true, WAITAOF = true}

--- Refuses what can't be sent by a command.
-- @tparam string name in capitals
-- @param first its first argument
-- @tparam[opt] boolean isAlone whether its connection is nobody else's
-- @raise the failure "misuse"
function commands.check(name, first, isAlone)
  local instead = REFUSED[name]
  if instead and not (isAlone and OF_SESSION[name]) then
    misuse("%s would change the connection for others; use %s", name, instead)
  end
  if name == "CLIENT" and type(first) == "string" and first:upper() == "REPLY" then
    misuse("CLIENT REPLY would take answers away from others")
  end
end

-- Where blocking commands have their time: which argument (counted from the end if negative),
-- and how many of them are a second.
local BLOCKING = {
  BLPOP = {-1, 1}, BRPOP = {-1, 1}, BRPOPLPUSH = {-1, 1}, BLMOVE = {-1, 1}, BLMPOP = {1, 1},
  BZPOPMIN = {-1, 1}, BZPOPMAX = {-1, 1}, BZMPOP = {1, 1}, WAIT = {-1, 1000}, WAITAOF = {-1, 1000},
}

local READS_STREAMS = {XREAD = true, XREADGROUP = true}

-- The time of XREAD and XREADGROUP stands behind BLOCK, before STREAMS.
local function blockOf(...)
  for i = 1, select("#", ...) - 1 do
    local word, value = select(i, ...)
    word = type(word) == "string" and word:upper()
    if word == "STREAMS" then return nil end
    if word == "BLOCK" then return (tonumber(value) or 0) / 1000 end
  end
end

--- How long a command waits for something to happen.
-- @tparam string name in capitals
-- @param ... its arguments
-- @treturn number|nil seconds, 0 for any time; nil for a command that doesn't block
function commands.blocks(name, ...)
  if READS_STREAMS[name] then return blockOf(...) end
  local how = BLOCKING[name]
  if not how then return nil end
  local place = how[1] < 0 and select("#", ...) or how[1]
  return (tonumber((select(place, ...))) or 0) / how[2]
end

-- Answers that are fields and values in turn, and are read as tables.
local function isMap(name, first)
  return name == "HGETALL" or name == "CONFIG" and type(first) == "string" and
    first:upper() == "GET"
end

--- An answer as its caller gets it.
function commands.read(answer, name, first)
  if type(answer) ~= "table" or not answer.n or not isMap(name, first) then return answer end
  local map = {}
  for i = 1, answer.n, 2 do map[answer[i]] = answer[i + 1] end
  return map
end

return commands
