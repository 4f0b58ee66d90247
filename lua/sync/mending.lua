--- Mends machine code that LuaJIT has made wrongly, before it runs: see src/core/mend.h.
-- @module sync.mending

local core = require "sync.core"
local traces = require "sync.traces"
local util = require "jit.util"

local C = core.C

local mending = {
  --- How many places were mended.
  count = 0,
}

-- Code that can't be mended must not run: nothing is compiled any more.
local function onTrace(what, trace)
  if what ~= "stop" then return end
  local code, address = util.tracemc(trace)
  local count = C.sync_mend(address, #code)
  if count >= 0 then
    mending.count = mending.count + count
    return
  end
  jit.off()
  jit.flush()
  require "sync.log".warn("code that LuaJIT has made wrongly can't be mended (" ..
    select(2, core.problem(count)) .. "): everything is interpreted from now on")
end
jit.off(onTrace)

-- What was compiled before.
local function begin()
  local trace = 1
  while util.traceinfo(trace) do
    onTrace("stop", trace)
    trace = trace + 1
  end
  traces.listen(onTrace)
end

begin()

return mending
