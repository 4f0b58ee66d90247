--- The watchdog: says which handler keeps all others waiting, and where it is.
--
-- A thread (src/core/watchdog.c) sees that one event has been handled for a second, and sends
-- LuaJIT's profiler its signal. So this is called within the stuck handler, at the next bytecode
-- that is interpreted; see `sync.sampler`. When it isn't called, the handler hangs in C, and the
-- thread says so itself; or it is in compiled code, of which C was told where that begins.
-- @module sync.watchdog

local core = require "sync.core"
local log = require "sync.log"
local loop = require "sync.loop"
local reserved = require "sync.reserved"
local sampler = require "sync.sampler"

local C, handle = core.C, core.handle

local watchdog = {
  --- Seconds that a handler may take until it is told of; false: none is.
  seconds = 1,
  --- Seconds after which a handler is ended by an error; false: none is.
  handlerTimeout = core.worker and 10 or false,
}

local DEPTH = 40      -- of the stack that is looked at
local LEAST = 0.05    -- seconds
local LONGEST = 86400

local isListening = false

local LOOP = debug.getinfo(loop.run, "S").source:sub(2) .. ":"

-- The script's own places, innermost first. Below the loop is only what has started it.
local function scriptPlaces(stack)
  local places = {}
  for place in stack:gmatch("[^\n]+:%d+") do
    if place:sub(1, #LOOP) == LOOP then break end
    if not reserved.isOurs("@" .. place) then places[#places + 1] = place end
  end
  return places
end

-- Interpreted, and without a loop over pairs in what it calls: where a compiled one ends while the
-- profiler calls, LuaJIT of March 2022 repeats it for ever.
local function onSignal(thread)
  if C.sync_watchdog_asks(handle) == 0 then return end
  local found, places = pcall(scriptPlaces, sampler.stack(thread, DEPTH))
  if found then C.sync_watchdog_tell(handle, table.concat(places, "\n")) end
end

for _, fn in ipairs {scriptPlaces, onSignal} do jit.off(fn, true) end

-- A profiler of somebody else's stays: `sync-lua -jp`, or the script's own.
local function listen()
  if isListening or C.sync_is_profiled() ~= 0 and not sampler.isOn() then return end
  isListening = true
  sampler.onSignal(watchdog.handlerTimeout ~= false, onSignal)
end

local function parse(option, value)
  local seconds = tonumber(value)
  if value == "off" then return false end
  if seconds and seconds >= LEAST and seconds <= LONGEST then return seconds end
  return nil, ("%s takes seconds from %g to %d, or off, not %q"):format(option, LEAST, LONGEST,
    value)
end

local FIELDS = {["--watchdog"] = "seconds", ["--handler-timeout"] = "handlerTimeout"}

--- Sets how long a handler may take until it is named, or ended, from the command line.
-- @tparam string option "--watchdog" or "--handler-timeout"
-- @tparam string value seconds, or "off"
-- @treturn boolean true, or nil and a message
function watchdog.configure(option, value)
  local seconds, problem = parse(option, value)
  if problem then return nil, problem end
  watchdog[FIELDS[option]] = seconds
  return true
end

-- Anchored: LuaJIT is reached by it from C.
local state = coroutine.create(listen)

C.sync_watchdog_own(reserved.root)

--- Watches the loop from now on.
function watchdog.start()
  local limit, ending = watchdog.seconds, watchdog.handlerTimeout
  if not limit then return end
  listen()
  local code, problem = core.startWatchdog {
    limit = math.min(limit, ending or limit) * 1000,
    ending = (ending or 0) * 1000,
    json = log.format == "json" and 1 or 0,
    lua = tonumber((("%p"):format(state))),
  }
  if code < 0 then
    log.warn("the watchdog can't watch: " .. select(2, core.problem(code)))
  elseif problem ~= "" then
    log.warn("the watchdog can't end handlers: " .. problem)
  end
end

--- Ends that.
function watchdog.stop()
  C.sync_watchdog_stop(handle)
end

return watchdog
