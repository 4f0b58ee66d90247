local Program = require "spec.support.program"
local ruffle = require "sync.flash.ruffle"

local function listener(host, port, fields)
  local made = {host = host, port = port,
    settings = {transports = {websocket = true, tcp = true}}}
  for name, value in pairs(fields or {}) do made.settings[name] = value end
  return made
end

describe("ruffle", function()
  it("has an entry for each port and each name that a movie may ask for", function()
    assert.equal(table.concat({
      "[",
      '  { host: "localhost", port: 8080, proxyUrl: "ws://localhost:8080/?stream" },',
      '  { host: "127.0.0.1", port: 8080, proxyUrl: "ws://127.0.0.1:8080/?stream" },',
      '  { host: "game.example", port: 9000, proxyUrl: "ws://game.example:9000/?stream" }',
      "]",
    }, "\n"), ruffle.proxies {listener("game.example", 9000), listener("localhost", 8080)})
  end)

  it("uses the page's name, and wss where the page or the port does", function()
    local text = ruffle.proxies({listener("*", 8080)}, "play.example")
    assert.matches('host: "play.example", port: 8080, proxyUrl: "ws://play.example:8080/?stream"',
      text, 1, true)
    assert.matches('host: "localhost", port: 8080, proxyUrl: "ws://play.example:8080/?stream"',
      text, 1, true)
    local tls = {tls = {certificate = "c", key = "k"}}
    assert.matches("wss://", ruffle.proxies({listener("a.example", 1, tls)}), 1, true)
    assert.matches('"ws://', ruffle.proxies({listener("a.example", 1, tls)}, nil, false), 1, true)
    tls.tls.only = true
    assert.matches("wss://", ruffle.proxies({listener("a.example", 1, tls)}, nil, false), 1, true)
  end)

  it("puts IPv6 addresses in brackets, and can't be broken out of", function()
    assert.matches('host: "::1", port: 8080, proxyUrl: "ws://[::1]:8080/?stream"',
      ruffle.proxies {listener("::1", 8080)}, 1, true)
    assert.is_nil(ruffle.proxies({listener("*", 1)}, '"</script>'):find("</script", 1, true))
  end)

  it("leaves out Unix sockets, closed listeners, and those without WebSocket", function()
    local closed = listener("localhost", 2)
    closed.closed = true
    local plain = listener("localhost", 3)
    plain.settings.transports = {tcp = true}
    assert.equal("[\n\n]", ruffle.proxies {listener("unix:/x"), closed, plain})
  end)

  it("writes out what a movie asks for, wildcards too", function()
    local game = listener("play.example", 8080, {ruffle = {asks = {
      {"eco.example", 9604}, {"*", "9700-9701"}, {"old.example", "*"}}}})
    assert.equal(table.concat({
      "[",
      '  { host: "eco.example", port: 9604, proxyUrl: "ws://play.example:8080/?stream" },',
      '  { host: "play.example", port: 9700, proxyUrl: "ws://play.example:8080/?stream" },',
      '  { host: "play.example", port: 9701, proxyUrl: "ws://play.example:8080/?stream" },',
      '  { host: "eco.example", port: 9700, proxyUrl: "ws://play.example:8080/?stream" },',
      '  { host: "eco.example", port: 9701, proxyUrl: "ws://play.example:8080/?stream" },',
      '  { host: "old.example", port: 9700, proxyUrl: "ws://play.example:8080/?stream" },',
      '  { host: "old.example", port: 9701, proxyUrl: "ws://play.example:8080/?stream" },',
      '  { host: "old.example", port: 8080, proxyUrl: "ws://play.example:8080/?stream" },',
      '  { host: "play.example", port: 8080, proxyUrl: "ws://play.example:8080/?stream" }',
      "]",
    }, "\n"), ruffle.proxies {game})
  end)

  it("leads a name and port to who has asked for it, not to who listens there", function()
    local text = ruffle.proxies({listener("localhost", 80),
      listener("localhost", 8080, {ruffle = {asks = {{"localhost", 80}}}})}, "page.example")
    assert.matches('host: "localhost", port: 80, proxyUrl: "ws://page.example:8080/?stream"', text,
      1, true)
    assert.equal(1, select(2, text:gsub('host: "localhost", port: 80,', "")))
  end)

  it("takes asks that can be written out", function()
    for _, fine in ipairs {false, {asks = {{"a.example", 1}}},
      {asks = {{"*", "*"}, {"::1", "5-9"}}}} do
      assert.is_true((ruffle.check(fine)))
    end
    for _, wrong in ipairs {true, "a.example", {}, {asks = {}}, {asks = {"a.example"}},
      {asks = {{"*.example", 80}}}, {asks = {{"a.example"}}}, {asks = {{"a.example", 0}}},
      {asks = {{"a.example", "9-5"}}}, {asks = {{"a.example", "1-65535"}}}, {asks = {{"a<b", 5}}},
      {asks = {{"a.example", 1}}, ask = 1}} do
      assert.is_false((ruffle.check(wrong)))
    end
  end)

  it("is printed by sync-lua --ruffle, without listening", function()
    local Process = require "spec.support.process"
    local script = Process.file [[
      local sync = require "sync"
      sync.enable("localhost", 1568, sync.Protocol:extend("Game"))
      sync.start()
    ]]
    local code, printed = Program.run("--ruffle", script)
    assert.equal(0, code)
    assert.matches("window.RufflePlayer.config", printed, 1, true)
    assert.matches('{ host: "localhost", port: 1568, proxyUrl: "ws://localhost:1568/?stream" }',
      printed, 1, true)
    Process.cleanUp()
  end)
end)
