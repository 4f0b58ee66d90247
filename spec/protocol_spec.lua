local Process = require "spec.support.process"
local support = require "spec.support"
local sync = require "sync"
local testing = require "sync.testing"

-- A protocol that notes what happens to its clients in `class.seen`, as text.
local function noting(fields, base)
  local class = support.protocol(nil, base)
  class.seen = {}
  local function note(...) class.seen[#class.seen + 1] = table.concat({...}, " ") end
  function class.onConnect() note("connect") end
  function class.onData(_, data) note("data", data) end
  function class.onClose(_, reason) note("close", reason) end
  function class.onDrain(_, dropped) note("drain", dropped) end
  function class.onError(_, err) note("error", tostring(err)) end
  for name, value in pairs(fields or {}) do class[name] = value end
  return class
end

local function reasonOf(class, act, options)
  local client = support.connect(class, 1, options)
  act(client, client.server)
  Process.eventually("onClose", function()
    testing.settle()
    return class.seen[#class.seen]:match("^close")
  end)
  return class.seen[#class.seen]:match("^close (.*)$")
end

describe("protocol", function()
  after_each(support.cleanUp)

  it("does nothing by itself", function()
    local client = support.connect(support.protocol())
    client:send("hello")
    assert.equal("", client:received())
    assert.is_true(client:isOpen())
    client:leave()
    assert.is_false(client:isOpen())
  end)

  it("calls onConnect, onData for each message, then onClose once", function()
    local class = noting {framing = "line"}
    local client = support.connect(class)
    client:send("one\ntwo\n")
    client:leave()
    testing.settle()
    assert.same({"connect", "data one", "data two", "close left"}, class.seen)
  end)

  it("gives a client its own id, address, port and transport", function()
    local a, b = support.connect(support.protocol(), 2)
    assert.is_true(b.server.id > a.server.id)
    assert.equal("memory", a.server.transport)
    assert.equal("", a.server.address)
    assert.equal(("%s client %d (memory)"):format(a.server.className, a.server.id),
      tostring(a.server))
    assert.is_nil(a.server.name) -- it's the user's
  end)

  it("keeps a client's own fields from other clients", function()
    local a, b = support.connect(support.protocol(), 2)
    a.server.score = 5
    assert.is_nil(b.server.score)
  end)

  it("has its own clients in each class, subclasses too", function()
    local Base = support.protocol()
    local Sub = support.protocol(nil, Base)
    support.connect(Base, 2)
    support.connect(Sub, 1)
    assert.equal(2, Base.clients:count())
    assert.equal(1, Sub.clients:count())
  end)

  it("has one set of clients on all its ports", function()
    local class = support.protocol {onData = function(self, data) self.clients:send(data) end}
    local a, b = support.connect(class), support.connect(class)
    a:send("hello")
    assert.equal("hello", b:received())
    assert.equal("hello", a:received())
  end)

  describe("send", function()
    it("says true, and the client gets it", function()
      local client = support.connect(support.protocol())
      assert.is_true(client.server:send("hello"))
      assert.is_true(client.server:send(""))
      assert.equal("hello", client:received())
    end)

    it("carries every byte", function()
      local client = support.connect(support.protocol())
      local bytes = {}
      for i = 0, 255 do bytes[#bytes + 1] = string.char(i) end
      client.server:send(table.concat(bytes))
      assert.equal(table.concat(bytes), client:received())
    end)

    it("says full above the high water mark, and calls onDrain when all is written", function()
      local class = noting {maxQueue = 4096, highWater = 1000}
      local client = support.connect(class)
      assert.is_true(client.server:send(("x"):rep(1000)))
      assert.same({false, "full"}, {client.server:send("y")})
      assert.equal(1001, client.server:queued())
      assert.equal(1001, #client:received())
      testing.settle()
      assert.same({"connect", "drain 0"}, class.seen)
      assert.is_true(client.server:send("z"))
      assert.equal("z", client:received())
      testing.settle()
      assert.same({"connect", "drain 0"}, class.seen)
    end)

    it("says full from half of maxQueue on when highWater is false", function()
      local client = support.connect(support.protocol {maxQueue = 2048})
      assert.is_true(client.server:send(("x"):rep(1024)))
      assert.same({false, "full"}, {client.server:send("y")})
    end)

    it("says dropped at maxQueue with overflow = drop, and onDrain how many", function()
      local class = noting {maxQueue = 2048, overflow = "drop"}
      local client = support.connect(class)
      client.server:send(("x"):rep(2000))
      assert.same({false, "dropped"}, {client.server:send(("y"):rep(100))})
      assert.same({false, "dropped"}, {client.server:send(("y"):rep(100))})
      assert.same({false, "full"}, {client.server:send("z")})
      assert.equal(("x"):rep(2000) .. "z", client:received())
      testing.settle()
      assert.same({"connect", "drain 2"}, class.seen)
      assert.is_true(client:isOpen())
    end)

    it("closes the client at maxQueue otherwise, and says closed", function()
      local class = noting {maxQueue = 2048}
      local client = support.connect(class)
      client.server:send(("x"):rep(2000))
      assert.same({false, "closed"}, {client.server:send(("y"):rep(100))})
      assert.same({false, "closed"}, {client.server:send("z")})
      testing.settle()
      assert.same({"connect", "close full"}, class.seen)
    end)

    it("hears of a client that floods, and closes it, or reads it no faster", function()
      local function flood(onFlood, messageBurst)
        local class = noting {framing = "line", messageRate = 10, messageBurst = messageBurst,
          onFlood = onFlood}
        function class:onData(data) self:send(data) end
        local client = support.connect(class)
        client:send("1\n2\n3\n4\n")
        return client, class
      end
      local client, class = flood("close", 2)
      testing.settle()
      assert.equal("1\n2\n", client:received())
      assert.same({"connect", "close flood"}, class.seen)
      client, class = flood("pause", 2)
      local received = ""
      support.wait(function()
        received = received .. client:received()
        return received == "1\n2\n3\n4\n"
      end)
      assert.same({"connect"}, class.seen)
      client = flood("close") -- ten in the first second
      testing.settle()
      assert.equal("1\n2\n3\n4\n", client:received())
    end)

    it("says too long for what can never be queued, and the client stays", function()
      local client = support.connect(support.protocol {maxQueue = 2048})
      local framed = support.connect(support.protocol {framing = "length16"})
      support.logged(function()
        assert.same({false, "too long"}, {client.server:send(("x"):rep(2049))})
        assert.same({false, "too long"}, {framed.server:send(("x"):rep(65536))})
      end)
      assert.is_true(client:isOpen())
      assert.is_true((framed.server:send("x")))
    end)

    it("logs what is too long, five times in a while", function()
      local class = support.protocol {maxQueue = 2048}
      local server = support.connect(class).server
      local lines = support.logged(function()
        for _ = 1, 20 do server:send(("x"):rep(3 * 1024 * 1024)) end
      end)
      assert.is_true(#lines >= 1 and #lines <= 5)
      assert.matches(class.className .. ":send: a message of 3145728 bytes is longer than maxQueue",
        lines[1], 1, true)
    end)

    it("says closed to a client that has gone, and never raises", function()
      local client = support.connect(support.protocol())
      local server = client.server
      client:leave()
      assert.same({false, "closed"}, {server:send("x")})
      assert.equal(0, server:queued())
      server:close()
      server:abort()
      server:leave("room")
      assert.same({false, "closed"}, {server:join("room")})
      assert.is_false(server:isIn("room"))
    end)

    it("does not reach a later client that took the place of one that has gone", function()
      local class = support.protocol()
      local server = support.serve(class)
      local old = server:connect()
      local gone = old.server
      old:leave()
      local new = server:connect()
      assert.same({false, "closed"}, {gone:send("for the old one")})
      gone:abort()
      testing.settle()
      assert.is_true(new:isOpen())
      assert.equal("", new:received())
    end)

    it("raises an error for what is not a string", function()
      local client = support.connect(support.protocol())
      for _, value in ipairs {7, true, {}, print} do
        assert.equal("send(data): data must be a string, not " .. type(value),
          support.raised(function() client.server:send(value) end))
      end
      assert.matches("protocol_spec.lua:%d+: .*not nil",
        select(2, pcall(function() client.server:send(nil) end)))
    end)
  end)

  describe("framing", function()
    -- What comes, what that is, an x that goes, and what stands around a message: an N is its
    -- length.
    local cases = {
      {"null", "a\0bc\0\0", {"a", "bc", ""}, "x\0", "", "\0"},
      {"line", "a\r\nbc\n\nd\re\n", {"a", "bc", "", "d\re"}, "x\n", "", "\n"},
      {"length16", "\0\1a\0\2bc\0\0", {"a", "bc", ""}, "\0\1x", "\0N", ""},
      {"length32", "\0\0\0\1a\0\0\0\2bc\0\0\0\0", {"a", "bc", ""}, "\0\0\0\1x",
        "\0\0\0N", ""},
      {"length24le", "\1\0\0a\2\0\0bc\0\0\0", {"a", "bc", ""}, "\1\0\0x", "N\0\0", ""},
    }
    for _, case in ipairs(cases) do
      local framing, bytes, messages, sent, before, behind = unpack(case)
      it(framing .. " cuts what comes and frames what goes", function()
        support.bothWays(function(feed, how)
          local class = support.protocol {framing = framing}
          local got = {}
          function class.onData(_, data) got[#got + 1] = data end
          local client = support.connect(class)
          feed(client, bytes)
          assert.same(messages, got, how)
          client.server:send("x")
          assert.equal(sent, client:received())
        end)
      end)

      it(framing .. " closes for a message above maxMessage", function()
        support.bothWays(function(feed)
          local class = noting {framing = framing, maxMessage = 10}
          local function message(length)
            return before:gsub("N", string.char(length)) .. ("x"):rep(length) .. behind
          end
          local client = support.connect(class)
          feed(client, message(10))
          assert.same({"connect", "data " .. ("x"):rep(10)}, class.seen)
          feed(client, message(11))
          assert.same("close too long", class.seen[3])
        end)
      end)
    end

    it("raw gives chunks as they come", function()
      local class = noting()
      local client = support.connect(class)
      client:send("hello\n\0world")
      assert.same({"connect", "data hello\n\0world"}, class.seen)
    end)
  end)

  describe("onClose says why:", function()
    it("closed, or what close was given", function()
      assert.equal("closed", reasonOf(noting(), function(_, self) self:close() end))
      assert.equal("kicked", reasonOf(noting(), function(_, self) self:close("kicked") end))
    end)

    it("the first reason counts", function()
      assert.equal("first", reasonOf(noting(), function(_, self)
        self:close("first")
        self:close("second")
      end))
    end)

    it("aborted", function()
      assert.equal("aborted", reasonOf(noting(), function(_, self) self:abort() end))
    end)

    it("left", function()
      assert.equal("left", reasonOf(noting(), function(client) client:leave() end))
    end)

    it("idle", function()
      assert.equal("idle", reasonOf(noting(), function() end, {idleTimeout = 0.05}))
    end)

    it("timeout, for an unfinished first message", function()
      assert.equal("timeout", reasonOf(noting {framing = "line", handshakeTimeout = 0.05},
        function(client) client:send("never end") end))
    end)

    it("timeout, for an unfinished later message", function()
      assert.equal("timeout", reasonOf(noting {framing = "line", messageTimeout = 0.05},
        function(client) client:send("one\ntwo") end))
    end)

    it("full", function()
      assert.equal("full", reasonOf(noting {maxQueue = 1024}, function(_, self)
        for _ = 1, 3 do self:send(("x"):rep(1000)) end
      end))
    end)

    it("too long", function()
      assert.equal("too long", reasonOf(noting {framing = "line", maxMessage = 5},
        function(client) client:send("123456\n") end))
    end)

    it("error", function()
      assert.equal("error", reasonOf(noting {onData = function() error("bad") end},
        function(client) client:send("x") end))
    end)
  end)

  describe("close", function()
    it("still writes what is queued", function()
      local client = support.connect(support.protocol {onData = function(self)
        self:send("good-bye")
        self:close()
      end})
      client:send("x")
      assert.equal("good-bye", client:received())
      assert.is_false(client:isOpen())
    end)

    it("with a reason of the handler's own does not log trouble of that name", function()
      local client = support.connect(support.protocol {onData = function(self)
        self:close("full")
      end})
      assert.same({}, support.logged(function() client:send("x") end))
      assert.is_false(client:isOpen())
    end)

    it("ends delivery: the rest of the client's batch is not seen", function()
      local class = noting {framing = "line"}
      function class:onData(data)
        class.seen[#class.seen + 1] = data
        if data == "quit" then self:close() end
      end
      local client, other = support.connect(class, 2)
      client:send("one\nquit\ntwo\nthree\n")
      client:send("four\n")
      other:send("others go on\n")
      assert.same({"connect", "connect", "one", "quit", "close closed", "others go on"},
        class.seen)
    end)

    it("in onConnect means that onData is never called", function()
      local class = noting {onConnect = function(self) self:close("no") end}
      local client = support.connect(class)
      client:send("hello")
      assert.same({"close no"}, class.seen)
      assert.is_false(client:isOpen())
    end)

    it("of another client ends that one's delivery", function()
      local class = noting {framing = "line"}
      local a, b = support.connect(class, 2)
      function class:onData(data)
        class.seen[#class.seen + 1] = data
        for c in self.clients:except(self) do c:close() end
      end
      a:send("a\n")
      b:send("b\n")
      assert.same({"connect", "connect", "a", "close closed"}, class.seen)
    end)

    it("gives a client that does not read closeTimeout seconds", function()
      local class = noting {closeTimeout = 0.05}
      local client = support.connect(class)
      client.server:send("unread")
      client.server:close("bye")
      testing.settle()
      assert.is_true(client:isOpen())
      Process.eventually("the client is closed", function()
        testing.settle()
        return not client:isOpen()
      end)
      assert.equal("close bye", class.seen[2])
    end)

    it("can be followed by abort, which does not wait", function()
      local class = noting()
      local client = support.connect(class)
      client.server:send("unread")
      client.server:close()
      client.server:abort()
      testing.settle()
      assert.is_false(client:isOpen())
      assert.same({"connect", "close aborted"}, class.seen)
    end)

    it("finds the client in no set and no room any more when onClose is called", function()
      local class = support.protocol()
      local found
      function class:onConnect() self:join("room") end
      function class:onClose()
        found = {self.clients:has(self), self:isIn("room"), self:room("room"):count(),
          self:send("x")}
      end
      support.connect(class):leave()
      assert.same({false, false, 0, false, "closed"}, found)
    end)
  end)

  describe("a handler's error", function()
    it("costs that client alone", function()
      local class = noting {framing = "line"}
      function class:onData(data)
        if data == "bad" then error("oops") end
        self:send("got " .. data)
      end
      local bad, good = support.connect(class, 2)
      bad:send("bad\nmore\n")
      good:send("good\n")
      assert.equal("got good\n", good:received())
      assert.is_false(bad:isOpen())
      assert.is_true(good:isOpen())
      assert.equal("close error", class.seen[#class.seen])
    end)

    it("is logged with its traceback, once", function()
      local client = support.connect(support.protocol {onData = function() error("oops") end})
      local lines = support.logged(function() client:send("x") end)
      assert.equal(1, #lines)
      assert.matches("ERROR error in a handler, its client is closed: " ..
        ".*protocol_spec.lua:%d+: oops", lines[1])
      assert.matches("client=" .. client.server.id, lines[1])
      assert.matches("stack traceback:.*protocol_spec.lua", lines[1])
    end)

    it("goes to onError with what was raised", function()
      local raised = {code = 5}
      local got
      local client = support.connect(support.protocol {
        onData = function() error(raised) end,
        onError = function(_, err) got = err end,
      })
      client:send("x")
      assert.equal(raised, got)
    end)

    it("lets onError tell the client before it is closed", function()
      local client = support.connect(support.protocol {
        onData = function() error("oops") end,
        onError = function(self) self:send("sorry") end,
      })
      client:send("x")
      assert.equal("sorry", client:received())
      assert.is_false(client:isOpen())
    end)

    it("in onError is logged, and the client is closed all the same", function()
      local client = support.connect(support.protocol {
        onData = function() error("first") end,
        onError = function() error("second") end,
      })
      local lines = support.logged(function() client:send("x") end)
      assert.is_false(client:isOpen())
      assert.equal(2, #lines)
      assert.matches("error in onError: .*second", lines[2])
    end)

    it("may be of any kind", function()
      local kinds = {
        ["nil"] = function() error(nil) end,
        ["table"] = function() error({}) end,
        ["a table that has no text"] = function()
          error(setmetatable({}, {__tostring = function() error("no text") end}))
        end,
        ["endless recursion"] = function()
          local function deeper(n) return 1 + deeper(n) end
          deeper(1)
        end,
        ["a call of nil"] = function() local none; none() end, -- luacheck: ignore
        ["an unknown method"] = function(self) self:sennd("x") end,
        ["a C function's"] = function() ("x"):rep({}) end,
      }
      for kind, handler in pairs(kinds) do
        local class = support.protocol {onData = handler}
        local bad, good = support.connect(class, 2)
        local lines = support.logged(function() bad:send("x") end)
        assert.is_false(bad:isOpen(), kind)
        assert.is_true(good:isOpen(), kind)
        assert.equal(1, #lines, kind)
      end
    end)

    it("in onConnect, onDrain and onClose costs no other", function()
      for _, name in ipairs {"onConnect", "onDrain", "onClose"} do
        local class = support.protocol {maxQueue = 2048}
        local server = support.serve(class)
        local good = server:connect()
        class[name] = function() error("in " .. name) end
        local bad = server:connect()
        if bad.server then bad.server:send(("x"):rep(2000)) end
        bad:received()
        bad:leave()
        assert.is_false(bad:isOpen(), name)
        assert.equal(1, class.clients:count(), name)
        assert.is_true((good.server:send("x")), name)
      end
    end)

    it("in the callback of a looked-up name costs no client", function()
      local class = support.protocol()
      local server = support.serve(class)
      local called = 0
      for _ = 1, 5 do server:connect() end
      for _ = 1, 5 do
        sync.resolve("localhost", function()
          called = called + 1
          error("in a lookup")
        end)
      end
      Process.eventually("all lookups end", function()
        testing.settle()
        return called == 5
      end)
      testing.settle()
      assert.equal(5, class.clients:count())
    end)
  end)

  describe("rooms", function()
    it("send to those who joined", function()
      local a, b, c = support.connect(support.protocol(), 3)
      assert.is_true(a.server:join("lobby"))
      assert.is_true(b.server:join("lobby"))
      assert.equal(2, a.server:room("lobby"):send("x"))
      assert.equal("x", a:received())
      assert.equal("x", b:received())
      assert.equal("", c:received())
    end)

    it("are joined once only", function()
      local client = support.connect(support.protocol())
      assert.is_true(client.server:join("lobby"))
      assert.is_true(client.server:join("lobby"))
      assert.equal(1, client.server:room("lobby"):count())
      client.server:leave("lobby")
      assert.equal(0, client.server:room("lobby"):count())
      assert.is_false(client.server:isIn("lobby"))
    end)

    it("know who is in, and leaving twice or without having joined is nothing", function()
      local client = support.connect(support.protocol())
      assert.is_false(client.server:isIn("lobby"))
      client.server:leave("lobby")
      client.server:join("lobby")
      assert.is_true(client.server:isIn("lobby"))
      assert.is_false(client.server:isIn("Lobby"))
      client.server:leave("lobby")
      client.server:leave("lobby")
      assert.is_false(client.server:isIn("lobby"))
    end)

    it("are left when the client goes", function()
      local class = support.protocol()
      local a, b = support.connect(class, 2)
      for _, name in ipairs {"one", "two", "three"} do
        a.server:join(name)
        b.server:join(name)
      end
      a:leave()
      for _, name in ipairs {"one", "two", "three"} do
        assert.equal(1, class:room(name):count())
        assert.equal(1, class:room(name):send(name))
      end
      assert.equal("onetwothree", b:received())
    end)

    it("are no more than maxRooms for a client", function()
      local client = support.connect(support.protocol {maxRooms = 2})
      assert.is_true(client.server:join("one"))
      assert.is_true(client.server:join("two"))
      assert.same({false, "too many rooms"}, {client.server:join("three")})
      assert.is_true(client.server:join("two"))
      client.server:leave("one")
      assert.is_true(client.server:join("three"))
    end)

    it("belong to their class", function()
      local a, b = support.connect(support.protocol()), support.connect(support.protocol())
      a.server:join("lobby")
      b.server:join("lobby")
      assert.equal(1, a.server:room("lobby"):count())
      a.server:room("lobby"):send("x")
      assert.equal("", b:received())
    end)

    it("can be reached from the class, also when nobody is in", function()
      local class = support.protocol()
      assert.equal(0, class:room("nobody"):send("x"))
      local client = support.connect(class)
      client.server:join("lobby")
      assert.equal(1, class:room("lobby"):send("x"))
      assert.equal("x", client:received())
    end)

    it("have names of at most 128 bytes", function()
      local client = support.connect(support.protocol())
      local name = ("x"):rep(128)
      assert.is_true(client.server:join(name))
      assert.same({false, "name too long"}, {client.server:join(name .. "x")})
      assert.is_false(client.server:isIn(name .. "x"))
      assert.equal(0, client.server:room(name .. "x"):count())
      assert.equal("join(name): name must be a string, not table",
        support.raised(function() client.server:join {name} end))
      assert.equal(1, client.server.joined.count)
    end)

    it("are those of classes with names of at most 64 bytes", function()
      local name = ("C"):rep(64)
      assert.equal(name, sync.Protocol:extend(name).className)
      assert.equal("Protocol:extend(name): the name has 65 bytes, and may have 64",
        support.raised(function() sync.Protocol:extend(name .. "C") end))
      assert.equal("Remote:extend(name): the name has 65 bytes, and may have 64",
        support.raised(function() sync.Remote:extend(name .. "C") end))
    end)

    it("may have any name but nil", function()
      local client = support.connect(support.protocol())
      for _, name in ipairs {7, true, "", "a\0b"} do
        assert.is_true(client.server:join(name))
        assert.equal(1, client.server:room(name):count())
      end
      assert.matches("room%(name%): name is nil",
        support.raised(function() client.server:room(nil) end))
      assert.matches("nil", support.raised(function() client.server:join(nil) end))
      assert.is_true(client.server:join("still works"))
    end)

    -- LuaJIT hashes numbers without a secret, so that a client's could all collide.
    it("are kept by a number's text", function()
      local class = support.protocol()
      local held = {}
      for _, number in ipairs {7, -1.5, 0.1, 0.1 + 2 ^ -56, 2 ^ 53, 2 ^ 53 + 2, 1e300, 1 / 0} do
        local room = class:room(number)
        assert.is_nil(held[room])
        held[room] = number
        assert.equal(room, class:room(number))
        assert.equal(number, room.name)
      end
      assert.equal(7, held[class:room("7")])
      for key in pairs(class.roomsByName) do assert.is_string(key) end
    end)

    it("that nobody is in take no memory", function()
      local class = support.protocol()
      local client = support.connect(class)
      for i = 1, 1000 do
        client.server:join(i)
        client.server:leave(i)
      end
      testing.settle()
      collectgarbage()
      collectgarbage()
      assert.is_nil(next(class.roomsByName))
    end)

    it("have the methods of clients", function()
      local a, b, c = support.connect(support.protocol(), 3)
      for _, client in ipairs {a, b, c} do client.server:join("lobby") end
      local room = a.server:room("lobby")
      assert.equal(2, room:except(a.server):send("x"))
      assert.equal("", a:received())
      assert.equal(1, room:filter(function(client) return client == c.server end):send("y"))
      assert.equal("xy", c:received())
    end)
  end)
end)
