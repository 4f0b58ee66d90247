--- Bans of a cluster: nodes tell each other what they hear, and one that comes all that they know.
-- @module sync.cluster.banning

local bans = require "sync.bans"
local frame = require "sync.cluster.frame"

local MOST = 500 -- in a frame

local banning = {}

--- A node tells the others from now on.
-- @tparam sync.cluster node
function banning.begin(node)
  bans.onChange(function(list) node:tellAll(frame.BANS, list) end)
end

--- Another node has said some.
banning.hear = bans.hear

--- Another node has come: it is told all.
function banning.met(node, peer)
  local list = bans.all()
  for first = 1, #list, MOST do
    node:tell(peer, frame.BANS, {unpack(list, first, math.min(#list, first + MOST - 1))})
  end
end

return banning
