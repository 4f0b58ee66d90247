--- The same random lives over sockets: clients on WebSocket, on TCP in JSON and in AMF3, that read,
-- don't read for a while, lose their connections, resume, and leave.
--
-- A client that doesn't read gets patches that nobody can foretell, so clients are compared when it
-- is quiet: when all have read all. Who is between `near` and 1.1 times that may be seen or not.

local amf3 = require "sync.flash.amf3"
local cjson = require "cjson"
local core = require "sync.core"
local loop = require "sync.loop"
local model = require "spec.state.model"
local pace = require "sync.rooms.pace"
local reference = require "spec.state.reference"
local socket = require "socket"
local sync = require "sync"

local C = core.C
local random = math.random

local Game = sync.Remote:extend("SocketGame")
Game.rooms, Game.resumeTime = {}, 30

local sockets = {}

local Life = setmetatable({}, {__index = model.Run})
Life.__index = Life

-- Framing: what is sent of a message, and what is cut off of what has come.

local function length32(bytes)
  local n = #bytes
  return string.char(math.floor(n / 2 ^ 24), math.floor(n / 2 ^ 16) % 256,
    math.floor(n / 256) % 256, n % 256) .. bytes
end

local function number(bytes, first, last)
  local n = 0
  for i = first, last do n = n * 256 + bytes:byte(i) end
  return n
end

local KEY = "GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" ..
  "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"

-- The payload at the beginning, and where the rest begins; nil when it isn't all there.
local CUTS = {
  binary = function(bytes)
    if #bytes < 2 then return nil end
    local length, at = bytes:byte(2), 3
    if length == 126 then length, at = number(bytes .. "\0\0", 3, 4), 5
    elseif length == 127 then length, at = number(bytes .. ("\0"):rep(8), 3, 10), 11 end
    if #bytes < at + length - 1 then return nil end
    return bytes:sub(at, at + length - 1), at + length
  end,
  json = function(bytes)
    local at = bytes:find("\0", 1, true)
    if at then return bytes:sub(1, at - 1), at + 1 end
  end,
  amf3 = function(bytes)
    local length = #bytes >= 4 and number(bytes, 1, 4)
    if length and #bytes >= 4 + length then return bytes:sub(5, 4 + length), 5 + length end
  end,
}

local FRAMES = {
  binary = function(text) -- masked by zeros
    if #text < 126 then return string.char(0x81, 128 + #text) .. "\0\0\0\0" .. text end
    return string.char(0x81, 254, math.floor(#text / 256), #text % 256) .. "\0\0\0\0" .. text
  end,
  json = function(text) return text .. "\0" end,
  amf3 = length32,
}

-- Turns the loop until something holds.
local function wait(self, what, condition)
  local deadline = socket.gettime() + 20
  while true do
    local value = condition()
    if value then return value end
    if socket.gettime() > deadline then self:failed("waited in vain for %s", what) end
    if loop.step() == 0 then socket.sleep(0.0005) end
  end
end

local function connect(self, member)
  member.socket = assert(socket.tcp())
  member.socket:settimeout(0)
  member.socket:connect("127.0.0.1", member.form == "amf3" and sockets.amf or sockets.port)
  member.bytes = ""
  wait(self, "a connection", function()
    return select(2, socket.select(nil, {member.socket}, 0))[member.socket]
  end)
  if member.form == "binary" then
    member.socket:send(KEY)
    wait(self, "a handshake", function()
      local head, rest = self:receive(member):match("^(.-\r\n\r\n)(.*)$")
      if head then member.bytes = rest end
      return head
    end)
  end
end

-- All that has come, read or not.
function Life:receive(member)
  while true do
    local bytes, _, part = member.socket:receive(65536)
    member.bytes = member.bytes .. (bytes or part or "")
    if not bytes then return member.bytes end
  end
end

-- A message as a table: a patch's bytes, or what remoting says.
local function decode(member, payload)
  if member.form == "binary" and payload:byte(1) == 0xC1 then return {patch = payload} end
  if member.form ~= "amf3" then return cjson.decode(payload) end
  local ok, message = amf3.decode(payload, 1, {depth = 32})
  assert(ok, message)
  return message
end

local function isPatch(message)
  return message.patch or message.method == "sync.patch"
end

function Life:gotPatch(member, payload)
  local patch = self:read(member, payload)
  if patch.room ~= self.room.inner.number then return end -- of a room before
  if member.lost and not patch.snapshot then self:failed("a patch came before the snapshot") end
  member.lost = false
  reference.apply(member.client, patch)
  self:lookForMarkers(member, payload, member.may)
  member.tick, self.patches = patch.tick, self.patches + 1
end

-- Does what has come.
function Life:take(member)
  self:receive(member)
  while true do
    local payload, rest = CUTS[member.form](member.bytes)
    if not payload then return end
    member.bytes = member.bytes:sub(rest)
    local message = decode(member, payload)
    if isPatch(message) then
      self:gotPatch(member, payload)
    elseif message.method == "sync.session" then
      member.newToken = message.params[1].token
      if not member.token then member.token, member.counted = member.newToken, 0 end
    elseif message.id == "resume" then
      member.resumed = message.result
    else
      member.counted = member.counted + 1
      if message.id then member.answers[message.id] = message end
    end
  end
end

local function ask(member, id, method, params)
  local message = {jsonrpc = "2.0", id = id, method = method, params = params}
  local text = member.form == "amf3" and amf3.encode(message) or cjson.encode(message)
  member.socket:send(FRAMES[member.form](text))
end

-- Members.

local FORMS = {"binary", "json", "amf3"}

function Life:join()
  local member = {form = FORMS[random(3)], client = reference.client(self.joined), had = {},
    may = {}, owned = {}, sights = {}, answers = {}, input = 0, told = 0, room = true}
  connect(self, member)
  ask(member, 1, "sync.join", {room = self.class.className, form = member.form})
  wait(self, "the answer to sync.join", function()
    self:take(member)
    return member.answers[1]
  end)
  local result = member.answers[1].result or self:failed(cjson.encode(member.answers[1]))
  member.id, member.real = result.member, self.newest
  member.number = member.real.number
  self.members[#self.members + 1] = member
end

function Life:leave()
  if #self.members == 1 then return end -- the room would end
  local member = table.remove(self.members, random(#self.members))
  member.socket:close()
  member.real.line.client:close()
  wait(self, "a member to go", function() return member.real.number == 0 end)
  member.number = 0
  for _, map in ipairs(self.maps) do
    for _, entity in pairs(map.entities) do
      if entity.owner == member then entity.owner = nil end
    end
  end
end

-- It loses its connection, and comes back; patches that are made meanwhile aren't for it.
function Life:resume(member)
  self:take(member)
  member.socket:close()
  local instance = member.real.line.client
  wait(self, "a client to be away", function() return instance._session.away end)
  if random(2) == 1 then self:patch() end
  local token, counted = member.token, member.counted
  member.token, member.resumed, member.lost = nil, nil, true
  connect(self, member)
  ask(member, "resume", "sync.resume", {token, counted})
  wait(self, "resuming", function()
    self:take(member)
    return member.resumed
  end)
  if not member.resumed.resumed then self:failed("a member wasn't resumed") end
  member.token, member.counted = token, counted
end

-- Patches.

-- What a member may see at some time until it has read all.
function Life:note(member)
  for _, map in ipairs(self.maps) do
    local x, y = self:stands(map, member)
    for _, entity in pairs(map.entities) do
      member.had[entity], member.renew = true, false
      if self:sees(map, member, entity, x, y) then member.may[entity] = true end
      if entity.owner == member then member.owned[entity] = true end
    end
  end
end

function Life.isOwner(_, member, entity)
  return member.owned[entity]
end

function Life:patch()
  self.tick = self.tick + 1
  for _, member in ipairs(self.members) do
    self:note(member)
    local behind = C.sync_is_behind(core.handle, member.real.line.client.slot) ~= 0
    self.skipped = (self.skipped or 0) + (behind and 1 or 0)
  end
  pace.run(self.room.inner)
  loop.step()
  for _, member in ipairs(self.members) do
    if not member.slow then self:take(member) end
  end
end

-- Both views of a member: without those that are further than near, and with them.
function Life:views(member)
  member.had, member.renew = {}, true
  local least = self:view(member)
  for _, map in ipairs(self.maps) do
    for _, entity in pairs(map.entities) do member.had[entity] = true end
  end
  member.renew = false
  return least, (self:view(member))
end

-- All have read all, and are compared.
function Life:quiet()
  for _, member in ipairs(self.members) do
    member.slow = false
    self:take(member)
  end
  local quiet = self.room.tick
  wait(self, "the last patches", function()
    local all = true
    for _, member in ipairs(self.members) do
      -- With an input, there is something to be sent.
      C.sync_state_input(self.room.inner.state.handle, member.number, 1e6 + self.room.tick)
      self:take(member)
      all = all and (member.tick or 0) > quiet
    end
    if not all then self:patch() end
    return all
  end)
  for _, member in ipairs(self.members) do
    local least, most = self:views(member)
    for i = 1, #member.client.tables do
      local shape = member.client.tables[i]
      for _, entity in pairs(shape.entities) do
        local name, key = shape.name, entity.key
        least[name][key] = least[name][key] or most[name][key]
      end
    end
    self:compare(member, least)
    member.may, member.owned = {}, {}
    self:note(member)
  end
end

jit.off(true, true) -- as in model.lua

local ACTIONS = {}
for i, action in ipairs(model.actions) do ACTIONS[i] = action end
ACTIONS[11] = function(self) self.members[random(#self.members)].slow = random(2) == 1 end
ACTIONS[12] = function(self)
  if random(3) == 1 then self:resume(self.members[random(#self.members)]) end
end
ACTIONS[14] = function(self) -- much, for those that don't read
  for _ = 1, 30 do
    for _, map in ipairs(self.maps) do
      for _, entity in pairs(map.entities) do
        self:change(entity, map.plan.fields)
      end
    end
    self:patch()
  end
end
ACTIONS[#ACTIONS + 1] = function(self) self:quiet() end

local classes = {}

-- The room of a plan, with its first member.
local function begin(self)
  local class = classes[self.plan]
  if not class then
    class = sync.Room:extend("Sockets" .. #Game.rooms)
    class.state, class.patchRate = self.plan.schema, 0.1 -- patches are made by hand
    classes[self.plan] = class
    table.insert(Game.rooms, class)
  end
  self.class = class
  function class.onJoin(_, member) self.newest = member end
  function class.onCreate(room) self.room = room end
  self.room = class:create()
  return self.room.inner.state
end

--- Lives through one room.
function sockets.run(seed, steps)
  local self
  self = model.new(seed, function(plan)
    local life = setmetatable({plan = plan}, Life)
    local inner = begin(life)
    self = life
    return inner
  end)
  self.class = classes[self.plan]
  local life = setmetatable(self, Life)
  function life.class.onJoin(_, member) life.newest = member end
  life.room = life.class:all()[1]
  life:join()
  for _ = 1, steps do life:act(ACTIONS) end
  life:quiet()
  for _, member in ipairs(life.members) do
    member.socket:close()
    member.real.line.client:close()
  end
  wait(life, "the room to end", function() return life.room.inner.ended end)
  return life
end

--- Listens, until `stop`.
function sockets.listen()
  local silent = 3600 -- seconds without a ping: under sanitizers a life takes its time
  local listeners = {sync.enable("127.0.0.1", 0, Game, {maxQueue = 64 * 1024 * 1024,
    pingInterval = silent}), sync.enable("127.0.0.1", 0, Game, {framing = "length32",
    encoding = "amf3", pingInterval = silent})}
  sockets.port, sockets.amf = listeners[1].port, listeners[2].port
  function sockets.stop()
    for _, listener in ipairs(listeners) do listener:stop() end
    loop.step()
  end
end

return sockets
