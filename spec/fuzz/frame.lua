-- What an engine may send: tables of frames, and replies of Redis. Random ones come back as they
-- were, in pieces of any size; damaged ones are read or refused, in little time and memory. Run:
--
--     ./sync-lua spec/fuzz/frame.lua [HOW_MANY=100000] [SEED=1]

local buffer = require "string.buffer"
local frame = require "sync.cluster.frame"
local hiredis = require "sync.redis.hiredis"

assert(hiredis.load())

local howMany, seed, quiet = ...
local HOW_MANY, SEED = tonumber(howMany or 100000), tonumber(seed or 1)
local MOST_SECONDS = 1           -- of processor time for one input
local MOST_BYTES = 64 * 2 ^ 20   -- by which the process may grow
local HUGE = {"2147483647", "100001", "4294967295", "-1", "-2", "0", "9999999999999999999", "", "x"}

local random = math.random

local function pick(list) return list[random(#list)] end

local function text()
  local bytes = {}
  for i = 1, random(0, 9) do bytes[i] = string.char(random(0, 255)) end
  return table.concat(bytes):rep(random(8) == 1 and random(0, 9000) or 1)
end

local function value(depth)
  local kind = random(depth > 0 and 8 or 5)
  if kind == 1 then return random(-2 ^ 30, 2 ^ 30) end
  if kind == 2 then return random() * 10 ^ random(-20, 20) end
  if kind == 3 then return random(2) == 1 end
  if kind <= 5 then return text() end
  local made = {}
  for i = 1, random(0, 6) do made[random(2) == 1 and i or text()] = value(depth - 1) end
  return made
end

local function reply(depth)
  local kind = random(depth > 0 and 7 or 5)
  if kind == 1 then return (":%d\r\n"):format(random(-100, 100)) end
  if kind == 2 then return pick {"$-1\r\n", "*-1\r\n", "*0\r\n", "$0\r\n\r\n"} end
  if kind == 3 then return pick {"+OK\r\n", "-ERR no\r\n"} end
  if kind <= 5 then
    local bytes = text()
    return ("$%d\r\n%s\r\n"):format(#bytes, bytes)
  end
  local parts, count = {}, random(0, 5)
  for i = 1, count do parts[i] = reply(depth - 1) end
  return ("*%d\r\n%s"):format(count, table.concat(parts))
end

-- One to three bytes are others, are missing, or are a count.
local function damaged(bytes)
  for _ = 1, random(3) do
    local at = random(#bytes)
    local put = pick {string.char(random(0, 255)), "", "\255\255\255\255\3", "\255\0\0\1\0",
      pick {"*", "$", "%", "~", ">"} .. pick(HUGE) .. "\r\n"}
    bytes = bytes:sub(1, at - 1) .. put .. bytes:sub(at + 1)
  end
  return bytes
end

local function failed(what, bytes)
  error(("%s (seed %d): %s"):format(what, SEED, (bytes:sub(1, 2000):gsub("[%c\128-\255]",
    function(char) return ("\\%03d"):format(char:byte()) end))), 0)
end

local function reserved()
  return tonumber(io.open("/proc/self/statm"):read "*n") * 4096
end

-- All that a reader says of a text that comes in pieces, as one text; and what is wrong.
local function read(bytes)
  local reader, said, at, problem = hiredis.reader(), {}, 1, nil
  while at <= #bytes and not problem do
    local size = random(4) == 1 and random(3) or random(2000)
    local fed, why = reader:feed(bytes:sub(at, at + size - 1))
    if not fed then problem = why end
    at = at + size
    for kind, what in function() return reader:next() end do
      if kind == "broken" then
        problem = what
        break
      end
      said[#said + 1] = kind .. buffer.encode(what)
    end
  end
  reader:close()
  return table.concat(said, "\n"), problem
end

local counts = {tables = 0, replies = 0, damaged = 0, refused = 0}

local function timed(what, bytes, fn, ...)
  local begun = os.clock()
  local ok, result, problem = pcall(fn, ...)
  if os.clock() - begun > MOST_SECONDS then failed(what .. " takes too long", bytes) end
  return ok and not problem, result
end

local function tryTable()
  local original = value(4)
  local bytes = buffer.encode(original)
  local ok, result = timed("a table", bytes, frame.decode, "head" .. bytes, 4)
  if not ok or buffer.encode(result) ~= buffer.encode(buffer.decode(bytes)) then
    failed("a table changed", bytes)
  end
  counts.tables = counts.tables + 1
  bytes = damaged(bytes)
  counts.damaged = counts.damaged + 1
  if not timed("a damaged table", bytes, frame.decode, bytes, 0) then
    counts.refused = counts.refused + 1
  end
end

local function tryReplies()
  local bytes = ""
  for _ = 1, random(4) do bytes = bytes .. reply(3) end
  local ok, one = timed("replies", bytes, read, bytes)
  local okToo, other = timed("replies", bytes, read, bytes)
  if not ok or not okToo or one ~= other then failed("replies changed", bytes) end
  counts.replies = counts.replies + 1
  bytes = damaged(bytes)
  counts.damaged = counts.damaged + 1
  if not timed("damaged replies", bytes, read, bytes) then counts.refused = counts.refused + 1 end
end

math.randomseed(SEED)
local began, before = os.clock(), reserved()
for i = 1, HOW_MANY do
  if i % 2 == 0 then tryReplies() else tryTable() end
  if reserved() - before > MOST_BYTES then
    failed("the process has grown, by input", tostring(i))
  end
end
if not quiet then
  print(("%d tables and %d runs of replies came back, %d of %d damaged inputs were refused; %.0f s")
    :format(counts.tables, counts.replies, counts.refused, counts.damaged, os.clock() - began))
end
