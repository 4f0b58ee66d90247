-- Who clients are that come through a proxy. Each connection of this test comes from 127.0.0.1,
-- or from a Unix socket.

local Process = require "spec.support.process"
local Program = require "spec.support.program"
local WebSocket = require "spec.support.websocket"

local function serve(proxies, more)
  local _, port = Program.serve(([[
    local Game = sync.Protocol:extend("Game")
    Game.proxies, Game.maxPerAddress = %s, 2
    Game.routes["GET /who"] = function(request)
      return ("%%s %%s %%s"):format(request.address, request.secure, request.headers.host)
    end
    function Game:onConnect() self:send(self.address) end
    %s
    sync.enable("127.0.0.1", 0, Game)
    sync.start()
  ]]):format(proxies, more or ""))
  return port
end

local function get(port, path, headers)
  local client = Program.connect(port)
  client:send(("GET %s HTTP/1.1\r\nHost: inner\r\nConnection: close\r\n%s\r\n"):format(path,
    headers))
  local answer = client:receive("*a")
  client:close()
  return answer:match("\r\n\r\n(.*)$"), tonumber(answer:match("^HTTP/1.1 (%d+)"))
end

describe("proxies", function()
  after_each(Process.cleanUp)

  it("tell the client's address, https and host, by headers of both kinds", function()
    local port = serve '{"127.0.0.0/8", "10.0.0.0/8", "2001:db8::/32"}'
    for headers, who in pairs {
      [""] = "127.0.0.1 false inner",
      ["X-Forwarded-For: 192.0.2.1\r\n"] = "192.0.2.1 false inner",
      ["X-Forwarded-For: 192.0.2.1:99\r\nX-Forwarded-Proto: https\r\n" ..
        "X-Forwarded-Host: a.example\r\n"] = "192.0.2.1 true a.example",
      -- what the client says itself stands before what proxies have seen
      ["X-Forwarded-For: 198.51.100.9, 192.0.2.1, 10.1.2.3\r\nX-Forwarded-Proto: https, http\r\n"] =
        "192.0.2.1 true inner",
      ["X-Forwarded-For: 198.51.100.9, unknown, 2001:db8::5\r\n"] = "2001:db8::5 false inner",
      ["X-Forwarded-For: nonsense\r\n"] = "127.0.0.1 false inner",
      ['Forwarded: for="[2001:dead::1]:4711";proto=https;host="b.example"\r\n'] =
        "2001:dead::1 true b.example",
      ["Forwarded: for=192.0.2.7;proto=https, for=10.0.0.1;proto=http\r\n"] =
        "192.0.2.7 true inner",
      -- a client's own Forwarded, which a proxy that writes the other passes on
      ["Forwarded: for=198.51.100.9\r\nX-Forwarded-For: 192.0.2.1\r\n"] = "192.0.2.1 false inner",
    } do
      assert.equal(who, (get(port, "/who", headers)):gsub("%s+$", ""), headers)
    end
  end)

  it("are believed from their networks alone", function()
    local headers = "X-Forwarded-For: 192.0.2.1\r\nX-Forwarded-Proto: https\r\n" ..
      "X-Forwarded-Host: a.example\r\n"
    for _, networks in ipairs {"false", '{"10.0.0.0/8", "::1", "unix", "127.0.0.2/31"}'} do
      assert.equal("127.0.0.1 false inner",
        ((get(serve(networks), "/who", headers)):gsub("%s+$", "")))
    end
  end)

  it("give Ruffle wss and their own port on a page that came by https", function()
    local port = serve '{"127.0.0.1"}'
    local script = get(port, "/ruffle-config.js",
      "X-Forwarded-Proto: https\r\nX-Forwarded-Host: game.example\r\n")
    assert.matches("wss://game.example:443/?stream", script, 1, true)
    assert.matches(("port: %d"):format(port), script, 1, true)
  end)

  it("let each address have maxPerAddress connections", function()
    local port = serve '{"127.0.0.1"}'
    local one, clients = "X-Forwarded-For: 192.0.2.1\r\n", {}
    for i = 1, 2 do
      clients[i] = WebSocket.connect(port, "/", one)
      assert.same({WebSocket.TEXT, "192.0.2.1"}, {clients[i]:receive()})
    end
    assert.equal(429, select(2, get(port, "/who", one)))
    assert.equal(200, select(2, get(port, "/who", "X-Forwarded-For: 192.0.2.2\r\n")))
    for _, client in ipairs(clients) do client:close() end
  end)

  it("must be networks", function()
    for _, networks in ipairs {'{"10.0.0.0/33"}', '{"example.com"}', "{}", "true", '{"::/-1"}'} do
      local code, _, text = Program.runCode(([[
        local sync = require "sync"
        sync.enable("127.0.0.1", 0, sync.Protocol:extend("Game"), {proxies = %s})
      ]]):format(networks))
      assert.is_true(code ~= 0, networks)
      assert.matches("proxies must be false, or a list of networks", text, 1, true)
    end
  end)
end)
