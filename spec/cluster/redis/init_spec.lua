local Process = require "spec.support.process"
local Program = require "spec.support.program"
local Redis = require "spec.support.redis"
local log = require "sync.log"
local loop = require "sync.loop"
local redis = require "sync.cluster.redis"
local support = require "spec.support"
local sync = require "sync"

local wait = support.wait

local engines, listeners, server = {}, {}, nil
local lines, write = {}, log.write

-- Opens an engine that notes what its handlers are told.
local function open(url, handlers)
  local seen = {ups = 0, downs = {}, messages = {}}
  handlers = handlers or {}
  local onMessage = handlers.onMessage
  local engine = assert(redis.open(url, {
    onUp = function()
      seen.ups = seen.ups + 1
      if handlers.onUp then handlers.onUp() end
    end,
    onDown = function(why) seen.downs[#seen.downs + 1] = why end,
    onMessage = onMessage or function(topic, bytes)
      seen.messages[#seen.messages + 1] = {topic, bytes}
    end,
  }))
  engines[#engines + 1] = engine
  return engine, seen
end

-- Opens one that is up, and hears a topic, if one is given.
local function connect(url, handlers, topic)
  local engine, seen = open(url or server:url(), handlers)
  if topic then engine:subscribe(topic) end
  wait(function() return engine:isUp() end)
  return engine, seen
end

-- Begins a request. Returns a table that will have `n` and what `done` is called with.
local function begin(engine, method, ...)
  local answer, arguments = {}, {n = select("#", ...), ...}
  arguments[arguments.n + 1] = function(...)
    assert(not answer.n, "done was called twice")
    answer.n = select("#", ...)
    answer[1], answer[2], answer[3] = ...
  end
  engine[method](engine, unpack(arguments, 1, arguments.n + 1))
  assert(not answer.n, "done was called from within the call")
  return answer
end

local function isTold(answer)
  return function() return answer.n end
end

local function ask(...)
  local answer = begin(...)
  wait(isTold(answer))
  return unpack(answer, 1, 3)
end

local function logged(pattern)
  local count = 0
  for _, line in ipairs(lines) do
    if line:find(pattern) then count = count + 1 end
  end
  return count
end

-- A server that is no Redis: `onData` answers what comes.
local function pretend(onData)
  local class = support.protocol {transports = {"tcp"}, maxQueue = 2 ^ 28, onData = onData}
  local listener = sync.enable("127.0.0.1", 0, class)
  listeners[#listeners + 1] = listener
  return listener.port
end

local BINARY = "\0\r\n$5\r\n%s*:\255'\"{}"

describe("sync.cluster.redis", function()
  before_each(function()
    lines = {}
    log.write = function(line) lines[#lines + 1] = line end
  end)

  after_each(function()
    log.write = write
    for _, engine in ipairs(engines) do engine:close() end
    for _, listener in ipairs(listeners) do listener:close() end
    engines, listeners = {}, {}
    for _, client in pairs(loop.clients) do client:abort() end
    wait(function() return loop.count == 0 end)
    assert.equal(0, logged("called twice"))
  end)

  describe("URLs", function()
    it("name a server or a socket, an account, a database and a prefix", function()
      local function read(url)
        local engine = open(url)
        return {engine.host, engine.port, engine.account.user, engine.account.password,
          engine.database, engine.channelPrefix}
      end
      assert.same({"localhost", 6379, "", nil, "0", "sync:"}, read "redis://localhost")
      assert.same({"10.0.0.1", 7000, "", "p:@/ %", "7", "a b:"},
        read "redis://:p:%40%2f%20%25@10.0.0.1:7000/7?prefix=a%20b")
      assert.same({"::1", 6379, "an:n", "x@y", "0", "sync:"}, read "redis://an%3An:x@y@[::1]/")
      assert.same({"unix:/run/a b.sock", 0, "ann", "x", "3", "p:"},
        read "unix://ann:x@/run/a%20b.sock?db=3&prefix=p")
    end)

    it("that are wrong are refused with what is wrong, and nothing of them is told", function()
      for url, wanted in pairs {
        ["redis://hidden@host"] = "USER:PASSWORD",
        ["redis://:hidden@"] = "the host",
        ["redis://:hid/den@host"] = "the host",
        ["redis://u:12/hidden@host"] = "the database",
        ["redis://hidden:port"] = "the port",
        ["redis://hidden:0"] = "the port",
        ["redis://hidden:65536"] = "the port",
        ["redis://[::1]hidden"] = "the port",
        ["redis://host/hidden"] = "the database",
        ["redis://host?hidden=1"] = "a parameter",
        ["redis://host?db=1&hidden"] = "a parameter",
        ["redis://:hidden%4@host"] = "hexadecimal",
        ["redis://host?prefix=hidden%zz"] = "hexadecimal",
        ["redis://host?prefix=hidden:"] = "the prefix",
        ["redis://host?prefix="] = "the prefix",
        ["unix://hidden/path"] = "unix:///PATH",
        ["unix:///" .. ("hidden"):rep(20)] = "107 bytes",
        ["unix:///hidden%00"] = "unix:///PATH",
        ["http://hidden"] = "redis://",
        ["redis+sentinel://:hidden@host:1,other:x/hidden"] = "the port",
        ["redis+sentinel://:hidden@host:1,other"] = "the master's name",
        ["redis+sentinel://host/name/hidden"] = "the database",
        ["redis+sentinel://host/name?ca=hidden"] = "a parameter",
        ["hidden"] = "redis://",
        ["rediss://:hidden@host?hidden=1"] = "a parameter",
        ["rediss://:hidden@host?ca=/nowhere"] = "cannot open the authorities' file /nowhere",
        ["rediss://:hidden@host?key=/nowhere"] = "given together",
        ["redis://host?ca=hidden"] = "a parameter",
        [1] = "a string",
      } do
        local engine, problem = redis.open(url, {})
        assert.is_nil(engine)
        assert.truthy(problem:find(wanted), problem)
        assert.falsy(problem:find("hidden"), problem)
      end
      assert.same({}, lines)
    end)
  end)

  it("speaks TLS, and shows a certificate to a server that asks", function()
    local certificate, key = Process.file(), Process.file()
    local made = os.execute(("openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 " ..
      "-nodes -days 2 -subj /CN=localhost -addext subjectAltName=DNS:localhost " ..
      "-out %s -keyout %s 2>/dev/null"):format(certificate, key))
    assert.equal(0, made)
    for _, asks in ipairs {"no", "yes"} do
      local port = Process.freePort()
      Redis.start(nil, "--tls-port", tostring(port), "--tls-cert-file", certificate,
        "--tls-key-file", key, "--tls-ca-cert-file", certificate, "--tls-auth-clients", asks)
      local url = ("rediss://localhost:%d?ca=%s"):format(port, certificate)
      local shown = ("&certificate=%s&key=%s"):format(certificate, key)
      local engine, seen = connect(url .. (asks == "yes" and shown or ""), nil, "topic")
      assert.is_true(ask(engine, "set", "key", ("x"):rep(60000), nil))
      assert.equal(60000, #ask(engine, "get", "key"))
      engine:publish("topic", BINARY)
      wait(function() return #seen.messages > 0 end)
      assert.same({{"topic", BINARY}}, seen.messages)
      local other, heard = open(asks == "yes" and url or "rediss://localhost:" .. port)
      wait(function() return heard.downs[1] end)
      assert.is_false(other:isUp())
      if asks == "no" then assert.matches("nobody that is trusted here", heard.downs[1]) end
    end
    Process.cleanUp()
  end)

  it("says which package to install when hiredis is missing", function()
    local ffi, loaded = require "ffi", package.loaded["sync.redis.hiredis"]
    local load, tried = ffi.load, 0
    package.loaded["sync.redis.hiredis"] = nil
    ffi.load = function()
      tried = tried + 1
      error "no such file"
    end
    local ok, problem = require "sync.redis.hiredis".load()
    ffi.load = load
    package.loaded["sync.redis.hiredis"] = loaded
    assert.is_nil(ok)
    assert.truthy(problem:find("libhiredis-dev", 1, true))
    assert.truthy(tried > 1)
  end)

  describe("with a server", function()
    setup(function() server = Redis.start() end)
    teardown(Process.cleanUp)
    before_each(function() server:command("FLUSHALL") end)

    it("says that it is up, once, and calls itself sync", function()
      local _, seen = connect()
      assert.equal(1, seen.ups)
      assert.same({}, seen.downs)
      assert.equal(1, logged("connected"))
      local _, count = server:command("CLIENT", "LIST"):gsub("name=sync ", "")
      assert.equal(2, count)
    end)

    it("looks names up", function()
      connect(("redis://localhost:%d"):format(server.port))
    end)

    it("connects to a Unix socket, and keeps databases apart", function()
      local one = connect("unix://" .. server.path .. "?db=1")
      local two = connect("unix://" .. server.path .. "?db=2")
      assert.is_true(ask(one, "set", "key", "value", nil))
      assert.is_nil(ask(two, "get", "key"))
      assert.equal("value", server:command("-n", "1", "GET", "sync:v:key"))
    end)

    it("takes any number of answers, of which each is short enough", function()
      local engine, value, last = connect(), ("x"):rep(2 ^ 16), nil
      ask(engine, "set", "key", value, nil)
      for _ = 1, 1100 do last = begin(engine, "get", "key") end -- 69 MiB
      wait(isTold(last))
      assert.equal(value, last[1])
    end)

    it("keeps values for as long as was said last, or for ever", function()
      local engine = connect()
      local function left(key) return tonumber(server:command("PTTL", "sync:v:" .. key)) end
      for _, change in ipairs {
        function(seconds) return ask(engine, "set", "key", "1", seconds) end,
        function(seconds) return ask(engine, "replace", "key", "1", "1", seconds) end,
        function(seconds) return ask(engine, "expire", "key", seconds) end,
      } do
        assert.is_true(change(1000.5))
        local milliseconds = left("key")
        assert.truthy(milliseconds > 900000 and milliseconds <= 1000500)
        assert.is_true(change(nil))
        assert.equal(-1, left("key"))
        assert.is_true(change(false))
        assert.equal(-1, left("key"))
      end
      ask(engine, "increment", "key", 1, 1000.5)
      ask(engine, "increment", "key", 1, nil) -- which changes nothing about that
      local milliseconds = left("key")
      assert.truthy(milliseconds > 900000 and milliseconds <= 1000500)
      ask(engine, "increment", "new", 1, nil)
      assert.equal(-1, left("new"))
      assert.is_false(ask(engine, "expire", "none", nil))
      assert.is_true(ask(engine, "set", "key", "x", 1e300))
      assert.is_true(ask(engine, "set", "key", "x", 0))
      wait(function() return ask(engine, "get", "key") == nil end)
    end)

    it("still runs its scripts when Redis has forgotten them", function()
      local engine = connect()
      ask(engine, "increment", "n", 1, nil)
      server:command("SCRIPT", "FLUSH")
      assert.equal(2, (ask(engine, "increment", "n", 1, nil)))
      assert.equal(3, (ask(engine, "increment", "n", 1, nil)))
      assert.is_true(ask(engine, "replace", "n", "3", "4", nil))
      assert.is_true(ask(engine, "replace", "n", "4", "5", nil))
    end)

    it("gives an error of Redis to the one who asked", function()
      local engine = connect()
      server:command("RPUSH", "sync:v:key", "x")
      local first, second = begin(engine, "get", "key"), begin(engine, "increment", "n", 1, nil)
      wait(isTold(second))
      assert.is_nil(first[1])
      assert.truthy(first[2]:find("^WRONGTYPE"))
      assert.equal(1, second[1])
      server:command("RPUSH", "sync:l:key", "x")
      engine:append("key", "x", 10)
      wait(function() return logged("refuses a command: WRONGTYPE") == 1 end)
      assert.is_true(engine:isUp())
      assert.equal(2, (ask(engine, "increment", "n", 1, nil)))
    end)

    it("appends to logs and reads them", function()
      local engine = connect()
      assert.same({}, (ask(engine, "read", "log", "", 10)))
      local ids, wanted = {}, {}
      for i = 1, 20 do
        wanted[i] = BINARY .. i
        ids[i] = ask(engine, "append", BINARY, wanted[i], 1000, 60)
      end
      local list = ask(engine, "read", BINARY, "", 1000)
      for i, entry in ipairs(list) do assert.same({id = ids[i], bytes = wanted[i]}, entry) end
      assert.equal(20, #list)
      list = ask(engine, "read", BINARY, ids[5], 3)
      assert.same({wanted[6], wanted[7], wanted[8]}, {list[1].bytes, list[2].bytes, list[3].bytes})
      assert.equal(3, #list)
      assert.same({}, (ask(engine, "read", BINARY, ids[20], 10)))
      assert.same({}, (ask(engine, "read", "log", "", 10)))
      for _, id in ipairs {"x", "1", "1-", "-1", "1-2-3", "1-99999999999999999999", "-", "+",
        "99999999999999999999-0", BINARY} do
        assert.equal(20, #ask(engine, "read", BINARY, id, 100)) -- of another engine
      end
      assert.same({}, (ask(engine, "read", BINARY, "9999999999999999999-0", 10)))
    end)

    it("bounds logs, and lets them expire after the last entry", function()
      local engine = connect()
      for i = 1, 999 do engine:append("log", ("%d"):format(i), 50, 1000) end
      ask(engine, "append", "log", "1000", 50, 1000)
      local list = ask(engine, "read", "log", "", 1000)
      assert.truthy(#list >= 50 and #list <= 250, #list)
      for i, entry in ipairs(list) do assert.equal(1000 - #list + i, tonumber(entry.bytes)) end
      local left = tonumber(server:command("PTTL", "sync:l:log"))
      assert.truthy(left > 900000 and left <= 1000000)
      ask(engine, "append", "log", "x", 50, nil)
      assert.equal(-1, tonumber(server:command("PTTL", "sync:l:log")))
      ask(engine, "append", "log", "x", 50, 0.05)
      wait(function() return #ask(engine, "read", "log", "", 1000) == 0 end)
    end)

    it("carries messages of any bytes to those that have subscribed", function()
      local sender = connect()
      local receiver, seen = connect()
      local topics = {"", "a", BINARY, ("t"):rep(200)}
      for _, topic in ipairs(topics) do
        receiver:subscribe(topic)
        receiver:subscribe(topic)
      end
      receiver:subscribe("gone")
      receiver:unsubscribe("gone")
      receiver:unsubscribe("gone")
      receiver:unsubscribe("never")
      receiver:subscribe("last")
      wait(function() return server:command("PUBSUB", "NUMSUB", "sync:last"):find("\n1$") end)
      local wanted = {}
      for _, bytes in ipairs {"", "x", BINARY, ("m"):rep(2 ^ 20)} do
        for _, topic in ipairs(topics) do
          assert.is_true(sender:publish(topic, bytes))
          wanted[#wanted + 1] = {topic, bytes}
        end
      end
      sender:publish("gone", "x")
      sender:publish("b", "x")
      sender:publish("last", "x")
      wanted[#wanted + 1] = {"last", "x"}
      wait(function() return #seen.messages == #wanted end)
      assert.same(wanted, seen.messages)
      assert.equal(0, sender.dropped)
    end)

    it("delivers nothing more of a topic that isn't wanted any more", function()
      local count, engine = 0, nil
      engine = connect(nil, {onMessage = function()
        count = count + 1
        engine:subscribe("other") -- so that Redis is told of the next change later
        engine:unsubscribe("topic")
      end})
      engine:subscribe("topic")
      wait(function() return server:command("PUBSUB", "NUMSUB", "sync:topic"):find("\n1$") end)
      for _ = 1, 10 do engine:publish("topic", "x") end
      wait(function() return server:command("PUBSUB", "NUMSUB", "sync:topic"):find("\n0$") end)
      assert.equal(1, count)
    end)

    it("keeps 10,000 messages in order between two engines", function()
      local count, next = 10000, 1
      local sender = connect()
      local receiver, seen = open(server:url(), {onMessage = function(topic, bytes)
        assert(topic == "topic" and tonumber(bytes) == next, bytes)
        next = next + 1
      end})
      receiver:subscribe("topic")
      wait(function() return receiver:isUp() end)
      for i = 1, count do
        assert.is_true(sender:publish("topic", tostring(i)))
        if i % 100 == 0 then loop.step() end
      end
      wait(function() return next == count + 1 end)
      assert.equal(1, seen.ups)
      assert.equal(0, logged("error"))
    end)

    it("keeps those with another prefix apart", function()
      local one, seenByOne = connect(server:url("?prefix=one"))
      local two, seenByTwo = connect(server:url("/0?prefix=two"))
      one:subscribe("topic")
      two:subscribe("topic")
      ask(one, "set", "key", "of one", nil)
      ask(one, "append", "log", "of one", 10, nil)
      assert.is_nil(ask(two, "get", "key"))
      assert.same({}, (ask(two, "read", "log", "", 10)))
      wait(function()
        return server:command("PUBSUB", "NUMSUB", "one:topic", "two:topic"):find("\n1\n.*\n1$")
      end)
      two:publish("topic", "of two")
      one:publish("topic", "of one")
      wait(function() return #seenByOne.messages + #seenByTwo.messages == 2 end)
      assert.same({{"topic", "of one"}}, seenByOne.messages)
      assert.same({{"topic", "of two"}}, seenByTwo.messages)
    end)

    it("subscribes to very many topics, again after a loss, and to no more than 100,000", function()
      local engine, seen = connect()
      for i = 1, 100000 do assert(engine:subscribe("topic " .. i)) end
      assert.truthy(engine.subscriber:queued() < 2 ^ 20) -- of nearly 4 MB
      assert.is_false(engine:subscribe("one more"))
      assert.is_true(engine:subscribe("topic 1"))
      assert.equal(1, logged("more than 100000 topics"))
      for i = 3001, 100000 do engine:unsubscribe("topic " .. i) end
      assert.is_true(engine:subscribe("one more"))
      local function count()
        return select(2, server:command("PUBSUB", "CHANNELS"):gsub("sync:", ""))
      end
      wait(function() return count() == 3001 end)
      assert.equal(3001, engine.topics.count)
      assert.equal(3001, engine.topics.wantedCount)
      server:command("CLIENT", "KILL", "TYPE", "pubsub")
      wait(function() return seen.ups == 2 end)
      assert.equal(3001, count())
      engine:publish("one more", "x")
      engine:publish("topic 4000", "x")
      engine:publish("topic 3000", "x")
      wait(function() return #seen.messages == 2 end)
      assert.same({{"one more", "x"}, {"topic 3000", "x"}}, seen.messages)
    end)

    it("tells what waits that it is away, and closes for good", function()
      local receiver, seen = connect()
      receiver:subscribe("topic")
      wait(function() return server:command("PUBSUB", "NUMSUB", "sync:topic"):find("\n1$") end)
      local engine = connect()
      engine:publish("topic", "last words")
      local answer = begin(engine, "get", "key")
      engine:close()
      engine:close()
      assert.is_nil(answer.n)
      assert.is_false(engine:isUp())
      assert.is_false(engine:publish("topic", "x"))
      assert.is_false(engine:subscribe("topic"))
      local later = begin(engine, "get", "key")
      wait(function() return answer.n and later.n and #seen.messages == 1 end)
      assert.same({nil, "away"}, {unpack(answer, 1, 2)})
      assert.same({nil, "away"}, {unpack(later, 1, 2)})
      wait(function() return loop.count == 2 end)
    end)

    it("lets a program stop", function()
      local code, out, err = Program.runCode(([[
        package.path = "lua/?.lua;" .. package.path
        local sync = require "sync"
        local engine
        engine = require "sync.cluster.redis".open(%q, {
          onUp = function()
            engine:publish("topic", "x")
            sync.stop()
          end,
          onMessage = function() end,
        })
        sync.start()
        print(engine:isUp(), engine:publish("topic", "x"))
      ]]):format(server:url()))
      assert.same({0, "false\tfalse\n"}, {code, out}, err)
    end)
  end)

  describe("with a server that goes", function()
    before_each(function() server = Redis.start() end)
    after_each(Process.cleanUp)

    it("comes back, and what was published meanwhile arrives before what is newer", function()
      local other, otherSeen = connect()
      local engine, seen = connect()
      engine:subscribe("topic")
      engine:subscribe("other")
      wait(function() return server:command("PUBSUB", "NUMSUB", "sync:other"):find("\n1$") end)
      server:kill("STOP")
      local waits = {begin(engine, "get", "key"), begin(engine, "increment", "key", 1, nil)}
      wait(function() return loop.step() == 0 end)
      server:kill("KILL")
      wait(function() return waits[1].n and waits[2].n end)
      for _, answer in ipairs(waits) do assert.same({nil, "away"}, {unpack(answer, 1, 2)}) end
      assert.is_false(engine:isUp())
      assert.same({nil, "away"}, {ask(engine, "get", "key")})
      local wanted = {}
      for i = 1, 100 do
        assert.is_true(engine:publish("topic", tostring(i)))
        wanted[i] = {"topic", tostring(i)}
      end
      engine:unsubscribe("other")
      engine:subscribe("new")
      wait(function() return engine.attempt >= 2 end) -- in vain
      server:restart()
      wait(function() return engine:isUp() and other:isUp() end)
      engine:publish("topic", "101")
      wanted[101] = {"topic", "101"}
      wait(function() return #seen.messages == 101 end)
      other:publish("other", "x")
      other:publish("new", "102")
      wanted[102] = {"new", "102"}
      wait(function() return #seen.messages == 102 end)
      assert.same(wanted, seen.messages)
      for _, each in ipairs {otherSeen, seen} do assert.same({2, 1}, {each.ups, #each.downs}) end
      assert.equal(2, logged("trying again"))
      assert.equal(4, logged("connected"))
      assert.equal(0, engine.dropped)
    end)

    it("says once that it can't connect, and connects when there is a server", function()
      server:kill("KILL")
      local engine, seen = open(server:url())
      wait(function() return engine.attempt >= 3 end)
      assert.same({0, 1}, {seen.ups, #seen.downs})
      assert.equal(1, logged("ECONNREFUSED") + logged("refused"))
      assert.equal(1, #lines)
      server:restart()
      wait(function() return engine:isUp() end)
      assert.same({1, 1}, {seen.ups, #seen.downs})
    end)

    it("notices one that answers nothing", function()
      local engine, seen = connect()
      engine:subscribe("topic")
      local answer = begin(engine, "get", "key")
      wait(isTold(answer))
      server:kill("STOP")
      engine.timeout = 0.3
      local late = begin(engine, "get", "key")
      wait(isTold(late))
      assert.same({nil, "timeout"}, {unpack(late, 1, 2)})
      assert.is_true(engine:isUp())
      engine.timeout, engine.pingSeconds = 60, 0.3
      local lost = begin(engine, "get", "key")
      wait(function() return #seen.downs == 1 end)
      assert.truthy(seen.downs[1]:find("no answer"))
      assert.same({nil, "away"}, {unpack(lost, 1, 2)})
      wait(function() return engine.attempt >= 2 end) -- the kernel accepts, but nobody greets
      engine.pingSeconds = 5
      server:kill("CONT")
      wait(function() return engine:isUp() end)
      assert.same({2, 1}, {seen.ups, #seen.downs})
      ask(engine, "get", "key")
      engine:publish("topic", "x")
      wait(function() return #seen.messages == 1 end)
    end)

    it("is not lost while nothing is said for long", function()
      local engine, seen = connect()
      engine.pingSeconds = 1
      local heard = engine.subscriber.heard
      wait(function()
        return engine.subscriber.heard > heard + 2 and engine.commander.heard > heard + 2
      end)
      assert.is_true(engine:isUp())
      assert.equal(0, #seen.downs)
    end)

    it("bounds what waits for a connection, and counts what it drops", function()
      local engine, seen = connect()
      engine:subscribe("topic")
      server:kill("KILL")
      wait(function() return #seen.downs == 1 end)
      local bytes = ("x"):rep(2 ^ 20 - 100)
      for i = 1, 8 do assert.is_true(engine:publish("topic", i .. bytes)) end
      for i = 9, 11 do assert.is_false(engine:publish("topic", i .. bytes)) end
      assert.is_true(engine:publish("topic", "small"))
      assert.equal(3, engine.dropped)
      assert.equal(1, logged("dropped=1$"))
      server:restart()
      wait(function() return #seen.messages == 9 end)
      for i = 1, 8 do assert.equal(i .. bytes, seen.messages[i][2]) end
      assert.equal("small", seen.messages[9][2])
      assert.equal(3, engine.dropped)
    end)

    it("bounds what waits for Redis to read, and stays in step with its answers", function()
      local engine, seen = connect(nil, nil, "topic")
      ask(engine, "set", "key", "value", nil)
      server:kill("STOP")
      local bytes, sent = ("x"):rep(2 ^ 20), 0
      while engine:publish("topic", sent .. bytes:sub(10)) do
        sent = sent + 1
        assert(sent < 100)
        if sent % 4 == 0 then loop.step() end
      end
      assert.truthy(sent >= 16)
      assert.equal(1, engine.dropped)
      local filler = {}
      while #filler < 1000 do -- until not even a value fits in
        filler[#filler + 1] = begin(engine, "set", "n" .. #filler, bytes:sub(1, 60000), nil)
        if engine.later then break end
      end
      local busy = begin(engine, "set", "key", bytes:sub(1, 60000), nil)
      wait(isTold(busy))
      assert.same({nil, "busy"}, {unpack(busy, 1, 2)})
      server:kill("CONT")
      local gets = {}
      wait(function()
        gets[#gets + 1] = begin(engine, "get", "key")
        return #seen.messages == sent
      end)
      wait(isTold(gets[#gets]))
      for i = 0, sent - 1 do assert.equal(i .. bytes:sub(10), seen.messages[i + 1][2]) end
      for _, get in ipairs(gets) do assert.truthy(get[1] == "value" or get[2] == "busy") end
      for i = 1, #filler - 1 do assert.is_true(filler[i][1]) end
      assert.equal("busy", filler[#filler][2])
      assert.equal("value", (ask(engine, "get", "key")))
      assert.same({1, 0}, {seen.ups, #seen.downs})
    end)

    it("bounds requests that wait", function()
      local engine = connect()
      ask(engine, "set", "key", "value", nil)
      server:kill("STOP")
      local answers = {}
      for i = 1, 10001 do answers[i] = begin(engine, "get", "key") end
      wait(isTold(answers[10001]))
      assert.same({nil, "busy"}, {unpack(answers[10001], 1, 2)})
      assert.is_nil(answers[10000].n)
      engine:set("key", "other", nil) -- nobody waits for it
      server:kill("CONT")
      wait(isTold(answers[10000]))
      for i = 1, 10000 do assert(answers[i][1] == "value") end
      assert.equal("other", (ask(engine, "get", "key")))
    end)
  end)

  describe("with a master and a replica", function()
    local replica

    before_each(function()
      server = Redis.start()
      replica = Redis.start(nil, "--replicaof", "127.0.0.1 " .. server.port)
    end)
    after_each(Process.cleanUp)

    it("takes no replica, says so once, and takes it when it is a master", function()
      local engine, seen = open(replica:url())
      wait(function() return engine.attempt >= 2 end)
      assert.same({0, 1}, {seen.ups, #seen.downs})
      assert.equal(1, logged("it is a %a+, not the master %(write the master's address"))
      assert.equal(1, #lines)
      replica:command("REPLICAOF", "NO", "ONE")
      wait(function() return engine:isUp() end)
    end)

    it("leaves a server that becomes a replica while nothing is written to it", function()
      local engine, seen = connect(server:url(), nil, "topic")
      engine.pingSeconds = 0.3
      server:command("REPLICAOF", "127.0.0.1", replica.port)
      wait(function() return #seen.downs == 1 end)
      assert.matches("not the master", seen.downs[1])
      assert.is_false(engine:isUp())
    end)

    it("leaves one as soon as a write is refused, by a command or within a script", function()
      for _, call in ipairs {{"set", "key", "value", nil}, {"increment", "key", 1, nil}} do
        server:command("REPLICAOF", "NO", "ONE")
        local engine, seen = connect()
        server:command("REPLICAOF", "127.0.0.1", replica.port)
        local answer = begin(engine, call[1], call[2], call[3], nil)
        wait(isTold(answer))
        assert.same({nil, "away"}, {unpack(answer, 1, 2)})
        assert.is_false(engine:isUp())
        assert.matches("READONLY", seen.downs[1])
        assert.is_true(logged("READONLY.*redis%+sentinel") >= 1)
        engine:close()
      end
    end)

    describe("and Sentinels", function()
      local sentinels, url

      before_each(function()
        local places = {}
        sentinels = {}
        for i = 1, 2 do
          local port = Process.freePort()
          local file = Process.file(("port %d\nbind 127.0.0.1\ndir /tmp\n" ..
            "sentinel monitor mine 127.0.0.1 %d 1\nsentinel down-after-milliseconds mine 500\n")
            :format(port, server.port))
          sentinels[i] = Process.start {"redis-server", file, "--sentinel"}
          Process.eventually("a Sentinel watches", function()
            return sentinels[i]:stdout():find("+monitor master mine", 1, true)
          end)
          Process.eventually("it knows the replica", function()
            return sentinels[i]:stdout():find("+slave slave", 1, true)
          end)
          places[i] = "127.0.0.1:" .. port
        end
        url = "redis+sentinel://" .. table.concat(places, ",") .. "/mine"
      end)

      it("goes to the new master, and events of all nodes arrive there", function()
        local one, seenByOne = connect(url, nil, "topic")
        local two = connect(url, nil, "topic")
        assert.equal(server.port, one.port)
        sentinels[1]:kill("KILL") -- the first that is asked
        sentinels[1]:wait()
        server:kill("KILL")
        wait(function() return not one:isUp() and not two:isUp() end)
        assert.is_true(two:publish("topic", "meanwhile"))
        wait(function() return one:isUp() and two:isUp() end, 30)
        assert.same({replica.port, replica.port}, {one.port, two.port})
        two:publish("topic", "after")
        wait(function() return #seenByOne.messages > 0 and
          seenByOne.messages[#seenByOne.messages][2] == "after" end)
        assert.is_true(ask(one, "set", "key", "value", nil))
        assert.equal("value", (ask(two, "get", "key")))
      end)

      it("says which name no Sentinel knows", function()
        local engine = open((url:gsub("mine$", "other")))
        wait(function() return engine.attempt >= 1 end)
        assert.equal(1, logged('no Sentinel tells where "other" is; .*does not know the master'))
      end)
    end)
  end)

  describe("with passwords", function()
    after_each(Process.cleanUp)

    it("logs in, also as a user with any password", function()
      server = Redis.start("hid den")
      connect(server:url("", ":hid%20den@"))
      server:command("ACL", "SETUSER", "an:n", "on", ">p@ss/%", "~sync:*", "&sync:*", "+@all",
        "-@dangerous")
      local engine, seen = connect(server:url("", "an%3An:p%40ss%2F%25@"), nil, "topic")
      ask(engine, "append", "log", "x", 10, 10)
      assert.equal(1, (ask(engine, "increment", "n", 1, 10)))
      assert.is_true(ask(engine, "replace", "n", "1", "2", 10))
      assert.is_true(ask(engine, "expire", "n", nil))
      engine:publish("topic", "x")
      wait(function() return #seen.messages == 1 end)
    end)

    it("says once what to do when one is wrong or missing, never the password", function()
      server = Redis.start("right")
      for account, wanted in pairs {
        [":hidden@"] = "WRONGPASS.*correct user and password",
        ["ann:hidden@"] = "WRONGPASS.*correct user and password",
        [""] = "NOAUTH.*redis://:PASSWORD@HOST",
      } do
        lines = {}
        local engine, seen = open(server:url("", account))
        wait(function() return engine.attempt >= 3 end)
        assert.equal(1, #lines)
        assert.equal(1, logged(wanted))
        assert.same({0, 1}, {seen.ups, #seen.downs})
        assert.falsy((lines[1] .. seen.downs[1]):find("hidden"))
        engine:close()
      end
    end)

    it("connects when the password has been put right", function()
      server = Redis.start("right")
      local engine, seen = open(server:url("", ":new@"))
      wait(function() return engine.attempt >= 2 end)
      server:command("CONFIG", "SET", "requirepass", "new")
      wait(function() return engine:isUp() end)
      assert.same({1, 1}, {seen.ups, #seen.downs})
    end)

    it("says what else a server may have against it", function()
      server = Redis.start(nil, "--databases", "4")
      local function complaint(url)
        lines = {}
        local engine = open(url)
        wait(function() return engine.attempt >= 2 end)
        assert.equal(1, #lines)
        engine:close()
        return lines[1]
      end
      assert.truthy(complaint(server:url("", ":hidden@")):find("take the password out"))
      assert.truthy(complaint(server:url("/4")):find("the URL names a database"))
      server:command("ACL", "SETUSER", "ann", "on", ">hidden", "~*", "&other:*", "+@all")
      local engine, seen = open(server:url("", "ann:hidden@"))
      engine:subscribe("topic")
      wait(function() return #seen.downs == 1 end)
      assert.equal(1, logged("NOPERM.*allow the user"))
      server:command("ACL", "SETUSER", "ann", "&sync:*")
      wait(function() return engine:isUp() end)
      assert.falsy(table.concat(lines):find("hidden"))
    end)
  end)

  describe("with what is no Redis, or not yet", function()
    it("waits while data is loaded, and says so once", function()
      local loading = "-LOADING Redis is loading the dataset in memory\r\n"
      local port = pretend(function(self, data)
        if data:find("PING", 1, true) then self:send(("+OK\r\n"):rep(2) .. loading) end
      end)
      local engine, seen = open("redis://127.0.0.1:" .. port)
      wait(function() return engine.attempt >= 3 end)
      assert.equal(1, #lines)
      assert.equal(1, logged("LOADING.*it passes"))
      assert.same({0, 1}, {seen.ups, #seen.downs})
    end)

    it("gives up a connection to another kind of server", function()
      local port = pretend(function(self) self:send("HTTP/1.1 400 Bad Request\r\n\r\n") end)
      local engine = open("redis://127.0.0.1:" .. port)
      wait(function() return engine.attempt >= 1 end)
      assert.equal(1, logged("doesn't speak Redis' protocol"))
    end)

    it("gives up a connection to one that greets nobody", function()
      local port = pretend(function() end)
      local engine = open("redis://127.0.0.1:" .. port)
      engine.pingSeconds = 0.3
      wait(function() return engine.attempt >= 1 end)
      assert.equal(1, logged("no answer"))
    end)

    it("says no password that an old server repeats", function()
      local port = pretend(function(self)
        self:send("-ERR unknown command `AUTH`, with args beginning with: `hid%den`, \r\n")
      end)
      local engine, seen = open(("redis://ann:hid%%25den@127.0.0.1:%d"):format(port))
      wait(function() return #seen.downs == 1 and engine.attempt >= 1 end)
      assert.equal(1, logged("unknown command `AUTH`, with args beginning with: `%*%*%*`"))
      assert.falsy((table.concat(lines) .. seen.downs[1]):find("hid%den", 1, true))
    end)

    it("takes no reply of more than 64 MiB", function()
      local chunk = ("x"):rep(2 ^ 20)
      local port = pretend(function(self)
        self:send("*66\r\n")
        for _ = 1, 66 do self:send(("$%d\r\n%s\r\n"):format(#chunk, chunk)) end
      end)
      local engine = open("redis://127.0.0.1:" .. port)
      wait(function() return engine.attempt >= 1 end)
      assert.equal(1, logged("a reply is longer than 64 MiB"))
    end)
  end)
end)
