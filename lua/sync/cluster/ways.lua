--- Ways from one worker to another that don't lead through their parent, which would be woken, and
-- copy, for each message and each answer.
--
-- A way has one direction, and is for a topic that one sibling alone hears. Who has sent MANY
-- messages there asks the sibling, through the parent, where it is reached; that one opens a Unix
-- socket for some seconds, which only its owner and root may open, and is connected to. So that
-- nothing comes out of its order, a mark follows through the parent, and messages are held back
-- until the sibling has both. Where there is no way, or one ends, all goes through the parent;
-- what was on a way that ends is lost, which streams notice.
--
-- What siblings say to each other through the parent: {from = topic, want = true}, {from = topic,
-- path = text} as its answer, and {from = topic, mark = number}.
-- @classmod sync.cluster.ways

local Class = require "sync.class"
local Connector = require "sync.connector"
local Protocol = require "sync.protocol"
local buffer = require "string.buffer"
local core = require "sync.core"
local jobs = require "sync.jobs"
local log = require "sync.log"
local loop = require "sync.loop"
local places = require "sync.places"

local C = core.C

local READABLE = tonumber(C.SYNC_READABLE) + tonumber(C.SYNC_UNHELD)
local MANY = 64            -- messages, after which a way is asked for
local AGAIN = 10000        -- and these, where there was none
local CONNECT_SECONDS = 5
local HOLD_SECONDS = 0.5   -- for the sibling's word that all has come
local DOOR_SECONDS = 5     -- that a socket stays open for those who have asked

local Ways = Class:extend("Ways")

-- Where messages leave.

local Way = Class:extend("Way")

local Outlet = Protocol:extend("Way")

function Outlet:begin(connector)
  self.way = connector.owner
  connector:giveUp()
end

-- Says who it is, and by which mark it's known that all has come that is on its way already.
function Outlet:onConnect()
  local way = self.way
  way.link, way.held, way.heldBytes = self, {}, 0
  way.mark = way.mark + 1
  way.timer = loop.startTimer(HOLD_SECONDS, 0, function() way:shut() end)
  self:send(buffer.encode {from = way.own, mark = way.mark})
  way.ways.say(way.topic, {from = way.own, mark = way.mark})
end

function Outlet:onData()
  self.way:open()
end

function Outlet:onClose()
  local way = self.way
  if way.link ~= self then return end
  if not way.held then way.count = 0 end -- the sibling may be started again
  way:shut()
end

local function stopTimer(way)
  if way.timer then loop.stopTimer(way.timer) end
  way.timer = false
end

-- All has come: what was held back leaves, and what follows.
function Way:open()
  local held = self.held
  if not held then return end
  stopTimer(self)
  self.held = false
  for _, bytes in ipairs(held) do self:take(bytes) end
end

-- There is no way any more: what was held back goes through the parent.
function Way:shut()
  stopTimer(self)
  local link, held, connector = self.link, self.held, self.connector
  self.link, self.held, self.connector = false, false, false
  if link then link:close() end
  if connector then connector:close() end
  for _, bytes in ipairs(held or {}) do self.ways.pass(self.topic, bytes) end
end

function Way:connect(path)
  if self.connector then return end
  local connector, problem = Connector.new(Outlet, {}, true)
  if not connector then return log.debug("there is no way to another worker: " .. problem) end
  connector.owner, self.connector = self, connector
  connector:connect("unix:" .. path, 0, CONNECT_SECONDS, function(why)
    log.debug(("there is no way to another worker: %s: %s"):format(path, why))
    self:shut()
  end)
end

local function hold(way, bytes)
  if way.heldBytes + #bytes > way.ways.maxHeld then return false end
  way.heldBytes = way.heldBytes + #bytes
  way.held[#way.held + 1] = bytes
  return true
end

--- Takes a message.
-- @tparam string bytes
-- @treturn boolean|nil whether it's on its way; nil: there is no way
function Way:take(bytes)
  if self.held then return hold(self, bytes) end
  if self.link then
    local ok, why = self.link:send(bytes)
    if ok or why ~= "closed" then return ok or why == "full" end
  end
  self.count = self.count + 1
  if self.count == MANY then
    self.count = MANY - AGAIN
    self.ways.say(self.topic, {from = self.own, want = true})
  end
  return nil
end

--- Bytes that the sibling has not taken yet; nil: there is no way.
function Way:unsent()
  if self.held then return self.heldBytes end
  return self.link and self.link:queued() or nil
end

-- Where they arrive.

local Inlet = Protocol:extend("Way")

function Inlet:begin(connector)
  self.ways = connector.owner
end

-- The first says who it is.
function Inlet:onData(data)
  if self.isOpen then return self.ways.hear(self.ways.own, data) end
  local said = buffer.decode(data)
  local waiting = self.ways.waiting[said.from]
  if self.said or not waiting then return self:close() end
  self.said, waiting.inlet = said, self
  self.ways:compare(said.from)
end

function Inlet:onClose()
  for from, waiting in pairs(self.ways.waiting) do
    if waiting.inlet == self then self.ways.waiting[from] = nil end
  end
end

-- Lets messages in, when all has come that was sent before.
function Ways:compare(from)
  local waiting = self.waiting[from]
  local inlet = waiting.inlet
  if not inlet or inlet.said.mark ~= waiting.mark then return end
  self.waiting[from] = nil
  inlet.isOpen = true
  inlet:send "go on"
end

local Door = Class:extend("Door")

function Door:descriptorReady()
  local fd = core.visitor(self.fd)
  if fd < 0 then return end
  if not self.ways.inlets:adopt(fd) then C.sync_door_refuse(fd) end
end

function Door:close()
  loop.stopTimer(self.timer)
  jobs.unwatch(self.id)
  C.sync_door_close(self.fd, self.path)
  self.ways.door = false
end

-- Opens the socket, or lets it stay open. Returns its path, or nil.
local function openDoor(self)
  local door = self.door
  if door then
    loop.stopTimer(door.timer)
  else
    local fd, path = places.open("-" .. self.own)
    if not fd then
      log.debug("there is no way to this worker: no socket can be opened at " .. path)
      return nil
    end
    door = Door:new {ways = self, fd = fd, path = path}
    door.id = assert(jobs.watch(fd, READABLE, door))
    self.door = door
  end
  door.timer = loop.startTimer(DOOR_SECONDS, 0, function() door:close() end)
  return door.path
end

local function openInlets(self)
  if self.inlets then return end
  self.inlets = assert(Connector.new(Inlet, {maxClients = false}, true))
  self.inlets.owner = self
  loop.beforeLinksClose(function() self:close() end)
end

-- What a sibling has said through the parent.
function Ways:told(said)
  local from = said.from
  if said.want then
    self.waiting[from] = {}
    openInlets(self)
    self.say(from, {from = self.own, path = openDoor(self)})
  elseif said.mark then
    local waiting = self.waiting[from]
    if not waiting then return end
    waiting.mark = said.mark
    self:compare(from)
  elseif said.path and self.byTopic[from] then
    self.byTopic[from]:connect(said.path)
  end
end

--- Makes those of a worker.
-- @tparam table settings of connections
-- @tparam table outside `say(topic, table)`, which tells the sibling that hears a topic something
-- through the parent; `pass(topic, bytes)`, which sends a message there; and `hear(topic, bytes)`,
-- which is called with one that has come
-- @tparam number maxHeld bytes that may be held back for a sibling
-- @treturn sync.cluster.ways
function Ways.open(settings, outside, maxHeld)
  for name, value in pairs(settings) do Outlet[name], Inlet[name] = value, value end
  Outlet.isLink, Inlet.isLink = true, true
  return Ways:new {say = outside.say, pass = outside.pass, hear = outside.hear, maxHeld = maxHeld,
    own = false, byTopic = {}, waiting = {}, door = false, inlets = false}
end

--- Ends all.
function Ways:close()
  if self.door then self.door:close() end
  for _, way in pairs(self.byTopic) do way:shut() end
end

-- The worker goes on in another process, and so do its ways.

--- What has yet to come to its end before, or nil.
function Ways:unrest()
  for _, way in pairs(self.byTopic) do
    if way.held or way.connector and not way.link then return "a way to another worker begins" end
  end
  for _, waiting in pairs(self.waiting) do
    if waiting.inlet then return "a way of another worker begins" end
  end
end

--- What the next process has to know: a list of `{slot, topic}`, without a topic of those that
-- lead here.
function Ways:pack()
  local list = {}
  for topic, way in pairs(self.byTopic) do
    if way.link then list[#list + 1] = {slot = way.link.slot, topic = topic} end
  end
  for inlet in Inlet.clients do
    if inlet.isOpen and inlet.ways == self then list[#list + 1] = {slot = inlet.slot} end
  end
  return list
end

--- What makes sockets those again: of ways that lead here, and of those that lead away.
-- @treturn Connector
-- @treturn Connector
function Ways:connectors()
  openInlets(self)
  return self.inlets, assert(Connector.new(Outlet, {}, true))
end

--- Makes one that again.
-- @tparam number slot
-- @tparam table told of `pack`
-- @tparam Connector connector
function Ways:take(slot, told, connector)
  local link = loop.adopt(slot, connector, loop.lastId() + 1)
  link.clients:add(link)
  if not told.topic then
    link.ways, link.isOpen = self, true
    return
  end
  link.way = self.byTopic[told.topic]
  link.way.link = link
end

--- The next process has them.
function Ways:release()
  for _, way in pairs(self.byTopic) do way.link = false end
  self:close()
  if self.inlets then self.inlets:close() end
end

--- There may be a way to a topic.
-- @tparam string own a topic that this worker alone hears
-- @tparam string topic one that a sibling alone hears
function Ways:add(own, topic)
  self.own = own
  self.byTopic[topic] = self.byTopic[topic] or Way:new {ways = self, own = own, topic = topic,
    count = 0, mark = 0, link = false, held = false, heldBytes = 0, timer = false,
    connector = false}
end

return Ways
