-- Workers, from outside: their processes, ports and signals. What they are together is in
-- spec/cluster.

local Process = require "spec.support.process"
local Program = require "spec.support.program"
local socket = require "socket"

-- Says which worker a client has, and its process; "die" ends it.
local SERVER = [[
  local Worker = sync.Protocol:extend("Worker")
  Worker.framing, Worker.transports = "line", {"tcp"}
  local pid = io.open("/proc/self/stat"):read("*n")
  function Worker:onConnect() self:send(sync.worker .. " " .. pid .. " " .. sync.workers) end
  function Worker:onData(line)
    if line == "die" then os.exit(3, false) end
    self.clients:send(line)
  end
  sync.enable("127.0.0.1", 0, Worker)
  sync.start()
]]

local function isThere(pid)
  return io.open("/proc/" .. pid .. "/stat") ~= nil
end

-- A client, its worker's number and process.
local function join(port)
  local client = Program.connect(port)
  local number, pid, count = assert(client:receive("*l")):match("^(%d+) (%d+) (%d+)$")
  return client, tonumber(number), tonumber(pid), tonumber(count)
end

-- Connects until there is a client of each worker: {client =, pid =} by number.
local function joinEach(port, count)
  local found, left = {}, count
  for _ = 1, 200 do
    local client, number, pid = join(port)
    if not found[number] then
      found[number] = {client = client, pid = pid}
      left = left - 1
    else
      client:close()
    end
    if left == 0 then return found end
    socket.sleep(0.01)
  end
  error("not every worker takes clients")
end

describe("workers", function()
  after_each(Process.cleanUp)

  it("share a port, clients and messages, evenly", function()
    local _, port = Program.serve(SERVER, "--workers=2")
    joinEach(port, 2)
    local counts, clients = {0, 0}, {}
    for i = 1, 40 do
      local client, number, _, count = join(port)
      assert.equal(2, count)
      clients[i] = client
      counts[number] = counts[number] + 1
      socket.sleep(0.005)
    end
    assert.is_true(math.abs(counts[1] - counts[2]) <= 8, ("%d and %d"):format(unpack(counts)))
    clients[1]:send("hello\n")
    for _, client in ipairs(clients) do assert.equal("hello", client:receive("*l")) end
  end)

  it("are started again when they die, and others notice nothing", function()
    local server, port = Program.serve(SERVER, "--workers=2")
    local found = joinEach(port, 2)
    os.execute("kill -9 " .. found[2].pid)
    assert.is_nil(found[2].client:receive("*l"))
    server:expect("stderr", "worker 2 was ended by signal 9; it is started again")
    found[1].client:send("still here\n")
    assert.equal("still here", found[1].client:receive("*l"))
    local again
    for _ = 1, 100 do
      local _, number, pid = join(port)
      if number == 2 then again = pid break end
      socket.sleep(0.1)
    end
    assert.is_true(again ~= nil and again ~= found[2].pid)
    found[1].client:send("die\n")
    server:expect("stderr", "worker 1 ended with code %d; it is started again")
  end)

  it("stop together, gracefully", function()
    local server, port = Program.serve(SERVER, "--workers=3")
    local found = joinEach(port, 3)
    server:kill("TERM")
    assert.equal(0, server:wait())
    for _, worker in ipairs(found) do
      assert.is_nil(worker.client:receive("*l"))
      assert.is_false(isThere(worker.pid))
    end
    assert.is_nil(socket.connect("127.0.0.1", port))
  end)

  it("stop when their parent is killed", function()
    local server, port = Program.serve(SERVER, "--workers=2")
    local found = joinEach(port, 2)
    server:kill("KILL")
    server:wait()
    for _, worker in ipairs(found) do
      assert.is_nil(worker.client:receive("*l"))
      for _ = 1, 100 do
        if not isThere(worker.pid) then break end
        socket.sleep(0.05)
      end
      assert.is_false(isThere(worker.pid))
    end
  end)

  it("are ended at once by the second signal", function()
    local server, port = Program.serve([[
      local Stuck = sync.Protocol:extend("Stuck")
      Stuck.framing, Stuck.transports = "line", {"tcp"}
      function Stuck:onConnect() self:send(sync.worker .. " 0 0") end
      function Stuck:onStop() print("stuck") io.flush() while true do end end
      sync.enable("127.0.0.1", 0, Stuck)
      sync.start()
    ]], "--workers=2")
    server:expect("stderr", "2 workers")
    joinEach(port, 2)
    server:kill("TERM")
    server:expect("stdout", "stuck")
    server:kill("TERM")
    assert.equal(0, server:wait())
  end)

  it("say once what is wrong with the script, and end with its code", function()
    local code, _, errors = Program.runCode("local = 1", "--workers=2")
    assert.equal(1, code)
    local _, count = errors:gsub("expected near", "")
    assert.equal(1, count, errors)
    local taken = assert(socket.bind("127.0.0.1", 0))
    local _, port = taken:getsockname()
    code, _, errors = Program.runCode(([[
      local sync = require "sync"
      sync.enable("127.0.0.1", %d, sync.Protocol:extend("X"))
      sync.start()
    ]]):format(port), "--workers=3")
    assert.equal(1, code)
    _, count = errors:gsub("is taken: another server listens there", "")
    assert.equal(1, count, errors)
    taken:close()
  end)

  it("may come to an end by themselves", function()
    local code, output = Program.runCode('local sync = require "sync" print(sync.worker)',
      "--workers=2")
    assert.equal(0, code)
    assert.same({"1", "2"}, {output:match("^(%d)\n(%d)\n$")})
  end)

  it("are asked for properly", function()
    for _, words in ipairs {{"--workers=0", "x.lua"}, {"--workers=many", "x.lua"},
      {"--workers=2", "-"}} do
      local code, _, errors = Program.run(unpack(words))
      assert.equal(2, code)
      assert.matches("%-%-workers", errors)
    end
    local _, output = Program.run("--help")
    assert.matches("%-%-workers=N", output)
  end)

  it("have Unix sockets, whose file goes with the parent", function()
    local path = Process.file()
    local server = Program.start("--workers=2", Process.file(([[
      local sync = require "sync"
      local Echo = sync.Protocol:extend("Echo")
      function Echo:onData(data) self:send(data) end
      sync.enable("unix:%s", Echo)
      sync.start()
    ]]):format(path)))
    server:expect("stderr", "Echo listens on unix:")
    local client = Program.nc("-U", path)
    client:write("by file\n")
    client:expect("stdout", "by file")
    server:kill("TERM")
    assert.equal(0, server:wait())
    assert.is_nil(io.open(path))
  end)
end)
