--- Values and logs of `sync.cluster.redis`, and the requests by which they are read and written.
--
-- A request is a table with `done`, `read` (makes an answer what `done` is given), `due` and,
-- for one that goes again when Redis has forgotten its script, `again`.
-- @module sync.cluster.redis.values

local Reconnecting = require "sync.cluster.reconnecting"
local core = require "sync.core"
local hiredis = require "sync.redis.hiredis"

local now = core.C.sync_now

local command = hiredis.command

local PING = command("PING")
local MOST_DIGITS = 19             -- of a 64-bit number

local Values = Reconnecting:extend("RedisValues")
Values.kind = "Redis"

--- Seconds that an answer may take.
Values.timeout = 5

-- Milliseconds for Redis, or "" for no time.
local function lifetime(seconds)
  return seconds and ("%.0f"):format(math.max(1, seconds * 1000)) or ""
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

-- Operations.

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

--- Tells when Redis has done all that it was told: `done(true)`, or nil and why nobody knows.
function Values:ping(done)
  self:request(done, isSome, PING)
end

-- What each operation asks of Redis.
local operations = {}

--- Does an operation: see lua/sync/cluster/engine.lua.
function Values:ask(name, done, ...)
  operations[name](self, done, ...)
end

function operations.get(self, done, key)
  self:request(done, asItIs, command("GET", self.valuePrefix .. key))
end

-- SET, if there is nothing else to say (`extra`) or that is so.
local function set(self, done, key, value, seconds, extra)
  local words = {"SET", self.valuePrefix .. key, value}
  if seconds then words[4], words[5] = "PX", lifetime(seconds) end
  words[#words + 1] = extra
  self:request(done, isSome, command(unpack(words)))
end

function operations.set(self, done, key, value, seconds)
  set(self, done, key, value, seconds)
end

function operations.add(self, done, key, value, seconds)
  set(self, done, key, value, seconds, "NX")
end

function operations.replace(self, done, key, old, new, seconds)
  local words = {self.valuePrefix .. key, lifetime(seconds), new, old}
  self:run(done, asReplaced, "replace", unpack(words))
end

function operations.increment(self, done, key, by, seconds)
  self:run(done, asItIs, "increment", self.valuePrefix .. key, lifetime(seconds),
    ("%.0f"):format(by))
end

function operations.expire(self, done, key, seconds)
  local name = self.valuePrefix .. key
  if seconds then
    return self:request(done, isOne, command("PEXPIRE", name, lifetime(seconds)))
  end
  -- PERSIST tells something else: whether it was to expire.
  self:request(done, isOne, command("PERSIST", name) .. command("EXISTS", name), 2, 2)
end

function operations.remove(self, done, key)
  self:request(done, isOne, command("DEL", self.valuePrefix .. key))
end

-- Redis drops entries in blocks: a log may have about a hundred more than `most`.
function operations.append(self, done, name, bytes, most, seconds)
  local key = self.logPrefix .. name
  local text = command("XADD", key, "MAXLEN", "~", ("%d"):format(most), "*", "b", bytes)
  local after = seconds and command("PEXPIRE", key, lifetime(seconds)) or command("PERSIST", key)
  self:request(done, asItIs, text .. after, 2, 1)
end

-- The id that follows; "-" is the first of all. Redis knows "(ID" only since 6.2.
local function following(id)
  local time, number = id:match("^(%d+)%-(%d+)$")
  number = tonumber(number)
  if not number or #time > MOST_DIGITS or number >= Values.MOST_INTEGER then return "-" end
  return ("%s-%.0f"):format(time, number + 1)
end

function operations.read(self, done, name, after, most)
  self:request(done, asEntries, command("XRANGE", self.logPrefix .. name, following(after), "+",
    "COUNT", ("%d"):format(most)))
end

return Values
