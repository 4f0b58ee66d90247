--- What a room's home does so that another node can go on with the room (`persist`): the room's
-- record in the engine, its snapshots, and whether it's still this home's.
--
-- A home may go on as long as its node's lease holds (lua/sync/cluster/lease.lua). When it
-- doesn't, the room is *paused*: it doesn't tick, nothing is called, fired or written. It goes on
-- with the same lease; or with a new one, when nobody else has taken the room; or it's let go.
-- @classmod sync.rooms.keep

local Class = require "sync.class"
local carried = require "sync.rooms.carried"
local core = require "sync.core"
local log = require "sync.log"
local loop = require "sync.loop"
local nodes = require "sync.rooms.nodes"
local saved = require "sync.state.saved"

local now = core.C.sync_now

local SECONDS = 1            -- between snapshots, if `persist` is true
local FRESH_SECONDS = 3600   -- after which one that hasn't changed is written again
local AGAIN_SECONDS = 1      -- after one that has failed

local Keep = Class:extend("Keep")

--- Makes that of a home.
-- @tparam Home home
-- @tparam table store `lease`, `kept` and `roll` of this node
-- @tparam[opt] Record record of a room that was begun elsewhere
function Keep.begin(home, store, record)
  local self = Keep:new {home = home, store = store, token = store.lease.token,
    record = record or store.kept:begin(home.room.id),
    isPaused = true, hasBegun = false, -- it has not gone on yet
    isTaken = false, isWriting = false,
    heir = false, isGiven = false,     -- a node that is to have the room; it may have it
    since = now(), due = 0, bytes = false, written = 0}
  home.keep, home.epoch = self, self.record.epoch
  home.state:setEpoch(home.epoch)
  store.roll:add(home.room.id)
  return self
end

--- What the next process of this node has to know, while nothing is being written.
function Keep:pack()
  return {token = self.token, record = self.record:pack(), isPaused = self.isPaused,
    hasBegun = self.hasBegun, isTaken = self.isTaken, since = self.since, due = self.due,
    bytes = self.bytes, written = self.written}
end

--- Makes that of a home there: nothing of it changes.
-- @tparam Home home
-- @tparam table store
-- @tparam table told of `pack`
function Keep.goOn(home, store, told)
  local self = Keep:new {home = home, store = store, isWriting = false, heir = false,
    isGiven = false}
  for name, value in pairs(told) do self[name] = value end
  self.record = store.kept:goOn(home.room.id, told.record)
  home.keep, home.epoch = self, self.record.epoch
  home.state:setEpoch(home.epoch)
end

-- Members are told an event by their nodes.
local function tell(self, isPaused)
  local home = self.home
  local name = isPaused and "onRoomPaused" or "onRoomBack"
  for _, member in ipairs(home.room.members) do
    local client = member.line.client
    if client then client:fire(name, home.room.id, home.class.className) end
  end
  for node in pairs(home.guests) do
    nodes.tell(node, "paused", {id = home.room.id, isPaused = isPaused})
  end
end

local function pause(self)
  self.isPaused = true
  log.limited("warn", "paused", ("%s: a room is paused, as the engine hasn't confirmed that " ..
    "it's still this node's: is the engine there?"):format(self.home.class.className),
    {room = self.home.room.id})
  tell(self, true)
  self.home:offer()
end

local function resume(self)
  self.isPaused = false
  if self.hasBegun then
    log.limited("info", "goes on", self.home.class.className .. ": a room that was paused goes on",
      {room = self.home.room.id})
    tell(self, false)
  end
  self.hasBegun = true
  self.home:letIn()
  self.home:offer()
end

--- Whether the home may go on: to be asked before each thing that others notice.
function Keep:holds()
  if self.isGiven then return false end
  local lease = self.store.lease
  if self.token == lease.token and lease:isValid() and not self.isTaken then
    if self.isPaused then resume(self) end
    return true
  end
  if not self.isPaused then pause(self) end
  return false
end

-- Snapshots.

local function seconds(self)
  local persist = self.home.room.persist
  return persist == true and SECONDS or persist
end

local function wrote(self, bytes, isDone, problem)
  self.isWriting = false
  if isDone then
    self.bytes, self.written = bytes, now()
  elseif problem then
    self.due = now() + AGAIN_SECONDS
    log.limited("warn", "kept", ("%s: a room's state wasn't kept, and is tried again: %s")
      :format(self.home.class.className, problem), {room = self.home.room.id})
  else
    self:lose()
  end
end

-- The heir doesn't take the room, or doesn't say so. It goes on here when it's sure that nobody
-- has it.
local function takeBack(self)
  self.record:write(self.bytes, carried.about(self.home), function(isDone, problem)
    if problem then
      return loop.startTimer(AGAIN_SECONDS, 0, function() takeBack(self) end)
    end
    self.heir, self.isGiven, self.isWriting = false, false, false
    if not isDone then self:lose() end
  end)
end

-- Gives the room to the heir, as it is now.
local function give(self)
  local home = self.home
  local ok, bytes = pcall(saved.write, home.state, carried.describe(home))
  if not ok then
    self.heir = false
    return
  end
  self.isGiven, self.isWriting, self.bytes = true, true, bytes
  self.record:write(bytes, carried.about(home), function(isDone)
    if not isDone then return takeBack(self) end
    nodes.ask(self.heir, "inherit", {id = home.room.id, token = self.token,
      class = home.class.className}, function(said)
      if not said or not said.isTaken then return takeBack(self) end
      self.isWriting = false
      self:lose()
    end)
  end)
end

--- Gives the room to another node, soon.
function Keep:handOver(node)
  self.heir = node
end

--- Writes a snapshot, if one is due and something has changed.
-- @tparam number time
-- @treturn number bytes that were made
function Keep:write(time)
  local home = self.home
  if self.heir and not self.isWriting and not home.isOpening and self:holds() then
    give(self)
    return #(self.bytes or "")
  end
  if self.due > time or self.isWriting or home.isOpening or not self:holds() then return 0 end
  self.due = time + seconds(self)
  local ok, bytes = pcall(saved.write, home.state, carried.describe(home))
  if not ok then
    log.limited("error", "kept", ("%s: a room's state can't be kept: %s")
      :format(home.class.className, tostring(bytes)), {room = home.room.id})
    return 0
  end
  if bytes == self.bytes and time - self.written < FRESH_SECONDS then return #bytes end
  self.isWriting = true
  self.record:write(bytes, carried.about(home), function(...) wrote(self, bytes, ...) end)
  return #bytes
end

-- The room and others.

--- The node has a new lease: the room is taken again, if nobody else has it.
function Keep:retake()
  local token = self.store.lease.token
  if self.isTaken or self.isWriting or self.token == token then return end
  self.isWriting = true
  self.record:retake(function(isDone, problem)
    self.isWriting = false
    if isDone then
      local home = self.home
      self.token, home.epoch = token, self.record.epoch
      home.state:setEpoch(home.epoch)
      home.state:want()
    elseif not problem then
      self:lose()
    end
  end)
end

--- Another node has the room.
function Keep:lose()
  if self.isTaken or self.home.ended then return end
  self.isTaken = true
  self.store.roll:remove(self.home.room.id)
  log.info(self.home.class.className .. ": another node goes on with a room of this one",
    {room = self.home.room.id})
  self.store.onTaken(self.home)
end

--- The room has ended.
function Keep:finish()
  self.store.roll:remove(self.home.room.id)
  if not self.isTaken then self.record:remove() end
end

return Keep
