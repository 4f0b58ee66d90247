-- The examples, on free ports instead of their own.

local Process = require "spec.support.process"
local Program = require "spec.support.program"

local connect = Program.connect

local FREE_PORTS = [[
  local sync = require "sync"
  local enable = sync.enable
  function sync.enable(host, port, ...) return enable(host, 0, ...) end
]]

-- Starts an example, in its folder if it has one; returns it and the ports its log names.
local function example(name)
  local folder, script = name:match("^(.+)/(.+)$")
  local server = Process.start {"sh", "-c",
    'program=$(realpath "$0"); cd "$1" && shift && exec "$program" "$@"', Program.path,
    "examples/" .. (folder or ""), "-e", FREE_PORTS, (script or name) .. ".lua"}
  local ports = {}
  for port in server:expect("stderr", "listens on ([^\n]+) %(try: [^\n]+"):gmatch(":(%d+)") do
    ports[#ports + 1] = tonumber(port)
  end
  return server, ports
end

local function stop(server)
  server:kill("INT")
  assert.equal(0, (server:wait()))
  assert.is_nil(server:stderr():find("ERROR", 1, true), server:stderr())
end

describe("example", function()
  after_each(Process.cleanUp)

  it("bytes: who moves is told to all, by number", function()
    local server, ports = example("bytes")
    local ann, bob = connect(ports[1]), connect(ports[1])
    local function move(client)
      client:send("\0\12\255\255\255\255\0\0\128\63\0\0\0\64")
    end
    local function heard(client) return (assert(client:receive(14))) end
    move(ann)
    local first = heard(ann)
    assert.matches("^\0\12[\1\2]\0\0\0\0\0\128\63\0\0\0\64$", first)
    move(bob)
    local second = heard(ann)
    assert.not_equal(first, second)
    assert.equal(second, heard(bob) == first and heard(bob) or second)
    ann:send("\0\1x")
    assert.equal("closed", select(2, ann:receive(1)))
    stop(server)
  end)

  it("echo: what one types, all get, on three ports", function()
    local server, ports = example("echo")
    assert.equal(3, #ports)
    local clients = {}
    for i = 1, 3 do
      clients[i] = Program.nc("localhost", ports[i])
      -- It is in when it hears itself.
      clients[i]:write(("%d is here\n"):format(i))
      clients[i]:expect("stdout", i .. " is here\n")
    end
    clients[2]:write("hello\n")
    for _, client in ipairs(clients) do client:expect("stdout", "\nhello\n$") end
    stop(server)
  end)

  it("of the README has ten lines, and no mistake", function()
    local code = io.open("README.md"):read("*a"):match("```lua\n(.-)```")
    local lines = select(2, code:gsub("[^\n]+", ""))
    assert.is_true(lines <= 10, lines .. " lines")
    local exit, out = Program.run("--check", Process.file(code))
    assert.matches("no mistake found", out)
    assert.equal(0, exit)
  end)

  it("chat: people and Flash movies meet", function()
    local server, ports = example("chat")
    assert.equal(2, #ports)
    local person = Program.nc("localhost", ports[1])
    person:expect("stdout", "has come to lobby\n")
    person:write("/nick ann\n")
    person:expect("stdout", "is now ann\n")
    local movie = connect(ports[2], "localhost")
    movie:send("hello from a movie\0")
    person:expect("stdout", ": hello from a movie\n")
    person:write("hello\n")
    local text = ""
    repeat text = text .. assert(movie:receive(1)) until text:find("ann: hello%z$")
    movie:close()
    stop(server)
  end)

  it("matchmaking: gives two of about one rating seats in a room, within 60 lines", function()
    local lines = select(2, io.open("examples/matchmaking.lua"):read("*a"):gsub("\n", ""))
    assert.is_true(lines <= 60, lines .. " lines")
    local server, ports = example("matchmaking")
    local script = Process.file(([[
      local sync = require "sync"
      local matched = {}
      for i, rating in ipairs {1000, 1500, 1040, 1900} do
        local game = sync.connect("tcp://localhost:%d")
        game:on("onMatch", function(seat)
          game:joinById(seat, function(room, err)
            matched[#matched + 1] = ("%%d in %%s"):format(rating, room and room.id or err.message)
            if #matched == 2 then
              table.sort(matched)
              print(matched[1], matched[2])
              sync.stop()
            end
          end)
        end)
        game:call("seek", rating, function(_, err) assert(not err) end)
      end
      sync.start()
    ]]):format(ports[1]))
    local exit, out = Program.run(script)
    assert.equal(0, exit)
    local a, b = out:match("1000 in (%w+)\t1040 in (%w+)\n")
    assert.equal(a, b or "none")
    stop(server)
  end)

  it("arena: shows bots that are near, takes moves at their pace, and feeds", function()
    local server, ports = example("arena/arena")
    local script = Process.file(([[
      local sync = require "sync"
      local game = sync.connect("tcp://localhost:%d")
      game:join("Arena", {name = "ann"}, function(room, err)
        assert(room, tostring(err))
        local patches, last = 0
        room:onPatch(function()
          patches = patches + 1
          local me = room.state.players[room.member]
          if patches == 1 then
            local bots = 0
            for id, p in room.state.players:each() do if p.isBot then bots = bots + 1 end end
            print(me.name, bots > 0 and bots < 100, room.state.pellets:count() > 0)
            last = me.x
            for _ = 1, 60 do room:input("input", {dx = 1, dy = 0}) end
          elseif room.inputTaken == 60 then
            local steps = (me.x - last) / (220 / 30)
            print("moved", steps >= 14 and steps < 50)
            sync.stop()
          end
        end)
      end)
      sync.start()
    ]]):format(ports[1]))
    local exit, out = Program.run(script)
    assert.equal(0, exit)
    assert.equal("ann\ttrue\ttrue\nmoved\ttrue\n", out)
    stop(server)
  end)

  it("clock: tells the time without being asked", function()
    local server, ports = example("clock")
    local client = connect(ports[1], "localhost")
    assert.equal("You are client 1 of 1", client:receive("*l"))
    assert.matches("^%d%d:%d%d:%d%d$", client:receive("*l"))
    client:close()
    stop(server)
  end)

  it("gameloop: moves players, and tells all", function()
    local server, ports = example("gameloop")
    local a = connect(ports[1], "localhost")
    assert.matches("^You are player 1%.", a:receive("*l"))
    local b = connect(ports[1], "localhost")
    assert.matches("^You are player 2%.", b:receive("*l"))
    a:send("d\n")
    local before
    for _ = 1, 10 do
      local x, y = assert(b:receive("*l")):match("^1 (%d+%.%d) (%d+%.%d)$")
      assert.equal("12.0", y)
      assert.is_true(not before or tonumber(x) > before)
      before = tonumber(x)
    end
    a:close()
    local line
    repeat line = assert(b:receive("*l")) until line == "1 left"
    b:close()
    stop(server)
  end)

  it("central says that it listens on all addresses, and how it doesn't", function()
    local server = Process.start {"env", "CENTRAL_PORT=0", Program.path,
      "examples/central/main.lua"}
    server:expect("stderr", "open to all who reach this machine; CENTRAL_HOST=localhost")
    server:expect("stderr", "Central listens on")
    stop(server)
    server = Process.start {"env", "CENTRAL_PORT=0", "CENTRAL_HOST=localhost", Program.path,
      "examples/central/main.lua"}
    server:expect("stderr", "Central listens on localhost")
    assert.is_nil(server:stderr():find("open to all", 1, true))
    stop(server)
  end)
end)
