-- sync.socket: sockets in LuaSocket's manner, and drivers that were written for that.

local Process = require "spec.support.process"
local Redis = require "spec.support.redis"
local luasocket = require "socket"
local support = require "spec.support"
local sync = require "sync"

local wait = support.wait
local socket = sync.socket

local function waits(fn, ...)
  local results
  local function run(...) results = {pcall(fn, ...)} end
  sync.spawn(run, ...)
  wait(function() return results end, 60)
  if not results[1] then error(results[2], 0) end
  return unpack(results, 2, table.maxn(results))
end

local function may(what, fn)
  it(what, function() waits(fn) end)
end

describe("sync.socket", function()
  local listeners = {}

  -- A server on this loop, which does what a class says.
  local function serve(fields, options)
    fields.transports = {"tcp"}
    local listener = sync.enable("127.0.0.1", 0, support.protocol(fields), options)
    listeners[#listeners + 1] = listener
    return listener.port
  end

  -- One that sends what it is sent.
  local function echo(options)
    return serve({onData = function(self, data) self:send(data) end, maxQueue = 2 ^ 26}, options)
  end

  local function certificate()
    local cert, key = Process.file(), Process.file()
    assert.equal(0, os.execute(("openssl req -x509 -newkey ec -pkeyopt " ..
      "ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=localhost -addext " ..
      "subjectAltName=DNS:localhost -out %s -keyout %s 2>/dev/null"):format(cert, key)))
    return cert, key
  end

  after_each(function()
    for _, listener in ipairs(listeners) do listener:close() end
    listeners = {}
  end)
  teardown(Process.cleanUp)

  may("sends, and receives by length, by line, and all", function()
    local port = serve {onData = function(self, data)
      if data == "go" then
        self:send "one\r\ntwo\n\nfour"
        self:close()
      end
    end}
    local one = assert(socket.connect("127.0.0.1", port))
    assert.equal(2, one:send "go")
    assert.equal("one", one:receive())
    assert.equal("tw", one:receive(2))
    assert.is_true(one:dirty())
    assert.equal("<o", one:receive(2, "<"))
    assert.equal("", one:receive "*l")
    assert.equal("", one:receive "l")
    assert.equal("", one:receive(0))
    assert.equal("fo", one:receive(2))
    assert.equal("ur", one:receive "*a")
    assert.same({nil, "closed", ""}, {one:receive "*a"})
    assert.same({nil, "closed", "p"}, {one:receive(3, "p")})
    assert.equal(1, one:close())
    assert.same({nil, "closed", 0}, {one:send "x"})
    assert.same({nil, "closed"}, {one:getpeername()})

    local part = assert(socket.connect("127.0.0.1", port))
    part:send "go"
    assert.same({nil, "closed", "one\r\ntwo\n\nfour"}, {part:receive(100)})
    local lines = assert(socket.connect("127.0.0.1", port))
    lines:send "go"
    for _ = 1, 3 do lines:receive() end
    assert.same({nil, "closed", "four"}, {lines:receive()})
    assert.has_error(function() lines:receive "*x" end)
  end)

  may("carries megabytes both ways, and parts of a string", function()
    local port = echo()
    local one = assert(socket.connect("127.0.0.1", port))
    local large = ("0123456789abcdef"):rep(2 ^ 17)
    local got
    sync.spawn(function()
      local two = assert(socket.connect("127.0.0.1", port))
      two:send "quick"
      got = two:receive(5)
    end)
    local sent
    sync.spawn(function() sent = one:send(large) end)
    local parts = {}
    for i = 1, 32 do parts[i] = assert(one:receive(2 ^ 16)) end
    assert.equal(large, table.concat(parts))
    assert.equal(#large, sent)
    assert.equal("quick", got)
    assert.equal(4, one:send("abcdef", 2, 4))
    assert.equal("bcd", one:receive(3))
    assert.equal(6, one:send("abcdef", -2))
    assert.equal("ef", one:receive(2))
    assert.equal(3, one:send("abc", 4))
    local received, told = one:getstats()
    assert.equal(#large + 5, received)
    assert.equal(#large + 5, told)
  end)

  may("keeps time limits, and says timeout", function()
    local one = assert(socket.connect("127.0.0.1", echo()))
    one:settimeout(0.05)
    local begun = sync.now()
    assert.same({nil, "timeout", ""}, {one:receive(1)})
    assert.is_true(sync.now() - begun >= 0.045)
    one:send "ab"
    assert.equal(one, socket.select({one}, nil, 20)[1])
    assert.same({nil, "timeout", "ab"}, {one:receive()})
    one:settimeout(nil)
    one:settimeout(0.05, "t")
    assert.same({nil, "timeout", "ab"}, {one:receive(5, "ab")})
    one:settimeout(0)
    assert.same({nil, "timeout", ""}, {one:receive(1)})
    one:settimeout(-1)
    one:settimeout(nil, "t")
    local before = socket.bounds.timeout
    socket.bounds.timeout = 0.05
    local two = assert(socket.connect("127.0.0.1", echo()))
    socket.bounds.timeout = before
    assert.equal("timeout", select(2, two:receive()))
  end)

  may("says what a connection fails by", function()
    local port = Process.freePort()
    assert.same({nil, "connection refused"}, {socket.connect("127.0.0.1", port)})
    assert.same({nil, "host or service not provided, or not known"},
      {socket.connect("no.such.host.invalid", 1)})
    assert.same({nil, "host or service not provided, or not known"},
      {socket.connect("127.0.0.1", 70000)})
    local one = assert(socket.connect("localhost", echo()))
    assert.same({nil, "already connected"}, {one:connect("127.0.0.1", port)})
    assert.same({"127.0.0.1", "inet"}, {(one:getpeername()), (select(3, one:getpeername()))})
    assert.is_number(select(2, one:getsockname()))
    assert.equal(1, one:setoption("tcp-nodelay", true))
    assert.equal(1, one:setoption("keepalive", true))
    assert.is_nil((one:setoption("ip-add-membership", true)))
    assert.equal("127.0.0.1", (socket.dns.toip "localhost"))
    assert.has_error(function() socket.bind("*", 0) end)
    assert.has_error(function() socket.udp() end)
    assert.has_error(function() one:listen() end)
  end)

  may("bounds sockets and lines", function()
    local port = serve {onConnect = function(self) self:send(("x"):rep(5000)) end}
    local bounds = socket.bounds
    local most, longest = bounds.most, bounds.maxReceive
    bounds.maxReceive = 1000
    local one = assert(socket.connect("127.0.0.1", port))
    assert.equal("too long", (select(2, one:receive())))
    local two = assert(socket.connect("127.0.0.1", port))
    assert.equal("too long", (select(2, two:receive "*a")))
    assert.equal("too long", (select(2, two:receive(1001))))
    bounds.maxReceive, bounds.most = longest, 0
    local none, problem = socket.connect("127.0.0.1", port)
    bounds.most = most
    assert.is_nil(none)
    assert.matches("^%d+ sockets are open already$", problem)
    one:close()
    two:close()
  end)

  it("waits only where one may, and closes what is forgotten", function()
    local port = echo()
    assert.matches("sync.socket: %l+ waits, so it must be called inside sync.spawn",
      support.raised(function() socket.connect("127.0.0.1", port):receive() end))
    assert.matches("looking up a name waits", support.raised(socket.connect, "localhost", port))
    local gone = 0
    local leaving = serve {onClose = function() gone = gone + 1 end}
    waits(function()
      for _ = 1, 20 do assert(socket.connect("127.0.0.1", leaving)) end
    end)
    wait(function()
      collectgarbage()
      return gone == 20
    end)
  end)

  may("ends a wait when it is closed, and takes one task at a time", function()
    local one = assert(socket.connect("127.0.0.1", echo()))
    local told
    sync.spawn(function() told = {one:receive()} end)
    assert.matches("another task waits", support.raised(one.receive, one))
    one:close()
    while not told do sync.sleep(0.01) end
    assert.same({nil, "closed", ""}, told)
  end)

  may("selects", function()
    local port = echo()
    local one, two = assert(socket.connect("127.0.0.1", port)), assert(socket.connect("127.0.0.1",
      port))
    assert.same({{}, {}, "timeout"}, {socket.select({one, two}, nil, 0.02)})
    assert.same({{}, {}, "timeout"}, {socket.select({one, two}, nil, 0)})
    two:send "x\ny"
    local reads = socket.select({one, two})
    assert.equal(two, reads[1])
    assert.equal(1, reads[two])
    assert.equal("x", two:receive())
    assert.equal(two, socket.select({two}, {}, 0)[1]) -- what it has already
    local _, writes = socket.select(nil, {one}, 1)
    assert.equal(one, writes[1])
  end)

  it("goes to Unix sockets", function()
    local redis = Redis.start()
    waits(function()
      local one = socket.unix()
      assert.equal(1, one:connect(redis.path))
      one:send "PING\r\n"
      assert.equal("+PONG", one:receive())
      local other = socket.unix()
      assert.is_nil((other:connect "/nowhere"))
    end)
  end)

  it("speaks TLS, and checks whom with", function()
    local cert, key = certificate()
    local port = echo {tls = {certificate = cert, key = key}}
    waits(function()
      local function dial(options, host)
        local one = assert(socket.connect(host or "localhost", port))
        local done, problem = one:sslhandshake(options)
        return done and one, problem
      end
      local one = assert(dial {cafile = cert})
      local large = ("0123456789abcdef"):rep(2 ^ 15)
      sync.spawn(function() one:send(large) end)
      assert.equal(large, one:receive(#large))
      one:send "a\nb"
      assert.equal("a", one:receive())
      assert.is_true(one:dirty())
      assert.equal("b", one:receive(1))
      one:settimeout(0.05)
      assert.same({nil, "timeout", ""}, {one:receive(1)})
      one:close()
      local none, problem = dial()
      assert.is_false(none or false)
      assert.matches("certificate verify failed", problem)
      none, problem = dial({cafile = cert}, "127.0.0.1")
      assert.is_false(none or false)
      assert.matches("certificate verify failed: .*IP address mismatch", problem)
      assert.truthy(dial({verify = false}, "127.0.0.1"))
      assert.truthy(dial({cafile = cert, host = "localhost"}, "127.0.0.1"))
      assert.is_nil((dial {cafile = "/nowhere"}) or nil)
      local plain = assert(socket.connect("127.0.0.1", echo()))
      assert.is_nil((plain:sslhandshake {verify = false}))
    end)
  end)

  it("says which package to install when libssl is missing", function()
    local ffi = require "ffi"
    local load, kept = ffi.load, package.loaded["sync.socket.openssl"]
    package.loaded["sync.socket.openssl"] = nil
    ffi.load = function() error "no such file" end
    local ok, none, problem = pcall(function() return require "sync.socket.openssl".open(0, {}) end)
    ffi.load, package.loaded["sync.socket.openssl"] = load, kept
    -- ffi.cdef takes the same declarations twice
    assert.is_true(ok, none)
    assert.is_nil(none)
    assert.matches("apt%-get install libssl3", problem)
  end)

  -- Drivers, as Debian brings them; the loop must go on while they wait.
  describe("in the place of LuaSocket", function()
    local NAMES = {"socket", "socket.core", "socket.unix", "ssl", "ssl.core", "redis",
      "socket.http", "socket.url", "socket.smtp", "socket.tp", "ltn12", "mime", "xmlrpc",
      "xmlrpc.http", "ssl.https"}
    local kept = {}

    before_each(function()
      for _, name in ipairs(NAMES) do
        kept[name] = package.loaded[name]
        if name ~= "mime" then package.loaded[name] = nil end
      end
      socket.install()
      assert.equal(socket, require "socket")
    end)
    after_each(function()
      for _, name in ipairs(NAMES) do package.loaded[name] = kept[name] end
      assert.equal(luasocket, require "socket")
    end)

    it("redis-lua runs, and others are served meanwhile", function()
      local server = Redis.start()
      waits(function()
        local ticks = 0
        local ticking = sync.every(0.01, function() ticks = ticks + 1 end)
        local client = require "redis".connect("127.0.0.1", server.port)
        assert.is_true(client:ping())
        client:set("a", "x\0\r\ny")
        assert.equal("x\0\r\ny", client:get "a")
        assert.same({"1", "2"}, client:pipeline(function(p)
          p:rpush("list", 1)
          p:rpush("list", 2)
          p:lrange("list", 0, -1)
        end)[3])
        local before = ticks
        assert.is_nil((client:blpop("none", 1))) -- a second in which the loop goes on
        assert.is_true(ticks > before)
        ticking:stop()
        local other
        sync.spawn(function()
          local popping = require "redis".connect("127.0.0.1", server.port)
          other = popping:blpop("jobs", 0)
        end)
        client:rpush("jobs", "job")
        while not other do sync.sleep(0.01) end
        server:kill "KILL"
        assert.is_false((pcall(client.get, client, "a")))
      end)
    end)

    it("LuaSocket's http and LuaXMLRPC run", function()
      local class = support.protocol {transports = {"http"}}
      class.routes["GET /slow"] = function() return ("x"):rep(100000) end
      class.routes["POST /rpc"] = function(request)
        local name, args = require "xmlrpc".srvDecode(request.body)
        return 200, require "xmlrpc".srvEncode(name .. ":" .. args[1] + args[2]),
          {["Content-Type"] = "text/xml"}
      end
      local listener = sync.enable("127.0.0.1", 0, class)
      listeners[#listeners + 1] = listener
      local base = "http://127.0.0.1:" .. listener.port
      waits(function()
        local http = require "socket.http"
        local body, status = http.request(base .. "/slow")
        assert.equal(200, status)
        assert.equal(100000, #body)
        assert.equal(404, (select(2, http.request(base .. "/none"))))
        local none, problem = http.request("http://127.0.0.1:" .. Process.freePort())
        assert.is_nil(none)
        assert.equal("connection refused", problem)
        local ok, result = require "xmlrpc.http".call(base .. "/rpc", "sum", 2, 3)
        assert.is_true(ok)
        assert.equal("sum:5", result)
      end)
    end)

    it("LuaSec's https runs", function()
      local cert, key = certificate()
      local class = support.protocol {transports = {"http"}}
      class.routes["GET /"] = function(request) return request.secure and "secure" or "plain" end
      local listener = sync.enable("127.0.0.1", 0, class, {tls = {certificate = cert, key = key}})
      listeners[#listeners + 1] = listener
      waits(function()
        local https, ltn12 = require "ssl.https", require "ltn12"
        local function request(more)
          local parts = {}
          more.url = "https://localhost:" .. listener.port
          more.sink = ltn12.sink.table(parts)
          local done, status = https.request(more)
          return done, status, table.concat(parts)
        end
        assert.same({1, 200, "secure"}, {request {verify = "peer", cafile = cert}})
        assert.same({1, 200, "secure"}, {request {verify = "none"}})
        local none, problem = request {verify = "peer"}
        assert.is_nil(none)
        assert.matches("certificate verify failed", problem)
      end)
    end)
  end)
end)
