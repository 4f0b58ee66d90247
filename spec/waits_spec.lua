-- Handlers that wait: sync.waits, and what belongs to them.

local loop = require "sync.loop"
local support = require "spec.support"
local sync = require "sync"
local task = require "sync.task"
local testing = require "sync.testing"
local waits = require "sync.waits"

-- Waits until `go(name, …)` is called. Returns what that is given.
local waiting = {}
local function waitFor(name)
  return task.await(function(resume) waiting[name] = resume end)
end

-- Ends what waits still.
local function finish()
  support.cleanUp()
  while next(waiting) do
    local list = waiting
    waiting = {}
    support.logged(function()
      for _, resume in pairs(list) do resume() end
    end)
  end
  assert.equal(0, loop.waiting)
end

local function go(name, ...)
  local resume = assert(waiting[name], name .. " is not waited for")
  waiting[name] = nil
  resume(...)
  testing.settle()
end

-- A class whose messages wait for their own text, when that begins with "w".
local function lines(fields)
  local Lines = support.protocol(fields or {})
  Lines.framing = rawget(Lines, "framing") or "line"
  Lines.onData = sync.waits(function(self, text, kind)
    if text:find("^w") then self:send("(" .. text) waitFor(text) end
    self:send(text .. (kind and " " .. kind or ""))
  end)
  return Lines
end

describe("sync.waits", function()
  after_each(finish)

  it("gives a plain function, which calls another where it may wait", function()
    local Base = support.protocol {framing = "line"}
    local order = {}
    Base.onData = sync.waits(function(self, text)
      order[#order + 1] = waitFor "base"
      self:send("base " .. text)
    end)
    local Game = Base:extend("SpecHeir")
    Game.onData = sync.waits(function(self, text)
      order[#order + 1] = "heir"
      Game.super.onData(self, text)
      self:send("heir " .. text)
    end)
    assert.equal("function", type(Game.onData))
    assert.equal(Game.onData, sync.waits(Game.onData)) -- once
    local client = support.connect(Game)
    client:send("a\n")
    assert.equal("", client:received())
    go("base", 1)
    assert.equal("base a\nheir a\n", client:received())
    assert.same({"heir", 1}, order)
    assert.matches("must be a function, not nil", support.raised(sync.waits, nil))
  end)

  it("keeps the order of a client's messages, and holds nobody else up", function()
    local ann, bob = support.connect(lines(), 2)
    support.bothWays(function(feed)
      feed(ann, "a\nw1\nb\nw2\nc\n")
      assert.equal("a\n(w1\n", ann:received())
      feed(bob, "d\n")
      assert.equal("d\n", bob:received())
      go "w1"
      assert.equal("w1\nb\n(w2\n", ann:received())
      feed(ann, "e\n")
      assert.equal("", ann:received())
      go "w2"
      assert.equal("w2\nc\ne\n", ann:received())
      feed(ann, "f\n")
      assert.equal("f\n", ann:received())
    end)
  end)

  it("takes no more of a client than a tick's, whatever it sends", function()
    local Lines = lines()
    local ann = support.connect(Lines)
    ann:send("w1\n")
    local row = ("x\n"):rep(100)
    local taken = 0
    for _ = 1, 10000 do -- the core takes no more than a message and 64 KiB
      local C, handle = require("sync.core").C, require("sync.core").handle
      taken = taken + C.sync_memory_feed(handle, ann.slot, row, #row)
    end
    testing.settle()
    assert.is_true(taken <= 2 * 64 * 1024)
    assert.equal(0, ann.server._inHand.last - ann.server._inHand.first + 1)
    go "w1"
    assert.equal("(w1\nw1\n" .. ("x\n"):rep(taken / 2), ann:received())
  end)

  it("keeps messages back while onConnect waits, also from a handler that doesn't", function()
    local Game = support.protocol {framing = "line"}
    Game.onConnect = sync.waits(function(self) self.name = waitFor "login" end)
    function Game:onData(text) self:send(self.name .. " " .. text) end
    local ann = support.connect(Game)
    ann:send("one\ntwo\n")
    assert.equal("", ann:received())
    go("login", "ann")
    assert.equal("ann one\nann two\n", ann:received())
    assert.is_nil(rawget(ann.server, "onData"))
    ann:send("three\n")
    assert.equal("ann three\n", ann:received())
  end)

  it("keeps bytes back, too, and no handler of bytes waits", function()
    local Game = support.protocol {framing = "line"}
    Game.onConnect = sync.waits(function() waitFor "login" end)
    function Game:onBytes(bytes, length) self:sendBytes(bytes, length) end
    local ann = support.connect(Game)
    ann:send("one\ntwo\n")
    assert.equal("", ann:received())
    go "login"
    ann:send("three\n")
    assert.equal("one\ntwo\nthree\n", ann:received())
    local Wrong = support.protocol {onBytes = sync.waits(function() end)}
    assert.matches("onBytes can't wait", support.raised(sync.enable, "127.0.0.1", 0, Wrong))
  end)

  it("lets a handler take another's place meanwhile", function()
    local Game = support.protocol {framing = "line"}
    Game.onConnect = sync.waits(function(self)
      waitFor "login"
      self.onData = function(client, text) client:send("playing " .. text) end
    end)
    function Game:onData(text) self:send("lost " .. text) end
    local ann = support.connect(Game)
    ann:send("one\n")
    go "login"
    ann:send("two\n")
    assert.equal("playing one\nplaying two\n", ann:received())
  end)

  it("sends each answer as its own message was", function()
    local ann = support.connect(lines {framing = "raw"}, 1, {transports = {"websocket"}})
    ann:sendTogether {{"w1", "text"}, {"w2", "binary"}, {"c", "text"}}
    assert.same({"(w1", "text"}, {ann:message()})
    ann.server:send("between")
    assert.same({"between", "text"}, {ann:message()})
    go "w1"
    assert.same({"w1 text", "text"}, {ann:message()})
    assert.same({"(w2", "binary"}, {ann:message()})
    go "w2"
    assert.same({"w2 binary", "binary"}, {ann:message()})
    assert.same({"c text", "text"}, {ann:message()})
  end)

  it("goes on when its client goes, and onClose follows its end", function()
    local Game, steps = lines(), {}
    Game.onData = sync.waits(function(self)
      waitFor "end"
      local ok, why = self:send("x")
      steps[#steps + 1] = tostring(ok) .. " " .. why
    end)
    function Game:onClose(reason) steps[#steps + 1] = reason end
    function Game:finish() steps[#steps + 1] = "finish" end
    local ann = support.connect(Game)
    ann:send("a\n")
    local server = ann.server
    server:abort()
    testing.settle()
    assert.same({}, steps)
    assert.equal(0, Game.clients:count())
    assert.is_nil(sync.client(server.id))
    go "end"
    assert.same({"false closed", "aborted", "finish"}, steps)
  end)

  it("may be onClose", function()
    local steps = {}
    local Game = support.protocol()
    Game.onClose = sync.waits(function(_, reason)
      waitFor "saved"
      steps[#steps + 1] = reason
    end)
    function Game:finish() steps[#steps + 1] = "finish" end
    local ann = support.connect(Game)
    ann.server:close("enough")
    testing.settle()
    assert.same({}, steps)
    go "saved"
    assert.same({"enough", "finish"}, steps)
  end)

  it("takes nothing more after a close", function()
    local ann = support.connect(lines())
    ann:send("w1\na\n")
    ann.server:close("enough")
    go "w1"
    assert.equal("(w1\n", ann:received())
  end)

  it("costs its client when it fails, as any other", function()
    local Game = support.protocol {framing = "line"}
    local seen
    function Game:onError(err) seen = err end
    Game.onData = sync.waits(function(_, text)
      if text == "late" then waitFor "end" end
      error("oh " .. text, 0)
    end)
    for _, text in ipairs {"now", "late"} do
      local ann, bob = support.connect(Game, 2)
      local log = support.logged(function()
        ann:send(text .. "\n")
        if text == "late" then go "end" end
        testing.settle()
      end)
      assert.equal("oh " .. text, seen)
      assert.matches("waits_spec.lua", log[1] .. (log[2] or ""))
      assert.is_false(ann:isOpen())
      assert.is_true(bob:isOpen())
    end
  end)

  it("has a time limit that is raised where it waits", function()
    local Game = support.protocol {framing = "line", waitTimeout = 0.05}
    local problem
    Game.onData = sync.waits(function(self)
      local ok, err = pcall(waitFor, "never")
      problem = err
      assert(not ok)
      self:send("tidied")
    end)
    local ann = support.connect(Game)
    ann:send("a\n")
    support.wait(function() return problem end)
    assert.equal("timeout", problem.code)
    assert.equal("tidied\n", ann:received())
    ann:send("b\n")
    support.wait(function() return ann:received() == "tidied\n" end)
  end)

  it("has a bound, at which a client is closed", function()
    local Game = lines {maxWaiting = 2}
    local clients = {support.connect(Game, 3)}
    local log = support.logged(function()
      for i, client in ipairs(clients) do client:send("w" .. i .. "\n") end
    end)
    assert.matches("maxWaiting", log[1])
    assert.is_true(clients[2]:isOpen())
    assert.is_false(clients[3]:isOpen())
    go "w1"
    go "w2"
    clients[2]:send("w4\n")
    assert.equal("(w2\nw2\n(w4\n", clients[2]:received())
  end)

  it("may be any handler, and is nobody's turn then", function()
    local Game = support.protocol {framing = "line"}
    Game.onDrain = sync.waits(function(self) self:send(waitFor "drained") end)
    function Game:onData(text) self:send(text) end
    local ann = support.connect(Game)
    ann.server:onDrain(0)
    ann:send("a\n")
    assert.equal("a\n", ann:received())
    go("drained", "b")
    assert.equal("b\n", ann:received())
    ann.server:onDrain(0)
    local log = support.logged(function() go("drained", nil) end) -- no string
    assert.matches("send", log[1])
    assert.is_false(ann:isOpen())
  end)

  it("may be of nobody, as a timer's", function()
    local done
    local tick = sync.waits(function(a) done = a .. waitFor "tick" end)
    tick("a")
    go("tick", "b")
    assert.equal("ab", done)
    local fails = sync.waits(function(isLate)
      if isLate then waitFor "tick" end
      error("oh", 0)
    end)
    assert.equal("oh", support.raised(fails, false))
    fails(true)
    assert.matches("oh", support.logged(function() go "tick" end)[1])
    assert.equal(3, sync.waits(function(a, b) return a + b end)(1, 2))
  end)

  it("can be called with a function that is told of its end", function()
    local told = {}
    local function tell(...) told[#told + 1] = {...} end
    assert.is_nil(waits.call(tell, function(a) return a, 2 end, 1))
    assert.is_nil(waits.call(tell, sync.waits(function(a) return a end), 3))
    local begun = waits.call(tell, sync.waits(function() return waitFor "end" end))
    assert.equal("waiting", begun.status)
    assert.same({{true, 1, 2}, {true, 3}}, told)
    go("end", 4)
    assert.same({true, 4}, told[3])
    waits.call(tell, function() error("oh", 0) end)
    assert.is_false(told[4][1])
    assert.equal("oh", told[4][2].raised)
  end)
end)

describe("a function of remote that waits", function()
  local json = require "sync.remoting.json"

  after_each(finish)

  local function game(fields)
    local Game = support.protocol(fields, sync.Remote)
    Game.framing = rawget(Game, "framing") or "line"
    Game.remote.ask = sync.waits(function(_, name) return waitFor(name) end)
    Game.remote.fast = function() return "fast" end
    return Game
  end

  local function call(client, id, name, ...)
    client:send(json.encode {jsonrpc = "2.0", id = id, method = name, params = {...}} .. "\n")
  end

  -- Answers by id: results, or the codes of faults.
  local function answers(client)
    local all = {}
    for line in client:received():gmatch("[^\n]+") do
      local _, message = json.decode(line, 10)
      for _, one in ipairs(#message > 0 and message or {message}) do
        all[one.id] = one.error and one.error.code or one.result
      end
    end
    return all
  end

  it("runs beside the client's others, and each gets its own answer", function()
    local ann = support.connect(game())
    call(ann, 1, "ask", "a")
    call(ann, 2, "ask", "b")
    call(ann, 3, "fast")
    assert.same({[3] = "fast"}, answers(ann))
    go("b", "B")
    assert.same({[2] = "B"}, answers(ann))
    go("a", "A")
    assert.same({[1] = "A"}, answers(ann))
  end)

  it("has a bound for each client", function()
    local ann = support.connect(game {maxCalls = 2})
    call(ann, 1, "ask", "a")
    ann:send('{"jsonrpc":"2.0","method":"ask","params":["b"]}\n') -- a notification counts, too
    call(ann, 3, "ask", "c")
    assert.same({[3] = -32000}, answers(ann))
    go("b", 1)
    call(ann, 4, "ask", "d")
    go("d", 4)
    go("a", 1)
    assert.same({[1] = 1, [4] = 4}, answers(ann))
    assert.equal(0, ann.server._owed)
  end)

  it("has its place in a batch", function()
    local ann = support.connect(game())
    ann:send('[{"jsonrpc":"2.0","id":1,"method":"ask","params":["a"]},' ..
      '{"jsonrpc":"2.0","id":2,"method":"fast"}]\n')
    assert.equal("", ann:received())
    go("a", "A")
    assert.equal('[{"jsonrpc":"2.0","id":1,"result":"A"},' ..
      '{"jsonrpc":"2.0","id":2,"result":"fast"}]\n', ann:received())
  end)

  it("may fail before and after it has waited", function()
    local Game = game()
    Game.remote.fail = sync.method("when: string", {waits = true}, function(_, when)
      if when == "late" then waitFor "end" end
      error(sync.fault(7, "no"))
    end)
    Game.remote.crash = sync.waits(function() error("oh " .. waitFor "end") end)
    local ann = support.connect(Game)
    call(ann, 1, "fail", "now")
    call(ann, 2, "fail", 2)
    assert.same({[1] = 7, [2] = -32602}, answers(ann))
    call(ann, 3, "fail", "late")
    go "end"
    assert.same({[3] = 7}, answers(ann))
    call(ann, 4, "crash")
    local log = support.logged(function() go("end", "dear") end)
    assert.matches("remote:crash: .*oh dear", log[1])
    assert.matches("waits_spec", log[1] .. (log[2] or ""))
    assert.same({[4] = -32603}, answers(ann))
    assert.is_true(ann:isOpen())
  end)

  it("may be answered later, by what it has asked for itself", function()
    local Game = game()
    local answer
    Game.remote.slow = sync.waits(function(self)
      waitFor "begin"
      answer = self:later()
      waitFor "end"
    end)
    local ann = support.connect(Game)
    call(ann, 1, "slow")
    go "begin"
    go "end"
    assert.same({}, answers(ann))
    answer("done")
    assert.same({[1] = "done"}, answers(ann))
    assert.equal(0, ann.server._owed)
  end)

  it("is told the client that has gone what it asks it, and goes on", function()
    local Game = game()
    local problem
    Game.remote.back = sync.waits(function(self)
      local _, err = self:call("question")
      problem = err.message
    end)
    local ann = support.connect(Game)
    call(ann, 1, "back")
    local server = ann.server
    server:abort()
    testing.settle()
    assert.equal("the client has gone", problem)
    assert.equal(0, server._underWay)
  end)

  it("answers in the kind of its call", function()
    local ann = support.connect(game {framing = "raw"}, 1, {transports = {"websocket"}})
    ann:send('{"jsonrpc":"2.0","id":1,"method":"ask","params":["a"]}', "text")
    ann:send('{"jsonrpc":"2.0","id":2,"method":"ask","params":["b"]}', "binary")
    go("a", 1)
    assert.same({'{"jsonrpc":"2.0","id":1,"result":1}', "text"}, {ann:message()})
    ann.server:send("own") -- the client's last message was binary
    assert.same({"own", "binary"}, {ann:message()})
    go("b", 2)
    assert.same({'{"jsonrpc":"2.0","id":2,"result":2}', "binary"}, {ann:message()})
  end)

  it("has a time limit, which is a fault", function()
    local ann = support.connect(game {waitTimeout = 0.05})
    support.logged(function()
      call(ann, 1, "ask", "never")
      local got = {}
      support.wait(function()
        got = answers(ann)
        return next(got)
      end)
      assert.same({[1] = -32000}, got)
    end)
  end)
end)

describe("a task", function()
  it("is told of its cancelling where it waits, and may tidy up", function()
    local stopped, steps = nil, {}
    local spawned = sync.spawn(function()
      local ok, err = pcall(task.await, function() end, function(who) stopped = who end, "it")
      steps[1], steps[2] = ok, err.code
      sync.sleep(0)
      steps[3] = "tidy"
    end)
    spawned:cancel()
    assert.equal("it", stopped)
    support.wait(function() return steps[3] end)
    assert.same({false, "cancelled", "tidy"}, steps)
    assert.equal("done", spawned.status)
  end)

  it("hears of it at its next wait when it runs", function()
    local spawned
    local reached = false
    spawned = sync.spawn(function()
      sync.sleep(0)
      spawned:cancel()
      reached = true
      sync.sleep(0)
      reached = "beyond"
    end)
    support.wait(function() return not spawned:isAlive() end)
    assert.is_true(reached)
    assert.equal("cancelled", spawned.status)
  end)

  it("goes on behind the one that has ended its waiting", function()
    local order, resume = {}, nil
    sync.spawn(function()
      task.await(function(done) resume = done end)
      order[#order + 1] = "second"
    end)
    sync.spawn(function()
      resume()
      order[#order + 1] = "first"
    end)
    assert.same({"first", "second"}, order)
  end)

  it("may not yield by itself", function()
    local log = support.logged(function()
      assert.equal("failed", sync.spawn(function() coroutine.yield() end).status)
    end)
    assert.matches("coroutine.yield", log[1])
  end)

  it("may have a time limit", function()
    local spawned = sync.spawn(function() sync.sleep(100) end)
    support.logged(function()
      spawned:timeout(0.05)
      support.wait(function() return not spawned:isAlive() end)
    end)
    assert.equal("failed", spawned.status)
    assert.matches("above 0", support.raised(spawned.timeout, spawned, 0))
  end)
end)

describe("a request that waits", function()
  local C, handle = require("sync.core").C, require("sync.core").handle
  local core = require "sync.core"
  local slots = {}

  after_each(function()
    for _, slot in ipairs(slots) do C.sync_abort(handle, slot) end
    slots = {}
    finish()
  end)

  local UPGRADE = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n" ..
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"

  -- Sends a request's head; returns what gives what has come.
  local function ask(server, target, headers)
    local slot = C.sync_memory_connect(handle, server.id)
    slots[#slots + 1] = slot
    local text = ("GET %s HTTP/1.1\r\nHost: localhost\r\n%s\r\n"):format(target, headers or "")
    C.sync_memory_feed(handle, slot, text, #text)
    testing.settle()
    return function()
      local got = core.take(slot)
      testing.settle()
      return got
    end, slot
  end

  local function web(fields)
    local Web = support.protocol(fields)
    return Web, support.serve(Web, {transports = {"tcp", "websocket", "http"}})
  end

  it("is answered by its route when that has ended, and others meanwhile", function()
    local Web, server = web()
    Web.routes["GET /slow/:name"] = function(request)
      return 201, waitFor(request.params.name), {["X-A"] = "b"}
    end
    Web.routes["GET /fast"] = function() return {fast = true} end
    local ann, bob = ask(server, "/slow/ann"), ask(server, "/slow/bob")
    assert.equal("", ann())
    assert.matches('{"fast":true}$', (ask(server, "/fast")()))
    go("bob", "B")
    assert.matches("^HTTP/1.1 201 .*X%-A: b.*\r\n\r\nB$", bob())
    assert.equal("", ann())
    go("ann", {a = 1})
    assert.matches('{"a":1}$', ann())
  end)

  it("serves a value of sync.shared", function()
    local Web, server = web()
    local values = sync.shared "waits"
    Web.routes["GET /best"] = function() return tostring(values:get "best") end
    sync.spawn(function() values:set("best", 7) end)
    local got = ""
    local ann = ask(server, "/best")
    support.wait(function()
      got = got .. ann()
      return got ~= ""
    end)
    assert.matches("7$", got)
  end)

  it("is answered whatever becomes of its route", function()
    local Web, server = web {waitTimeout = 0.05}
    Web.routes["GET /fails"] = function() error(waitFor "fails") end
    Web.routes["GET /never"] = function() waitFor "never" end
    Web.routes["GET /wrong"] = function() waitFor "wrong" return {print} end
    local log = support.logged(function()
      local ann, bob, cid = ask(server, "/fails"), ask(server, "/never"), ask(server, "/wrong")
      go("fails", "oh dear")
      go "wrong"
      assert.matches("^HTTP/1.1 500 ", ann())
      assert.matches("^HTTP/1.1 500 ", cid())
      local got = ""
      support.wait(function()
        got = got .. bob()
        return got ~= ""
      end)
      assert.matches("^HTTP/1.1 503 ", got)
    end)
    assert.matches("oh dear", log[1])
  end)

  it("costs nothing when its client has gone", function()
    local Web, server = web()
    local ended
    Web.routes["GET /slow"] = function()
      waitFor "slow"
      ended = true
      return "late"
    end
    local _, slot = ask(server, "/slow")
    C.sync_abort(handle, slot)
    testing.settle()
    go "slow"
    assert.is_true(ended)
  end)

  it("has a bound, at which a server is asked again later", function()
    local Web, server = web {maxWaiting = 1, maxHandshakes = 1}
    Web.routes["GET /slow"] = function() return waitFor "slow" end
    function Web:onUpgrade() waitFor "upgrade" end
    local ann = ask(server, "/slow")
    assert.matches("^HTTP/1.1 503 .*Retry%-After: 1", ask(server, "/slow")())
    go("slow", "ok")
    assert.matches("ok$", ann())
    ask(server, "/", UPGRADE)
    assert.matches("^HTTP/1.1 503 .*Retry%-After: 1", ask(server, "/", UPGRADE)())
    go "upgrade"
  end)

  it("is a handshake that is accepted, or refused, when onUpgrade has ended", function()
    local Web, server = web()
    function Web:onUpgrade(request)
      if waitFor(request.path) then return true end
      return 409, "taken", {["Set-Cookie"] = "a=1"}
    end
    function Web:onConnect(request) self:send("hello " .. request.path) end
    local ann, bob = ask(server, "/ann", UPGRADE), ask(server, "/bob", UPGRADE)
    assert.equal("", ann())
    go("/ann", true)
    assert.matches("^HTTP/1.1 101 .*hello /ann$", ann())
    go("/bob", false)
    assert.matches("^HTTP/1.1 409 .*Set%-Cookie: a=1.*taken\n$", bob())
    function Web:onUpgrade() error("oh " .. waitFor "e") end
    local cid = ask(server, "/", UPGRADE)
    local log = support.logged(function() go("e", "dear") end)
    assert.matches("oh dear", log[1])
    assert.matches("^HTTP/1.1 500 ", cid())
  end)
end)

describe("a stop", function()
  it("lets functions of clients come to their end", function()
    local Game = lines()
    local ended
    Game.onData = sync.waits(function()
      sync.sleep(0.05)
      ended = true
    end)
    local ann = support.connect(Game)
    ann:send("a\n")
    loop.stop(20)
    ann.server:abort()
    loop.run()
    assert.is_true(ended)
    support.cleanUp()
  end)
end)
