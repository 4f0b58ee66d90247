-- sync.spawn and sync.sleep.

local support = require "spec.support"
local sync = require "sync"
local task = require "sync.task"
local testing = require "sync.testing"

-- Lets the loop run until something holds.
local function wait(holds)
  for _ = 1, 500 do
    if holds() then return end
    testing.settle()
    require("socket").sleep(0.005)
  end
  error("it never happened")
end

describe("a function of sync.spawn", function()
  it("runs at once until it waits, and goes on with what came", function()
    local steps, resume = {}, nil
    local spawned = sync.spawn(function(a, b)
      steps[1] = a + b
      steps[2] = {task.await(function(done) resume = done end)}
      steps[3] = {task.await(function(done) done("early", nil) end)}
    end, 1, 2)
    assert.equal(3, steps[1])
    assert.equal("waiting", spawned.status)
    assert.is_nil(steps[2])
    resume(nil, "b")
    assert.same({nil, "b"}, steps[2])
    assert.same({"early"}, steps[3])
    assert.equal("done", spawned.status)
    resume("again") -- harmless
  end)

  it("is told once, and nothing when it's cancelled", function()
    local resumes, got = {}, {}
    local spawned = sync.spawn(function()
      for i = 1, 3 do
        got[i] = task.await(function(done) resumes[i] = done end)
      end
    end)
    resumes[1]("one")
    resumes[1]("wrong")
    resumes[2]("two")
    spawned:cancel()
    resumes[3]("three")
    assert.same({"one", "two"}, got)
    assert.equal("cancelled", spawned.status)
    spawned:cancel() -- harmless
  end)

  it("has its errors logged, with where they were", function()
    local lines = support.logged(function()
      local spawned = sync.spawn(function() error("oh " .. math.random()) end)
      assert.equal("failed", spawned.status)
    end)
    assert.matches("error in a function of sync.spawn: .*oh 0", lines[1])
    assert.matches("task_spec.lua", lines[1])
  end)

  it("sleeps while others run", function()
    local order = {}
    sync.spawn(function()
      order[#order + 1] = "begin"
      sync.sleep(0.02)
      order[#order + 1] = "end"
    end)
    order[#order + 1] = "between"
    wait(function() return #order == 3 end)
    assert.same({"begin", "between", "end"}, order)
  end)

  it("alone may wait, and there are not too many", function()
    assert.matches("inside sync.spawn", support.raised(sync.sleep, 1))
    assert.matches("must be a function", support.raised(sync.spawn, 1))
    assert.is_false(task.isInside())
    local list = {}
    local ok, last -- others of the same process may wait already
    repeat
      ok, last = pcall(sync.spawn, function() task.await(function() end) end)
      if ok then list[#list + 1] = last end
    until not ok or #list > 10000
    assert.matches("10000 functions wait", last)
    for _, spawned in ipairs(list) do spawned:cancel() end
    sync.spawn(function() end)
  end)

  it("calls clients, and gets what they answer", function()
    local Game = support.protocol({framing = "null"}, sync.Remote)
    local result, problem
    function Game:onConnect()
      sync.spawn(function()
        result = self:call("add", 1, 2)
        local _, err = self:call("fail")
        problem = err
      end)
    end
    local client = support.connect(Game)
    testing.settle()
    local id = client:received():match('"id":(%d+)')
    client:send(('{"jsonrpc":"2.0","id":%s,"result":3}'):format(id) .. "\0")
    testing.settle()
    assert.equal(3, result)
    id = client:received():match('"id":(%d+)')
    client:send(('{"jsonrpc":"2.0","id":%s,"error":{"code":7,"message":"no"}}'):format(id) .. "\0")
    testing.settle()
    assert.equal(7, problem.code)
    support.cleanUp()
  end)
end)
