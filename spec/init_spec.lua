local Process = require "spec.support.process"
local socket = require "socket"
local support = require "spec.support"
local sync = require "sync"

-- Serves until `fn`, called once it runs, has called sync.stop or raised an error.
local function whileRunning(fn)
  local failure
  sync.after(0, function()
    local ok, err = pcall(fn)
    if not ok then failure = err end
    if not ok then sync.stop(0.01) end
  end)
  sync.start()
  if failure then error(failure, 0) end
end

local function problem(...)
  local arguments = {n = select("#", ...), ...}
  local ok, message = pcall(function()
    local listener = sync.enable(unpack(arguments, 1, arguments.n))
    listener:close()
  end)
  assert.is_false(ok, "sync.enable accepted it")
  assert.matches("^spec/init_spec.lua:%d+: sync.enable: ", message)
  return (message:gsub("^.-: sync.enable: ", ""))
end

describe("enable", function()
  after_each(function()
    support.cleanUp()
    Process.cleanUp()
  end)

  it("returns a listener that tells its port", function()
    local listener = sync.enable("127.0.0.1", 0, support.protocol())
    assert.is_true(listener.port > 0)
    assert.equal("127.0.0.1:" .. listener.port, tostring(listener))
    assert.equal("127.0.0.1", listener.addresses)
    listener:close()
    listener:close()
    assert.is_nil((socket.connect("127.0.0.1", listener.port)))
  end)

  it("wants a class, and says how to make one", function()
    local wanted = 'the third argument must be a protocol class ' ..
      '(sync.Protocol:extend("Name")), not '
    assert.equal(wanted .. "nil", problem("localhost", 0))
    assert.equal(wanted .. "table", problem("localhost", 0, {}))
    assert.equal(wanted .. "string", problem("localhost", 0, "Echo"))
    assert.equal(wanted .. "table", problem("localhost", 0, sync.Class:extend("Other")))
  end)

  it("does not serve Protocol itself", function()
    assert.matches("extend%(.*, not sync.Protocol itself$", problem("localhost", 0, sync.Protocol))
  end)

  it("wants a host and a port", function()
    local class = support.protocol()
    assert.equal('host must be a name, an address, "*" or "unix:PATH", not number',
      problem(8080, class))
    assert.matches("not empty$", problem("", 8080, class))
    assert.equal("port must be a whole number from 0 to 65535, not 70000",
      problem("localhost", 70000, class))
    for _, port in ipairs {-1, 1.5, "http", 0 / 0} do
      assert.matches("^port must be a whole number", problem("localhost", port, class))
    end
    assert.equal('port must be a number, not a string: 8080 instead of "8080"',
      problem("localhost", "8080", class))
  end)

  it("says that a port is taken, and whether the script has taken it itself", function()
    local other = assert(require "socket".bind("127.0.0.1", 0))
    local _, port = other:getsockname()
    port = tonumber(port)
    assert.equal(("127.0.0.1 port %d is taken: another server listens there; stop it, or " ..
      "choose another port"):format(port), problem("127.0.0.1", port, support.protocol()))
    other:close()
    local class = support.protocol()
    local listener = sync.enable("127.0.0.1", 0, class)
    assert.equal(("127.0.0.1 port %d is taken: this script has enabled it for %s already; one " ..
      "port serves one class, so choose another"):format(listener.port, class.className),
      problem("127.0.0.1", listener.port, support.protocol()))
    listener:close()
  end)

  it("says that a host is unknown", function()
    local message = problem("no-such-host.invalid", 8080, support.protocol())
    assert.matches("^no%-such%-host.invalid port 8080: the host is unknown: ", message)
    assert.matches('try "localhost", or "%*" for every address$', message)
  end)

  it("says that an address is another machine's", function()
    assert.matches("^192.0.2.77 port 8080: this machine has no such address",
      problem("192.0.2.77", 8080, support.protocol()))
  end)

  it("says what is wrong with a Unix socket", function()
    local class = support.protocol()
    assert.equal("unix:/no/such/folder/s: its folder does not exist",
      problem("unix:/no/such/folder/s", class))
    assert.matches("the path is longer than a Unix socket's may be",
      problem("unix:/tmp/" .. ("x"):rep(200), class))
  end)

  it("takes a Unix socket with and without a port, and options", function()
    local path = Process.file()
    local listener = sync.enable("unix:" .. path, support.protocol())
    assert.is_nil(listener.port)
    assert.equal("unix:" .. path, tostring(listener))
    listener:close()
    sync.enable("unix:" .. path, 0, support.protocol()):close()
    sync.enable("unix:" .. path, support.protocol(), {framing = "line"}):close()
    assert.matches("unknown option", problem("unix:" .. path, support.protocol(), {frm = 1}))
  end)

  it("says that a Unix socket is taken", function()
    local path = Process.file()
    local listener = sync.enable("unix:" .. path, support.protocol())
    assert.matches("is taken", problem("unix:" .. path, support.protocol()))
    listener:close()
  end)

  it("says that maxClients is above the file limit", function()
    assert.matches("^maxClients is 10000000, but this process may open %d+ files, 64 of " ..
      "which are kept free: raise the limit %(ulimit %-n 10000064",
      problem("localhost", 0, support.protocol(), {maxClients = 10000000}))
  end)

  it("takes an IPv6 address with and without brackets", function()
    local probe = socket.tcp6()
    local works = probe:bind("::1", 0)
    probe:close()
    if not works then pending("this machine has no IPv6") end
    for _, host in ipairs {"::1", "[::1]"} do
      local listener = sync.enable(host, 0, support.protocol())
      assert.equal("::1", listener.addresses)
      listener:close()
    end
  end)

  it("opens the same port on every address of a name", function()
    local listener = sync.enable("*", 0, support.protocol())
    assert.matches("0.0.0.0", listener.addresses)
    listener:close()
  end)
end)

describe("start", function()
  after_each(function()
    support.cleanUp()
    Process.cleanUp()
  end)

  it("returns when nothing is left that could happen", function()
    sync.after(0, function() end)
    sync.start()
    assert.is_false(sync.isRunning())
  end)

  it("is an error where nothing could happen from the beginning", function()
    assert.equal("sync.start: there is nothing to serve: no port, timer or connection; call " ..
      "sync.enable(host, port, Class) before", support.raised(sync.start))
    assert.is_false(sync.isRunning())
  end)

  it("calls onStart on each class once, before any client", function()
    local class, calls = support.protocol(), {}
    function class.onStart(self) calls[#calls + 1] = self end
    sync.enable("127.0.0.1", 0, class)
    sync.enable("127.0.0.1", 0, class)
    whileRunning(function()
      assert.is_true(sync.isRunning())
      assert.equal(1, #calls)
      assert.equal(class, calls[1])
      sync.stop()
    end)
  end)

  it("refuses to start twice", function()
    local message
    sync.after(0, function() message = support.raised(sync.start) end)
    sync.start()
    assert.equal("sync.start: the server runs already; call it once, last", message)
  end)

  it("tells an error in onStart with its place, and frees its ports", function()
    local class = support.protocol {onStart = function() error("no world") end}
    local listener = sync.enable("127.0.0.1", 0, class)
    local message = support.raised(sync.start)
    assert.matches("sync.start: error in onStart: .*init_spec.lua:%d+: no world", message)
    assert.is_false(sync.isRunning())
    sync.enable("127.0.0.1", listener.port, support.protocol()):close()
  end)

  it("logs where it listens and how to try it", function()
    local class = support.protocol()
    local a = sync.enable("127.0.0.1", 0, class)
    local b = sync.enable("*", 0, class)
    local path = Process.file()
    local other = support.protocol()
    sync.enable("unix:" .. path, other)
    local lines = support.logged(function() whileRunning(sync.stop) end)
    assert.matches("INFO  sockets by %l+ %(.+%)", lines[1])
    assert.matches(("INFO  %s listens on 127.0.0.1:%d, %%*:%d %%(try: nc 127.0.0.1 %d%%)")
      :format(class.className, a.port, b.port, a.port), lines[2])
    assert.matches(("listens on unix:%s %%(try: nc %%-U %s%%)"):format(
      path:gsub("%p", "%%%0"), (path:gsub("%p", "%%%0"))), lines[3])
  end)

  it("says how to try it as the class is: by a URL, or with its framing", function()
    local page = support.protocol()
    page.routes["GET /"] = function() return "page" end
    local tried = {
      {support.protocol {framing = "line"}, "nc 127.0.0.1 PORT"},
      {support.protocol {framing = "null"}, [[printf 'hello\0' | nc 127.0.0.1 PORT]]},
      {support.protocol {framing = "length16"}, [[printf '\0\5hello' | nc 127.0.0.1 PORT]]},
      {support.protocol {framing = "length32"}, [[printf '\0\0\0\5hello' | nc 127.0.0.1 PORT]]},
      {support.protocol({}, sync.Remote),
        [[printf '{"jsonrpc":"2.0","id":1,"method":"sync.ping"}\0' | nc 127.0.0.1 PORT]]},
      {page, "http://127.0.0.1:PORT"},
      {support.protocol {web = "examples"}, "http://127.0.0.1:PORT"},
      {support.protocol {transports = {"websocket", "http"}}, "a WebSocket to ws://127.0.0.1:PORT"},
    }
    for _, each in ipairs(tried) do
      local listener = sync.enable("127.0.0.1", 0, each[1])
      assert.equal((each[2]:gsub("PORT", listener.port)), listener:hint())
      listener:close()
    end
  end)
end)

describe("stop", function()
  after_each(function()
    support.cleanUp()
    Process.cleanUp()
  end)

  it("does nothing when nothing runs", function()
    sync.stop()
    assert.is_false(sync.isRunning())
  end)

  it("frees the ports, and the server can be started again", function()
    local class = support.protocol()
    local listener = sync.enable("127.0.0.1", 0, class)
    whileRunning(sync.stop)
    local again = sync.enable("127.0.0.1", listener.port, class)
    assert.equal(listener.port, again.port)
    whileRunning(sync.stop)
  end)

  it("calls onStop while clients can be sent to, writes it, and closes with stop", function()
    local reasons = {}
    local class = support.protocol {
      onConnect = function() sync.stop() end,
      onStop = function(self) self.clients:send("good-bye") end,
      onClose = function(_, reason) reasons[#reasons + 1] = reason end,
    }
    local port = sync.enable("127.0.0.1", 0, class).port
    local client
    whileRunning(function()
      client = assert(socket.connect("127.0.0.1", port))
    end)
    client:settimeout(Process.BOUND)
    assert.equal("good-bye", client:receive("*a"))
    assert.same({"stop"}, reasons)
    client:close()
  end)

  it("in onStart ends at once", function()
    local class = support.protocol {onStart = function() sync.stop(20) end}
    sync.enable("127.0.0.1", 0, class)
    local begin = sync.now()
    sync.start()
    assert.is_true(sync.now() - begin < 10)
  end)

  it("twice is once", function()
    local stops = 0
    local class = support.protocol {onStop = function()
      stops = stops + 1
      sync.stop()
    end}
    sync.enable("127.0.0.1", 0, class)
    whileRunning(function()
      sync.stop()
      sync.stop()
    end)
    assert.equal(1, stops)
  end)

  it("logs an error in onStop and stops all the same", function()
    local class = support.protocol {onStop = function() error("no end") end}
    sync.enable("127.0.0.1", 0, class)
    local lines = support.logged(function() whileRunning(sync.stop) end)
    assert.matches("ERROR error in onStop of .*no end", table.concat(lines, "\n"))
  end)

  it("gives slow clients only so long", function()
    local class = support.protocol {closeTimeout = 20}
    local port = sync.enable("127.0.0.1", 0, class).port
    function class.onConnect(self)
      for _ = 1, 10 do self:send(("x"):rep(100000)) end
      sync.stop(0.1)
    end
    local client
    local begin = sync.now()
    whileRunning(function() client = assert(socket.connect("127.0.0.1", port)) end)
    assert.is_true(sync.now() - begin < 10)
    client:close()
  end)

  it("leaves nothing behind that would stop the next run", function()
    local class = support.protocol {transports = {"tcp"}}
    sync.enable("127.0.0.1", 0, class)
    whileRunning(function() sync.stop(0.03) end)
    local listener = sync.enable("127.0.0.1", 0, class)
    local client
    whileRunning(function()
      client = assert(socket.connect("127.0.0.1", listener.port))
      sync.after(0.1, function()
        assert.equal(1, class.clients:count())
        sync.stop()
      end)
    end)
    client:settimeout(Process.BOUND)
    assert.equal("closed", select(2, client:receive(1)))
    client:close()
  end)

  it("leaves sync.testing working", function()
    sync.enable("127.0.0.1", 0, support.protocol())
    whileRunning(sync.stop)
    local client = support.connect(support.protocol {
      onData = function(self, data) self:send(data) end,
    })
    client:send("x")
    assert.equal("x", client:received())
  end)
end)

describe("signal", function()
  it("refuses what is no signal", function()
    assert.equal('sync.signal: unknown signal "WAKE"; there are HUP, INT, QUIT, USR1, ' ..
      'USR2, TERM', support.raised(sync.signal, "WAKE", print))
  end)
end)

describe("sync", function()
  it("can be loaded anew, as busted does for each file of specs", function()
    local loaded = {}
    for name in pairs(package.loaded) do
      if name:find("^sync") then
        loaded[name] = package.loaded[name]
        package.loaded[name] = nil
      end
    end
    local ok, message = pcall(require, "sync")
    for name in pairs(package.loaded) do
      if name:find("^sync") then package.loaded[name] = nil end
    end
    for name, module in pairs(loaded) do package.loaded[name] = module end
    assert.is_true(ok, message)
  end)
end)
