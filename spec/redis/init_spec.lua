-- sync.redis, with a server of Redis' own.

local Process = require "spec.support.process"
local Redis = require "spec.support.redis"
local hostile = require "spec.support.hostile"
local log = require "sync.log"
local support = require "spec.support"
local sync = require "sync"
local task = require "sync.task"

local wait = support.wait

-- Runs a function that may wait, and returns what it returns; its errors are raised.
local function waits(fn, ...)
  local results
  local function run(...) results = {n = 0, pcall(fn, ...)} end
  sync.spawn(run, ...)
  wait(function() return results end, 60)
  if not results[1] then error(results[2], 0) end
  return unpack(results, 2, table.maxn(results))
end

-- The failure that a function raises.
local function failure(fn, ...)
  local ok, found = pcall(fn, ...)
  assert.is_false(ok)
  assert.equal("table", type(found), tostring(found))
  return found
end

local function codeOf(fn, ...)
  return failure(fn, ...).code
end

-- A spec that is a function which may wait.
local function may(what, fn)
  it(what, function() waits(fn) end)
end

describe("sync.redis", function()
  local server, db
  local opened = {}

  local function open(...)
    local made = sync.redis(...)
    opened[#opened + 1] = made
    return made
  end

  setup(function() server = Redis.start() end)
  teardown(Process.cleanUp)

  before_each(function()
    db = open(server:url())
    waits(function() db:flushall() end)
  end)

  after_each(function()
    for _, each in ipairs(opened) do each:close() end
    opened = {}
  end)

  describe("its commands", function()
    may("keep types and bytes", function()
      assert.equal("OK", db:set("a", "x\0\r\n\255"))
      assert.equal("x\0\r\n\255", db:get "a")
      assert.is_nil(db:get "nothing")
      assert.equal(1, db:command("hset", "h", "f", 1.5))
      assert.same({f = "1.5"}, db:hgetall "h")
      assert.same({n = 3, "1.5", nil, nil}, db:hmget("h", "f", "g", "i"))
      assert.same({maxmemory = "0"}, db:config("get", "maxmemory"))
      assert.equal(2 ^ 53, db:incrby("n", 2 ^ 53))
      assert.equal("9007199254740993LL", tostring(db:incr "n"))
      assert.equal(-9223372036854775807LL - 1, db:incrby("low", -9223372036854775807LL - 1))
      assert.equal("9007199254740993", db:get "n")
      assert.same({n = 2, "a", {n = 2, 1, "b"}}, db:eval("return {'a', {1, 'b'}}", 0))
      assert.equal("", db:echo "")
      local large = ("0123456789abcdef"):rep(2 ^ 18)
      db:set("large", large)
      assert.equal(large, db:get "large")
    end)

    may("inject nothing, whatever a string holds", function()
      local texts = {}
      hostile.each(function(text) texts[#texts + 1] = text end)
      for from = 1, #texts - 4999, 5000 do
        local answers = db:pipeline(function(p)
          for i = from, from + 4999 do p:echo(texts[i]) end
        end)
        for i = 0, 4999 do assert(answers[i + 1] == texts[from + i]) end
        db:hset("hostile", texts[from], texts[from + 1])
        assert.equal(texts[from + 1], db:hget("hostile", texts[from]))
        local found = failure(db.command, db, "x" .. texts[from], texts[from])
        assert.equal("failed", found.code)
      end
      assert.same({n = 1, "hostile"}, db:keys "*")
    end)

    may("raise Redis' failures, and what is no command", function()
      db:set("a", "text")
      local found = failure(db.lpush, db, "a", 1)
      assert.equal("failed", found.code)
      assert.equal("WRONGTYPE", found.native)
      assert.matches("^sync.redis: .*%(failed, WRONGTYPE%)$", tostring(found))
      assert.equal("ERR", failure(db.nonsense, db).native)
      assert.equal("misuse", codeOf(db.get, db, nil))
      assert.equal("misuse", codeOf(db.get, db, {}))
      assert.equal("misuse", codeOf(db.set, db, "a", 0 / 0))
      assert.matches("argument 2 is a boolean", failure(db.set, db, "a", true).message)
      for _, name in ipairs {"multi", "SUBSCRIBE", "Select", "quit", "wait", "monitor"} do
        assert.equal("misuse", codeOf(db.command, db, name, "1"))
      end
      assert.equal("misuse", codeOf(db.client, db, "reply", "off"))
      assert.equal("text", db:get "a")
      assert.is_nil(db.Nothing)
    end)

    it("wait, so only where one may", function()
      assert.matches("db:command waits, so it must be called inside sync.spawn",
        support.raised(db.get, db, "a"))
    end)

    may("of many tasks share a connection, in order, and none waits for another", function()
      local order, done = {}, 0
      local before = db:info("stats"):match "total_connections_received:(%d+)"
      task.await(function(resume)
        for i = 1, 2000 do
          sync.spawn(function()
            db:rpush("list", i)
            order[#order + 1] = i
            done = done + 1
            if done == 2000 then resume() end
          end)
        end
        assert.equal(0, done)
      end)
      local list = db:lrange("list", 0, -1)
      for i = 1, 2000 do
        assert.equal(tostring(i), list[i])
        assert.equal(i, order[i])
      end
      assert.equal(before, db:info("stats"):match "total_connections_received:(%d+)")
    end)

    may("whose answers are beyond the bound cost their caller the connection", function()
      local small = open(server:url(), {maxReply = 100000, maxBuffer = 50000})
      db:set("large", ("x"):rep(200000))
      db:eval("for i = 1, 100 do redis.call('RPUSH', 'l', string.rep('y', 5000)) end", 0)
      assert.equal("too large", codeOf(small.get, small, "large"))
      assert.equal("too large", codeOf(small.lrange, small, "l", 0, -1))
      assert.equal("busy", codeOf(small.set, small, "a", ("x"):rep(60000)))
      assert.equal("misuse", codeOf(small.pipeline, small, function(p)
        p:set("a", ("x"):rep(60000))
      end))
      assert.equal(100, small:llen "l")
    end)

    may("that block leave the others alone", function()
      local popped
      local waiting = sync.spawn(function() popped = db:blpop("queue", 0) end)
      wait(function() return waiting.status == "waiting" end)
      db:set("a", 1) -- answered meanwhile
      assert.is_nil(popped)
      db:rpush("queue", "job")
      while not popped do sync.sleep(0.01) end
      assert.same({n = 2, "queue", "job"}, popped)
      assert.is_nil(db:blpop("queue", 0.01))
      assert.is_nil(db:xread("BLOCK", 10, "STREAMS", "s", "$"))
      db:xadd("s", "1-1", "f", "v")
      assert.same({n = 1, {n = 2, "s", {n = 1, {n = 2, "1-1", {n = 2, "f", "v"}}}}},
        db:xread("COUNT", 1, "STREAMS", "s", "0"))
      assert.equal("misuse", codeOf(db.pipeline, db, function(p) p:blpop("q", 1) end))
    end)

    may("that block are bounded, and cost their connection when they are given up", function()
      local small = open(server:url(), {size = 1, queueTimeout = 0.3})
      local first = sync.spawn(function() small:blpop("queue", 0) end)
      while db:info("clients"):match "blocked_clients:(%d+)" ~= "1" do sync.sleep(0.01) end
      assert.equal("busy", codeOf(small.blpop, small, "other", 1))
      first:cancel()
      assert.is_nil(small:blpop("other", 0.01)) -- it has the place
      while db:info("clients"):match "blocked_clients:(%d+)" ~= "0" do sync.sleep(0.01) end
      db:rpush("queue", "job")
      assert.equal("job", db:lpop "queue") -- nobody took it
    end)
  end)

  describe("a task that is cancelled", function()
    may("is told at the wait, and what it has waited for costs nothing", function()
      local told = {}
      local function run(i, fn)
        local begun = sync.spawn(function()
          local ok, problem = pcall(fn)
          told[i] = not ok and problem.code
        end)
        return begun
      end
      local small = open(server:url(), {size = 1})
      small:ping()
      run(1, function() small:get "a" end):cancel()
      assert.is_nil(small:get "a") -- the answer before was not its own
      local blocked = run(2, function() small:blpop("queue", 0) end)
      local behind = run(3, function() small:blpop("queue", 0) end)
      while db:info("clients"):match "blocked_clients:(%d+)" ~= "1" do sync.sleep(0.01) end
      behind:cancel()
      blocked:cancel()
      local watching = run(4, function()
        small:watch("a", function() sync.sleep(60) end)
      end)
      run(5, function() small:subscribe("news", print) end):cancel()
      sync.sleep(0.05)
      watching:cancel()
      while not told[4] do sync.sleep(0.01) end
      assert.same({"cancelled", "cancelled", "cancelled", "cancelled", "cancelled"}, told)
      assert.is_nil(small:blpop("other", 0.01)) -- its connection is there again
      db:rpush("queue", "job")
      assert.equal("job", db:lpop "queue")
      while db:publish("news", "x") > 0 do sync.sleep(0.01) end
      -- One whose call waits for a connection is never sent.
      local own = Redis.start()
      own:kill "KILL"
      local away = open(own:url(), {timeout = 60})
      run(6, function() away:set("never", 1) end):cancel()
      sync.spawn(function() told[7] = away:set("sent", 1) end)
      own:restart()
      while not told[7] do sync.sleep(0.01) end
      assert.same({n = 1, "sent"}, away:keys "*")
      assert.equal("cancelled", told[6])
    end)
  end)

  describe("what goes together", function()
    may("is a pipeline", function()
      local answers = db:pipeline(function(p)
        assert.is_nil(p:set("a", 1))
        p:incr "a"
        p:get "none"
        p:command("HSET", "h", "f", "v")
        p:hgetall "h"
      end)
      assert.same({n = 5, "OK", 2, nil, 1, {f = "v"}}, answers)
      assert.same({n = 0}, db:pipeline(function() end))
      local found = failure(db.pipeline, db, function(p)
        p:incr "a"
        p:lpush("a", 1)
        p:incr "a"
      end)
      assert.equal("WRONGTYPE", found.native)
      assert.matches("^command 2 %(LPUSH%)", found.message)
      assert.equal(4, found.results[3])
    end)

    may("or a unit, of which all is done or nothing", function()
      assert.same({n = 2, "OK", 3}, db:multi(function(unit)
        unit:set("a", 2)
        unit:incr "a"
      end))
      local found = failure(db.multi, db, function(unit)
        unit:incr "a"
        unit:nonsense()
        unit:incr "a"
      end)
      assert.matches("^command 2 %(NONSENSE%): .*nothing was done$", found.message)
      assert.equal("3", db:get "a")
      found = failure(db.multi, db, function(unit)
        unit:incr "a"
        unit:lpush("a", 1)
      end)
      assert.equal("WRONGTYPE", found.native)
      assert.equal(4, found.results[1])
      assert.has_error(function() db:multi(function() error("no", 0) end) end, "no")
      assert.equal("4", db:get "a")
    end)

    may("after what was watched, if nobody has changed that", function()
      db:set("stock", 2)
      local function take(meanwhile)
        return db:watch("stock", function(tx)
          local left = tonumber(tx:get "stock")
          if meanwhile then meanwhile() end
          if left < 1 then return "none left" end
          return tx:multi(function(unit) unit:decr "stock" end)[1]
        end)
      end
      assert.equal(1, take())
      local found = failure(take, function() db:set("stock", 5) end)
      assert.equal("conflict", found.code)
      assert.equal("5", db:get "stock")
      db:set("stock", 0)
      assert.equal("none left", take())
      -- What was watched before is not any more, on the same connection.
      assert.equal(1, db:watch("other", function(tx)
        db:set("stock", 1)
        return tx:multi(function(unit) unit:incr "other" end)[1]
      end))
      local kept
      db:watch("stock", function(tx) kept = tx end)
      assert.equal("misuse", codeOf(kept.get, kept, "a"))
      assert.equal("misuse", codeOf(db.watch, db, "stock"))
    end)
  end)

  describe("its subscriptions", function()
    may("hear what is published, until they are closed", function()
      local heard = {}
      local function note(message, channel) heard[#heard + 1] = channel .. "=" .. message end
      local one = db:subscribe("news", note)
      local again = db:subscribe("news", function(message) note(message, "again") end)
      local some = db:psubscribe("s*", note)
      assert.equal(1, db:publish("news", "a\0b"))
      assert.equal(1, db:publish("sport", "x"))
      while #heard < 3 do sync.sleep(0.01) end
      assert.same({"news=a\0b", "again=a\0b", "sport=x"}, heard)
      one:close()
      again:close()
      again:close()
      while db:publish("news", "b") > 0 do sync.sleep(0.01) end
      some:close()
      while db:publish("sport", "b") > 0 do sync.sleep(0.01) end
      assert.equal(3, #heard)
      while db:info("clients"):match "pubsub_clients:(%d+)" == "1" do sync.sleep(0.01) end
      assert.equal("misuse", codeOf(db.subscribe, db, "news"))
    end)

    may("give a function that waits one message after the other, within a bound", function()
      local heard, came, resume = {}, 0, nil
      local counting = db:subscribe("news", function() came = came + 1 end)
      local subscription = db:subscribe("news", sync.waits(function(message)
        task.await(function(done) resume = done end)
        heard[#heard + 1] = message
        if message == "3" then error "no" end
      end))
      for i = 1, 5 do db:publish("news", i) end
      for i = 1, 4 do
        while not resume do sync.sleep(0.01) end
        local go = resume
        resume = nil
        assert.equal(i - 1, #heard)
        go()
      end
      while #heard < 4 do sync.sleep(0.01) end
      assert.same({"1", "2", "3", "4"}, heard)
      while not resume do sync.sleep(0.01) end -- the fifth is in hand
      db:pipeline(function(p)
        for i = 6, 1105 do p:publish("news", i) end
      end)
      while came < 1105 do sync.sleep(0.01) end
      for i = 5, 1005 do
        while not resume do sync.sleep(0.001) end
        local go = resume
        resume = nil
        go()
        while #heard < i do sync.sleep(0.001) end
      end
      assert.equal("1005", heard[#heard]) -- 1,000 were held, the rest was dropped
      db:publish("news", "more")
      while not resume do sync.sleep(0.01) end
      resume()
      while #heard < 1006 do sync.sleep(0.01) end
      assert.equal("more", heard[1006])
      subscription:close()
      counting:close()
    end)

    may("come back, and errors in them cost nothing else", function()
      local heard = {}
      db:subscribe("news", function() error "broken" end)
      db:subscribe("news", function(message) heard[#heard + 1] = message end)
      db:publish("news", "one")
      while #heard < 1 do sync.sleep(0.01) end
      db:client("KILL", "TYPE", "pubsub")
      while db:publish("news", "two") == 0 do sync.sleep(0.01) end
      while heard[#heard] ~= "two" do sync.sleep(0.01) end
      local small = open(server:url(), {subscriptions = 1})
      small:subscribe("a", print)
      assert.equal("busy", codeOf(small.subscribe, small, "b", print))
    end)
  end)

  describe("without a server", function()
    may("sends what waits when the server is there", function()
      local own = Redis.start()
      own:kill "KILL"
      local mine, got = open(own:url(), {timeout = 60}), {}
      for i = 1, 3 do
        sync.spawn(function() got[i] = mine:incr "n" end)
      end
      sync.sleep(0.3) -- it has tried by then, or not: all the same
      own:restart()
      while not got[3] do sync.sleep(0.01) end
      assert.same({1, 2, 3}, got)
    end)

    may("says so, soon at once", function()
      local port = Process.freePort()
      local lines, write = {}, log.write
      log.write = function(line) lines[#lines + 1] = line end
      local away = open("redis://127.0.0.1:" .. port, {timeout = 1})
      local found = failure(away.get, away, "a")
      log.write = write
      assert.equal("away", found.code)
      assert.matches("can't be reached %(.*refused.*was not sent", found.message)
      assert.matches("Redis at 127.0.0.1:" .. port, table.concat(lines))
      assert.equal(1, #lines)
      sync.sleep(1)
      local begun = sync.now()
      assert.equal("away", codeOf(away.get, away, "a")) -- at once, by now
      assert.is_true(sync.now() - begun < 0.9)
      assert.equal("away", codeOf(away.blpop, away, "a", 1))
      assert.equal("away", codeOf(away.subscribe, away, "a", print))
    end)

    may("bounds what waits", function()
      local away = open("redis://127.0.0.1:" .. Process.freePort(), {timeout = 0.3, queue = 3,
        maxBuffer = 1000})
      local codes = {}
      for i = 1, 5 do
        sync.spawn(function() codes[i] = codeOf(away.get, away, "a") end)
      end
      assert.same({[4] = "busy", [5] = "busy"}, codes)
      while not codes[1] or not codes[2] or not codes[3] do sync.sleep(0.01) end
      assert.equal("away", codes[1])
      local other = open("redis://127.0.0.1:" .. Process.freePort(), {maxBuffer = 100})
      assert.equal("busy", codeOf(other.set, other, "a", ("x"):rep(200)))
    end)

    may("tells those who wait that it was closed", function()
      local codes = {}
      local closing = open(server:url())
      closing:ping()
      sync.spawn(function() codes[2] = codeOf(closing.blpop, closing, "a", 0) end)
      local away = open("redis://127.0.0.1:" .. Process.freePort())
      sync.spawn(function() codes[3] = codeOf(away.get, away, "a") end)
      sync.sleep(0.05)
      closing:close()
      away:close()
      while not (codes[2] and codes[3]) do sync.sleep(0.01) end
      assert.equal("closed", codeOf(closing.get, closing, "a"))
      assert.equal("closed", codeOf(closing.blpop, closing, "a", 0))
      assert.equal("closed", codeOf(closing.subscribe, closing, "a", print))
      sync.sleep(0) -- they go on behind this one
      assert.equal("closed", codes[3])
      assert.equal("closed", codes[2])
    end)
  end)

  describe("a slow server", function()
    local slow
    before_each(function() slow = slow or Redis.start() end)

    may("is given up when it says nothing, and used again when it does", function()
      local mine = open(slow:url(), {timeout = 2, connectTimeout = 2})
      mine:set("a", 1)
      slow:kill "STOP"
      local codes = {}
      for i = 1, 3 do
        sync.spawn(function() codes[i] = codeOf(mine.incr, mine, "a") end)
      end
      while #codes < 3 do sync.sleep(0.01) end
      table.sort(codes)
      assert.same({"in doubt", "in doubt", "timeout"}, codes)
      sync.spawn(function() codes[4] = codeOf(mine.incr, mine, "b") end)
      while #codes < 4 do sync.sleep(0.01) end
      assert.equal("away", codes[4])
      slow:kill "CONT"
      local ok
      repeat
        ok = pcall(mine.get, mine, "a")
        sync.sleep(0.01)
      until ok
      assert.equal("4", mine:get "a") -- it has done what was in doubt
      assert.is_nil(mine:get "b")     -- and not what was never sent
    end)
  end)

  it("reconnects under load: each call succeeds, or fails once", function()
    local own = Redis.start()
    local mine = open(own:url(), {timeout = 2, connectTimeout = 1})
    local begun, succeeded, codes, running = 0, 0, {}, 0
    local stop = false
    for i = 1, 50 do
      running = running + 1
      sync.spawn(function()
        while not stop do
          begun = begun + 1
          local ok, problem = pcall(function()
            if i % 5 == 0 then mine:blpop("q" .. i, 0.01) else mine:incr "n" end
          end)
          if ok then
            succeeded = succeeded + 1
          elseif type(problem) == "table" then
            codes[problem.code] = (codes[problem.code] or 0) + 1
          else
            codes[tostring(problem)] = 1
          end
          sync.sleep(0.001)
        end
        running = running - 1
      end)
    end
    for _ = 1, 3 do
      local before = succeeded
      wait(function() return succeeded > before + 300 end)
      own:kill "KILL"
      local failed = function()
        local sum = 0
        for _, count in pairs(codes) do sum = sum + count end
        return sum
      end
      local then_ = failed()
      wait(function() return failed() > then_ end)
      own:restart()
    end
    local before = succeeded
    wait(function() return succeeded > before + 300 end)
    stop = true
    wait(function() return running == 0 end)
    local failed = 0
    for code, count in pairs(codes) do
      assert.is_true(({away = 1, ["in doubt"] = 1, timeout = 1, busy = 1})[code] ~= nil, code)
      failed = failed + count
    end
    assert.equal(begun, succeeded + failed)
    assert.is_true(failed > 0)
  end)

  it("logs in, by all URLs", function()
    local safe = Redis.start("se:cr@t", "--databases", "4")
    waits(function()
      assert.equal("denied", codeOf(open(safe:url("", "")).get, open(safe:url("", "")), "a"))
      local wrong = open(safe:url("", ":no@"), {timeout = 60})
      local begun = sync.now()
      local found = failure(wrong.get, wrong, "a")
      assert.equal("denied", found.code)
      assert.is_true(sync.now() - begun < 30)
      assert.equal("denied", codeOf(wrong.blpop, wrong, "a", 1))
      assert.equal("denied", codeOf(wrong.subscribe, wrong, "a", print))
      local one = open(safe:url("/2", ":se%3Acr%40t@"))
      one:set("where", "two")
      local two = open(("unix://:se%%3Acr%%40t@%s?db=2"):format(safe.path))
      assert.equal("two", two:get "where")
      assert.is_nil(two:blpop("none", 0.01))
      assert.equal("two", two:watch("x", function(tx) return tx:get "where" end))
      assert.is_nil(open(safe:url("/3", ":se%3Acr%40t@")):get "where")
      two:acl("SETUSER", "ann", "on", ">pw", "~*", "&*", "+@all", "-@dangerous")
      local ann = open(safe:url("/2", "ann:pw@"))
      assert.equal("two", ann:get "where")
      assert.equal("denied", codeOf(ann.flushall, ann))
      local nowhere = open(safe:url("/9", ":se%3Acr%40t@"), {timeout = 3})
      assert.matches("out of range", failure(nowhere.get, nowhere, "a").message)
    end)
    assert.matches("must be a string", support.raised(sync.redis, 1))
    assert.matches("no setting size2", support.raised(sync.redis, "redis://h", {size2 = 1}))
    assert.matches("size must be a number", support.raised(sync.redis, "redis://h", {size = "1"}))
    assert.not_matches("geheim", support.raised(sync.redis, "redis://u:geheim@h:1:2"))
    assert.matches("parameter that is not known", support.raised(sync.redis, "redis://h?prefix=x"))
  end)

  it("speaks TLS", function()
    local certificate, key = Process.file(), Process.file()
    assert.equal(0, os.execute(("openssl req -x509 -newkey ec -pkeyopt " ..
      "ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=localhost -addext " ..
      "subjectAltName=DNS:localhost -out %s -keyout %s 2>/dev/null"):format(certificate, key)))
    local port = Process.freePort()
    Redis.start(nil, "--tls-port", tostring(port), "--tls-cert-file", certificate,
      "--tls-key-file", key, "--tls-ca-cert-file", certificate, "--tls-auth-clients", "no")
    waits(function()
      local mine = open(("rediss://localhost:%d?ca=%s"):format(port, certificate))
      mine:set("a", ("x"):rep(60000))
      assert.equal(60000, #mine:get "a")
      assert.is_nil(mine:blpop("none", 0.01))
      local other = open("rediss://localhost:" .. port, {timeout = 1})
      local found = failure(other.get, other, "a")
      assert.equal("away", found.code)
      assert.matches("nobody that is trusted here", found.message)
    end)
  end)

  it("goes to the new master that Sentinel names", function()
    local master, replica = Redis.start(), Redis.start()
    replica:command("replicaof", "127.0.0.1", master.port)
    wait(function() return replica:command("info", "replication"):find "master_link_status:up" end)
    local port = Process.freePort()
    local file = Process.file(("port %d\nbind 127.0.0.1\ndir /tmp\nsentinel monitor mine " ..
      "127.0.0.1 %d 1\nsentinel down-after-milliseconds mine 500\n"):format(port, master.port))
    local sentinel = Process.start {"redis-server", file, "--sentinel"}
    wait(function() return sentinel:stdout():find("+slave slave", 1, true) end)
    waits(function()
      local mine = open(("redis+sentinel://127.0.0.1:%d/mine"):format(port))
      mine:set("a", 1)
      assert.is_nil(mine:blpop("none", 0.01))
      assert.equal(master.port, tonumber(mine:config("GET", "port").port))
      master:kill "KILL"
      local codes = {}
      repeat
        local ok, problem = pcall(mine.incr, mine, "a")
        if not ok then
          codes[problem.code] = true
          sync.sleep(0.05)
        end
      until ok
      codes["in doubt"], codes.away, codes.timeout = nil, nil, nil
      assert.same({}, codes)
      assert.equal(replica.port, tonumber(mine:config("GET", "port").port))
      assert.is_nil(mine:blpop("none", 0.01))
    end)
  end)
end)
