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
-- @module sync.journal

local buffer = require "string.buffer"
local cluster = require "sync.cluster"
local core = require "sync.core"
local frame = require "sync.frame"
local json = require "sync.jsonwire"
local log = require "sync.log"
local loop = require "sync.loop"
local Share = require "sync.share"

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
local READ = 1000          -- entries at once
local MOST_READ = 40       -- times
local READING_SECONDS = 2  -- that a journal which was read is kept

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
      getmetatable(client).name))
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
  add({"state", session.sid, session.token, getmetatable(client).name, session.last, rooms,
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
    keepBegin(cluster.topicOf(getmetatable(client).name), client.session.token)
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
  keepBegin(cluster.topicOf(getmetatable(client).name, room), session.token)
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

-- Reading.

local function decode(bytes)
  local ok, value = pcall(frame.decode, bytes, 0)
  return ok and type(value) == "table" and value or {}
end

-- Reads a log to its end, and calls `done` with its entries, or nil.
local function readAll(name, done)
  local all, times = {}, 0
  local function more(list, problem)
    times = times + 1
    if not list then return done(nil, "the engine: " .. problem) end
    if times > MOST_READ then return done(nil, "its journal is too long") end
    for _, entry in ipairs(list) do all[#all + 1] = decode(entry.bytes) end
    if #list < READ then return done(all) end
    cluster.engine:read(name, list[#list].id, READ, more)
  end
  cluster.engine:read(name, "", READ, more)
end

-- What an item does to the session that is looked for. Returns it.
local apply = {}

function apply.state(session, item, token)
  local _, sid, itsToken, class, last, rooms, fields = unpack(item)
  if itsToken ~= token then return session end
  if session then -- it is known to here; the item says the same
    session.rooms, session.fields = rooms, fields
    if last ~= session.last then session.isBroken = true end
    return session
  end
  return {sid = sid, class = class, last = last, first = last, rooms = rooms, fields = fields,
    names = {}, texts = {}, delivered = {}}
end

local function deliver(session, number)
  if number ~= session.last + 1 then session.isBroken = true end
  session.last = number
end

function apply.event(session, item)
  for i = 3, session and #item or 0, 2 do
    if item[i] == session.sid then
      deliver(session, item[i + 1])
      session.names[item[i + 1]] = item[2]
      session.delivered[item[2]] = true
    end
  end
  return session
end

function apply.text(session, item)
  if session and item[2] == session.sid then
    deliver(session, item[3])
    session.texts[item[3]] = item[4]
  end
  return session
end

function apply.join(session, item)
  if session and item[2] == session.sid then session.rooms[item[3]] = item[4] end
  return session
end

function apply.field(session, item)
  if session and item[2] == session.sid then session.fields[item[3]] = item[4] end
  return session
end

function apply.leave(session, item)
  if session and item[2] == session.sid then session.rooms[item[3]] = nil end
  return session
end

apply["end"] = function(session, item)
  if session and item[2] == session.sid then return nil end
  return session
end

-- Many clients of a node that has died come at once: its journal is read for all who ask while
-- that is done, and a moment longer.
local readings = {}        -- by log: {entries or nil, problem, those who wait or nil}

local function readOnce(name, done)
  local reading = readings[name]
  if reading and reading.waiting then
    table.insert(reading.waiting, done)
    return
  elseif reading then
    return done(reading.entries, reading.problem)
  end
  reading = {waiting = {done}}
  readings[name] = reading
  readAll(name, function(entries, problem)
    local waiting = reading.waiting
    reading.entries, reading.problem, reading.waiting = entries, problem, nil
    loop.startTimer(READING_SECONDS, 0, function() readings[name] = nil end)
    for _, each in ipairs(waiting) do each(entries, problem) end
  end)
end

--- Looks for a session of a node that has died. `done` gets what is known of it, or nil and why
-- nothing is.
function journal.find(node, epoch, token, done)
  readOnce(logName(node, epoch), function(entries, problem)
    if not entries then return done(nil, problem) end
    local session
    for _, entry in ipairs(entries) do
      for _, item in ipairs(entry) do
        local act = apply[item[1]]
        if act then session = act(session, item, token) end
      end
    end
    if not session then return done(nil, "its node's journal does not know it") end
    if session.isBroken then return done(nil, "its node's journal has a gap") end
    done(session)
  end)
end

-- Reads the logs of the rooms, one after the other: lists of {name, text}.
local function readRooms(session, done)
  local topics, logs = {cluster.topicOf(session.class)}, {}
  for room in pairs(session.rooms) do
    topics[#topics + 1] = cluster.topicOf(session.class, room)
  end
  local function following(i)
    if i > #topics then return done(logs) end
    readAll("e/" .. topics[i], function(entries, problem)
      if not entries then return done(nil, problem) end
      logs[i] = entries
      following(i + 1)
    end)
  end
  readAll(GAPS, function(gaps, problem)
    if not gaps then return done(nil, problem) end
    if #gaps > 0 then return done(nil, "events were not kept: clients fire too many") end
    following(1)
  end)
end

-- Events of a log that come after what is known to have been for the client, and that it
-- wasn't sent.
-- Returns false when that can't be told: one was not kept, or the log's beginning wasn't.
local function addLater(session, token, entries, missed, known)
  local hasBegun, hasEvents = false, false
  for _, entry in ipairs(entries) do
    local name, text = entry[1], entry[2]
    if name == "+" .. token or session.delivered[name] then
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
    local textOf = {}
    for _, entries in ipairs(logs) do
      for _, entry in ipairs(entries) do textOf[entry[1]] = entry[2] end
    end
    local missed, known = {}, {}
    for name in pairs(session.delivered) do known[name] = true end
    for number = received + 1, session.last do
      local text = session.texts[number] or textOf[session.names[number]]
      if not text then return done(nil, "a message was not kept") end
      missed[#missed + 1] = text
    end
    for _, entries in ipairs(logs) do
      if not addLater(session, token, entries, missed, known) then
        return done(nil, "an event was not kept")
      end
    end
    done(missed, known)
  end)
end

return journal
