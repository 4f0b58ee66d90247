--- The console's command `memory`: what the process has, and Lua's objects by type and class,
-- counted in steps between which the server goes on. So the counts are of a while, not of a moment.
-- @module sync.console.memory

local console = require "sync.console"
local core = require "sync.core"
local task = require "sync.task"

local STEP = 5000          -- objects in a step
local MOST = 500 * 1000   -- objects: to note one takes memory, too
local SHOWN = 15

local function typeOf(value)
  local kind = type(value)
  local meta = kind == "table" and getmetatable(value)
  local name = type(meta) == "table" and rawget(meta, "className")
  return name and "instances of " .. tostring(name) or kind .. "s"
end

-- A walk over what can be reached. What it has seen it keeps, and lets go at its end.
local function visit(walk, value)
  local kind = type(value)
  if kind ~= "table" and kind ~= "function" and kind ~= "string" and kind ~= "userdata" and
    kind ~= "thread" and kind ~= "cdata" or walk.seen[value] then
    return
  end
  walk.seen[value] = true
  walk.count = walk.count + 1
  local name = typeOf(value)
  walk.counts[name] = (walk.counts[name] or 0) + 1
  if kind == "string" then
    walk.bytes = walk.bytes + #value
  elseif kind ~= "cdata" then
    walk.last = walk.last + 1
    walk[walk.last] = value
  end
end

local function expand(walk, value)
  local kind = type(value)
  if kind == "table" then
    for key, field in next, value do
      visit(walk, key)
      visit(walk, field)
    end
    visit(walk, debug.getmetatable(value))
  elseif kind == "function" then
    visit(walk, debug.getfenv(value))
    local i = 1
    while true do
      local name, upvalue = debug.getupvalue(value, i)
      if not name then break end
      visit(walk, upvalue)
      i = i + 1
    end
  end
end

local function step(walk)
  for _ = 1, STEP do
    if walk.last == 0 or walk.count >= MOST then return true end
    local value = walk[walk.last]
    walk[walk.last] = nil
    walk.last = walk.last - 1
    expand(walk, value)
  end
  return false
end

local function count(context)
  local walk = {seen = {}, counts = {}, count = 0, bytes = 0, last = 0}
  walk.seen[walk], walk.seen[walk.seen], walk.seen[walk.counts] = true, true, true
  visit(walk, debug.getregistry())
  while not step(walk) do
    if context.isGone() then return end
    task.sleep(0)
  end
  local rows = {}
  for name, number in pairs(walk.counts) do rows[#rows + 1] = {name = name, number = number} end
  table.sort(rows, function(a, b) return a.number > b.number end)
  for i = 1, math.min(SHOWN, #rows) do context.out("%12d  %s", rows[i].number, rows[i].name) end
  context.out("%12d  objects in all%s; strings have %.1f MiB", walk.count,
    walk.count >= MOST and ", and more, that were not counted" or "", walk.bytes / 2 ^ 20)
end

local function resident()
  local file = io.open "/proc/self/statm"
  local pages = file and tonumber((file:read "*l" or ""):match "^%d+ (%d+)")
  if file then file:close() end
  return (pages or 0) * 4096
end

console.add("memory", "", "memory, and Lua's objects by type and class", function(context)
  context.out("%12.1f  MiB, the process", resident() / 2 ^ 20)
  context.out("%12.1f  MiB, in use of the core and of Lua", core.C.sync_memory_used() / 2 ^ 20)
  context.out("%12.1f  MiB, of Lua's values", collectgarbage "count" / 1024)
  count(context)
end)
