--- What a client has missed whose node has died: from what the journal and the logs of rooms tell
-- (see lua/sync/cluster/journal.lua).
-- @classmod sync.cluster.history

local Journal = require "sync.cluster.journal"
local Reader = require "sync.cluster.reader"

local PLUS = ("+"):byte()

local History = {}
History.__index = History

--- Makes that of a node.
-- @tparam sync.cluster cluster
function History.new(cluster)
  return setmetatable({cluster = cluster, reader = Reader.new(cluster)}, History)
end

-- A node's journal, read: its sessions by token.
local Sessions = {isLasting = true}
Sessions.__index = Sessions

function Sessions.new()
  return setmetatable({bySid = {}, byToken = {}}, Sessions)
end

-- What items do.
local apply = {}

function Sessions:add(entry)
  for _, item in ipairs(entry) do
    local act = apply[item[1]]
    if act then act(self, item) end
  end
end

function apply.state(self, item)
  local _, sid, token, class, last, rooms, fields = unpack(item)
  local session = self.bySid[sid]
  if session then -- it is known to here; the item says the same
    session.rooms, session.fields = rooms, fields
    if last ~= session.last then session.isBroken = true end
    return
  end
  session = {token = token, class = class, first = last, last = last, rooms = rooms,
    fields = fields,
    names = {},  -- of events, from that behind `first` on; false where it was no event
    texts = {},  -- of those, by number
    had = {}}    -- names of events from before
  self.bySid[sid], self.byToken[token] = session, session
end

local function deliver(session, number, name)
  if number ~= session.last + 1 then session.isBroken = true end
  session.last = number
  if not session.isBroken then session.names[number - session.first] = name end
end

function apply.event(self, item)
  local bySid = self.bySid
  for i = 3, #item, 2 do
    local session = bySid[item[i]]
    if session then deliver(session, item[i + 1], item[2]) end
  end
end

function apply.text(self, item)
  local session = self.bySid[item[2]]
  if not session then return end
  deliver(session, item[3], false)
  session.texts[item[3]] = item[4]
end

function apply.had(self, item)
  local session = self.bySid[item[2]]
  for i = 3, session and #item or 0 do session.had[item[i]] = true end
end

function apply.join(self, item)
  local session = self.bySid[item[2]]
  if session then session.rooms[item[3]] = item[4] end
end

function apply.field(self, item)
  local session = self.bySid[item[2]]
  if session then session.fields[item[3]] = item[4] end
end

function apply.leave(self, item)
  local session = self.bySid[item[2]]
  if session then session.rooms[item[3]] = nil end
end

apply["end"] = function(self, item)
  local session = self.bySid[item[2]]
  if not session then return end
  self.bySid[item[2]] = nil
  if self.byToken[session.token] == session then self.byToken[session.token] = nil end
end

--- Looks for a session of a node that has died.
-- @tparam number node
-- @tparam number epoch of the node
-- @tparam string token
-- @tparam function done gets what is known of the session, or nil and why nothing is
function History:find(node, epoch, token, done)
  self.reader:read(Journal.logOf(node, epoch), Sessions, function(reading)
    local session = reading.byToken[token]
    if reading.problem then return done(nil, reading.problem) end
    if not session then return done(nil, "its node's journal does not know it") end
    if session.isBroken then return done(nil, "its node's journal has a gap") end
    done(session)
  end)
end

-- The log of a set, read: its events.
local Events = {}
Events.__index = Events

function Events.new()
  return setmetatable({list = {}, textOf = {}}, Events)
end

function Events:add(entry)
  self.list[#self.list + 1] = entry
  self.textOf[entry[1]] = entry[2]
end

-- Reads the logs of the class and of the rooms, one after the other.
function History:readRooms(session, done)
  local topicOf, reader = self.cluster.topicOf, self.reader
  local topics, logs = {topicOf(session.class)}, {}
  for room in pairs(session.rooms) do topics[#topics + 1] = topicOf(session.class, room) end
  local function following(i)
    if i > #topics then return done(logs) end
    reader:read(Journal.eventsOf(topics[i]), Events, function(reading)
      if reading.problem then return done(nil, reading.problem) end
      logs[i] = reading
      following(i + 1)
    end)
  end
  reader:read(Journal.GAPS, Events, function(gaps)
    if gaps.problem then return done(nil, gaps.problem) end
    if #gaps.list > 0 then return done(nil, "events were not kept: clients fire too many") end
    following(1)
  end)
end

local function textIn(logs, name)
  for _, kept in ipairs(logs) do
    if kept.textOf[name] then return kept.textOf[name] end
  end
end

-- The place in a log of the last event that a client has from before, by node and stream. A node
-- writes the events of a stream in their order: the client has those before, too.
local function lastOf(had, list)
  local places = {}
  for i, entry in ipairs(list) do
    if had[entry[1]] then places[entry[1]:match "^(.*)%.%d+$"] = i end
  end
  return places
end

-- The place in a log of the last note that a session is in the set; 0: there is none.
local function noteOf(token, list)
  for i = #list, 1, -1 do
    if list[i][1] == "+" .. token then return i end
  end
  return 0
end

-- Adds events of a log that come after what is known to have been for the client, and that the
-- client wasn't sent. Returns false when they can't be told: one was not kept, or the log's
-- beginning wasn't.
local function addLater(session, token, reading, missed, known)
  local hasBegun, hasEvents = false, false
  local note = noteOf(token, reading.list)
  local places = lastOf(session.had, reading.list)
  for i, entry in ipairs(reading.list) do
    local name, text = entry[1], entry[2]
    local stream = name:match "^(.*)%.%d+$"
    if i == note or i > note and known[name] then
      hasBegun = true
    elseif i < note or stream and i <= (places[stream] or 0) then
      hasEvents = true
    elseif name:byte() ~= PLUS then -- a + begins the note of another client
      hasEvents = true
      if hasBegun and not text then return false end
      if hasBegun then
        missed[#missed + 1] = text
        known[name] = true
      end
    end
  end
  return hasBegun or not hasEvents
end

-- What the journal tells that the client was sent and has not received. Returns nil when a
-- message was not kept.
local function sentOf(session, received, logs)
  local missed = {}
  for number = received + 1, session.last do
    local name = session.names[number - session.first]
    local text = session.texts[number] or name and textIn(logs, name)
    if not text then return nil end
    missed[#missed + 1] = text
  end
  return missed
end

--- Finds out what a client has missed.
-- @tparam table session as `find` gives it
-- @tparam string token
-- @tparam number received how many messages of the session the client has
-- @tparam function done gets a list of texts, and the names of all events that are among them or
-- were sent; or nil and why that can't be found out
function History:missed(session, token, received, done)
  if received > session.last or received < session.first then
    return done(nil, ("it has %d messages, and the journal tells of %d to %d"):format(received,
      session.first, session.last))
  end
  self:readRooms(session, function(logs, problem)
    if not logs then return done(nil, problem) end
    local missed, known = sentOf(session, received, logs), {}
    if not missed then return done(nil, "a message was not kept") end
    for _, name in ipairs(session.names) do
      if name then known[name] = true end
    end
    for _, reading in ipairs(logs) do
      if not addLater(session, token, reading, missed, known) then
        return done(nil, "an event was not kept")
      end
    end
    done(missed, known)
  end)
end

return History
