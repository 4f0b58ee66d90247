--- What LuaJIT's compiler says of each trace, for all who ask: the report of `sync.jit`, and the
-- script's own, as `-jv`.
--
-- LuaJIT calls one function for that, and takes the last one that was attached. So `jit.attach` is
-- wrapped: who attaches to "trace" is one of several.
--
-- Functions are called while a trace is recorded. They must not run compiled code, which loses
-- what is recorded: so `jit.off` for them, and for what they call.
--
-- They are called on the stack of what runs. When a recursion without an end has left no room
-- there, sync-lua calls nobody any more (src/host/events.c); `luajit` may hang or die. So nobody
-- listens unless somebody has asked for what needs it.
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
  if indexOf(fn) then return end
  if #listeners == 0 then attach(onTrace, "trace") end
  listeners[#listeners + 1] = fn
end

local function drop(fn)
  local place = indexOf(fn)
  if not place then return end
  table.remove(listeners, place)
  if #listeners == 0 then attach(onTrace) end
end

-- The functions that are attached, by LuaJIT's key of their events.
local function attached()
  return debug.getregistry()._VMEVENTS or {}
end

--- Whether there are functions that are called no more, because a recursion left no room for that.
function traces.isLost() return #listeners > 0 and next(attached()) == nil end

function jit.attach(fn, event)
  if event == "trace" then return traces.listen(fn) end
  if not event then drop(fn) end
  return attach(fn, event)
end

-- Takes the place of who was attached before this module was there.
local function begin()
  local before = {}
  for key, fn in pairs(attached()) do before[key] = fn end
  attach(onTrace, "trace")
  for key, fn in pairs(attached()) do
    if fn == onTrace then listeners[1] = before[key] end
  end
  if #listeners == 0 then attach(onTrace) end
end

begin()

return traces
