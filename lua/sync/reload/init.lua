--- Reload: another version of the script takes the place of the one that runs, under its clients.
--
-- The script's lines run anew, and those of the modules of its folder. Meanwhile `sync.enable`
-- opens what is new and only notes what is open already, and `sync.start` ends the lines. Classes
-- are the tables that they were (lua/sync/versions.lua), so that nothing that has one needs to be
-- told. Up to the last `onReload` everything can be put back; then timers, signals and listeners of
-- the old version end.
-- @module sync.reload

local Class = require "sync.class"
local Protocol = require "sync.protocol"
local compiler = require "sync.jit"
local core = require "sync.core"
local drain = require "sync.drain"
local failure = require "sync.failure"
local log = require "sync.log"
local loop = require "sync.loop"
local source = require "sync.reload.source"
local task = require "sync.task"
local versions = require "sync.versions"

local now = core.C.sync_now

local reload = {}

local STARTED = {}     -- what the lines of a script end with
local server           -- what a reload has to do with the server: see `attach`
local attempt = false  -- the reload that is under way
local lastProblem      -- of the last one, nil where it has gone well
local elsewhere        -- who is asked, in place of this process alone
local before           -- the texts of the version before the one that runs

--- Hands over what belongs to the server.
-- @tparam table functions `listeners()`, `setListeners(list)`, `open(host, port, class, settings)`,
-- `setSignal(number, fn)`, and `added(classes)`, called with the classes that are served
function reload.attach(functions) server = functions end

--- Whether one is under way.
function reload.isUnderWay() return attempt and true or false end

-- The script's lines.

--- What `sync.start` does in a reload: the lines behind it are the first version's.
function reload.endLines()
  pcall(coroutine.yield) -- and never comes back; but not from within `require`
  error(STARTED, 0)
end

local function told(raised)
  if raised == STARTED then return raised end
  if type(raised) == "table" and raised.problem then return raised end
  return failure.trace(raised)
end

-- Fails without a traceback: the words say all.
local function refuse(problem) error({problem = problem}, 0) end

local function runLines(chunk)
  local function lines() return xpcall(chunk, told, unpack(arg)) end
  local thread = task.thread(lines)
  local _, ok, problem = coroutine.resume(thread)
  if coroutine.status(thread) == "suspended" or problem == STARTED then return end
  if not ok then error({problem = problem}, 0) end
  refuse "its lines have come to their end without sync.start()"
end

-- Listeners.

local function takesBytes(class) return class.onBytes and true or false end

local function matching(host, port, class, isExact)
  for _, listener in ipairs(attempt.listeners) do
    if listener.host == host and listener.asked == port and not listener.closed and
      not attempt.taken[listener] and (listener.class == class or not isExact) then
      return listener
    end
  end
end

--- What `sync.enable` opens in a reload: a listener that is open already, if there is one.
-- @treturn sync.Listener|nil or nil and what is wrong
function reload.listen(host, port, class, settings)
  local listener = matching(host, port, class, true) or matching(host, port, class, false)
  if not listener then
    local made, problem = server.open(host, port, class, settings)
    if made then attempt.made[#attempt.made + 1] = made end
    return made, problem
  end
  if listener.class ~= class and attempt.takesBytes[listener] ~= takesBytes(class) then
    return nil, ("%s serves %s so far; one of the two takes bytes (onBytes), and its clients " ..
      "can't: upgrade instead"):format(tostring(listener), listener.class.className)
  end
  attempt.taken[listener] = {class = listener.class, settings = listener.settings}
  attempt.pending[#attempt.pending + 1] = {listener = listener, class = class, settings = settings}
  return listener
end

local function renewListeners()
  while attempt.pending[1] do
    local each = table.remove(attempt.pending, 1)
    attempt.renewed[#attempt.renewed + 1] = each.listener
    local problem = each.listener:renew(each.class, each.settings)
    if problem then refuse(("%s: %s"):format(tostring(each.listener), problem)) end
  end
end

-- Those that the script has not enabled again are closed. What their clients go by is the class's.
local function closeOthers()
  for _, listener in ipairs(attempt.listeners) do
    if not attempt.taken[listener] and not listener.closed then
      if listener.isDeclared then
        listener:renew(listener.class, listener.settings)
        log.info(("%s listens no more on %s"):format(listener.class.className, tostring(listener)))
        listener:close()
      else -- a handler has opened it
        attempt.opened[#attempt.opened + 1] = listener
      end
    end
  end
end

-- Classes.

local function served(listeners)
  local classes = {}
  for _, listener in ipairs(listeners) do classes[listener.class] = true end
  return classes
end

local function previous(entry)
  local fields = {}
  for name, value in pairs(entry.before) do fields[name] = value end
  return setmetatable(fields, {__index = entry.class.super})
end

-- Tells a class what it was. One that nobody is served by only has to do with it if it says so.
local function tellClass(entry, isServed, wasServed)
  local class = entry.class
  if isServed and not (entry.before and wasServed) then return class:onStart() end
  if not entry.before or not isServed and Class.is(class, Protocol) then return end
  if type(class.onReload) == "function" then class:onReload(previous(entry)) end
end

local function tellClasses(version, were)
  for _, entry in ipairs(version.classes) do
    if entry.before then entry.class:_renewed(entry.before) end
  end
  local are = served(server.listeners())
  for _, entry in ipairs(version.classes) do
    tellClass(entry, are[entry.class], were[entry.class])
  end
end

-- Signals.

local function endSignals(old, version)
  for number in pairs(old.signals) do
    if not version.signals[number] then server.setSignal(number, nil) end
  end
end

local function restoreSignals(version)
  for number in pairs(version.signals) do server.setSignal(number, attempt.signals[number]) end
end

--- The version that loads runs from now on.
function reload.settle()
  versions.settle()
  source.settle()
end

-- An attempt.

local function name(number, hash) return ("version %d (%s)"):format(number, hash) end

local function begin(from, wanted)
  local old = versions.running()
  local listeners, taking, signals = server.listeners(), {}, {}
  for _, listener in ipairs(listeners) do taking[listener] = takesBytes(listener.class) end
  for number, fn in pairs(loop.signals) do signals[number] = fn end
  attempt = {listeners = listeners, takesBytes = taking, signals = signals, opened = {},
    taken = {}, pending = {}, renewed = {}, made = {}, names = compiler.forget(),
    texts = source.texts(), hash = source.hash(), were = served(listeners)}
  server.setListeners(attempt.opened)
  attempt.version = versions.begin(wanted or old.number + 1, true)
  local back, chunk, problem = source.renew(from)
  attempt.back = back
  return chunk, problem
end

local function try(chunk, problem)
  local version = attempt.version
  if not chunk then refuse(problem) end
  runLines(chunk)
  problem = version:problem()
  if problem then refuse(problem) end
  renewListeners()
  tellClasses(version, attempt.were)
  renewListeners() -- which onStart and onReload have enabled
end

local function finish(old)
  local version = attempt.version
  for timer in pairs(old.timers) do loop.stopTimer(timer) end
  endSignals(old, version)
  closeOthers()
  before = attempt.texts
  reload.settle()
  server.setListeners(attempt.opened)
  server.added(served(attempt.opened))
  for _, listener in ipairs(attempt.made) do
    log.info(("%s listens on %s"):format(listener.class.className, tostring(listener)))
  end
end

local function undo()
  local version = attempt.version
  for timer in pairs(version.timers) do loop.stopTimer(timer) end
  restoreSignals(version)
  for _, listener in ipairs(attempt.made) do listener:close() end
  versions.giveUp()
  attempt.back()
  compiler.forget(attempt.names)
  for _, listener in ipairs(attempt.renewed) do
    local was = attempt.taken[listener]
    local problem = listener:renew(was.class, was.settings)
    if problem then log.error(("%s: %s"):format(tostring(listener), problem)) end
  end
  server.setListeners(attempt.listeners)
end

-- Does it, in a turn of the loop of its own.
local function run(from, number)
  local old, began = versions.running(), now()
  local ok, problem = xpcall(try, told, begin(from, number))
  if ok then finish(old) else undo() end
  local wasHash = attempt.hash
  attempt = false
  if ok then
    log.info(("reloaded: %s, in place of %s, within %.0f ms"):format(name(versions.running().number,
      source.hash()), name(old.number, wasHash), (now() - began) * 1000))
    return true
  end
  problem = type(problem) == "table" and problem.problem or problem
  log.error(("the reload has failed, %s goes on: %s"):format(name(old.number, wasHash),
    tostring(problem)))
  return nil, tostring(problem)
end

-- Why there can be none, or nil.
local function obstacle(back)
  if not source.isThere() or not versions.running() then
    return "only a script that is a file, run by sync-lua, can be reloaded, once it has called " ..
      "sync.start()"
  elseif loop.isStopping() or drain.isOn() then
    return "the server stops"
  elseif back and not before then
    return "there is no version before this one"
  end
end

--- Reloads this process's script alone, behind what is handled now.
-- @tparam boolean back whether the version before is wanted, and not the files as they are
-- @tparam function done called with true, nil and the texts of the version's files, or with nil and
-- what is wrong
-- @tparam[opt] number number that the version gets
-- @tparam[opt] table texts of its files by path, which another process has loaded
function reload.here(back, done, number, texts)
  loop.startTimer(0, 0, function()
    local problem, ok = obstacle(back and not texts), nil
    if problem then
      log.error("the reload has failed: " .. problem)
    else
      ok, problem = run(texts or back and before or nil, number)
    end
    lastProblem = problem
    done(ok, problem, ok and source.texts())
  end)
end

--- The same for all workers, where this process is one.
function reload.begin(back, done)
  if not elsewhere then return reload.here(back, done) end
  elsewhere(back, function(ok, problem)
    lastProblem = problem
    done(ok, problem)
  end)
end

--- Has another asked, who asks all that belong together.
-- @tparam function ask called with `back` and `done`
function reload.leaveTo(ask) elsewhere = ask end

--- What was wrong with the last reload, or nil.
function reload.problem() return lastProblem end

--- Whether there is a version before the one that runs.
function reload.canGoBack() return before ~= nil end

--- The version that runs has another number: others have been reloaded before this process began.
function reload.renumber(number)
  local version = versions.running()
  if version then version.number = number end
end

--- What runs.
-- @treturn number the version's number
-- @treturn string what tells its files from others', in hexadecimal
function reload.version()
  local version = versions.current()
  return version and version.number or 1, source.hash()
end

return reload
