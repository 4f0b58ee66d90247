-- Many clients at once, some of which behave badly. Small versions of spec/soak.

local Process = require "spec.support.process"
local Program = require "spec.support.program"
local socket = require "socket"

local connect, serve = Program.connect, Program.serve

local function stop(server)
  server:kill("TERM")
  assert.equal(0, (server:wait()), server:stderr())
  assert.is_nil(server:stderr():find("ERROR", 1, true), server:stderr())
end

describe("crowd", function()
  after_each(Process.cleanUp)

  it("of 1,000 connects, is broadcast to, and leaves", function()
    local server, port = serve [[
      local Crowd = sync.Protocol:extend("Crowd")
      Crowd.framing = "line"
      Crowd.transports = {"tcp"} -- it speaks first: nothing has to be found out
      function Crowd:onConnect() self:send("in") end
      function Crowd:onData(line) self.clients:send(line) end
      function Crowd:onClose()
        if self.clients:count() == 0 then print("all gone") io.flush() end
      end
      sync.enable("127.0.0.1", 0, Crowd)
      sync.start()
    ]]
    for round = 1, 2 do
      local clients = {}
      for i = 1, 1000 do
        clients[i] = connect(port)
        assert.equal("in", clients[i]:receive("*l"))
      end
      local message = ("round %d "):format(round) .. ("x"):rep(1000)
      clients[500]:send(message .. "\n")
      for i = 1, 1000 do
        assert.equal(message, clients[i]:receive("*l"))
      end
      for i = 1, 1000 do clients[i]:close() end
      server:expect("stdout", ("all gone\n"):rep(round))
    end
    stop(server)
    assert.is_nil(server:stderr():find("WARN", 1, true), server:stderr())
  end)

  it("of 1,000 that begin and do not go on delays nobody, and is closed in time", function()
    local server, port = serve [[
      local Echo = sync.Protocol:extend("Echo")
      Echo.framing = "line"
      Echo.handshakeTimeout = 3
      function Echo:onData(line) self:send(line) end
      sync.enable("127.0.0.1", 0, Echo)
      sync.start()
    ]]
    -- Of a request's head, of a WebSocket's handshake, of a policy request, of a message, and
    -- of a first word that could still become anything.
    local begins = {
      "GET / HTTP/1.1\r\nHost: here\r\nX-Slow: ",
      "GET / HTTP/1.1\r\nHost: here\r\nUpgrade: websocket\r\nConnection: Upgr",
      "POST /x HTTP/1.1\r\nHost: here\r\nContent-Length: 100\r\n\r\nbody",
      "<policy-file-req", "a line without its end", "GE",
    }
    local good = connect(port)
    local function exchange(text)
      local begin = socket.gettime()
      good:send(text .. "\n")
      assert.equal(text, good:receive("*l"))
      return socket.gettime() - begin
    end
    exchange("before")
    local slow, longest = {}, 0
    for i = 1, 1000 do
      slow[i] = connect(port)
      slow[i]:send(begins[i % #begins + 1])
      if i % 50 == 0 then longest = math.max(longest, exchange("while " .. i)) end
    end
    -- They send on, a byte at a time, and are not let live by that.
    local begin = socket.gettime()
    for _, client in ipairs(slow) do client:send("x") end
    longest = math.max(longest, exchange("after"))
    assert.is_true(longest < 1, "an echo took " .. longest)
    for i, client in ipairs(slow) do
      local _, why, rest = client:receive("*a")
      if why then assert.equal("closed", why, "client " .. i .. " " .. rest) end
      if i % 100 == 0 then exchange("still " .. i) end
      client:close()
    end
    assert.is_true(socket.gettime() - begin < 10)
    exchange("at last")
    good:close()
    server:kill("TERM")
    assert.equal(0, (server:wait()), server:stderr())
  end)

  it("of 100 loses one that never reads, and the other 99 get every byte", function()
    local server, port = serve [[
      local Room = sync.Protocol:extend("Room")
      Room.maxQueue = 256 * 1024
      Room.transports = {"tcp"}
      function Room:onConnect() self:join("all") self:send("in") end
      function Room:onData(data)
        local count = tonumber(data:byte())
        self:room("all"):send(string.char(count):rep(64 * 1024))
      end
      function Room:onClose(reason) print("close", reason) io.flush() end
      sync.enable("127.0.0.1", 0, Room)
      sync.start()
    ]]
    local lazy = socket.tcp()
    lazy:setoption("recv-buffer-size", 4096)
    assert(lazy:connect("127.0.0.1", port))
    lazy:settimeout(Process.BOUND)
    assert.equal("in", lazy:receive(2))
    local readers = {}
    for i = 1, 99 do
      readers[i] = connect(port)
      assert.equal("in", readers[i]:receive(2))
    end
    -- Each broadcast is read by all before the next, so only the lazy one falls behind.
    -- What the kernel takes for it differs, so there is a bound far above that.
    local rounds = 0
    repeat
      rounds = rounds + 1
      local char = string.char(rounds % 256)
      readers[1]:send(char)
      local expected = char:rep(64 * 1024)
      for i = 1, 99 do
        assert.is_true(readers[i]:receive(64 * 1024) == expected)
      end
    until server:stdout() ~= "" or rounds == 250
    server:expect("stdout", "^close\tfull\n$")
    server:expect("stderr",
      "WARN  client reads too slowly: its queue reached maxQueue, it was closed")
    readers[1]:send("!")
    for i = 1, 99 do
      assert.is_true(readers[i]:receive(64 * 1024) == ("!"):rep(64 * 1024))
      readers[i]:close()
    end
    lazy:close()
    stop(server)
  end)

  it("drops for a slow client instead when overflow says so, and tells it", function()
    local server, port = serve [[
      local Drop = sync.Protocol:extend("Drop")
      Drop.maxQueue, Drop.overflow = 64 * 1024, "drop"
      function Drop:onData()
        local dropped = 0
        for _ = 1, 2000 do
          local _, why = self:send(("x"):rep(16 * 1024))
          if why == "dropped" then dropped = dropped + 1 end
        end
        print("dropped", dropped) io.flush()
      end
      function Drop:onDrain(dropped) print("drain", dropped) io.flush() end
      sync.enable("127.0.0.1", 0, Drop)
      sync.start()
    ]]
    local client = connect(port)
    client:send("x")
    local dropped = tonumber((server:expect("stdout", "dropped\t(%d+)")))
    assert.is_true(dropped > 0)
    client:settimeout(Process.BOUND)
    assert.equal((2000 - dropped) * 16 * 1024, #client:receive((2000 - dropped) * 16 * 1024))
    server:expect("stdout", "drain\t" .. dropped)
    client:close()
    stop(server)
  end)

  it("loses half to kill -9 in the middle of a broadcast, and the others notice nothing",
    function()
      local server, port = serve [[
        local Ticks = sync.Protocol:extend("Ticks")
        Ticks.framing = "line"
        Ticks.transports = {"tcp"}
        local count = 0
        function Ticks:onClose() print("gone") io.flush() end
        sync.every(0.001, function()
          for _ = 1, 10 do
            count = count + 1
            Ticks.clients:send("tick " .. count .. (" "):rep(200) .. ".")
          end
        end)
        sync.enable("127.0.0.1", 0, Ticks)
        sync.start()
      ]]
      local killed, kept = {}, {}
      for i = 1, 10 do
        killed[i] = Program.nc("-d", "127.0.0.1", port)
        kept[i] = Program.nc("-d", "127.0.0.1", port)
      end
      for i = 1, 10 do
        killed[i]:expect("stdout", "tick")
        kept[i]:expect("stdout", "tick")
      end
      for i = 1, 10 do killed[i]:kill("KILL") end
      server:expect("stdout", ("gone\n"):rep(10))
      local last = tonumber(kept[1]:stdout():match(".*tick (%d+) +%.\n"))
      for i = 1, 10 do
        Process.eventually("the kept clients get more", function()
          return tonumber(kept[i]:stdout():match(".*tick (%d+) +%.\n")) > last + 100
        end)
        local expected
        for number in kept[i]:stdout():gmatch("tick (%d+) +%.\n") do
          number = tonumber(number)
          assert.equal(expected or number, number)
          expected = number + 1
        end
        kept[i]:kill("KILL")
      end
      stop(server)
    end)

  it("goes and comes thousands of times, and memory stays", function()
    local server, port = serve(Program.ECHO)
    local function come(times)
      for _ = 1, times do
        local client = connect(port)
        client:send("x")
        assert.equal("x", client:receive(1))
        client:close()
      end
    end
    come(500)
    local before = server:memory()
    come(2000)
    assert.is_true(server:memory() < before + Program.bound(2048),
      ("%d KiB became %d KiB"):format(before, server:memory()))
    stop(server)
  end)

  it("that has gone and may come back costs what resumeTotal says, and then nothing", function()
    local server, port = serve [[
      local Game = sync.Remote:extend("Game")
      Game.transports = {"tcp"}
      Game.framing = "line"
      Game.resumeTime = 1
      Game.resumeTotal = 4 * 1024 * 1024
      function Game.remote:fill()
        for i = 1, 16 do self:fire("on", ("%d.%d."):format(self.id, i):rep(1600):sub(1, 15000)) end
        return "filled"
      end
      function Game:onClose()
        if next(Game.sessions, next(Game.sessions)) == nil then print("all gone") io.flush() end
      end
      sync.enable("127.0.0.1", 0, Game)
      sync.start()
    ]]
    local function depart(count)
      local before = select(2, server:stdout():gsub("all gone", ""))
      for _ = 1, count do
        local client = connect(port)
        client:send '{"jsonrpc":"2.0","id":1,"method":"fill"}\n'
        repeat until client:receive("*l"):find("filled", 1, true)
        client:close()
      end
      local most = server:memory()
      Process.eventually("their time ends", function()
        return select(2, server:stdout():gsub("all gone", "")) > before
      end)
      return most
    end
    depart(20)
    local before = server:memory()
    local most = depart(300) -- 72 MB, if all were kept
    local text = ("%d KiB became %d KiB"):format(before, most)
    assert.is_true(most < before + Program.bound(32 * 1024), text)
    Process.eventually(function() return "memory is back within 20 %: " .. text end, function()
      return server:memory() < Program.bound(before * 1.2)
    end)
    stop(server)
  end)
end)
