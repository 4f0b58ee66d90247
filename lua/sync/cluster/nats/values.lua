--- Values and logs of `sync.cluster.nats`: each is a subject of one of two streams, `values` and
-- `logs`.
-- @module sync.cluster.nats.values

local Operations = require "sync.cluster.nats.operations"
local core = require "sync.core"
local natswire = require "sync.cluster.nats.wire"

local now = core.C.sync_now
local fail, failAs = Operations.fail, Operations.failAs

local Values = Operations:extend("NatsValues")

-- What each operation runs: functions of the engine, `done` and the arguments.
local operations = {}

--- Does an operation: see lua/sync/cluster/engine.lua.
function Values:ask(name, done, ...)
  operations[name](self, done, ...)
end

-- Values.

local CLOCK_SECONDS = 600 -- until the server's clock is looked at again

-- What the server's clock is ahead of ours that only goes on, in seconds: it is told by the time
-- of a message that is stored now, in the middle of the two requests which that takes. No key's
-- subject is that message's.
local function askClock(self, operation)
  local values, sent = self.values, now()
  local subject = values.subject .. "=clock"
  values:put(operation, subject, "")
  local entry = values:fetch(operation, ('{"last_by_subj":"%s"}'):format(subject))
  if not entry then fail "NATS does not answer as it should: the server's clock" end
  return {at = now(), ahead = entry.time - (sent + now()) / 2}
end

-- The milliseconds of the server's clock, by which values expire: those of nodes may differ.
local function serverTime(self, operation)
  local clock = self.serverClock
  if not clock or clock.at + CLOCK_SECONDS < now() then
    clock = askClock(self, operation)
    self.serverClock = clock
  end
  return (now() + clock.ahead) * 1000
end

-- Returns the entry of a key, and what it holds: nil when it is none, or has expired.
local function current(self, operation, subject)
  local entry = self.values:fetch(operation, ('{"last_by_subj":"%s"}'):format(subject))
  if not entry then return nil, nil end
  -- Another program may have deleted it as programs of key-value buckets do.
  if entry.headers:find("\nKV-Operation:", 1, true) then return entry, nil end
  local expires = tonumber(entry.headers:match "\nSync%-Expires: *(%d+)")
  entry.expires = expires
  if expires and expires <= serverTime(self, operation) then return entry, nil end
  return entry, entry.bytes
end

local function expiry(self, operation, seconds)
  if not seconds then return nil end
  return math.floor(serverTime(self, operation) + seconds * 1000)
end

-- Headers: when the value expires, and which message must be the last of its subject, if any
-- (0: none).
local function headers(expires, expected)
  return (expires and ("Sync-Expires\0%.0f\0"):format(expires) or "") ..
    (expected and ("Nats-Expected-Last-Subject-Sequence\0%.0f\0"):format(expected) or "")
end

local function subjectOf(self, key) return self.values.subject .. natswire.encoded(key) end

-- Replaces an entry (nil: none) by a value. Returns whether it was still the last.
local function exchange(self, operation, subject, entry, value, expires)
  return self.values:put(operation, subject, value,
    headers(expires, entry and entry.sequence or 0)) ~= nil
end

local function get(self, operation, subject)
  local entry, value = current(self, operation, subject)
  if entry and not value then self.values:delete(operation, entry.sequence) end
  return value
end

function operations.get(self, done, key)
  self:start(done, get, subjectOf(self, key))
end

local function set(self, operation, subject, value, seconds)
  self.values:put(operation, subject, value, headers(expiry(self, operation, seconds)))
  return true
end

function operations.set(self, done, key, value, seconds)
  self:start(done, set, subjectOf(self, key), value, seconds)
end

local function replace(self, operation, subject, old, new, seconds)
  while true do
    local entry, value = current(self, operation, subject)
    if value ~= old then return false, nil, value end
    local expires = expiry(self, operation, seconds)
    if exchange(self, operation, subject, entry, new, expires) then return true end
  end
end

function operations.add(self, done, key, value, seconds)
  self:start(done and function(ok, err) done(ok, err) end, replace, subjectOf(self, key), nil,
    value, seconds)
end

function operations.replace(self, done, key, old, new, seconds)
  self:start(done, replace, subjectOf(self, key), old, new, seconds)
end

local function increment(self, operation, subject, by, seconds)
  while true do
    local entry, value = current(self, operation, subject)
    local sum = self.sum(value or "0", by)
    if not sum then fail "not a number" end
    local expires = expiry(self, operation, seconds) or value and entry.expires
    if exchange(self, operation, subject, entry, ("%.0f"):format(sum), expires) then return sum end
  end
end

function operations.increment(self, done, key, by, seconds)
  self:start(done, increment, subjectOf(self, key), by, seconds)
end

local function expire(self, operation, subject, seconds)
  while true do
    local entry, value = current(self, operation, subject)
    if value == nil then return false end
    local expires = expiry(self, operation, seconds)
    if exchange(self, operation, subject, entry, value, expires) then return true end
  end
end

function operations.expire(self, done, key, seconds)
  self:start(done, expire, subjectOf(self, key), seconds)
end

local function remove(self, operation, subject)
  local last
  while true do
    local entry, value = current(self, operation, subject)
    if value == nil then return false end
    local answer = self.values:delete(operation, entry.sequence)
    if not answer.error then return true end
    if last == entry.sequence then failAs(answer.error) end
    last = entry.sequence
  end
end

function operations.remove(self, done, key)
  self:start(done, remove, subjectOf(self, key))
end

-- Logs.

-- The id of an entry. A stream in memory may be lost, and its numbers begin anew: the time at
-- which it was made goes before them.
local function idOf(stream, sequence) return ("%s-%016.0f"):format(stream.epoch, sequence) end

local function cut(self, operation, subject, most)
  self.logs:cut(operation, subject, most)
end

local function append(self, operation, subject, bytes, most)
  local logs = self.logs
  if most > logs.most then logs.most, logs.ready = most, nil end
  local sequence = logs:put(operation, subject, bytes)
  if most < logs.most and math.random(most) == 1 then logs:cut(operation, subject, most) end
  return idOf(logs, sequence)
end

-- Without `done` nobody is asked whether the entry was stored.
function operations.append(self, done, name, bytes, most)
  local logs = self.logs
  local subject = logs.subject .. natswire.encoded(name)
  if done or not self.up or not logs.ready or most > logs.most then
    return self:start(done, append, subject, bytes, most)
  end
  self:transmit("P" .. natswire.NO_NUMBER .. subject .. "\0" .. bytes)
  if most < logs.most and math.random(most) == 1 then self:start(nil, cut, subject, most) end
end

local function read(self, operation, subject, after, most)
  local logs, list = self.logs, {}
  logs:need(operation)
  local epoch, sequence = after:match "^(%d+)%-(%d+)$"
  sequence = epoch == logs.epoch and tonumber(sequence) or 0
  while #list < most do
    local entry = logs:fetch(operation,
      ('{"seq":%.0f,"next_by_subj":"%s"}'):format(sequence + 1, subject))
    if not entry then break end
    sequence = entry.sequence
    list[#list + 1] = {id = idOf(logs, sequence), bytes = entry.bytes}
    operation.deadline = now() + self.timeLimit -- it goes on
  end
  return list
end

function operations.read(self, done, name, after, most)
  self:start(done, read, self.logs.subject .. natswire.encoded(name), after, most)
end

return Values
