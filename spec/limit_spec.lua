local limit = require "sync.limit"

describe("limit", function()
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
end)
