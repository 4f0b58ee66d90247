-- Upgrades of nodes of a cluster, on Redis and on NATS: the next process is the same node, and
-- neither clients nor other nodes notice.

local Nats = require "spec.support.nats"
local Process = require "spec.support.process"
local Program = require "spec.support.program"
local Redis = require "spec.support.redis"
local WebSocket = require "spec.support.websocket"
local cjson = require "cjson"
local ffi = require "ffi"
local socket = require "socket"

local TEXT, ask, upgrade = WebSocket.TEXT, Program.ask, Program.upgrade
local CPATH = "package.cpath = 'build/?.so;' .. package.cpath"

-- Each version of a script ends by itself, for its parent may have gone.
local HEAD = [[
local sync = require "sync"
io.stdout:setvbuf "line"
sync.after(90, sync.stop)
]]

-- Lines go to all clients of all nodes.
local LINES = [[
local shared = sync.shared "counts"
local Line = sync.Protocol:extend("Line")
Line.framing, Line.resumeFields = "line", {"count"}
function Line:onConnect()
  self.count = 0
  self:join "all"
end
function Line:onData(data)
  self.count = self.count + 1
  if data == "where" then
    return self:send(("%s %d %d"):format(VERSION, sync.cluster.node, self.count))
  elseif data == "members" then
    return self:send(tostring(#self:room "all":members()))
  elseif data == "sum" then
    return shared:get("sum", function(sum) self:send(tostring(sum)) end)
  end
  if data:find "0$" then
    shared:increment("sum", 1, function(_, problem)
      if problem then io.stderr:write("WARN sum: " .. problem .. "\n") end
    end)
  end
  self:room "all":send(data)
end
TROUBLE = ""
sync.enable("127.0.0.1", PORT, Line)
sync.start()
]]

-- Rooms, of which the first persists.
local ROOMS = [[
local Field, Duel = sync.Room:extend "Field", sync.Room:extend "Duel"
Field.persist = 0.1
for _, Room in ipairs {Field, Duel} do
  Room.tickRate, Room.maxMembers = 50, 100
  Room.state = sync.state {moves = "uint32", ticks = "uint32", players = sync.map {x = "uint32"}}
  function Room:onTick() self.state.ticks = self.state.ticks + 1 end
  function Room:onJoin(member) self.state.players[member.id] = {owner = member} end
  function Room:onLeave(_, reason) io.stderr:write("onLeave: " .. tostring(reason) .. "\n") end
  function Room:onTaken() io.stderr:write "onTaken\n" end
  function Room.remote.move(room, member)
    local player = room.state.players[member.id]
    player.x, room.state.moves = player.x + 1, room.state.moves + 1
    room:fire("onMoved" .. Room.className, room.state.moves)
    return player.x
  end
  function Room.remote.look(room)
    return {version = VERSION, node = sync.cluster.node, members = #room.members,
      epoch = room.inner.epoch}
  end
end
local Game = sync.Remote:extend("Game")
Game.rooms, Game.resumeTime, Game.createRate = {Field, Duel}, 30, 1000
function Game:onConnect() self:join "all" end
function Game.remote:say(from, n) self:room "all":fire("onSay", from, n) end
function Game.remote:others() return sync.cluster:state().others end
function Game.remote:lost() return sync.cluster.lost + sync.cluster.dropped() end
function Game.remote.version() return VERSION end
sync.enable("127.0.0.1", PORT, Game)
sync.start()
]]

-- A player at each node: of both rooms, each on another node than the other. What everybody says
-- and does is numbered.
local PLAYERS = [[
local names = {"Field", "Duel"}
local function wrong(...) print("wrong", ...) end
local function begin(number, port)
  local game = sync.connect("tcp://127.0.0.1:" .. port, {timeout = 20, reconnect = false})
  for _, name in ipairs {"onRoomLost", "onRoomPaused", "onRoomBack"} do
    game:on(name, function() wrong(name) end)
  end
  local heard, said = {}, 0
  game:on("onSay", function(from, n)
    if n ~= (heard[from] or n - 1) + 1 then wrong("said", number, from, heard[from], n) end
    heard[from] = n
  end)
  while game:call "others" < 1 do sync.sleep(0.05) end
  return game, function()
    while true do
      said = said + 1
      game:notify("say", number, said)
      sync.sleep(0.003)
    end
  end, heard
end
local function play(room, label)
  local moves, moved = 0, nil
  room:onLeft(function(reason) wrong("left", label, reason) end)
  room:on("onMoved" .. label:match "%w+", function(n)
    if n ~= (moved or n - 1) + 1 then wrong("moved", label, moved, n) end
    moved = n
  end)
  local ticks = 0
  room:onPatch(function()
    if room.state.ticks < ticks then wrong("ticks", label, ticks, room.state.ticks) end
    ticks = room.state.ticks
  end)
  sync.spawn(function()
    while true do
      moves = moves + 1
      local x, problem = room:call "move"
      if x ~= moves then wrong("move", label, moves, x, problem) end
      sync.sleep(0.01)
    end
  end)
  sync.every(0.2, function()
    room:call("look", function(said)
      if not said then return end
      print(("%s: %s, node %d, epoch %s, %d members, %d moves, %d ticks"):format(label,
        said.version, said.node, tostring(said.epoch), said.members, moves, ticks))
    end)
  end)
end
sync.spawn(function()
  local games, talks, heard = {}, {}, {}
  for i, port in ipairs(PORTS) do games[i], talks[i], heard[i] = begin(i, port) end
  for i, name in ipairs(names) do
    local first, other = games[i], games[3 - i]
    local home = assert(first:create(name, {}))
    play(home, name .. " home")
    play(assert(other:joinById(home.id)), name .. " guest")
  end
  for _, talk in ipairs(talks) do sync.spawn(talk) end
  sync.every(0.2, function()
    for i = 1, 2 do
      print(("heard %d: %d %d"):format(i, heard[i][1] or 0, heard[i][2] or 0))
      games[i]:call("lost", function(lost) if lost ~= 0 then wrong("lost", i, lost) end end)
    end
  end)
  print "playing"
end)
sync.start()
]]

-- `isShort`: only what a hand-over keeps.
local function suite(kind, start, isShort)
  describe("an upgrade of nodes on " .. kind, function()
    local started = {} -- processes that aren't ours to wait for

    after_each(function()
      for _, process in ipairs(started) do ffi.C.kill(process, 9) end
      started = {}
      Process.cleanUp()
      Nats.cleanUp()
    end)

    -- Starts a node; returns a table with `process` (its id), `server` (the process that began),
    -- `port`, and `write(version, code)`.
    local function serve(url, script, ...)
      local path, port = Process.file("", ".lua"), Process.freePort()
      local node = {port = port}
      function node.write(version, code)
        local file = assert(io.open(path, "w"))
        file:write(HEAD .. ("local VERSION, PORT = %q, %d\n"):format(version, port))
        file:write(code or script)
        file:close()
      end
      node.write "one"
      local words = {"-e", CPATH, ...}
      if url then words[#words + 1] = "--cluster=" .. url end
      words[#words + 1] = path
      node.server = Program.start(unpack(words))
      node.process = node.server.pid
      node.server:expect("stderr", "listens on")
      return node
    end

    -- Has one replaced.
    local function replace(node, version)
      node.write(version)
      local code, said, following = upgrade(node.process)
      assert.equal(0, code, said .. node.server:stderr())
      node.process = following
      started[#started + 1] = following
    end

    -- That nobody has noticed anything.
    local function expectQuiet(nodes)
      for _, node in ipairs(nodes) do
        local log = node.server:stderr()
        for _, word in ipairs {"WARN", "ERROR", "onLeave", "onTaken", "has stopped",
          "has been", "lost"} do
          assert.is_nil(log:find(word, 1, true), log)
        end
        local _, count = log:gsub("is there\n", "")
        assert.equal(#nodes - 1, count, log)
      end
    end

    local function twoOfLines(url)
      local nodes = {serve(url, LINES), serve(url, LINES)}
      local clients = {}
      for i, node in ipairs(nodes) do clients[i] = Program.connect(node.port) end
      Process.eventually("both know each other", function()
        return ask(clients[1], "members") == "2" and ask(clients[2], "members") == "2"
      end)
      return nodes, clients
    end

    -- All say numbers until `isDone`, and hear those of all, in their order.
    local function talk(clients, isDone)
      local said, parts, heard = 0, {}, {}
      local function hear(i)
        local client = clients[i]
        client:settimeout(0)
        while true do
          local line, _, rest = client:receive("*l", parts[i] or "")
          parts[i] = rest
          if not line then break end
          parts[i] = nil
          local from, n = line:match "^from (%d) (%d+)$"
          local key = i .. " " .. tostring(from)
          assert.equal((heard[key] or 0) + 1, tonumber(n), "client " .. i .. " hears: " .. line)
          heard[key] = tonumber(n)
        end
        client:settimeout(Process.BOUND)
      end
      local function hasHeard()
        for i = 1, #clients do
          hear(i)
          for from = 1, #clients do
            if heard[i .. " " .. from] ~= said then return false end
          end
        end
        return true
      end
      repeat
        local isOver = isDone()
        said = said + 1
        for i, client in ipairs(clients) do client:send(("from %d %d\n"):format(i, said)) end
        for i = 1, #clients do hear(i) end
        socket.sleep(0.001)
      until isOver
      Process.eventually("all is heard", hasHeard)
      return said
    end

    -- Talks while one is replaced. Returns how many numbers were added to the sum.
    local function talkThrough(node, clients)
      local asking = Program.start("upgrade", node.process)
      local said = talk(clients, function() return not asking:isRunning() end)
      return math.floor(said / 10) * #clients, asking.code, asking:stdout() .. asking:stderr()
    end

    it("goes on with lines, who is there, and sync.shared", function()
      local nodes, clients = twoOfLines(start().url)
      local numbers, total = {}, 0
      for i, client in ipairs(clients) do numbers[i] = ask(client, "where"):match "one (%d+) " end
      for _, version in ipairs {"two", "three", "four"} do
        for i, node in ipairs(nodes) do
          node.write(version)
          local added, code, told = talkThrough(node, clients)
          assert.equal(0, code, told .. node.server:stderr())
          node.process = tonumber(told:match "process (%d+) has taken over")
          started[#started + 1] = node.process
          total = total + added
          assert.is_truthy(ask(clients[i], "where"):find(version .. " " .. numbers[i] .. " "))
          assert.equal("2", ask(clients[1], "members"))
          assert.equal("2", ask(clients[2], "members"))
        end
        Process.eventually("all was added once", function()
          return ask(clients[1], "sum") == tostring(total)
        end)
      end
      expectQuiet(nodes)
    end)

    it("goes on with rooms, whose members are on both", function()
      local url = start().url
      local nodes = {serve(url, ROOMS), serve(url, ROOMS)}
      local players = Program.start("-e", HEAD .. ("local PORTS = {%d, %d}\n"):format(nodes[1].port,
        nodes[2].port) .. PLAYERS)
      players:expect("stdout", "playing")
      local homes = {}
      for i, name in ipairs {"Field", "Duel"} do
        homes[i] = {players:expect("stdout", name .. " guest: one, node (%d+), " ..
          "epoch (%w+), 2 members")}
      end
      assert.are_not.equal(homes[1][1], homes[2][1])
      for _, version in ipairs {"two", "three"} do
        for i, node in ipairs(nodes) do
          replace(node, version)
          for _, where in ipairs {"home", "guest"} do
            players:expect("stdout", ("%s %s: %s, node %s, epoch %s, 2 members"):format(
              i == 1 and "Field" or "Duel", where, version, unpack(homes[i])))
          end
        end
      end
      local function counts()
        local last = {}
        for name, where, moves, ticks in players:stdout():gmatch(
          "(%w+) (%w+): [^\n]* (%d+) moves, (%d+) ticks") do
          last[name .. where .. "moves"], last[name .. where .. "ticks"] = moves + 0, ticks + 0
        end
        for i, first, other in players:stdout():gmatch "heard (%d): (%d+) (%d+)" do
          last["heard" .. i .. "1"], last["heard" .. i .. "2"] = first + 0, other + 0
        end
        return last
      end
      local before = counts()
      assert.is_truthy(before.heard21)
      Process.eventually("all goes on", function()
        local now = counts()
        for name, count in pairs(before) do
          if now[name] <= count then return false end
        end
        return true
      end)
      assert.is_nil(players:stdout():find("wrong", 1, true), players:stdout())
      assert.equal("", players:stderr())
      expectQuiet(nodes)
    end)

    it("keeps sessions, which come back to either node", function()
      local url = start().url
      local nodes = {serve(url, ROOMS), serve(url, ROOMS)}
      local function receive(client)
        local _, text = assert(client:receive())
        return cjson.decode(text)
      end
      local function enter(node)
        local client = assert(WebSocket.connect(node.port))
        return client, receive(client).params[1].token
      end
      local function say(client, n)
        client:send(TEXT, cjson.encode {jsonrpc = "2.0", method = "say", params = {9, n}})
      end
      local function resume(client, token, received)
        client:send(TEXT, cjson.encode {jsonrpc = "2.0", id = 2, method = "sync.resume",
          params = {token, received}})
      end
      local other, beside = enter(nodes[2]), enter(nodes[1])
      local function sayAll(n) -- and wait until both nodes have heard it
        say(other, n)
        for _, client in ipairs {other, beside} do assert.same({9, n}, receive(client).params) end
      end
      Process.eventually("both know each other", function()
        other:send(TEXT, cjson.encode {jsonrpc = "2.0", id = 1, method = "others"})
        return receive(other).result == 1
      end)
      local received = 0
      local goes, token = enter(nodes[1])
      for round, back in ipairs {1, 2, 1} do
        goes.socket:close()
        sayAll(2 * round - 1)
        for _, node in ipairs(nodes) do replace(node, "version " .. round) end
        sayAll(2 * round)
        goes = enter(nodes[back])
        resume(goes, token, received)
        assert.same({resumed = true, missed = 2}, receive(goes).result)
        assert.same({9, 2 * round - 1}, receive(goes).params)
        assert.same({9, 2 * round}, receive(goes).params)
        if back == 1 and round == 1 then
          received = 2
        else
          local session = receive(goes)
          assert.equal("sync.session", session.method)
          token, received = session.params[1].token, 0
        end
      end
      expectQuiet(nodes)
    end)

    if isShort then return end

    it("doesn't leave its cluster", function()
      local joins = ("sync.cluster(%q)\n"):format(start().url)
      local node = serve(nil, joins .. LINES)
      local client = Program.connect(node.port)
      ask(client, "sum") -- is answered when the engine is there
      local number = ask(client, "where"):match "^one (%d+) 2"
      node.write("two", LINES)
      local code, said = upgrade(node.process)
      assert.equal(1, code, said)
      assert.is_truthy(said:find("the script doesn't join the cluster", 1, true), said)
      local other = kind == "NATS" and "redis://127.0.0.1:1" or "nats://127.0.0.1:1"
      node.write("two", ("sync.cluster(%q)\n"):format(other) .. LINES)
      code, said = upgrade(node.process)
      assert.equal(1, code, said)
      assert.is_truthy(node.server:stderr():find("can't move a node from " .. kind, 1, true))
      assert.equal(("one %s 3"):format(number), ask(client, "where"))
      replace(node, "two")
      assert.equal(("two %s 4"):format(number), ask(client, "where"))
    end)

    it("leaves all as it is when the next process can't go on", function()
      local server = start()
      local nodes, clients = twoOfLines(server.url)
      local troubles = {
        ["it was ready"] = "os.exit(3)",
        ["not today"] = [[function Line:onTakeover() error "not today" end]],
        ["isn't there"] = "sync.cluster.engine.isUp = function() return false end",
        ["isn't the one that this node is in"] = kind == "NATS" and
          "sync.cluster.engine.topicPrefix = 'other.'" or
          "sync.cluster.engine.topics.prefix = 'other:'",
      }
      local total = 0
      for word, trouble in pairs(troubles) do
        nodes[1].write("two", (LINES:gsub('TROUBLE = ""', function() return trouble end)))
        local added, code, told = talkThrough(nodes[1], clients)
        total = total + added
        assert.equal(1, code, told)
        assert.is_truthy(told:find(word, 1, true), word .. ": " .. told)
        assert.is_truthy(ask(clients[1], "where"):find "^one ")
      end
      nodes[1].write "two"
      local added, code, told = talkThrough(nodes[1], clients)
      assert.equal(0, code, told)
      started[#started + 1] = tonumber(told:match "process (%d+) has taken over")
      total = total + added
      assert.is_truthy(ask(clients[1], "where"):find "^two ")
      Process.eventually("all was added once", function()
        return ask(clients[1], "sum") == tostring(total)
      end)
    end)

    it("is refused while the engine is away", function()
      local server = start()
      local nodes, clients = twoOfLines(server.url)
      server.kill()
      Process.eventually("it's away", function()
        local code, said = upgrade(nodes[1].process)
        assert.equal(1, code)
        return said:find(kind .. " is away", 1, true)
      end)
      assert.is_truthy(ask(clients[1], "where"):find "^one ")
    end)

    it("replaces workers, each of which is a node", function()
      local node = serve(start().url, LINES, "--workers=2")
      local clients, places = {}, {}
      Process.eventually("each has two clients", function()
        local client = Program.connect(node.port)
        local place = ask(client, "where"):match "^one (%d+) "
        local count = places[place] or 0
        if count < 2 then
          clients[#clients + 1] = client
          places[place] = count + 1
        else
          client:close()
        end
        return #clients == 4
      end)
      Process.eventually("both know each other", function()
        for _, client in ipairs(clients) do
          if ask(client, "members") ~= "4" then return false end
        end
        return true
      end)
      for _, version in ipairs {"two", "three"} do
        node.write(version)
        local _, code, told = talkThrough(node, clients)
        assert.equal(0, code, told .. node.server:stderr())
        for _, client in ipairs(clients) do
          local found, place = ask(client, "where"):match "^(%w+) (%d+) "
          assert.equal(version, found)
          assert.equal(2, places[place])
          assert.equal("4", ask(client, "members"))
        end
      end
      local log = node.server:stderr()
      for _, word in ipairs {"WARN", "ERROR", "has stopped", "has been silent"} do
        assert.is_nil(log:find(word, 1, true), log)
      end
    end)
  end)
end

suite("Redis", function()
  local server = Redis.start()
  return {url = server:url(), kill = function() server:kill "KILL" end}
end)

suite("NATS", function()
  local server = Nats.start()
  return {url = server.url, kill = function() server:signal "KILL" end}
end)

suite("three servers of NATS", function() return {url = Nats.cluster().url} end, true)
