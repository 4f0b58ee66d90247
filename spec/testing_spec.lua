local support = require "spec.support"
local testing = require "sync.testing"

local function echo(fields)
  local class = support.protocol(fields)
  function class:onData(data) self:send(data) end
  return class
end

describe("testing", function()
  after_each(support.cleanUp)

  it("carries bytes to the protocol and back", function()
    local client = support.connect(echo())
    client:send("hello")
    assert.equal("hello", client:received())
    assert.equal("", client:received())
  end)

  it("frames what the server sends, and cuts what it gets", function()
    local client = support.connect(echo {framing = "line"})
    client:sendSlowly("a\nb\n")
    assert.equal("a\nb\n", client:received())
  end)

  it("carries messages of many megabytes", function()
    local size = 5 * 1024 * 1024
    local client = support.connect(echo {framing = "length32", maxMessage = size,
      maxQueue = 2 * size})
    local bytes = "\0\80\0\0" .. ("x"):rep(size)
    client:send(bytes)
    assert.is_true(bytes == client:received())
  end)

  it("carries a hundred thousand messages that are sent as one", function()
    local class = support.protocol {framing = "line"}
    local count = 0
    function class.onData() count = count + 1 end
    local client = support.connect(class)
    client:send(("x\n"):rep(100000))
    assert.equal(100000, count)
  end)

  it("takes a listener's options", function()
    local client = support.connect(echo(), 1, {framing = "null"})
    client:send("a\0b\0")
    assert.equal("a\0b\0", client:received())
    assert.matches("testing.serve: unknown option frameing: did you mean framing%?",
      support.raised(testing.serve, echo(), {frameing = "null"}))
  end)

  it("shows the server's side of a client", function()
    local class = echo()
    local client = support.connect(class)
    assert.is_true(client.server:is(class))
    client.server:close()
    testing.settle()
    assert.is_false(client:isOpen())
  end)

  it("is a client that never reads when received is not called", function()
    local client = support.connect(echo {maxQueue = 4096})
    for _ = 1, 10 do client:send(("x"):rep(1000)) end
    assert.is_false(client:isOpen())
    assert.equal("", client:received())
  end)

  it("does nothing with a client that has gone", function()
    local client = support.connect(echo())
    client:leave()
    client:leave()
    client:send("x")
    client:sendSlowly("xyz")
    assert.equal("", client:received())
    assert.is_false(client:isOpen())
  end)

  it("closes all clients with the server", function()
    local class = echo()
    local server = testing.serve(class)
    local a, b = server:connect(), server:connect()
    server:close()
    assert.is_false(a:isOpen() or b:isOpen())
    assert.equal(0, class.clients:count())
  end)

  it("says that a handler cannot wait for its own loop", function()
    local client
    local message
    client = support.connect(support.protocol {onData = function()
      message = support.raised(testing.settle)
    end})
    client:send("x")
    assert.matches("the loop is running already", message)
  end)

  it("does not go on for ever when the server never rests", function()
    local class = support.protocol()
    local server = testing.serve(class)
    local on = true
    function class.onClose() if on then server:connect() end end
    assert.is_false(pcall(function()
      local client = server:connect()
      client:leave()
      error("rests")
    end))
    on = false
    server:close()
  end)
end)
