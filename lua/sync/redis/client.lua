--- Redis for applications: what `sync.redis(url)` returns.
--
--     local db = sync.redis "redis://localhost"
--     db:set("best", 10)
--     local best = db:get "best"                     -- "10"
--     local left = db:command("HINCRBY", "stock", "sword", -1)
--
-- Each command of Redis is a method of its name, in small letters, or the first argument of
-- `command`. Each call waits, so it belongs in a function that may: `sync.spawn`. Many tasks share
-- one connection: their commands go out in the order of their calls, and none waits for the answer
-- of another. Blocking commands have a connection of their own while they wait.
--
-- **Values.** Arguments are strings, numbers and 64-bit integers. An answer is a string (any
-- bytes), a number (a 64-bit integer beyond 2^53), nil, or a list of these, whose `n` says how many
-- it holds; `hgetall` and `config("GET", …)` make tables by names.
--
-- **Failures are raised**: tables with `code`, `message` and Redis' own code in `native`.
-- @classmod sync.redis.client

local Call = require "sync.redis.call"
local Leases = require "sync.redis.leases"
local Line = require "sync.redis.line"
local Subscriptions = require "sync.redis.subscriptions"
local commands = require "sync.redis.commands"
local failures = require "sync.redis.failures"
local hiredis = require "sync.redis.hiredis"
local task = require "sync.task"

local command = hiredis.command

local Client, Session, Collector = {}, {}, {}

local MOST_COLLECTED = 10000 -- commands of a pipeline or a MULTI

local function misuse(...)
  error(failures.new("misuse", (...):format(select(2, ...))), 0)
end

-- Commands as methods: made when they are first used.
local function commandMethods(class, method)
  return setmetatable(class, {__index = function(_, name)
    if type(name) ~= "string" or not name:find "^%l[%l%d_]*$" then return nil end
    local word = name:upper()
    local function call(self, ...) return method(self, word, ...) end
    rawset(class, name, call)
    return call
  end})
end

-- The answer of a call of one command; the last of two counts.
local function only(call, name, first)
  local answer = call.answers[call.count]
  if failures.is(answer) then error(answer, 0) end
  return commands.read(answer, name, first)
end

local function named(name, call)
  if type(name) ~= "string" or name == "" then
    misuse("%s(name, …): name must be a command's, not %s", call, type(name))
  end
  return name:upper()
end

-- Collecting.

--- Takes a command into what is sent together.
function Collector:command(name, ...)
  name = named(name, "command")
  commands.check(name, (...), self.isAlone)
  if not self.isMulti and commands.blocks(name, ...) and not self.isAlone then
    misuse("%s in a pipeline would block all who share the connection", name)
  end
  local count = self.count + 1
  if count > MOST_COLLECTED then misuse("at most %d commands go together", MOST_COLLECTED) end
  local text = commands.write(name, ...)
  self.bytes = self.bytes + #text
  if self.bytes > self.most then misuse("commands that go together are too long") end
  self.count, self.texts[count], self.names[count], self.firsts[count] = count, text, name, (...)
end

Collector.__index = commandMethods(Collector, Collector.command)

-- The commands that a function makes.
local function collect(owner, fn, isMulti, isAlone)
  if type(fn) ~= "function" then misuse("fn must be a function, not %s", type(fn)) end
  local collector = setmetatable({count = 0, bytes = 0, texts = {}, names = {}, firsts = {},
    isMulti = isMulti, isAlone = isAlone, most = owner.options.maxBuffer}, Collector)
  fn(collector)
  return collector
end

-- What the commands have answered, as a list. Those that fail don't keep Redis from doing others:
-- the first failure is raised, with all answers beside it.
local function results(collector, answers, offset)
  local list, failed = {n = collector.count}, nil
  for i = 1, collector.count do
    local answer = answers[offset + i]
    if failures.is(answer) then failed = failed or {answer = answer, place = i} end
    list[i] = commands.read(answer, collector.names[i], collector.firsts[i])
  end
  if not failed then return list end
  local failure = failures.new(failed.answer.code, ("command %d (%s): %s"):format(failed.place,
    collector.names[failed.place], failed.answer.message), failed.answer.native)
  failure.results = list
  error(failure, 0)
end

-- The answers of MULTI, of each command ("QUEUED"), and of EXEC.
local function resultsOfMulti(collector, answers)
  local last = answers[collector.count + 2]
  if not failures.is(last) and last ~= nil then return results(collector, last, 0) end
  for i = 2, collector.count + 1 do
    local answer = answers[i]
    if failures.is(answer) then
      error(failures.new(answer.code, ("command %d (%s): %s; nothing was done"):format(i - 1,
        collector.names[i - 1], answer.message), answer.native), 0)
    end
  end
  if last then error(last, 0) end
  error(failures.new("conflict", "what was watched has changed; nothing was done"), 0)
end

local MULTI, EXEC, UNWATCH = command "MULTI", command "EXEC", command "UNWATCH"

-- The calls that a client and a session have.
local function calls(class, isAlone, prefix)
  local any, pipeline, multi = prefix .. ":command", prefix .. ":pipeline", prefix .. ":multi"

  --- Executes a command.
  -- @tparam string name
  -- @param ... its arguments
  -- @return its answer
  -- @raise failures
  function class:command(name, ...)
    task.needed(any, 2)
    name = named(name, any)
    commands.check(name, (...), isAlone)
    local call = self:execute(commands.write(name, ...), 1, commands.blocks(name, ...))
    return only(call, name, (...))
  end

  --- Sends commands together, without waiting for each one's answer.
  -- @tparam function fn gets what has the commands as methods; they return nothing
  -- @treturn table the answers in order, and how many in `n`
  -- @raise the first failure, with the answers in `results`
  function class:pipeline(fn)
    task.needed(pipeline, 2)
    local collector = collect(self, fn, false, isAlone)
    if collector.count == 0 then return {n = 0} end
    local call = self:execute(table.concat(collector.texts), collector.count)
    return results(collector, call.answers, 0)
  end

  --- The same as one unit (MULTI and EXEC): no other command comes in between, and if Redis
  -- refuses one, none is carried out. One that fails when it is carried out keeps no other from
  -- that.
  -- @raise also "conflict" in `watch`, when somebody has changed what is watched
  function class:multi(fn)
    task.needed(multi, 2)
    local collector = collect(self, fn, true, isAlone)
    if collector.count == 0 then return {n = 0} end
    self.isWatching = false -- EXEC ends that, whatever it answers
    local call = self:execute(MULTI .. table.concat(collector.texts) .. EXEC, collector.count + 2)
    return resultsOfMulti(collector, call.answers)
  end

  class.__index = commandMethods(class, class.command)
end

calls(Client, false, "db")
calls(Session, true, "tx")

-- Sends a text that has so many answers, and waits for them.
function Client:execute(text, count, block)
  if not block then
    local call = Call.new(text, count, self.options.timeout, self.expired)
    self.line:execute(call)
    return call
  end
  return self.leases:with(function(connection)
    return self:executeOn(connection, text, count, block)
  end)
end

-- The same by a connection that is leased; `block`, as commands.blocks says.
function Client:executeOn(connection, text, count, block)
  local seconds = self.options.timeout
  if block then seconds = block > 0 and block + seconds or nil end
  local call = Call.new(text, count, seconds, self.leases.late)
  self.leases:execute(connection, call)
  return call
end

function Session:execute(text, count, block)
  if self.isEnded then misuse("tx: its function has returned") end
  return self.client:executeOn(self.connection, text, count, block)
end

-- Gives up what is watched still, unless the connection ends.
local function endSession(session, connection, ok, ...)
  session.isEnded = true
  if connection.state == "ready" and connection:isQuiet() and session.isWatching then
    local done, problem = pcall(session.client.executeOn, session.client, connection, UNWATCH, 1)
    if not done and not failures.is(problem) then error(problem, 0) end -- its task was told to end
  end
  if not ok then error((...), 0) end
  return ...
end

--- Watches keys, and calls a function that may read, and then write by `tx:multi`: nothing of that
-- is done, and the failure "conflict" is raised, when somebody has changed one of the keys
-- meanwhile. It isn't begun anew by itself.
--
--     db:watch("stock", function(tx)
--       local left = tonumber(tx:get "stock")
--       if left < 1 then return false end
--       return tx:multi(function(unit) unit:decr "stock" end)
--     end)
--
-- @tparam string ... keys
-- @tparam function fn gets `tx`, with the commands as methods, `command`, `pipeline`, `multi`
-- @return what fn returns
function Client:watch(...)
  task.needed("db:watch", 2)
  local count = select("#", ...)
  local fn = select(count, ...)
  if count < 2 or type(fn) ~= "function" then
    misuse("db:watch(key, …, fn): keys, and last a function")
  end
  local words = {...}
  words[count] = nil
  local text = commands.write("WATCH", unpack(words, 1, count - 1))
  return self.leases:with(function(connection)
    only(self:executeOn(connection, text, 1), "WATCH")
    local session = setmetatable({client = self, connection = connection, options = self.options,
      isEnded = false, isWatching = true}, Session)
    return endSession(session, connection, pcall(fn, session))
  end)
end

local function subscribe(self, call, name, fn, isPattern)
  task.needed(call, 3)
  if type(name) ~= "string" or type(fn) ~= "function" then
    misuse("%s(name, fn): name must be a string and fn a function", call)
  end
  return self.subscriptions:add(name, fn, isPattern)
end

--- Calls a function with each message that is published in a channel; waits until Redis has
-- confirmed that.
-- @tparam string channel
-- @tparam function fn called with the message and the channel
-- @treturn sync.redis.subscriptions with `close`
function Client:subscribe(channel, fn)
  return subscribe(self, "db:subscribe", channel, fn, false)
end

--- The same for all channels that fit a pattern.
function Client:psubscribe(pattern, fn)
  return subscribe(self, "db:psubscribe", pattern, fn, true)
end

--- Closes it: what waits fails with "closed".
function Client:close()
  if self.isClosed then return end
  self.isClosed = true
  self.line:close()
  self.leases:close()
  self.subscriptions:close()
end

function Client:__tostring()
  return "Redis at " .. self.line.name
end

local client = {}

--- @tparam table place what sync.redis.url has read
-- @tparam table options of sync.redis
-- @treturn Client|nil or nil and a message
function client.open(place, options)
  local line, problem = Line.open(place, options)
  if not line then return nil, problem end
  return setmetatable({options = options, line = line, leases = Leases.open(place, options),
    subscriptions = Subscriptions.open(place, options), isClosed = false,
    expired = function(call) line:expired(call) end}, Client)
end

return client
