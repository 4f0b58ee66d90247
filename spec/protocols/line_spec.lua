local Line = require "sync.protocols.line"
local support = require "spec.support"

local function shouting()
  return support.protocol({onData = function(self, line) self:send(line:upper()) end}, Line)
end

describe("protocols.line", function()
  after_each(support.cleanUp)

  it("gives lines without their ends, and ends what is sent", function()
    support.bothWays(function(feed, how)
      local client = support.connect(shouting())
      feed(client, "one\ntwo\r\n\nthree")
      assert.equal("ONE\nTWO\n\n", client:received(), how)
      feed(client, "\n")
      assert.equal("THREE\n", client:received(), how)
    end)
  end)

  it("closes a client whose line is longer than 4096 bytes", function()
    support.bothWays(function(feed, how)
      local client = support.connect(shouting())
      feed(client, ("x"):rep(4096) .. "\n")
      assert.equal(("X"):rep(4096) .. "\n", client:received(), how)
      feed(client, ("x"):rep(4097) .. "\n")
      assert.is_false(client:isOpen(), how)
    end)
  end)

  it("closes one that never ends its line, before it takes memory", function()
    local client = support.connect(shouting())
    client:send(("x"):rep(10000))
    assert.is_false(client:isOpen())
  end)
end)
