--- What one client may take of what all share: so much at once, which is given back over a time.
-- @classmod sync.cluster.share

local Share = {}
Share.__index = Share

--- Makes one.
-- @tparam number most that an owner may take at once
-- @tparam number seconds after which all of that is given back
-- @tparam table clock
function Share.new(most, seconds, clock)
  return setmetatable({most = most, pace = most / seconds, clock = clock,
    left = setmetatable({}, {__mode = "k"})}, Share)
end

--- Takes from the share of an owner; what has no owner is not bounded here.
-- @tparam table|nil owner
-- @tparam number amount
-- @treturn boolean false: there isn't as much left, and nothing was taken
function Share:take(owner, amount)
  if not owner then return true end
  local time, left = self.clock.now(), self.left[owner]
  if not left then
    left = {amount = self.most, time = time}
    self.left[owner] = left
  end
  left.amount = math.min(self.most, left.amount + (time - left.time) * self.pace)
  left.time = time
  if amount > left.amount then return false end
  left.amount = left.amount - amount
  return true
end

return Share
