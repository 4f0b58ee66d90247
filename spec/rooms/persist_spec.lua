-- Rooms that outlive their home: three nodes of Redis and of NATS, of which one is killed, one
-- stands still and goes on, and one is cut off from the engine.
--
--     make rooms-chaos        300 members in 30 rooms, one thing after the other, 30 s each

local Nats = require "spec.support.nats"
local Process = require "spec.support.process"
local Program = require "spec.support.program"
local Redis = require "spec.support.redis"
local Relay = require "spec.support.relay"
local loop = require "sync.loop"
local support = require "spec.support"
local sync = require "sync"

local wait = support.wait

local isWhole = os.getenv "SYNC_CHAOS" == "whole"
local MEMBERS, ROOMS = isWhole and 300 or 60, isWhole and 30 or 9
local STOP_SECONDS = isWhole and 30 or 0 -- at least; else until its rooms are back
local KNOWN_SECONDS, BACK_SECONDS = 8, 12

local connections, relays = {}, {}

local function sleepUntil(what, seconds, test)
  local due = sync.now() + seconds
  while not test() do
    if sync.now() > due then
      local text = type(what) == "function" and what() or what
      error(("not within %g s: %s"):format(seconds, text), 2)
    end
    sync.sleep(0.02)
  end
end

-- Runs functions that may wait, at the same time, and fails with them.
local function inTasks(...)
  local problems, left = {}, select("#", ...)
  for _, fn in ipairs {...} do
    sync.spawn(function()
      local ok, err = xpcall(fn, debug.traceback)
      if not ok then problems[#problems + 1] = tostring(err) end
      left = left - 1
    end)
  end
  wait(function() return left == 0 end, isWhole and 300 or 100)
  if problems[1] then error(table.concat(problems, "\n\n"), 0) end
end

local function connect(port)
  local game = sync.connect("tcp://127.0.0.1:" .. port, {reconnect = false, timeout = 60})
  connections[#connections + 1] = game
  return game
end

-- Three nodes. The second one is linked to the engine by a relay, by which it can be cut off: all
-- that goes through a relay is this process's work.
local function begin(kind)
  local port = kind == "redis" and Redis.start().port or Nats.start().port
  local self = {kind = kind, nodes = {}, applied = Process.file(""), members = {},
    games = {}} -- one at each node
  for i = 1, 3 do
    local relay = i == 2 and Relay.open(port, 0) or nil
    relays[#relays + 1] = relay
    local process = Process.start {"env", "SYNC_APPLIED=" .. self.applied, Program.path, "-e",
      "package.cpath = 'build/?.so;' .. package.cpath",
      ("--cluster=%s://127.0.0.1:%d"):format(kind, relay and relay.port or port),
      "spec/rooms/keeper.lua"}
    self.nodes[i] = {process = process, relay = relay}
  end
  for i, node in ipairs(self.nodes) do
    sleepUntil("node " .. i .. " listens", 20, function()
      node.port = tonumber(node.process:stderr():match "listens on %S-:(%d+)")
      return node.port
    end)
  end
  for i, node in ipairs(self.nodes) do
    local game = connect(node.port)
    self.games[i] = game
    sleepUntil("node " .. i .. " knows the others", 20, function()
      return game:call "others" == 2
    end)
  end
  return self
end

-- A member of a room, of which is noted what its client sees. Of each room and epoch there is one
-- home, whose number is in the state, and ticks of one come before all those of the next. A node
-- that stood still may pass on late what was said before.
local function watch(self, room, node, game)
  local member = {room = room, node = node, game = game, epoch = room.epoch, heard = {}, sent = 0}
  local ticks = self.ticks[room.id] or {}
  self.ticks[room.id] = ticks
  local take = room.take
  function room.take(...)
    local patch = select(2, ...)
    if patch.epoch < room.epoch then
      table.insert(self.stale, ("%s: member %d at node %d got a patch of epoch %d after one of %d")
        :format(room.id, room.member, node, patch.epoch, room.epoch))
    end
    local seen = ticks[patch.epoch] or {first = math.huge, last = 0}
    ticks[patch.epoch] = seen
    seen.first, seen.last = math.min(seen.first, patch.tick), math.max(seen.last, patch.tick)
    return take(...)
  end
  room:onPatch(function()
    member.epoch, member.patched = room.epoch, sync.now()
    local name, number = room.id .. " " .. room.epoch, room.state.node
    if number ~= 0 and (self.owners[name] or number) ~= number then
      table.insert(self.stale, ("%s has two homes, %d and %d: member %d at node %d"):format(name,
        self.owners[name], number, room.member, node))
    end
    self.owners[name] = number ~= 0 and number or nil
  end)
  room:onLeft(function(reason) member.left = reason end)
  table.insert(self.members, member)
  return member
end

-- Rooms with members on random nodes; what clients are told of their rooms is noted.
local function populate(self)
  self.stale, self.owners, self.ticks, self.rooms = {}, {}, {}, {}
  local function join(node, id)
    local game = connect(self.nodes[node].port)
    game:call("name", "client " .. #connections)
    local room, problem
    if id then room, problem = game:joinById(id) else room, problem = game:create "Field" end
    assert(room, problem and problem.message)
    local member = watch(self, room, node, game)
    for _, name in ipairs {"onRoomPaused", "onRoomBack", "onRoomLost"} do
      game:on(name, function(about)
        if about == room.id then member.heard[name] = sync.now() end
      end)
    end
    return member
  end
  for i = 1, ROOMS do
    local home = (i - 1) % 3 + 1
    self.rooms[i] = {id = join(home).room.id, home = home}
  end
  for i = ROOMS + 1, MEMBERS do
    join(math.random(3), self.rooms[i % ROOMS + 1].id)
  end
end

-- Everybody goes on calling, and hears of each call once, or that nobody knows.
local function play(self)
  for _, member in ipairs(self.members) do
    sync.spawn(function()
      while not self.isOver and not member.left do
        member.sent = member.sent + 1
        local n = member.sent
        if member.game.state ~= "open" then return end
        local result = member.room:call("add", n)
        if result then member.done = n end
        sync.sleep(0.3)
      end
    end)
  end
end

-- The members of the rooms that are at home on some nodes.
local function membersOf(self, isHome, isConnected)
  local list = {}
  for _, room in ipairs(self.rooms) do
    for _, member in ipairs(isHome[room.home] and self.members or {}) do
      if member.room.id == room.id and isConnected(member.node) then list[#list + 1] = member end
    end
  end
  return list
end

-- Waits until members have been told, and see their room again; then the rooms' homes are others.
local function survive(self, failing, isConnected)
  local since, epochs = sync.now(), {}
  local members = membersOf(self, failing, isConnected)
  assert(#members > 0)
  for _, member in ipairs(members) do
    member.heard, epochs[member] = {}, member.room.epoch
  end
  local function missing(test)
    local list = {}
    for _, member in ipairs(members) do
      if not test(member) then
        list[#list + 1] = ("%s: member %d at node %d, epoch %d, left %s"):format(member.room.id,
          member.room.member, member.node, member.room.epoch, tostring(member.left))
      end
    end
    return list
  end
  local function await(what, seconds, test)
    sleepUntil(function() return what .. ":\n" .. table.concat(missing(test), "\n") end,
      seconds - (sync.now() - since), function() return #missing(test) == 0 end)
  end
  await(self.kind .. ": members know", KNOWN_SECONDS, function(member)
    return member.heard.onRoomPaused or member.heard.onRoomLost
  end)
  local known = sync.now() - since
  await(self.kind .. ": rooms are back", BACK_SECONDS, function(member)
    return failing[member.node] or member.room.epoch > epochs[member] and member.heard.onRoomBack
  end)
  if isWhole then
    print(("%s: known after %.1f s, back after %.1f s"):format(self.kind, known,
      sync.now() - since))
  end
end

-- The node that has a room: its place in the list.
local function findHome(self, room)
  for i, node in ipairs(self.nodes) do
    if connect(node.port):call "node" == room.state.node then return i end
  end
end

-- Which node has each room now.
local function findHomes(self)
  local numbers = {}
  for i, node in ipairs(self.nodes) do
    if node.process:isRunning() then
      local game = connect(node.port)
      numbers[game:call "node"] = i
    end
  end
  for _, room in ipairs(self.rooms) do
    for _, member in ipairs(self.members) do
      if member.room.id == room.id and member.room.isIn then
        room.home = numbers[member.room.state.node]
      end
    end
  end
end

-- What nobody has seen, and nobody has done twice.
local function check(self)
  assert(not self.stale[1], table.concat(self.stale, "\n", 1, math.min(20, #self.stale)))
  for id, ticks in pairs(self.ticks) do
    for epoch, seen in pairs(ticks) do
      local following = ticks[epoch + 1]
      assert(not following or seen.last < following.first, self.kind .. ": two homes of " .. id)
    end
  end
  local seen, epochs, count = {}, {}, 0
  for line in io.lines(self.applied) do
    local what, id, epoch = line:match "^((%S+) %d+ %d+) (%d+)$"
    assert(not seen[what], self.kind .. ": applied twice: " .. line)
    assert(tonumber(epoch) >= (epochs[id] or 0), self.kind .. ": by a home of the past: " .. line)
    seen[what], epochs[id], count = true, tonumber(epoch), count + 1
  end
  for _, member in ipairs(self.members) do
    for n = 1, member.sent do
      local what = ("%s %d %d"):format(member.room.id, member.room.member, n)
      if n == member.done then assert(seen[what], "answered, and not applied: " .. what) end
    end
  end
  assert(count > 2 * MEMBERS)
end

-- All who are left can do what they could.
local function checkMembers(self)
  for _, member in ipairs(self.members) do
    if member.game.state == "open" then
      assert(not member.left, ("%s: member %d at node %d has left: %s"):format(self.kind,
        member.room.member, member.node, tostring(member.left)))
      local room = member.room
      sleepUntil(function()
        local told, problem = room:call "look"
        return ("%s: %s goes on: %s"):format(self.kind, room.id, problem and problem.message or
          require "sync.json".encode(told))
      end, 5, function()
        local told = room:call "look"
        return told and told.owned and told.deck[3] == 2
      end)
      assert.equal(room.member, room.state.players[room.member].hand[1])
      assert.is_true(room.state.players:isMine(room.member))
    end
  end
end

local function stop(self, node) self.nodes[node].process:kill "STOP" end
local function continue(self, node) self.nodes[node].process:kill "CONT" end

describe("rooms that outlive their home", function()
  after_each(function()
    for _, game in ipairs(connections) do game:close() end
    for _, relay in ipairs(relays) do relay:close() end
    connections, relays = {}, {}
    wait(function() return loop.count == 0 end)
    Nats.cleanUp()
    Process.cleanUp()
  end)

  local function run(kind)
    return function()
      local self = begin(kind)
      populate(self)
      play(self)
      sync.sleep(1.5)
      local since = sync.now()
      stop(self, 1)
      self.nodes[2].relay:hold()
      survive(self, {true, true}, function(node) return node ~= 1 end)
      sync.sleep(math.max(0, STOP_SECONDS - (sync.now() - since)))
      continue(self, 1)
      self.nodes[2].relay:release()
      sync.sleep(4)
      checkMembers(self)
      findHomes(self)
      self.nodes[3].process:kill "KILL"
      survive(self, {[3] = true}, function(node) return node ~= 3 end)
      checkMembers(self)
      self.isOver = true
      sync.sleep(0.5)
      check(self)
    end
  end

  it("go to another node when their home drains or stops", function()
    inTasks(function()
      local self = begin "redis"
      local ann, bob, cid = unpack(self.games)
      local room = assert(ann:create("Field", {private = true}))
      local there, other = assert(bob:joinByCode(room.code)), assert(cid:joinByCode(room.code))
      for n = 1, 5 do assert(there:call("add", n)) end
      ann:call "drain"
      sleepUntil("the room is on another node", 5, function() return there.epoch == 2 end)
      assert.equal(5, there.state.players[there.member].last) -- nothing is lost
      sleepUntil("the client of the old home is there", 5, function()
        local told = there:call "look"
        return told and told.away == 0 and told.members == 3 and told.code == room.code
      end)
      local home = findHome(self, there)
      if home == 2 then there = other end
      self.nodes[home].process:kill "TERM"
      sleepUntil("the room is on a third one", 6, function() return there.epoch == 3 end)
    end)
  end)

  it("come up on another node, of which members are told, with their members", function()
    if not isWhole then return inTasks(run "redis", run "nats") end
    inTasks(run "redis")
    inTasks(run "nats")
  end)
end)
