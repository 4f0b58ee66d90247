-- Upgrades: another process takes over, and clients notice nothing.

local Process = require "spec.support.process"
local Program = require "spec.support.program"
local WebSocket = require "spec.support.websocket"
local cjson = require "cjson"
local ffi = require "ffi"

local TEXT = WebSocket.TEXT

-- Each version of a script ends by itself, for its parent may have gone.
local HEAD = [[
local sync = require "sync"
io.stdout:setvbuf "line"
sync.after(60, sync.stop)
]]

local SCRIPT = [[
local Line = sync.Protocol:extend("Line")
Line.framing = "line"
Line.resumeFields = {"count"}
Line.maxQueue = 2 ^ 22
Line.routes = {["POST /echo"] = function(request) return VERSION .. request.body end}
function Line:onConnect()
  self.count = 0
  self:join "all"
end
function Line:onData(data, kind)
  self.count = self.count + 1
  if data == "much" then return self:send(("x"):rep(2 ^ 21)) end
  if data == "all" then return self:room "all":send("to all") end
  self:send(("%s %d %d %s"):format(VERSION, self.id, self.count, data), kind)
end
sync.enable("127.0.0.1", PORT, Line)
sync.start()
]]

-- The script, for clients in TLS.
local function inTls()
  local certificate, key = Process.file(), Process.file()
  assert.equal(0, (Process.start {"openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
    "ec_paramgen_curve:prime256v1", "-nodes", "-subj", "/CN=localhost",
    "-addext", "subjectAltName=DNS:localhost", "-days", "2", "-keyout",
    key, "-out", certificate}:wait()))
  return (SCRIPT:gsub("PORT, Line%)",
    ("PORT, Line, {tls = {certificate = %q, key = %q}})"):format(certificate, key)))
end

describe("an upgrade", function()
  local started = {} -- processes that aren't ours to wait for

  after_each(function()
    for _, process in ipairs(started) do ffi.C.kill(process, 9) end
    started = {}
    Process.cleanUp()
  end)

  local function write(path, version, port, script)
    local file = assert(io.open(path, "w"))
    file:write(HEAD .. ("local VERSION, PORT = %q, %d\n"):format(version, port) .. script)
    file:close()
  end

  local function serve(script, ...)
    local path, port = Process.file("", ".lua"), Process.freePort()
    write(path, "one", port, script)
    local arguments = {...}
    arguments[#arguments + 1] = path
    local server = Program.start(unpack(arguments))
    server:expect("stderr", "listens on")
    return server, port, function(version, code) write(path, version, port, code or script) end
  end

  -- Has a process replaced; returns the next one's id.
  local function upgrade(process)
    local code, said, following = Program.upgrade(process)
    assert.equal(0, code, said)
    started[#started + 1] = following
    return following
  end

  local function keeps(io)
    local server, port, rewrite = serve(SCRIPT, "--io=" .. io)
    local line, second = Program.connect(port), Program.connect(port)
    second:send "first\n"
    assert.equal("one 1 1 first", (second:receive "*l"))
    line:send "a\nb\nhal"
    assert.equal("one 2 1 a", (line:receive "*l"))
    assert.equal("one 2 2 b", (line:receive "*l"))
    local page = assert(WebSocket.connect(port))
    page:send(TEXT, "hel", true)
    local frame = WebSocket.frame(0, "lo you")
    page.socket:send(frame:sub(1, 9))
    local slow = Program.connect(port)
    slow:send "much\n"
    local poster = Program.connect(port)
    poster:send "POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 6\r\n\r\nabc"
    local silent = Program.connect(port)
    Process.eventually("all are there", function()
      local probe = Program.connect(port)
      probe:send "x\n"
      local id = tonumber((probe:receive "*l"):match "^one (%d+)")
      probe:close()
      return id >= 5
    end)
    rewrite "two"

    local process = upgrade(server.pid)
    assert.equal(0, (server:wait()), server:stderr())
    line:send "f\n"
    assert.equal("two 2 3 half", (line:receive "*l"))
    page.socket:send(frame:sub(10))
    local _, text = page:receive()
    assert.equal("two 3 1 hello you", text)
    assert.equal(2 ^ 21 + 1, #slow:receive(2 ^ 21 + 1))
    poster:send "def"
    assert.equal("HTTP/1.1 200 OK", (poster:receive "*l"))
    Process.eventually("its body", function()
      return (poster:receive "*l") == "" and poster:receive(9) == "twoabcdef"
    end)
    silent:send "late\n"
    assert.is_truthy((silent:receive "*l"):find "^two %d+ 1 late$")
    second:send "all\n"
    assert.equal("to all", (line:receive "*l"))
    local _, told = page:receive()
    assert.equal("to all", told)
    local new = Program.connect(port)
    new:send "new\n"
    assert.is_true(tonumber((new:receive "*l"):match "^two (%d+) 1 new$") > 5)

    rewrite "three" -- and once more, from a process that has taken over
    upgrade(process)
    second:send "again\n"
    assert.equal("to all", (second:receive "*l"))
    assert.equal("three 1 3 again", (second:receive "*l"))
    assert.is_nil(server:stderr():find("ERROR", 1, true), server:stderr())
  end

  for _, io in ipairs {"epoll", "uring", "poll"} do
    it("keeps connections, and what is begun on them, by " .. io, function()
      local code, _, err = Program.run("--io=" .. io, "--version")
      if code ~= 0 then return pending(err) end
      keeps(io)
    end)
  end

  it("that fails costs nothing", function()
    local server, port, rewrite = serve(SCRIPT)
    local client = Program.connect(port)
    client:send "a\n"
    assert.equal("one 1 1 a", (client:receive "*l"))
    local lines = 1
    for _, case in ipairs {
      {"error 'not today'", "has ended before it was ready"},
      {"local = 1", "has ended before it was ready"},
      {"os.exit(3)", "has ended before it was ready"},
      {SCRIPT:gsub("PORT, Line", "0, Line"), "doesn't enable 127.0.0.1 port %d+ any more"},
      {SCRIPT:gsub('"line"', '"null"'), "has another framing"},
      {SCRIPT:gsub("sync.enable", "function Line:onTakeover() error 'oh' end sync.enable"),
        "error in onTakeover of Line: .*oh"},
      {SCRIPT:gsub("sync.enable", "function Line:onStart() error 'oh' end sync.enable"),
        "has ended before it was ready"},
      {SCRIPT:gsub("sync.enable",
        "function Line:onTakeover() local C = require 'ffi'.C C.sync_kill(C.sync_process(), 9) " ..
        "end sync.enable"), "didn't take over"},
    } do
      rewrite("two", case[1])
      local code, _, err = Program.run("upgrade", server.pid)
      assert.equal(1, code)
      assert.is_truthy(err:find(case[2]), err)
      lines = lines + 1
      client:send "b\n"
      assert.equal(("one 1 %d b"):format(lines), (client:receive "*l"))
    end
    rewrite "three"
    upgrade(server.pid)
    client:send "c\n"
    assert.equal(("three 1 %d c"):format(lines + 1), (client:receive "*l"))
  end)

  it("fails where the two don't understand each other", function()
    local old = serve('require "sync.upgrade".FORMAT = 99\n' .. SCRIPT)
    local code, _, err = Program.run("upgrade", old.pid)
    assert.equal(1, code)
    assert.is_truthy(err:find "another format", err)
    assert.is_true(old:isRunning())
  end)

  it("waits for handlers that wait, though not for long", function()
    local script = SCRIPT:gsub("sync.enable", [[
      Line.onData = sync.waits(function(self, data)
        sync.sleep(tonumber(data))
        self:send(VERSION .. " slept " .. data)
      end)
      sync.enable]])
    local server, port, rewrite = serve(script)
    local client = Program.connect(port)
    client:send "8\n"
    rewrite "two"
    local code, _, err = Program.run("upgrade", server.pid)
    assert.equal(1, code)
    assert.is_truthy(err:find "1 handlers wait", err)
    assert.equal("one slept 8", (client:receive "*l"))
    client:send "0.2\n0.01\n"
    upgrade(server.pid)
    assert.is_truthy((client:receive "*l"):find " slept 0.2")
    assert.is_truthy((client:receive "*l"):find " slept 0.01")
  end)

  it("may take longer than a handler, and the watchdog knows", function()
    local server, port, rewrite = serve(SCRIPT, "--watchdog=0.1", "--handler-timeout=0.2")
    local client = Program.connect(port)
    client:send "a\n"
    assert.equal("one 1 1 a", (client:receive "*l"))
    rewrite("two", (SCRIPT:gsub("sync.enable", [[
      function Line:onTakeover()
        local ends = sync.now() + 1
        while sync.now() < ends do end
        self.count = 0
      end
      sync.enable]])))
    upgrade(server.pid)
    assert.equal(0, (server:wait()), server:stderr())
    assert.is_nil(server:stderr():find "stuck", server:stderr())
    client:send "b\n"
    assert.is_truthy((client:receive "*l"):find "^two 1 ")
  end)

  it("keeps bans, also those of the last moment", function()
    local told = [[
      Line.onData = function(self)
        local list = {}
        for i, ban in ipairs(sync.bans()) do list[i] = ban.network .. " " .. ban.reason end
        self:send(table.concat(list, ","))
      end
      sync.enable]]
    local server, port, rewrite = serve((SCRIPT:gsub("sync.enable", [[
      sync.ban("192.0.2.0/24", {seconds = 1000, reason = VERSION})
      function Line:onHandover() sync.ban("192.0.2.9") end
      ]] .. told)))
    local client = Program.connect(port)
    client:send "a\n"
    assert.equal("192.0.2.0/24 one", (client:receive "*l"))
    rewrite("two", (SCRIPT:gsub("sync.enable", told)))
    upgrade(server.pid)
    client:send "a\n"
    assert.equal("192.0.2.0/24 one,192.0.2.9 ", (client:receive "*l"))
  end)

  it("keeps sessions, also of clients that are away, and sync.shared", function()
    local server, port, rewrite = serve [[
      local Game = sync.Remote:extend("Game")
      Game.resumeTime, Game.resumeFields = 30, {"name"}
      local shared = sync.shared "scores"
      function Game.remote:call(name)
        self.name = name
        self:join "arena"
        shared:set(name, #name)
        return VERSION
      end
      function Game.remote:say(text) self:room "arena":fire("onSay", VERSION, text) end
      Game.remote.score = sync.method("name: string", {waits = true}, function(self, name)
        return shared:get(name), self.name
      end)
      sync.enable("127.0.0.1", PORT, Game)
      sync.start()
    ]]
    local function join(name)
      local client = assert(WebSocket.connect(port))
      local _, text = client:receive()
      local session = cjson.decode(text)
      assert.equal("sync.session", session.method)
      client.token = session.params[1].token
      client:send(TEXT, ('{"jsonrpc":"2.0","id":1,"method":"call","params":["%s"]}'):format(name))
      _, text = client:receive()
      assert.equal("one", cjson.decode(text).result, text)
      return client
    end
    local stays, goes = join "ann", join "bob"
    goes.socket:close()
    stays:send(TEXT, '{"jsonrpc":"2.0","method":"say","params":["before"]}')
    local _, text = stays:receive()
    assert.same({"one", "before"}, cjson.decode(text).params)
    rewrite "two"
    upgrade(server.pid)

    stays:send(TEXT, '{"jsonrpc":"2.0","method":"say","params":["after"]}')
    _, text = stays:receive()
    assert.same({"two", "after"}, cjson.decode(text).params)
    stays:send(TEXT, '{"jsonrpc":"2.0","id":2,"method":"score","params":["bob"]}')
    _, text = stays:receive()
    assert.equal(3, cjson.decode(text).result)

    local back = assert(WebSocket.connect(port))
    back:receive() -- its own session
    back:send(TEXT, cjson.encode {jsonrpc = "2.0", id = 9, method = "sync.resume",
      params = {goes.token, 1}})
    local seen = {}
    for i = 1, 3 do
      _, text = back:receive()
      seen[i] = cjson.decode(text)
    end
    assert.same({resumed = true, missed = 2}, seen[1].result)
    assert.same({"one", "before"}, seen[2].params)
    assert.same({"two", "after"}, seen[3].params)
    back:send(TEXT, '{"jsonrpc":"2.0","method":"say","params":["both"]}')
    _, text = stays:receive()
    assert.same({"two", "both"}, cjson.decode(text).params)
  end)

  it("keeps rooms: their state, members and codes", function()
    local server, port, rewrite = serve [[
      local Duel = sync.Room:extend("Duel")
      Duel.tickRate = 50
      Duel.state = sync.state {moves = "uint32", secret = sync.server "any",
        players = sync.map {x = "float32", name = "string"}}
      function Duel:onCreate()
        self:makePrivate()
        self.state.secret = {deck = {3, 1, 2}}
        self.note = "made by " .. VERSION
      end
      function Duel:onJoin(member)
        self.state.players[member.id] = {owner = member, name = member.name or "nobody"}
      end
      function Duel:onHandover() return {note = self.note} end
      function Duel:onTakeover(data) self.note = data.note end
      function Duel.remote.move(room, member)
        local player, away = room.state.players[member.id], 0
        player.x = player.x + 1
        room.state.moves = room.state.moves + 1
        for _, other in ipairs(room.members) do away = away + (other.isAway and 1 or 0) end
        return ("%s %d %d %s %s deck %d, %d members, %d away, owner %d"):format(VERSION,
          room.state.moves, player.x, room.code, room.note, room.state.secret.deck[1],
          #room.members, away, player.owner.id)
      end
      local Game = sync.Remote:extend("Game")
      Game.rooms, Game.resumeTime, Game.resumeFields = {Duel}, 30, {"name"}
      function Game:onConnect() self.name = "player " .. self.id end
      sync.enable("127.0.0.1", PORT, Game)
      sync.start()
    ]]
    local function play(call)
      local player = Program.start("-e", HEAD .. ([[
        local game = sync.connect("tcp://127.0.0.1:%d")
        game:%s function(room, err)
          if err then return print("failed", err) end
          print("joined", room.code, room.id)
          room:onLeft(function(reason) print("left", reason) end)
          room:onPatch(function()
            local own = room.state.players[room.member]
            local text = "saw %%d moves, at %%d, %%s"
            if own then print(text:format(room.state.moves, own.x, own.name)) end
          end)
          sync.every(0.02, function() room:call("move", print) end)
        end)
        sync.start()
      ]]):format(port, call))
      return player, player:expect("stdout", "joined\t(%S+)")
    end
    local first, code = play 'join("Duel", {},'
    local second = play(('joinByCode("%s", {},'):format(code))
    second:expect("stdout", "one %d+ 5 ")
    second:kill "KILL"
    second:wait()
    first:expect("stdout", "2 members, 1 away")
    rewrite "two"
    upgrade(server.pid)

    local moves = tonumber((first:expect("stdout", ("two (%%d+) %%d+ %s made by one deck 3, " ..
      "2 members, 1 away, owner 1"):format(code))))
    assert.is_truthy(first:stdout():find(("one %d "):format(moves - 1), 1, true))
    Process.eventually("patches come", function()
      local seen = first:stdout():match "two .*saw (%d+) moves, at %d+, player 1"
      return seen and tonumber(seen) > moves
    end)
    local third = play(('joinByCode("%s", {},'):format(code))
    third:expect("stdout", "two %d+ 2 .*3 members, 1 away, owner 3")
    assert.is_nil(first:stdout():find "left")
  end)

  it("keeps clients in TLS, and does so again", function()
    local server, port, rewrite = serve(inTls())
    local client = Process.start {"openssl", "s_client", "-quiet", "-connect",
      "127.0.0.1:" .. port}
    client:write "a\nhal"
    client:expect("stdout", "one 1 1 a")
    rewrite "two"
    local process = upgrade(server.pid)
    client:write "f\n"
    client:expect("stdout", "two 1 2 half")
    assert.is_true(server:isRunning()) -- it has the keys
    rewrite "three"
    upgrade(process)
    client:write "b\nmuch\n"
    client:expect("stdout", "three 1 3 b")
    Process.eventually("all of it comes", function() return #client:stdout() > 2 ^ 21 end)
    client:write "c\n"
    client:expect("stdout", "three 1 5 c")
    client:kill "KILL"
    assert.equal(0, (server:wait())) -- for there is nobody any more for whom it stays
  end)

  it("ends clients in TLS when the process that owns them dies", function()
    local server, port = serve(inTls())
    local client = Process.start {"openssl", "s_client", "-quiet", "-connect",
      "127.0.0.1:" .. port}
    client:write "a\n"
    client:expect("stdout", "one 1 1 a")
    ffi.C.kill(upgrade(server.pid), Process.SIGNALS.KILL)
    assert.equal(0, (server:wait()))
    client:wait()
  end)

  it("tells systemd", function()
    local name = ("sync-spec-%d"):format(Process.freePort())
    local core = require "sync.core"
    local fd = core.C.sync_answer_wait(name)
    assert.is_true(fd > 0)
    local server = Process.start {"env", "NOTIFY_SOCKET=@" .. name, "WATCHDOG_USEC=100000",
      Program.path, "-e", HEAD .. SCRIPT:gsub("PORT, Line", "0, Line"):gsub("VERSION", "1")}
    local function hears(pattern)
      return Process.eventually(pattern, function()
        return (core.hear(fd, 1000) or ""):match(pattern)
      end)
    end
    assert.equal(server.pid, tonumber((hears "^MAINPID=(%d+)\nREADY=1$")))
    hears "^WATCHDOG=1$"
    core.C.sync_next_close(fd)
  end)

  it("isn't needed for sockets that systemd has: LISTEN_FDS", function()
    local launcher = Process.file [[
      local ffi = require "ffi"
      ffi.cdef "int dup2(int, int); int setenv(const char *, const char *, int);"
      ffi.cdef "int getpid(void); int execvp(const char *, char *const argv[]);"
      local listener = assert(require "socket".bind("127.0.0.1", 0))
      local program, script = ...
      ffi.C.dup2(listener:getfd(), 3)
      ffi.C.setenv("LISTEN_FDS", "1", 1)
      ffi.C.setenv("LISTEN_PID", tostring(ffi.C.getpid()), 1)
      ffi.C.setenv("PORT", select(2, listener:getsockname()), 1)
      local words = ffi.new("const char *[3]", program, script, nil)
      ffi.C.execvp(program, ffi.cast("char *const *", words))
    ]]
    local script = Process.file(HEAD .. [[
      local Echo = sync.Protocol:extend("Echo")
      function Echo:onData(data) self:send(data .. tostring(os.getenv "LISTEN_FDS")) end
      print("bound", sync.enable("*", tonumber(os.getenv "PORT"), Echo).addresses)
      sync.start()
    ]])
    local server = Process.start {"luajit", launcher, Program.path, script}
    local port = tonumber((server:expect("stderr", "listens on %S-:(%d+)")))
    assert.is_truthy(server:stdout():find "bound\t127.0.0.1\n", server:stdout()) -- and not *
    local client = Program.connect(port)
    client:send "hello "
    assert.equal("hello nil", client:receive(9))
  end)

  it("is refused to who asks in vain", function()
    local code, _, err = Program.run "upgrade"
    assert.equal(2, code)
    assert.is_truthy(err:find "usage: sync%-lua upgrade PID", err)
    -- A shell has a handler, and ends all the same.
    local shell = Process.start {"sh", "-c", "trap 'exit 3' USR2; echo ready; sleep 60 & wait"}
    shell:expect("stdout", "ready")
    for _, other in ipairs {Process.start {"sleep", "60"}, shell} do
      code, _, err = Program.run("upgrade", other.pid)
      assert.equal(1, code)
      assert.is_truthy(err:find "is no server", err)
      assert.is_true(other:isRunning())
    end
  end)
end)
