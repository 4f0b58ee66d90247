local Echo = require "sync.protocols.echo"
local support = require "spec.support"

describe("protocols.echo", function()
  after_each(support.cleanUp)

  it("sends what one client sends to all", function()
    support.bothWays(function(feed, how)
      local class = support.protocol(nil, Echo)
      local a, b, c = support.connect(class, 3)
      feed(a, "hello\0\255")
      for _, client in ipairs {a, b, c} do
        assert.equal("hello\0\255", client:received(), how)
      end
    end)
  end)

  it("is one server on all its ports", function()
    local class = support.protocol(nil, Echo)
    local a, b, c = support.connect(class), support.connect(class), support.connect(class)
    b:send("hello")
    assert.equal("hello", a:received())
    assert.equal("hello", b:received())
    assert.equal("hello", c:received())
  end)

  it("takes a framing", function()
    support.bothWays(function(feed)
      local a, b = support.connect(support.protocol({framing = "null"}, Echo), 2)
      feed(a, "one\0two\0thr")
      assert.equal("one\0two\0", b:received())
      feed(a, "ee\0")
      assert.equal("three\0", b:received())
    end)
  end)

  it("goes on when clients leave", function()
    local a, b = support.connect(support.protocol(nil, Echo), 2)
    b:leave()
    a:send("still here")
    assert.equal("still here", a:received())
  end)
end)
