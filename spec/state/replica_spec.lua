local core = require "sync.core"
local cjson = require "cjson"
local Replica = require "sync.state.replica"
local State = require "sync.state.state"
local support = require "spec.support"
local sync = require "sync"
local testing = require "sync.testing"

local C = core.C

local SCHEMA = sync.state {phase = "string", players = sync.map({name = "string", x = "float32",
  y = "float32", hand = sync.private(sync.listOf "uint8"), scores = sync.map("uint16"),
  secret = sync.server "string"}, {sees = sync.near(10)})}

-- A room at home, and what a node has of it.
local function begin()
  local home = {state = State.new(SCHEMA, 5), tick = 0, members = {}}
  function home:join(id)
    local member = {id = id, number = C.sync_state_join(self.state.handle, 0), room = true}
    self.state:setElsewhere(member.number, id)
    self.state.root.players[id] = {owner = member, name = "p" .. id, hand = {id}}
    self.members[id] = member
    return member
  end
  function home:patch()
    self.tick = self.tick + 1
    self.state:patch(self.tick)
    return self.state:copied()
  end
  return home, Replica.new(SCHEMA, 5)
end

-- What a client was sent, decoded.
local function patches(client)
  testing.settle()
  local list = {}
  for text in client:received():gmatch("(%Z*)%z") do
    list[#list + 1] = cjson.decode(text).params[1]
  end
  return list
end

-- Clients of a protocol that says nothing itself.
local function connect(server)
  local client = server:connect()
  testing.settle()
  return client, client.server.slot
end

describe("a replica", function()
  local server, home, replica

  before_each(function()
    server = support.serve(support.protocol({framing = "null"}))
    home, replica = begin()
  end)

  after_each(support.cleanUp)

  local function take(changes, snapshot)
    if changes then assert.equal("applied", replica:take(changes)) end
    if snapshot then assert.matches(changes and "old" or "applied", replica:take(snapshot)) end
  end

  it("sends its members what they see, as the home would", function()
    local ann, slot = connect(server)
    local state = home.state
    home:join(3)
    replica:join(3, slot, "json") -- the home's patch comes later
    take(home:patch())
    assert.same({{room = 5, epoch = 0, tick = 1, input = 0, snapshot = true,
      new = {[""] = {{0, "", {}}}, players = {{0, 3, {name = "p3", hand = {3}}, true}}}}},
      patches(ann))
    state.root.phase, state.root.players[3].scores = "play", {[7] = 70}
    state.root.players[9] = {x = 50, name = "far", secret = "never"}
    C.sync_state_input(state.handle, home.members[3].number, 17)
    take(home:patch())
    assert.same({{room = 5, epoch = 0, tick = 2, input = 17, change = {[""] = {{0,
      {phase = "play"}}}, players = {{0, {scores = {{7, 70}}}}}}}}, patches(ann))
    state.root.players[9].x = 8
    take(home:patch())
    assert.same({players = {{1, 9, {name = "far", x = 8}}}}, patches(ann)[1].seen)
    state.root.players[9].owner = home.members[3]
    state.root.players[3] = nil
    take(home:patch())
    local patch = patches(ann)[1]
    assert.same({players = {0}}, patch.gone)
    assert.same({players = {{1, {}, true}}}, patch.change)
    take(home:patch())
    assert.same({}, patches(ann))
  end)

  it("is told nothing as long as all members are at home", function()
    local member = home:join(3)
    home.state:setElsewhere(member.number, nil)
    for _ = 1, 3 do assert.same({}, {home:patch()}) end
    home.state:setElsewhere(member.number, 3)
    local changes, snapshot = home:patch()
    assert.is_nil(changes)
    assert.is_string(snapshot)
    changes, snapshot = home:patch()
    assert.is_string(changes)
    assert.is_true(#changes < 10) -- nothing has changed
    assert.is_nil(snapshot)
  end)

  it("that has missed a patch sends nothing until it gets a snapshot", function()
    local ann, slot = connect(server)
    home:join(3)
    take(home:patch())
    replica:join(3, slot, "json")
    take(home:patch())
    patches(ann)
    home.state.root.phase = "one"
    home:patch()
    home.state.root.phase = "two"
    assert.equal("missed", replica:take((home:patch())))
    assert.is_true(replica.isLost)
    home.state:want()
    local changes, snapshot = home:patch()
    assert.equal("missed", replica:take(changes))
    assert.same({}, patches(ann))
    assert.equal("applied", replica:take(snapshot))
    assert.is_false(replica.isLost)
    local list = patches(ann)
    assert.is_true(list[1].snapshot)
    assert.same({{0, "", {phase = "two"}}}, list[1].seen[""])
    assert.is_nil(list[1].new)
    take(home:patch())
    assert.equal("old", replica:take(changes))
    assert.equal("old", replica:take(snapshot))
  end)

  it("drops what is of an epoch before, and tells members of the next", function()
    local ann, slot = connect(server)
    home:join(3)
    replica:join(3, slot, "json")
    take(home:patch())
    patches(ann)
    local before, first = home, replica
    home, replica = begin() -- the room has come up again elsewhere
    replica = first
    home.state:setEpoch(4)
    home:join(3)
    home.state.root.players[3].name, home.state.root.phase = "another", "again"
    local _, snapshot = home:patch()
    assert.equal("missed", replica:take((home:patch())))
    assert.equal("applied", replica:take(snapshot))
    -- Of a patch of the same number nothing is left.
    assert.same({{room = 5, epoch = 4, tick = 1, input = 0, snapshot = true,
      new = {[""] = {{0, "", {phase = "again"}}},
        players = {{0, 3, {name = "another", hand = {3}}, true}}}}}, patches(ann))
    before.state.root.phase = "of the past"
    assert.equal("old", replica:take((before:patch())))
    assert.same({}, patches(ann))
  end)

  it("is left by members who go, are away, or are taken out by the home", function()
    local ann, slot = connect(server)
    local bob, other = connect(server)
    home:join(3)
    local second = home:join(4)
    replica:join(3, slot, "json")
    replica:join(4, other, "json")
    take(home:patch())
    assert.same({1, 1}, {#patches(ann), #patches(bob)})
    replica:suspend(3)
    C.sync_state_leave(home.state.handle, second.number)
    home.state.root.players[4] = nil
    home.state.root.phase = "alone"
    take(home:patch())
    assert.same({0, 0}, {#patches(ann), #patches(bob)})
    replica:leave(4)
    -- Another gets the number in the core, and is another.
    home:join(5)
    take(home:patch())
    assert.same({0, 0}, {#patches(ann), #patches(bob)})
    replica:join(3, slot, "json")
    take(home:patch())
    local list = patches(ann)
    assert.is_true(list[1].snapshot)
    assert.same({{1, 5, {name = "p5"}}}, {list[1].seen.players[2]})
    replica:renew(3)
    take(home:patch())
    assert.is_true(patches(ann)[1].snapshot)
  end)

  it("of a room that is declared otherwise says so", function()
    home:join(3)
    local _, snapshot = home:patch()
    for _, declared in ipairs {{phase = "string"}, {phase = "string", players = sync.map {}}} do
      local took, problem = Replica.new(sync.state(declared), 5):take(snapshot)
      assert.is_nil(took)
      assert.equal("the room is declared otherwise at its home", problem)
    end
  end)

  -- FUZZ=1000000 for the long run, with the sanitizers' sync-lua.
  local FUZZ = tonumber(os.getenv "FUZZ") or 20000
  it(("takes or refuses what was mutated, %d times"):format(FUZZ), function()
    math.randomseed(tonumber(os.getenv "SEED") or 1)
    local random = math.random
    local seeds = {}
    for id = 1, 4 do home:join(id) end
    home.state:want()
    for i = 1, 40 do
      local state = home.state
      local players = state.root.players
      players[10 + i % 8] = i % 3 > 0 and {x = random(30), hand = {i}, name = "n" .. i} or nil
      for _, p in players:each() do
        p.x, p.scores = random(30), {[i] = i}
        p.owner = i % 5 == 0 and home.members[random(4)] or p.owner
      end
      state.root.phase = "phase " .. i
      C.sync_state_input(state.handle, home.members[1].number, i)
      if i % 10 == 0 then state:want() end
      local changes, snapshot = home:patch()
      seeds[#seeds + 1], seeds[#seeds + 2] = changes or snapshot, changes and snapshot
    end
    local function mutate(bytes)
      for _ = 1, random(3) do
        local at, what = random(#bytes), random(5)
        if what == 1 then bytes = bytes:sub(1, at - 1) .. string.char(random(0, 255)) ..
          bytes:sub(at + 1)
        elseif what == 2 then bytes = bytes:sub(1, at - 1) .. bytes:sub(at + random(4))
        elseif what == 3 then bytes = bytes:sub(1, at) .. string.char(random(0, 255)) ..
          bytes:sub(at + 1)
        elseif what == 4 then bytes = bytes:sub(1, at) .. ("\255"):rep(3) ..
          string.char(random(0, 127)) .. bytes:sub(at + 1)
        else bytes = bytes .. bytes:sub(at) end
        if #bytes == 0 then return "\194" end
      end
      return bytes
    end
    local done, refused, applied = 0, 0, 0
    while done < FUZZ do
      local spoilt = Replica.new(SCHEMA, 5)
      for _, seed in ipairs(seeds) do
        local bytes = random(3) == 1 and seed or mutate(seed)
        -- Most numbers are mutated beyond what may follow; so the rest is read, too.
        local code = spoilt:apply(bytes)
        if code == C.SYNC_APPLIED then
          applied = applied + 1
          for number = 1, 6 do
            C.sync_state_connect(spoilt.handle, number, 1)
            spoilt:write(number, 1)
          end
          spoilt:finish()
        elseif code < 0 then
          refused = refused + 1
        end
        done = done + 1
      end
    end
    assert.is_true(refused > FUZZ / 20, refused)
    assert.is_true(applied > FUZZ / 20, applied)
  end)
end)
