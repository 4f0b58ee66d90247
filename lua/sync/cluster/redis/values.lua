--- Values and logs of `sync.redis`, and the requests by which they are read and written.
--
-- A request is a table with `done`, `read` (makes an answer what `done` is given), `due` and,
-- for one that goes again when Redis has forgotten its script, `again`.
-- @module sync.cluster.redis.values

local Engine = require "sync.cluster.engine"
local core = require "sync.core"
local hiredis = require "sync.cluster.redis.hiredis"

local now = core.C.sync_now

local command, checkBytes = hiredis.command, Engine.checkBytes

local MOST_NAME, MOST_VALUE = Engine.MOST_NAME, Engine.MOST_VALUE
local MOST_MESSAGE, MOST_INTEGER = Engine.MOST_MESSAGE, Engine.MOST_INTEGER
local MOST_DIGITS = 19             -- of a 64-bit number
local MOST_SECONDS = 2 ^ 33        -- for Redis adds milliseconds to a 64-bit clock

local Values = Engine:extend("RedisValues")
Values.kind = "Redis"

--- Seconds that an answer may take.
Values.timeout = 5

-- Milliseconds for Redis, or "" for no time.
local function lifetime(seconds)
  if not seconds then return "" end
  if type(seconds) ~= "number" or seconds ~= seconds or seconds < 0 then
    error("seconds must be a number from 0, or nil for ever, not " .. tostring(seconds), 3)
  end
  return ("%.0f"):format(math.max(1, math.min(seconds, MOST_SECONDS) * 1000))
end

local function checkMost(what, most)
  if type(most) ~= "number" or not (most >= 1 and most <= MOST_INTEGER) then
    error(("%s must be a number from 1, not %s"):format(what, tostring(most)), 3)
  end
end

-- What Redis does in one step: KEYS[1] is the key, ARGV[1] milliseconds, or "".

Values.SCRIPTS = {
  -- ARGV: the new value, then the old one, unless there must be none.
  replace = [[
local current = redis.call('GET', KEYS[1])
if current ~= (ARGV[3] or false) then return {current} end
if ARGV[1] == '' then redis.call('SET', KEYS[1], ARGV[2])
else redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[1]) end
return 1]],
  -- ARGV: by how much. Lua's numbers are exact within 2^53, and so is what is left to that.
  increment = [[
local current = redis.call('GET', KEYS[1]) or '0'
local number, by = current:match('^-?%d+$') and tonumber(current), tonumber(ARGV[2])
if not number or math.abs(number) > 2^53 or string.format('%.0f', number + 0) ~= current or
  by > 0 and number > 2^53 - by or by < 0 and number < -2^53 - by then
  return redis.error_reply('not a number')
end
local sum = redis.call('INCRBY', KEYS[1], ARGV[2])
if ARGV[1] ~= '' then redis.call('PEXPIRE', KEYS[1], ARGV[1]) end
return sum]],
}

-- Requests.

local function answer(engine, request, kind, value)
  local done = request.done
  if not done then return end
  if kind == "value" then
    engine:guard("an answer", done, request.read(value))
  elseif request.again and value:find("^NOSCRIPT") then
    engine:again(request)
  else
    engine:guard("an answer", done, nil, (value:gsub("^ERR ", "")))
  end
end

function Values:again(request)
  local text = request.again
  request.again = nil
  if not self.commander:ask(request, text) then
    self:guard("an answer", request.done, nil, "busy")
  end
end

-- Sends the commands of a request. `which` of their answers is the one that counts; the first
-- if it isn't said.
function Values:request(done, read, text, answers, which, again)
  local link = self.commander
  if not self.up then return self:tellLater(done, nil, "away") end
  if not done then
    link:put(text, answers or 1)
    return
  end
  if link:waiting() >= self.maxPending then return self:tellLater(done, nil, "busy") end
  local request = {answer = answer, done = done, read = read, due = now() + self.timeout,
    again = again}
  local sent, why = link:ask(request, text, answers, which)
  if not sent then self:tellLater(done, nil, why == "closed" and "away" or "busy") end
end

-- Runs a script by its digest, or as text when Redis doesn't know it.
function Values:run(done, read, script, ...)
  local digest = self.digests[script]
  local whole = command("EVAL", Values.SCRIPTS[script], "1", ...)
  if not digest then return self:request(done, read, whole) end
  self:request(done, read, command("EVALSHA", digest, "1", ...), 1, 1, whole)
end

function Values:checkRequests(link, time)
  local requests = link.requests
  for i = link.first, link.last do
    local request = requests[i]
    if not request or request.due and request.due > time then return end
    local done = request.done
    request.done = nil -- its place in the row stays
    if done then self:guard("an answer", done, nil, "timeout") end
  end
end

-- Values.

local function asItIs(value) return value end
local function isOne(value) return value == 1 end
local function isSome(value) return value ~= nil end

local function asReplaced(value)
  if value == 1 then return true end
  return false, nil, value[1]
end

local function asEntries(list)
  local entries = {}
  for i, entry in ipairs(list) do entries[i] = {id = entry[1], bytes = entry[2][2]} end
  return entries
end

-- Whether a value is short enough; if not, `done` is told.
local function fits(engine, value, most, done)
  if #value <= most then return true end
  engine:tellLater(done, nil, "too long")
end

--- The value of a key.
-- @tparam string key at most 200 bytes, like all keys
-- @tparam function done called with a string, or nil when there is none; or with nil and why
-- it isn't known: "away" (there is no connection), "busy" (too many wait), "timeout", or an
-- error of Redis. So it is for all requests; none is called before the call has returned.
function Values:get(key, done)
  checkBytes("get(key, done): key", key, MOST_NAME)
  self:request(done, asItIs, command("GET", self.valuePrefix .. key))
end

-- SET, if there is nothing else to say (`extra`) or that is so.
local function set(engine, key, value, milliseconds, done, extra)
  local words = {"SET", engine.valuePrefix .. key, value}
  if milliseconds ~= "" then words[4], words[5] = "PX", milliseconds end
  words[#words + 1] = extra
  engine:request(done, isSome, command(unpack(words)))
end

--- Sets a value.
-- @tparam string key
-- @tparam string value at most 64 KiB
-- @tparam number|nil seconds that it is kept, or nil for ever
-- @tparam[opt] function done called with true
function Values:set(key, value, seconds, done)
  checkBytes("set(key, value, seconds, done): key", key, MOST_NAME)
  checkBytes("set(key, value, seconds, done): value", value)
  local milliseconds = lifetime(seconds)
  if fits(self, value, MOST_VALUE, done) then set(self, key, value, milliseconds, done) end
end

--- Sets a value if there is none.
-- @tparam string key
-- @tparam string value at most 64 KiB
-- @tparam number|nil seconds
-- @tparam[opt] function done called with whether there was none
function Values:add(key, value, seconds, done)
  checkBytes("add(key, value, seconds, done): key", key, MOST_NAME)
  checkBytes("add(key, value, seconds, done): value", value)
  local milliseconds = lifetime(seconds)
  if fits(self, value, MOST_VALUE, done) then set(self, key, value, milliseconds, done, "NX") end
end

--- Sets a value if the one that is there is the old one.
-- @tparam string key
-- @tparam string|nil old nil: there must be none
-- @tparam string new at most 64 KiB
-- @tparam number|nil seconds
-- @tparam[opt] function done called with true; or with false, nil and the value that is there
function Values:replace(key, old, new, seconds, done)
  checkBytes("replace(key, old, new, seconds, done): key", key, MOST_NAME)
  checkBytes("replace(key, old, new, seconds, done): new", new)
  if old ~= nil then checkBytes("replace(key, old, new, seconds, done): old", old) end
  local milliseconds = lifetime(seconds)
  if not fits(self, new, MOST_VALUE, done) then return end
  local words = {self.valuePrefix .. key, milliseconds, new, old}
  self:run(done, asReplaced, "replace", unpack(words))
end

--- Adds to a value that is a whole number within 2^53, or absent, which counts as 0.
-- @tparam string key
-- @tparam number by a whole number within 2^53
-- @tparam number|nil seconds that it is kept from now on; nil: as long as before
-- @tparam[opt] function done called with the sum; or with nil and "not a number", which what
-- is beyond 2^53 is, too
function Values:increment(key, by, seconds, done)
  checkBytes("increment(key, by, seconds, done): key", key, MOST_NAME)
  if type(by) ~= "number" or by % 1 ~= 0 or math.abs(by) > MOST_INTEGER then
    error("increment(key, by, seconds, done): by must be a whole number, not " .. tostring(by), 2)
  end
  self:run(done, asItIs, "increment", self.valuePrefix .. key, lifetime(seconds),
    ("%.0f"):format(by + 0)) -- which is never -0
end

--- Changes how long a value is kept.
-- @tparam string key
-- @tparam number|nil seconds from now on, or nil for ever
-- @tparam[opt] function done called with whether there is a value
function Values:expire(key, seconds, done)
  checkBytes("expire(key, seconds, done): key", key, MOST_NAME)
  local name, milliseconds = self.valuePrefix .. key, lifetime(seconds)
  if milliseconds ~= "" then
    return self:request(done, isOne, command("PEXPIRE", name, milliseconds))
  end
  -- PERSIST tells something else: whether it was to expire.
  self:request(done, isOne, command("PERSIST", name) .. command("EXISTS", name), 2, 2)
end

--- Removes a value.
-- @tparam string key
-- @tparam[opt] function done called with whether there was one
function Values:remove(key, done)
  checkBytes("remove(key, done): key", key, MOST_NAME)
  self:request(done, isOne, command("DEL", self.valuePrefix .. key))
end

-- Logs.

--- Puts an entry at the end of a log.
-- @tparam string name of the log, at most 200 bytes
-- @tparam string bytes at most 1 MiB
-- @tparam number most entries that are kept, or about a hundred more, for Redis drops them in
-- blocks
-- @tparam number|nil seconds that the log is kept from now on
-- @tparam[opt] function done called with the entry's id
function Values:append(name, bytes, most, seconds, done)
  checkBytes("append(log, bytes, most, seconds, done): log", name, MOST_NAME)
  checkBytes("append(log, bytes, most, seconds, done): bytes", bytes)
  checkMost("append(log, bytes, most, seconds, done): most", most)
  local key, milliseconds = self.logPrefix .. name, lifetime(seconds)
  if not fits(self, bytes, MOST_MESSAGE, done) then return end
  local text = command("XADD", key, "MAXLEN", "~", ("%d"):format(most), "*", "b", bytes)
  local after = milliseconds == "" and command("PERSIST", key) or
    command("PEXPIRE", key, milliseconds)
  self:request(done, asItIs, text .. after, 2, 1)
end

-- The id that follows; "-" is the first of all. Redis knows "(ID" only since 6.2.
local function following(id)
  local time, number = id:match("^(%d+)%-(%d+)$")
  number = tonumber(number)
  if not number or #time > MOST_DIGITS or number >= MOST_INTEGER then return "-" end
  return ("%s-%.0f"):format(time, number + 1)
end

--- Reads a log.
-- @tparam string name
-- @tparam string after the id of an entry: those behind it are read; "" and what is no id of
-- Redis reads all
-- @tparam number most entries
-- @tparam function done called with a list of {id = string, bytes = string}, oldest first
function Values:read(name, after, most, done)
  checkBytes("read(log, after, most, done): log", name, MOST_NAME)
  checkBytes("read(log, after, most, done): after", after)
  checkMost("read(log, after, most, done): most", most)
  self:request(done, asEntries, command("XRANGE", self.logPrefix .. name, following(after), "+",
    "COUNT", ("%d"):format(most)))
end

return Values
