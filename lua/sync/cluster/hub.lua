--- The hub of workers, in their parent: what a worker publishes goes to those that have
-- subscribed, as the bytes that came, and what they share is kept here.
-- @module sync.cluster.hub

local Connector = require "sync.connector"
local Protocol = require "sync.protocol"
local Store = require "sync.cluster.store"
local buffer = require "string.buffer"
local bus = require "sync.cluster.bus"
local loop = require "sync.loop"

-- What is kept for workers, by what its name begins with: events of rooms, journals, and values.
-- Each kind has memory of its own, so that clients' events take no application's values away.
local VALUES, EVENTS, JOURNALS = "v/", "e/", "j/"
local JOURNAL = 24 * 1024 * 1024 -- bytes that a worker's has; it asks for less

local hub = {}

local Worker = Protocol:extend("Bus")
for name, value in pairs(bus.settings) do Worker[name] = value end
Worker.isLink = true
Worker.maxRooms = bus.MOST_TOPICS -- a room is a topic

-- What workers say, by the type of a frame.
local on = {}

on[bus.PUBLISH] = function(self, data)
  local room = self.roomsByName[bus.topicOf(data)]
  if room then room:except(self):send(data) end
end

on[bus.WAY] = on[bus.PUBLISH]

on[bus.SUBSCRIBE] = function(self, data)
  self:join(data:sub(2))
end

on[bus.UNSUBSCRIBE] = function(self, data)
  self:leave(data:sub(2))
end

on[bus.REQUEST] = function(self, data)
  local said = buffer.decode(data:sub(2))
  local function answer(...)
    self:send(string.char(bus.ANSWER) .. buffer.encode {said.number, select("#", ...), ...})
  end
  if said.name == bus.SETTLE then return answer(true) end
  local stores = self.stores
  local store = stores[said[1]:sub(1, 2)] or stores[VALUES]
  store:ask(said.name, answer, unpack(said, 1, said.count))
end

on[bus.LISTENS] = function(self, data)
  self.handlers.onListens(self.slot, buffer.decode(data:sub(2)))
end

on[bus.RELOAD] = function(self, data)
  local said = buffer.decode(data:sub(2))
  self.handlers.onReload(said.back, function(ok, problem)
    self:send(string.char(bus.RELOADED) .. buffer.encode {number = said.number, ok = ok,
      problem = problem})
  end)
end

on[bus.RELOADED] = function(self, data)
  local said = buffer.decode(data:sub(2))
  self.handlers.onReloaded(said.number, said.ok, said.problem, said.texts)
end

on[bus.UPGRADED] = function(self, data)
  self.handlers.onUpgraded(self.slot, buffer.decode(data:sub(2)))
end

--- Tells a worker something of an upgrade.
-- @tparam table said
function Worker:askUpgrade(said)
  self:send(string.char(bus.UPGRADE) .. buffer.encode(said))
end

--- Asks a worker for another version of the script; without a number, tells which the others have.
-- @tparam table said `number`, `back`, `version`, `wantsTexts` and `texts`
function Worker:askReload(said)
  self:send(string.char(bus.RELOAD) .. buffer.encode(said))
end

function Worker:onClose()
  self.handlers.onGone(self)
end

function Worker:onData(data)
  on[data:byte()](self, data)
end

-- A worker that doesn't read has lost messages.
function Worker:onDrain(dropped)
  if dropped > 0 then self:send(string.char(bus.DROPPED) .. buffer.encode {dropped}) end
end

--- Opens one.
-- @tparam number count of workers
-- @tparam table handlers `onListens(slot, signals)`, called when a worker's script has said that
-- it is right, and for which signals it has handlers; `onReload(back, done)`, when one asks for
-- another version; `onReloaded(number, ok, problem, texts)`; `onUpgraded(slot, said)`; and
-- `onGone(link)`
-- @treturn table whose `adopt(fd)` makes the other end of a worker's socket one of its own
function hub.open(count, handlers)
  local class = Worker:extend("Bus")
  class.handlers = handlers
  class.stores = {
    [VALUES] = Store.new(),
    [EVENTS] = Store.new {maxKeys = 100000, drops = true},
    [JOURNALS] = Store.new {maxBytes = count * JOURNAL, drops = true},
  }
  local connector, message = Connector.new(class, {maxClients = false})
  return connector or error(message)
end

-- The parent goes on as its next program: lua/sync/upgrade/exec.lua.

--- Calls a function with tables that say what is kept for workers: `kind` and `list`.
function hub.pack(connector, visit)
  for kind, store in pairs(connector.class.stores) do
    store:pack(function(list) visit {kind = kind, list = list} end)
  end
end

--- Takes one of these.
function hub.unpack(connector, told)
  connector.class.stores[told.kind]:unpack(told.list)
end

--- What there is to say of a worker's connection: its id, and the topics of which it hears.
function hub.packLink(link)
  local topics = {}
  for topic in pairs(link.joined and link.joined.rooms or {}) do topics[#topics + 1] = topic end
  return {id = link.id, topics = topics}
end

--- Makes a connection that one again.
-- @treturn sync.Protocol
function hub.takeLink(connector, slot, told)
  local link = loop.adopt(slot, connector, told.id)
  link.clients:add(link)
  link:begin(connector)
  for _, topic in ipairs(told.topics) do link:join(topic) end
  return link
end

return hub
