local loop = require "sync.loop"
local support = require "spec.support"
local sync = require "sync"

describe("loop", function()
  after_each(support.cleanUp)

  it("handles one batch a step and says how many events there were", function()
    local server = support.serve(support.protocol {framing = "line"})
    assert.equal(0, loop.step())
    local client = server:connect()
    require "sync.core".C.sync_memory_feed(require "sync.core".handle, client.slot, "a\nb\n", 4)
    assert.equal(2, loop.step())
    assert.equal(0, loop.step())
  end)

  it("runs apart: timers wait, but for those that begin meanwhile", function()
    local fired = {}
    local function note(name) return function() fired[#fired + 1] = name end end
    local timers = {loop.startTimer(0, 0, note "once"), loop.startTimer(0.001, 0.001, note "often"),
      loop.startTimer(0, 0, note "stopped"), loop.startTimer(60, 0, note "late")}
    loop.early(function() loop.startTimer(0, 0, note "early") end)
    loop.startTimer(0, 0, note "other")
    local isBegun = false
    local isDone = loop.runApart(function()
      if not isBegun then
        isBegun = true
        loop.startTimer(0.02, 0, note "begun")
      end
      return fired[2]
    end, 10)
    assert.is_truthy(isDone)
    assert.same({"early", "begun"}, fired)
    assert.is_falsy(loop.runApart(function() return false end, 0.01))
    loop.stopTimer(timers[3])
    loop.catchUp()
    loop.stopTimer(timers[2])
    loop.stopTimer(timers[4])
    table.sort(fired)
    assert.same({"begun", "early", "often", "once", "other"}, fired)
  end)

  it("counts clients", function()
    local before = loop.count
    local a = support.connect(support.protocol(), 2)
    assert.equal(before + 2, loop.count)
    a:leave()
    assert.equal(before + 1, loop.count)
  end)

  it("goes on with the batch after an error, once for each event", function()
    local class = support.protocol {framing = "line"}
    local seen = {}
    function class.onData(_, data)
      seen[#seen + 1] = data
      if data:find("bad") then error(data) end
    end
    local server = support.serve(class)
    local clients = {}
    local core = require "sync.core"
    for i = 1, 4 do clients[i] = server:connect() end
    for i, data in ipairs {"one\n", "bad\nlost\n", "bad too\nlost\n", "two\n"} do
      core.C.sync_memory_feed(core.handle, clients[i].slot, data, #data)
    end
    require "sync.testing".settle()
    assert.same({"one", "bad", "bad too", "two"}, seen)
  end)

  describe("lays an error at no client", function()
    -- Has a client that sends something say what happens then. Returns the client and the log.
    local function logged(act)
      local class = support.protocol {framing = "line"}
      class.onData = act
      local client = support.connect(class)
      return client, table.concat(support.logged(function() client:send("x\n") end), "\n")
    end

    it("that what ends a tick raises, and does the rest of that", function()
      local others = 0
      local client, lines = logged(function()
        loop.atEnd(function() error("oh no") end)
        loop.atEnd(function() others = others + 1 end)
      end)
      assert.is_true(client:isOpen())
      assert.matches("error in what ends a tick, no client is closed: .*oh no", lines)
      assert.matches("loop_spec.lua", lines)
      assert.equal(1, others)
    end)

    it("that the last words raise when the loop stops", function()
      local class = support.protocol()
      local client = support.connect(class)
      class.onData = function()
        loop.beforeLinksClose(function() error("oh no") end)
        loop.stop(1)
      end
      local lines = support.logged(function()
        client:send("x")
        loop.run()
      end)
      assert.matches("error in what ends a tick, no client is closed: .*oh no",
        table.concat(lines, "\n"))
    end)

    it("that a timer, a signal's handler or a shared value's answer raises", function()
      local times = 0
      local client, lines = logged(function() end)
      local function raise()
        times = times + 1
        error("oh no " .. times)
      end
      sync.signal("USR1", raise)
      lines = lines .. table.concat(support.logged(function()
        sync.after(0, raise)
        support.wait(function() return times == 1 end)
        sync.shared("spec loop"):get("key", raise)
        sync.shared("spec loop"):get("key", raise)
        support.wait(function() return times == 3 end)
        os.execute("kill -USR1 $PPID")
        support.wait(function() return times == 4 end)
      end), "\n")
      sync.signal("USR1", nil)
      for i, what in ipairs {"a timer", "an answer of memory", "an answer of memory",
        "a signal's handler"} do
        assert.matches(("error in %s, no client is closed: [^\n]*oh no %d"):format(what, i), lines)
      end
      assert.is_true(client:isOpen())
    end)
  end)

  it("forgets clients that have gone", function()
    local server = support.serve(support.protocol())
    local gone = setmetatable({}, {__mode = "k"})
    for _ = 1, 100 do
      local client = server:connect()
      gone[client.server] = true
      client.server:join("room")
      client:leave()
      client.server = nil
    end
    server.clients = {}
    require "sync.testing".settle()
    collectgarbage()
    collectgarbage()
    assert.is_nil(next(gone))
  end)

  it("gives memory back when a crowd has left", function()
    local server = support.serve(support.protocol())
    collectgarbage()
    local before = collectgarbage("count")
    for i = 1, 5000 do server.clients[i] = server:connect() end
    collectgarbage()
    local most = collectgarbage("count")
    for i = 1, 5000 do server.clients[i]:leave() end
    server.clients = {}
    local now
    require "spec.support.process".eventually(function()
      return ("memory is given back; KiB before %d, at most %d, now %d")
        :format(before, most, now)
    end, function()
      require "sync.testing".settle()
      now = collectgarbage("count")
      return now < before + (most - before) / 4
    end, 10)
  end)

  it("looks names up without blocking", function()
    local found, problem
    sync.resolve("127.0.0.1", function(addresses) found = addresses end)
    sync.resolve("no such host", function(addresses, message)
      assert.is_nil(addresses)
      problem = message
    end)
    sync.start()
    assert.same({"127.0.0.1"}, found)
    assert.matches("^E[%u_]+: ", problem)
  end)

  it("refuses to look up what is no name", function()
    assert.equal("sync.resolve(host, fn): host must be a string and fn a function",
      support.raised(sync.resolve, 7, print))
    assert.equal("sync.resolve(host, fn): host must be a string and fn a function",
      support.raised(sync.resolve, "localhost"))
  end)
end)
