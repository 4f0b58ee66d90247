-- sync-lua --workers where it gets hard: deaths, bursts, signals, full queues; and the bus.

local Process = require "spec.support.process"
local Program = require "spec.support.program"
local C = require "ffi".C
local socket = require "socket"

local connect, eventually, serve = Program.connect, Process.eventually, Program.serve

-- Each client is told which worker has it, of how many, and that one's process.
local WHO = [[
  local Who = sync.Protocol:extend("Who")
  Who.transports = {"tcp"}
  Who.framing = "line"
  local process = io.open("/proc/self/stat"):read("*n")
  function Who:onConnect()
    self:send(("%s %s %d"):format(sync.worker, sync.workers, process))
  end
  function Who:onData(data)
    local count = 0
    for _ in Who.clients do count = count + 1 end
    self:send(data == "count" and tostring(count) or data)
  end
]]

local LISTEN = [[
  sync.enable("127.0.0.1", 0, Who)
  sync.start()
]]

-- A client, and the worker that has it: number, workers, process.
local function meet(port, open)
  local client = (open or connect)(port)
  local number, count, process = assert(client:receive "*l"):match "^(%S+) (%S+) (%d+)$"
  return client, tonumber(number), tonumber(count), tonumber(process)
end

-- Whether a process has ended; one that nobody has waited for yet has, too.
local function isGone(process)
  local file = io.open(("/proc/%d/stat"):format(process))
  local text = file and file:read "*a"
  if file then file:close() end
  return not text or text:match "^%d+ %(.*%) (%S)" == "Z"
end

-- Waits until each of `count` workers has answered; returns their processes by number.
local function meetAll(port, count, open)
  local processes, clients, met = {}, {}, 0
  eventually(count .. " workers answer", function()
    local client, number, _, process = meet(port, open)
    clients[#clients + 1] = client
    if not processes[number] then met = met + 1 end
    processes[number] = process
    return met == count
  end)
  for _, client in ipairs(clients) do client:close() end
  return processes
end

local function allGone(processes)
  eventually("all workers end", function()
    for _, process in pairs(processes) do
      if not isGone(process) then return false end
    end
    return true
  end)
end

-- Starts workers and waits for all.
local function start(count, code, ...)
  local server, port = serve(code or WHO .. LISTEN, "--workers=" .. count, ...)
  return server, port, meetAll(port, count)
end

local function stop(server, processes)
  server:kill "TERM"
  assert.equal(0, (server:wait()), server:stderr())
  allGone(processes)
end

-- Waits until each of `count` workers has one client and no other, which is kept.
local function startEven(count)
  local server, port, processes = start(count)
  local kept = {}
  eventually("each has a client", function()
    local client, number = meet(port)
    if kept[number] then client:close() else kept[number] = client end
    for i = 1, count do
      if not kept[i] then return false end
    end
    return true
  end)
  for _, client in ipairs(kept) do
    eventually("no other is there", function()
      client:send "count\n"
      return client:receive "*l" == "1"
    end)
  end
  return server, port, processes, kept
end

local function countOf(text, pattern)
  return select(2, text:gsub(pattern, ""))
end

local function isRefused(port)
  local client = socket.tcp()
  local connected = client:connect("127.0.0.1", port)
  client:close()
  return not connected
end

describe("workers", function()
  after_each(Process.cleanUp)

  describe("serve", function()
    it("one port, each with its number", function()
      local server, port, processes = start(3)
      for number, process in ipairs(processes) do
        assert.are_not.equal(server.pid, process)
        for other = 1, number - 1 do assert.are_not.equal(processes[other], process) end
      end
      local _, _, count = meet(port)
      assert.equal(3, count)
      assert.equal(1, countOf(server:stderr(), "listens on"))
      stop(server, processes)
      assert.is_true(isRefused(port))
    end)

    it("no numbers where there are none", function()
      local server, port = serve(WHO .. LISTEN)
      assert.equal("nil nil", (connect(port):receive "*l":match "^(%S+ %S+)"))
      server:kill "TERM"
      assert.equal(0, (server:wait()))
    end)

    it("several free ports, the same ones", function()
      local server = serve(WHO .. [[
        for _ = 1, 3 do sync.enable("localhost", 0, Who) end
        sync.start()
      ]], "--workers=2")
      local ports, processes = {}, {}
      for port in server:stderr():gmatch "localhost:(%d+)" do
        ports[#ports + 1] = port
        local found = meetAll(port, 2)
        if not processes[1] then processes = found end
        assert.same(processes, found)
      end
      assert.equal(3, #ports)
      assert.are_not.equal(ports[1], ports[2])
      assert.are_not.equal(ports[2], ports[3])
      stop(server, processes)
    end)

    it("a Unix socket, and remove its file", function()
      local path = Process.file()
      local server = Program.start("--workers=2", Process.file('local sync = require "sync" ' ..
        WHO .. ('sync.enable("unix:%s", 0, Who) sync.start()'):format(path)))
      server:expect("stderr", "(listens on unix:)")
      local function open()
        local client = require "socket.unix"()
        assert(client:connect(path))
        client:settimeout(Process.BOUND)
        return client
      end
      local processes = meetAll(nil, 2, open)
      C.kill(processes[1], Process.SIGNALS.KILL)
      eventually("worker 1 is started again", function()
        local _, number, _, process = meet(nil, open)
        return number == 1 and process ~= processes[1]
      end)
      stop(server, meetAll(nil, 2, open))
      assert.is_nil(io.open(path))
    end)

    it("a port until all of them have closed it", function()
      local server, port = serve(WHO .. [[
        local first = sync.enable("127.0.0.1", 0, Who)
        sync.enable("127.0.0.1", 0, Who)
        function Who:onData(line)
          if line == "close" then first:close() end
          self:send("done")
        end
        sync.start()
      ]], "--workers=2")
      local other = assert(server:stderr():match("127.0.0.1:%d+.-127.0.0.1:(%d+)"))
      meetAll(port, 2)
      local client, number = meet(port)
      client:send("close\n")
      assert.equal("done", client:receive "*l")
      for _ = 1, 5 do
        local met, its = meet(port)
        assert.are_not.equal(number, its)
        met:close()
      end
      local last = meet(port)
      last:send("close\n")
      assert.equal("done", last:receive "*l")
      eventually("nobody listens", function() return isRefused(port) end)
      client:send("still here\n")
      assert.equal("done", client:receive "*l")
      stop(server, meetAll(other, 2))
    end)

    it("about as many clients each, that come one after the other", function()
      for _, case in ipairs {{2, 20}, {4, 40}} do
        local count, clients = case[1], case[2]
        local server, port, processes, kept = startEven(count)
        local numbers = {}
        for _ = 1, clients do
          local client, number = meet(port)
          kept[#kept + 1] = client
          numbers[number] = (numbers[number] or 0) + 1
        end
        local all = table.concat(numbers, " ")
        for number = 1, count do
          -- The machine has other things to do; a worker that sleeps loses some turns.
          assert.is_true(math.abs((numbers[number] or 0) - clients / count) <= 5, all)
        end
        for _, client in ipairs(kept) do client:close() end
        stop(server, processes)
      end
    end)

    it("about as many clients each, that come all at once", function()
      local server, port, processes, kept = startEven(4)
      local numbers, clients = {}, {}
      for i = 1, 100 do clients[i] = connect(port) end
      for _, client in ipairs(clients) do
        local number = tonumber(client:receive "*l":match "^%d+")
        numbers[number] = (numbers[number] or 0) + 1
      end
      local all = table.concat(numbers, " ")
      for number = 1, 4 do
        assert.is_true(math.abs((numbers[number] or 0) - 25) <= 10, all)
      end
      assert.equal(4, #kept)
      for _, client in ipairs(clients) do client:close() end
      stop(server, processes)
    end)

    it("those who come while one of them hangs", function()
      local server, port, processes = start(2)
      C.kill(processes[1], Process.SIGNALS.STOP)
      local began = socket.gettime()
      for _ = 1, 300 do
        assert.equal(2, select(2, meet(port)))
      end
      assert.is_true(socket.gettime() - began < Process.BOUND / 3)
      C.kill(processes[1], Process.SIGNALS.CONT)
      eventually("worker 1 answers", function() return select(2, meet(port)) == 1 end)
      stop(server, processes)
    end)

    it("what a single server has: arguments, options, --jit-report", function()
      local script = Process.file('local sync = require "sync" ' .. WHO .. [[
        assert(arg[1] == "one" and ... == "one" and #arg == 2 and arg[2] == "--workers=9")
        assert(before == 5)
      ]] .. LISTEN)
      local server = Program.start("-e", "before = 5", "--workers=2", "--jit-report", script, "one",
        "--workers=9")
      local port = server:expect("stderr", "listens on %S-:(%d+)")
      stop(server, meetAll(port, 2))
      assert.equal(2, countOf(server:stderr(), "Who:onConnect"))
    end)
  end)

  describe("that die", function()
    it("are started again with their numbers, and others' clients live on", function()
      local server, port, processes = start(2)
      local clients, owners = {}, {}
      for i = 1, 6 do
        local client, number = meet(port)
        clients[i], owners[i] = client, number
      end
      C.kill(processes[1], Process.SIGNALS.KILL)
      eventually("a new client has an answer", function() return (meet(port)) end, 2)
      eventually("worker 1 is there again", function()
        local _, number, _, process = meet(port)
        return number == 1 and process ~= processes[1]
      end)
      for i, client in ipairs(clients) do
        client:send "still there\n"
        local line, problem = client:receive "*l"
        if owners[i] == 2 then
          assert.equal("still there", line)
        else
          assert.equal("closed", problem)
        end
      end
      server:expect("stderr", "worker 1 was ended by signal 9")
      stop(server, meetAll(port, 2))
    end)

    it("are started again when they were told to stop, and the parent was not", function()
      local server, port, processes = start(2)
      C.kill(processes[2], Process.SIGNALS.TERM)
      eventually("worker 2 is there again", function()
        local _, number, _, process = meet(port)
        return number == 2 and process ~= processes[2]
      end)
      server:expect("stderr", "INFO  worker 2 was told to stop; it is started again")
      assert.is_nil(server:stderr():find("ERROR", 1, true))
      stop(server, meetAll(port, 2))
    end)

    it("by a signal that the parent has passed on end it, too", function()
      local server, _, processes = start(2)
      C.kill(server.pid, 10)
      assert.equal(128 + 10, (server:wait()), server:stderr())
      allGone(processes)
    end)

    it("are started again also when the program was replaced meanwhile", function()
      local copy = Process.file()
      local function run(...)
        local command = Process.start {...}
        assert.equal(0, (command:wait()), command:stderr())
      end
      run("cp", Program.path, copy)
      local server = Process.start {copy, "--workers=2",
        Process.file('local sync = require "sync" ' .. WHO .. LISTEN)}
      local port = server:expect("stderr", "listens on %S-:(%d+)")
      local processes = meetAll(port, 2)
      os.remove(copy)
      C.kill(processes[2], Process.SIGNALS.KILL)
      eventually("worker 2 is there again", function()
        local _, number, _, process = meet(port)
        return number == 2 and process ~= processes[2]
      end, 5)
      stop(server, meetAll(port, 2))
    end)

    it("wait longer each time they fail", function()
      local server, port = serve(WHO .. [[
        local ffi = require "ffi"
        ffi.cdef "void _exit(int code);"
        if sync.worker == 2 then sync.after(0, function() ffi.C._exit(3) end) end
      ]] .. LISTEN, "--workers=2")
      eventually("it failed three times", function()
        return countOf(server:stderr(), "worker 2 ended with code 3; it is started again") >= 3
      end)
      local waits = {}
      for wait in server:stderr():gmatch "started again in (%d+%.%d+) s" do
        waits[#waits + 1] = tonumber(wait)
      end
      assert.is_true(waits[1] <= 0.3 and waits[2] <= 0.5 and waits[3] <= 1, server:stderr())
      assert.is_true(waits[3] >= 0.5, server:stderr())
      assert.equal(1, select(2, meet(port)))
      server:kill "TERM"
      assert.equal(0, (server:wait()))
    end)
  end)

  describe("end", function()
    it("when the script is wrong, which is said once", function()
      for _, code in ipairs {"local x = = 3", "error 'broken'", "os.exit(7)"} do
        local began = socket.gettime()
        local exit, _, err = Program.runCode(code, "--workers=3")
        assert.equal(code:find "7" and 7 or 1, exit, err)
        assert.is_true(socket.gettime() - began < Process.BOUND / 3)
        assert.is_true(countOf(err, "unexpected symbol near") <= 1, err)
        assert.is_true(countOf(err, "broken\n") <= 1, err)
      end
    end)

    it("when the port is taken, which is said once", function()
      local other = assert(socket.bind("127.0.0.1", 0))
      local _, port = other:getsockname()
      local exit, _, err = Program.runCode('local sync = require "sync" ' .. WHO ..
        ('sync.enable("127.0.0.1", %d, Who) sync.start()'):format(port), "--workers=3")
      other:close()
      assert.equal(1, exit)
      assert.equal(1, countOf(err, "is taken: another server listens there"), err)
    end)

    it("when the script listens twice on one port, as without workers", function()
      local probe = assert(socket.bind("127.0.0.1", 0))
      local _, port = probe:getsockname()
      probe:close()
      local code = 'local sync = require "sync" ' .. WHO .. ([[
        sync.enable("127.0.0.1", %d, Who)
        sync.enable("127.0.0.1", %d, Who:extend("Other"))
        sync.start()
      ]]):format(port, port)
      local exit, _, err = Program.runCode(code, "--workers=2")
      assert.equal(1, exit)
      assert.equal(1, countOf(err, "is taken: this script has enabled it for Who already"), err)
    end)

    it("with the host that is unknown, by its message", function()
      local exit, _, err = Program.runCode('local sync = require "sync" ' .. WHO ..
        'sync.enable("no.such.host.invalid", 0, Who) sync.start()', "--workers=2")
      assert.equal(1, exit)
      assert.equal(1, countOf(err, "the host is unknown"), err)
    end)

    it("by TERM and INT, after onStop, and clients get what is queued", function()
      for _, signal in ipairs {"TERM", "INT"} do
        local server, port, processes = start(2, WHO .. [[
          function Who.onStop()
            for client in Who.clients do client:send("bye") end
          end
        ]] .. LISTEN)
        local clients = {}
        for i = 1, 4 do clients[i] = meet(port) end
        server:kill(signal)
        for _, client in ipairs(clients) do
          assert.equal("bye", (client:receive "*l"))
          assert.equal("closed", select(2, client:receive "*l"))
        end
        assert.equal(0, (server:wait()), server:stderr())
        allGone(processes)
      end
    end)

    it("with a signal that all of them get, of a terminal or a service manager", function()
      local script = Process.file('local sync = require "sync" ' .. WHO .. [[
        function Who.onStop()
          local client = Who.clients()
          if client then client:send(("x"):rep(600000)) end
          sync.after(0.2, function() io.stderr:write("stopped in peace\n") end)
        end
      ]] .. LISTEN)
      for _, signal in ipairs {"INT", "TERM"} do
        local shell = Process.start {"setsid", Program.path, "--workers=2", script}
        local port = shell:expect("stderr", "listens on %S-:(%d+)")
        local processes = meetAll(port, 2)
        local client = meet(port)
        C.kill(-shell.pid, Process.SIGNALS[signal])
        assert.equal(600000, #client:receive "*l")
        assert.equal(0, (shell:wait()), shell:stderr())
        allGone(processes)
        assert.is_nil(shell:stderr():find("was ended by signal", 1, true))
      end
    end)

    it("at once by a second signal", function()
      local server, port, processes = start(2, WHO .. [[
        function Who.onStop()
          io.stderr:write("stopping\n")
          while true do end
        end
      ]] .. LISTEN)
      assert(port)
      server:kill "TERM"
      eventually("both stop", function() return countOf(server:stderr(), "stopping\n") >= 2 end)
      assert.is_true(server:isRunning())
      server:kill "TERM"
      server:wait()
      allGone(processes)
    end)

    it("by refusing new clients while those they have go", function()
      local server, port, processes = start(2, WHO .. [[
        Who.maxQueue = 64 * 1024 * 1024 -- more than sockets hold
        function Who.onStop()
          for client in Who.clients do client:send(("x"):rep(16 * 1024 * 1024)) end
        end
      ]] .. LISTEN)
      local slow = meet(port) -- reads nothing until the end
      server:kill "TERM"
      eventually("the port is closed", function() return isRefused(port) end, 3)
      assert.is_true(server:isRunning())
      assert.equal(16 * 1024 * 1024, #slow:receive "*l")
      assert.equal(0, (server:wait()))
      allGone(processes)
    end)

    it("when the parent is killed", function()
      local server, port, processes = start(3)
      server:kill "KILL"
      server:wait()
      allGone(processes)
      assert.is_true(isRefused(port))
      assert.equal(3, countOf(server:stderr(), "parent has gone: stopping"))
    end)
  end)

  it("that are stuck end within 2 s when the parent is killed", function()
    local server, port, processes = start(2, WHO .. [[
      function Who.onData() io.stderr:write("stuck\n") while true do end end
    ]] .. LISTEN)
    meet(port):send "x\n"
    server:expect("stderr", "stuck")
    server:kill "KILL"
    local begin = socket.gettime()
    allGone(processes)
    local took = socket.gettime() - begin
    assert.is_true(took > 1 and took < 4, took) -- 2 s, on a machine that has other work
  end)

  it("that don't stop are killed by their parent", function()
    local server, port, processes = start(2, WHO .. [[
      function Who.onData() io.stderr:write("stuck\n") while true do end end
    ]] .. LISTEN)
    meet(port):send "x\n"
    server:expect("stderr", "stuck")
    server:kill "TERM"
    assert.equal(0, (server:wait(20)), server:stderr())
    assert.matches("worker %d didn't stop within 10 s: it is killed", server:stderr())
    allGone(processes)
  end)

  it("live on at SIGHUP, which reads what is new", function()
    local server, port, processes = start(2)
    C.kill(server.pid, 1)
    for _, process in pairs(processes) do C.kill(process, 1) end
    local again = meetAll(port, 2)
    assert.same(processes, again)
    stop(server, processes)
  end)

  it("get the signals HUP, USR1 and USR2 that their parent gets", function()
    local server, _, processes = start(2, WHO .. [[
      for _, name in ipairs {"HUP", "USR1", "USR2"} do
        sync.signal(name, function() io.stderr:write(name .. " at " .. sync.worker .. "\n") end)
      end
    ]] .. LISTEN)
    for name, number in pairs {HUP = 1, USR1 = 10, USR2 = 12} do
      C.kill(server.pid, number)
      for worker = 1, 2 do server:expect("stderr", ("(%s at %d)"):format(name, worker)) end
    end
    stop(server, processes)
  end)

  it("leave children of scripts to them", function()
    local server, port, processes = start(2, WHO .. [[
      function Who:onData() self:send(tostring(os.execute("exit 3") / 256)) end
    ]] .. LISTEN)
    local client = meet(port)
    client:send "go\n"
    assert.equal("3", (client:receive "*l"))
    stop(server, processes)
  end)

  describe("on the command line", function()
    it("are refused where they make no sense", function()
      for _, wrong in ipairs {"0", "-1", "1.5", "many", "2000", ""} do
        local code, _, err = Program.runCode("", "--workers=" .. wrong)
        assert.equal(2, code)
        assert.matches("%-%-workers takes a number from 1 to %d+, or auto", err)
      end
      local process = Program.start("--workers=2", "-")
      process:closeInput()
      assert.equal(2, (process:wait()))
      assert.matches("%-%-workers needs a script that is a file", process:stderr())
    end)

    it("are named by --help", function()
      local _, out = Program.run "--help"
      assert.matches("%-%-workers=N", out)
    end)

    it("are as many as cores with auto", function()
      local cores = Process.start {"nproc"}
      cores:wait()
      local server = serve(WHO .. LISTEN, "--workers=auto")
      assert.matches(("%d workers\n"):format(tonumber(cores:stdout())), server:stderr())
      server:kill "TERM"
      assert.equal(0, (server:wait()))
    end)

    it("are not started to check a script", function()
      local code, _, err = Program.runCode("local x = = 3", "--workers=2", "--check")
      assert.equal(1, code)
      assert.is_nil(err:find("workers", 1, true))
      code = Program.runCode('require "sync"', "--workers=2", "--check")
      assert.equal(0, code)
    end)
  end)
end)

-- The engine of workers, between processes; its contract is in spec/cluster/engine_spec.lua.
-- Worker 1 prints what each step has to show.
describe("bus", function()
  after_each(Process.cleanUp)

  -- `code` runs in each worker with its engine; worker 2 begins second.
  local function runBus(code)
    local server = serve(WHO .. [[
      io.stdout:setvbuf "line"
      function Who.onStart()
        local engine, hear = sync.cluster.engine, {}
        engine:attach {onMessage = function(topic, bytes)
          if hear[topic] then hear[topic](bytes) end
        end}
        local function on(topic, fn)
          hear[topic] = fn
          engine:subscribe(topic)
        end
    ]] .. code .. "\nend\n" .. LISTEN, "--workers=2")
    return server
  end

  it("carries 10,000 messages each way, in order, none lost or doubled", function()
    local server = runBus [[
        local heard, TOTAL = 0, 10000
        local function publishAll()
          for i = 1, TOTAL do
            assert(engine:publish("spec.of" .. sync.worker, i .. ("\0\255"):rep(i % 50)))
          end
        end
        on("spec.of" .. 3 - sync.worker, function(bytes)
          heard = heard + 1
          if bytes ~= heard .. ("\0\255"):rep(heard % 50) then print("wrong", heard) end
          if heard == TOTAL then
            -- What came twice would be behind it.
            sync.after(0.2, function() print("heard", sync.worker, heard, engine.dropped) end)
          end
        end)
        on("spec.ready", function()
          engine:publish("spec.go", "")
          publishAll()
        end)
        on("spec.go", publishAll)
        if sync.worker == 2 then
          sync.after(0.05, function() engine:publish("spec.ready", "") end)
        end
    ]]
    for worker = 1, 2 do server:expect("stdout", ("(heard\t%d\t10000\t0)"):format(worker)) end
    assert.is_nil(server:stdout():find "wrong")
    server:kill "TERM"
    assert.equal(0, (server:wait()))
  end)

  it("subscribes, also when its queue is full, and counts what that drops", function()
    local server = runBus [[
        if sync.worker == 2 then
          on("spec.late.go", function()
            local lost, size = 0, 1024 * 1024
            while size >= 1 do -- not a byte has room then
              if not engine:publish("spec.nobody", ("x"):rep(size)) then
                lost, size = lost + 1, size / 2
              end
            end
            on("spec.late", function(bytes) print("late", bytes, lost, engine.dropped) end)
          end)
          engine:publish("spec.start", "")
        else
          on("spec.start", function()
            engine:publish("spec.late.go", "")
            sync.every(0.05, function() engine:publish("spec.late", "heard") end)
          end)
        end
    ]]
    local lost, dropped = server:expect("stdout", "late\theard\t(%d+)\t(%d+)\n")
    assert.equal("21", lost)
    assert.equal(lost, dropped)
  end)

  it("drops what a worker that hangs can't take, and tells it how much", function()
    local released = Process.file()
    local server = runBus(([[
        local PATH, TOTAL, PART = %q, 160, 256 * 1024
        if sync.worker == 2 then
          local count = 0
          on("spec.data", function() count = count + 1 end)
          on("spec.end", function() print("counted", count, engine.dropped) end)
          on("spec.hang", function()
            engine:publish("spec.go", "")
            sync.after(0, function()
              repeat until io.open(PATH)
            end)
          end)
          engine:publish("spec.ready", "")
        else
          local sent = 0
          on("spec.ready", function() engine:publish("spec.hang", "") end)
          -- The parent has all of a part when it has answered what came behind it.
          local function publishPart()
            for _ = 1, 16 do
              assert(engine:publish("spec.data", ("x"):rep(PART)))
              sent = sent + 1
            end
            engine:get("none", function()
              if sent < TOTAL then return publishPart() end
              print("sent", sent, engine.dropped)
              io.open(PATH, "w"):close()
              sync.every(0.05, function() engine:publish("spec.end", "") end)
            end)
          end
          on("spec.go", publishPart)
        end
    ]]):format(released))
    server:expect("stdout", "(sent\t160\t0\n)")
    local function seen()
      local counted, dropped = server:stdout():match ".*counted\t(%d+)\t(%d+)\n"
      return tonumber(counted), tonumber(dropped)
    end
    eventually(function() return "all are counted\n" .. server:stdout() end, function()
      local counted, dropped = seen()
      return counted and dropped > 0 and counted + dropped >= 160
    end)
    local counted, dropped = seen()
    -- 16 MiB waited, and what sockets hold; nothing else is counted as dropped.
    assert.is_true(counted >= 63 and counted < 100, server:stdout())
    assert.equal(160, counted + dropped)
    server:kill "TERM"
    assert.equal(0, (server:wait()))
  end)
end)
