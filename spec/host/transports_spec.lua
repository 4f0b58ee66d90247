-- One port for every client, from outside: what docs/transports.md says.

local Process = require "spec.support.process"
local Program = require "spec.support.program"
local WebSocket = require "spec.support.websocket"
local socket = require "socket"

local TEXT, BINARY, CLOSE, PING = WebSocket.TEXT, WebSocket.BINARY, WebSocket.CLOSE, WebSocket.PING

-- A server of a class whose onData echoes; settings and more are Lua.
local function serve(code)
  return Program.serve(([[
    local Echo = sync.Protocol:extend("Echo")
    Echo.framing = "line"
    function Echo:onData(line) self:send(line) end
    %s
    sync.enable("127.0.0.1", 0, Echo)
    sync.start()
  ]]):format(code or ""))
end

-- Sends bytes, one at a time if `slowly`, and returns all that comes until the end.
local function exchange(port, bytes, slowly)
  local client = Program.connect(port)
  if slowly then
    client:setoption("tcp-nodelay", true)
    for i = 1, #bytes do client:send(bytes:sub(i, i)) end
  else
    client:send(bytes)
  end
  local answer, why, part = client:receive("*a")
  client:close()
  return answer or part, why
end

-- A request's status, body and head.
local function request(port, line, headers, body, slowly)
  local answer = exchange(port, ("%s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n%s\r\n%s")
    :format(line, headers or "", body or ""), slowly)
  local status, head, rest = answer:match("^HTTP/1.1 (%d+)[^\r]*\r\n(.-)\r\n\r\n(.*)$")
  return tonumber(status), rest, head
end

describe("one port", function()
  after_each(Process.cleanUp)

  it("tells every kind of client, whole and a byte at a time, from the first on", function()
    local _, port = serve()
    for _, slowly in ipairs {false, true} do
      local plain = Program.connect(port)
      for i = 1, #"hello\n" do plain:send(("hello\n"):sub(i, i)) end
      assert.equal("hello", plain:receive("*l"))
      plain:close()
      local status, body = request(port, "GET /healthz", "", "", slowly)
      assert.same({200, "ok\n"}, {status, body})
      assert.matches("^<%?xml.*</cross%-domain%-policy>\n%z$",
        (exchange(port, "<policy-file-request/>\0", slowly)))
    end
    local client = WebSocket.connect(port, "/", "", WebSocket.frame(TEXT, "with the handshake"))
    assert.same({TEXT, "with the handshake"}, {client:receive()})
    client:close()
    client = Program.connect(port)
    local bytes = WebSocket.handshake() .. WebSocket.frame(TEXT, "slowly")
    for i = 1, #bytes do client:send(bytes:sub(i, i)) end
    repeat local line = client:receive("*l") until line == ""
    assert.equal("\129\6slowly", client:receive(8))
    client:close()
  end)

  it("speaks first to a client that is silent, and takes that back when it was wrong", function()
    local _, port = serve [[
      Echo.detectTimeout = 0.05
      function Echo:onConnect() print("came") io.flush() if Echo.greets then self:send("hi") end end
      function Echo:onClose(reason) print(reason) io.flush() end
      Echo.greets = true
    ]]
    local client = Program.connect(port)
    assert.equal("hi", client:receive("*l"))
    client:close()
    local server
    server, port = serve [[
      Echo.detectTimeout = 0.05
      function Echo:onConnect() print("came") io.flush() end
      function Echo:onClose(reason) print(reason) io.flush() end
    ]]
    client = Program.connect(port)
    server:expect("stdout", "came\n")
    client:send("GET /healthz HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n")
    assert.matches("^HTTP/1.1 200 ", client:receive("*a"))
    server:expect("stdout", "came\nleft\n")
    client:close()
  end)

  it("leaves a browser's spare connection alone where there are pages", function()
    local server, port = serve [[
      Echo.routes["GET /page"] = function() return "page" end
      function Echo:onConnect() print("came") io.flush() self:send("hi") end
    ]]
    local spare = Program.connect(port)
    socket.sleep(0.6) -- twice as long as on a port without pages
    spare:send("GET /page HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n")
    assert.matches("^HTTP/1.1 200 .*page$", spare:receive("*a"))
    assert.equal("", server:stdout())
    spare:close()
  end)

  it("takes only the transports of a listener", function()
    local _, port = serve 'Echo.transports = {"websocket"}'
    assert.equal(426, (request(port, "GET /healthz")))
    assert.equal("", (exchange(port, "hello\n")))
    WebSocket.connect(port):close()
    _, port = serve 'Echo.transports = {"http"}'
    assert.equal(200, (request(port, "GET /healthz")))
    local refused, head = WebSocket.connect(port)
    assert.is_nil(refused)
    assert.matches("^HTTP/1.1 403 ", head)
  end)

  it("keeps a page's requests out of a byte stream, and says so", function()
    local server, port = serve 'Echo.transports = {"tcp"}'
    for _, slowly in ipairs {false, true} do
      local status, body = request(port, "POST /", "Content-Length: 6\r\n", "hello\n", slowly)
      assert.equal(400, status)
      assert.equal("this is a byte stream, which takes no HTTP\n", body)
    end
    server:expect("stderr", "an HTTP request came to a byte stream")
    local client = Program.connect(port)
    client:send("GET out\n")
    assert.equal("GET out", client:receive("*l"))
    client:close()
  end)

  it("sends every kind of client its good-bye when it stops", function()
    local server, port = serve [[
      Echo.detectTimeout = 0.05
      local count = 0
      function Echo:onConnect()
        count = count + 1
        if count == 2 then print("both") io.flush() end
      end
      function Echo:onStop() self.clients:send("good-bye") end
    ]]
    local plain, web = Program.connect(port), WebSocket.connect(port)
    server:expect("stdout", "both")
    server:kill("TERM")
    assert.equal("good-bye", plain:receive("*l"))
    assert.same({TEXT, "good-bye"}, {web:receive()})
    assert.same({1001, "stop"}, {web:closed()})
    web:send(CLOSE, "\3\233")
    plain:close()
    assert.equal(0, (server:wait()))
    web:close()
  end)
end)

describe("HTTP", function()
  after_each(Process.cleanUp)

  local ROUTES = [[
    Echo.maxBody, Echo.maxHead, Echo.maxHeaders = 100, 1000, 10
    Echo.origins = {"https://a.example"}
    Echo.routes["GET /scores/:level"] = function(request)
      return {level = request.params.level, sort = request.params.sort}
    end
    Echo.routes["POST /report"] = function(request) return 201, request.body, {["X-More"] = "1"} end
    Echo.routes["GET /plain"] = function() return "text" end
    Echo.routes["GET /nothing"] = function() end
    Echo.routes["GET /broken"] = function() error("secret") end
    Echo.routes["GET /wrong"] = function() return 200, "x", {["X-A"] = "b\r\nX-C: d"} end
  ]]

  it("calls routes", function()
    local _, port = serve(ROUTES)
    local status, body, head = request(port, "GET /scores/top%20ten?sort=up&sort=down")
    assert.equal(200, status)
    assert.matches('"level":"top ten"', body, 1, true)
    assert.matches('"sort":"up"', body, 1, true)
    assert.matches("Content-Type: application/json", head, 1, true)
    status, body, head = request(port, "POST /report", "Content-Length: 5\r\n", "hello")
    assert.same({201, "hello"}, {status, body})
    assert.matches("X-More: 1", head, 1, true)
    status, body = request(port, "POST /report", "Transfer-Encoding: chunked\r\n",
      "3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n", true)
    assert.same({201, "hello"}, {status, body})
    status, body = request(port, "GET /plain")
    assert.same({200, "text"}, {status, body})
    assert.equal(204, (request(port, "GET /nothing")))
    status, body = request(port, "GET /broken")
    assert.equal(500, status)
    assert.is_nil(body:find("secret", 1, true))
    assert.equal(500, (request(port, "GET /wrong")))
    status, body, head = request(port, "HEAD /plain")
    assert.same({200, ""}, {status, body})
    assert.matches("Content-Length: 4", head, 1, true)
  end)

  it("says what there is not, and what it does not take", function()
    local _, port = serve(ROUTES)
    assert.equal(404, (request(port, "GET /else")))
    local status, _, head = request(port, "DELETE /report")
    assert.equal(405, status)
    assert.matches("Allow: OPTIONS, POST", head, 1, true)
    assert.equal(413, (request(port, "POST /report", "Content-Length: 101\r\n")))
    assert.equal(431, (request(port, "GET /plain", "X: " .. ("y"):rep(1000) .. "\r\n")))
    assert.equal(431, (request(port, "GET /plain", ("X: y\r\n"):rep(10))))
    for _, wrong in ipairs {"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n",
      "Content-Length: 1\r\nContent-Length: 2\r\n", "Content-Length : 1\r\n", "X: a\0b\r\n",
      "Content-Length: -1\r\n", "Content-Length: +1\r\n", "Transfer-Encoding: gzip\r\n"} do
      assert.equal(400, (request(port, "POST /report", wrong, "x")), wrong)
    end
    assert.matches("^HTTP/1.1 400 ", (exchange(port, "GET / HTTP/1.1\r\n\r\n"))) -- no Host
    assert.matches("^HTTP/1.1 400 ", (exchange(port, "GET /\r\n\r\n")))
  end)

  it("keeps connections alive, and answers pipelined requests in order", function()
    local _, port = serve(ROUTES)
    local client = Program.connect(port)
    local function ask(path) return ("GET %s HTTP/1.1\r\nHost: here\r\n\r\n"):format(path) end
    client:send(ask "/scores/1" .. ask "/plain" .. ask "/scores/2" ..
      "GET /plain HTTP/1.0\r\nHost: here\r\n\r\n" .. ask "/plain")
    local answer = client:receive("*a")
    local first, second = answer:find('"level":"1"', 1, true), answer:find('"level":"2"', 1, true)
    local text = answer:find("text", 1, true)
    assert.is_true(first < text and text < second)
    assert.equal(4, select(2, answer:gsub("HTTP/1.1 200", ""))) -- 1.0 ends it
    client:close()
  end)

  it("answers the sites of origins", function()
    local _, port = serve(ROUTES)
    local _, _, head = request(port, "GET /plain", "Origin: https://a.example\r\n")
    assert.matches("Access-Control-Allow-Origin: https://a.example", head, 1, true)
    _, _, head = request(port, "GET /plain", "Origin: https://b.example\r\n")
    assert.is_nil(head:find("Access-Control-Allow-Origin", 1, true))
    local status, _, preflight = request(port, "OPTIONS /report",
      "Origin: https://a.example\r\nAccess-Control-Request-Method: POST\r\n")
    assert.equal(204, status)
    assert.matches("Access-Control-Allow-Methods: OPTIONS, POST", preflight, 1, true)
    local _, policy, kind = request(port, "GET /crossdomain.xml")
    assert.matches('<allow-access-from domain="a.example"/>', policy, 1, true)
    assert.matches("text/x-cross-domain-policy", kind, 1, true)
  end)

  it("writes the headers that a route gives, beside its own", function()
    local server, port = serve [[
      Echo.origins = {"https://a.example"}
      local function route(path, headers)
        Echo.routes["GET " .. path] = function() return 200, "x", headers end
      end
      route("/vary", {vary = "Accept-Encoding"})
      route("/origin", {Vary = "origin"})
      route("/any", {["access-control-allow-origin"] = "*"})
      route("/cookies", {["Set-Cookie"] = {"a=1", "b=2"}})
      route("/pairs", {{"Set-Cookie", "a=1"}, {"Set-Cookie", "b=2"}, {"content-type", "a/b"}})
      route("/flag", {["X-Flag"] = true})
    ]]
    local function ask(path)
      local status, _, head = request(port, "GET " .. path, "Origin: https://a.example\r\n")
      local lines = {}
      for name, value in head:gmatch("([%w-]+): ([^\r\n]*)") do
        name = name:lower()
        lines[name] = lines[name] and lines[name] .. " | " .. value or value
      end
      return lines, status
    end
    local seen = ask "/vary"
    assert.same({"Accept-Encoding, Origin", "https://a.example"},
      {seen.vary, seen["access-control-allow-origin"]})
    assert.equal("origin", ask("/origin").vary)
    seen = ask "/any"
    assert.same({"*"}, {seen["access-control-allow-origin"], seen.vary})
    assert.equal("a=1 | b=2", ask("/cookies")["set-cookie"])
    seen = ask "/pairs"
    assert.same({"a=1 | b=2", "a/b"}, {seen["set-cookie"], seen["content-type"]})
    assert.equal(500, (select(2, ask "/flag")))
    server:expect("stderr", 'header "X%-Flag": its value must be a string, .* not a boolean')
  end)

  it("is not asked under a stranger's name that leads to this machine", function()
    local server, port = serve 'Echo.routes["GET /"] = function() return "secret" end'
    local function ask(host, more)
      local answer = exchange(port, ("GET / HTTP/1.1\r\nHost: %s:%d\r\n%sConnection: close\r\n\r\n")
        :format(host, port, more or ""))
      return answer:match("^HTTP/1.1 (%d+)"), answer
    end
    assert.equal("200", (ask("localhost")))
    assert.equal("200", (ask("127.0.0.1")))
    local status, answer = ask("evil.example")
    assert.equal("421", status)
    assert.is_nil(answer:find("secret", 1, true))
    server:expect("stderr", 'Echo.hosts = {"evil.example"}')
    local origin = ("Origin: http://evil.example:%d\r\n"):format(port)
    assert.equal("421", (ask("evil.example", origin .. "Upgrade: websocket\r\n" ..
      "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n" ..
      "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n")))
  end)

  it("tells whether it is well, also while it stops", function()
    local server, port = serve [[
      Echo.closeTimeout = 20
      Echo.maxQueue = 2^24
      function Echo:onData()
        for _ = 1, 150 do self:send(("x"):rep(100000)) end
        print("full") io.flush()
      end
      function Echo:onStop() print("stopping") io.flush() end
    ]]
    assert.equal(200, (request(port, "GET /healthz")))
    local slow, early = Program.connect(port), Program.connect(port)
    slow:send("fill\n")
    server:expect("stdout", "full")
    early:send("GET /healthz HTTP/1.1\r\nHost: here\r\n")
    socket.sleep(0.1)
    server:kill("TERM")
    server:expect("stdout", "stopping")
    early:send("\r\n")
    local answer = early:receive("*a")
    assert.is_true(answer == nil or answer == "" or answer:find("^HTTP/1.1 503 ") ~= nil)
    assert.is_nil((socket.connect("127.0.0.1", port)))
    slow:close()
    early:close()
  end)
end)

describe("WebSocket", function()
  after_each(Process.cleanUp)

  it("answers text by text, and binary by a byte stream in its framing", function()
    local _, port = serve()
    local client = WebSocket.connect(port)
    client:send(TEXT, "one\ntwo")
    assert.same({TEXT, "one\ntwo"}, {client:receive()})
    client:send(BINARY, "one\ntw")
    assert.same({BINARY, "one\n"}, {client:receive()})
    client:send(BINARY, "o\nthree\n")
    local got = ""
    while #got < #"two\nthree\n" do got = got .. select(2, client:receive()) end
    assert.equal("two\nthree\n", got)
    client:send(TEXT, "again")
    assert.same({TEXT, "again"}, {client:receive()})
    client:close()
    client = WebSocket.connect(port, "/", "Sec-WebSocket-Protocol: other, sync.message\r\n")
    assert.matches("Sec-WebSocket-Protocol: sync.message", client.head, 1, true)
    client:send(BINARY, "a\0\n\255")
    assert.same({BINARY, "a\0\n\255"}, {client:receive()})
    client:close()
  end)

  it("is a byte stream from the first byte where the URL says so", function()
    local _, port = serve 'function Echo:onConnect() self:send("hi") end'
    local client = WebSocket.connect(port, "/?stream")
    assert.same({BINARY, "hi\n"}, {client:receive()})
    client:close()
    client = WebSocket.connect(port)
    assert.same({TEXT, "hi"}, {client:receive()})
    client:close()
  end)

  it("lets the class refuse, and pages of other sites not in", function()
    local server, port = serve [[
      function Echo:onUpgrade(request)
        if request.path == "/locked" then return 401, "log in" end
        if request.path == "/no" then return false end
        if request.path == "/broken" then error("secret") end
      end
      Echo.subprotocols = {"chat"}
      function Echo:onConnect(request)
        self:send(request.path .. " " .. tostring(request.params.q) .. " " ..
          tostring(request.subprotocol))
      end
    ]]
    local client = WebSocket.connect(port, "/room?q=1", "Sec-WebSocket-Protocol: x, chat\r\n")
    assert.same({TEXT, "/room 1 chat"}, {client:receive()})
    client:close()
    local _, head, body = WebSocket.connect(port, "/locked")
    assert.matches("^HTTP/1.1 401 ", head)
    assert.equal("log in\n", body)
    assert.matches("^HTTP/1.1 403 ", (select(2, WebSocket.connect(port, "/no"))))
    _, head = pcall(WebSocket.connect, port, "/broken") -- closed, or 500
    assert.is_falsy(tostring(head):find(" 101 "))
    assert.matches("^HTTP/1.1 403 ",
      (select(2, WebSocket.connect(port, "/", "Origin: http://evil.example\r\n"))))
    server:expect("stderr", 'Echo.origins = {"http://evil.example"}')
    WebSocket.connect(port, "/", "Origin: http://localhost\r\n"):close()
    local _, version = WebSocket.connect(port, "/", "Sec-WebSocket-Version: 8\r\n")
    assert.matches("^HTTP/1.1 4", version)
  end)

  it("closes with the right code, and tells both sides why", function()
    local server, port = serve [[
      Echo.maxMessage = 100
      function Echo:onData(data)
        if data == "go" then self:close("enough", 4001) elseif data == "error" then error("x") end
      end
      function Echo:onClose(reason, code) print(reason, code) io.flush() end
    ]]
    local cases = {
      {function(client) client:send(TEXT, "go") end, 4001, "enough", "enough\t4001"},
      {function(client) client:send(TEXT, "error") end, 1011, "error", "error\t1011"},
      {function(client) client:send(TEXT, ("x"):rep(101)) end, 1009, "", "too long\t1009"},
      {function(client) client:send(TEXT, "\255") end, 1007, "", "protocol\t1007"},
      {function(client) client:send(3, "x") end, 1002, "", "protocol\t1002"},
      {function(client) client:send(CLOSE, "\15\160bye") end, 4000, "", "left\t4000"},
      {function(client) client:send(CLOSE, "") end, 0, "", "left\t1005"},
    }
    for _, case in ipairs(cases) do
      local client = WebSocket.connect(port)
      case[1](client)
      local code, why = client:closed()
      assert.equal(case[2], code, case[4])
      if case[3] ~= "" then assert.equal(case[3], why) end
      if code < 4000 or case[3] == "enough" then client:send(CLOSE, "\3\232") end
      client:close()
      server:expect("stdout", case[4])
    end
  end)

  it("cuts a long reason where a character ends", function()
    local _, port = serve [[
      function Echo:onData(data) self:close(data, 4001) end
    ]]
    for reason, told in pairs {[("x"):rep(123)] = ("x"):rep(123), [("x"):rep(124)] = ("x"):rep(123),
      [("x"):rep(122) .. "é"] = ("x"):rep(122), [("x"):rep(121) .. "é!"] = ("x"):rep(121) .. "é",
      [("x"):rep(120) .. "🎉"] = ("x"):rep(120), [("漢"):rep(100)] = ("漢"):rep(41)} do
      local client = WebSocket.connect(port)
      client:send(TEXT, reason)
      assert.same({4001, told}, {client:closed()})
      client:close()
    end
  end)

  it("pings who is silent, and closes who does not answer", function()
    local server, port = serve [[
      Echo.pingInterval, Echo.pongTimeout = 0.1, 0.2
      function Echo:onClose(reason) print(reason) io.flush() end
    ]]
    local client = WebSocket.connect(port)
    assert.equal(PING, (client:receive()))
    assert.same({1001, ""}, {client:closed()})
    server:expect("stdout", "silent")
    client:close()
  end)

  it("sends a silent byte stream its class's ping, in its framing", function()
    local server, port = serve [[
      Echo.ping, Echo.pingInterval, Echo.pongTimeout = "there?", 0.1, 0.2
      function Echo:onClose(reason) print(reason) io.flush() end
    ]]
    local client = Program.connect(port)
    assert.equal("there?", client:receive("*l"))
    server:expect("stdout", "silent")
    client:close()
  end)

  it("compresses for those who can, and a broadcast reaches all", function()
    local _, port = serve "function Echo:onData(data) self.clients:send(data) end"
    local packed = WebSocket.connect(port, "/", "Sec-WebSocket-Extensions: permessage-deflate\r\n")
    assert.matches("Sec-WebSocket-Extensions: permessage-deflate", packed.head, 1, true)
    local plain = WebSocket.connect(port)
    assert.is_nil(plain.head:find("Extensions", 1, true))
    local long = ("compress me "):rep(100)
    plain:send(TEXT, long)
    assert.same({TEXT, long}, {plain:receive()})
    assert.is_false(plain.compressed)
    local opcode, payload = packed:receive()
    assert.same({TEXT, true}, {opcode, packed.compressed})
    assert.is_true(#payload < #long / 10)
    plain:send(TEXT, "short")
    plain:receive()
    assert.same({TEXT, "short"}, {packed:receive()})
    assert.is_false(packed.compressed)
    plain:close()
    packed:close()
  end)
end)
