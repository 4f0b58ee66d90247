-- sync.work: functions on threads.

local Process = require "spec.support.process"
local Program = require "spec.support.program"
local support = require "spec.support"
local sync = require "sync"

-- What sync.work returns; its failures are raised.
local function work(...)
  local given, results = {n = select("#", ...), ...}, nil
  sync.spawn(function()
    results = {pcall(function() return sync.work(unpack(given, 1, given.n)) end)}
  end)
  support.wait(function() return results end, Process.BOUND)
  if not results[1] then error(results[2], 0) end
  return unpack(results, 2, table.maxn(results))
end

local function failure(...)
  local ok, problem = pcall(work, ...)
  assert.is_false(ok)
  return problem
end

local function endless() while true do end end

describe("sync.work", function()
  local timeout = sync.work.timeout

  after_each(function()
    sync.work.timeout, sync.work.maxResult = timeout, 2 ^ 20
    Process.cleanUp()
  end)

  it("gives a function plain values and returns plain values", function()
    local function echo(...) return select("#", ...), ... end
    local value = {1, 2.5, "\0é\255", {a = {b = true}}, [-3] = false, [0.5] = "half"}
    assert.same({5, value, nil, "x", nil, nil}, {work(echo, value, nil, "x", nil, nil)})
    assert.equal(0, (work(echo)))
    assert.equal(2LL ^ 62, select(2, work(echo, 2LL ^ 62)))
    assert.same({}, {work(function() end)})
    local text = ("x"):rep(1000000)
    assert.equal(text, select(2, work(echo, text)))
  end)

  it("has the functions that its page names, and nothing of the system", function()
    local present, absent = work(function()
      local present = {assert, bit, coroutine, error, getmetatable, ipairs, math, next, pairs,
        pcall, rawequal, rawget, rawset, select, setmetatable, string, table, tonumber, tostring,
        type, unpack, xpcall}
      local absent = {collectgarbage or 0, debug or 0, dofile or 0, getfenv or 0, io or 0, jit or 0,
        load or 0, loadfile or 0, loadstring or 0, os or 0, package or 0, print or 0, require or 0,
        setfenv or 0, string.dump or 0, newproxy or 0, _G or 0}
      local strange = 0
      for _, value in ipairs(absent) do strange = strange + (value == 0 and 0 or 1) end
      return #present, strange
    end)
    assert.same({22, 0}, {present, absent})
  end)

  it("is compiled there", function()
    local function sum(count)
      local total = 0
      for i = 1, count do total = (total + i * i) % 1000003 end
      return total
    end
    assert.equal(sum(20000000), work(sum, 20000000))
  end)

  it("refuses what a thread can't be given", function()
    local outside = {}
    local function uses() return outside end
    assert.matches("work_spec.lua:%d+, uses outside of outside itself", support.raised(work, uses))
    assert.matches("is a function of C", support.raised(work, math.sin))
    assert.matches("fn must be a function", support.raised(work, "x"))
    local cycle = {}
    cycle.cycle = cycle
    for pattern, value in pairs {
      ["argument 1.*a function"] = {{print}}, ["a thread"] = coroutine.create(print),
      ["in itself"] = cycle, ["with a metatable"] = setmetatable({}, {}),
    } do
      assert.matches(pattern, support.raised(work, function() end, value))
    end
    assert.matches("inside sync.spawn", support.raised(function() sync.work(endless) end))
  end)

  it("brings errors back, with their traceback", function()
    local problem = failure(function(x)
      local function inner() return x.y.z end
      return inner() .. ""
    end, {})
    assert.equal("error", problem.code)
    assert.matches("work_spec.lua:%d+: attempt to index field 'y'", problem.message)
    assert.matches("work_spec.lua:%d+: in function 'inner'", problem.traceback)
    assert.is_nil(problem.traceback:find "thread.lua")
    assert.matches("can't set the global _G", failure(function() _G = 1 end).message)
    assert.matches("result can't be taken along", failure(function() return error end).message)
    assert.equal("nil", failure(function() error() end).message)
  end)

  it("ends what takes too long, whatever it does, and goes on", function()
    sync.work.timeout = 0.2
    for what, fn in pairs {
      ["a compiled loop"] = endless,
      ["a loop that catches errors"] = function()
        local function raise() error "again" end
        while true do pcall(raise) end
      end,
      ["a pattern"] = function() return ("a"):rep(50):find(("a-"):rep(40) .. "b") end,
      ["a recursion"] = function()
        local function fib(n) return n < 2 and n or fib(n - 1) + fib(n - 2) end
        return fib(80)
      end,
      ["one that makes tables"] = function() while true do local _ = {{}, {}} end end,
      ["one that makes strings"] = function()
        local i = 0
        while true do
          i = i + 1
          local _ = tostring(i):rep(20)
        end
      end,
      ["coroutines"] = function()
        while true do coroutine.wrap(function() coroutine.yield() end)() end
      end,
      ["sorting"] = function()
        local list = {}
        while true do
          for i = 1, 1000 do list[i] = i * 7919 % 1009 end
          table.sort(list, function(a, b) return a < b end)
        end
      end,
    } do
      assert.equal("timeout", failure(fn).code, what)
      assert.equal(3, work(function(a) return a + 1 end, 2), what)
    end
  end)

  it("leaves nothing behind when it ends a call", function()
    sync.work.timeout = 0.02
    local function many(count)
      for _ = 1, count do assert.equal("timeout", failure(endless).code) end
      return tonumber(io.open("/proc/self/statm"):read("*a"):match "%d+ (%d+)")
    end
    local before = many(20)
    local more = (many(150) - before) * 4 -- KiB
    assert.is_true(more < Program.bound(16 * 1024), more .. " KiB more")
  end)

  it("keeps its other bounds", function()
    assert.equal("memory", failure(function()
      local text = "x"
      while true do text = text .. text end
    end).code)
    sync.work.maxResult = 100
    assert.equal("too large", failure(function() return ("x"):rep(101) end).code)
    assert.equal("x", work(function() return "x" end))
    sync.work.timeout = 3
    local codes, left = {}, 64 + sync.work.threads + 2
    for _ = 1, 64 + sync.work.threads + 2 do
      sync.spawn(function()
        local _, problem = pcall(sync.work, endless)
        left = left - 1
        codes[problem.code] = (codes[problem.code] or 0) + 1
      end)
    end
    support.wait(function() return left == 0 end, Process.BOUND)
    assert.is_true(codes.busy >= 2, codes.busy)
    assert.equal(64 + sync.work.threads + 2, codes.busy + codes.timeout)
  end)

  it("ends a function whose caller is cancelled", function()
    sync.work.timeout = 1000
    local tasks = {}
    for i = 1, sync.work.threads + 2 do
      tasks[i] = sync.spawn(function() sync.work(endless) end)
    end
    for _, each in ipairs(tasks) do each:cancel() end
    assert.equal("free", work(function() return "free" end))
  end)

  it("doesn't hold up the loop, nor the end of the program", function()
    local code, output = Program.runCode [[
      local sync = require "sync"
      sync.work.timeout = 1000
      for _ = 1, sync.work.threads + 3 do
        sync.spawn(function() sync.work(function() while true do end end) end)
      end
      local ticks = 0
      sync.every(0.01, function()
        ticks = ticks + 1
        if ticks == 30 then sync.stop() end
      end)
      sync.start()
      print "ended"
    ]]
    assert.equal("ended\n", output)
    assert.equal(0, code)
  end)
end)
