local loop = require "sync.loop"
local support = require "spec.support"
local sync = require "sync"

describe("loop", function()
  after_each(support.cleanUp)

  it("handles one batch a step and says how many events there were", function()
    local server = support.serve(support.protocol {framing = "line"})
    assert.equal(0, loop.step())
    local client = server:connect()
    require "sync.core".C.sync_memory_feed(require "sync.core".handle, client.slot, "a\nb\n", 4)
    assert.equal(2, loop.step())
    assert.equal(0, loop.step())
  end)

  it("counts clients", function()
    local before = loop.count
    local a = support.connect(support.protocol(), 2)
    assert.equal(before + 2, loop.count)
    a:leave()
    assert.equal(before + 1, loop.count)
  end)

  it("goes on with the batch after an error, once for each event", function()
    local class = support.protocol {framing = "line"}
    local seen = {}
    function class.onData(_, data)
      seen[#seen + 1] = data
      if data:find("bad") then error(data) end
    end
    local server = support.serve(class)
    local clients = {}
    local core = require "sync.core"
    for i = 1, 4 do clients[i] = server:connect() end
    for i, data in ipairs {"one\n", "bad\nlost\n", "bad too\nlost\n", "two\n"} do
      core.C.sync_memory_feed(core.handle, clients[i].slot, data, #data)
    end
    require "sync.testing".settle()
    assert.same({"one", "bad", "bad too", "two"}, seen)
  end)

  it("forgets clients that have gone", function()
    local server = support.serve(support.protocol())
    local gone = setmetatable({}, {__mode = "k"})
    for _ = 1, 100 do
      local client = server:connect()
      gone[client.server] = true
      client.server:join("room")
      client:leave()
      client.server = nil
    end
    server.clients = {}
    require "sync.testing".settle()
    collectgarbage()
    collectgarbage()
    assert.is_nil(next(gone))
  end)

  it("gives memory back when a crowd has left", function()
    local server = support.serve(support.protocol())
    collectgarbage()
    local before = collectgarbage("count")
    for i = 1, 5000 do server.clients[i] = server:connect() end
    collectgarbage()
    local most = collectgarbage("count")
    for i = 1, 5000 do server.clients[i]:leave() end
    server.clients = {}
    local now
    require "spec.support.process".eventually(function()
      return ("memory is given back; KiB before %d, at most %d, now %d")
        :format(before, most, now)
    end, function()
      require "sync.testing".settle()
      now = collectgarbage("count")
      return now < before + (most - before) / 4
    end, 10)
  end)

  it("looks names up without blocking", function()
    local found, problem
    sync.resolve("127.0.0.1", function(addresses) found = addresses end)
    sync.resolve("no such host", function(addresses, message)
      assert.is_nil(addresses)
      problem = message
    end)
    sync.start()
    assert.same({"127.0.0.1"}, found)
    assert.matches("^E[%u_]+: ", problem)
  end)

  it("refuses to look up what is no name", function()
    assert.equal("sync.resolve(host, fn): host must be a string and fn a function",
      support.raised(sync.resolve, 7, print))
    assert.equal("sync.resolve(host, fn): host must be a string and fn a function",
      support.raised(sync.resolve, "localhost"))
  end)
end)
