-- Rooms whose members are on several nodes: four workers, and three nodes on Redis and on NATS.

local Nats = require "spec.support.nats"
local Process = require "spec.support.process"
local Program = require "spec.support.program"
local Redis = require "spec.support.redis"
local loop = require "sync.loop"
local null = require "cjson".null
local support = require "spec.support"
local sync = require "sync"

local wait = support.wait

local SCRIPT = "spec/rooms/server.lua"

local connections = {}

-- Runs a function that may wait, and fails with it.
local function inTask(fn)
  local done, problem
  sync.spawn(function()
    local ok, err = xpcall(fn, debug.traceback)
    done, problem = true, not ok and err
  end)
  wait(function() return done end, 120)
  if problem then error(problem, 0) end
end

local function connect(port, returns)
  local game = sync.connect("tcp://127.0.0.1:" .. port, {reconnect = returns == true, timeout = 60,
    firstWait = 0.01})
  connections[#connections + 1] = game
  return game
end

local function listens(process)
  return tonumber(process:expect("stderr", "listens on %S-:(%d+)"))
end

-- How many nodes there are, who ends one, and who connects to one.

local function workers()
  local process = Program.start("--workers=4", SCRIPT)
  local port = listens(process)
  local waiting = {} -- connections of each node
  local function fill(node)
    while not (waiting[node] and waiting[node][1]) do
      local game = connect(port)
      local number = assert(game:call "node")
      waiting[number] = waiting[number] or {}
      table.insert(waiting[number], game)
    end
  end
  return {count = 4, connect = function(node)
    fill(node)
    return table.remove(waiting[node])
  end, any = function() return connect(port) end}
end

local function distinct(start)
  return function()
    local url = start()
    local nodes = {}
    for i = 1, 3 do
      local process = Program.start("-e", "package.cpath = 'build/?.so;' .. package.cpath",
        "--cluster=" .. url, SCRIPT)
      nodes[i] = {process = process, port = listens(process)}
    end
    return {count = 3,
      connect = function(node, returns) return connect(nodes[node].port, returns) end,
      any = function() return connect(nodes[math.random(3)].port) end,
      kill = function(node, signal) nodes[node].process:kill(signal) end}
  end
end

local function suite(name, start)
  describe("rooms on " .. name, function()
    local world

    before_each(function()
      world = start()
      inTask(function()
        for node = 1, world.count do
          local game = world.connect(node)
          while game:call "others" < world.count - 1 do sync.sleep(0.05) end
        end
      end)
    end)

    after_each(function()
      for _, game in ipairs(connections) do game:close() end
      connections = {}
      wait(function() return loop.count == 0 end)
      Process.cleanUp()
    end)

    -- Two clients on two nodes in a room of the first's.
    local function pair()
      local ann, bob = world.connect(1), world.connect(2)
      ann:call("name", "ann")
      bob:call("name", "bob")
      local here = assert(ann:create("Duel", {private = true}))
      local there = assert(bob:joinByCode(here.code))
      return here, there, ann, bob
    end

    local function until_(what)
      while not what() do sync.sleep(0.01) end
    end

    it("have members on other nodes, who see and do what others do", function()
      inTask(function()
        local here, there, ann, bob = pair()
        assert.equal(here.id, there.id)
        assert.same({1, 2}, {here.member, there.member})
        local moved = {}
        for _, room in ipairs {here, there} do
          room:on("onMove", function(id, x) moved[#moved + 1] = {room.member, id, x} end)
        end
        assert.equal(3, there:call("move", 3))
        until_(function() return #moved == 1 end)
        assert.equal(2, here:call("move", 2))
        until_(function() return #moved == 2 end)
        assert.same({{1, 2, 3}, {2, 1, 2}}, moved)
        for _, room in ipairs {here, there} do
          until_(function() return room.state.moves == 2 end)
          local players = room.state.players
          assert.same({"ann", 2}, {players[1].name, players[1].x})
          assert.same({"bob", 3}, {players[2].name, players[2].x})
          assert.is_true(players:isMine(room.member))
          assert.same({room.member}, players[room.member].hand)
          assert.same({}, players[3 - room.member].hand)
        end
        there:input("move", 1)
        until_(function() return there.inputTaken == 1 end)
        assert.equal(4, there.state.players[2].x)
        assert.equal("[]", require "sync.json".encode(there:call "list"))
        bob:handle("answer", function(question) return question .. "!" end)
        local answer
        ann:on("onAnswer", function(result) answer = result end)
        here:call("ask", "why")
        until_(function() return answer end)
        assert.equal("why!", answer)
      end)
    end)

    it("get the same by calls from another node, also of functions that wait", function()
      inTask(function()
        local here, there = pair()
        assert.equal("so, 2", there:call("slow", "so"))
        local long = ("x"):rep(20000)
        for _, arguments in ipairs {{}, {1}, {"a", false}, {1.5, null, "ü"}, {1, 2, 3, 4},
          {1, null, 3, 4, {5, {six = "7"}}}, {{}, {a = 1}}, {long, long}, {sync.list()}} do
          local own = here:call("echo", unpack(arguments))
          assert.equal(#arguments, own.count)
          assert.same(own, (there:call("echo", unpack(arguments))))
        end
        local answers = {} -- of one tick, in their order
        for i = 1, 40 do
          there:call("move", 1, function(x) answers[i] = x end)
        end
        until_(function() return #answers == 40 end)
        for i = 1, 40 do assert.equal(i, answers[i]) end
      end)
    end)

    it("send a patch to each node once, however many members are there", function()
      inTask(function()
        local here, there = pair()
        local all = {there}
        for i = 2, 3 do all[i] = assert(world.connect(2):joinByCode(here.code)) end
        local home = here.client
        home:call "carried"
        here:call("move", 1)
        until_(function() return there.state.moves == 1 end)
        local patches, moves = {0, 0, 0}, 1
        for i, room in ipairs(all) do
          room:onPatch(function() patches[i] = patches[i] + 1 end)
        end
        local function round()
          local before, seen = home:call "carried", {unpack(patches)}
          for _ = 1, 10 do
            here:call("move", 1)
            moves = moves + 1
            for _, room in ipairs(all) do
              until_(function() return room.state.moves == moves end)
            end
          end
          for i = 1, 3 do seen[i] = patches[i] - seen[i] end
          return {home:call "carried" - before, unpack(seen)}
        end
        -- In the first ones there may be snapshots, for who has just come.
        local found
        for _ = 1, 5 do
          found = round()
          if found[1] == 10 then break end
        end
        assert.same({10, 10, 10, 10}, found)
      end)
    end)

    it("check what members call where these are", function()
      inTask(function()
        local _, there = pair()
        assert.matches("must be a number", select(2, there:call("move", "x")).message)
        assert.equal(-32601, select(2, there:call "none").code)
        local refused, answered = nil, 0
        for _ = 1, 60 do -- at once, however slow the machine is
          there:call("move", 0, function(_, problem)
            refused, answered = refused or problem, answered + 1
          end)
        end
        until_(function() return answered == 60 end)
        assert.equal(-32001, refused and refused.code)
      end)
    end)

    it("are left, refused and full from everywhere", function()
      inTask(function()
        local here, there, _, bob = pair()
        assert.matches("in the room already", select(2, bob:joinByCode(here.code)).message)
        local other = world.connect(2)
        assert.equal("not you", select(2, other:joinByCode(here.code, {refused = true})).message)
        assert.equal("there is no such room", select(2, other:joinById(here.id)).message)
        assert.equal("there is no such room", select(2, other:joinByCode "AAAAAA").message)
        local left, gone
        there:onLeft(function(reason) left = reason end)
        here:on("onGo", function(id, reason) gone = {id, reason} end)
        there:call "kick"
        until_(function() return left and gone end)
        assert.same({"enough", {2, "enough"}}, {left, gone})
        there = assert(bob:joinByCode(here.code))
        gone = nil
        there:leave()
        until_(function() return gone end)
        assert.same({there.member, "left"}, gone)
        for _ = 1, 3 do assert(world.connect(2):joinByCode(here.code)) end
        assert.equal("the room is full", select(2, world.connect(2):joinByCode(here.code)).message)
      end)
    end)

    it("are listed, and joined by id, from everywhere", function()
      inTask(function()
        local ann, bob = world.connect(1), world.connect(2)
        local room = assert(ann:create("Duel", {mode = "free"}))
        assert(ann:create("Duel", {mode = "ranked"}))
        local listed = bob:rooms("Duel", {mode = "free"})
        assert.same({{room.id, 1}}, {{listed[1].id, listed[1].members}})
        assert.equal(2, #bob:rooms "Duel")
        assert.equal(2, assert(bob:joinById(room.id)).member)
      end)
    end)

    -- Ends a client's connection, as a network does; it comes back by another node.
    local function move(game, node)
      local other = world.connect(node)
      game.port = other.port
      other:close()
      game:drop "cut"
    end

    it("keep members who come back to another node, wherever the room lives", function()
      inTask(function()
        if not world.kill then return end -- a worker can't be chosen
        local ann, bob = world.connect(1, true), world.connect(2, true)
        ann:call("name", "ann")
        local here = assert(ann:create("Duel", {mode = "free"}))
        local there = assert(bob:joinById(here.id))
        local heard = {}
        here:on("onReturn", function(id) heard[#heard + 1] = "returned " .. id end)
        here:on("onGo", function(id) heard[#heard + 1] = "gone " .. id end)
        local function plays(room, x, all)
          assert.equal(x, assert(room:call("move", 1)))
          for _, each in ipairs(all) do
            until_(function()
              local player = each.state.players[room.member]
              return player and player.x == x
            end)
            assert.is_true(each.state.players:isMine(each.member))
          end
        end
        until_(function() return here.state.players:count() == 2 end)
        local both = {here, there}
        move(bob, 3)      -- a guest elsewhere
        until_(function() return #heard == 1 end)
        plays(there, 1, both)
        move(bob, 1)      -- comes to where the room lives
        until_(function() return #heard == 2 end)
        plays(there, 2, both)
        move(bob, 2)      -- and goes again
        until_(function() return #heard == 3 end)
        plays(there, 3, both)
        move(ann, 3)      -- who has made it goes: the room stays
        plays(here, 1, both)
        plays(there, 4, both)
        assert.same({"returned 2", "returned 2", "returned 2"}, {unpack(heard, 1, 3)})
        assert.is_nil(table.concat(heard):find "gone")
        assert.same({1, 2}, {here.member, there.member})
        assert.equal(3, assert(world.connect(1):joinById(here.id)).member)
      end)
    end)

    it("begin where the least is to do, if they are to", function()
      inTask(function()
        local function homeOf(room) return tonumber(room.id:match "^(%x+)n", 16) end
        local ann, bob, counts = world.connect(1), world.connect(2), {}
        local own = ann:call "node"
        for _ = 1, 2 * world.count do -- at once: nobody has told yet
          local home = homeOf(assert(ann:create "Spread"))
          counts[home] = (counts[home] or 0) + 1
        end
        for node, count in pairs(counts) do assert.same({node, 2}, {node, count}) end
        for _ = 1, 2 do
          assert.equal(own, homeOf(assert(world.connect(1):create("Duel", {mode = "here"}))))
        end
        local most = ann:call("loadOf", own)
        until_(function() return bob:call("loadOf", own) == most end)
        for _ = 1, world.count - 1 do
          local room = assert(bob:create "Spread")
          assert.not_equal(own, homeOf(room))
        end
        assert.not_equal(own, homeOf(assert(bob:join("Spread", {mode = "new"}))))
      end)
    end)

    it("are filled by a thousand who join by filter at once", function()
      inTask(function()
        local games, counts, done = {}, {}, 0
        for i = 1, 1000 do
          games[i] = world.any()
        end
        for i, game in ipairs(games) do
          game:join("Duel", {mode = i % 2 == 0 and "a" or "b"}, function(room, err)
            done = done + 1
            assert(room, err and err.message)
            counts[room.id] = (counts[room.id] or 0) + 1
          end)
        end
        until_(function() return done == 1000 end)
        local rooms = 0
        for _, count in pairs(counts) do
          rooms = rooms + 1
          assert.equal(4, count)
        end
        assert.equal(250, rooms)
      end)
    end)

    it("are lost with a home that stands still, which lets go of who was lost when it goes on",
      function()
        inTask(function()
          if not world.kill then return end
          local ann, bob = world.connect(1), world.connect(2)
          local here = assert(ann:create("Duel", {mode = "free"}))
          local there = assert(bob:joinById(here.id))
          local gone, reason, patches
          here:on("onGo", function(id, why) gone = {id, why} end)
          here:on("onAway", function(id) gone = {id, "node"} end) -- if it takes that node for dead
          there:onLeft(function(why) reason = why end)
          there:onPatch(function() patches = true end)
          world.kill(1, "STOP")
          local since = sync.now()
          until_(function() return reason end)
          assert.equal("lost", reason)
          assert.is_true(sync.now() - since < 8, sync.now() - since .. " s")
          patches = nil
          world.kill(1, "CONT")
          until_(function() return gone end)
          assert.same({there.member, "node"}, gone)
          assert.is_number(here:call("move", 1)) -- who is at home goes on
          assert.is_nil(patches)
          local again
          repeat
            again = bob:joinById(here.id)
            if not again then sync.sleep(0.2) end
          until again
          assert.equal(3, again.member)
        end)
      end)

    it("are lost for who is on a node that was taken for dead, and has not noticed", function()
      inTask(function()
        local ann, bob = world.connect(1), world.connect(2)
        local here = assert(ann:create("Duel", {private = true}))
        local there = assert(bob:joinByCode(here.code))
        local node, reason = bob:call "node", nil
        there:onLeft(function(why) reason = why end)
        ann:call("bury", node)
        until_(function() return reason end)
        assert.equal("lost", reason)
        assert.is_number(here:call("move", 1))
        local again
        repeat
          again = bob:joinByCode(here.code)
          if not again then sync.sleep(0.2) end
        until again
        assert.equal(1, again:call("move", 1))
      end)
    end)

    it("have members back whose node has died, as they were, and tell who is in no room more",
      function()
        inTask(function()
          if not world.kill then return end
          local ann, bob = world.connect(1, true), world.connect(2, true)
          local cid = world.connect(2, true)
          bob:call("name", "bob")
          local here = assert(ann:create("Duel", {private = true}))
          local there, third = assert(bob:joinByCode(here.code)), assert(cid:joinByCode(here.code))
          local own = assert(bob:create "Duel") -- dies with its node
          local heard, lost = {}, nil
          here:on("onGo", function(id, why) heard[#heard + 1] = {id, why} end)
          own:onLeft(function(why) lost = why end)
          assert.equal(3, there:call("move", 3))
          for client, node in pairs {[bob] = 3, [cid] = 1} do -- where they come to
            local other = world.connect(node)
            client.port = other.port
            other:close()
          end
          -- What the node has noted of its sessions is at the engine before this question is.
          assert(world.connect(2):rooms("Duel"))
          world.kill(2, "KILL")
          until_(function() return lost end)
          local function moves(room, x)
            local result
            until_(function()
              result = room:call("move", 1)
              return result
            end)
            assert.equal(x, result)
          end
          moves(there, 4)
          moves(third, 1)
          assert.equal("lost", lost)
          assert.same({2, 3, true, true}, {there.member, third.member, there.isIn, third.isIn})
          assert.same({}, heard)
          for _, room in ipairs {here, there, third} do
            until_(function()
              local players = room.state.players
              return players[2] and players[2].x == 4 and players[3].x == 1
            end)
            assert.equal("bob", room.state.players[2].name)
            assert.is_true(room.state.players:isMine(room.member))
          end
        end)
      end)

    it("are lost with their home, which members are told, and wait for others' members", function()
      inTask(function()
        if not world.kill then return end
        local ann, bob, cid = world.connect(1), world.connect(2), world.connect(3)
        local room = assert(ann:create("Duel", {mode = "free"}))
        local there = assert(bob:joinById(room.id))
        assert(cid:joinById(room.id))
        local gone, lost, reason
        there:on("onAway", function(id) gone = id end) -- it could come back, for 15 s
        bob:on("onRoomLost", function(id, class) lost = {id, class} end)
        there:onLeft(function(why) reason = why end)
        world.kill(3, "KILL")
        until_(function() return gone end)
        assert.equal(3, gone)
        world.kill(1, "KILL")
        local since = sync.now()
        until_(function() return reason end)
        assert.same({{room.id, "Duel"}, "lost"}, {lost, reason})
        assert.is_true(sync.now() - since < 8, sync.now() - since .. " s")
        local again = assert(bob:join("Duel", {mode = "free"}))
        assert.not_equal(room.id, again.id)
      end)
    end)
  end)
end

suite("four workers", workers)
suite("three nodes of Redis", distinct(function() return Redis.start():url() end))
suite("three nodes of NATS", distinct(function() return Nats.start().url end))
