-- sync-lua console, on a server that runs.

local Process = require "spec.support.process"
local Program = require "spec.support.program"
local cjson = require "cjson"
local socket = require "socket"
local unix = require "socket.unix"

local SCRIPT = [[
  local sync = require "sync"
  local Echo = sync.Remote:extend("Echo")
  Echo.framing = "line"
  function Echo:onConnect() self.name = "ann" end
  function Echo.remote:say(word) return word end
  Echo.remote.later = sync.method("word: string", {waits = true}, function(self, word)
    sync.sleep(0.01)
    return word
  end)
  function Echo.remote:join_() self:join("hall") return true end
  local Duel = sync.Room:extend("Duel")
  Duel.emptyTime = false
  Echo.rooms = {Duel}
  function hold() sync.every(1000, function() end) end
  hold() hold()
  sync.spawn(function() Duel:create() end)
  sync.enable("127.0.0.1", 0, Echo)
  sync.start()
]]

describe("console", function()
  local server, port, client

  -- What it answers, and the exit code.
  local function ask(...)
    local code, out, err = Program.run("console", server.pid, ...)
    return out .. err, code
  end

  local function call(method, ...)
    client:send(cjson.encode {jsonrpc = "2.0", id = 1, method = method, params = {...}} .. "\n")
    return cjson.decode((client:receive "*l")).result
  end

  setup(function()
    server = Program.start("--log=info", Process.file(SCRIPT))
    port = tonumber(server:expect("stderr", "listens on %S-:(%d+)"))
    client = Program.connect(port)
    call "join_"
  end)

  teardown(function()
    server:kill "TERM"
    server:wait()
    assert.is_nil(server:stderr():find("ERROR", 1, true), server:stderr())
    Process.cleanUp()
  end)

  it("lists clients, rooms, timers, listeners and memory", function()
    assert.truthy(ask "clients":find("Echo%s+tcp%s+127.0.0.1%s+0\n1 clients"))
    local id = ask "clients":match "\n(%d+)"
    assert.truthy(ask("client", id):find('name = "ann"', 1, true))
    assert.truthy(ask "clients Nobody":find "^id[^\n]+\n0 clients")
    local rooms = ask "rooms"
    assert.truthy(rooms:find "1%s+Echo%s+hall\n" and rooms:find "0%s+Duel%s+%x+n%x+\n", rooms)
    assert.truthy(ask "timers":find "2%s+again and again%s+%S+:14\n")
    assert.truthy(ask "listeners":find("127.0.0.1:" .. port, 1, true))
    local memory = ask "memory"
    assert.truthy(memory:find "MiB, the process" and memory:find "1  instances of Echo", memory)
    assert.truthy(ask "help":find "kick ID")
  end)

  it("evaluates Lua, which sees the server, and may wait", function()
    assert.equal('2\n"ann"\n"line"\n',
      (ask "1 + 1, (function() for c in Echo.clients do return c.name end end)(), Echo.framing"))
    assert.equal("x\t1\n", ask "print('x', 1)")
    assert.equal("5\n", ask "sync.sleep(0.01) return 5")
    assert.equal("error: console:1: mine\n", (ask "error('mine')"))
    local text, code = ask "client(1).nothing.more"
    assert.truthy(text:find "^error: .*attempt to index")
    assert.equal(1, code)
    assert.truthy(ask "nope(":find "^error: .*unexpected symbol")
  end)

  it("ends what is evaluated when its time is over, and cuts what it says", function()
    local began = socket.gettime()
    local endless = "while true do pcall(function() while true do end end) end"
    assert.equal("error: it has run for 1 s, and was ended\n", (ask(endless)))
    assert.is_true(socket.gettime() - began < 8)
    local text = ask "for i = 1, 400 do print(('x'):rep(1000)) end"
    assert.truthy(#text < 400 * 1024 and text:find "there is more than is shown")
    assert.equal("hi", call("say", "hi"))
  end)

  it("traces a handler, whose arguments it hides unless asked", function()
    local traced = Program.start("console", server.pid, "trace", "Echo.remote:say", "30")
    Process.eventually("the trace", function()
      call("say", "secret")
      return traced:stdout():find "client %d+  1 arguments  %d"
    end)
    assert.is_nil(traced:stdout():find("secret", 1, true))
    traced:kill "TERM"
    traced:wait()
    traced = Program.start("console", server.pid, "trace", "Echo.remote:later", "30", "arguments")
    Process.eventually("the trace", function()
      assert.equal("shown", call("later", "shown"))
      return traced:stdout():find '"shown"  %d%d'
    end)
    traced:kill "TERM"
    traced:wait()
    Process.eventually("the handler is as it was", function() -- who listened has gone
      return ask "debug.getinfo(Echo.remote.say, 'S').linedefined":find "^5\n"
    end)
    assert.truthy(ask "trace Echo:nothing":find "^error: there is no handler")
  end)

  it("shows where the processor's time goes", function()
    local profile = Program.start("console", server.pid, "profile", "1")
    while profile:isRunning() do ask "local x = 0 for i = 1, 3e6 do x = x + i end" end
    assert.truthy(profile:stdout():find "^%d+.%d+ s of the processor in 1 s\n", profile:stdout())
    assert.truthy(profile:stdout():find "%d+.%d %%  %a+\n")
    assert.truthy(profile:stdout():find "%d+.%d %%  console:1\n", profile:stdout())
    assert.truthy(ask "handlers":find "s  Echo.remote:say  ")
    assert.truthy(ask "profile 1000":find "^error: ")
  end)

  it("kicks, and changes the log's level", function()
    local other = Program.connect(port)
    other:send '{"jsonrpc":"2.0","id":1,"method":"say","params":["x"]}\n'
    other:receive "*l"
    local id = ask "clients":match ".*\n(%d+)  Echo"
    assert.equal(("client %s is being closed\n"):format(id), (ask("kick", id)))
    assert.equal("closed", select(2, other:receive "*l"))
    assert.truthy(ask "kick 999999":find "^error: there is no client")
    assert.equal("info, text\n", (ask "log"))
    assert.equal("warn, text\n", (ask "log warn"))
    assert.equal("info, text\n", (ask "log info"))
    assert.truthy(ask "log loud":find "^error: ")
  end)

  it("bans", function()
    assert.equal("192.0.2.0/24 is banned\n", (ask "ban 192.0.2.0/24 60 rude words"))
    assert.equal("2001:db8::/64 is banned\n", (ask "ban 2001:db8::/64"))
    local list = ask "bans"
    assert.truthy(list:find "192.0.2.0/24  %d+ s  rude words\n", list)
    assert.truthy(list:find "2001:db8::/64  8%d%d%d%d s", list)
    assert.equal("192.0.2.0/24 is banned no more\n", (ask "unban 192.0.2.0/24"))
    assert.equal("error: 192.0.2.0/24 is not banned\n", (ask "unban 192.0.2.0/24"))
    assert.truthy(ask "ban nobody":find "^error: sync.ban: nobody is no address")
    ask "unban 2001:db8::/64"
  end)

  it("has each line in the log, with who has said it", function()
    ask "version"
    server:expect("stderr", ("console: version process=%%d+ user=%s\n"):format(
      io.popen "id -u":read "*l"))
  end)

  it("takes lines from a person, one after the other", function()
    local person = Program.start("console", server.pid)
    person:write "1\nnope(\n\nversion\n"
    person:closeInput()
    assert.equal(0, (person:wait()))
    assert.truthy(person:stdout():find "^1\nerror: [^\n]+\nversion 1 %(%x+%)\n$", person:stdout())
  end)

  it("reloads the script", function()
    local code, out = Program.run("reload", server.pid)
    assert.equal(0, code)
    assert.truthy(out:find "^version 2 %(%x+%) runs\n$")
    code, out = Program.run("reload", server.pid, "forth")
    assert.equal(1, code)
    assert.equal("error: reload, or reload back\n", out)
    assert.truthy(ask "reload back":find "^version 3")
  end)

  it("lets in few at a time", function()
    local places = require "sync.places".find(server.pid)
    local path
    for _, place in ipairs(places) do path = path or io.open(place.folder) and place.path end
    local all = {}
    for i = 1, 9 do
      all[i] = unix()
      assert(all[i]:connect(path))
      all[i]:settimeout(Process.BOUND)
      all[i]:send "1\n"
    end
    for i = 1, 8 do assert.equal('{"out":"1"}', all[i]:receive "*l") end
    assert.is_nil(all[9]:receive "*l")
    for _, each in ipairs(all) do each:close() end
    Process.eventually("there is room", function() return ask "1" == "1\n" end)
  end)

  it("is no business of other users", function()
    if not Process.isRoot() then return pending "only root can be somebody else" end
    local code, _, err = Process.start({"setpriv", "--reuid=65534", "--clear-groups",
      Program.path, "console", server.pid, "1"}):wait(), nil, nil
    assert.is_not.equal(0, code, err)
    assert.is_nil(server:stderr():find "user=65534")
  end)
end)

describe("console's socket", function()
  after_each(Process.cleanUp)

  it("is in the folder of a service, and goes with the server", function()
    local folder = io.popen "mktemp -d":read "*l"
    local server = Process.start {"env", "RUNTIME_DIRECTORY=" .. folder, Program.path,
      Process.file('local sync = require "sync" ' .. Program.ECHO)}
    server:expect("stderr", "listens on")
    local list = io.popen("stat -c '%a %n' " .. folder .. "/sync-lua " .. folder ..
      "/sync-lua/*"):read "*a"
    assert.equal(("700 %s/sync-lua\n600 %s/sync-lua/%d.sock\n"):format(folder, folder, server.pid),
      list)
    assert.equal("1\n", select(2, Program.run("console", server.pid, "1")))
    server:kill "TERM"
    server:wait()
    assert.equal("", io.popen("ls " .. folder .. "/sync-lua"):read "*a")
    os.execute("rm -r " .. folder)
  end)

  it("goes, too, when another server starts behind one that was killed", function()
    local folder = io.popen "mktemp -d":read "*l"
    local function start()
      local server = Process.start {"env", "RUNTIME_DIRECTORY=" .. folder, Program.path,
        Process.file('local sync = require "sync" ' .. Program.ECHO)}
      server:expect("stderr", "listens on")
      return server
    end
    local killed, stays = start(), start()
    killed:kill "KILL"
    killed:wait()
    os.execute(("touch %s/sync-lua/%d.sock.old"):format(folder, killed.pid))
    local server = start()
    local function name(process) return ("%d.sock"):format(process.pid) end
    local wanted = {name(killed) .. ".old", name(stays), name(server)}
    table.sort(wanted)
    assert.equal(table.concat(wanted, "\n") .. "\n",
      io.popen("ls " .. folder .. "/sync-lua | LC_ALL=C sort"):read "*a")
    assert.equal("1\n", select(2, Program.run("console", server.pid, "1")))
    os.execute("rm -r " .. folder)
  end)

  it("isn't there if it is not wanted, and doesn't hold a server that has nothing to do", function()
    local server = Program.serve(Program.ECHO, "--console=off")
    local code, _, err = Program.run("console", server.pid, "1")
    assert.equal(1, code)
    assert.truthy(err:find "has no console")
    local script = 'local sync = require "sync" sync.after(0, print) sync.start()'
    assert.equal(0, (Program.runCode(script)))
    code, _, err = Program.run("console", "nobody")
    assert.equal(2, code)
    assert.truthy(err:find "the PID of a server must be given")
    assert.truthy(select(3, Program.run("console", 999999999)):find "there is no process")
  end)
end)
