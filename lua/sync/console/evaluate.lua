--- What is no command of the console: Lua, evaluated in the server, within a time. It may wait.
--
-- Names are `sync`, `print`, `client(id)`, the classes that are served, and the globals. Its own
-- loops end after a second; those of functions that it calls, where they are native code, don't.
-- @module sync.console.evaluate

local console = require "sync.console"
local core = require "sync.core"
local failure = require "sync.failure"
local reserved = require "sync.reserved"
local show = require "sync.console.show"
local task = require "sync.task"

local now = core.C.sync_now

local RUN_SECONDS, WAIT_SECONDS = 1, 10
local CHECK = 10000 -- instructions between looks at the clock

local evaluate = {}

local server -- see attach

--- Hands over what belongs to the server.
-- @tparam table functions `classes()`, `client(id)`, and `sync`
function evaluate.attach(functions) server = functions end

-- What it sees.
local function environment(context)
  local own = {sync = server.sync, client = server.client}
  function own.print(...)
    local words = {...}
    for i = 1, select("#", ...) do words[i] = tostring(words[i]) end
    context.out("%s", table.concat(words, "\t"))
  end
  return setmetatable(own, {__newindex = _G, __index = function(_, name)
    for _, class in ipairs(server.classes()) do
      if class.className == name then return class end
    end
    return _G[name]
  end})
end

-- A function that runs between waits, for so long.
local Evaluation = task.kind {}

-- Once the time is over an error is raised at each instruction that isn't this library's: a pcall
-- ends none of them.
local function bound(self)
  local function check()
    if now() < self.deadline then return end
    debug.sethook(check, "", 1)
    local info = debug.getinfo(2, "S")
    if not info or info.what == "C" or reserved.isOurs(info.source) then return end
    error(("it has run for %g s, and was ended"):format(RUN_SECONDS), 0)
  end
  return check
end

function Evaluation:enter()
  self.deadline = now() + RUN_SECONDS
  self.hook = {debug.gethook()}
  debug.sethook(bound(self), "", CHECK)
end

local function unhook(self) debug.sethook(unpack(self.hook)) end

function Evaluation:leave() unhook(self) end

function Evaluation:ended(...)
  unhook(self)
  self.tell(...)
end

local function tellAll(context, ...)
  for i = 1, select("#", ...) do context.out("%s", show((select(i, ...)))) end
end

-- At most three results are kept of a task, so they are told in it.
local function run(context, chunk)
  return task.await(function(resume)
    task.start(Evaluation, {tell = resume, limit = WAIT_SECONDS}, function()
      tellAll(context, chunk())
    end)
  end)
end

-- What is called in it is called by the line, and not by us: `return f()` would be a tail call,
-- whose error names who has called the line.
local function expression(text)
  return loadstring("return (function(...) return ... end)(" .. text .. "\n)", "=console")
end

--- Evaluates a line: an expression, or statements.
function evaluate.run(context, text)
  local chunk, problem = expression(text)
  if not chunk then chunk, problem = loadstring(text, "=console") end
  if not chunk then console.refuse("%s", problem) end
  setfenv(chunk, environment(context))
  jit.off(chunk, true) -- native code is asked no more whether its time is over
  local ok, caught = run(context, chunk)
  if not ok then console.refuse("%s", failure.describe(caught.raised)) end
end

console.addOther(evaluate.run)

return evaluate
