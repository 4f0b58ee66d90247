--- Rooms of a server that drains (lua/sync/drain.lua): nobody more comes in, `onShutdown` may let a
-- match end, and new rooms begin on other nodes. Rooms that persist go there themselves.
-- @module sync.rooms.shutdown

local directory = require "sync.rooms.directory"
local drain = require "sync.drain"
local nodes = require "sync.rooms.nodes"
local placing = require "sync.rooms.placing"

local shutdown = {}

local REASON = "drain" -- that members are told

local finishing = {} -- homes whose onShutdown has not returned, by number

local function begin(home, seconds, hold, default)
  local room = home.room
  if home.keep then -- it goes on elsewhere
    local node = placing.node(home.class)
    if node ~= nodes.own() then home.keep:handOver(node) end
    return
  end
  room:lock()
  if room.onShutdown == default then return end
  local done = hold(room)
  finishing[home.number] = home
  home:handle("onShutdown", function()
    finishing[home.number] = nil
    done()
    home:finish(REASON)
  end, room.onShutdown, room, seconds)
end

local function eachHome(fn)
  for _, class in ipairs(directory.classes()) do
    for _, home in ipairs(directory.some(class)) do fn(home) end
  end
end

--- Has rooms take part in drains.
-- @tparam function default onShutdown of classes that have none: their rooms stay to the end
function shutdown.watch(default)
  drain.addPart {
    begin = function(seconds, hold)
      nodes.leave()
      eachHome(function(home) begin(home, seconds, hold, default) end)
    end,
    holds = function(client)
      local membership = client._membership
      if not membership or next(finishing) == nil then return false end
      for number in pairs(membership.places) do
        if finishing[number] then return true end
      end
      return false
    end,
    finish = function()
      finishing = {}
      eachHome(function(home)
        if not home.keep then home:finish(REASON) end
      end)
    end,
  }
end

return shutdown
