--- What is left of a node's sessions when it dies: with the engine, for a bounded time.
--
-- A node that has clients of a class with `resumeTime` writes down, at the end of each tick,
-- what they were sent in it: once for all that were sent the same. Whoever fires an event keeps
-- it in the log of its room. From both the node to which a client comes back finds out what
-- that one has missed: what was sent to it, and what was fired after its node had died.
--
-- Items of the journal, each in a list:
--
--     {"state", sid, token, class, last, rooms, fields}    all of a session, now and then
--     {"event", name, sid, number, sid, number, …}         an event, and whom it was sent to
--     {"text", sid, number, text}                          what was for one client alone
--     {"join", sid, room, value} and {"leave", sid, room}
--     {"end", sid}
-- @module sync.cluster.journal

local buffer = require "string.buffer"
local cluster = require "sync.cluster"
local core = require "sync.core"
local frame = require "sync.cluster.frame"
local json = require "sync.remoting.json"
local log = require "sync.log"
local loop = require "sync.loop"
local Share = require "sync.cluster.share"

local now = core.C.sync_now

local MOST_ENTRIES = 20000 -- of a node's journal
local MOST_BYTES = 16 * 1024 * 1024 -- the same
local MOST_EVENTS = 1000   -- of a room
local ROOM_BYTES = 4 * 1024 * 1024 -- of a room whose events are as long as the last one
local KEEP_SECONDS = 120
local OUT_SECONDS = 60     -- that a session is left out which has taken too much
local GAP_SECONDS = 1      -- between entries that say that events were not kept
local MIB = 1024 * 1024
local PLUS = ("+"):byte()
local STATE_SECONDS = 10   -- after which all of a session is written again
local ENTRY = 48 * 1024    -- bytes, about
local ROOM_COST, NUMBER_COST, ENTRY_COST = 40, 8, 100
local GAPS = "e/!"         -- the log of events of which not even their room's log says anything
local READ = 32            -- entries at once: what a worker is told in one message holds them
local MOST_READ = 64 * 1024 * 1024 -- bytes of a log
local MOST_READING = 8     -- logs at a time
local READING_SECONDS = 2  -- that a journal which was read is kept, at least
local READING_SHARE = 4    -- and as many times as long as reading took
local CHORES_SECONDS = 0.005 -- that reading, and what follows, may have of a tick

local journal = {}

local items, size = {}, 0  -- of this tick
local shared = {}          -- items of events, by name
local hasGap = false       -- something could not be written
local lastSid = 0
local sessions = {}        -- clients that have one, by sid
local out = {}             -- since when clients are left out

-- Bytes that a client may take in KEEP_SECONDS: by events that it fires, by what stands in their
-- place when these are too many, and of the journal.
local events = Share.new(4 * MIB, KEEP_SECONDS)
local marks = Share.new(MIB, KEEP_SECONDS)
local ofJournal = Share.new(4 * MIB, KEEP_SECONDS)

local function logName(node, epoch)
  return ("j/%d.%d"):format(node, epoch)
end

local function onWritten(id)
  hasGap = hasGap or not id
end

-- The lengths of the journal's newest entries, which nobody else writes.
local lengths = {first = 1, last = 0, sum = 0}

-- How many entries of the journal are kept with one more of a length.
local function newest(length)
  local list = lengths
  list.last, list.sum = list.last + 1, list.sum + length
  list[list.last] = length
  while list.sum > MOST_BYTES or list.last - list.first >= MOST_ENTRIES do
    list.sum = list.sum - list[list.first]
    list[list.first] = nil
    list.first = list.first + 1
  end
  return list.first > 1 and list.last - list.first + 1 or MOST_ENTRIES
end

local function write()
  if #items == 0 then return end
  local bytes = buffer.encode(items)
  cluster.engine:append(logName(cluster.node, cluster.epoch()), bytes, newest(#bytes),
    KEEP_SECONDS, onWritten)
  items, size, shared = {}, 0, {}
end

local function add(item, cost)
  if size + cost > ENTRY then write() end
  items[#items + 1] = item
  size = size + cost
  loop.atEnd(write)
end

local function fieldsOf(client)
  local fields = {}
  for _, name in ipairs(client.resumeFields) do
    local text = json.note(rawget(client, name), ("the field %s of a %s"):format(name,
      getmetatable(client).className))
    if text ~= "" then fields[name] = text end
  end
  return fields
end
journal.fieldsOf = fieldsOf

local function roomsOf(client)
  local rooms, joined = {}, client.joined
  for name in pairs(joined and joined.rooms or {}) do
    rooms[name] = json.note(joined.values and joined.values[name], "a member's value")
  end
  return rooms
end
journal.roomsOf = roomsOf

-- Whether there is room for more of a session. If there isn't, it's left out.
local function pay(session, cost)
  if cost <= ENTRY and ofJournal:take(session, cost) then return true end
  log.limited("info", "journal", "a client takes more of the journal than it may: it would " ..
    "begin anew if this node died", {client = sessions[session.sid].id})
  out[sessions[session.sid]] = now()
  journal.finish(session)
  session.sid = nil
  return false
end

-- Writes all of a session. Returns whether there was room for that.
local function state(client)
  local session, rooms, fields = client.session, roomsOf(client), fieldsOf(client)
  local cost = 200
  for _, texts in ipairs {rooms, fields} do
    for name, value in pairs(texts) do cost = cost + #tostring(name) + #value + ROOM_COST end
  end
  session.statedAt = now()
  if not pay(session, cost) then return false end
  add({"state", session.sid, session.token, getmetatable(client).className, session.last, rooms,
    fields}, cost)
  return true
end

local function takeBack(time)
  for client, since in pairs(out) do
    local isThere = client.slot ~= 0 or client.session.away
    if not isThere or time - since > OUT_SECONDS then
      out[client] = nil
      if isThere and not client.session.sid then journal.begin(client) end
    end
  end
end

-- Once a second.
local function stateAll()
  if not cluster.engine:isUp() then return end
  local time, list, isNew = now(), {}, hasGap
  hasGap = false
  takeBack(time)
  for _, client in pairs(sessions) do list[#list + 1] = client end
  for _, client in ipairs(list) do
    if isNew then
      journal.restart(client)
    elseif time - client.session.statedAt > STATE_SECONDS then
      state(client)
    end
  end
  write()
end

-- Notes in the log of a set that a session is in it: events that stand before that were not for
-- it. Where there is no note, the session begins anew if there are events.
local function keepBegin(topic, token)
  if not events:take(loop.cause(), ENTRY_COST + #topic + #token) then return end
  cluster.engine:append("e/" .. topic, buffer.encode {"+" .. token, ""}, MOST_EVENTS, KEEP_SECONDS)
end

--- A session begins. The log of the class notes it.
function journal.begin(client)
  lastSid = lastSid + 1
  client.session.sid = lastSid
  sessions[lastSid] = client
  if #cluster.everyBeat == 0 then table.insert(cluster.everyBeat, stateAll) end
  if state(client) then
    keepBegin(cluster.topicOf(getmetatable(client).className), client.session.token)
  end
end

--- It begins anew, with the number that it has: what was written of it before counts no more.
function journal.restart(client)
  journal.finish(client.session)
  journal.begin(client)
end

function journal.finish(session)
  if not session.sid then return end
  sessions[session.sid] = nil
  add({"end", session.sid}, NUMBER_COST)
  session.sid = nil
end

--- A text was sent, or is kept, as the session's `number`-th. Events of a set have a name.
function journal.note(session, number, name, text)
  if not name then
    if #text > ENTRY then text = false end -- can't be brought back
    local cost = NUMBER_COST + (text and #text or 0)
    if pay(session, cost) then add({"text", session.sid, number, text}, cost) end
    return
  end
  local item = shared[name]
  if not item then
    item = {"event", name}
    add(item, #name)
    shared[name] = item
  end
  if size + 2 * NUMBER_COST > ENTRY then
    write()
    return journal.note(session, number, name, text)
  end
  item[#item + 1], item[#item + 2] = session.sid, number
  size = size + 2 * NUMBER_COST
end

--- The client has come into a room. The room's log notes it, too.
function journal.joined(client, room)
  local session, joined = client.session, client.joined
  local text = json.note(joined.values and joined.values[room], "a member's value")
  local list = {{"join", room, text}}
  for name, encoded in pairs(fieldsOf(client)) do list[#list + 1] = {"field", name, encoded} end
  for _, each in ipairs(list) do
    local kind, name, encoded = unpack(each)
    local cost = #tostring(name) + #encoded + ROOM_COST
    if not pay(session, cost) then return end
    add({kind, session.sid, name, encoded}, cost)
  end
  keepBegin(cluster.topicOf(getmetatable(client).className, room), session.token)
end

function journal.left(client, room)
  local cost = #tostring(room) + ROOM_COST
  if pay(client.session, cost) then add({"leave", client.session.sid, room}, cost) end
end

-- Says that some events are nowhere: who is looked for in the next minutes begins anew.
local gapSaidAt = -math.huge
local function sayGap()
  if now() - gapSaidAt < GAP_SECONDS then return end
  gapSaidAt = now()
  cluster.engine:append(GAPS, buffer.encode {"", false}, 1, KEEP_SECONDS)
end

--- Keeps an event of a set in the log of its topic; its text, as far as who has fired it may.
function journal.keepEvent(topic, name, text)
  local cause, cost = loop.cause(), ENTRY_COST + #topic + #name
  if #text > ENTRY or not events:take(cause, cost + #text) then
    text = false
    if not marks:take(cause, cost) then return sayGap() end
  end
  local most = math.floor(ROOM_BYTES / (cost + #(text or "")))
  cluster.engine:append("e/" .. topic, buffer.encode {name, text}, math.min(MOST_EVENTS, most),
    KEEP_SECONDS)
end

-- Reading. What many clients make this node do is done bit by bit, so that others don't wait.

local chores, firstChore, lastChore, isBusy = {}, 1, 0, false

local function doChores()
  local stop = now() + CHORES_SECONDS
  repeat
    local fn = chores[firstChore]
    chores[firstChore] = nil
    firstChore = firstChore + 1
    local ok, problem = xpcall(fn, debug.traceback)
    if not ok then
      log.limited("error", "journal", "error in what was read of a journal: " .. tostring(problem))
    end
  until firstChore > lastChore or now() >= stop
  if firstChore <= lastChore then return loop.startTimer(0, 0, doChores) end
  firstChore, lastChore, isBusy = 1, 0, false
end

local function later(fn)
  lastChore = lastChore + 1
  chores[lastChore] = fn
  if not isBusy then loop.startTimer(0, 0, doChores) end
  isBusy = true
end

-- Readings of logs, a few at a time. Those who ask for the same one share it: of the log of a
-- room if it hasn't begun, for they want what comes until they ask; of a journal, which
-- changes no more, also while it is read, and a while longer.
local readings = {}        -- by log, which may still be shared
local waiting, firstWaiting, lastWaiting, underWay = {}, 1, 0, 0

local startNext

-- Ends a reading. Who waits is told.
local function tellAll(self, problem)
  self.problem, self.isDone = problem, true
  underWay = underWay - 1
  if self.isLasting then
    local seconds = math.max(READING_SECONDS, READING_SHARE * (now() - self.begun))
    loop.startTimer(seconds, 0, function() readings[self.name] = nil end)
  end
  for _, done in ipairs(self.waiting) do later(function() done(self) end) end
  self.waiting = nil
  startNext()
end

local function takeEntries(self, list)
  for _, entry in ipairs(list) do
    self.bytes = self.bytes + #entry.bytes
    self:add(frame.decode(entry.bytes, 0))
  end
end

local readOn

local function takePage(self, list, problem)
  if not list then return tellAll(self, "the engine: " .. tostring(problem)) end
  if not pcall(takeEntries, self, list) then return tellAll(self, "its log can't be read") end
  if #list < READ then return tellAll(self) end
  if self.bytes > MOST_READ then return tellAll(self, "its log is too long") end
  readOn(self, list[#list].id)
end

function readOn(self, after)
  local function done(list, problem)
    later(function() takePage(self, list, problem) end)
  end
  local engine = cluster.engine
  local ok, problem = pcall(engine.read, engine, self.name, after, READ, done)
  if not ok then done(nil, problem) end
end

function startNext()
  while underWay < MOST_READING and firstWaiting <= lastWaiting do
    local self = waiting[firstWaiting]
    waiting[firstWaiting] = nil
    firstWaiting = firstWaiting + 1
    underWay = underWay + 1
    if not self.isLasting then readings[self.name] = nil end
    self.begun = now()
    readOn(self, "")
  end
end

-- Calls `done` with the reading of a log, which `Kind.new` makes.
local function read(name, Kind, done)
  local self = readings[name]
  if self and self.isDone then return later(function() done(self) end) end
  if not self then
    self = Kind.new()
    self.name, self.bytes, self.waiting = name, 0, {}
    readings[name] = self
    lastWaiting = lastWaiting + 1
    waiting[lastWaiting] = self
  end
  table.insert(self.waiting, done)
  startNext()
end

-- A node's journal: its sessions by token.
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
    texts = {}}  -- of those, by number
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

--- Looks for a session of a node that has died. `done` gets what is known of it, or nil and why
-- nothing is.
function journal.find(node, epoch, token, done)
  read(logName(node, epoch), Sessions, function(reading)
    local session = reading.byToken[token]
    if reading.problem then return done(nil, reading.problem) end
    if not session then return done(nil, "its node's journal does not know it") end
    if session.isBroken then return done(nil, "its node's journal has a gap") end
    done(session)
  end)
end

-- The log of a set: its events.
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
local function readRooms(session, done)
  local topics, logs = {cluster.topicOf(session.class)}, {}
  for room in pairs(session.rooms) do
    topics[#topics + 1] = cluster.topicOf(session.class, room)
  end
  local function following(i)
    if i > #topics then return done(logs) end
    read("e/" .. topics[i], Events, function(reading)
      if reading.problem then return done(nil, reading.problem) end
      logs[i] = reading
      following(i + 1)
    end)
  end
  read(GAPS, Events, function(gaps)
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

-- Events of a log that come after what is known to have been for the client, and that it
-- wasn't sent.
-- Returns false when that can't be told: one was not kept, or the log's beginning wasn't.
local function addLater(token, reading, missed, known)
  local hasBegun, hasEvents = false, false
  for _, entry in ipairs(reading.list) do
    local name, text = entry[1], entry[2]
    if name == "+" .. token or known[name] then
      hasBegun = true
    elseif name:byte() ~= PLUS then -- no other client's
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

--- Finds out what a client has missed that has received `received` messages of a session.
-- `done` gets a list of texts, and the names of all events that are among them or were sent;
-- or nil and why that can't be found out.
function journal.missed(session, token, received, done)
  if received > session.last or received < session.first then
    return done(nil, ("it has %d messages, and the journal tells of %d to %d"):format(received,
      session.first, session.last))
  end
  readRooms(session, function(logs, problem)
    if not logs then return done(nil, problem) end
    local missed, known = {}, {}
    for _, name in ipairs(session.names) do
      if name then known[name] = true end
    end
    for number = received + 1, session.last do
      local name = session.names[number - session.first]
      local text = session.texts[number] or name and textIn(logs, name)
      if not text then return done(nil, "a message was not kept") end
      missed[#missed + 1] = text
    end
    for _, reading in ipairs(logs) do
      if not addLater(token, reading, missed, known) then
        return done(nil, "an event was not kept")
      end
    end
    done(missed, known)
  end)
end

return journal
