-- Who is shut out, and what addresses do too often. Clients come by a proxy, which says that they
-- are of public addresses: loopback is nobody's.

local Process = require "spec.support.process"
local Program = require "spec.support.program"

local SERVER = [[
  local Game = sync.Protocol:extend("Game")
  Game.framing, Game.proxies, Game.panel = "line", {"127.0.0.2"}, "a long secret"
  Game.connectRate, Game.failureRate = 2, 0.1
  Game.warnAt, Game.slowAt, Game.kickAt, Game.banAt, Game.banTime = 1, 2, 4, 8, 50
  function Game:onData(line)
    if line == "fail" then self:failed() return self:send "failed" end
    local result = loadstring("local sync = ... return " .. line)(sync)
    if type(result) == "table" then
      for i, each in ipairs(result) do
        result[i] = ("%s %s %s"):format(each.network, each.seconds, each.reason)
      end
      result = table.concat(result, ", ")
    end
    self:send(tostring(result))
  end
  sync.enable("127.0.0.1", 0, Game)
  sync.start()
]]

local function connect(port, address)
  local socket = require "socket"
  local client = assert(socket.tcp())
  client:settimeout(Process.BOUND)
  assert(client:bind(address and "127.0.0.2" or "127.0.0.1", 0))
  client:connect("127.0.0.1", port) -- who is reset at once may hear of it here
  if address then client:send(("PROXY TCP4 %s 192.0.2.9 1 2\r\n"):format(address)) end
  return client
end

local function ask(client, line)
  client:send(line .. "\n")
  return client:receive "*l"
end

-- Whether an address is served.
local function isServed(port, address)
  local client = connect(port, address)
  local answer = ask(client, "1")
  client:close()
  return answer ~= nil
end

describe("bans", function()
  after_each(Process.cleanUp)

  it("close connections and refuse others, of an address or a network, until they end", function()
    local _, port = Program.serve(SERVER)
    local control, one = connect(port), connect(port, "203.0.113.1")
    assert.equal("1", ask(one, "1"))
    assert.equal("true", ask(control,
      'sync.ban("203.0.113.0/24", {seconds = 100, reason = "a reason"})'))
    assert.is_nil((one:receive "*l"))
    assert.is_false(isServed(port, "203.0.113.77"))
    assert.is_true(isServed(port, "203.0.114.1"))
    assert.equal("203.0.113.0/24 100 a reason",
      ask(control, "sync.bans()"))
    assert.equal("false", ask(control, 'sync.unban("203.0.113.77")'))
    assert.equal("true", ask(control, 'sync.unban("203.0.113.9/24")'))
    assert.is_true(isServed(port, "203.0.113.77"))
    ask(control, 'sync.ban("203.0.113.5", {seconds = 1})')
    Process.eventually("the end of a ban", function() return isServed(port, "203.0.113.5") end)
    assert.equal("", ask(control, "sync.bans()"))
  end)

  it("hold without a proxy, of loopback too", function()
    local _, port = Program.serve(SERVER)
    local control = connect(port)
    assert.equal("1", ask(control, "1"))
    ask(control, 'sync.ban("127.0.0.0/8", {seconds = 100})')
    assert.is_nil((control:receive "*l"))
    assert.is_false(isServed(port))
    assert.is_true(isServed(port, "203.0.113.1")) -- by a proxy, which never is
  end)

  it("are kept in a file over restarts", function()
    local path = Process.file ""
    local server, port = Program.serve(SERVER, "--bans=" .. path)
    local control = connect(port)
    ask(control, 'sync.ban("203.0.113.1", {seconds = false, reason = "for ever\\nand a day"})')
    ask(control, 'sync.ban("2001:DB8::1/64", {seconds = 1000})')
    local function content()
      local file = io.open(path)
      local text = file:read "*a"
      file:close()
      return text
    end
    Process.eventually("the file", function() return content():find "2001:db8::/64" end)
    ask(control, 'sync.unban("2001:db8::/64")')
    Process.eventually("the change", function()
      return content():find "^203%.0%.113%.1 %d+ %d+ for ever and a day\n$"
    end)
    server:kill "TERM"
    assert.equal(0, server:wait())
    server, port = Program.serve(SERVER, "--bans=" .. path)
    assert.is_false(isServed(port, "203.0.113.1"))
    server:kill "TERM"
    server:wait()
    local code, _, problem = Program.run("--bans=" .. Process.file "nonsense\n", "-e", "")
    assert.equal(2, code)
    assert.matches(":1: a line is NETWORK END SINCE REASON", problem, 1, true)
    code, _, problem = Program.run("--bans=/nowhere/bans", "-e", "")
    assert.equal(2, code)
    assert.equal("sync-lua: --bans: /nowhere/bans: No such file or directory\n", problem)
  end)

  it("are told to other workers", function()
    local server, port = Program.serve(SERVER, "--workers=2")
    server:expect("stderr", "node %d is there.-node %d is there")
    local control = connect(port)
    ask(control, 'sync.ban("203.0.113.1", {seconds = 100})')
    local refused = 0
    Process.eventually("both know", function()
      refused = isServed(port, "203.0.113.1") and 0 or refused + 1
      return refused == 10
    end)
    os.execute("kill -9 " .. assert(ask(control, 'io.open("/proc/self/stat"):read("*n")')
      :match "%d+"))
    server:expect("stderr", "it is started again")
    server:expect("stderr", ("node %d is there.-"):rep(4))
    for _ = 1, 10 do assert.is_false(isServed(port, "203.0.113.1")) end
  end)

  it("come of what is done too often: warned, slowed down, kicked, banned", function()
    local server, port = Program.serve(SERVER)
    local address, other = "203.0.113.1", connect(port, "203.0.113.2")
    local served = 0
    for _ = 1, 12 do served = served + (isServed(port, address) and 1 or 0) end
    assert.equal(10, served) -- 5 s of 2
    server:expect("stderr", "connects, or fails, too often: it is warned address=203.0.113.1")
    Process.eventually("a ban", function()
      assert.is_false(isServed(port, address) and server:stderr():find "is banned" ~= nil)
      return server:stderr():find("network=203.0.113.1", 1, true)
    end)
    local said = server:stderr()
    assert.matches("it is slowed down.-has its connections closed.-it is banned", said)
    assert.equal("1", ask(other, "1")) -- who is another
    assert.equal("203.0.113.1 50 too often", ask(other, "sync.bans()"))
  end)

  it("come of failures, too", function()
    local server, port = Program.serve(SERVER)
    local client = connect(port, "203.0.113.1")
    for _ = 1, 5 do assert.equal("failed", ask(client, "fail")) end
    assert.not_matches("too often", server:stderr(), 1, true)
    client:send(("fail\n"):rep(8)) -- within a tick: four strikes close it
    Process.eventually("the end", function() return not client:receive "*l" end)
    server:expect("stderr", "banned network=203.0.113.1")
    assert.is_false(isServed(port, "203.0.113.1"))
  end)

  it("come of handshakes of TLS, whose begin is enough", function()
    local certificate, key = Process.file(), Process.file()
    assert(os.execute(("openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes " ..
      "-days 2 -subj /CN=localhost -addext subjectAltName=DNS:localhost -out %s -keyout %s " ..
      "2>/dev/null"):format(certificate, key)) == 0)
    local server, port = Program.serve(([[
      local Game = sync.Protocol:extend("Game")
      Game.proxies, Game.tls = {"127.0.0.2"}, {certificate = %q, key = %q}
      Game.handshakeRate = 1
      sync.enable("127.0.0.1", 0, Game)
      sync.start()
    ]]):format(certificate, key))
    local clients = {}
    for i = 1, 20 do
      clients[i] = connect(port, "203.0.113.1")
      clients[i]:send "\22\3\1\2\0\1"
    end
    server:expect("stderr", "connects, or fails, too often: it is [^\n]- address=203.0.113.1")
    assert.not_equal("timeout", select(2, clients[20]:receive "*l"))
    for i = 1, 5 do -- 5 s of 1
      clients[i]:settimeout(0)
      assert.equal("timeout", select(2, clients[i]:receive "*l"))
    end
  end)

  it("refuse what is no network", function()
    for _, call in ipairs {'ban("unix:")', 'ban("10.0.0.0/33")', "ban(7)", 'unban("here")'} do
      local code, _, problem = Program.run("-e", 'require "sync".' .. call)
      assert.equal(1, code)
      assert.matches("is no address, and no network", problem, 1, true)
    end
  end)
end)
