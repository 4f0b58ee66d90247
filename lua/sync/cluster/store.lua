--- Values and logs in memory: what the engine of a single process keeps, and what the parent of
-- workers serves to them.
--
-- It does the operations of engines (see lua/sync/cluster/engine.lua), with arguments that an
-- engine has checked. `done` is called before they return.
-- @classmod sync.cluster.store

local Engine = require "sync.cluster.engine"
local clock = require "sync.cluster.clock"

local SWEEP = 8             -- keys that are looked at when one is written
local PIECE = 10000         -- values in a list for the next process, about
local OVERHEAD = 64         -- bytes that a key costs beside its own and its value's

local Store = {
  --- Keys and logs.
  maxKeys = 1000000,
  --- Bytes of all.
  maxBytes = 64 * 1024 * 1024,
  --- Whether logs of which there are too many make room for others, as a whole. Who reads one
  -- that isn't there is told "full" then, for as long as what was dropped would have been kept.
  drops = false,
  --- What tells the time.
  clock = clock,
}
Store.__index = Store

--- Does an operation by its name.
-- @tparam string name
-- @tparam[opt] function done
-- @param ... its arguments
function Store:ask(name, done, ...)
  local count = select("#", ...)
  local arguments = {...}
  arguments[count + 1] = done
  return self[name](self, unpack(arguments, 1, count + 1))
end

local function nothing() end

--- Makes an empty store.
-- @tparam[opt] table given `maxKeys`, `maxBytes`, `drops`, `clock`
function Store.new(given)
  local self = setmetatable({entries = {}, keys = 0, bytes = 0, swept = nil, dropped = 0}, Store)
  for name, value in pairs(given or {}) do self[name] = value end
  return self
end

local function drop(self, key)
  local entry = self.entries[key]
  if not entry then return false end
  if self.swept == key then self.swept = next(self.entries, key) end
  self.entries[key] = nil
  self.keys = self.keys - 1
  self.bytes = self.bytes - entry.size
  return true
end

-- The entry of a key that hasn't expired.
local function find(self, key)
  local entry = self.entries[key]
  if entry and entry.due and entry.due <= self.clock.now() then
    drop(self, key)
    return nil
  end
  return entry
end

-- Looks at a few keys, each time the next ones, and drops what has expired.
local function sweep(self)
  local time, key = self.clock.now(), self.swept
  for _ = 1, SWEEP do
    local following, entry = next(self.entries, key)
    key = following
    if not key then break end
    if entry.due and entry.due <= time then
      local before = key
      key = next(self.entries, before)
      self.swept = nil
      drop(self, before)
      if not key then break end
    end
  end
  self.swept = key
end

local function dueIn(self, seconds)
  return seconds and self.clock.now() + seconds or nil
end

-- Makes room for an entry of a size, in the place of the one that the key has. Returns what
-- is in the way.
local function refuse(self, key, size)
  local entry = find(self, key)
  if not entry and self.keys >= self.maxKeys then return "full" end
  if self.bytes - (entry and entry.size or 0) + size > self.maxBytes then return "full" end
end

local function put(self, key, value, seconds)
  sweep(self)
  local size = #key + #value + OVERHEAD
  local problem = refuse(self, key, size)
  if problem then return problem end
  drop(self, key)
  self.entries[key] = {value = value, size = size, due = dueIn(self, seconds)}
  self.keys = self.keys + 1
  self.bytes = self.bytes + size
end

local function valueOf(self, key)
  local entry = find(self, key)
  return entry and entry.value
end

function Store:get(key, done)
  (done or nothing)(valueOf(self, key))
end

function Store:set(key, value, seconds, done)
  local problem = put(self, key, value, seconds)
  if problem then (done or nothing)(nil, problem) else (done or nothing)(true) end
end

function Store:add(key, value, seconds, done)
  done = done or nothing
  if find(self, key) then return done(false) end
  local problem = put(self, key, value, seconds)
  if problem then done(nil, problem) else done(true) end
end

function Store:replace(key, old, new, seconds, done)
  done = done or nothing
  local value = valueOf(self, key)
  if value ~= old then return done(false, nil, value) end
  local problem = put(self, key, new, seconds)
  if problem then done(nil, problem) else done(true) end
end

function Store:increment(key, by, seconds, done)
  done = done or nothing
  local entry = find(self, key)
  local number = Engine.sum(entry and entry.value or "0", by)
  if not number then return done(nil, "not a number") end
  local due = entry and entry.due
  local problem = put(self, key, ("%.0f"):format(number), seconds)
  if problem then return done(nil, problem) end
  if not seconds then self.entries[key].due = due end
  done(number)
end

function Store:expire(key, seconds, done)
  local entry = find(self, key)
  if entry then entry.due = dueIn(self, seconds) end
  (done or nothing)(entry ~= nil)
end

function Store:remove(key, done)
  (done or nothing)(find(self, key) ~= nil and drop(self, key))
end

-- Logs are entries without a value.

local function packEntry(key, entry, seconds)
  if entry.value then return {key, seconds, entry.value} end
  local packed = {key, seconds, false, entry.first}
  for number = entry.first, entry.last do packed[#packed + 1] = entry.list[number] end
  return packed
end

--- Tells the next process all values and logs.
-- @tparam function visit called with lists of {key, seconds that it has left or false, value}, or
-- {key, seconds, false, number of the first entry, entries …}
function Store:pack(visit)
  local list, count, time = {}, 0, self.clock.now()
  for key, entry in pairs(self.entries) do
    if not entry.due or entry.due > time then
      list[#list + 1] = packEntry(key, entry, entry.due and entry.due - time)
      count = count + #list[#list]
    end
    if count >= PIECE then
      visit(list)
      list, count = {}, 0
    end
  end
  if list[1] then visit(list) end
end

local function unpackLog(self, packed)
  local key = packed[1]
  local entry = {size = #key + OVERHEAD, list = {}, first = packed[4], due = dueIn(self, packed[2])}
  entry.last = entry.first + #packed - 5
  for i = 5, #packed do
    entry.list[entry.first + i - 5] = packed[i]
    entry.size = entry.size + #packed[i] + OVERHEAD
  end
  drop(self, key)
  self.entries[key] = entry
  self.keys, self.bytes = self.keys + 1, self.bytes + entry.size
end

--- Takes one of these lists.
function Store:unpack(list)
  for _, packed in ipairs(list) do
    if packed[3] then put(self, packed[1], packed[3], packed[2]) else unpackLog(self, packed) end
  end
end

-- Drops one of the next logs, the largest, for one that has a key.
local function dropLog(self, key)
  local largest
  local following = self.swept
  for _ = 1, SWEEP do
    local entry
    following, entry = next(self.entries, following)
    if following and following ~= key and
      (not largest or entry.size > self.entries[largest].size) then
      largest = following
    end
  end
  self.swept = following
  if not largest then return end
  self.dropped = math.max(self.dropped, self.entries[largest].due or math.huge)
  drop(self, largest)
end

local function logOf(self, name, size)
  local key = "\0" .. name
  local entry = find(self, key)
  for _ = 1, self.drops and SWEEP or 0 do
    if not refuse(self, key, (entry and entry.size or #key + OVERHEAD) + size) then break end
    if entry and entry.first < entry.last then break end
    dropLog(self, key)
  end
  if not entry and not refuse(self, key, #key + OVERHEAD) then
    entry = {size = #key + OVERHEAD, list = {}, first = 1, last = 0}
    self.entries[key] = entry
    self.keys = self.keys + 1
    self.bytes = self.bytes + entry.size
  end
  return entry
end

local function dropFirst(self, entry)
  local size = #entry.list[entry.first] + OVERHEAD
  entry.list[entry.first] = nil
  entry.first = entry.first + 1
  entry.size = entry.size - size
  self.bytes = self.bytes - size
end

--- Adds to a log that keeps the newest `most` entries, for `seconds` after the last.
-- `done` gets the entry's id; ids are texts that sort as the entries.
function Store:append(name, bytes, most, seconds, done)
  done = done or nothing
  sweep(self)
  local size = #bytes + OVERHEAD
  local entry = logOf(self, name, size)
  while entry and entry.first <= entry.last and
    (entry.last - entry.first + 1 >= most or
    self.bytes + size > self.maxBytes) do
    dropFirst(self, entry)
  end
  if not entry or self.bytes + size > self.maxBytes then return done(nil, "full") end
  entry.last = entry.last + 1
  entry.list[entry.last] = bytes
  entry.size = entry.size + size
  self.bytes = self.bytes + size
  entry.due = dueIn(self, seconds)
  done(("%016d"):format(entry.last))
end

--- Gives at most `most` entries behind the id `after` to `done`: {id, bytes} each.
function Store:read(name, after, most, done)
  local list, entry = {}, find(self, "\0" .. name)
  if not entry and self.dropped > self.clock.now() then return (done or nothing)(nil, "full") end
  local from = math.max((tonumber(after) or 0) + 1, entry and entry.first or 1)
  for number = from, math.min(from + most - 1, entry and entry.last or 0) do
    list[#list + 1] = {id = ("%016d"):format(number), bytes = entry.list[number]}
  end
  (done or nothing)(list)
end

return Store
