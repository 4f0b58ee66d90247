--- Sessions: what is kept for a client that may come back, in case the client has missed it.
--
-- Messages have numbers, and the last ones are kept. Three bounds hold together: what was sent
-- longer ago than the session lasts is dropped while the client is connected, for who is away for
-- longer can't come back; a session has so many bytes; and so have all sessions of a class, its
-- group. At the group's bound the sessions that keep the most forget everything: their clients
-- may come back only if they have missed nothing.
--
-- An event that many sessions keep is one text, which counts once.
-- @module sync.remoting.session

local bit = require "bit"
local core = require "sync.core"
local log = require "sync.log"
local memory = require "sync.memory"

local now = core.C.sync_now
local band = bit.band

local FIRST = 8     -- messages that the ring of a session has room for
local OVERHEAD = 16 -- bytes that a message costs beside its text: its place in a ring
local CLIENT = 4096 -- that a client costs, about
local GOAL = 7 / 8  -- of the bound, to which a group is relieved
local STEPS = 8     -- in which what has become too old is dropped, in the time that a session lasts
-- Seconds that may pass until it's noticed, here or there, that a connection is broken. What is
-- sent meanwhile is to be kept.
local UNNOTICED = 60

local Group = {}
Group.__index = Group

local Session = {}
Session.__index = Session

--- Makes the group of a class.
function Session.group(name)
  return setmetatable({name = name, sessions = {}, count = 0, bytes = 0, most = math.huge,
    time = math.huge, -- seconds that clients are promised
    isTold = false,   -- that the promise isn't kept
  }, Group)
end

-- An empty ring: the place of a message is its number, without the bits above the mask's.
local function clear(self)
  self.ring, self.mask = {}, FIRST - 1
  for place = 1, FIRST do self.ring[place] = false end
end

--- Begins a session.
-- @tparam table group
-- @tparam string token
-- @tparam table bounds `bytes`, `messages` (or false), and which `setting` with which `value` has
-- made the bytes so few
-- @tparam[opt] table store that is told what the session keeps: see lua/sync/remoting/resume.lua
function Session.new(group, token, bounds, store)
  local self = setmetatable({
    group = group, token = token, bounds = bounds,
    store = store or false,
    away = false,       -- or the timer of an absence
    ring = false, mask = 0, -- texts, or events that others keep, too
    first = 1, last = 0, -- numbers of what is kept
    version = 0,        -- how often they began anew
    marks = {},         -- {time, number of the first message since then}, the oldest first
    nextMark = 0,       -- when another is due
    bytes = 0,          -- of the texts
    own = 0,            -- of the group's, that this session costs alone
  }, Session)
  clear(self)
  group.sessions[self] = true
  group.count = group.count + 1
  return self
end

--- Makes an event of a text: what it costs is shared by those who keep it.
-- @tparam string text
-- @tparam[opt] string|boolean name that it has on all nodes; false: none
function Session.event(text, name)
  return {text = text, holders = 0, name = name}
end

-- What a message costs the session, by its sign, and the group.
local function charge(self, entry, sign)
  local group, text, cost = self.group, entry, OVERHEAD
  if type(entry) == "table" then
    text = entry.text
    local before = entry.holders
    entry.holders = before + sign
    if before == 0 or entry.holders == 0 then group.bytes = group.bytes + sign * #text end
  else
    cost = cost + #text
  end
  self.bytes = self.bytes + sign * #text
  self.own = self.own + sign * cost
  group.bytes = group.bytes + sign * cost
end

local function dropFirst(self)
  local first = self.first
  local place = band(first, self.mask) + 1
  charge(self, self.ring[place], -1)
  self.ring[place] = false
  self.first = first + 1
end

-- Gives the messages a ring of another size, a power of two.
local function resize(self, size)
  local ring, mask, other = self.ring, self.mask, {}
  for place = 1, size do other[place] = false end
  for number = self.first, self.last do
    other[band(number, size - 1) + 1] = ring[band(number, mask) + 1]
  end
  self.ring, self.mask = other, size - 1
end

-- Time.

-- How long what a session keeps may be of use.
local function lasting(self)
  return math.max(self.group.time, UNNOTICED)
end

-- Drops what has become too old. Of one who is away nothing does: the absence has its own end.
local function age(self, time)
  local marks, stop = self.marks, time - lasting(self)
  while marks[2] and marks[2][1] <= stop and not self.away do
    table.remove(marks, 1)
    while self.first < marks[1][2] and self.first <= self.last do dropFirst(self) end
  end
  local size = self.mask + 1
  if size > FIRST and 8 * (self.last - self.first + 1) < size then resize(self, size / 4) end
end

-- Notes now and then which message is the first since when.
local function mark(self, time)
  self.nextMark = time + lasting(self) / STEPS
  self.marks[#self.marks + 1] = {time, self.last + 1}
  age(self, time)
end

-- A round number that isn't below another, for advice.
local function rounded(number)
  return 2 ^ math.ceil(math.log(number) / math.log(2))
end

-- A message had to go that is younger than clients are promised: the first time it's told.
local function tellLoss(self, time)
  local group, bounds, marks = self.group, self.bounds, self.marks
  while marks[2] and marks[2][2] <= self.first do table.remove(marks, 1) end
  local span = time - marks[1][1]
  if group.isTold or span >= group.time then return end
  group.isTold = true
  local share = group.time / math.max(span, 0.01)
  local count = self.last - self.first + 1
  local isMany = bounds.messages and count >= bounds.messages
  local advice = isMany and ("resumeMessages = %.0f, or false"):format(rounded(count * share)) or
    ("%s = %.0f"):format(bounds.setting, rounded(bounds.value * share))
  log.warn(("%s: what is kept for a client that comes back are the last %.3g s, not " ..
    "resumeTime (%g s): who is away for longer begins anew. Set %s; or fire what is worthless " ..
    "when late as fire({late = false}, name, …)"):format(group.name, span, group.time, advice))
end

-- What goes beyond the session's own bounds.
local function dropMore(self, time)
  local bounds, isLost = self.bounds, false
  while self.bytes > bounds.bytes and self.first <= self.last or
    bounds.messages and self.last - self.first >= bounds.messages do
    dropFirst(self)
    isLost = true
  end
  if isLost and not self.group.isTold then tellLoss(self, time) end
end

--- Keeps a text as the next message, unless the session has ended.
-- @tparam string text
-- @tparam[opt] table event of which this is the text
function Session:keep(text, event)
  if self.isOver then return end
  local time = now()
  if time >= self.nextMark then mark(self, time) end
  if self.last - self.first >= self.mask then resize(self, 2 * (self.mask + 1)) end
  local last = self.last + 1
  self.last = last
  self.ring[band(last, self.mask) + 1] = event or text
  charge(self, event or text, 1)
  dropMore(self, time)
  if self.group.bytes > self.group.most then self.group:relieve(time) end
  if self.store then self.store:kept(self, text, event) end
end

--- What the next process is told of it, but for what it keeps.
-- @treturn table
function Session:pack()
  local moving = self.moving and self.moving.given and
    {given = self.moving.given, names = self.moving.names} or nil
  return {token = self.token, first = self.first, last = self.last, reason = self.reason,
    code = self.code, awayUntil = self.awayUntil, sid = self.sid, moving = moving}
end

--- Makes a session what another process's was.
-- @tparam table told of `pack`
-- @tparam table history texts and events by number
function Session:unpack(told, history)
  local time = now()
  self.first, self.last = told.first, told.first - 1
  mark(self, time)
  local size = self.mask + 1
  while told.last - told.first >= size do size = 2 * size end
  resize(self, size)
  for number = told.first, told.last do
    self.ring[band(number, size - 1) + 1] = history[number]
    charge(self, history[number], 1)
  end
  self.last = told.last
  dropMore(self, time)
  if self.group.bytes > self.group.most then self.group:relieve(time) end
  self.reason, self.code = told.reason, told.code
end

--- Whether all is kept that a client with so many messages has missed. If not, the log says why.
-- @tparam number received
-- @treturn boolean
function Session:reaches(received)
  if received > self.last then return false end
  if received + 1 >= self.first then return true end
  log.limited("info", "resume " .. self.group.name, ("a client of %s begins anew: of the %d " ..
    "messages that it has missed %d are kept no more"):format(self.group.name,
    self.last - received, self.first - received - 1))
  return false
end

--- What is kept of a message: its text, or an event.
function Session:entry(number) return self.ring[band(number, self.mask) + 1] end

--- The text of a message that is kept.
function Session:text(number)
  local entry = self:entry(number)
  return type(entry) == "table" and entry.text or entry
end

--- Keeps nothing of what was until now.
function Session:forget()
  local before = self.group.bytes
  while self.first <= self.last do dropFirst(self) end
  self.marks, self.nextMark = {}, 0
  clear(self)
  memory.freed(before - self.group.bytes)
end

--- Begins anew, with the first number.
function Session:restart()
  self:forget()
  self.first, self.last, self.version = 1, 0, self.version + 1
end

--- Ends: nothing is kept any more.
function Session:finish()
  if self.isOver then return end
  self:forget()
  memory.freed(CLIENT)
  self.isOver = true
  self.group.sessions[self] = nil
  self.group.count = self.group.count - 1
end

-- Makes room: what is too old goes; if that's not enough, sessions that keep the most forget it,
-- and those that keep half as much are next. This costs some looks at each session, for an eighth
-- of the bound.
function Group:relieve(time)
  for session in pairs(self.sessions) do age(session, time) end
  if self.bytes <= self.most then return end
  log.limited("warn", "resumeTotal of " .. self.name, ("the sessions of %s keep more than " ..
    "resumeTotal: those that keep the most forget it, and begin anew if they have missed " ..
    "something"):format(self.name), {bytes = self.bytes, sessions = self.count})
  local goal, least = self.most * GOAL, 32 * self.bytes / self.count
  repeat
    least = least / 2
    for session in pairs(self.sessions) do
      if session.own > 0 and session.own >= least then session:forget() end
      if self.bytes <= goal then return end
    end
  until least < 1
end

return Session
