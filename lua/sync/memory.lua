--- Gives memory back when things have calmed down: after many clients came (their
-- beginnings leave garbage), after many have left, and after much was freed that was no
-- client's, as by connections that never became one.
--
-- Nothing is done while the number of connections still changes much. Garbage is collected in
-- small steps between ticks, so that no client waits for it.
-- @module sync.memory

local core = require "sync.core"

local C, handle = core.C, core.handle

local CHANGE = 256      -- clients that must have come or left, and
local SHARE = 0.2       -- the share of all that they must be
local WAIT = 1          -- seconds between looks at whether the number is steady
local STEP_WAIT = 0.002 -- seconds between steps
local STEPS = 50        -- of a few KiB each
local PACE = 1          -- steps for each handshake
local CYCLES = 2        -- the one under way may have passed what is garbage now
local FREED = 1024 * 1024 -- bytes that something else must have left

local memory = {}

local loop          -- told by memory.watch
local settled = 0   -- clients when memory was last given back
local freed = 0     -- bytes of garbage that were told of since
local looking = false

-- A new key makes Lua fit a table to its contents.
local function fit(list)
  list[false], list[true] = true, true
  list[false], list[true] = nil, nil
end

local function collect(cycles)
  for _ = 1, STEPS do
    if collectgarbage("step", 0) then cycles = cycles - 1 end
    if cycles == 0 then
      C.sync_trim(handle)
      looking = false
      memory.consider()
      return
    end
  end
  loop.startTimer(STEP_WAIT, 0, function() collect(cycles) end)
end

local function isMuch(change, count)
  return change >= CHANGE and change >= count * SHARE
end

local look

-- Apart from its callers: a function that makes closures isn't compiled, and `consider`
-- is called for each client.
local function lookLater(before)
  loop.startTimer(WAIT, 0, function() look(before) end)
end

function look(before)
  local connections = handle.client_count
  if isMuch(math.abs(connections - before), math.max(connections, before)) then
    lookLater(connections)
    return
  end
  if loop.count < settled then fit(loop.clients) end
  settled, freed = loop.count, 0
  collect(CYCLES)
end

--- Called when a client has come or left.
function memory.consider()
  local count = loop.count
  if not looking and (freed >= FREED or
    isMuch(math.abs(count - settled), math.max(count, settled))) then
    looking = true
    lookLater(handle.client_count)
  end
end

--- Called when so many bytes that something has kept are garbage now.
function memory.freed(bytes)
  freed = freed + bytes
  memory.consider()
end

--- Called when something has left much garbage, as a handshake does: lets the collector keep
-- pace, so that the garbage of many doesn't lie between what stays.
function memory.keepPace()
  for _ = 1, PACE do collectgarbage("step", 0) end
end

--- Begins to watch a loop: its `count` and `clients`, by its `startTimer`.
function memory.watch(watched)
  loop = watched
end

return memory
