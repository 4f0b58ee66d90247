-- Draining, from outside: doors, batches, signals, and where clients go.

local Process = require "spec.support.process"
local Program = require "spec.support.program"
local WebSocket = require "spec.support.websocket"
local socket = require "socket"

local function get(port, path)
  local client = Program.connect(port)
  client:send(("GET %s HTTP/1.1\r\nHost: here\r\n\r\n"):format(path))
  local status = client:receive "*l"
  client:close()
  return status and status:match " (%d+) "
end

-- "drain" begins it, with what stands behind as options.
local SERVER = [[
  local Game = sync.Protocol:extend("Game")
  Game.framing, Game.panel = "line", "a long secret"
  function Game:onData(line)
    local options = line:match "^drain (.*)"
    if options then self:send(tostring(sync.drain(loadstring("return " .. options)()))) end
    if line == "finish" then self:send "finished" finish() end
    if line == "echo" then self:send "echo" end
  end
  function Game:onClose(reason) print("gone", reason) end
  function Game:onStop() print "stop" end
  %s
  sync.enable("127.0.0.1", 0, Game)
  sync.start()
  print "over"
]]

local function serve(more, ...)
  return Program.serve(SERVER:format(more or ""), ...)
end

-- A client that the server knows as one, for it has spoken.
local function join(port)
  local client = Program.connect(port)
  client:send "echo\n"
  assert.equal("echo", client:receive "*l")
  return client
end

describe("a drain", function()
  after_each(Process.cleanUp)

  it("tells operators, accepts nobody, and ends when nobody is left", function()
    local server, port = serve [[function Game:onGoAway() self:send "go" end]]
    assert.equal("200", get(port, "/readyz"))
    local client, other = Program.connect(port), WebSocket.connect(port)
    client:send "drain {seconds = 60}\n"
    assert.equal("true", client:receive "*l")
    for _, path in ipairs {"/healthz", "/readyz", "/"} do assert.equal("503", get(port, path)) end
    assert.equal("401", get(port, "/metrics"))
    local newcomer = Program.connect(port)
    newcomer:send "echo\n"
    assert.is_nil((newcomer:receive "*l"))
    client:send "echo\n"
    local lines = {[client:receive "*l"] = true}
    lines[client:receive "*l"] = true
    assert.same({go = true, echo = true}, lines)
    assert.same({WebSocket.TEXT, "go"}, {other:receive()})
    client:send "drain {}\n"
    assert.equal("false", client:receive "*l")
    client:close()
    other:close()
    assert.equal(0, server:wait())
    assert.matches("stop\nover\n$", server:stdout())
    assert.matches("drained: nobody is left", server:stderr(), 1, true)
  end)

  it("closes those that know no better, by 1012, some each second", function()
    local server, port = serve()
    local clients, control = {}, Program.connect(port)
    for i = 1, 4 do clients[i] = WebSocket.connect(port) end
    control:send "drain {seconds = 60, batch = 5}\n"
    assert.equal("true", control:receive "*l")
    local begun = socket.gettime()
    for _, client in ipairs(clients) do
      assert.equal(1012, (client:closed()))
      client:close()
    end
    assert.is_true(socket.gettime() - begun < 5)
    assert.equal(0, server:wait())
    assert.equal(5, select(2, server:stdout():gsub("gone\tdrain", "")))
  end)

  it("waits for onShutdown, and no longer than it may", function()
    local waiting = [[
      local go
      function finish() go() end
      function Game:onShutdown(seconds)
        print("shutdown", seconds)
        require "sync.task".await(function(resume) go = resume end)
      end
    ]]
    local server, port = serve(waiting, "--drain=60")
    local client = join(port)
    server:kill "TERM"
    server:expect("stdout", "shutdown\t50")
    client:send "echo\n" -- nobody sends it away
    assert.equal("echo", client:receive "*l")
    client:send "finish\n"
    assert.equal("finished", client:receive "*l")
    assert.is_nil((client:receive "*l"))
    assert.equal(0, server:wait())

    server, port = serve(waiting, "--drain=0.5")
    client = join(port)
    server:kill "TERM"
    assert.is_nil((client:receive "*l"))
    assert.equal(0, server:wait())
    assert.matches("onShutdown of Game didn't end in time", server:stderr(), 1, true)
  end)

  it("by a signal ends at once by another", function()
    local server, port = serve([[function Game:onGoAway() end]], "--drain=60")
    local client = join(port)
    server:kill "TERM"
    server:expect("stderr", "told to stop: draining")
    client:send "echo\n"
    assert.equal("echo", client:receive "*l")
    server:kill "TERM"
    server:wait()
    assert.is_nil((client:receive "*l"))
    assert.not_matches("over", server:stdout(), 1, true)
  end)

  it("of a worker heeds no second TERM: service managers tell every process", function()
    local _, port = serve([[
      function Game:onGoAway() self:send "go" end
      local line = Game.onData
      function Game:onData(data)
        if data == "pid" then self:send(io.open "/proc/self/stat":read "*l":match "%d+") end
        line(self, data)
      end
    ]], "--drain=60", "--workers=1")
    local client = join(port)
    client:send "pid\n"
    local pid = client:receive "*l"
    os.execute("kill -TERM " .. pid)
    assert.equal("go", client:receive "*l")
    os.execute("kill -TERM " .. pid)
    client:send "echo\n"
    assert.equal("echo", client:receive "*l")
    assert.equal("503", get(port, "/healthz")) -- and it goes on
  end)

  it("refuses what it can't do", function()
    local code, _, problem = Program.run("--drain=soon", "-e", "")
    assert.equal(2, code)
    assert.matches('--drain takes seconds, from 1 to 86400, not "soon"', problem, 1, true)
    for options, expected in pairs {
      ["{second = 1}"] = "sync.drain: unknown option second: there are seconds and batch",
      ["{seconds = 0}"] = "sync.drain: seconds must be a number above 0, not 0",
      ["7"] = "sync.drain: options must be a table, not number",
    } do
      code, _, problem = Program.run("-e", ('require "sync".drain(%s)'):format(options))
      assert.equal(1, code)
      assert.matches(expected, problem, 1, true)
    end
    assert.equal(0, (Program.run("-e", 'assert(require "sync".drain() == false)')))
  end)
end)
