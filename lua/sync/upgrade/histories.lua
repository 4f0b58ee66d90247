--- What sessions keep, for the next process. It is most of what there is to tell of clients, and
-- what was kept once stays the same: so it is told while this process serves still, and when
-- clients are handed over only what has come since.
--
-- What is told at a time is a table: `texts`, of events that several sessions keep, with their
-- names; and `sessions`, each with `token`, `from`, the number of its first message that is told
-- now, `isNew` where nothing that was told before counts, and `entries`: own texts, and places of
-- events among all texts that were told.
-- @module sync.upgrade.histories

local loop = require "sync.loop"
local Session = require "sync.remoting.session"

local OVERHEAD = 8 -- bytes of each message

local histories = {}

-- The old process.

local Teller = {}
Teller.__index = Teller

--- Begins to tell.
function histories.teller()
  return setmetatable({
    count = 0, places = {},             -- of texts that were told, by event
    told = {},                          -- by session: `last`, `version`
    texts = {}, sessions = {}, size = 0, -- to be told now; about so many bytes
  }, Teller)
end

-- What stands for an entry.
local function pack(self, entry)
  self.size = self.size + OVERHEAD
  if type(entry) ~= "table" then
    self.size = self.size + #entry
    return entry
  end
  local place = self.places[entry]
  if not place then
    place = self.count + 1
    self.count, self.places[entry] = place, place
    self.texts[#self.texts + 1] = {entry.text, entry.name}
    self.size = self.size + #entry.text
  end
  return place
end

--- Adds what a session keeps and wasn't told of it yet.
function Teller:add(session)
  local before, from = self.told[session], session.first
  local isNew = not before or before.version ~= session.version
  if not isNew then from = math.max(from, before.last + 1) end
  if from > session.last and not isNew then return end
  local entries = {}
  for number = from, session.last do
    entries[#entries + 1] = pack(self, session:entry(number))
  end
  self.told[session] = {last = session.last, version = session.version}
  self.sessions[#self.sessions + 1] = {token = session.token, from = from, isNew = isNew,
    entries = entries}
end

--- What was added since it was taken last, or nil.
function Teller:take()
  if not self.sessions[1] then return nil end
  local told = {what = "kept", texts = self.texts, sessions = self.sessions}
  self.texts, self.sessions, self.size = {}, {}, 0
  return told
end

--- All sessions of this process.
-- @treturn table a list
function histories.sessions()
  local list = {}
  for _, client in pairs(loop.clients) do list[#list + 1] = client._session or nil end
  for client in pairs(loop.away) do list[#list + 1] = client._session or nil end
  return list
end

-- The new one.

local events, byToken = {}, {}

--- Takes what is told.
function histories.receive(told)
  for _, each in ipairs(told.texts) do
    events[#events + 1] = Session.event(each[1], each[2])
  end
  for _, each in ipairs(told.sessions) do
    local history = not each.isNew and byToken[each.token] or {}
    byToken[each.token] = history
    for i, entry in ipairs(each.entries) do
      history[each.from + i - 1] = type(entry) == "number" and events[entry] or entry
    end
  end
end

--- What a session keeps, by number.
-- @tparam string token
-- @treturn table
function histories.of(token) return byToken[token] or {} end

--- All clients have come.
function histories.forget() events, byToken = {}, {} end

return histories
