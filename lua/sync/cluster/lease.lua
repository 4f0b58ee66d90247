--- A node's lease on what it keeps for all: as long as it holds, nobody else takes that.
--
-- A lease is a value of the engine, which the node replaces once a second by the next number. It
-- holds for `SECONDS` from when the node has sent the last replacement that was done. Who wants
-- what is another's reads its number, and waits: if it's the same after `SECONDS` and a bit, the
-- value is replaced by `OVER`, and the lease can't be renewed any more, whatever is still on its
-- way. So no two clocks are compared, only how long a second is; and a node that was stopped, or
-- cut off, knows by its own clock, which goes on meanwhile, that the lease may be over.
--
-- The name of a lease is its *token*. A node whose lease is over begins another, with another
-- token.
-- @classmod sync.cluster.lease

local Class = require "sync.class"
local clock = require "sync.cluster.clock"

local KEPT_SECONDS = 3600 -- that the engine keeps what nobody renews, nor ends
local OVER = "over"

local Lease = Class:extend("Lease")

--- Seconds that a lease holds since it was renewed.
Lease.SECONDS = 4
--- Seconds between renewals.
Lease.RENEW_SECONDS = 1
--- Seconds that others wait beyond.
Lease.MARGIN = 0.5

local function keyOf(token) return "lease/" .. token end

-- The next lease of a node.
local function begin(self)
  self.round = self.round + 1
  self.token = ("%s.%d"):format(self.name, self.round)
  self.count, self.due, self.tried = 0, -math.huge, nil
end

--- Makes one. It holds as soon as the engine has said so.
-- @tparam sync.cluster.engine engine
-- @tparam string name that no other node has, nor this one in another life
-- @tparam[opt] table given `clock`, `onLost`, a function that is called with the token of a lease
-- that is over (there is a new one then), and `before`, of `pack`: a lease of this node in the
-- process before, which goes on
-- @treturn Lease
function Lease.open(engine, name, given)
  given = given or {}
  local time = given.clock or clock
  local self = Lease:new {engine = engine, name = name, round = 0, isAsking = false,
    clock = time, now = time.awake or time.now, onLost = given.onLost or function() end,
    seen = {}} -- of others, by token: the value, and since when it's that
  begin(self)
  for field, value in pairs(given.before or {}) do self[field] = value end
  self:renew()
  local pause = Lease.RENEW_SECONDS
  self.timer = time.startTimer(pause, pause, function() self:renew() end)
  return self
end

--- Whether it holds: to be asked before each thing that only its holder may do.
function Lease:isValid()
  return self.now() < self.due
end

-- It was replaced by one that was sent at a time.
local function renewed(self, sent)
  self.count, self.tried = self.count + 1, nil
  self.due = math.max(self.due, sent + Lease.SECONDS)
end

local function lost(self)
  local token = self.token
  begin(self)
  self:renew()
  self.onLost(token)
end

--- Renews it, unless an answer is waited for.
function Lease:renew()
  if self.isAsking or self.isClosed then return end
  local sent, following = self.now(), ("%d"):format(self.count + 1)
  self.tried, self.isAsking = self.tried or sent, true
  self.engine:replace(keyOf(self.token), self.count > 0 and ("%d"):format(self.count) or nil,
    following, KEPT_SECONDS, function(done, problem, current)
      self.isAsking = false
      if self.isClosed then return end
      if done then return renewed(self, sent) end
      if problem then return end -- nobody knows: the next try tells
      if current ~= following then return lost(self) end
      renewed(self, self.tried) -- one before was done
      self:renew()
    end)
end

--- What the next process of this node has to know, while no answer is waited for.
function Lease:pack()
  return {round = self.round, token = self.token, count = self.count, due = self.due,
    tried = self.tried}
end

--- Gives it up: what was kept under it may be taken at once.
-- @tparam[opt] function done
function Lease:close(done)
  if self.isClosed then return end
  self.isClosed, self.due = true, -math.huge
  self.clock.stopTimer(self.timer)
  self.engine:set(keyOf(self.token), OVER, KEPT_SECONDS, done)
end

-- Others'.

-- Ends a lease whose value is still that.
local function finish(self, token, value, done)
  self.engine:replace(keyOf(token), value, OVER, KEPT_SECONDS, function(isDone, problem, current)
    self.seen[token] = nil
    done(isDone or not problem and (current == nil or current == OVER))
  end)
end

--- Looks whether the lease of a token is over, and ends one that nobody has renewed since it was
-- looked at before. To be called again and again.
-- @tparam string token
-- @tparam function done called with true when it's over, and won't be valid again
function Lease:look(token, done)
  self.engine:get(keyOf(token), function(value, problem)
    if problem then return done(false) end
    if value == nil or value == OVER then
      self.seen[token] = nil
      return done(true)
    end
    local seen, time = self.seen[token], self.now()
    if not seen or seen.value ~= value then
      self.seen[token] = {value = value, since = time}
      return done(false)
    end
    if time - seen.since < Lease.SECONDS + Lease.MARGIN then return done(false) end
    finish(self, token, value, done)
  end)
end

--- Forgets what was seen of the lease of a token: its node is there.
function Lease:forget(token)
  self.seen[token] = nil
end

return Lease
