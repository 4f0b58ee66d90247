--- The soft limit of this process's memory: `sync-lua --memory=SIZE`, and by itself what the
-- container or the service may have.
--
-- Where memory ends the system ends the process, or LuaJIT crashes. So near the limit no
-- client is accepted, and at the limit those are closed that hold most: unsent and
-- unfinished messages, and what their instances' fields hold and no other client's do. It
-- is soft: one handler may take more at once.
-- @module sync.limit

local Set = require "sync.set"
local core = require "sync.core"
local log = require "sync.log"

local C, handle = core.C, core.handle

-- The limit's share of what the system lets us have: of addresses some are lost between
-- blocks, and stay lost.
local OF_GROUP, OF_ADDRESSES = 0.8, 0.6
local HIGH, LOW = 0.85, 0.75 -- of the limit: nobody is accepted from HIGH on, until LOW
local STEP = 0.05        -- of the limit: so much must come until garbage is collected anew
local LOOK_SECONDS = 1   -- until it is, while nobody is accepted
local TIGHT, USUAL = 110, 200 -- the collector's pause, from half of the limit on
local LEAST = 2 ^ 24     -- of a limit
local LIGHT = 2 ^ 14     -- bytes of a client whose end would not help
local MOST_CLOSED = 100  -- at once
local MOST_TABLES = 300000 -- that are weighed at once
local TABLE, ITEM = 64, 40 -- bytes of a table, and of what is in it
local MEBI = 2 ^ 20

local limit = {
  --- Bytes, or false: none; nil: nobody has said.
  bytes = nil,
}

local loop              -- told by limit.watch
local held = false      -- whether nobody is accepted
local nextLook = 0      -- bytes

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

--- Sets the limit; false: none.
function limit.set(bytes)
  limit.bytes = bytes
  nextLook = 0
  C.sync_watch_memory(handle, bytes and bytes * HIGH or 0)
end

--- Sets the system's limit, if none was set. Lua's memory is counted in sync-lua alone:
-- elsewhere LuaJIT doesn't take it from the C library.
-- @tparam[opt=1] number processes
function limit.begin(processes)
  if limit.bytes == nil and package.loaded["sync.cli"] then
    limit.set(limit.ofSystem(processes))
  end
end

-- What clients hold.

-- What is left of these tables on the stack must not keep the clients that are closed.
local function weak(mode)
  return setmetatable({}, {__mode = mode})
end

-- What a table holds by itself.
local function sizeOf(list)
  local size = TABLE
  for key, value in pairs(list) do
    size = size + ITEM + (type(key) == "string" and #key or 0) +
      (type(value) == "string" and #value or 0)
  end
  return size
end

-- Sets hold clients, and not the other way round.
local function isOther(value, clients)
  local meta = getmetatable(value)
  return meta == Set or meta == Set.View or clients[value] ~= nil
end

-- Adds what a client's fields hold to its weight. What several clients reach is nobody's: it
-- is taken off the first one's again.
local function weigh(client, weights, owners, left)
  local stack = {client}
  while #stack > 0 and left > 0 do
    local list = table.remove(stack)
    local owner = owners[list]
    if owner ~= client and owner ~= false then
      left = left - 1
      local size = sizeOf(list)
      owners[list] = owner == nil and client
      local payer = owner or client
      weights[payer] = weights[payer] + (owner and -size or size)
      for key, value in pairs(list) do
        if type(key) == "table" and not isOther(key, weights) then stack[#stack + 1] = key end
        if type(value) == "table" and not isOther(value, weights) then stack[#stack + 1] = value end
      end
    end
  end
  return left
end

--- Clients, the heaviest first, and their weights: about the bytes that they hold.
-- @treturn table a list
-- @treturn table by client
function limit.heaviest()
  local weights, owners, list, left = weak "k", weak "k", weak "v", MOST_TABLES
  local function add(client)
    if client.isLink then return end
    weights[client] = C.sync_held(handle, client.slot)
    list[#list + 1] = client
  end
  for _, client in pairs(loop.clients) do add(client) end
  for client in pairs(loop.away) do add(client) end
  for _, client in ipairs(list) do left = weigh(client, weights, owners, left) end
  table.sort(list, function(a, b) return weights[a] > weights[b] end)
  return list, weights
end

local function drop(client, weight)
  log.warn("memory is at its limit: a client that holds much is closed", {client = client.id,
    address = client.address, protocol = getmetatable(client).className, bytes = weight})
  if client.slot == 0 then return client:close("memory") end -- it is away
  client.closing = "memory"
  C.sync_abort(handle, client.slot)
end

-- Closes clients until so many bytes will be free.
local function dropHeaviest(excess)
  local list, weights = limit.heaviest()
  for i = 1, math.min(#list, MOST_CLOSED) do
    local weight = weights[list[i]]
    if excess <= 0 or weight < LIGHT then break end
    excess = excess - weight
    drop(list[i], weight)
  end
  if excess > 0 and (not list[1] or weights[list[1]] < LIGHT) then
    log.limited("error", "memory", "memory is at its limit, and no client holds much of it: " ..
      "what does the script keep? (--memory)", {limit = limit.bytes})
  end
end

-- What is used when all garbage has gone.
local function collected()
  collectgarbage()
  C.sync_trim(handle)
  local used = C.sync_memory_used()
  collectgarbage("setpause", used > limit.bytes / 2 and TIGHT or USUAL)
  nextLook = used + limit.bytes * STEP
  return used
end

local look

local function hold(used)
  local wanted = used >= limit.bytes * (held and LOW or HIGH)
  if wanted ~= held then
    held = wanted
    C.sync_hold_accepting(handle, held and 1 or 0)
    local what = held and "memory is near its limit: no client is accepted until there is less" or
      "there is memory again: clients are accepted"
    log.limited(held and "warn" or "info", "memory held", what,
      {used = ("%d MiB"):format(used / MEBI), limit = ("%d MiB"):format(limit.bytes / MEBI)})
  end
  if held then loop.startTimer(LOOK_SECONDS, 0, look) end
end

local function act()
  local used = collected()
  if used >= limit.bytes then dropHeaviest(used - limit.bytes * LOW) end
  return used
end

function look()
  if not limit.bytes then return end
  hold(act())
end

--- Called when the core says that much memory is used.
function limit.reached()
  if not limit.bytes or C.sync_memory_used() < nextLook then return end
  local used = act()
  if not held then hold(used) end
end

--- Begins to watch a loop's `clients` and those `away`, by its `startTimer`.
function limit.watch(watched)
  loop = watched
end

return limit
