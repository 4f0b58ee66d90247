local shedding = require "sync.shedding"
local support = require "spec.support"
local sync = require "sync"

describe("shedding", function()
  after_each(support.cleanUp)

  describe("weighs clients by", function()
    local a, b, c

    before_each(function()
      a, b, c = support.connect(support.protocol {framing = "line", maxMessage = 2 ^ 20}, 3)
      a, b, c = a.server, b.server, c.server
    end)

    local function weights()
      local list, found = shedding.heaviest()
      return found, list
    end

    it("what their fields hold, the heaviest first", function()
      a.notes = {{("x"):rep(30000)}, [("y"):rep(30000)] = true}
      b.text = ("z"):rep(200000)
      local found, list = weights()
      assert.is_true(found[a] > 60000 and found[a] < 62000)
      assert.is_true(found[b] > 200000 and found[b] < 202000)
      assert.is_true(found[c] < 2000)
      assert.equal(b, list[1])
      assert.equal(a, list[2])
    end)

    it("what the core holds for them", function()
      a:send(("x"):rep(100000))
      local slot = b.slot
      local core = require "sync.core"
      core.C.sync_memory_feed(core.handle, slot, ("x"):rep(50000), 50000)
      require "sync.testing".settle()
      local found = weights()
      assert.is_true(found[a] > 100000)
      assert.is_true(found[b] > 50000)
    end)

    it("nothing that several of them reach, or that is another client", function()
      local world = {text = ("x"):rep(100000), deeper = {{("y"):rep(100000)}}}
      world.world = world
      a.world, b.place, c.places = world, {world}, {[world] = true}
      a.friend, b.friend = b, a
      b.own = ("z"):rep(50000)
      a:join("room")
      b:join("room")
      local found = weights()
      assert.is_true(found[a] < 3000)
      assert.is_true(found[b] > 50000 and found[b] < 53000)
      assert.is_true(found[c] < 3000)
    end)

    it("the same when they are away", function()
      local client = support.connect(support.protocol({resumeTime = 30}, sync.Remote))
      local server = client.server
      server.text = ("x"):rep(100000)
      client:leave()
      assert.is_true(weights()[server] > 100000)
      server:close()
    end)
  end)
end)
