-- Names of database servers, looked up by the loop.

local address = require "sync.sql.address"
local loop = require "sync.loop"
local support = require "spec.support"
local sync = require "sync"

local function count()
  local number = 0
  for _ in pairs(loop.lookups) do number = number + 1 end
  return number
end

describe("the address of a database's server", function()
  it("is looked up once for all who wait for it", function()
    local found, before = {}, count()
    for i = 1, 5 do sync.spawn(function() found[i] = address.of("localhost", 20) end) end
    assert.equal(before + 1, count())
    support.wait(function() return #found == 5 end)
    for i = 1, 5 do assert.matches("^[%d.:]+$", found[i]) end
    assert.equal(before, count())
  end)

  it("is waited for as long as may be, and no longer", function()
    local ok, problem
    local before = loop.lookups
    -- Nobody is told of the answer.
    loop.lookups = setmetatable({}, {__newindex = function(_, id) before[id] = function() end end})
    sync.spawn(function() ok, problem = address.of("localhost.", 0.05) end)
    loop.lookups = before
    support.wait(function() return problem end)
    assert.is_nil(ok)
    assert.matches("have not answered in 0.05 s", problem)
  end)
end)
