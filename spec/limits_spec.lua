-- sync.limits: time limits that are seldom reached.

local limits = require "sync.limits"
local support = require "spec.support"

describe("time limits", function()
  local told

  local function one(name)
    return {expire = function() told[#told + 1] = name end}
  end

  before_each(function() told = {} end)

  it("tell those whose time is over, once", function()
    local all = {}
    for i = 1, 5 do
      all[i] = one(i)
      limits.start(all[i], i % 2 == 0 and 0.01 or 600)
    end
    support.wait(function() return #told == 2 end)
    assert.same({2, 4}, told)
    for i = 1, 5 do limits.stop(all[i]) end
    limits.stop(all[2]) -- that has none any more
    limits.start(all[2], 0.01) -- and gets another
    support.wait(function() return #told == 3 end)
    assert.same({2, 4, 2}, told)
  end)

  it("are given anew, and stopped by what others do at theirs", function()
    local first, second, third = one "first", one "second", one "third"
    limits.start(third, 0.01)
    limits.start(third, 600)
    limits.start(first, 0.01)
    limits.start(second, 0.01)
    function first.expire()
      told[#told + 1] = "first"
      limits.stop(second)
      limits.start(first, 0.01) -- again
      function first.expire() told[#told + 1] = "first" end
    end
    support.wait(function() return #told == 2 end)
    assert.same({"first", "first"}, told)
    limits.stop(third)
  end)
end)
