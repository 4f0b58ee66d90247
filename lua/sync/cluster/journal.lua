--- What is left of a node's sessions when the node dies: with the engine, for a bounded time.
--
-- A node that has clients of a class with `resumeTime` writes down, at the end of each tick,
-- what they were sent: once for all that were sent the same. Whoever fires an event keeps the
-- event in the log of its room. From both the node to which a client comes back finds out what
-- the client has missed (see lua/sync/cluster/history.lua): what was sent to it, and what was
-- fired after its node had died.
--
-- Items of the journal, each in a list:
--
--     {"state", sid, token, class, last, rooms, fields}    all of a session, now and then
--     {"event", name, sid, number, sid, number, …}         an event, and whom it was sent to
--     {"text", sid, number, text}                          what was for one client alone
--     {"join", sid, room, value} and {"leave", sid, room}
--     {"field", sid, name, value}
--     {"had", sid, name, …}           events that it has from before, and rooms' logs tell of
--     {"end", sid}
-- @classmod sync.cluster.journal

local Share = require "sync.cluster.share"
local buffer = require "string.buffer"
local log = require "sync.log"
local loop = require "sync.loop"
local values = require "sync.cluster.values"

local MOST_ENTRIES = 20000 -- of a node's journal
local MOST_BYTES = 16 * 1024 * 1024 -- the same
local MOST_EVENTS = 1000   -- of a room
local ROOM_BYTES = 4 * 1024 * 1024 -- of a room whose events are as long as the last one
local KEEP_SECONDS = 120
local OUT_SECONDS = 60     -- that a session is left out which has taken too much
local GAP_SECONDS = 1      -- between entries that say that events were not kept
local MIB = 1024 * 1024
local STATE_SECONDS = 10   -- after which all of a session is written again
local ENTRY = 48 * 1024    -- bytes, about
local ROOM_COST, NUMBER_COST, ENTRY_COST = 40, 8, 100

local Journal = {
  --- The log of events of which not even the log of their room says anything.
  GAPS = "e/!",
}
Journal.__index = Journal

--- Makes that of a node.
-- @tparam sync.cluster cluster
function Journal.new(cluster)
  local self
  local clock = cluster.clock
  self = setmetatable({
    cluster = cluster, now = clock.now,
    items = {}, size = 0,   -- of this tick
    shared = {},            -- items of events, by name
    hasGap = false,         -- something could not be written
    lastSid = 0,
    sessions = {},          -- clients that have one, by sid
    out = {},               -- since when clients are left out
    -- The lengths of the newest entries, which nobody else writes.
    lengths = {first = 1, last = 0, sum = 0},
    gapSaidAt = -math.huge,
    -- Bytes that a client may take in KEEP_SECONDS: by events that it fires, by what stands in
    -- their place when these are too many, and of the journal.
    events = Share.new(4 * MIB, KEEP_SECONDS, clock),
    marks = Share.new(MIB, KEEP_SECONDS, clock),
    ofJournal = Share.new(4 * MIB, KEEP_SECONDS, clock),
    atEnd = function() self:write() end,
    onWritten = function(id) self.hasGap = self.hasGap or not id end,
  }, Journal)
  return self
end

--- The log of a node's journal.
-- @tparam number node
-- @tparam number epoch
function Journal.logOf(node, epoch)
  return ("j/%d.%d"):format(node, epoch)
end

--- The log of a set's events.
-- @tparam string topic of the set
function Journal.eventsOf(topic)
  return "e/" .. topic
end

-- Writing.

-- How many entries of the journal are kept with one more of a length.
local function newest(list, length)
  list.last, list.sum = list.last + 1, list.sum + length
  list[list.last] = length
  while list.sum > MOST_BYTES or list.last - list.first >= MOST_ENTRIES do
    list.sum = list.sum - list[list.first]
    list[list.first] = nil
    list.first = list.first + 1
  end
  return list.first > 1 and list.last - list.first + 1 or MOST_ENTRIES
end

function Journal:write()
  if #self.items == 0 then return end
  local cluster, bytes = self.cluster, buffer.encode(self.items)
  cluster.engine:append(self.logOf(cluster.node, cluster.epoch), bytes,
    newest(self.lengths, #bytes), KEEP_SECONDS, self.onWritten)
  self.items, self.size, self.shared = {}, 0, {}
end

function Journal:add(item, cost)
  if self.size + cost > ENTRY then self:write() end
  self.items[#self.items + 1] = item
  self.size = self.size + cost
  loop.atEnd(self.atEnd)
end

-- What sessions are.

--- The fields of a client that go with its session, as texts by name.
function Journal.fieldsOf(client)
  local fields = {}
  local function note(name)
    local text = values.note(rawget(client, name), ("the field %s of a %s"):format(name,
      getmetatable(client).className))
    if text ~= "" then fields[name] = text end
  end
  for _, name in ipairs(client.resumeFields) do note(name) end
  if client.auth then note "user" end -- who alone may have the session
  return fields
end

local fieldsOf = Journal.fieldsOf

--- The rooms of a client, and the values with which it has joined, as texts by name.
function Journal.roomsOf(client)
  local rooms, joined = {}, client.joined
  for name in pairs(joined and joined.rooms or {}) do
    rooms[name] = values.note(joined.values and joined.values[name], "a member's value")
  end
  return rooms
end

-- Whether there is room for more of a session. If there isn't, the session is left out.
function Journal:pay(session, cost)
  if cost <= ENTRY and self.ofJournal:take(session, cost) then return true end
  local client = self.sessions[session.sid]
  log.limited("info", "journal", "a client takes more of the journal than it may: it would " ..
    "begin anew if this node died", {client = client.id})
  self.out[client] = self.now()
  self:finish(session)
  return false
end

-- Writes all of a session. Returns whether there was room for it.
function Journal:state(client)
  local session, rooms, fields = client._session, self.roomsOf(client), fieldsOf(client)
  local cost = 200
  for _, texts in ipairs {rooms, fields} do
    for name, value in pairs(texts) do cost = cost + #tostring(name) + #value + ROOM_COST end
  end
  session.statedAt = self.now()
  if not self:pay(session, cost) then return false end
  self:add({"state", session.sid, session.token, getmetatable(client).className, session.last,
    rooms, fields}, cost)
  return true
end

function Journal:takeBack(time)
  for client, since in pairs(self.out) do
    local isThere = client.slot ~= 0 or client._session.away
    if not isThere or time - since > OUT_SECONDS then
      self.out[client] = nil
      if isThere and not client._session.sid then self:begin(client) end
    end
  end
end

--- Once a second: writes anew what has become old, and everything when there was a gap.
function Journal:beat()
  if not self.cluster.engine:isUp() then return end
  local time, list, isNew = self.now(), {}, self.hasGap
  self.hasGap = false
  self:takeBack(time)
  for _, client in pairs(self.sessions) do list[#list + 1] = client end
  for _, client in ipairs(list) do
    if isNew then
      self:restart(client)
    elseif time - client._session.statedAt > STATE_SECONDS then
      self:state(client)
    end
  end
  self:write()
end

-- Notes in the log of a set that a session is in the set: events that stand before were not for
-- the session. Where there is no note, the session begins anew if there are events.
function Journal:keepBegin(topic, token)
  if not self.events:take(loop.cause(), ENTRY_COST + #topic + #token) then return end
  self.cluster.engine:append(self.eventsOf(topic), buffer.encode {"+" .. token, ""}, MOST_EVENTS,
    KEEP_SECONDS)
end

--- A session begins. The logs of the class and of the client's rooms note this.
function Journal:begin(client)
  self.lastSid = self.lastSid + 1
  client._session.sid = self.lastSid
  self.sessions[self.lastSid] = client
  if not self:state(client) then return end
  local name, topicOf, token = getmetatable(client).className, self.cluster.topicOf,
    client._session.token
  self:keepBegin(topicOf(name), token)
  for room in pairs(client.joined and client.joined.rooms or {}) do
    self:keepBegin(topicOf(name, room), token)
  end
end

--- A session goes on that another process of this node has begun, with its number.
function Journal:goOn(client, sid)
  client._session.sid, client._session.statedAt = sid, self.now()
  self.sessions[sid] = client
end

--- A session begins anew, with the number that it has: what was written of it before counts no
-- more.
function Journal:restart(client)
  self:finish(client._session)
  self:begin(client)
end

--- A session ends.
function Journal:finish(session)
  if not session.sid then return end
  self.sessions[session.sid] = nil
  self:add({"end", session.sid}, NUMBER_COST)
  session.sid = nil
end

--- A text was sent, or is kept, as the session's `number`-th. Events of a set have a name.
function Journal:note(session, number, name, text)
  if not name then
    if #text > ENTRY then text = false end -- can't be brought back
    local cost = NUMBER_COST + (text and #text or 0)
    if self:pay(session, cost) then self:add({"text", session.sid, number, text}, cost) end
    return
  end
  local item = self.shared[name]
  if not item then
    item = {"event", name}
    self:add(item, #name)
    self.shared[name] = item
  end
  if self.size + 2 * NUMBER_COST > ENTRY then
    self:write()
    return self:note(session, number, name, text)
  end
  item[#item + 1], item[#item + 2] = session.sid, number
  self.size = self.size + 2 * NUMBER_COST
end

--- A session has begun on this node with events (their names are keys) that came while it was on
-- its way: they stand in the logs of its rooms behind the note that it's there.
function Journal:had(session, names)
  local item, cost = {"had", session.sid}, ENTRY_COST
  for name in pairs(names) do
    item[#item + 1] = name
    cost = cost + #name + NUMBER_COST
  end
  if session.sid and next(names) and self:pay(session, cost) then self:add(item, cost) end
end

--- A client has come into a room. The room's log notes this, too.
function Journal:joined(client, room)
  local session, joined = client._session, client.joined
  local text = values.note(joined.values and joined.values[room], "a member's value")
  local list = {{"join", room, text}}
  for name, encoded in pairs(fieldsOf(client)) do list[#list + 1] = {"field", name, encoded} end
  for _, each in ipairs(list) do
    local kind, name, encoded = unpack(each)
    local cost = #tostring(name) + #encoded + ROOM_COST
    if not self:pay(session, cost) then return end
    self:add({kind, session.sid, name, encoded}, cost)
  end
  self:keepBegin(self.cluster.topicOf(getmetatable(client).className, room), session.token)
end

--- A client has left a room.
function Journal:left(client, room)
  local cost = #tostring(room) + ROOM_COST
  if self:pay(client._session, cost) then self:add({"leave", client._session.sid, room}, cost) end
end

-- Says that some events are nowhere: who is looked for in the next minutes begins anew.
function Journal:sayGap()
  if self.now() - self.gapSaidAt < GAP_SECONDS then return end
  self.gapSaidAt = self.now()
  self.cluster.engine:append(self.GAPS, buffer.encode {"", false}, 1, KEEP_SECONDS)
end

--- Keeps an event of a set in the log of its topic; its text, as far as who has fired it may.
function Journal:keepEvent(topic, name, text)
  local cause, cost = loop.cause(), ENTRY_COST + #topic + #name
  if #text > ENTRY or not self.events:take(cause, cost + #text) then
    text = false
    if not self.marks:take(cause, cost) then return self:sayGap() end
  end
  local most = math.floor(ROOM_BYTES / (cost + #(text or "")))
  self.cluster.engine:append(self.eventsOf(topic), buffer.encode {name, text},
    math.min(MOST_EVENTS, most), KEEP_SECONDS)
end

return Journal
