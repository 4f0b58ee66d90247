--- On which node a room begins: on that of who makes it, or, where its class has `home = "least"`,
-- on that whose rooms have the least to do. What a room has to do is its ticks a second (or
-- patches, where it has no ticks), times its members and one more; places that are kept count.
--
-- Each node tells the others once a second, when that has changed, and adds to what they say the
-- rooms that it has given them since.
-- @module sync.rooms.placing

local core = require "sync.core"
local loop = require "sync.loop"
local nodes = require "sync.rooms.nodes"

local EVERY = 1 -- seconds

local placing = {}

local own, told = 0, 0
local loads = {}        -- of other nodes
local timer = false

local function rateOf(class)
  return class.tickRate > 0 and class.tickRate or class.patchRate
end

local function announce()
  if own == told or nodes.isAlone() then
    loop.stopTimer(timer)
    timer = false
    return
  end
  told = own
  for _, number in ipairs(nodes.list()) do
    if number ~= nodes.own() then nodes.tell(number, "load", {load = own}) end
  end
end

--- A room of this node has begun, changed or ended.
-- @tparam Home home
function placing.changed(home)
  local load = home.ended and 0 or rateOf(home.room) * (1 + home:taken())
  own = own + load - home.load
  home.load = load
  if not timer and not nodes.isAlone() then timer = loop.startTimer(EVERY, EVERY, announce) end
end

nodes.on("load", function(number, said) loads[number] = said.load end)

nodes.watch(function(number, isThere)
  loads[number] = nil
  if isThere and own > 0 then nodes.tell(number, "load", {load = own}) end
end)

--- What the rooms of a node have to do, as far as is known here.
function placing.loadOf(number)
  if number == nodes.own() then return own end
  return loads[number] or 0
end

--- What other nodes have said of theirs, for the next process of this one; and takes it.
function placing.pack() return loads end
function placing.unpack(list) loads = list end

local function least(takers)
  local best = takers[1]
  for _, number in ipairs(takers) do
    if placing.loadOf(number) < placing.loadOf(best) then best = number end
  end
  return best
end

--- The node on which a room is to begin that somebody here makes. One that drains gets none.
-- @tparam table class
-- @treturn number
function placing.node(class)
  local takers = nodes.takers()
  if class.home == "here" then
    return takers[1] == nodes.own() and takers[1] or takers[1 + core.randomNumber(#takers)]
  end
  local number = least(takers)
  if number ~= nodes.own() then loads[number] = placing.loadOf(number) + 2 * rateOf(class) end
  return number
end

return placing
