-- Who clients are that come through a proxy. Each connection of this test comes from 127.0.0.1.

local Process = require "spec.support.process"
local Program = require "spec.support.program"
local WebSocket = require "spec.support.websocket"

local function serve(proxies, more)
  local server, port = Program.serve(([[
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
  return port, server
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
    local port, server = serve '{"127.0.0.1"}'
    local one, clients = "X-Forwarded-For: 192.0.2.1\r\n", {}
    for i = 1, 2 do
      clients[i] = WebSocket.connect(port, "/", one)
      assert.same({WebSocket.TEXT, "192.0.2.1"}, {clients[i]:receive()})
    end
    assert.equal(429, select(2, get(port, "/who", one)))
    assert.equal(200, select(2, get(port, "/who", "X-Forwarded-For: 192.0.2.2\r\n")))
    server:expect("stderr", "one address has as many connections as it may.-address=192%.0%.2%.1")
    for _, client in ipairs(clients) do client:close() end
  end)

  it("let each address have maxPerAddress connections by PROXY, too", function()
    local port, server = serve('{"127.0.0.1"}', 'Game.framing, Game.transports = "line", {"tcp"}')
    local clients = {}
    for i, last in ipairs {1, 1, 2, 1} do
      clients[i] = Program.connect(port)
      clients[i]:send(("PROXY TCP4 192.0.2.%d 10.0.0.1 1 1\r\n"):format(last))
      assert.equal(i < 4 and "192.0.2." .. last or nil, (clients[i]:receive("*l")))
    end
    server:expect("stderr", "one address has as many connections as it may.-address=192%.0%.2%.1")
    for _, client in ipairs(clients) do client:close() end
  end)

  local V2 = "\r\n\r\n\0\r\nQUIT\n"
  local HEADERS = {
    ["PROXY TCP4 192.0.2.1 10.0.0.1 4711 80\r\n"] = "192.0.2.1",
    ["PROXY TCP6 2001:db8::1 ::1 4711 80\r\n"] = "2001:db8::1",
    ["PROXY UNKNOWN\r\n"] = "127.0.0.1",
    [V2 .. "\33\17\0\15\192\0\2\1\10\0\0\1\18\103\0\80\4\0\0"] = "192.0.2.1",
    [V2 .. "\33\33\0\36\32\1\13\184" .. ("\0"):rep(11) .. "\1" .. ("\0"):rep(20)] =
      "2001:db8::1",
    [V2 .. "\32\0\0\0"] = "127.0.0.1",
    [""] = "127.0.0.1",
  }

  local function send(client, bytes, slowly)
    client:setoption("tcp-nodelay", true)
    for i = 1, #bytes, slowly and 1 or #bytes + 1 do
      client:send(slowly and bytes:sub(i, i) or bytes)
    end
  end

  it("tell it by PROXY 1 and 2 before HTTP, before a byte stream, and before silence", function()
    local more = 'Game.framing, Game.detectTimeout = "line", 0.5 ' ..
      "function Game:onData(data) self:send(data) end"
    local any = serve('{"127.0.0.1"}', more)
    local streams = serve('{"127.0.0.1"}', more .. ' Game.transports = {"tcp"}')
    for header, who in pairs(HEADERS) do
      for _, slowly in ipairs {false, true} do
        local client = Program.connect(any)
        send(client, header .. "GET /who HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
          slowly)
        assert.matches(who .. " false a", client:receive("*a"), 1, true)
        client:close()
        for _, port in ipairs {any, streams} do
          client = Program.connect(port)
          send(client, header .. "hello\n", slowly)
          assert.equal(who, client:receive("*l"))
          assert.equal("hello", client:receive("*l"))
          client:close()
        end
      end
      local client = Program.connect(streams)
      send(client, header)
      assert.equal(who, client:receive("*l"))
      client:close()
    end
  end)

  it("are refused with a word when their header is malformed; that of others is data", function()
    local more = 'Game.framing = "line" function Game:onData(data) self:send(data) end'
    local port, server = serve('{"127.0.0.1"}', more)
    for _, header in ipairs {"PROXY TCP4 nonsense 1 1 1\r\n", "PROXY TCP6 192.0.2.1 ::1 1 1\r\n",
      "PROXY TCP4 192.0.2.1 192.0.2.1 1 99999\r\n", "PROXY " .. ("x"):rep(120),
      V2 .. "\49\17\0\0",
      V2 .. "\33\17\0\2ab", V2 .. "\33\17\255\255"} do
      local client = Program.connect(port)
      send(client, header)
      local data, why, part = client:receive("*a")
      assert.same({"", true}, {data or part, why ~= "timeout"})
      client:close()
    end
    server:expect("stderr", "a header of the PROXY protocol is malformed")
    local client = Program.connect((serve('{"10.0.0.0/8"}', more)))
    client:send("PROXY TCP4 192.0.2.1 10.0.0.1 4711 80\r\n")
    assert.equal("127.0.0.1", client:receive("*l"))
    assert.equal("PROXY TCP4 192.0.2.1 10.0.0.1 4711 80", client:receive("*l"))
    client:close()
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
