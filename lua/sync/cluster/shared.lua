--- State that an application shares between all its processes: `sync.shared`.
--
--     local scores = sync.shared("scores")
--     scores:increment("ann", 10, function(total, err) … end)
--
-- The state is kept by what links the nodes: Redis, NATS' JetStream, or the parent of workers; in
-- a single process by its memory. Answers come later, in each case: to a function, or, inside
-- `sync.spawn`, as the call's results.
--
-- Values come back as they were (see lua/sync/packed.lua), in at most 64 KiB; a key has at most 150
-- bytes. Each call is atomic, whoever else calls.
--
-- **Errors** are tables with `code` and `message`: "away" (no connection to the engine),
-- "timeout" (no answer in 5 s; what was to be done may have been), "busy" (10,000 calls wait),
-- "full" (the memory's bound), "too long", "not a number", "failed" (the engine's own words).
-- @classmod sync.cluster.shared

local Class = require "sync.class"
local Engine = require "sync.cluster.engine"
local task = require "sync.task"
local values = require "sync.cluster.values"

local MOST_VALUE = Engine.MOST_VALUE
local MOST_KEY = 150

local Shared = Class:extend("Shared")

local MESSAGES = {
  away = "there is no connection to the engine",
  timeout = "the engine did not answer in time",
  busy = "too many calls wait for the engine",
  full = "there is no room left",
  ["too long"] = "it is too long",
  ["not a number"] = "the value is no whole number",
}

local Failure = {}
Failure.__index = Failure
function Failure:__tostring() return ("%s (%s)"):format(self.message, self.code) end

local function failure(problem)
  local code = MESSAGES[problem] and problem or "failed"
  return setmetatable({code = code, message = MESSAGES[problem] or problem}, Failure)
end

-- Equal values are equal texts, which are compared.
local function toText(value, what)
  local text, problem = values.encode(value, true)
  if not text then error(("%s: it can't be shared: %s"):format(what, problem), 3) end
  if #text > MOST_VALUE then
    error(("%s: the value is longer than %d bytes"):format(what, MOST_VALUE), 3)
  end
  return text
end

local function toValue(text)
  if text == nil then return nil end
  return values.read(text) -- what another program has put there may be nothing of ours
end

-- Calls a function of the engine. `done` gets what it gives, or nil and an error.
local function ask(self, name, key, read, done, ...)
  if type(key) ~= "string" or key == "" or #key > MOST_KEY then
    error(("%s(key, …): the key must be a string of 1 to %d bytes"):format(name, MOST_KEY), 3)
  end
  local arguments, count = {...}, select("#", ...)
  local function start(tell)
    local target = self.engine()
    arguments[count + 1] = tell and function(value, problem, more)
      if problem then return tell(nil, failure(problem)) end
      tell(read(value, more))
    end
    target[name](target, "v/" .. self.name .. "/" .. key, unpack(arguments, 1, count + 1))
  end
  if done then return start(done) end
  if task.isInside() then return task.await(start) end
  start(nil)
end

local function same(value) return value end

local function checkDone(done, what)
  if done ~= nil and type(done) ~= "function" then
    error(("%s: the last argument must be a function, not %s"):format(what, type(done)), 3)
  end
end

local function secondsOf(options, what)
  local seconds = options and options.expire
  if options ~= nil and type(options) ~= "table" then
    error(what .. ": options must be a table", 3)
  end
  if seconds ~= nil and not (type(seconds) == "number" and seconds > 0) then
    error(what .. ": expire must be a number of seconds above 0", 3)
  end
  return seconds
end

--- Makes `sync.shared`.
-- @tparam function engine returns what keeps the values
-- @treturn function
function Shared.opener(engine)
  --- The shared values of a name.
  -- @function sync.shared
  -- @tparam string name 1 to 40 bytes without a slash
  -- @treturn sync.Shared
  return function(name)
    if type(name) ~= "string" or name == "" or #name > 40 or name:find("/", 1, true) then
      error("sync.shared(name): the name must be a string of 1 to 40 bytes without a slash", 2)
    end
    return Shared:new {name = name, engine = engine}
  end
end

--- The value of a key, nil when it has none.
-- @tparam string key
-- @tparam[opt] function done called with the value, or nil and an error
function Shared:get(key, done)
  checkDone(done, "get(key, done)")
  if not done and not task.isInside() then
    error("get(key, done): call it inside sync.spawn(function() … end), or give it a function " ..
      "that gets the value", 2)
  end
  return ask(self, "get", key, toValue, done)
end

--- Sets a value; nil removes it.
-- @tparam string key
-- @param value
-- @tparam[opt] table options `expire`: seconds until it vanishes
-- @tparam[opt] function done called with true, or nil and an error
function Shared:set(key, value, options, done)
  checkDone(done, "set(key, value, options, done)")
  if value == nil then return self:remove(key, done) end
  local seconds = secondsOf(options, "set(key, value, options, done)")
  return ask(self, "set", key, same, done, toText(value, "set(key, value)"), seconds)
end

--- Adds to a whole number; a value that is absent is 0.
-- @tparam string key
-- @tparam[opt=1] number by a whole number, which may be negative
-- @tparam[opt] function done called with the new value, or nil and an error
function Shared:increment(key, by, done)
  by = by == nil and 1 or by
  checkDone(done, "increment(key, by, done)")
  if type(by) ~= "number" or by % 1 ~= 0 or math.abs(by) > 2 ^ 53 then
    error("increment(key, by, done): by must be a whole number", 2)
  end
  return ask(self, "increment", key, same, done, by, nil)
end

--- Sets a value if the value that is there is the one that you think.
-- @tparam string key
-- @param old the value that the key must have; nil: none
-- @param new
-- @tparam[opt] function done called with true, or with false and the value that is there, or with
-- nil and an error
function Shared:compareAndSet(key, old, new, done)
  local what = "compareAndSet(key, old, new, done)"
  checkDone(done, what)
  if new == nil then error(what .. ": new must not be nil", 2) end
  local before = old ~= nil and toText(old, what) or nil
  return ask(self, "replace", key, function(isDone, current)
    if isDone then return true end
    return false, toValue(current)
  end, done, before, toText(new, what), nil)
end

--- Lets a value vanish after a time.
-- @tparam string key
-- @tparam number seconds
-- @tparam[opt] function done called with whether there is such a value, or nil and an error
function Shared:expire(key, seconds, done)
  checkDone(done, "expire(key, seconds, done)")
  if type(seconds) ~= "number" or seconds ~= seconds or seconds <= 0 then
    error("expire(key, seconds, done): seconds must be a number above 0", 2)
  end
  return ask(self, "expire", key, same, done, seconds)
end

--- Removes a value.
-- @tparam string key
-- @tparam[opt] function done called with whether there was one, or nil and an error
function Shared:remove(key, done)
  checkDone(done, "remove(key, done)")
  return ask(self, "remove", key, same, done)
end

return Shared
