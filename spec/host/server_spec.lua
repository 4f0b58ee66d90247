-- sync-lua as a server: real sockets, and clients of another make.

local Process = require "spec.support.process"
local Program = require "spec.support.program"
local cjson = require "cjson"
local socket = require "socket"

local connect, serve = Program.connect, Program.serve

-- A server that prints what happens to each client.
local function noting(fields)
  return ([[
    io.stdout:setvbuf "line"
    local Note = sync.Protocol:extend("Note")
    for name, value in pairs(%s) do Note[name] = value end
    function Note:onConnect() print("connect", self.transport, self.address, self.port) end
    function Note:onClose(reason) print("close", reason) end
    function Note:onData(data) print("data", #data) end
    sync.enable("127.0.0.1", 0, Note)
    sync.start()
  ]]):format(fields or "{}")
end

local function stop(server, signal)
  server:kill(signal or "TERM")
  assert.equal(0, (server:wait()), server:stderr())
  assert.is_nil(server:stderr():find("ERROR", 1, true), server:stderr())
end

local function hasIPv6()
  local probe = socket.tcp6()
  local works = probe:bind("::1", 0)
  probe:close()
  return works
end

describe("server", function()
  after_each(Process.cleanUp)

  describe("serves", function()
    it("three ports with one set of clients, for nc", function()
      local server = serve [[
        local Echo = sync.Protocol:extend("Echo")
        function Echo:onData(data)
          for c in self.clients do c:send(data) end
        end
        function Echo:onConnect() print(self.clients:count()) io.flush() end
        for _ = 1, 3 do sync.enable("localhost", 0, Echo) end
        sync.start()
      ]]
      local clients = {}
      for port in server:stderr():gmatch("localhost:(%d+)") do
        clients[#clients + 1] = Program.nc("localhost", port)
      end
      assert.equal(3, #clients)
      server:expect("stdout", "3\n")
      local all = ""
      for i, client in ipairs(clients) do
        client:write(("from %d\n"):format(i))
        all = all .. ("from %d\n"):format(i)
        for _, other in ipairs(clients) do other:expect("stdout", "^" .. all .. "$") end
      end
      stop(server)
      for _, client in ipairs(clients) do
        client:closeInput()
        assert.equal(0, (client:wait()))
      end
    end)

    it("all bytes, in order, however many", function()
      local server, port = serve(Program.ECHO)
      local client = connect(port)
      local sent = {}
      for i = 1, 200 do sent[i] = string.char(i % 256):rep(i * 37) end
      local bytes = table.concat(sent)
      local got = 0
      for first = 1, #bytes, 50000 do
        local part = bytes:sub(first, first + 49999)
        assert.equal(#part, client:send(part))
        assert.is_true(part == client:receive(#part))
        got = got + #part
      end
      assert.equal(#bytes, got)
      client:close()
      stop(server)
    end)

    it("one byte at a time", function()
      local server, port = serve [[
        local Line = sync.Protocol:extend("Line")
        Line.framing = "line"
        function Line:onData(data) self:send("<" .. data .. ">") end
        sync.enable("127.0.0.1", 0, Line)
        sync.start()
      ]]
      local client = connect(port)
      for char in ("hello\r\nworld\n"):gmatch(".") do client:send(char) end
      assert.equal("<hello>", client:receive("*l"))
      assert.equal("<world>", client:receive("*l"))
      client:close()
      stop(server)
    end)

    it("a Unix socket, for nc, and removes it at the end", function()
      local path = Process.file()
      local server = Program.start("-e", ([[
        local sync = require "sync"
        local Echo = sync.Protocol:extend("Echo")
        function Echo:onConnect() self:send(self.transport .. "\n") end
        function Echo:onData(data) self:send(data) end
        sync.enable("unix:%s", Echo)
        sync.start()
      ]]):format(path))
      server:expect("stderr", "listens on unix:(%S+)")
      local client = Program.nc("-U", path)
      client:expect("stdout", "^unix\n$")
      client:write("hello\n")
      client:expect("stdout", "^unix\nhello\n$")
      stop(server)
      client:wait()
      assert.is_nil(io.open(path))
    end)

    it("a Unix socket whose file a killed server has left", function()
      local path = Process.file()
      local code = ([[
        local sync = require "sync"
        sync.enable("unix:%s", sync.Protocol:extend("Echo"))
        sync.start()
      ]]):format(path)
      local first = Program.start("-e", code)
      first:expect("stderr", "listens on")
      first:kill("KILL")
      first:wait()
      local second = Program.start("-e", code)
      second:expect("stderr", "listens on")
      stop(second)
    end)

    it("IPv6", function()
      if not hasIPv6() then pending("this machine has no IPv6") end
      local server = Program.start("-e", [[
        local sync = require "sync"
        local Echo = sync.Protocol:extend("Echo")
        function Echo:onConnect() self:send(self.address .. "\n") end
        print(sync.enable("::1", 0, Echo).port)
        io.flush()
        sync.start()
      ]])
      local client = Program.nc("-6", "::1", (server:expect("stdout", "(%d+)\n")))
      client:expect("stdout", "^::1\n$")
      stop(server)
    end)

    it("localhost and * on IPv4 and IPv6 with the same port", function()
      for _, host in ipairs {"localhost", "*"} do
        local server, port = serve((Program.ECHO:gsub("127.0.0.1", host)))
        for _, address in ipairs(hasIPv6() and {"127.0.0.1", "::1"} or {"127.0.0.1"}) do
          local client = socket.connect(address, port)
          -- A machine may know localhost by one address only.
          if client then
            client:settimeout(Process.BOUND)
            client:send("hello")
            assert.equal("hello", client:receive(5))
            client:close()
          end
          assert.truthy(client or host == "localhost" and address == "::1")
        end
        stop(server)
      end
    end)

    it("tells a client's address, port and transport", function()
      local server, port = serve(noting())
      local client = connect(port)
      local _, own = client:getsockname()
      server:expect("stdout", "connect\ttcp\t127.0.0.1\t" .. own .. "\n")
      client:close()
      stop(server)
    end)

    it("a client that ends its side first: it still gets its answer", function()
      local server, port = serve [[
        local Late = sync.Protocol:extend("Late")
        function Late:onData(data) self:send(("x"):rep(500000)) end
        sync.enable("127.0.0.1", 0, Late)
        sync.start()
      ]]
      local client = Program.nc("-N", "127.0.0.1", port)
      client:write("question")
      client:closeInput()
      client:wait()
      assert.equal(500000, #client:stdout())
      stop(server)
    end)

    it("two classes in one process", function()
      local server = serve [[
        local Upper, Lower = sync.Protocol:extend("Upper"), sync.Protocol:extend("Lower")
        function Upper:onData(data) self.clients:send(data:upper()) end
        function Lower:onData(data) self.clients:send(data:lower()) end
        sync.enable("127.0.0.1", 0, Upper)
        sync.enable("127.0.0.1", 0, Lower)
        sync.start()
      ]]
      server:expect("stderr", "Lower listens on")
      for name, answer in pairs {Upper = "HELLO", Lower = "hello"} do
        local client = connect(tonumber(server:stderr():match(name .. " listens on %S-:(%d+)")))
        client:send("Hello")
        assert.equal(answer, client:receive(5))
        client:close()
      end
      stop(server)
    end)

    it("ports that are opened and closed while it runs", function()
      local server, port = serve [[
        io.stdout:setvbuf "line"
        local Door, Echo = sync.Protocol:extend("Door"), sync.Protocol:extend("Echo")
        function Echo:onData(data) self:send(data) end
        local open
        function Door:onData(data)
          if data == "open" then
            open = sync.enable("127.0.0.1", 0, Echo)
            self:send(open.port .. "\n")
          else
            open:close()
            self:send("closed\n")
          end
        end
        sync.enable("127.0.0.1", 0, Door)
        sync.start()
      ]]
      local door = connect(port)
      door:send("open")
      local second = tonumber((door:receive("*l")))
      local client = connect(second)
      client:send("hello")
      assert.equal("hello", client:receive(5))
      door:send("close")
      assert.equal("closed", door:receive("*l"))
      assert.is_nil((socket.connect("127.0.0.1", second)))
      client:send("stays")
      assert.equal("stays", client:receive(5))
      client:close()
      door:close()
      stop(server)
    end)
  end)

  describe("says why a client went:", function()
    it("left", function()
      local server, port = serve(noting())
      connect(port):close()
      server:expect("stdout", "close\tleft\n")
      stop(server)
    end)

    it("reset", function()
      local server, port = serve(noting())
      local client = connect(port)
      server:expect("stdout", "connect")
      client:setoption("linger", {on = true, timeout = 0})
      client:close()
      server:expect("stdout", "close\treset\n")
      stop(server)
    end)

    it("idle", function()
      local server, port = serve(noting "{idleTimeout = 0.1}")
      local client = connect(port)
      assert.equal("closed", select(2, client:receive(1)))
      server:expect("stdout", "close\tidle\n")
      client:close()
      stop(server)
    end)

    it("timeout", function()
      local server, port = serve(noting '{handshakeTimeout = 0.1, framing = "line"}')
      local silent, slow = connect(port), connect(port)
      slow:send("never en")
      assert.equal("closed", select(2, slow:receive(1)))
      server:expect("stdout", "close\ttimeout\n")
      silent:send("a silent client may stay\n")
      server:expect("stdout", "data\t24\n")
      slow:close()
      silent:close()
      stop(server)
    end)

    it("too long", function()
      local server, port = serve(noting '{maxMessage = 100, framing = "line"}')
      local client = connect(port)
      client:send(("x"):rep(101))
      assert.equal("closed", select(2, client:receive(1)))
      server:expect("stdout", "close\ttoo long\n")
      server:expect("stderr", "WARN  client sent a message longer than maxMessage")
      client:close()
      stop(server)
    end)
  end)

  describe("takes", function()
    it("maxClients and lets more wait until one leaves", function()
      local server, port = serve [[
        local Few = sync.Protocol:extend("Few")
        function Few:onConnect() self:send("welcome\n") end
        sync.enable("127.0.0.1", 0, Few, {maxClients = 2})
        sync.start()
      ]]
      local a, b, c = connect(port), connect(port), connect(port)
      assert.equal("welcome", a:receive("*l"))
      assert.equal("welcome", b:receive("*l"))
      server:expect("stderr", "WARN  as many clients as may connect are connected")
      c:settimeout(0)
      assert.equal("timeout", select(2, c:receive("*l")))
      a:close()
      c:settimeout(Process.BOUND)
      assert.equal("welcome", c:receive("*l"))
      b:close()
      c:close()
      stop(server)
    end)
  end)

  describe("logs", function()
    it("a handler's error with its traceback, and the others go on", function()
      local server, port = serve [[
        local Bad = sync.Protocol:extend("Bad")
        local function deep(data) error("cannot take " .. data) end
        function Bad:onData(data)
          if data == "bad" then deep(data) end
          self:send(data)
        end
        sync.enable("127.0.0.1", 0, Bad)
        sync.start()
      ]]
      local good, bad = connect(port), connect(port)
      bad:send("bad")
      assert.equal("closed", select(2, bad:receive(1)))
      good:send("good")
      assert.equal("good", good:receive(4))
      server:expect("stderr", "stack traceback:")
      local log = server:stderr()
      assert.matches("ERROR error in a handler, its client is closed: [^\n]*:2: cannot take bad",
        log)
      assert.matches("address=127.0.0.1 client=%d+\n%s+stack traceback:", log)
      assert.matches("in function 'deep'", log)
      good:close()
      bad:close()
      server:kill("TERM")
      assert.equal(0, (server:wait()))
    end)

    it("so few of a client's errors that it cannot fill the disk", function()
      local server, port = serve [[
        local Bad = sync.Protocol:extend("Bad")
        function Bad:onData() error("oops") end
        sync.enable("127.0.0.1", 0, Bad)
        sync.start()
      ]]
      for _ = 1, 100 do
        local client = connect(port)
        client:send("x")
        assert.equal("closed", select(2, client:receive(1)))
        client:close()
      end
      server:kill("TERM")
      assert.equal(0, (server:wait()))
      local _, count = server:stderr():gsub("error in a handler", "")
      assert.is_true(count >= 5 and count <= 20, count .. " errors were logged")
    end)

    it("JSON lines with --log=json", function()
      local server = Program.start("--log=json", Process.file [[
        local sync = require "sync"
        local Bad = sync.Protocol:extend("Bad")
        function Bad:onData() error("oops\nsecond line") end
        sync.enable("127.0.0.1", 0, Bad)
        sync.start()
      ]])
      local client = connect(tonumber((server:expect("stderr", "listens on 127.0.0.1:(%d+)"))))
      client:send("x")
      assert.equal("closed", select(2, client:receive(1)))
      client:close()
      server:kill("TERM")
      assert.equal(0, (server:wait()))
      local entries = {}
      for line in server:stderr():gmatch("[^\n]+") do
        entries[#entries + 1] = cjson.decode(line)
      end
      assert.equal("info", entries[1].level)
      assert.equal("info", entries[2].level)
      assert.equal("error", entries[3].level)
      assert.matches("oops\nsecond line", entries[3].message)
      assert.matches("stack traceback", entries[3].traceback)
      assert.matches("told to stop", entries[#entries].message)
    end)

    it("only what --log=error lets through", function()
      local server = Program.start("--log=error", Process.file [[
        local sync = require "sync"
        local Quiet = sync.Protocol:extend("Quiet")
        function Quiet:onData(data) self:send(data) end
        print(sync.enable("127.0.0.1", 0, Quiet).port)
        io.flush()
        sync.start()
      ]])
      local client = connect(tonumber((server:expect("stdout", "(%d+)\n"))))
      client:send "x"
      assert.equal("x", client:receive(1)) -- it has begun, and heeds signals
      client:close()
      stop(server)
      assert.equal("", server:stderr())
    end)
  end)

  describe("tells in one line that", function()
    local function says(pattern, process)
      process:closeInput()
      local code = process:wait()
      assert.matches("^sync%-lua: [^\n]*" .. pattern .. "[^\n]*\n$", process:stderr())
      assert.equal(1, code)
    end

    local function enable(host, port)
      return ([[local sync = require "sync"
        sync.enable(%q, %d, sync.Protocol:extend("Echo"))
        sync.start()]]):format(host, port)
    end

    it("the port is taken", function()
      local server, port = serve(Program.ECHO)
      says("sync.enable: 127.0.0.1 port " .. port .. " is taken: another server listens there",
        Program.start("-e", enable("127.0.0.1", port)))
      stop(server)
    end)

    it("the host is unknown", function()
      says("no%-such%-host.invalid port 8080: the host is unknown",
        Program.start("-e", enable("no-such-host.invalid", 8080)))
    end)

    it("a port below 1024 needs a right", function()
      local code = enable("127.0.0.1", 1)
      local arguments = {Program.path, "-e", code}
      if Process.isRoot() then
        -- Root, but without that one right.
        arguments = {"setpriv", "--bounding-set=-net_bind_service",
          "--inh-caps=-net_bind_service", unpack(arguments)}
      end
      local process = Process.start(arguments)
      process:closeInput()
      local ended = Process.eventually("it ends or listens", function()
        return not process:isRunning() and "ended" or
          process:stderr():find("listens on") and "listens"
      end)
      local start = io.open("/proc/sys/net/ipv4/ip_unprivileged_port_start")
      local first = start and tonumber(start:read("*l")) or 1024
      if start then start:close() end
      if first <= 1 then pending("this machine gives ports below 1024 to everybody") end
      if process.code == 127 or process:stderr():find("^setpriv") then
        pending("there is no setpriv that takes the right away")
      end
      assert.equal("ended", ended)
      says("127.0.0.1 port 1 needs a right: ports below 1024 are the system's", process)
    end)

    it("the file limit is too low", function()
      local function limited(files, code)
        return Process.start {"sh", "-c", ('ulimit -n %d && exec "$0" -e "$1"'):format(files),
          Program.path, code}
      end
      says("the file limit is too low: this process may open 40 files; raise it",
        limited(40, enable("127.0.0.1", 0)))
      says("maxClients is 1000, but this process may open 300 files", limited(300, [[
        local sync = require "sync"
        sync.enable("127.0.0.1", 0, sync.Protocol:extend("Echo"), {maxClients = 1000})
      ]]))
    end)

    it("start was called twice", function()
      local _, _, err = Program.run("-e", [[
        local sync = require "sync"
        local Twice = sync.Protocol:extend("Twice")
        function Twice:onStart() sync.start() end
        sync.log.configure("error")
        sync.enable("127.0.0.1", 0, Twice)
        sync.start()
      ]])
      assert.matches("^sync%-lua: [^\n]*:3: sync.start: the server runs already; call it once", err)
    end)
  end)

  describe("at the file limit", function()
    local function serveLimited(code)
      local server = Process.start {"sh", "-c", 'ulimit -n 160 && exec "$0" "$1"', Program.path,
        Process.file('local sync = require "sync" ' .. code)}
      return server, tonumber((server:expect("stderr", "listens on %S-:(%d+)")))
    end

    it("lets clients wait, and neither spins nor dies", function()
      local server, port = serveLimited [[
        local Echo = sync.Protocol:extend("Echo")
        Echo.transports = {"tcp"}
        function Echo:onData(data) self:send(data) end
        sync.enable("127.0.0.1", 0, Echo)
        sync.start()
      ]]
      local clients = {}
      for i = 1, 200 do clients[i] = connect(port) end
      server:expect("stderr", "WARN  as many clients as may connect are connected")
      for i = 1, 50 do
        clients[i]:send("x")
        assert.equal("x", clients[i]:receive(1))
      end
      for i = 1, 110 do clients[i]:close() end
      for i = 120, 200 do
        clients[i]:send("x")
        assert.equal("x", clients[i]:receive(1))
        clients[i]:close()
      end
      for i = 111, 119 do clients[i]:close() end
      local _, lines = server:stderr():gsub("\n", "")
      assert.is_true(lines < 20, server:stderr())
      stop(server)
    end)

    -- The first line of an answer, its body, and whether the connection ended then.
    local function ask(port, target)
      local client = connect(port)
      client:send("GET " .. target .. " HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
      local all, why, partial = client:receive("*a")
      client:close()
      all = all or partial
      return all:match("^HTTP/1.1 (%d+)"), all:match("\r\n\r\n(.*)$"), why
    end

    it("answers operators, refuses others, and then serves all again", function()
      local server, port = serveLimited [[
        local Ops = sync.Protocol:extend("Ops")
        Ops.panel, Ops.detectTimeout = "a long secret", 60
        Ops.routes["GET /"] = function() return "welcome" end
        sync.enable("127.0.0.1", 0, Ops)
        sync.start()
      ]]
      local silent = {}
      for i = 1, 200 do silent[i] = connect(port) end
      server:expect("stderr", "WARN  as many clients as this process may have are connected")
      for i = 97, 200 do assert.equal("closed", select(2, silent[i]:receive(1))) end
      for _ = 1, 3 do
        local status, body = ask(port, "/healthz")
        assert.equal("200 ok\n", status .. " " .. body)
        assert.equal("401", (ask(port, "/metrics")))
        status, body = ask(port, "/metrics?token=a+long+secret")
        assert.equal("200", status)
        assert.matches("\nsync_connections %d+\n", body)
        assert.equal("200", (ask(port, "/panel.json?token=a+long+secret")))
        assert.equal("200", (ask(port, "/panel?token=a+long+secret")))
        assert.equal("503", (ask(port, "/")))
        assert.equal("503", (ask(port, "/healthz/other")))
      end
      local stream = connect(port)
      stream:send("no request\n")
      assert.equal("closed", select(2, stream:receive(1)))
      stream:close()
      for i = 1, 200 do silent[i]:close() end
      server:expect("stderr", "INFO  accepting clients again")
      Process.eventually("others are served", function() return ask(port, "/") == "200" end)
      assert.equal("200", (ask(port, "/")))
      local _, lines = server:stderr():gsub("\n", "")
      assert.is_true(lines < 10, server:stderr())
      stop(server)
    end)

    it("gives an operator's place to others when it is silent, and ends it in two seconds",
      function()
        local server, port = serveLimited [[
          local Ops = sync.Protocol:extend("Ops")
          Ops.detectTimeout = 60
          sync.enable("127.0.0.1", 0, Ops)
          sync.start()
        ]]
        local clients = {}
        for i = 1, 96 do clients[i] = connect(port) end
        local operators = {}
        for i = 1, 16 do
          operators[i] = connect(port)
          operators[i]:send("GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
          assert.equal("HTTP/1.1 200 OK", operators[i]:receive("*l"))
        end
        for _ = 1, 3 do assert.equal("200", (ask(port, "/healthz"))) end
        local begin = socket.gettime()
        for i = 1, 16 do
          assert.equal("closed", select(2, operators[i]:receive("*a")))
        end
        assert.is_true(socket.gettime() - begin < 10)
        -- Those who came before are still there.
        for i = 1, 96 do
          clients[i]:settimeout(0)
          assert.equal("timeout", select(2, clients[i]:receive(1)))
          clients[i]:close()
        end
        stop(server)
      end)
  end)

  describe("stops", function()
    local STOPPING = [[
      local Stop = sync.Protocol:extend("Stop")
      Stop.transports = {"tcp"}
      function Stop:onConnect() self:send("hello\n") end
      function Stop:onStop() self.clients:send("good-bye\n") print("stopped") end
      function Stop:onClose(reason) print("close", reason) end
      sync.enable("127.0.0.1", 0, Stop)
      sync.start()
      print("after")
    ]]

    for _, signal in ipairs {"INT", "TERM"} do
      it(("at SIG%s: onStop, what is queued is written, exit 0"):format(signal), function()
        local server, port = serve(STOPPING)
        local clients = {}
        for i = 1, 20 do
          clients[i] = connect(port)
          assert.equal("hello", clients[i]:receive("*l"))
        end
        stop(server, signal)
        for i = 1, 20 do
          assert.equal("good-bye\n", clients[i]:receive("*a"))
          clients[i]:close()
        end
        assert.equal("stopped\n" .. ("close\tstop\n"):rep(20) .. "after\n", server:stdout())
        assert.is_nil((socket.connect("127.0.0.1", port)))
      end)
    end

    it("with megabytes still queued for a client that reads", function()
      local server, port = serve [[
        local Big = sync.Protocol:extend("Big")
        Big.maxQueue = 8 * 1024 * 1024
        function Big:onData() self:send(("x"):rep(6000000)) sync.stop() end
        sync.enable("127.0.0.1", 0, Big)
        sync.start()
      ]]
      local client = connect(port)
      client:send("x")
      assert.equal(6000000, #client:receive("*a"))
      client:close()
      assert.equal(0, (server:wait()))
    end)

    it("within closeTimeout when a client does not read", function()
      local server, port = serve [[
        local Big = sync.Protocol:extend("Big")
        Big.maxQueue, Big.closeTimeout = 2^24, 0.3
        function Big:onConnect()
          for _ = 1, 150 do self:send(("x"):rep(100000)) end
          print("sent") io.flush()
        end
        sync.enable("127.0.0.1", 0, Big)
        sync.start()
      ]]
      local client = connect(port)
      server:expect("stdout", "sent")
      local begin = socket.gettime()
      stop(server)
      assert.is_true(socket.gettime() - begin < 5)
      client:close()
    end)

    it("at once at the second signal, of either kind, while clients are waited for", function()
      for _, pair in ipairs {{"INT", "INT"}, {"INT", "TERM"}, {"TERM", "INT"}} do
        local server, port = serve [[
          local Big = sync.Protocol:extend("Big")
          Big.maxQueue, Big.closeTimeout = 2^24, 100
          function Big:onConnect()
            for _ = 1, 150 do self:send(("x"):rep(100000)) end
            print("sent") io.flush()
          end
          function Big:onStop() print("stopping") io.flush() end
          sync.enable("127.0.0.1", 0, Big)
          sync.start()
        ]]
        local client = connect(port)
        server:expect("stdout", "sent")
        server:kill(pair[1])
        server:expect("stdout", "stopping")
        server:kill(pair[2])
        local begin = socket.gettime()
        local _, signal = server:wait()
        assert.equal(Process.SIGNALS[pair[2]], signal)
        assert.is_true(socket.gettime() - begin < 3)
        client:close()
      end
    end)

    it("at the second signal when a handler is stuck", function()
      for i, body in ipairs {"while true do end", "repeat local x = {} until not x"} do
        local first, second = i == 1 and "TERM" or "INT", i == 2 and "TERM" or "INT"
        local server, port = serve(([[
          local Stuck = sync.Protocol:extend("Stuck")
          function Stuck:onData() print("stuck") io.flush() %s end
          sync.enable("127.0.0.1", 0, Stuck)
          sync.start()
        ]]):format(body))
        local client = connect(port)
        client:send("x")
        server:expect("stdout", "stuck")
        server:kill(first)
        -- The first one is taken when it is no longer pending.
        Process.eventually("the first signal is taken", function()
          local status = assert(io.open("/proc/" .. server.pid .. "/status"))
          local text = status:read("*a")
          status:close()
          local pendingSignals = text:match("ShdPnd:%s*(%x+)")
          return tonumber(pendingSignals, 16) == 0
        end)
        assert.is_true(server:isRunning())
        server:kill(second)
        local _, signal = server:wait()
        assert.equal(Process.SIGNALS[second], signal)
        client:close()
      end
    end)

    it("by itself when nothing is left, and by sync.stop", function()
      local code, out = Program.runCode [[
        local sync = require "sync"
        local One = sync.Protocol:extend("One")
        local listener = sync.enable("127.0.0.1", 0, One)
        sync.after(0.01, function() listener:close() end)
        sync.start()
        print("nothing left")
        sync.enable("127.0.0.1", 0, One)
        sync.after(0.01, function() sync.stop() end)
        sync.start()
        print("stopped")
      ]]
      assert.equal("nothing left\nstopped\n", out)
      assert.equal(0, code)
    end)

    it("not at a signal that has a function of its own", function()
      local server = serve [[
        io.stdout:setvbuf "line"
        local Own = sync.Protocol:extend("Own")
        local count = 0
        sync.signal("USR1", function(number) print("got", number) end)
        sync.signal("TERM", function()
          count = count + 1
          print("not yet")
          if count == 3 then sync.stop() end
        end)
        sync.enable("127.0.0.1", 0, Own)
        sync.start()
      ]]
      server:kill("USR1")
      server:expect("stdout", "got\t10\n")
      for i = 1, 3 do
        server:kill("TERM")
        server:expect("stdout", ("not yet\n"):rep(i))
      end
      assert.equal(0, (server:wait()))
    end)

    it("with a JIT report when one was asked for", function()
      local server, port = serve(Program.ECHO, "--jit-report")
      local client = connect(port)
      for _ = 1, 2000 do
        client:send("hello")
        client:receive(5)
      end
      client:close()
      stop(server)
      assert.matches("Echo:onData%s+native code", server:stderr())
    end)
  end)
end)
