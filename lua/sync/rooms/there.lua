--- The line between a room that lives here and a client that is connected to another node: see
-- lua/sync/rooms/here.lua. That node has a guest for it (lua/sync/rooms/guest.lua).
-- @classmod sync.rooms.there

local Class = require "sync.class"
local core = require "sync.core"
local directory = require "sync.rooms.directory"
local events = require "sync.remoting.events"
local fault = require "sync.remoting.fault"
local json = require "sync.remoting.json"
local latest = require "sync.remoting.latest"
local list = require "sync.list"
local loop = require "sync.loop"
local nodes = require "sync.rooms.nodes"
local null = require "cjson".null
local remote = require "sync.rooms.remote"

local C, now = core.C, core.C.sync_now

local PARK_SECONDS = 15
local OPENING = ("["):byte()

local There = Class:extend("There")

--- Seconds that a room that outlives its home waits for members whose node, or whose home, isn't
-- there.
There.WAIT_SECONDS = 40

local function nameOf(node, key) return node .. "/" .. key end
There.nameOf = nameOf

local byNode = {} -- by node and key: those of all homes

--- The line of a client's place, or nil.
-- @tparam number node
-- @tparam number key
function There.at(node, key)
  local lines = byNode[node]
  return lines and lines[key]
end

local function enlist(self)
  self.home.lines[self.name] = self
  byNode[self.node] = byNode[self.node] or {}
  byNode[self.node][self.key] = self
end

local function strike(self)
  self.home.lines[self.name] = nil
  local lines = byNode[self.node]
  if not lines then return end
  lines[self.key] = nil
  if next(lines) == nil then byNode[self.node] = nil end
end

--- Makes one.
-- @tparam number node
-- @tparam number key by which that node knows the client's place
-- @tparam Home home
-- @tparam table told what is known of the client, by name
function There.create(node, key, home, told)
  return There:new {node = node, key = key, name = nameOf(node, key), home = home, told = told,
    entry = false, member = false, hasBegun = false, isCounted = false, parked = false}
end

function There:describe() return self.told end

function There:isIn() return self.home.lines[self.name] ~= nil end

--- The client is on its way in.
function There:enter(entry, member)
  local state = self.home.state
  local code = C.sync_state_join(state.handle, C.SYNC_FORM_JSON)
  if code < 0 then error("sync_state_join: " .. core.problem(code), 0) end
  state:setElsewhere(code, member.id)
  member.number, self.member, self.entry = code, member, entry
  enlist(self)
end

--- It is in: patches go to its node from now on.
function There:begin()
  local home = self.home
  self.hasBegun, self.entry, self.isCounted = true, false, true
  if not home.guests[self.node] then home.state:want() end
  home.guests[self.node] = (home.guests[self.node] or 0) + 1
  return true
end

-- Patches go to its node, or not.
local function count(self, by)
  local guests = self.home.guests
  local sum = (guests[self.node] or 0) + by
  guests[self.node] = sum > 0 and sum or nil
end

-- Nobody need wait for the client any more.
local function unpark(self)
  if not self.parked then return false end
  loop.stopTimer(self.parked)
  self.parked = false
  return true
end

--- The client is on its way to another node: for a while the member is kept for it.
-- @tparam[opt=15] number seconds
-- @tparam[opt="left"] string reason why it leaves if nobody comes
function There:park(seconds, reason)
  local home = self.home
  unpark(self)
  enlist(self)
  if self.isCounted then
    count(self, -1)
    self.isCounted = false
  end
  self.parked = loop.startTimer(seconds or PARK_SECONDS, 0, function()
    self.parked = false
    home:remove(self.member, reason or "left")
  end)
  self.parked.due, self.parked.reason = now() + (seconds or PARK_SECONDS), reason
end

--- What the next process of this node has to know of it.
-- @treturn table
function There:pack()
  local parked = self.parked
  return {node = self.node, key = self.key, isCounted = self.isCounted,
    parked = parked and parked.due - now() or nil, reason = parked and parked.reason or nil}
end

--- A line that was just made is there what that one was, of a member who is in.
-- @tparam table told of `pack`
-- @tparam sync.Member member
function There:goOn(told, member)
  self:enter(false, member)
  self.hasBegun = true
  if told.isCounted then self:begin() end
  if told.parked then self:park(math.max(told.parked, 0.001), told.reason) end
end

-- The client's node has died: for a while the member is kept, should the client come back by
-- another one. That node's number, and so its keys, may be another's next.
local function lose(self)
  if self.isCounted then count(self, -1) end
  self.isCounted = false
  strike(self)
  self.node, self.key = nodes.own(), nodes.newKey()
  self.name = nameOf(self.node, self.key)
  self:park(nil, "node")
  self.home:away(self.member)
end

--- Makes the line of a member whose client was here, and goes to another node.
function There.of(member, home, told)
  local self = There.create(nodes.own(), nodes.newKey(), home, told)
  self.member, self.hasBegun, member.line = member, true, self
  self:park()
  return self
end

--- The client has come here: the line ends, and the member stays.
function There:release()
  strike(self)
  unpark(self)
  if self.isCounted then count(self, -1) end
  self.isCounted = false
  return self.member
end

--- The client has come to another node.
function There:move(node, key)
  local home, member = self.home, self.member
  self:release()
  self.node, self.key, self.name = node, key, nameOf(node, key)
  enlist(self)
  home.state:setElsewhere(member.number, member.id)
  self:begin()
  home:back(member)
end

--- It is in no more.
function There:close(member, reason)
  local home = self.home
  unpark(self)
  C.sync_state_leave(home.state.handle, member.number)
  strike(self)
  if self.isCounted then count(self, -1) end
  self.isCounted = false
  if reason then
    nodes.tell(self.node, "left", {id = home.room.id, key = self.key, reason = tostring(reason)})
  end
end

-- An event as a word: its text in JSON, or, where that doesn't say all of it, its name and
-- arguments; and what `latest.options` gives.
local function compose(how, name, ...)
  local total = select("#", ...)
  local arguments = list.new {name, ...}
  for i = 1, total do
    if arguments[i + 1] == nil then arguments[i + 1] = null end
  end
  local packed, problem = remote.write(arguments)
  if not packed then error(("fire(%q): %s"):format(tostring(name), problem), 0) end
  local isJson = packed:byte() == OPENING
  return {text = isJson and events.write(json, "fire", nil, name, ...) or nil,
    packed = not isJson and packed or nil, how = how}
end

local function wordOf(name, ...)
  if type(name) == "table" then return compose(latest.options(name, 4), ...) end
  return compose(nil, name, ...)
end

function There:fire(...)
  local said = wordOf(...)
  said.id, said.key = self.home.room.id, self.key
  local sent = nodes.tell(self.node, "fire", said)
  if sent then return true end
  return false, "closed"
end

--- Fires an event at the members on all other nodes.
-- @tparam Home home
-- @tparam There|nil skipped
function There.fireAll(home, skipped, ...)
  if next(home.guests) == nil then return end
  local said = wordOf(...)
  said.id = home.room.id
  for node in pairs(home.guests) do
    nodes.tell(node, "fire", {id = said.id, text = said.text, packed = said.packed,
      how = said.how, skipped = skipped and skipped.node == node and skipped.key or nil})
  end
end

--- Calls a function of the client. Without a function at the end it waits, inside sync.spawn.
function There:call(name, ...)
  local last = select("#", ...)
  local arguments = {...}
  local done = arguments[last]
  if type(done) == "function" then
    arguments[last] = nil
  else
    return require "sync.task".await(function(go)
      arguments[last + 1] = go
      self:call(name, unpack(arguments, 1, last + 1))
    end)
  end
  local text, problem = remote.write(list.new(arguments))
  if not text then error(("call(%q): %s"):format(tostring(name), problem), 3) end
  nodes.ask(self.node, "ask", {id = self.home.room.id, key = self.key, name = name,
    params = text}, function(said)
    if not said then return done(nil, fault.new(fault.BUSY, "the client has gone")) end
    if said.fault then return done(nil, remote.readFault(said.fault)) end
    done(remote.read(said.result))
  end, 15)
end

-- What nodes of clients say.

-- The line that a word is about.
local function find(node, said)
  local home = directory.byId(said.id)
  return home and home.lines[nameOf(node, said.key)]
end

nodes.on("quit", function(node, said)
  local line = find(node, said)
  if not line then return end
  if line.entry then return line.entry:cancel() end
  line.home:remove(line.member, said.reason or "left")
end)

nodes.on("away", function(node, said)
  local line = find(node, said)
  if line and line.hasBegun then line.home:away(line.member) end
end)

nodes.on("back", function(node, said)
  local line = find(node, said)
  if line and line.hasBegun then line.home:back(line.member) end
end)

nodes.on("park", function(node, said)
  local line = find(node, said)
  if line and line.hasBegun then line:park() end
end)

nodes.answers("move", function(node, said, answer)
  -- A node that hears of the home twice asks twice.
  local line = find(said.from, {id = said.id, key = said.old}) or find(node, said)
  local isRight = line and line.node == node and line.key == said.key and not line.parked
  if line and line.hasBegun and not isRight then line:move(node, said.key) end
  answer {isThere = line ~= nil}
end)

nodes.on("want", function(_, said)
  local home = directory.byId(said.id)
  if home and not home.ended then home.state:want() end
end)

-- Takes out the members of a node but for those of these keys. Those of a node that has died may
-- come back by another one.
local function takeOut(number, keys, hasDied)
  for _, class in ipairs(directory.classes()) do
    for _, home in ipairs(directory.some(class)) do
      local lost = {}
      for _, line in pairs(home.lines) do
        if line.node == number and not keys[line.key] and not line.parked then
          lost[#lost + 1] = line
        end
      end
      for _, line in ipairs(lost) do
        if line.entry then
          line.entry:cancel()
        elseif home.keep then -- that node, or this one, may just have been cut off
          line:park(There.WAIT_SECONDS)
          home:away(line.member)
        elseif hasDied and line.member.secret then
          lose(line)
        else
          home:remove(line.member, "node")
        end
      end
    end
  end
end

-- The members of a node's places who were taken out, since it was taken for dead, and hasn't
-- noticed: those that were kept are there again, the others' clients are told.
local function takeBack(node, keys)
  for key, id in pairs(keys) do
    local line = There.at(node, key)
    if line and line.parked and line.hasBegun then
      line:move(node, key)
    elseif not line and type(id) == "string" then
      nodes.tell(node, "left", {id = id, key = key, reason = "lost"})
    end
  end
end

nodes.on("places", function(node, said)
  takeOut(node, said.keys)
  takeBack(node, said.keys)
end)

-- A node has gone, and its clients with it; or is there, and is asked for its places.
nodes.watch(function(number, isThere)
  if isThere then return nodes.tell(number, "where", {}) end
  takeOut(number, {}, true)
end)

return There
