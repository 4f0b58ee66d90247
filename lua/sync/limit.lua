--- The soft limit of this process's memory: what the program's option says, or else a share of
-- what the container or the service may have. `sync.shedding` keeps to the limit.
--
-- This module knows no core, so that the program can set a limit before a script has asked for
-- SYNC.
-- @module sync.limit

local limit = {
  --- Bytes, or false: none.
  bytes = false,
}

-- The limit's share of what the system lets us have: of addresses some are lost between
-- blocks, and stay lost.
local OF_GROUP, OF_ADDRESSES = 0.8, 0.6
local LEAST = 2 ^ 24 -- bytes of a limit

-- What the system lets the process have.

local function read(path)
  local file = io.open(path)
  if not file then return "" end
  local text = file:read("*a") or ""
  file:close()
  return text
end

-- The least limit of a control group and of those that it is in.
local function leastOf(root, path, name)
  local least = math.huge
  while path do
    least = math.min(least, tonumber((read(root .. path .. "/" .. name))) or math.huge)
    path = path:match("^(.+)/[^/]*$")
  end
  return math.min(least, tonumber((read(root .. "/" .. name))) or math.huge)
end

local function ofGroup()
  local groups = "\n" .. read "/proc/self/cgroup"
  local second, first = groups:match("\n0::(/[^\n]*)"), groups:match("\n%d+:memory:(/[^\n]*)")
  return math.min(second and leastOf("/sys/fs/cgroup", second, "memory.max") or math.huge,
    first and leastOf("/sys/fs/cgroup/memory", first, "memory.limit_in_bytes") or math.huge)
end

-- What is mapped already, as the program is, isn't given out by the C library.
local function ofAddresses()
  local most = tonumber(read "/proc/self/limits":match("Max address space%s+(%d+)"))
  local pages = tonumber(read "/proc/self/statm":match("^%d+"))
  return most and pages and most - pages * 4096 or math.huge
end

--- What the system lets this process have; workers have shares of their group's.
-- @tparam[opt=1] number processes
-- @treturn number|boolean bytes, or false where there is no limit
function limit.ofSystem(processes)
  local bytes = math.min(ofGroup() / (processes or 1) * OF_GROUP, ofAddresses() * OF_ADDRESSES)
  return bytes < 2 ^ 50 and math.max(LEAST, math.floor(bytes))
end

local UNITS = {[""] = 1, K = 2 ^ 10, M = 2 ^ 20, G = 2 ^ 30}

--- Reads a size: "512M".
-- @treturn number|boolean bytes, false for "off", or nil and a message
function limit.parse(text)
  if text == "off" then return false end
  local number, unit = text:upper():match("^(%d+)([KMG]?)$")
  local bytes = number and tonumber(number) * UNITS[unit]
  if not bytes or bytes < LEAST or bytes > 2 ^ 50 then
    return nil, ("--memory takes a size from 16M on, as in 512M or 2G, or off, not %q"):format(text)
  end
  return bytes
end

--- Sets the system's limit. For sync-lua, whose Lua memory the C library counts: elsewhere
-- LuaJIT takes it from the system.
-- @tparam[opt=1] number processes
function limit.begin(processes)
  limit.bytes = limit.ofSystem(processes)
end

return limit
