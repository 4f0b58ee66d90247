local timestamp = require "sync.timestamp"

describe("a timestamp", function()
  it("reads and writes times", function()
    math.randomseed(5)
    for _ = 1, 2000 do
      local seconds = math.random(-2 ^ 33, 2 ^ 34) + math.random(0, 999) / 1000
      assert.is_true(math.abs(timestamp.read(timestamp.write(seconds)) - seconds) < 1e-5)
    end
    assert.equal("2026-11-29 21:47:01.500000", timestamp.write(1795988821.5))
    assert.equal(951782400, timestamp.read("2000-02-29 00:00:00"))
    assert.equal(951782400, timestamp.read("2000-02-29 05:30:00+05:30"))
    assert.equal(951782400, timestamp.read("2000-02-28T16:00:00-08"))
    assert.equal(1780000000.5, timestamp.read("2026-05-28T20:26:40.500000000Z"))
    assert.equal("infinity", timestamp.read("infinity"))
  end)
end)
