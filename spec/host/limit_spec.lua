-- What a server does when memory becomes scarce.

local Process = require "spec.support.process"
local Program = require "spec.support.program"
local socket = require "socket"

-- A server that keeps all that its clients send, and answers each message.
local KEEPER = [[
  local Keeper = sync.Protocol:extend("Keeper")
  Keeper.framing = "line"
  function Keeper:onConnect() self.kept = {} end
  function Keeper:onData(data)
    self.kept[#self.kept + 1] = data
    self:send(tostring(#self.kept))
  end
  function Keeper:onClose(reason) sync.log.info("gone: " .. reason) end
  sync.enable("127.0.0.1", 0, Keeper)
  sync.start()
]]

local function say(client, text)
  local sent = client:send(text .. "\n")
  return sent and client:receive("*l")
end

-- Sends what the server keeps until it has enough of this client.
local function gorge(client)
  for i = 1, 20000 do
    if not say(client, i .. ("x"):rep(60000)) then return i end
  end
  error("the server kept everything")
end

describe("a server whose memory is scarce", function()
  local it = Program.countsMemory() and it or pending

  after_each(Process.cleanUp)
  teardown(Process.cleanUp)

  it("closes those that hold most, with a line each, and serves the others", function()
    local process, port = Program.serve(KEEPER, "--memory=32M")
    local modest, greedy = Program.connect(port), Program.connect(port)
    for i = 1, 20 do assert.equal(tostring(i), say(modest, ("x"):rep(60000))) end
    local count = gorge(greedy)
    assert.is_true(count > 300 and count < 700)
    assert.equal("21", say(modest, "still here"))
    local bytes = process:expect("stderr", "WARN  memory is at its limit: a client that holds " ..
      "much is closed address=127%.0%.0%.1 bytes=(%d+) client=%d+ protocol=Keeper")
    assert.is_true(tonumber(bytes) > 2 ^ 24)
    process:expect("stderr", "gone: memory")
    process:expect("stderr", "memory is near its limit: no client is accepted")
    process:expect("stderr", "there is memory again: clients are accepted")
    assert.equal("1", say(Program.connect(port), "me too"))
    process:kill("TERM")
    assert.equal(0, process:wait())
  end)

  it("accepts nobody until there is less", function()
    local process, port = Program.serve(KEEPER, "--memory=32M")
    local full = Program.connect(port)
    local function isHeld() return process:stderr():find("no client is accepted", 1, true) end
    for i = 1, 20000 do
      assert(say(full, i .. ("x"):rep(60000)))
      -- Not faster than the server looks, when it is near.
      local last = socket.gettime() + (i > 400 and 0.03 or 0)
      while socket.gettime() < last and not isHeld() do assert(say(full, "x")) end
      if isHeld() then break end
    end
    local waiting = Program.connect(port) -- the system takes it
    waiting:send("hello\n")
    for _ = 1, 10 do assert(say(full, "the server is awake")) end
    waiting:settimeout(0)
    assert.equal("timeout", select(2, waiting:receive(1)))
    full:close()
    waiting:settimeout(Process.BOUND)
    assert.equal("1", waiting:receive("*l"))
  end)

  it("survives the bound that the system sets", function()
    local script = Process.file('local sync = require "sync" ' .. KEEPER)
    local process = Process.start {"sh", "-c", 'ulimit -v 160000; exec "$0" "$1"',
      Program.path, script}
    local port = tonumber((process:expect("stderr", "listens on %S-:(%d+)")))
    local modest = Program.connect(port)
    for round = 1, 3 do
      local greedy = {}
      for i = 1, 4 do greedy[i] = Program.connect(port) end
      local number, open = 0, 4
      while open == 4 and number < 20000 do
        for _, client in ipairs(greedy) do
          number = number + 1
          if not say(client, round .. number .. ("x"):rep(60000)) then open = open - 1 end
        end
      end
      assert.is_true(open < 4)
      assert.equal(tostring(round), say(modest, "still here"))
      for _, client in ipairs(greedy) do client:close() end
    end
    process:kill("TERM")
    assert.equal(0, process:wait())
    assert.matches("memory is at its limit: a client that holds much is closed", process:stderr())
    assert.is_nil(process:stderr():find("ERROR")) -- as Lua's "not enough memory" would be
  end)
end)
