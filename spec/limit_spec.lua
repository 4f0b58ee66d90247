local limit = require "sync.limit"
local support = require "spec.support"
local sync = require "sync"

describe("limit", function()
  after_each(support.cleanUp)

  it("is a size, or off", function()
    assert.equal(512 * 2 ^ 20, limit.parse "512M")
    assert.equal(2 ^ 31, limit.parse "2g")
    assert.equal(2 ^ 24, limit.parse "16384K")
    assert.equal(20000000, limit.parse "20000000")
    assert.is_false(limit.parse "off")
    for _, text in ipairs {"", "15M", "M", "1.5G", "-1G", "512MB", "99999999999G"} do
      local bytes, problem = limit.parse(text)
      assert.is_nil(bytes)
      assert.matches("^%-%-memory takes a size from 16M on, as in 512M or 2G, or off, not ",
        problem)
    end
  end)

  describe("weighs clients by", function()
    local a, b, c

    before_each(function()
      a, b, c = support.connect(support.protocol {framing = "line", maxMessage = 2 ^ 20}, 3)
      a, b, c = a.server, b.server, c.server
    end)

    local function weights()
      local list, found = limit.heaviest()
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
