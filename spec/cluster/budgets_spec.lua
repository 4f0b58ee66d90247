-- What all clients of a cluster share, and what one of them may take of it.

local Process = require "spec.support.process"
local Program = require "spec.support.program"

-- Runs code as one node, with a fake engine. What it asserts must hold.
local function asNode(code)
  local status, _, trouble = Program.runCode([[
    local engine = require "spec.support.fakeengine"
    local sync = require "sync"
    local testing = require "sync.testing"
    local cluster = sync.cluster
    cluster:link(engine)
    local Game = sync.Remote:extend("Game")
    Game.framing, Game.resumeTime, Game.maxQueue = "line", 30, 64 * 1024 * 1024
    local function serve()
      cluster:addClass(Game)
      return testing.serve(Game)
    end
    local function ask(client, method, ...)
      client:send(require "sync.remoting.json".request(nil, method, ...) .. "\n")
    end
    local MORE = require "spec.support.program".bound(64 * 1024) -- KiB
    local function resident()
      return tonumber(io.open("/proc/self/status"):read("*a"):match("VmRSS:%s*(%d+)"))
    end
  ]] .. code)
  assert.equal(0, status, trouble)
end

describe("rooms that a client invents", function()
  it("are no topics any more when it has left them, and others' are heard", function()
    asNode [[
      function Game.remote:visit(name)
        self:join(name)
        self:leave(name)
      end
      function Game.remote:enter(name) self:join(name) end
      function Game.remote:exit(name) self:leave(name) end
      local server = serve()
      local rogue, honest = server:connect(), server:connect()
      ask(rogue, "visit", "first")
      testing.settle()
      local before = resident()
      for i = 1, 20000 do
        ask(rogue, "visit", "at once " .. i)
        if i % 500 == 0 then testing.settle() rogue:received() end
      end
      for i = 1, 5000 do
        ask(rogue, "enter", "a tick later " .. i)
        testing.settle()
        ask(rogue, "exit", "a tick later " .. i)
        if i % 500 == 0 then testing.settle() rogue:received() end
      end
      testing.settle()
      assert(engine.most < 1500, "topics: " .. engine.most)
      ask(honest, "enter", "honest")
      testing.settle()
      assert(engine.topics["r/Game/honest"])
      collectgarbage()
      assert(resident() - before < MORE, "KiB more: " .. resident() - before)
    ]]
  end)

  it("are few topics also when it looks at them, whether it was in them or not", function()
    asNode [[
      function Game.remote:look(name) return Game:room(name):total() end
      function Game.remote:peek(name)
        self:join(name)
        Game:room(name):members()
        self:leave(name)
      end
      local server = serve()
      local rogue, honest = server:connect(), server:connect()
      for i = 1, 5000 do
        ask(rogue, "look", "looked " .. i)
        ask(rogue, "peek", "peeked " .. i)
        if i % 500 == 0 then testing.settle() rogue:received() end
      end
      assert(engine.most < 2500, "topics: " .. engine.most)
      ask(honest, "look", "honest")
      testing.settle()
      assert(engine.topics["r/Game/honest"])
    ]]
  end)

  it("are heard again when the engine has room for them", function()
    asNode [[
      function Game.remote:enter(name) self:join(name) end
      function Game.remote:exit(name) self:leave(name) end
      local server = serve()
      local first, second = server:connect(), server:connect()
      ask(first, "enter", "one")
      testing.settle()
      engine.maxTopics = engine.count
      require "sync.log".write = function() end
      ask(second, "enter", "two")
      testing.settle()
      assert(not engine.topics["r/Game/two"])
      engine.maxTopics = engine.count + 1
      local deadline = os.time() + 20
      repeat testing.settle() until engine.topics["r/Game/two"] or os.time() > deadline
      assert(engine.topics["r/Game/two"])
    ]]
  end)
end)

describe("events of a client of a class with resumeTime", function()
  it("take a share of the engine's memory, and not what others need of it", function()
    asNode [[
      local text = ("x"):rep(40000)
      function Game.remote:enter(name) self:join(name) end
      function Game.remote:flood(name)
        self:join(name)
        for _ = 1, 5 do self:room(name):fire("onFlood", text) end
        self:leave(name)
      end
      function Game.remote:say(name, what) self:room(name):fire("onSay", what) end
      local server = serve()
      local rogue, honest = server:connect(), server:connect()
      ask(honest, "enter", "honest")
      for i = 1, 2000 do
        ask(rogue, "flood", "room " .. i)
        if i % 50 == 0 then testing.settle() rogue:received() end
      end
      assert(engine.mostBytes < 16 * 1024 * 1024, "bytes: " .. engine.mostBytes)
      ask(honest, "say", "honest", "hello")
      testing.settle()
      local log = engine.logs["e/r/Game/honest"]
      assert(log[#log]:find("hello", 1, true))
    ]]
  end)
end)

describe("an event that was not kept", function()
  -- What a client is told that was in a room of a node that has died.
  it("lets those begin anew who have missed it, and nobody else", function()
    asNode [[
      local buffer = require "string.buffer"
      local history = cluster.handover.history
      serve()
      local function log(name, ...)
        engine.logs[name] = {}
        for i, entry in ipairs {...} do engine.logs[name][i] = buffer.encode(entry) end
      end
      local epoch = 0
      local function missed(...)
        epoch = epoch + 1 -- a node whose journal wasn't read before
        log("j/9." .. epoch, {{"state", 1, "token", "Game", 0, {red = ""}, {}},
          {"event", "first", 1, 1}})
        log("e/c/Game", {"+token", ""})
        log("e/r/Game/red", ...)
        local told
        history:find(9, epoch, "token", function(session, problem)
          assert(session, problem)
          history:missed(session, "token", 1, function(texts, why)
            told = texts and table.concat(texts, " ") or "anew: " .. why
          end)
        end)
        local deadline = os.time() + 20
        repeat testing.settle() until told or os.time() > deadline
        return told
      end
      local function check(wanted, ...)
        local told = missed(...)
        assert(told == wanted, told)
      end
      local begun, first, later = {"+token", ""}, {"first", "1"}, {"later", "2"}
      check("2", begun, first, later)
      check("2", {"early", false}, begun, later)
      check("", begun, {"+other", ""})
      check("", {"+other", ""})
      check("2", first, later)
      check("anew: an event was not kept", begun, {"late", false}, later)
      check("anew: an event was not kept", later)
      log("e/!", {"", false})
      check("anew: events were not kept: clients fire too many", begun, later)
    ]]
  end)

  it("is one that is too long, or beyond what a client may fire", function()
    asNode [[
      local frame = require "sync.cluster.frame"
      local text = ("x"):rep(40000)
      function Game.remote:long() self:room("red"):fire("onLong", ("x"):rep(60000)) end
      function Game.remote:fill()
        for _ = 1, 200 do self:room("red"):fire("onFill", text) end
      end
      function Game.remote:go()
        for i = 1, 5000 do self:room("room " .. i):fire("onGo") end
      end
      local function last(name)
        local log = engine.logs[name]
        return log and frame.decode(log[#log], 0)[2]
      end
      local server = serve()
      local rogue, honest = server:connect(), server:connect()
      ask(rogue, "long")
      testing.settle()
      assert(last "e/r/Game/red" == false)
      ask(rogue, "fill")
      testing.settle()
      assert(last "e/r/Game/red" == false)
      ask(honest, "go")
      testing.settle()
      assert(last "e/r/Game/room 5000" ~= false)
      assert(last "e/!" == nil)
      for _ = 1, 3 do ask(rogue, "go") end
      testing.settle()
      assert(last "e/!" == false)
      assert(#engine.logs["e/!"] == 1)
    ]]
  end)
end)

describe("what a client alone is sent", function()
  it("has a share of the journal; beyond it the client is left out of it, and no other", function()
    asNode [[
      local frame = require "sync.cluster.frame"
      local text = ("x"):rep(40000)
      function Game.remote:flood()
        for _ = 1, 5 do self:fire("onFlood", text) end
      end
      function Game.remote:rooms(i)
        for room = 1, 60 do self:join(("r"):rep(100) .. i .. "." .. room, ("v"):rep(1000)) end
      end
      function Game.remote:ping() self:fire("onPong") end
      local server = serve()
      local rogue, wide, honest = server:connect(), server:connect(), server:connect()
      ask(wide, "rooms", 1)
      for i = 1, 1000 do
        ask(rogue, "flood")
        ask(honest, "ping")
        if i % 50 == 0 then testing.settle() rogue:received() honest:received() end
      end
      assert(engine.mostBytes < 16 * 1024 * 1024, "bytes: " .. engine.mostBytes)
      local journal = engine.logs[("j/%d.%d"):format(cluster.node, cluster.epoch)]
      local pongs, ended = 0, {}
      for _, bytes in ipairs(journal) do
        for _, item in ipairs(frame.decode(bytes, 0)) do
          local sid = item[2]
          if item[1] == "end" then ended[sid] = true end
          if item[1] == "text" and item[4]:find "onPong" then
            pongs = pongs + 1
            assert(not ended[sid])
          end
        end
      end
      assert(pongs == 1000, pongs)
      assert(next(ended))
    ]]
  end)
end)

describe("workers' shared values", function()
  after_each(Process.cleanUp)

  it("have room whatever clients fire", function()
    local process, port = Program.serve([[
      local Game = sync.Remote:extend("Game")
      Game.framing, Game.transports, Game.resumeTime = "line", {"tcp"}, 30
      local shared, text = sync.shared("values"), ("x"):rep(40000)
      function Game.remote:flood(first, name)
        for i = first, first + 9 do
          self:fire("onText", text)
          Game:room(name .. i % 500):fire("onFlood", text)
        end
      end
      -- Nobody's message: no client has a share of this.
      local fired = 0
      local timer
      timer = sync.every(0.001, function()
        for _ = 1, 10 do
          fired = fired + 1
          Game:room("own " .. fired % 300):fire("onFlood", text)
        end
        if fired < 3000 then return end
        timer:stop()
        local value = ("v"):rep(60000) -- longer than what an event leaves free
        local function set()
          shared:set("key", value, nil, function(done, problem)
            if problem and problem.code == "busy" then return sync.after(0.1, set) end
            shared:get("key", function(found)
              io.stderr:write(("told %s %s %s\n"):format(done, problem, found == value))
            end)
          end)
        end
        set()
      end)
      sync.enable("127.0.0.1", 0, Game)
      sync.start()
    ]], "--workers=1")
    local client = Program.connect(port)
    for i = 1, 200 do
      assert(client:send(('{"jsonrpc":"2.0","method":"flood","params":[%d,"r"]}\n'):format(i * 10)))
    end
    assert.equal("true nil true", process:expect("stderr", "told ([^\n]*)\n"))
  end)
end)
