--- What a process does where its memory comes to an end: accepts nobody, and closes those who
-- hold most.
--
-- Where memory ends the system ends the process, or LuaJIT crashes. So near the limit no
-- client is accepted, and at the limit those are closed that hold most: unsent and
-- unfinished messages, and what their instances' fields hold and no other client's do. The limit
-- is soft: one handler may take more at once.
-- @module sync.shedding

local Set = require "sync.set"
local core = require "sync.core"
local limit = require "sync.limit"
local log = require "sync.log"

local C, handle = core.C, core.handle

local HIGH, LOW = 0.85, 0.75 -- of the limit: nobody is accepted from HIGH on, until LOW
local STEP = 0.05        -- of the limit: so much must come until garbage is collected anew
local LOOK_SECONDS = 1   -- until it is, while nobody is accepted
local TIGHT, USUAL = 110, 200 -- the collector's pause, from half of the limit on
local LIGHT = 2 ^ 14     -- bytes of a client whose end would not help
local MOST_CLOSED = 100  -- at once
local MOST_TABLES = 300000 -- that are weighed at once
local TABLE, ITEM = 64, 40 -- bytes of a table, and of what is in it
local MEBI = 2 ^ 20

local shedding = {}

local loop              -- told by shedding.watch
local held = false      -- whether nobody is accepted
local nextLook = 0      -- bytes

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
function shedding.heaviest()
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
  if client.slot == 0 then return client:close("memory") end -- the client is away
  client.closing = "memory"
  C.sync_abort(handle, client.slot)
end

-- Closes clients until so many bytes will be free.
local function dropHeaviest(excess)
  local list, weights = shedding.heaviest()
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

--- Whether nobody is accepted, for memory is near its limit.
function shedding.holds()
  return held
end

--- Called when the core says that much memory is used.
function shedding.reached()
  if not limit.bytes or C.sync_memory_used() < nextLook then return end
  local used = act()
  if not held then hold(used) end
end

--- Begins to watch a loop's `clients` and those `away`, by its `startTimer`.
function shedding.watch(watched)
  loop = watched
end

--- Begins to keep to the limit.
function shedding.begin()
  C.sync_watch_memory(handle, limit.bytes and limit.bytes * HIGH or 0)
end

return shedding
