local origins = require "sync.http.origins"

local function allow(...) return origins.allow(...) end

describe("origins", function()
  it("let programs in, which say none", function()
    assert.is_true(allow(false, nil, "game.example"))
    assert.is_true(allow({"https://other.example"}, nil, "game.example"))
  end)

  it("let pages of the same host and port in", function()
    assert.is_true(allow(false, "http://game.example", "game.example"))
    assert.is_true(allow(false, "http://GAME.example:80", "game.example"))
    assert.is_true(allow(false, "https://game.example", "game.example"))
    assert.is_true(allow(false, "https://game.example:443", "Game.Example"))
    assert.is_true(allow(false, "http://localhost:8080", "localhost:8080"))
    assert.is_true(allow(false, "http://[::1]:8080", "[::1]:8080"))
    for _, origin in ipairs {"http://game.example:8080", "http://other.example",
      "http://game.example.evil.example", "http://evilgame.example", "null", "", "game.example",
      "http://game.example@evil.example", "http://user@game.example", "http://game.example/x",
      "file://", "http://"} do
      assert.is_false(allow(false, origin, "game.example"), origin)
    end
    assert.is_false(allow(false, "http://game.example", nil))
  end)

  it("let those of the list in", function()
    local list = {"https://game.example", "https://*.play.example", "http://dev.example:3000"}
    for _, origin in ipairs {"https://game.example", "https://game.example:443",
      "https://a.play.example", "https://a.b.play.example", "http://dev.example:3000"} do
      assert.is_true(allow(list, origin, "server.example"), origin)
    end
    for _, origin in ipairs {"http://game.example", "https://game.example:444",
      "https://play.example", "https://aplay.example", "https://.play.example",
      "https://a.play.example.evil.example", "http://dev.example", "null"} do
      assert.is_false(allow(list, origin, "server.example"), origin)
    end
    assert.is_true(allow("*", "null", "server.example"))
    assert.is_true(allow({"*"}, "http://any.example", "server.example"))
    assert.is_true(allow({"null"}, "null", "server.example"))
    assert.is_true(allow({"file://"}, "file://", "server.example"))
    assert.is_false(allow({"file://"}, "null", "server.example"))
  end)

  it("are exactly those of a list, not the server's own host as well", function()
    assert.is_false(allow({"https://game.example"}, "http://server.example", "server.example"))
    assert.is_false(allow({}, "http://server.example", "server.example"))
  end)

  it("are none that an answer's header could not say", function()
    assert.is_false(allow("*", "http://a.example\tb", "server.example"))
    assert.is_false(allow({"*"}, "http://a.example\tb", "server.example"))
  end)

  it("are a list of origins, or say what is wrong", function()
    for _, fine in ipairs {false, "*", {"https://a.example"}, {"https://*.a.example", "null"},
      {"file://"}} do
      assert.is_true((origins.check(fine)))
    end
    for _, wrong in ipairs {true, "https://a.example", {"a.example"}, {5}, {"https://a.example/x"},
      {"https://*"}} do
      assert.is_falsy((origins.check(wrong)))
    end
  end)
end)
