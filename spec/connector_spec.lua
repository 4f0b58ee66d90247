-- Connections that this side makes in TLS: what sync.connect("tls://…") stands on.

local Connector = require "sync.connector"
local Process = require "spec.support.process"
local ffi = require "ffi"
local loop = require "sync.loop"
local socket = require "socket"
local socketpair = require "spec.support.socketpair"
local support = require "spec.support"
local sync = require "sync"

local BOUND = 20 -- seconds a wait may take on a busy machine

local wait = support.wait

local folder, closing = nil, {}

local function file(name) return folder .. "/" .. name end

-- Makes NAME.pem and NAME.key, trusted by whoever trusts NAME.pem.
local function certify(name, names)
  local made = os.execute(("openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 " ..
    "-nodes -days 2 -subj /CN=%s -addext subjectAltName=%s -out %s -keyout %s 2>/dev/null")
    :format(name, names, file(name .. ".pem"), file(name .. ".key")))
  assert(made == 0 or made == true)
end

-- A server in TLS. Returns its port.
local function serve(fields, name)
  local class = support.protocol(fields or {}, sync.Remote)
  class.transports = {"tcp"}
  function class.remote:echo(...) return ... end
  local listener = sync.enable("127.0.0.1", 0, class, {tls = {only = true,
    certificate = file((name or "here") .. ".pem"), key = file((name or "here") .. ".key")}})
  closing[#closing + 1] = listener
  return listener.port
end

-- A client that tries once. Returns it, and a table in which `reason` says why it has ended.
local function connect(url, given)
  given.reconnect = false
  local client, ended = sync.connect(url, given), {}
  closing[#closing + 1] = client
  client:onState(function(state, detail)
    if state == "closed" then ended.reason = detail.reason end
  end)
  return client, ended
end

local function ask(client, ...)
  local answer
  client:call("echo", ..., function(result, err) answer = {result, err} end)
  wait(function() return answer end)
  return answer[1], answer[2]
end

local function refusal(url, given)
  local _, ended = connect(url, given)
  return wait(function() return ended.reason end)
end

-- A plain server: `serveOne` is given the socket of each client that comes. Returns its port.
local function plain(serveOne)
  local listener = assert(socket.bind("127.0.0.1", 0))
  listener:settimeout(0)
  closing[#closing + 1] = {close = function() listener:close() end}
  local timer = loop.startTimer(0.01, 0.01, function()
    local client = listener:accept()
    if client then serveOne(client) end
  end)
  closing[#closing + 1] = {close = function() loop.stopTimer(timer) end}
  return select(2, listener:getsockname())
end

describe("a connection in TLS that this side makes", function()
  setup(function()
    folder = Process.file()
    assert.equal(0, os.execute("mkdir " .. folder))
    certify("here", "DNS:localhost,IP:127.0.0.1")
    certify("elsewhere", "DNS:example.org,IP:192.0.2.1")
  end)

  teardown(function() os.execute("rm -r " .. folder) end)

  after_each(function()
    for _, opened in ipairs(closing) do opened:close() end
    closing = {}
    wait(function() return loop.count == 0 end)
    Process.cleanUp()
  end)

  it("talks to a server with a certificate for its name, and for its address", function()
    local port = serve()
    for _, host in ipairs {"localhost", "127.0.0.1"} do
      local client = connect(("tls://%s:%d"):format(host, port), {ca = file "here.pem"})
      assert.equal("hello", (ask(client, "hello")))
      local long = ("x"):rep(50000) -- more than a record of TLS
      assert.is_true((ask(client, long)) == long)
    end
  end)

  it("comes back when it was lost", function()
    local lost
    local port = serve {onConnect = function(self) lost = lost or self end}
    local client = sync.connect("tls://localhost:" .. port, {ca = file "here.pem",
      firstWait = 0.01})
    closing[#closing + 1] = client
    ask(client, 1)
    lost:abort()
    wait(function() return client.sessions == 2 end)
    assert.equal(2, (ask(client, 2)))
  end)

  it("refuses a certificate that nobody it trusts has issued", function()
    local url = "tls://localhost:" .. serve()
    assert.matches("nobody that is trusted here", refusal(url, {}))
    assert.matches("nobody that is trusted here", refusal(url, {ca = file "elsewhere.pem"}))
  end)

  it("refuses a certificate that is for another name, or address", function()
    local port = serve(nil, "elsewhere")
    local given = {ca = file "elsewhere.pem"}
    assert.matches("for another name", refusal("tls://localhost:" .. port, given))
    assert.matches("not for this address", refusal("tls://127.0.0.1:" .. port, given))
  end)

  it("says that a server speaks something else, or goes away", function()
    local given = {ca = file "here.pem"}
    local url = "tls://localhost:" .. plain(function(client)
      client:send("220 welcome\r\n")
      given.client = client
    end)
    assert.matches("does not speak TLS", refusal(url, {ca = file "here.pem"}))
    given.client:close()
    url = "tls://localhost:" .. plain(function(client) client:close() end)
    assert.matches("in the TLS handshake", refusal(url, {ca = file "here.pem"}))
  end)

  it("waits no longer for a handshake than for a connection", function()
    local heard
    local url = "tls://localhost:" .. plain(function(client) heard = client end)
    assert.matches("no connection in 0.2 s", refusal(url, {ca = file "here.pem",
      connectTimeout = 0.2}))
    heard:settimeout(BOUND)
    assert.equal(22, heard:receive(1):byte()) -- a handshake's record
    local _, why = heard:receive("*a") -- it was given up
    assert.is_true(why == nil or why == "closed")
    heard:close()
  end)

  it("can be given up in its handshake, and nothing is told any more", function()
    local heard
    local url = "tls://localhost:" .. plain(function(client) heard = client end)
    local client, ended = connect(url, {ca = file "here.pem"})
    wait(function() return heard end)
    client:close("enough")
    assert.equal("enough", ended.reason)
    heard:settimeout(BOUND)
    heard:receive("*a") -- ends
    heard:close()
  end)

  it("shows its own certificate to a server that asks", function()
    local server = Process.start {"openssl", "s_server", "-accept", "127.0.0.1:0", "-naccept", "2",
      "-cert", file "here.pem", "-key", file "here.key", "-Verify", "1", "-verify_return_error",
      "-CAfile", file "elsewhere.pem", "-tls1_2"}
    local port = server:expect("stdout", "ACCEPT 127.0.0.1:(%d+)")
    local url = "tls://localhost:" .. port
    assert.matches("handshake failure", refusal(url, {ca = file "here.pem"}))
    local client = connect(url, {ca = file "here.pem", certificate = file "elsewhere.pem",
      key = file "elsewhere.key"})
    wait(function() return client.state == "open" end)
    client:call("knock", function() end)
    wait(function() return server:stdout():find("knock", 1, true) end)
  end)

  it("says what is wrong with its files", function()
    local function problem(given, url)
      local ok, message = pcall(sync.connect, url or "tls://localhost:1", given)
      assert.is_false(ok)
      return message
    end
    assert.matches("cannot open the authorities' file /nowhere", problem {ca = "/nowhere"})
    assert.matches("holds no certificate in PEM", problem {ca = file "here.key"})
    assert.matches("a certificate and its key are given together",
      problem {certificate = file "here.pem"})
    assert.matches("is not the certificate's",
      problem {certificate = file "here.pem", key = file "elsewhere.key"})
    assert.equal("sync.connect: ca is for tls://",
      problem({ca = file "here.pem"}, "tcp://localhost:1"))
  end)
end)

describe("a socket that is adopted", function()
  after_each(support.cleanUp)

  it("is connected before what has come for it already", function()
    local seen = {}
    local class = support.protocol {framing = "line"}
    function class.onConnect() seen[#seen + 1] = "connect" end
    function class.onData(_, data) seen[#seen + 1] = data end
    local connector = assert(Connector.new(class, {}))
    local ours, theirs = socketpair()
    ffi.cdef "ssize_t write(int fd, const void *bytes, size_t length); int close(int fd);"
    assert.equal(8, tonumber(ffi.C.write(theirs, "one\ntwo\n", 8)))
    assert(connector:adopt(ours))
    wait(function() return #seen >= 3 end)
    assert.same({"connect", "one", "two"}, seen)
    ffi.C.close(theirs) -- else the client stays, and the loop with it
    connector:close()
  end)
end)
