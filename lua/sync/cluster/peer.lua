--- Another node, as one knows it: whether it lives, and how far its streams have come.
-- @classmod sync.cluster.peer

local Peer = {}
Peer.__index = Peer

--- Makes one that has just been heard of.
-- @tparam number number of the node
-- @tparam number epoch of its process
-- @tparam number|nil before the epoch of the process that had this number
-- @tparam table clock
function Peer.new(number, epoch, before, clock)
  return setmetatable({number = number, epoch = epoch, before = before, clock = clock,
    alive = false, heard = clock.now(),
    stream = false, way = false, -- streams by which this node sends to it: see Cluster:tell
    byes = 0,      -- how often it has said that it stops
    counts = {},   -- clients by class
    streams = {},  -- by key: {id = number, number = the last that came, claimed = number}
    claimed = {},  -- by key: what the peer has sent, and was not here when the peer said so
    isMissed = false, -- something that it has told is lost
  }, Peer)
end

--- Whether a frame is the next that is wanted of its stream.
-- @treturn boolean false: it came before
-- @treturn number how many are missing before it
function Peer:take(key, id, number)
  local seen = self.streams[key]
  if not seen then
    self.streams[key] = {id = id, number = number, claimed = 0}
    return true, 0
  end
  if id ~= seen.id then
    if id < seen.id then return false, 0 end
    seen.id, seen.number, seen.claimed = id, 0, 0
  end
  local missing = number - seen.number - 1
  if missing < 0 then return false, 0 end
  seen.number = number
  return true, missing
end

--- Notes what the peer says it has sent by now. What does not arrive within some seconds is
-- lost.
-- @tparam table claims key, id, number, …
-- @tparam table sets by key: those that are heard of
-- @tparam number seconds
function Peer:hearClaims(claims, sets, seconds)
  for i = 1, #claims, 3 do
    local key, id, number = claims[i], claims[i + 1], claims[i + 2]
    local seen = self.streams[key]
    if seen and seen.id <= id and sets[key] ~= nil then
      if seen.id < id then seen.id, seen.number, seen.claimed = id, 0, 0 end
      if number > seen.number and number > seen.claimed then
        seen.claimed = number
        self.claimed[key] = {seen, id, number, self.clock.now() + seconds}
      end
    elseif not seen and sets[key] ~= nil then
      self.streams[key] = {id = id, number = number, claimed = number}
    end
  end
end

--- Looks which claims have come true, and which are overdue.
-- @tparam function lose called with a key, and how many of its frames are lost
function Peer:checkClaims(lose)
  for key, claim in pairs(self.claimed) do
    local seen, id, number, due = unpack(claim)
    if seen.id ~= id or seen.number >= number then
      self.claimed[key] = nil
    elseif self.clock.now() >= due then
      self.claimed[key] = nil
      local missing = number - seen.number
      seen.number = number
      lose(key, missing)
    end
  end
end

--- Forgets a stream that isn't heard any more.
function Peer:forget(key)
  self.streams[key] = nil
end

return Peer
