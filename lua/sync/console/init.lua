--- The console: what those who run a server ask and tell it, by lines of words. Who says them comes
-- by the door (lua/sync/console/door.lua).
--
-- A line begins with a command's name; any other is evaluated as Lua. Commands are functions of a
-- context and the rest of the line. A context has `who` (`user` and `process`), `out(text)`, which
-- tells something, within a bound, and `isGone()`: nobody listens any more. Commands run as tasks,
-- so they may wait. Each line is in the log, with who has said it.
-- @module sync.console

local failure = require "sync.failure"
local log = require "sync.log"

local MOST_OUT = 256 * 1024 -- bytes that one line is answered by
local MOST_LINE = 1000      -- of a line, in the log

local console = {}

local commands, names = {}, {}
local prepare   -- what adds commands when the first line comes
local otherwise -- what a line that is no command is for

--- Adds a command.
-- @tparam string name
-- @tparam string usage what follows the name, "" for nothing
-- @tparam string help what it does, in a few words
-- @tparam function run called with the context and the rest of the line
function console.add(name, usage, help, run)
  if not commands[name] then names[#names + 1] = name end
  commands[name] = {usage = usage, help = help, run = run}
end

--- Has a function called when the first line comes: it adds commands.
function console.whenFirst(fn) prepare = fn end

--- Has lines that are no command handled by a function.
function console.addOther(run) otherwise = run end

--- Ends a command: its words say what is wrong.
function console.refuse(...) error({problem = string.format(...)}, 0) end

--- A number that a command wants.
-- @tparam string|nil text
-- @tparam number default what it is when it's left out
-- @tparam number most
function console.number(text, default, most)
  if text == nil or text == "" then return default end
  local number = tonumber(text)
  if not number or number ~= number or number <= 0 or number > most then
    console.refuse("%q must be a number above 0, and at most %d", text, most)
  end
  return number
end

-- Tells things within the bound.
local function bounded(out)
  local left, isCut = MOST_OUT, false
  return function(...)
    local text = string.format(...)
    if #text > left then
      if not isCut then out "… (there is more than is shown)" end
      left, isCut = 0, true
      return
    end
    left = left - #text
    out(text)
  end
end

local function told(raised)
  if type(raised) == "table" and raised.problem then return raised.problem end
  return failure.trace(raised)
end

local function dispatch(context, line)
  local name, rest = line:match "^(%S+)%s*(.-)%s*$"
  local command = commands[name]
  if command then return command.run(context, rest) end
  if not otherwise then console.refuse("there is no command %q; help lists them", name) end
  otherwise(context, line)
end

--- Does what a line says.
-- @tparam table context `who`, `out(text)` and `isGone()`
-- @tparam string line
-- @treturn boolean whether it was done
-- @treturn string|nil what is wrong
function console.run(context, line)
  if not line:find "%S" then return true end
  if prepare then prepare() end
  prepare = nil
  log.info("console: " .. line:sub(1, MOST_LINE), context.who)
  local own = {who = context.who, isGone = context.isGone, out = bounded(context.out)}
  local ok, problem = xpcall(dispatch, told, own, line)
  if ok then return true end
  return false, tostring(problem)
end

console.add("help", "", "lists the commands", function(context)
  table.sort(names)
  for _, name in ipairs(names) do
    local command = commands[name]
    context.out("%-34s %s", (name .. " " .. command.usage), command.help)
  end
  if otherwise then context.out("any other line is evaluated as Lua") end
end)

return console
