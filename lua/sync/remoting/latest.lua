--- Events that are worthless when late: what may stand before the name in `fire`.
--
-- `{late = false}`: a client that is behind, or away, doesn't get the event. It isn't kept for
-- resuming, nor counted by either side, so one that goes to a client with a session says so.
--
-- `{latest = "key"}`: of those with one key, a client that reads slowly gets the last. While a
-- client is behind, or away, the last event of each key waits here, in the order of their keys;
-- events without a key may overtake. What waits isn't kept for resuming, nor counted, until it is
-- sent.
-- @module sync.remoting.latest

local core = require "sync.core"
local loop = require "sync.loop"

local C, handle = core.C, core.handle

local MOST = 64      -- keys of a client
local MOST_KEY = 128 -- bytes of one
local SECONDS = 0.02 -- until it's looked again whether clients can take what waits

local latest = {}

-- Clients for whom something waits: lists of keys, and texts by key.
local waiting = {}
local timer

local function isBehind(client)
  return client.slot == 0 or C.sync_is_behind(handle, client.slot) ~= 0
end

-- The client has gone, and won't come back.
local function isOver(client)
  local session = client._session
  return client.closing and not (session and session.away)
end

local function sendAll(client, held)
  waiting[client] = nil
  for _, key in ipairs(held.keys) do client:transmit(held.texts[key], held.events[key]) end
end

local function look()
  for client, held in pairs(waiting) do
    if isOver(client) then
      waiting[client] = nil
    elseif not isBehind(client) then
      sendAll(client, held)
    end
  end
  if next(waiting) == nil then
    loop.stopTimer(timer)
    timer = nil
  end
end

--- What waits is queued: it goes to the next process as all that is unsent.
function latest.flush()
  local list = {}
  for client, held in pairs(waiting) do list[#list + 1] = {client, held} end
  for _, entry in ipairs(list) do
    if isOver(entry[1]) then waiting[entry[1]] = nil else sendAll(entry[1], entry[2]) end
  end
end

local function hold(client, key, text, event)
  local held = waiting[client]
  if not held then
    held = {keys = {}, texts = {}, events = {}}
    waiting[client] = held
    timer = timer or loop.startTimer(SECONDS, SECONDS, look)
  end
  if not held.texts[key] then
    if #held.keys == MOST then return false, "dropped" end
    held.keys[#held.keys + 1] = key
  end
  held.texts[key], held.events[key] = text, event
  return true
end

--- What stands before the name in `fire`, or an error.
-- @tparam table given
-- @tparam number level of who is told, as in `error`
-- @treturn string|boolean the key of `latest`; false: `late = false`
function latest.options(given, level)
  local name, value = next(given)
  local isKey = name == "latest" and type(value) == "string" and #value <= MOST_KEY
  local isFalse = name == "late" and value == false
  if next(given, name) ~= nil or not isKey and not isFalse then
    error(('fire(options, name, …): the options are {latest = "key"}, of at most %d bytes, or ' ..
      "{late = false}"):format(MOST_KEY), level + 1)
  end
  return isKey and value
end

--- Sends an event now, or not at all.
-- @tparam sync.Remote client
-- @tparam table event of `Session.event`
-- @treturn boolean,string as `send`; false and "dropped" to one that is behind or away
function latest.now(client, event)
  if isOver(client) then return false, "closed" end
  local session = client._session
  if isBehind(client) or session and session.isHeld then return false, "dropped" end
  if not session then return client:transmitNow(event.text) end
  event.late = event.late or client._wire.late(event.text)
  return client:transmitNow(event.late)
end

--- Sends a text now, or when the client can take it, unless another with its key comes before.
-- @tparam sync.Remote client
-- @tparam string key
-- @tparam string text
-- @tparam[opt] table event as `transmit` has it
-- @treturn boolean,string as `send`; false and "dropped" where 64 keys wait already
function latest.send(client, key, text, event)
  if isOver(client) then return false, "closed" end
  if waiting[client] or isBehind(client) then return hold(client, key, text, event) end
  return client:transmit(text, event)
end

return latest
