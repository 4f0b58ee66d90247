local Nats = require "spec.support.nats"
local Process = require "spec.support.process"
local Relay = require "spec.support.relay"
local log = require "sync.log"
local loop = require "sync.loop"
local nats = require "sync.cluster.nats"
local socket = require "socket"
local support = require "spec.support"
local sync = require "sync"

local ANY = {}
for byte = 0, 255 do ANY[#ANY + 1] = string.char(byte) end
ANY = table.concat(ANY)          -- every byte
local NAME = ANY:sub(1, 67) .. ".*>\r\n \255" -- of a topic or a key

-- Turns the loop until something holds. Returns what it is.
local function wait(what, condition, seconds)
  local deadline = socket.gettime() + (seconds or Process.BOUND)
  while true do
    local value = condition()
    if value then return value end
    assert(socket.gettime() < deadline, "waited in vain: " .. what)
    if loop.step() == 0 then socket.sleep(0.001) end
  end
end

local engines = {}

-- An engine that notes what it's told: `ups`, `downs` and `messages`.
local function open(url)
  local engine
  local noted = {ups = 0, downs = {}, messages = {}}
  engine = assert(nats.open(url, {
    onUp = function() noted.ups = noted.ups + 1 end,
    onDown = function(why) table.insert(noted.downs, why) end,
    onMessage = function(topic, bytes) table.insert(noted.messages, {topic, bytes}) end,
  }))
  engines[#engines + 1] = engine
  return engine, noted
end

local function opened(url)
  local engine, noted = open(url)
  wait("a connection", function() return engine:isUp() end)
  return engine, noted
end

-- Calls a method and waits for what `done` gets.
local function ask(engine, method, ...)
  local answer
  local arguments = {n = select("#", ...), ...}
  arguments[arguments.n + 1] = function(...) answer = {n = select("#", ...), ...} end
  engine[method](engine, unpack(arguments, 1, arguments.n + 1))
  assert(not answer, method .. " has called done at once")
  wait(method, function() return answer end)
  return unpack(answer, 1, answer.n)
end

-- Waits until what one engine publishes reaches the other: its subscriptions are known to all
-- servers.
local function meet(from, noted, topic)
  wait("a message", function()
    from:publish(topic, "?")
    return #noted.messages > 0
  end)
  from:publish(topic, "!")
  wait("the last message", function() return noted.messages[#noted.messages][2] == "!" end)
  noted.messages = {}
end

local function bytesOf(list)
  local all = {}
  for i, entry in ipairs(list) do all[i] = entry.bytes end
  return all
end

local function cleanUp()
  for _, engine in ipairs(engines) do engine:close() end
  engines = {}
  wait("the end of all links", function() return loop.count == 0 end)
end

describe("sync.cluster.nats", function()
  local server

  setup(function() server = Nats.start() end)
  after_each(cleanUp)
  teardown(function()
    Nats.cleanUp()
    Process.cleanUp()
  end)

  it("says what is wrong with a URL, and never the password", function()
    local function refused(url) return select(2, nats.open(url, {})) end
    assert.equal("NATS: the URL must begin with nats:// or tls://", refused "http://localhost")
    assert.equal("NATS: the URL must be a string, not nil", refused(nil))
    assert.equal('NATS: "" is no HOST or HOST:PORT', refused "nats://")
    assert.equal('NATS: "b:0" is no HOST or HOST:PORT', refused "nats://ann:secret@a,b:0")
    assert.equal('NATS: "b:70000" is no HOST or HOST:PORT', refused "nats://a,b:70000")
    assert.equal("NATS: unknown option prefx; there are prefix, ca, maxage and replicas",
      refused "nats://ann:secret@a?prefx=b")
    assert.equal('NATS: option prefix can\'t be "a.b"', refused "nats://a?prefix=a.b")
    assert.equal('NATS: option maxage can\'t be "0"', refused "nats://a?maxage=0")
    for _, url in ipairs {"nats://ann:secret", "nats://ann:1?secret@a", "nats://se cret?x=1@a",
      "tls://ann:s?prefix=secret!@a", "nats://token?secret@a"} do
      assert.is_nil(refused(url):find("se ?cret"), refused(url))
    end
  end)

  it("asks again what no server has answered, as while they elect who leads", function()
    local relay = Relay.open(server.port, 0)
    local lost = {}
    local a = opened("nats://127.0.0.1:" .. relay.port .. "?prefix=unanswered")
    function relay.change(bytes)
      return (bytes:gsub("API%.STREAM%.(%u+)", function(what)
        if lost[what] then return nil end
        lost[what] = true
        return "API.STREAM." .. ("X"):rep(#what) -- nobody knows that question
      end))
    end
    local since = socket.gettime()
    assert.equal(7, (ask(a, "increment", "n", 7, nil)))
    assert.equal("7", (ask(a, "get", "n")))
    assert.same({INFO = true, CREATE = true, MSG = true}, lost)
    assert.is_true(socket.gettime() - since > 2.5) -- each waited for its second time
    a:close()
    relay:close()
  end)

  it("delivers messages of topics that are subscribed to, until they are not", function()
    local a = opened(server.url)
    local b, noted = opened(server.url)
    b:subscribe "news"
    b:subscribe "news"
    b:subscribe "other"
    meet(a, noted, "news")
    assert.is_true(a:publish("nobody's", "1"))
    a:publish("news", "2")
    a:publish("other", "3")
    wait("both", function() return #noted.messages == 2 end)
    assert.same({{"news", "2"}, {"other", "3"}}, noted.messages)
    b:unsubscribe "news"
    b:unsubscribe "news"
    ask(b, "get", "nothing") -- the server has read what was sent before
    a:publish("news", "4")
    a:publish("other", "5")
    wait("one more", function() return #noted.messages == 3 end)
    assert.same({"other", "5"}, noted.messages[3])
    b:subscribe "news"
    ask(b, "get", "nothing")
    a:publish("news", "6")
    wait("one more", function() return #noted.messages == 4 end)
    assert.same({"news", "6"}, noted.messages[4])
    assert.equal(1, noted.ups)
  end)

  it("keeps the order of 10,000 messages, and loses none", function()
    local a = opened(server.url)
    local b, noted = opened(server.url)
    for i = 0, 9 do b:subscribe("room" .. i) end
    meet(a, noted, "room0")
    for i = 1, 10000 do assert.is_true(a:publish("room" .. i % 10, tostring(i))) end
    wait("all", function() return #noted.messages >= 10000 end)
    for i = 1, 10000 do
      assert(noted.messages[i][1] == "room" .. i % 10 and noted.messages[i][2] == tostring(i))
    end
    assert.same({10000, 0, 0}, {#noted.messages, a.dropped, b.dropped})
  end)

  it("keeps logs", function()
    local a, b = opened(server.url), opened(server.url)
    assert.same({}, (ask(a, "read", NAME, "", 10)))
    local first = ask(a, "append", NAME, ANY, 50, 60)
    ask(b, "append", "other", "x", 50, 60)
    for i = 1, 9 do a:append(NAME, tostring(i), 50, 60, nil) end
    local last = ask(a, "append", NAME, "", 50, 60)
    local list = ask(b, "read", NAME, "", 100)
    assert.same({ANY, "1", "2", "3", "4", "5", "6", "7", "8", "9", ""}, bytesOf(list))
    assert.same({first, last}, {list[1].id, list[11].id})
    assert.same({"1", "2"}, bytesOf(ask(b, "read", NAME, first, 2)))
    assert.same({"9", ""}, bytesOf(ask(b, "read", NAME, list[9].id, 100)))
    assert.same({}, (ask(b, "read", NAME, last, 100)))
    assert.is_true(first < last)
    -- An id of a stream that is no more.
    assert.equal(11, #ask(b, "read", NAME, ("1"):rep(23) .. "-0000000000000500", 100))
  end)

  it("keeps about as many entries of a log as it's told", function()
    local a, b = opened(server.url), opened(server.url)
    for i = 1, 120 do a:append("short", tostring(i), 10, 60, nil) end
    local waits = 0
    for i = 1, 300 do
      waits = waits + 1
      b:append("long", tostring(i), 200, 60, function(id, err)
        assert(id, err)
        waits = waits - 1
      end)
    end
    wait("all", function() return waits == 0 end)
    local long = bytesOf(ask(b, "read", "long", "", 1000))
    assert.same({200, "101", "300"}, {#long, long[1], long[200]})
    -- The stream now keeps 200 of each. The short one is cut now and then.
    for i = 1, 500 do a:append("short", tostring(i), 10, 60, i % 50 == 0 and function() end) end
    wait("all", function() return ask(a, "read", "short", "", 1000) end)
    local short = bytesOf(ask(a, "read", "short", "", 1000))
    assert(#short >= 10 and #short < 150, "it has " .. #short)
    assert.equal("500", short[#short])
  end)

  it("keeps prefixes apart", function()
    local a = opened(server.url .. "?prefix=one")
    local b, noted = opened(server.url .. "?prefix=two")
    local c, seen = opened(server.url .. "?prefix=one")
    b:subscribe "x"
    c:subscribe "x"
    meet(a, seen, "x")
    ask(a, "set", "key", "one", nil)
    ask(a, "append", "log", "one", 5, 60)
    assert.is_nil(ask(b, "get", "key"))
    assert.same({}, (ask(b, "read", "log", "", 5)))
    assert.same({}, noted.messages)
  end)

  it("buffers up to a bound while it's away, and counts what it drops", function()
    local b, seen = opened(server.url)
    b:subscribe "buffered"
    ask(b, "get", "nothing")
    local a, noted = open(server.url)
    a.maxBuffer = 8 + 10 * 99
    for i = 1, 10 do assert.is_true(a:publish("buffered", ("x"):rep(90) .. i % 10)) end
    assert.is_false(a:publish("buffered", "x"))
    assert.equal(1, a.dropped)
    assert.same({nil, "away"}, {ask(a, "get", "key")})
    wait("all", function() return #seen.messages == 10 end)
    for i = 1, 10 do assert.equal(tostring(i % 10), seen.messages[i][2]:sub(-1)) end
    assert.same({0, 1}, {#noted.downs, noted.ups})
  end)

  it("tells once that there is no server, and connects when there is", function()
    local late = Nats.start {plain = true}
    late:signal "KILL"
    local lines = support.logged(function()
      local a, noted = open(late.url)
      wait("attempts", function() return a.attempt >= 3 end)
      assert.equal(1, #noted.downs)
      late:run()
      wait("a connection", function() return a:isUp() end)
      assert.same({1, 1}, {#noted.downs, noted.ups})
    end)
    assert.equal(2, #lines)
    assert.matches("no connection to 127.0.0.1:" .. late.port, lines[1], 1, true)
    assert.matches("is back, to 127.0.0.1:" .. late.port, lines[2], 1, true)
  end)

  it("bounds what is asked at the same time, and topics", function()
    local a = opened(server.url)
    ask(a, "get", "key") -- the bucket is there
    a.maxPending, a.maxTopics = 3, 2
    local answers = {}
    for i = 1, 4 do
      a:get("key", function(_, err) answers[#answers + 1] = i .. (err or "") end)
    end
    assert.same({}, answers)
    wait("all", function() return #answers == 4 end)
    table.sort(answers)
    assert.same({"1", "2", "3", "4busy"}, answers)
    assert.is_true(a:subscribe "1")
    assert.is_true(a:subscribe "2")
    assert.is_false(a:subscribe "3")
    a:unsubscribe "1"
    assert.is_true(a:subscribe "3")
  end)

  it("drops what comes faster than it's taken, and counts it", function()
    local a = opened(server.url)
    local b, noted = opened(server.url)
    b:subscribe "flood"
    meet(a, noted, "flood")
    -- Another process floods; this one does not turn its loop.
    local flood = Process.start {os.getenv "SYNC_LUA" or "./sync-lua", Process.file(([[
      package.path, package.cpath = %q, %q
      io.stdout:setvbuf "no"
      local nats, loop = require "sync.cluster.nats", require "sync.loop"
      local engine, sent, bytes = nil, 0, ("x"):rep(1024 * 1024)
      engine = nats.open(%q, {onMessage = print, onDown = print, onUp = function()
        loop.startTimer(0.001, 0.001, function()
          while sent < 60 and engine.link:queued() < 4e6 do
            engine:publish("flood", bytes)
            sent = sent + 1
          end
          if sent == 60 and engine.link:queued() == 0 then
            sent = 61
            engine:get("x", function() print("sent " .. engine.dropped) end)
          end
        end)
      end})
      loop.run()
    ]]):format(package.path, package.cpath, server.url))}
    assert.equal("0", (flood:expect("stdout", "sent (%d+)")))
    flood:kill "KILL"
    local lines = support.logged(function()
      wait("all", function() return #noted.messages + b.dropped == 60 end)
    end)
    assert(b.dropped > 0 and #noted.messages >= 15, b.dropped .. " were dropped")
    assert.matches("were dropped", lines[1])
  end)

  it("comes back when the server was killed", function()
    local mortal = Nats.start()
    local a, noted = opened(mortal.url)
    local b, seen = opened(mortal.url)
    b:subscribe "t"
    b:subscribe "u"
    b:unsubscribe "u"
    meet(a, seen, "t")
    ask(a, "set", "key", "x", nil)
    local err
    local lines = support.logged(function()
      mortal:signal "STOP"
      a:get("key", function(_, why) err = why end)
      loop.step()
      mortal:signal "KILL"
      wait("the loss", function() return #noted.downs == 1 and #seen.downs == 1 end)
      assert.equal("away", err)
      assert.is_false(a:isUp())
      a:publish("t", "while it was away")
      a:publish("t", "in order")
      mortal:run()
      wait("both back", function() return a:isUp() and b:isUp() end)
    end)
    -- b may have come back after a: then it has missed them.
    a:publish("t", "after")
    wait("messages", function()
      return #seen.messages > 0 and seen.messages[#seen.messages][2] == "after"
    end)
    assert.same({2, 2, 1, 1}, {noted.ups, seen.ups, #noted.downs, #seen.downs})
    assert.equal(4, #lines) -- each says once that it goes, and that it's back
    assert.is_nil(ask(a, "get", "key")) -- it was in memory
    assert.is_true(ask(a, "set", "key", "y", nil))
  end)

  it("notices a server that is silent, and tells those who wait", function()
    local mortal = Nats.start()
    local a, noted = open(mortal.url)
    a.timeLimit, a.pingInterval = 1, 2
    wait("a connection", function() return a:isUp() end)
    ask(a, "get", "key")
    mortal:signal "STOP"
    assert.same({nil, "timeout"}, {ask(a, "get", "key")})
    wait("the loss", function() return #noted.downs == 1 end)
    mortal:signal "CONT"
    wait("a connection", function() return noted.ups == 2 end)
  end)

  it("says what is wrong with a password, and never says it", function()
    local guarded = Nats.start {plain = true, arguments = {"--user", "ann", "--pass", "p@ss:w/rd"}}
    local place = guarded.url:match "//(.*)"
    local lines = support.logged(function()
      local a, noted = open("nats://ann:wrongsecret@" .. place)
      wait("the refusal", function() return #noted.downs == 1 end)
      assert.matches("uthorization", noted.downs[1])
      wait("another attempt", function() return a.attempt >= 3 end)
      assert.equal(1, #noted.downs)
      local b = opened("nats://ann:p%40ss%3Aw%2Frd@" .. place)
      guarded:signal "KILL"
      wait("the loss", function() return not b:isUp() end)
    end)
    assert.equal(2, #lines)
    for _, line in ipairs(lines) do
      assert.matches(place, line, 1, true)
      assert.is_nil(line:find("secret", 1, true) or line:find("p@ss", 1, true))
    end
  end)

  it("knows tokens", function()
    local guarded = Nats.start {plain = true, arguments = {"--auth", "s3cret"}}
    opened("nats://s3cret@" .. guarded.url:match "//(.*)")
  end)

  it("says that a server has no JetStream; messages go all the same", function()
    local plain = Nats.start {plain = true}
    local a = opened(plain.url)
    local b, noted = opened(plain.url)
    b:subscribe "t"
    meet(a, noted, "t")
    local why = "the NATS server has no JetStream: start it with -js"
    assert.same({nil, why}, {ask(a, "get", "key")})
    assert.same({nil, why}, {ask(a, "set", "key", "x", 5)})
    assert.same({nil, why}, {ask(a, "append", "log", "x", 5, 5)})
    assert.same({nil, why}, {ask(a, "read", "log", "", 5)})
  end)

  it("goes to another server of a cluster, which has the values and logs", function()
    local cluster = Nats.cluster()
    local url = cluster.url .. "?replicas=3"
    local a, noted = opened(url)
    local b = opened(url)
    a.timeLimit, b.timeLimit = 2, 2
    -- The cluster elects its leaders.
    wait("JetStream", function() return ask(a, "set", "key", "kept", nil) end)
    wait("JetStream", function() return ask(a, "append", "log", "kept", 5, 60) end)
    assert.equal(1, (ask(a, "increment", "count", 1, nil)))
    for _, server3 in ipairs(cluster) do
      if a.place:find(":" .. server3.port, 1, true) then server3:signal "KILL" end
    end
    wait("the loss", function() return #noted.downs == 1 end)
    wait("a connection", function() return a:isUp() and b:isUp() end)
    wait("the value", function() return ask(a, "get", "key") == "kept" end)
    wait("the log", function()
      local list = ask(a, "read", "log", "", 5)
      return list and #list == 1 and list[1].bytes == "kept"
    end)
    -- One that is late may be done nevertheless.
    wait("a count", function() return (ask(b, "increment", "count", 1, nil) or 0) >= 2 end)
    local seen = {}
    b:attach {onMessage = function(topic) seen[#seen + 1] = topic end}
    b:subscribe "t"
    wait("a message", function()
      a:publish("t", "x")
      return #seen > 0
    end)
  end)

  it("speaks TLS, and believes only whom it's told to", function()
    local folder = os.tmpname()
    os.remove(folder)
    os.execute("mkdir " .. folder)
    local made = os.execute(("openssl req -x509 -newkey rsa:2048 -nodes -days 2 -keyout %s/key " ..
      "-out %s/certificate -subj /CN=localhost -addext subjectAltName=DNS:localhost " ..
      "2>/dev/null"):format(folder, folder))
    assert.equal(0, made)
    local safe = Nats.start {arguments = {"--tls", "--tlscert", folder .. "/certificate",
      "--tlskey", folder .. "/key"}}
    local port = safe.url:match ":(%d+)$"
    local a = opened(("tls://localhost:%s?ca=%s/certificate"):format(port, folder))
    assert.is_true(ask(a, "set", "key", ANY:rep(256), nil))
    assert.is_true(ask(a, "get", "key") == ANY:rep(256))
    local _, noted = open("tls://localhost:" .. port)
    wait("the refusal", function() return #noted.downs == 1 end)
    local _, other = open(("tls://127.0.0.1:%s?ca=%s/certificate"):format(port, folder))
    wait("the refusal", function() return #other.downs == 1 end)
    os.execute("rm -r " .. folder)
  end)

  it("takes no answer that is too long, and goes on", function()
    local long = ("x"):rep(8 * 2 ^ 20)
    local Bad = support.protocol {transports = {"tcp"}, framing = "line", maxQueue = 2 ^ 28,
      detectTimeout = 0.01}
    function Bad:onConnect()
      self:send('INFO {"server_id":"x","version":"2.9.0","proto":1,"max_payload":1048576}\r')
    end
    function Bad:onData(line)
      local inbox = line:match "^PUB %S+ (_INBOX%S+) %d"
      local text = line:find "JS.API" and long or ""
      if line:find "^PING" then
        self:send "PONG\r"
      elseif inbox then
        self:send(("MSG %s 1 %d\r\n%s\r"):format(inbox, #text, text))
      end
    end
    local listener = sync.enable("127.0.0.1", 0, Bad)
    local a, noted = opened("nats://127.0.0.1:" .. listener.port)
    assert.same({nil, "NATS: an answer is too long"}, {ask(a, "get", "key")})
    assert.is_true(a:isUp())
    assert.same({}, noted.downs)
    listener:close()
    a:close()
    for client in Bad.clients do client:abort() end
  end)

  it("survives what its handlers raise", function()
    local a = opened(server.url)
    local count = 0
    local b = assert(nats.open(server.url, {onUp = function() error "mine" end,
      onMessage = function() count = count + 1 error "mine" end}))
    engines[#engines + 1] = b
    wait("a connection", function() return b:isUp() end)
    b:subscribe "t"
    wait("messages", function()
      a:publish("t", "x")
      return count > 3
    end)
    assert.is_true(b:isUp())
    b:get("nothing", function() error "mine" end)
    assert.is_nil(ask(b, "get", "nothing"))
    assert.is_true(b:isUp())
  end)

  it("can be closed at any time", function()
    local a = open(server.url)
    a:close()
    a:close()
    assert.is_false(a:isUp())
    local b = opened(server.url)
    local err
    b:get("key", function(_, why) err = why end)
    b:close()
    wait("the answer", function() return err end)
    assert.equal("away", err)
    assert.is_false(b:publish("t", "x"))
    assert.same({nil, "away"}, {ask(b, "get", "key")})
    local c = open(server.url)
    loop.step()
    c:close()
  end)

  it("logs nothing when all is well", function()
    local lines = {}
    local write = log.write
    log.write = function(line) lines[#lines + 1] = line end
    local a = opened(server.url)
    a:close()
    log.write = write
    assert.same({}, lines)
  end)
end)
