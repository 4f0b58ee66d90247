-- TLS from outside, with OpenSSL's own client. In a browser, and with many clients: see
-- spec/browser/secure.mjs.

local Process = require "spec.support.process"
local Program = require "spec.support.program"
local socket = require "socket"

local certificate, key

local function run(...)
  local process = Process.start {...}
  process:closeInput()
  local code = process:wait()
  return code, process:stdout(), process:stderr()
end

-- Serves echo in TLS; settings are those of the class, as Lua. Clocks are slow, so that
-- nothing comes because of them.
local function start(tls, settings)
  return Program.serve(([[
    local Echo = sync.Protocol:extend("Echo")
    Echo.framing = "line"
    Echo.detectTimeout, Echo.handshakeTimeout = 60, 60
    %s
    function Echo:onData(line) self:send("echo " .. line) end
    sync.enable("127.0.0.1", 0, Echo, {tls = {certificate = %q, key = %q, %s}})
    sync.start()
  ]]):format(settings or "", certificate, key, tls))
end

local function serve(...)
  return select(2, start(...))
end

-- What a client sends first.
local function hello()
  local listener = assert(socket.bind("127.0.0.1", 0))
  local client = Process.start {"openssl", "s_client", "-connect",
    "127.0.0.1:" .. select(2, listener:getsockname())}
  local peer = listener:accept()
  local head = peer:receive(5)
  local record = head .. peer:receive(head:byte(4) * 256 + head:byte(5))
  client:kill("KILL")
  peer:close()
  listener:close()
  return record
end

-- Connects, sends a line, and waits for the echo.
local function exchange(port, ...)
  local client = Process.start {"openssl", "s_client", "-quiet", "-connect", "127.0.0.1:" .. port,
    ...}
  client:write("hello\n")
  local ok = pcall(client.expect, client, "stdout", "echo hello")
  client:kill("TERM")
  client:wait()
  return ok
end

describe("TLS", function()
  setup(function()
    certificate, key = os.tmpname(), os.tmpname()
    assert.equal(0, (run("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
      "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2", "-subj", "/CN=localhost", "-addext",
      "subjectAltName=DNS:localhost", "-out", certificate, "-keyout", key)))
  end)

  teardown(function()
    os.remove(certificate)
    os.remove(key)
  end)

  after_each(Process.cleanUp)

  it("is answered at once, when nothing else happens on the server", function()
    for _, tls in ipairs {"", "only = true", 'minimum = "1.3"', 'only = true, minimum = "1.3"'} do
      local port = serve(tls)
      local begin = socket.gettime()
      assert.is_true(exchange(port), tls)
      assert.is_true(exchange(port, "-tls1_3"), tls)
      assert.is_true(socket.gettime() - begin < 30, tls)
    end
  end)

  it("keeps a page's requests out of a byte stream, as without it", function()
    local port = serve("", 'Echo.transports = {"tcp"}')
    assert.is_true(exchange(port))
    local client = Process.start {"openssl", "s_client", "-quiet", "-connect", "127.0.0.1:" .. port}
    client:write("POST / HTTP/1.1\r\nHost: localhost\r\n\r\nhello\n")
    client:wait()
    assert.matches("^HTTP/1.1 400 ", client:stdout())
    assert.is_nil(client:stdout():find("echo", 1, true))
  end)

  it("leaves no memory behind of clients that stop halfway", function()
    local server, port = start ""
    local first = hello()
    local function half(count)
      local clients = {}
      for i = 1, count do
        clients[i] = Program.connect(port)
        clients[i]:send(first)
        assert.equal(22, clients[i]:receive(1):byte()) -- a record of a handshake
      end
      return clients
    end
    local function leave(clients)
      for _, client in ipairs(clients) do client:close() end
    end
    leave(half(20)) -- so that its code is loaded
    local before = server:memory()
    local clients = half(1500)
    local stays = half(1) -- behind them, so that the heap doesn't shrink by itself
    assert.is_true(server:memory() > 3 * before)
    leave(clients)
    Process.eventually(function()
      return ("%d KiB become %d KiB again"):format(server:memory(), before)
    end, function() return server:memory() < Program.bound(1.2 * before) end, 10)
    leave(stays)
  end)

  it("has plain clients beside it, unless it is the only one", function()
    local client = Program.connect(serve "")
    client:send("hello\n")
    assert.equal("echo hello", client:receive("*l"))
    client:close()
    client = Program.connect(serve "only = true")
    client:send("hello\n")
    local line, why = client:receive("*l")
    assert.is_nil(line)
    assert.equal("closed", why)
    client:close()
  end)
end)
