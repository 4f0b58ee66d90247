--- What LuaJIT's compiler says of each trace, for all who ask: the report of `sync.jit`, the
-- watchdog, and the script's own, as `-jv`.
--
-- LuaJIT calls one function for that, and takes the last one that was attached. So `jit.attach` is
-- wrapped: who attaches to "trace" is one of several.
--
-- Functions are called while a trace is recorded. They must not run compiled code, which loses
-- what is recorded: so `jit.off` for them, and for what they call.
-- @module sync.traces

local jit = require "jit"

local traces = {}

local attach = jit.attach
local listeners = {}

local function onTrace(...)
  for i = 1, #listeners do listeners[i](...) end
end
jit.off(onTrace)

local function indexOf(fn)
  for i = 1, #listeners do
    if listeners[i] == fn then return i end
  end
end

--- Calls a function for each trace that is begun, ended or given up, and when all are forgotten.
-- @tparam function fn called as jit.attach has it for "trace"
function traces.listen(fn)
  if not indexOf(fn) then listeners[#listeners + 1] = fn end
end

function jit.attach(fn, event)
  if event == "trace" then return traces.listen(fn) end
  local place = not event and indexOf(fn)
  if place then table.remove(listeners, place) end
  return attach(fn, event)
end

-- The functions that are attached, by LuaJIT's key of their events.
local function attached()
  return debug.getregistry()._VMEVENTS or {}
end

-- Takes the place of who was attached before this module was there.
local function begin()
  local before = {}
  for key, fn in pairs(attached()) do before[key] = fn end
  attach(onTrace, "trace")
  for key, fn in pairs(attached()) do
    if fn == onTrace then listeners[1] = before[key] end
  end
end

begin()

return traces
