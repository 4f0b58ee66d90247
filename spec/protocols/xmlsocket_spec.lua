local XMLSocket = require "sync.protocols.xmlsocket"
local support = require "spec.support"

local function game()
  return support.protocol({
    onData = function(self, xml) self.clients:send(xml) end,
  }, XMLSocket)
end

describe("protocols.xmlsocket", function()
  after_each(support.cleanUp)

  it("cuts at NUL, and ends what is sent with NUL", function()
    support.bothWays(function(feed, how)
      local a, b = support.connect(game(), 2)
      feed(a, '<m t="1"/>\0<m\n t="2"/>\0\0half')
      assert.equal('<m t="1"/>\0<m\n t="2"/>\0\0', a:received(), how)
      assert.equal('<m t="1"/>\0<m\n t="2"/>\0\0', b:received(), how)
    end)
  end)

  it("drops a half message of a client that leaves", function()
    local a, b = support.connect(game(), 2)
    a:send("whole\0half")
    a:leave()
    assert.equal("whole\0", b:received())
  end)
end)
