local failure = require "sync.failure"
local log = require "sync.log"
local support = require "spec.support"
local sync = require "sync"

-- What is logged when a client of a class with this handler sends a message.
local function logged(onData, base)
  local class = support.protocol({onData = onData}, base)
  local client = support.connect(class)
  return table.concat(support.logged(function() client:send("hello\n") end), "\n")
end

describe("the error of a handler", function()
  after_each(support.cleanUp)

  it("has the script's lines first, and no others", function()
    local line = debug.getinfo(1, "l").currentline
    local text = logged(function(self) self:join({}) end)
    assert.matches(("stack traceback:\n%%s+spec/failure_spec.lua:%d: in function"):format(line + 1),
      text)
    assert.is_nil(text:find("lua/sync/loop.lua:", 1, true), text)
    assert.matches("%(%d+ more, not the script's; %-%-log=debug shows them%)", text)
  end)

  it("has its words on a line of their own, wherever it is raised", function()
    local _, text = xpcall(function() error "oh no" end, failure.trace)
    assert.matches("^[^\n]+: oh no\nstack traceback:\n[^\n]*failure_spec", text)
  end)

  it("has all lines where the log is to tell all", function()
    local level = log.level
    log.level = "debug"
    local text = logged(function() error("oh no") end)
    log.level = level
    assert.matches("lua/sync/loop.lua:%d+: in", text)
  end)

  it("leaves a traceback that is ours alone", function()
    local all = "stack traceback:\n\t[C]: in function 'error'\n\tlua/sync/loop.lua:5: in main chunk"
    assert.equal(all, failure.fold(all))
  end)

  it("says what to do where a handler yields", function()
    assert.matches("what waits belongs into sync.spawn(function() … end)",
      logged(function() coroutine.yield() end), 1, true)
  end)

  it("says that a field hides a method", function()
    assert.matches("the client's field room hides the method of that name", logged(function(self)
      rawset(self, "room", 100)
      self:room("lobby")
    end), 1, true)
    assert.is_nil(logged(function(self) self:noSuchMethod() end):find("hides", 1, true))
  end)

  it("names the colon that is missing", function()
    for call, fn in pairs {
      ["send(data)"] = function(self) self.send("x") end,
      ["close(reason)"] = function(self) self.close("x") end,
      ["abort()"] = function(self) self.abort() end,
      ["join(name)"] = function(self) self.join("x") end,
      ["leave(name)"] = function(self) self.leave("x") end,
      ["isIn(name)"] = function(self) self.isIn("x") end,
      ["room(name)"] = function(self) self.room("x") end,
    } do
      local text = logged(fn)
      local name = call:match("^%w+")
      assert.matches(("failure_spec.lua:%%d+: %s: it was called with a dot, as client.%s(…); " ..
        "a method needs a colon: client:%s(…)"):format(call, name, name):gsub("[()]", "%%%0"), text)
    end
    assert.matches("set:send(…)", logged(function(self) self.clients.send("x") end), 1, true)
    local class = support.protocol({}, sync.Remote)
    local client = support.connect(class).server
    for name, fn in pairs {fire = client.fire, call = client.call, join = client.join} do
      assert.matches("client:" .. name .. "(…)", support.raised(fn, "x"), 1, true)
    end
  end)

  it("names the framing whose end did not come in time", function()
    local client = support.connect(support.protocol {framing = "line", handshakeTimeout = 0.05})
    local lines = support.logged(function()
      client:send("no end")
      support.wait(function() return not client:isOpen() end)
    end)
    assert.matches('did not complete a message in time, it was closed; by framing = "line" a ' ..
      "message ends with a line feed", lines[1], 1, true)
  end)
end)
