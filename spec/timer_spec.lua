local Process = require "spec.support.process"
local support = require "spec.support"
local sync = require "sync"
local testing = require "sync.testing"

-- Runs until `done()` is true.
local function runUntil(done)
  Process.eventually("the timers fire", function()
    testing.settle()
    return done()
  end)
end

describe("timer", function()
  after_each(support.cleanUp)

  it("after fires once, not before its time", function()
    local begin, fired = sync.now(), 0
    local took
    local timer = sync.after(0.03, function()
      fired, took = fired + 1, sync.now() - begin
    end)
    assert.is_true(timer:isRunning())
    sync.start()
    assert.equal(1, fired)
    assert.is_true(took >= 0.029)
    assert.is_false(timer:isRunning())
  end)

  it("after 0 fires in a later tick", function()
    local order = {}
    sync.after(0, function() order[#order + 1] = "fired" end)
    order[#order + 1] = "set"
    sync.start()
    assert.same({"set", "fired"}, order)
  end)

  it("after fires in the order of the times", function()
    local order = {}
    for _, ms in ipairs {30, 10, 20} do
      sync.after(ms / 1000, function() order[#order + 1] = ms end)
    end
    sync.start()
    assert.same({10, 20, 30}, order)
  end)

  it("every keeps an exact average rate", function()
    -- 2.5 ms cannot be had of a clock of whole milliseconds. A busy machine misses some, which are
    -- left out; another process may run between two looks at the clock, so there are a few tries.
    local INTERVAL = 0.0025
    local off
    for _ = 1, 10 do
      local begin, count, due = sync.now(), 0, INTERVAL
      local timer
      timer = sync.every(INTERVAL, function(late)
        count = count + 1
        off = math.abs(sync.now() - late - begin - due)
        due = due + INTERVAL * (1 + math.floor(late / INTERVAL))
        if count == 200 then timer:stop() end
      end)
      sync.start()
      if off < 0.001 then break end
    end
    assert.is_true(off < 0.001, "the last of 200 was off by " .. off)
  end)

  it("every leaves out what it missed, and says how late it is", function()
    local calls, latest = 0, 0
    local timer
    timer = sync.every(0.01, function(late)
      calls = calls + 1
      latest = math.max(latest, late)
      if calls == 1 then
        local begin = sync.now()
        while sync.now() - begin < 0.1 do end -- a handler that takes 10 intervals
      elseif calls == 3 then
        timer:stop()
      end
    end)
    local begin = sync.now()
    sync.start()
    assert.is_true(sync.now() - begin >= 0.1)
    assert.equal(3, calls)
    assert.is_true(latest > 0.05 and latest < Process.BOUND)
  end)

  it("may be stopped before it fires, twice, and in its own function", function()
    local fired = 0
    local function count() fired = fired + 1 end
    local once, often = sync.after(0.001, count), sync.every(0.001, count)
    once:stop()
    once:stop()
    often:stop()
    assert.is_false(often:isRunning())
    local self
    self = sync.every(0.001, function()
      count()
      self:stop()
      self:stop()
    end)
    local late
    late = sync.after(0.02, function() late:stop() end)
    sync.start()
    assert.equal(1, fired)
  end)

  it("may be stopped by another timer that fires in the same tick", function()
    local fired = {}
    local a, b
    a = sync.after(0.001, function() fired[#fired + 1] = "a" b:stop() end)
    b = sync.after(0.001, function() fired[#fired + 1] = "b" a:stop() end)
    local begin = sync.now()
    while sync.now() - begin < 0.005 do end
    sync.start()
    assert.equal(1, #fired)
  end)

  it("does not fire in the name of one that was stopped", function()
    local fired = {}
    for i = 1, 20 do
      local first, second
      first = sync.after(0.001, function() second:stop() end)
      second = sync.after(0.001, function() first:stop() end)
      sync.after(0.002, function()
        sync.after(0.01, function() fired[#fired + 1] = i end)
      end)
    end
    sync.start()
    assert.equal(20, #fired)
  end)

  it("may be started in a timer's function", function()
    local depth = 0
    local function deeper()
      depth = depth + 1
      if depth < 5 then sync.after(0.001, deeper) end
    end
    sync.after(0.001, deeper)
    sync.start()
    assert.equal(5, depth)
  end)

  it("whose function raises an error fires on, and costs nobody anything", function()
    local client = support.connect(support.protocol())
    local calls = 0
    local timer = sync.every(0.002, function()
      calls = calls + 1
      error("in a timer")
    end)
    local lines = support.logged(function()
      runUntil(function() return calls >= 3 end)
    end)
    timer:stop()
    assert.is_true(client:isOpen())
    assert.matches("ERROR error in a timer, no client is closed: .*timer_spec.lua:%d+: in a timer",
      lines[1])
  end)

  it("can push to clients", function()
    local class = support.protocol {framing = "line"}
    local client = support.connect(class)
    local timer = sync.every(0.005, function() class.clients:send("tick") end)
    local got = ""
    runUntil(function()
      got = got .. client:received()
      return got:find("tick\ntick\n", 1, true)
    end)
    timer:stop()
  end)

  it("by the thousand all fire", function()
    local fired = 0
    for i = 1, 3000 do
      sync.after(i / 100000, function() fired = fired + 1 end)
    end
    sync.start()
    assert.equal(3000, fired)
  end)

  it("refuses what is not a time or a function, blaming the caller", function()
    for _, call in ipairs {"after", "every"} do
      for _, seconds in ipairs {-1, "1", 0 / 0, math.huge} do
        local ok, message = pcall(function() sync[call](seconds, print) end)
        assert.is_false(ok)
        assert.matches("^spec/timer_spec.lua:%d+: sync." .. call ..
          "%(seconds, fn%): seconds must be a number from 0, not ", message)
      end
      assert.equal(("sync.%s(seconds, fn): fn must be a function, not nil"):format(call),
        support.raised(function() sync[call](1) end))
    end
    assert.equal("sync.every(seconds, fn): seconds must be at least 0.001",
      support.raised(function() sync.every(0, print) end))
  end)
end)
