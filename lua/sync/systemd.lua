--- What systemd wants to know of a service: sd_notify(3), which is a datagram.
-- @module sync.systemd

local core = require "sync.core"
local loop = require "sync.loop"

local C = core.C

local systemd = {}

--- Tells something, if somebody listens.
-- @tparam string text as "READY=1"
function systemd.tell(text)
  local name = os.getenv "NOTIFY_SOCKET"
  if name and name ~= "" then C.sync_notify(name, text) end
end

--- The service is ready: from now on it says by its ticks that it lives, where that is asked for
-- (WatchdogSec=).
function systemd.ready()
  systemd.tell(("MAINPID=%d\nREADY=1"):format(C.sync_process()))
  local microseconds = tonumber(os.getenv "WATCHDOG_USEC" or "")
  if not microseconds or microseconds <= 0 or not os.getenv "NOTIFY_SOCKET" then return end
  local seconds = microseconds / 1e6 / 2
  loop.startTimer(seconds, seconds, function() systemd.tell "WATCHDOG=1" end)
end

return systemd
