--- LuaJIT's profiler, of which a process has one, for all who ask what runs: the report of
-- `sync.jit`, and the watchdog.
--
-- The profiler calls a function at the next bytecode that is interpreted. Compiled code looks
-- whether one is wanted as well: with precision "f" where it goes from one function to another, and
-- with "l" at each line. The first costs next to nothing; the second up to a quarter of a loop of
-- arithmetic. So nothing asks for lines unless somebody has chosen what needs them.
-- @module sync.sampler

local profile = require "jit.profile"

local sampler = {}

local NEVER = 1000000000 -- ms of the processor's time
local RANKS = {f = 1, l = 2}

local precision          -- of what runs now, nil for nothing
local interval = NEVER
-- Tables of `fn`, which is called with a thread, the samples, and the state of the machine; and of
-- what that wants: `precision` and `ms`.
local listeners = {}

local function onSample(thread, count, state)
  for i = 1, #listeners do listeners[i].fn(thread, count, state) end
end
jit.off(onSample)

-- What all together want. Starting the profiler anew forgets compiled code, so it is done only for
-- what changes.
local function renew()
  local wanted, ms = nil, NEVER
  for _, each in ipairs(listeners) do
    if not wanted or RANKS[each.precision] > RANKS[wanted] then wanted = each.precision end
    ms = math.min(ms, each.ms)
  end
  if wanted == precision and ms == interval then return end
  precision, interval = wanted, ms
  if not wanted then return profile.stop() end
  profile.start(("%si%d"):format(precision, interval), onSample)
end

local function add(fn, wanted, ms)
  listeners[#listeners + 1] = {fn = fn, precision = wanted, ms = ms}
  renew()
end

--- Calls a function again and again, every so many milliseconds of the processor's time. No error
-- may leave it.
-- @tparam number ms
-- @tparam function fn called with the thread that runs, how many samples it stands for, and the
-- state of the virtual machine as `jit.profile` has it
function sampler.sample(ms, fn)
  add(fn, "l", ms)
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
-- @tparam string wanted "f": where a function is entered or left, or "l": at each line
-- @tparam function fn
function sampler.onSignal(wanted, fn)
  add(fn, wanted, NEVER)
end

--- Whether the profiler is this module's.
-- @treturn boolean
function sampler.isOn()
  return precision ~= nil
end

--- The places where a thread is, innermost first.
-- @tparam thread thread
-- @tparam number depth
-- @treturn string lines of "file:line"
function sampler.stack(thread, depth)
  return profile.dumpstack(thread, "pl\n", depth)
end

return sampler
