--- The console's commands `profile` and `handlers`: where the processor's time goes.
-- @module sync.console.profile

local compiler = require "sync.jit"
local console = require "sync.console"
local core = require "sync.core"
local sampler = require "sync.sampler"
local task = require "sync.task"

local now = core.C.sync_now

local SECONDS, MOST_SECONDS = 10, 60
local SAMPLE_MS, DEPTH = 5, 1
local SHOWN, MOST_PLACES = 25, 10000

local STATES = {N = "native code", I = "interpreted", C = "C", G = "the collector",
  J = "the compiler"}

-- Where, of a stack, and how it runs. Places are lines of sources, so there are not many; what
-- comes beyond the bound is one.
local function note(seen, thread, count, state)
  local place = sampler.stack(thread, DEPTH):match "^[^\n]*" or "?"
  if not seen.places[place] then
    seen.kinds = seen.kinds + 1
    if seen.kinds > MOST_PLACES then place = "elsewhere" end
  end
  seen.places[place] = (seen.places[place] or 0) + count
  seen.states[state] = (seen.states[state] or 0) + count
  seen.total = seen.total + count
end

local function sample(context, seconds)
  local seen = {places = {}, states = {}, kinds = 0, total = 0}
  local function onSample(thread, count, state) note(seen, thread, count, state) end
  local ends = now() + seconds
  sampler.sample(SAMPLE_MS, onSample)
  local ok, problem = pcall(function()
    while now() < ends and not context.isGone() do task.sleep(0.05) end
  end)
  sampler.drop(onSample)
  if not ok then error(problem, 0) end
  return seen
end

local function tell(context, counts, total, names, most)
  local rows = {}
  for key, count in pairs(counts) do rows[#rows + 1] = {count, names[key] or key} end
  table.sort(rows, function(a, b)
    if a[1] ~= b[1] then return a[1] > b[1] end
    return a[2] < b[2]
  end)
  for i = 1, math.min(most, #rows) do
    context.out("%5.1f %%  %s", 100 * rows[i][1] / total, rows[i][2])
  end
end

console.add("profile", "[SECONDS]", "where the processor's time goes", function(context, rest)
  local seconds = console.number(rest, SECONDS, MOST_SECONDS)
  local seen = sample(context, seconds)
  context.out("%.2f s of the processor in %g s", seen.total * SAMPLE_MS / 1000, seconds)
  if seen.total == 0 then return end
  tell(context, seen.states, seen.total, STATES, SHOWN)
  context.out ""
  tell(context, seen.places, seen.total, {}, SHOWN)
end)

console.add("handlers", "", "handlers, those first that take most time", function(context)
  local list = compiler.report()
  table.sort(list, function(a, b)
    if a.seconds ~= b.seconds then return a.seconds > b.seconds end
    return a.name < b.name
  end)
  for _, entry in ipairs(list) do
    context.out("%9.3f s  %s  %s  [%s]", entry.seconds, entry.name, entry.state, entry.where)
  end
  if not compiler.isWatched() then
    context.out("nobody samples the handlers: --jit-report and the panel do; profile shows lines")
  end
end)
