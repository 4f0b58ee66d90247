-- Upgrades of workers: each hands over to a process of its own, and neither clients nor the other
-- workers notice.

local Process = require "spec.support.process"
local Program = require "spec.support.program"
local WebSocket = require "spec.support.websocket"
local cjson = require "cjson"
local core = require "sync.core"

local TEXT, ask = WebSocket.TEXT, Program.ask

local HEAD = [[
local sync = require "sync"
io.stdout:setvbuf "line"
sync.after(60, sync.stop)
]]

local SCRIPT = [[
local Line = sync.Protocol:extend("Line")
Line.framing, Line.resumeFields = "line", {"count"}
local shared = sync.shared "counts"
function Line:onConnect()
  self.count = 0
  self:join "all"
end
function Line:onData(data)
  self.count = self.count + 1
  if data == "all" then return self:room "all":send("to all") end
  if data == "die" then os.exit(5) end
  if data == "members" then return self:send(tostring(#self:room "all":members())) end
  if data == "add" then
    return shared:increment("sum", 1, function(sum) self:send(tostring(sum)) end)
  end
  self:send(("%s %d %d %s"):format(VERSION, sync.worker, self.count, data))
end
TROUBLE = ""
sync.enable("127.0.0.1", PORT, Line)
sync.start()
]]

describe("an upgrade of workers", function()
  after_each(Process.cleanUp)

  -- Starts two; returns the parent, its port, and a function that writes another version.
  local function serve(script, ...)
    local path, port = Process.file("", ".lua"), Process.freePort()
    local function write(version, code)
      local file = assert(io.open(path, "w"))
      file:write(HEAD .. ("local VERSION, PORT = %q, %d\n"):format(version, port))
      file:write(code or script)
      file:close()
    end
    write "one"
    local words = {...}
    if not words[1] then words[1] = Program.path end
    words[#words + 1], words[#words + 2] = "--workers=2", path
    local server = Process.start(words)
    server:expect("stderr", "listens on")
    return server, port, write
  end

  local function upgrade(server) return Program.upgrade(server.pid) end

  -- Some clients on each of the two, and on which each is.
  local function connectBoth(port)
    local clients, places, counts = {}, {}, {0, 0}
    Process.eventually("each has two clients", function()
      local client = Program.connect(port)
      local place = tonumber(ask(client, "x"):match "^%S+ (%d) ")
      clients[#clients + 1], places[#places + 1] = client, place
      counts[place] = counts[place] + 1
      return counts[1] > 1 and counts[2] > 1
    end)
    return clients, places
  end

  local function expectAll(clients, places, version, count)
    for i, client in ipairs(clients) do
      assert.equal(("%s %d %d y"):format(version, places[i], count), ask(client, "y"))
    end
  end

  it("keeps connections, rooms on both, and sync.shared", function()
    local server, port, rewrite = serve(SCRIPT)
    local clients, places = connectBoth(port)
    assert.equal("1", ask(clients[1], "add"))
    Process.eventually("the two know each other", function()
      return ask(clients[1], "members") == tostring(#clients)
    end)
    for number, version in ipairs {"two", "three"} do
      clients[1]:send "begun"
      rewrite(version)
      local code, said = upgrade(server)
      assert.equal(0, code, said .. server:stderr())
      assert.is_truthy(said:find("2 workers", 1, true), said)
      local line = version .. " " .. places[1] .. " %d+ begun!"
      assert.is_truthy(ask(clients[1], "!"):find(line))
      assert.equal(tostring(#clients), ask(clients[1], "members"))
      assert.equal(tostring(number + 1), ask(clients[#clients], "add"))
      clients[2]:send "all\n"
      for _, client in ipairs(clients) do assert.equal("to all", (client:receive "*l")) end
    end
    assert.is_nil(server:stderr():find "node %d has", server:stderr())
    server:kill "TERM"
    assert.equal(0, (server:wait()), server:stderr())
    assert.is_nil(server:stderr():find("ERROR", 1, true), server:stderr())
  end)

  local function keepsRooms(persist)
    local server, port, rewrite = serve((([[
      local Duel = sync.Room:extend("Duel")
      Duel.persist = PERSIST
      Duel.tickRate, Duel.maxMembers = 50, 4
      Duel.state = sync.state {moves = "uint32", players = sync.map {x = "float32"}}
      function Duel:onCreate() self.note = "of " .. VERSION .. " " .. sync.worker end
      function Duel:onJoin(member) self.state.players[member.id] = {owner = member} end
      function Duel:onLeave(_, reason) io.stderr:write("onLeave: " .. tostring(reason) .. "\n") end
      function Duel:onHandover() return {note = self.note} end
      function Duel:onTakeover(data) self.note = data.note end
      function Duel.remote.move(room, member)
        local player = room.state.players[member.id]
        player.x, room.state.moves = player.x + 1, room.state.moves + 1
        room:fire("onMoved", room.state.moves)
        return ("%s %s, %d members, %d"):format(VERSION, room.note, #room.members, player.x)
      end
      local Game = sync.Remote:extend("Game")
      Game.rooms, Game.resumeTime = {Duel}, 30
      function Game.remote:where() return sync.worker end
      sync.enable("127.0.0.1", PORT, Game)
      sync.start()
    ]]):gsub("PERSIST", tostring(persist))))
    -- A player for as long as the process lives. Each of its moves must be one more.
    local function play()
      local player = Program.start("-e", HEAD .. ([[
        local game = sync.connect("tcp://127.0.0.1:%d")
        for _, name in ipairs {"onRoomLost", "onRoomPaused"} do
          game:on(name, function() print(name) end)
        end
        game:call("where", function(where) print("at " .. where) end)
        game:join("Duel", {}, function(room, err)
          if err then return print("failed", err) end
          print("joined " .. room.id)
          room:onLeft(function(reason) print("left", reason) end)
          local moves, asked = 0, false
          room:onPatch(function()
            local own = room.state.players[room.member]
            if own then print(("saw %%d, %%d"):format(room.state.moves, own.x)) end
          end)
          sync.every(0.02, function()
            if asked then return end
            asked = true
            room:call("move", function(text, problem)
              asked, moves = false, moves + 1
              if not text or tonumber(text:match "(%%d+)$") ~= moves then
                print("wrong", moves, text, problem)
              end
              print(text)
            end)
          end)
        end)
        sync.start()
      ]]):format(port))
      return player, tonumber((player:expect("stdout", "at (%d)")))
    end
    local players, on = {}, {0, 0}
    while on[1] == 0 or on[2] == 0 do
      local player, place = play()
      on[place] = on[place] + 1
      if on[place] > 2 then player:kill "KILL" else players[#players + 1] = player end
    end
    local count = #players
    players[1]:expect("stdout", ("one of one %%d, %d members, %%d+\n"):format(count))
    for _, version in ipairs {"two", "three"} do
      rewrite(version)
      local code, said = upgrade(server)
      assert.equal(0, code, said .. server:stderr())
      for _, player in ipairs(players) do
        local at = tonumber((player:expect("stdout", ("%s of one %%d, %d members, (%%d+)\n")
          :format(version, count))))
        Process.eventually("patches come", function()
          return tonumber(player:stdout():match ".*saw %d+, (%d+)\n") > at
        end)
      end
    end
    for _, player in ipairs(players) do
      for _, word in ipairs {"wrong", "left", "onRoom", "failed"} do
        assert.is_nil(player:stdout():find(word, 1, true), player:stdout())
      end
      assert.equal("", player:stderr())
    end
    for _, word in ipairs {"onLeave", "ERROR", "WARN"} do
      assert.is_nil(server:stderr():find(word, 1, true), server:stderr())
    end
  end

  it("keeps rooms with members on both, whichever has them", function() keepsRooms(false) end)

  it("keeps rooms that would outlive their worker", function() keepsRooms(true) end)

  it("keeps sessions, which come back to any worker", function()
    local server, port, rewrite = serve [[
      local Game = sync.Remote:extend("Game")
      Game.resumeTime, Game.resumeFields = 30, {"name"}
      function Game.remote:enter(name)
        self.name = name
        self:join "arena"
        return sync.worker
      end
      function Game.remote:say(text) self:room "arena":fire("onSay", VERSION, text) end
      function Game.remote:who() return self.name, sync.worker end
      sync.enable("127.0.0.1", PORT, Game)
      sync.start()
    ]]
    local function receive(client)
      local _, text = assert(client:receive())
      return cjson.decode(text)
    end
    local function call(client, method, params)
      client:send(TEXT, cjson.encode {jsonrpc = "2.0", id = 1, method = method, params = params})
      return receive(client).result
    end
    local function enter()
      local client = assert(WebSocket.connect(port))
      return client, receive(client).params[1].token
    end
    local function say(text)
      local client = enter()
      client:send(TEXT, cjson.encode {jsonrpc = "2.0", method = "say", params = {text}})
      return client
    end
    local goes, token = enter()
    local home = call(goes, "enter", {"ann"})
    goes.socket:close()
    local other
    Process.eventually("one is on the other worker", function()
      other = enter()
      return call(other, "enter", {"bob"}) ~= home
    end)
    say "before"
    assert.same({"one", "before"}, receive(other).params)
    rewrite "two"
    local code, said = upgrade(server)
    assert.equal(0, code, said .. server:stderr())
    say "after"
    assert.same({"two", "after"}, receive(other).params)
    local back
    Process.eventually("one comes back to the other worker", function()
      back = enter()
      return call(back, "enter", {"cid"}) ~= home
    end)
    back:send(TEXT, cjson.encode {jsonrpc = "2.0", id = 2, method = "sync.resume",
      params = {token, 1}})
    assert.same({resumed = true, missed = 2}, receive(back).result)
    assert.same({"one", "before"}, receive(back).params)
    assert.same({"two", "after"}, receive(back).params)
    assert.equal("sync.session", receive(back).method)
    assert.equal("ann", call(back, "who", {}))
    assert.is_nil(server:stderr():find("ERROR", 1, true), server:stderr())
  end)

  it("leaves all as it is when the new script can't begin", function()
    local server, port, rewrite = serve(SCRIPT)
    local clients, places = connectBoth(port)
    for _, trouble in ipairs {"end", "error 'not today'", "os.exit(3)"} do
      rewrite("two", (SCRIPT:gsub('TROUBLE = ""', trouble)))
      local code, said = upgrade(server)
      assert.equal(1, code)
      assert.is_truthy(said:find "the new script can't begin", said)
    end
    rewrite("two", (SCRIPT:gsub("PORT, Line", "0, Line")))
    local code, said = upgrade(server)
    assert.equal(1, code)
    assert.is_truthy(said:find "doesn't enable 127.0.0.1 port %d+ any more", said)
    expectAll(clients, places, "one", 2)
    rewrite "two"
    assert.equal(0, (upgrade(server)))
    expectAll(clients, places, "two", 3)
  end)

  for name, trouble in pairs {
    raises = "error 'not here'", dies = "os.exit(7)", ["is killed"] = "sync.kill()"} do
    it("keeps a worker whose successor " .. name .. ", and replaces the others", function()
      local server, port, rewrite = serve(SCRIPT)
      local clients, places = connectBoth(port)
      trouble = trouble:gsub("sync.kill%(%)", "os.execute 'kill -9 $PPID'")
      rewrite("two", (SCRIPT:gsub('TROUBLE = ""', function() return ([[
        Line.onHandover = function(self) return {count = self.count} end
        Line.onTakeover = function(self, data)
          if sync.worker == 1 then %s end
          self.count = data.count
        end
      ]]):format(trouble) end)))
      local code, said = upgrade(server)
      assert.equal(1, code, said)
      assert.is_truthy(said:find "1 workers .*not all: worker 1: ", said)
      for i, client in ipairs(clients) do
        local version = places[i] == 1 and "one" or "two"
        assert.equal(("%s %d 2 y"):format(version, places[i]), ask(client, "y"))
      end
      clients[2]:send "all\n"
      for _, client in ipairs(clients) do assert.equal("to all", (client:receive "*l")) end

      -- The one that stayed is a child that the program before has started.
      for i, client in ipairs(clients) do
        if places[i] == 1 then client:send "die\n" break end
      end
      server:expect("stderr", "worker 1 ended with code 5; it is started again")
      Process.eventually("the first serves again", function()
        return ask(Program.connect(port), "z") == "two 1 1 z"
      end)
    end)
  end

  it("starts a worker again that dies while it hands over", function()
    local server, port, rewrite = serve((SCRIPT:gsub('TROUBLE = ""', [[
      function Line:onHandover()
        if sync.worker == 1 then os.execute "kill -9 $PPID" end
        return {count = self.count}
      end
    ]])))
    local clients, places = connectBoth(port)
    rewrite "two"
    local code, said = upgrade(server)
    assert.equal(1, code, said)
    assert.is_truthy(said:find("1 workers", 1, true), said)
    for i, client in ipairs(clients) do
      if places[i] == 2 then assert.equal("two 2 2 y", ask(client, "y")) end
    end
    Process.eventually("the first serves again", function()
      return ask(Program.connect(port), "z") == "two 1 1 z"
    end)
  end)

  it("leaves all as it is when the parent can't be replaced", function()
    local folder = os.tmpname()
    local program = folder .. "/sync-lua"
    os.execute(("rm %s && mkdir %s"):format(folder, folder))
    local function link() os.execute(("ln -sf $(realpath %s) %s"):format(Program.path, program)) end
    link()
    local server, port, rewrite = serve(SCRIPT, program)
    local clients, places = connectBoth(port)
    rewrite("two", (SCRIPT:gsub('TROUBLE = ""', ("os.remove %q"):format(program))))
    local code, said = upgrade(server)
    assert.equal(1, code)
    assert.is_truthy(said:find("can't be executed: no such file", 1, true), said)
    expectAll(clients, places, "one", 2)
    link()
    rewrite "three"
    code, said = upgrade(server)
    assert.equal(0, code, said)
    expectAll(clients, places, "three", 3)
    os.execute("rm -r " .. folder)
  end)

  it("leaves all as it is when the new program has another format", function()
    local server, port = serve('require "sync.upgrade".FORMAT = 99\n' .. SCRIPT)
    local clients, places = connectBoth(port)
    local code, said = upgrade(server)
    assert.equal(1, code)
    assert.is_truthy(said:find("another format", 1, true), said)
    expectAll(clients, places, "one", 2)
  end)

  it("tells systemd", function()
    local name = ("sync-spec-%d"):format(Process.freePort())
    local fd = core.C.sync_answer_wait(name)
    assert.is_true(fd > 0)
    local server = serve(SCRIPT, "env", "NOTIFY_SOCKET=@" .. name, Program.path)
    local ready = ("MAINPID=%d\nREADY=1"):format(server.pid)
    assert.equal(ready, (core.hear(fd, 5000)))
    assert.equal(0, (upgrade(server)))
    assert.is_truthy((core.hear(fd, 5000)):find "^RELOADING=1\nMONOTONIC_USEC=%d+$")
    assert.equal(ready, (core.hear(fd, 5000)))
    core.C.sync_next_close(fd)
  end)

  it("ends when the parent is told to stop", function()
    local server, port, rewrite = serve(SCRIPT)
    connectBoth(port)
    rewrite("two", (SCRIPT:gsub('TROUBLE = ""',
      'io.stderr:write "it loads\\n" os.execute "sleep 30"')))
    local asking = Program.start("upgrade", server.pid)
    server:expect("stderr", "it loads")
    server:kill "TERM"
    assert.equal(0, (server:wait()), server:stderr())
    assert.equal(1, (asking:wait()))
    assert.is_truthy(asking:stderr():find("told to stop", 1, true), asking:stderr())
  end)
end)
