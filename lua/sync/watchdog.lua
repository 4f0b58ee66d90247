--- The watchdog: says which handler keeps all others waiting, and where it is.
--
-- A thread (src/core/watchdog.c) sees that one event has been handled for a second, and sends
-- LuaJIT's profiler its signal. So this is called within the stuck handler, at the next bytecode
-- that is interpreted, or that compiled code lets it be seen at; see `sync.sampler`. When it isn't
-- called, the handler hangs in C, and the thread says so itself.
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

local function report(thread, seconds)
  local what, client = loop.handled()
  local places = scriptPlaces(sampler.stack(thread, DEPTH))
  local fields = {client = client and client.id, address = client and client.address}
  if places[2] then
    fields.traceback = "stack traceback:\n\t" .. table.concat(places, "\n\t")
  end
  log.error(("a handler is stuck, nobody is served: %s has not ended for %.1f s%s"):format(what,
    seconds, places[1] and ", at " .. places[1] or ""), fields)
  C.sync_watchdog_told(handle)
end

local function onSignal(thread)
  local seconds = C.sync_watchdog_asks(handle)
  if seconds > 0 then pcall(report, thread, seconds) end
end

-- A profiler of somebody else's stays: `sync-lua -jp`, or the script's own.
local function listen()
  if isListening or C.sync_is_profiled() ~= 0 and not sampler.isOn() then return end
  isListening = true
  sampler.onSignal("f", onSignal)
end

--- Sets how long a handler may take, from the command line.
-- @tparam string value seconds, or "off"
-- @treturn boolean true, or nil and a message
function watchdog.configure(value)
  local seconds = tonumber(value)
  if value ~= "off" and not (seconds and seconds >= LEAST and seconds <= LONGEST) then
    return nil, ("--watchdog takes seconds from %g to %d, or off, not %q"):format(LEAST, LONGEST,
      value)
  end
  watchdog.seconds = seconds or false
  return true
end

--- Watches the loop from now on.
function watchdog.start()
  if not watchdog.seconds then return end
  listen()
  local isJson = log.format == "json" and 1 or 0
  local code = C.sync_watchdog_start(handle, watchdog.seconds * 1000, isJson)
  if code < 0 then
    log.warn("the watchdog can't watch: " .. select(2, core.problem(code)))
  end
end

--- Ends that.
function watchdog.stop()
  C.sync_watchdog_stop(handle)
end

return watchdog
