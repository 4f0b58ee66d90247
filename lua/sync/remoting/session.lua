--- Sessions: what is kept for a client that may come back, in case the client has missed it.
--
-- Messages have numbers, and the last ones are kept within bounds: of each session, and in
-- bytes of all sessions of a class, its group. At the group's bound the sessions that keep the
-- most forget everything: their clients may come back only if they have missed nothing.
--
-- An event that many sessions keep is one text, which counts once.
-- @module sync.remoting.session

local log = require "sync.log"
local memory = require "sync.memory"

local OVERHEAD = 64 -- bytes that a message costs beside its text
local CLIENT = 4096 -- that a client costs, about
local GOAL = 7 / 8  -- of the bound, to which a group is relieved

local Group = {}
Group.__index = Group

local Session = {}
Session.__index = Session

--- Makes the group of a class.
function Session.group(name)
  return setmetatable({name = name, sessions = {}, count = 0, bytes = 0, most = math.huge}, Group)
end

--- Begins a session.
-- @tparam table group
-- @tparam string token
-- @tparam number most messages
-- @tparam number mostBytes of them
-- @tparam[opt] table store that is told what the session keeps: see lua/sync/remoting/resume.lua
function Session.new(group, token, most, mostBytes, store)
  local self = setmetatable({
    group = group, token = token, most = most, mostBytes = mostBytes,
    store = store or false,
    away = false,       -- or the timer of an absence
    texts = {},         -- by number: a text, or an event that others keep, too
    first = 1, last = 0,
    bytes = 0,          -- of the texts
    own = 0,            -- of the group's, that this session costs alone
  }, Session)
  group.sessions[self] = true
  group.count = group.count + 1
  return self
end

--- Makes an event of a text: what it costs is shared by those who keep it.
function Session.event(text)
  return {text = text, holders = 0}
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
  charge(self, self.texts[first], -1)
  self.texts[first] = nil
  self.first = first + 1
end

--- Keeps a text as the next message, unless the session has ended.
-- @tparam string text
-- @tparam[opt] table event of which this is the text
function Session:keep(text, event)
  if self.isOver then return end
  self.last = self.last + 1
  self.texts[self.last] = event or text
  charge(self, event or text, 1)
  while self.last - self.first >= self.most or
    self.bytes > self.mostBytes and self.first <= self.last do
    dropFirst(self)
  end
  if self.group.bytes > self.group.most then self.group:relieve() end
  if self.store then self.store:kept(self, text, event) end
end

--- The text of a message that is kept.
function Session:text(number)
  local entry = self.texts[number]
  return type(entry) == "table" and entry.text or entry
end

--- Keeps nothing of what was until now.
function Session:forget()
  local before = self.group.bytes
  while self.first <= self.last do dropFirst(self) end
  self.texts = {}
  memory.freed(before - self.group.bytes)
end

--- Begins anew, with the first number.
function Session:restart()
  self:forget()
  self.first, self.last = 1, 0
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

-- Makes room: sessions that keep the most forget it, those that keep half as much are next. This
-- costs some looks at each session, for an eighth of the bound.
function Group:relieve()
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
