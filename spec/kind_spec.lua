local support = require "spec.support"
local sync = require "sync"

local WEBSOCKET = {transports = {"websocket"}}

-- A class whose `onData` is this function, and its clients.
local function connect(onData, count, fields)
  local class = support.protocol(fields)
  class.onData = onData
  return class, support.connect(class, count or 1, WEBSOCKET)
end

local function messages(client)
  local list = {}
  for data, kind in function() return client:message() end do
    list[#list + 1] = kind .. " " .. data
  end
  return list
end

describe("a message's kind", function()
  after_each(support.cleanUp)

  it("is told to onData, and answered in kind, however many come at once", function()
    local told = {}
    local _, client = connect(function(self, data, kind)
      told[#told + 1] = kind .. " " .. data
      self:send(data)
    end)
    local sent, wanted = {}, {}
    for i = 1, 100 do
      local kind = (i % 3 == 0 or i % 7 == 0) and "binary" or "text"
      sent[i], wanted[i] = {tostring(i), kind}, kind .. " " .. i
    end
    client:sendTogether(sent)
    assert.same(wanted, told)
    assert.same(wanted, messages(client))
  end)

  it("is nil of a byte stream, which takes any", function()
    local class = support.protocol {framing = "line"}
    local told = {}
    function class:onData(data, kind)
      told[#told + 1] = kind == nil
      self:send(data, "binary")
      self.clients:send(data, "text")
    end
    local client = support.connect(class)
    client:send("a\n")
    assert.same({true}, told)
    assert.equal("a\na\n", client:received())
  end)

  it("is asked for by send, of a client, a set and a view", function()
    local class, one, two = connect(function(self)
      self:send("own", "binary")
      self.clients:send("all", "binary")
      self.clients:except(self):send("others", "text")
      self.clients:filter(function(client) return client == self end):send("some", "binary")
      self:send("by default")
    end, 2)
    assert.is_truthy(class)
    two:send("x", "binary") -- its own is binary now
    messages(one)
    messages(two)
    one:send("x")
    assert.same({"binary own", "binary all", "binary some", "text by default"}, messages(one))
    assert.same({"binary all", "text others"}, messages(two))
  end)

  it("is that of what was handled last where nothing of the client's is handled", function()
    local class, one, two = connect(function(self) self.clients:send("event") end, 2)
    assert.is_truthy(class)
    one:send("x", "binary")
    assert.same({"binary event"}, messages(one))
    assert.same({"text event"}, messages(two))
    two:send("x")
    assert.same({"binary event"}, messages(one))
  end)

  it("is text or binary, or an error", function()
    local class, client = connect(function() end)
    assert.is_truthy(class)
    local peer = client.server
    assert.matches('send%(data, kind%): kind must be "text" or "binary", not "txt"',
      support.raised(peer.send, peer, "a", "txt"))
    assert.matches("not number", support.raised(peer.clients.send, peer.clients, "a", 1))
  end)
end)

describe("sync.Remote with onBinary", function()
  after_each(support.cleanUp)

  local PING = '{"jsonrpc":"2.0","id":1,"method":"hello"}'

  local function remote(onBinary, fields)
    local class = support.protocol(fields, sync.Remote)
    class.onBinary = onBinary
    function class.remote:hello()
      self.clients:fire("greet")
      return "hi"
    end
    return class, support.connect(class, 1, WEBSOCKET)
  end

  it("takes blobs beside calls, whose JSON stays text", function()
    local _, client = remote(function(self, data)
      self:send(data .. "!")
      self:fire("got", #data)
      self.clients:fire("all")
    end)
    client:sendTogether {{PING}, {"\1\0\2", "binary"}, {PING}}
    local kinds = {}
    for _, message in ipairs(messages(client)) do
      kinds[#kinds + 1] = message:match("^%a+ \1%z\2!$") or message:match('^%a+')
    end
    assert.same({"text", "text", "binary \1\0\2!", "text", "text", "text", "text"}, kinds)
  end)

  it("is sent its session and what it has missed as text, too", function()
    local _, client = remote(function(self) self:fire("got") end, {resumeTime = 10})
    assert.matches('^text .*sync.session', messages(client)[1])
    client:send("x", "binary")
    assert.matches('^text .*"got"', messages(client)[1])
  end)

  it("answers calls in binary as they come where the class has it not", function()
    local _, client = remote(nil)
    client:send(PING .. "\0", "binary") -- a byte stream, by the class's framing
    local list = messages(client)
    assert.matches('^binary .*greet', list[1])
    assert.matches('^binary .*"hi"', list[2])
  end)
end)
