--- LuaJIT's profiler, of which a process has one, for all who ask what runs: the report of
-- `sync.jit`, and the watchdog.
--
-- The profiler calls a function at the next bytecode that is interpreted. Compiled code looks
-- whether one is wanted only where it was made to, at each line: that costs up to a quarter of a
-- loop of arithmetic. So nothing asks for that unless somebody has chosen what needs it.
-- @module sync.sampler

local profile = require "jit.profile"

local sampler = {}

local NEVER = 1000000000 -- ms of the processor's time

local isOn = false
local isCompiledIn = false -- compiled code looks, too
local interval = NEVER
-- Tables of `fn`, which is called with a thread, the samples, and the state of the machine; and of
-- what that wants: `inCompiled` and `ms`.
local listeners = {}

local function onSample(thread, count, state)
  for i = 1, #listeners do listeners[i].fn(thread, count, state) end
end
jit.off(onSample)

-- What all together want. Starting the profiler so that compiled code looks forgets what was
-- compiled, so it is done only for what changes.
local function renew()
  local inCompiled, ms = false, NEVER
  for _, each in ipairs(listeners) do
    inCompiled = inCompiled or each.inCompiled
    ms = math.min(ms, each.ms)
  end
  local wanted = #listeners > 0
  if wanted == isOn and inCompiled == isCompiledIn and ms == interval then return end
  isOn, isCompiledIn, interval = wanted, inCompiled, ms
  if not wanted then return profile.stop() end
  profile.start(("%si%d"):format(inCompiled and "l" or "", interval), onSample)
end

local function add(fn, inCompiled, ms)
  listeners[#listeners + 1] = {fn = fn, inCompiled = inCompiled, ms = ms}
  renew()
end

--- Calls a function again and again, every so many milliseconds of the processor's time. No error
-- may leave it.
-- @tparam number ms
-- @tparam function fn called with the thread that runs, how many samples it stands for, and the
-- state of the virtual machine as `jit.profile` has it
function sampler.sample(ms, fn)
  add(fn, true, ms)
end

--- Calls a function no more that `sample` was given.
function sampler.drop(fn)
  for i, each in ipairs(listeners) do
    if each.fn == fn then
      table.remove(listeners, i)
      return renew()
    end
  end
end

--- Calls a function when somebody else sends the profiler's signal. It must find out itself whether
-- that is so, for it is called for samples, too. No error may leave it.
-- @tparam boolean inCompiled at each line of compiled code, too
-- @tparam function fn
function sampler.onSignal(inCompiled, fn)
  add(fn, inCompiled, NEVER)
end

--- Whether the profiler is this module's.
-- @treturn boolean
function sampler.isOn()
  return isOn
end

--- The places where a thread is, innermost first.
-- @tparam thread thread
-- @tparam number depth
-- @treturn string lines of "file:line"
function sampler.stack(thread, depth)
  return profile.dumpstack(thread, "pl\n", depth)
end

return sampler
