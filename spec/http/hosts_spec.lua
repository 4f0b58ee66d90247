local hosts = require "sync.http.hosts"
local log = require "sync.log"
local origins = require "sync.http.origins"
local support = require "spec.support"

-- Whether a request from an address may name a host; a refusal is logged.
local function allow(host, address, settings, headers, listensOn)
  settings = settings or {}
  settings.hosts, settings.origins = settings.hosts or false, settings.origins or false
  headers = headers or {}
  headers.host = host
  local listener = {class = support.protocol(), host = listensOn, settings = settings}
  local allowed
  local lines = support.logged(function()
    allowed = hosts.allow(listener, {address = address, headers = headers},
      origins.domains(settings.origins))
  end)
  assert.equal(allowed and 0 or 1, #lines)
  return allowed
end

describe("hosts", function()
  local limited = log.limited
  before_each(function() -- every line, however many
    log.limited = function(level, _, message, fields) log[level](message, fields) end
  end)
  after_each(function() log.limited = limited end)

  it("that strangers can have are refused to this machine and its network", function()
    for _, address in ipairs {"127.0.0.1", "127.8.9.1", "10.1.2.3", "172.16.0.1", "172.31.255.1",
      "192.168.0.2", "169.254.1.1", "::1", "fd00::1", "fc12:3::4", "fe80::1"} do
      for _, host in ipairs {"evil.example", "evil.example:8080", "EVIL.example.",
        "a.localhost.evil.example", "127.0.0.1.evil.example", "1.2.3", "local.example",
        "xlocalhost.com"} do
        assert.is_false(allow(host, address), host .. " " .. address)
      end
      for _, host in ipairs {"localhost", "LOCALHOST:80", "localhost.", "a.localhost", "gamebox",
        "gamebox.local:8080", "game.home.arpa", "127.0.0.1:8080", "192.168.0.1", "[::1]",
        "[::1]:80", ""} do
        assert.is_true(allow(host, address), host)
      end
    end
  end)

  it("are not looked at where strangers reach the server themselves, or a proxy does", function()
    for _, address in ipairs {"192.0.2.1", "172.32.0.1", "172.15.0.1", "11.0.0.1", "2001:db8::1",
      ""} do
      assert.is_true(allow("game.example", address), address)
    end
    for _, header in ipairs {"forwarded", "x-forwarded-for", "x-real-ip", "via"} do
      assert.is_true(allow("game.example", "127.0.0.1", nil, {[header] = "192.0.2.1"}))
    end
    assert.is_true(allow(nil, "127.0.0.1")) -- HTTP/1.0 has none
  end)

  it("are those that the server was given anyway", function()
    assert.is_true(allow("Game.example:80", "127.0.0.1", nil, nil, "game.example"))
    assert.is_true(allow("game.example", "127.0.0.1", {origins = {"https://game.example"}}))
    assert.is_true(allow("a.game.example", "127.0.0.1", {origins = {"https://*.game.example"}}))
    assert.is_false(allow("evil.example", "127.0.0.1", {origins = {"https://game.example"}}))
    assert.is_true(allow("any.example", "127.0.0.1", {origins = "*"}))
  end)

  it("of a list are exactly those, for everybody", function()
    local settings = {hosts = {"Game.example", "*.play.example", "[::1]"}, origins = "*"}
    for _, host in ipairs {"game.example", "GAME.example:81", "a.play.example", "[::1]:80"} do
      assert.is_true(allow(host, "192.0.2.1", settings), host)
    end
    for _, host in ipairs {"localhost", "127.0.0.1", "play.example", "xgame.example", "gamebox"} do
      assert.is_false(allow(host, "192.0.2.1", settings), host)
      assert.is_false(allow(host, "127.0.0.1", settings, {via = "a"}), host)
    end
  end)

  it("are shown short in the log, and without controls", function()
    local lines = support.logged(function()
      hosts.allow({class = support.protocol(), settings = {}},
        {address = "127.0.0.1", headers = {host = ("a\t."):rep(5000)}})
    end)
    assert.equal(1, #lines)
    assert.is_true(#lines[1] < 500)
    assert.is_nil(lines[1]:find("%c"))
  end)

  it("are a list of names, or say what is wrong", function()
    for _, fine in ipairs {false, {"a.example"}, {"*.a.example", "192.0.2.1", "[::1]"}} do
      assert.is_true((hosts.check(fine)))
    end
    for _, wrong in ipairs {true, "a.example", {}, {5}, {"http://a.example"}, {"a.example:80"},
      {"*"}, {"a*.example"}} do
      assert.is_falsy((hosts.check(wrong)))
    end
  end)
end)
