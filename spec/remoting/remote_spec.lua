local Process = require "spec.support.process"
local amf = require "sync.amf"
local amf3 = require "sync.flash.amf3"
local cjson = require "cjson"
local core = require "sync.core"
local loop = require "sync.loop"
local support = require "spec.support"
local sync = require "sync"
local testing = require "sync.testing"

local null = sync.null
local classes = {}

local function protocol(fields, base)
  local class = support.protocol(fields, base or sync.Remote)
  classes[#classes + 1] = class
  return class
end

-- Those who are away would keep the loop of another spec waiting.
local function cleanUp()
  support.cleanUp()
  for _, class in ipairs(classes) do
    for _, client in pairs(class.sessions) do
      if client._session.away then loop.stopTimer(client._session.away) end
    end
  end
  classes = {}
end

-- What the client was sent, decoded.
local function messages(client)
  testing.settle()
  local list = {}
  for text in client:received():gmatch("(%Z*)%z") do list[#list + 1] = cjson.decode(text) end
  return list
end

-- The events among them, as lists of a name and its arguments.
local function events(client)
  local list = {}
  for _, message in ipairs(messages(client)) do
    assert.equal("2.0", message.jsonrpc)
    if message.method and message.id == nil then
      list[#list + 1] = {message.method, unpack(message.params)}
    end
  end
  return list
end

local function runUntil(what, done)
  Process.eventually(what, function()
    testing.settle()
    return done()
  end)
end

local function send(client, message)
  message.jsonrpc = "2.0"
  client:send(cjson.encode(message) .. "\0")
end

describe("protocols.remoting", function()
  after_each(cleanUp)

  describe("fire", function()
    it("reaches one client, with arguments of each kind", function()
      local a, b = support.connect(protocol(), 2)
      assert.is_true(a.server:fire("onAll", 1, "é\0", true, nil, {1, {x = null}}, nil))
      assert.is_true(a.server:fire("onNothing"))
      a:send("")
      assert.same({
        {jsonrpc = "2.0", method = "onAll", params = {1, "é\0", true, null, {1, {x = null}}, null}},
        {jsonrpc = "2.0", method = "onNothing", params = {}},
      }, messages(a))
      assert.same({}, messages(b))
    end)

    it("reaches all of a set, of a room and of views", function()
      local class = protocol()
      local a, b, c, d = support.connect(class, 4)
      local all = {a, b, c, d}
      for i, client in ipairs(all) do client.server.n = i end
      for _, client in ipairs {a, b, d} do client.server:join("room") end
      local function odd(client) return client.n % 2 == 1 end
      local room = class:room("room")
      -- A set, and whom of all it reaches.
      for _, case in ipairs {
        {class.clients, {a, b, c, d}}, {room, {a, b, d}}, {class:room("empty"), {}},
        {class.clients:except(a.server), {b, c, d}}, {class.clients:filter(odd), {a, c}},
        {room:except(b.server), {a, d}}, {room:filter(odd), {a}},
        {class.clients:filter(odd):except(a.server), {c}},
        {room:except(a.server):filter(odd), {}}, {room:except(c.server), {a, b, d}},
      } do
        local set, meant = unpack(case)
        assert.equal(#meant, set:fire("on", "x"))
        local reached = {}
        for _, client in ipairs(meant) do reached[client] = true end
        for _, client in ipairs(all) do
          assert.same(reached[client] and {{"on", "x"}} or {}, events(client))
        end
      end
    end)

    it("in a function goes out before its result", function()
      local class = protocol()
      function class.remote:join(name)
        self.name = name
        self.clients:fire("onJoin", name)
        return self.clients:count()
      end
      local a, b = support.connect(class, 2)
      send(a, {id = 1, method = "join", params = {"ann"}})
      assert.same({{jsonrpc = "2.0", method = "onJoin", params = {"ann"}},
        {jsonrpc = "2.0", id = 1, result = 2}}, messages(a))
      assert.same({{"onJoin", "ann"}}, events(b))
    end)

    it("says what can't be sent, and sends nobody anything", function()
      for _, fields in ipairs {{}, {resumeTime = 5}} do
        local class = protocol(fields)
        local client = support.connect(class)
        messages(client)
        for _, target in ipairs {client.server, class.clients, class.clients:except(nil)} do
          assert.matches('^fire%("on"%): argument 2: .*function',
            support.raised(target.fire, target, "on", 1, print))
          assert.matches('^fire%("on"%): argument 1: ',
            support.raised(target.fire, target, "on", 0 / 0))
          assert.matches('^fire%("on"%): argument 1: a string in it is not UTF%-8',
            support.raised(target.fire, target, "on", {"\255"}))
          assert.matches("the name: a string in it is not UTF%-8",
            support.raised(target.fire, target, "\255"))
          for _, wrong in ipairs {false, 5} do
            assert.matches("fire%(name, …%): the name must be a string, not",
              support.raised(target.fire, target, wrong))
          end
          assert.matches("the options are", support.raised(target.fire, target, {}))
          assert.matches("fire%(name, …%): the name must be a string, not nil",
            support.raised(target.fire, target, {late = false}))
          local _, message = pcall(function() target:fire(nil) end)
          assert.matches("remote_spec%.lua:%d+: fire", message)
        end
        assert.same({}, messages(client))
      end
    end)

    it("at one who has gone says so", function()
      local class = protocol()
      local client = support.connect(class)
      client:leave()
      assert.same({false, "closed"}, {client.server:fire("on")})
      assert.equal(0, class.clients:fire("on"))
    end)
  end)

  -- What one client says may be more than another's encoding can say.
  describe("an event of a set with two encodings", function()
    local class, flash, page

    local function flashEvents()
      testing.settle()
      local bytes, list, at = flash:received(), {}, 1
      while at <= #bytes do
        local length = bytes:byte(at + 2) * 256 + bytes:byte(at + 3)
        local _, message = amf3.decode(bytes:sub(at + 4, at + 3 + length), 1, {depth = 64})
        list[#list + 1] = {message.method, unpack(message.params)}
        at = at + 4 + length
      end
      return list
    end

    local function flashCalls(name, ...)
      local bytes = assert(amf3.encode {jsonrpc = "2.0", method = name, params = amf.list {...}})
      flash:send(string.char(0, 0, 0, #bytes) .. bytes)
    end

    before_each(function()
      class = protocol()
      flash = support.connect(class, 1, {encoding = "amf3", framing = "length32"})
      page = support.connect(class)
      local last
      function class.remote.say(_, value) last = value end
      function class:tell()
        for _, value in ipairs {last, "next"} do self.clients:fire("on", value) end
      end
    end)

    it("reaches those who can be told it, and raises nothing", function()
      flashCalls("say", 0 / 0)
      local lines = support.logged(function() class.tell(page.server) end)
      local text = table.concat(lines, "\n") -- the log may count what it left out before
      assert.matches("the event on can't be told to clients that speak JSON: .*number", text)
      assert.equal(1, select(2, text:gsub("can't be told", "")))
      assert.same({{"on", "next"}}, events(page))
      local list = flashEvents()
      assert.equal(2, #list)
      assert.is_true(list[1][2] ~= list[1][2])
      send(page, {method = "say", params = {{[""] = 1}}})
      support.logged(function() class.tell(flash.server) end)
      assert.same({{"on", {[""] = 1}}, {"on", "next"}}, events(page))
      assert.same({{"on", "next"}}, flashEvents())
    end)

    it("may hold what was read, however deep", function()
      local deep = 1
      for _ = 1, 30 do deep = amf.list {deep} end
      function class.remote:pass(value) self.clients:fire("on", {{from = "x", value = value}}) end
      flashCalls("pass", deep)
      assert.equal(1, #flashEvents())
      assert.equal(1, #events(page))
    end)

    it("does so when another node has fired it", function()
      send(page, {method = "say", params = {"x"}})
      support.logged(function()
        class.clients:deliverEvent('{"jsonrpc":"2.0","method":"on","params":[{"":1}]}')
        flash.server:deliverEvent('{"jsonrpc":"2.0","method":"on","params":[{"":1}]}')
      end)
      class.clients:deliverEvent('{"jsonrpc":"2.0","method":"on","params":[2]}')
      assert.same({{"on", {[""] = 1}}, {"on", 2}}, events(page))
      assert.same({{"on", 2}}, flashEvents())
    end)
  end)

  describe("call", function()
    -- A client, a function that calls it, and the list of what came of that: each {result, err}.
    local function callee(fields)
      local client = support.connect(protocol(fields))
      local outcomes = {}
      local function call(...)
        local arguments, count = {...}, select("#", ...)
        arguments[count + 1] = function(...)
          outcomes[#outcomes + 1] = {...}
          assert.is_true(select("#", ...) <= 2)
        end
        client.server:call(unpack(arguments, 1, count + 1))
        return messages(client)[1]
      end
      return client, call, outcomes
    end

    -- The one outcome, which is an error.
    local function failure(outcomes)
      assert.equal(1, #outcomes)
      local err = table.remove(outcomes)[2]
      return {err.code, err.message, err.data}
    end

    it("is a request, whose answer reaches the function", function()
      local client, call, outcomes = callee()
      local request = call("ask", "a", nil, {1})
      assert.same({jsonrpc = "2.0", id = request.id, method = "ask", params = {"a", null, {1}}},
        request)
      send(client, {id = request.id, result = {yes = true}})
      assert.same({{{yes = true}}}, outcomes)
      send(client, {id = request.id, result = "again"})
      assert.equal(1, #outcomes)
    end)

    it("has an id of its own each time, and answers come in any order", function()
      local client, call, outcomes = callee()
      local first, second, third = call("a").id, call("b").id, call("c").id
      assert.is_true(first ~= second and second ~= third and first ~= third)
      client:send(cjson.encode {{jsonrpc = "2.0", id = third, result = 3},
        {jsonrpc = "2.0", id = first, result = 1}} .. "\0")
      send(client, {id = second, result = 2})
      assert.same({{3}, {1}, {2}}, outcomes)
      assert.equal(0, client.server._calls.count)
    end)

    it("ends with the client's fault", function()
      local client, call, outcomes = callee()
      send(client, {id = call("f").id, error = {code = 7, message = "no", data = {1, "x"}}})
      assert.same({7, "no", {1, "x"}}, failure(outcomes))
      send(client, {id = call("f").id, error = {code = 7, message = "no"}, result = null})
      assert.same({7, "no"}, failure(outcomes))
      for _, code in ipairs {"x", 1.5, null, {}} do
        send(client, {id = call("f").id, error = {code = code, message = "no"}})
        assert.same({-32603, "no"}, failure(outcomes))
      end
      send(client, {id = call("f").id, error = {}})
      assert.equal(-32603, failure(outcomes)[1])
    end)

    it("ends with a fault when the client doesn't answer in time", function()
      local client, call, outcomes = callee {callTimeout = 0.03}
      local id = call("f").id
      assert.same({}, outcomes)
      runUntil("the time is over", function() return #outcomes > 0 end)
      assert.same({-32000, "the client did not answer in time"}, failure(outcomes))
      send(client, {id = id, result = "too late"})
      assert.same({}, outcomes)
      assert.equal(0, client.server._calls.count)
      assert.is_true(client:isOpen())
    end)

    it("ends with a fault when the client goes, or has gone", function()
      local client, call, outcomes = callee()
      call("a")
      call("b")
      client:leave()
      assert.equal(2, #outcomes)
      for _, outcome in ipairs(outcomes) do
        assert.is_nil(outcome[1])
        assert.same({-32000, "the client has gone"}, {outcome[2].code, outcome[2].message})
      end
      client.server:call("c", function(...) outcomes = {{...}} end)
      assert.same({-32000, "the client can't be called: closed"}, failure(outcomes))
    end)

    it("ends with a fault when maxCalls wait", function()
      local client, call, outcomes = callee {maxCalls = 2}
      local id = call("a").id
      call("b")
      assert.is_nil(call("c"))
      assert.same({-32000, "too many calls wait for this client"}, failure(outcomes))
      send(client, {id = id, result = 1})
      assert.is_table(call("d"))
    end)

    it("counts its waiting calls and those it owes apart", function()
      local class = protocol {maxCalls = 1}
      local answer
      function class.remote:slow() answer = self:later() end
      local client = support.connect(class)
      send(client, {id = 1, method = "slow"})
      client.server:call("f", function() end)
      assert.equal("f", messages(client)[1].method)
      answer("x")
      assert.equal("x", messages(client)[1].result)
    end)

    it("can be made from its answer", function()
      local client = support.connect(protocol {maxCalls = 1})
      local results = {}
      local function again(result)
        results[#results + 1] = result
        if #results < 3 then client.server:call("f", again) end
      end
      client.server:call("f", again)
      for i = 1, 3 do send(client, {id = messages(client)[1].id, result = i}) end
      assert.same({1, 2, 3}, results)
    end)

    it("is left alone by answers that fit none", function()
      local client, call, outcomes = callee()
      local id = call("f").id
      for _, other in ipairs {id + 1, -id, tostring(id), null, {id}, true, 1.5} do
        send(client, {id = other, result = 1})
      end
      send(client, {result = 1})
      client:send('{"jsonrpc":"2.0","id":1e300,"result":1}\0')
      assert.same({}, outcomes)
      assert.same({}, messages(client))
    end)

    it("says what it wants", function()
      local client = support.connect(protocol())
      local server = client.server
      for _, wrong in ipairs {{"f"}, {"f", "x"}, {"f", print, {}}} do
        assert.matches("the last argument must be a function",
          support.raised(server.call, server, unpack(wrong)))
      end
      assert.matches('call%("f"%): argument 1: ',
        support.raised(server.call, server, "f", 0 / 0, print))
      assert.matches("the name must be a string", support.raised(server.call, server, nil, print))
      assert.same({}, messages(client))
      assert.equal(0, server._calls.count)
    end)

    it("whose function raises an error costs that client alone", function()
      local class = protocol()
      local a, b = support.connect(class, 2)
      a.server:call("f", function() error("in the answer") end)
      local lines = support.logged(function() send(a, {id = messages(a)[1].id, result = 1}) end)
      assert.matches("in the answer", table.concat(lines))
      assert.is_false(a:isOpen())
      assert.is_true(b:isOpen())
    end)

    it("ends with a fault, too, when the client's error is no object", function()
      local client = support.connect(protocol())
      for _, wrong in ipairs {'"boom"', "5", "true"} do
        local outcome
        client.server:call("f", function(...) outcome = {...} end)
        client:send(('{"jsonrpc":"2.0","id":%d,"error":%s}\0')
          :format(messages(client)[1].id, wrong))
        assert.is_nil(outcome[1])
        assert.equal(-32603, outcome[2].code)
      end
    end)

    it("may be tried again, in vain, when the client has gone", function()
      local client = support.connect(protocol())
      local count = 0
      local function again(_, err)
        count = count + 1
        assert.equal(-32000, err.code)
        if count < 100 then client.server:call("f" .. count, again) end
      end
      for i = 1, 20 do client.server:call("f" .. i, again) end
      local lines = support.logged(function() client:leave() end)
      assert.same({}, lines)
      assert.is_true(count >= 100)
    end)

    it("gives a null as nil", function()
      local client = support.connect(protocol())
      local count, outcome
      for _, rest in ipairs {'"result":null', '"result":null,"error":null'} do
        client.server:call("f", function(...) count, outcome = select("#", ...), {...} end)
        client:send(('{"jsonrpc":"2.0","id":%d,%s}\0'):format(messages(client)[1].id, rest))
        assert.is_true(count <= 2)
        assert.same({}, outcome)
      end
    end)
  end)

  describe("resuming", function()
    -- A class with sessions that notes its clients' lives, and a server of it.
    local function sessions(fields, base)
      local class = protocol(fields, base)
      class.resumeTime = fields and fields.resumeTime or 30
      local lives = {}
      for _, handler in ipairs {"onConnect", "onAway", "onResume"} do
        class[handler] = function(self) lives[#lives + 1] = handler .. " " .. self.id end
      end
      function class:onClose(reason)
        lives[#lives + 1] = ("onClose %d %s"):format(self.id, reason)
      end
      return class, support.serve(class), lives
    end

    -- Connects a client that has read its greeting: `token` is its session's.
    local function connect(server)
      local client = server:connect()
      local list = messages(client)
      assert.equal(1, #list)
      assert.equal("sync.session", list[1].method)
      client.token = list[1].params[1].token
      client.time = list[1].params[1].time
      return client
    end

    -- Asks for a session on a new connection. Returns the client, the result, and the messages
    -- that follow.
    local function comeBack(server, token, received)
      local client = connect(server)
      send(client, {id = "resume", method = "sync.resume", params = {token, received}})
      client.server = loop.clients[client.slot] -- is another, if it is resumed
      local list = messages(client)
      local answer = table.remove(list, 1)
      assert.equal("resume", answer.id)
      return client, answer.result, list
    end

    local function firedAt(list)
      local names = {}
      for _, message in ipairs(list) do names[#names + 1] = message.params[1] end
      return names
    end

    it("greets each with a token that no other has", function()
      local _, server = sessions {resumeTime = 7.5}
      local seen = {}
      for _ = 1, 50 do
        local client = connect(server)
        assert.matches("^%x+$", client.token)
        assert.equal(32, #client.token)
        assert.is_nil(seen[client.token])
        assert.equal(7.5, client.time)
        seen[client.token] = true
      end
    end)

    it("is off unless the class says so", function()
      local class = protocol()
      local server = support.serve(class)
      local client = server:connect()
      assert.same({}, messages(client))
      send(client, {id = 1, method = "sync.resume", params = {("0"):rep(32), 0}})
      assert.same({{jsonrpc = "2.0", id = 1, result = {resumed = false}}}, messages(client))
      client:leave()
      assert.is_nil(next(class.sessions))
      assert.equal(0, class.clients:count())
    end)

    it("makes the client who it was, with what it has missed in order", function()
      local class, server, lives = sessions()
      function class.remote:login(name) self.name = name end
      function class.remote:who() return self.name end
      local a, b = connect(server), connect(server)
      send(a, {method = "login", params = {"ann"}})
      local instance = a.server
      class.clients:fire("on", 1)
      instance:fire("on", 2)
      assert.same({{"on", 1}, {"on", 2}}, events(a))
      a:leave()
      assert.equal(1, class.clients:count())
      assert.equal(1, class.awayCount)
      class.clients:fire("on", 3)
      instance:fire("on", 4)
      class.clients:except(b.server):fire("on", 5)
      class.clients:except(instance):fire("on", "not for it")
      class.clients:filter(function(c) return c.name == "ann" end):fire("on", 6)
      class.clients:filter(function(c) return c ~= instance end):fire("on", "not for it")
      local c, result, missed = comeBack(server, a.token, 2)
      assert.same({resumed = true, missed = 4}, result)
      assert.same({3, 4, 5, 6}, firedAt(missed))
      assert.is_true(c.server == instance)
      assert.equal(2, class.clients:count())
      assert.equal(0, class.awayCount)
      send(c, {id = 9, method = "who"})
      assert.same({{jsonrpc = "2.0", id = 9, result = "ann"}}, messages(c))
      class.clients:fire("on", 7)
      assert.same({{"on", 7}}, events(c))
      assert.same({"onConnect 1", "onConnect 2", "onAway 1", "onConnect 3", "onClose 3 resumed",
        "onResume 1"}, (function()
        local first = instance.id - 1
        local renumbered = {}
        for i, line in ipairs(lives) do
          renumbered[i] = line:gsub("%d+", function(id) return tostring(id - first) end)
        end
        return renumbered
      end)())
    end)

    it("sends again what was sent and did not arrive, and only that", function()
      local _, server = sessions()
      for arrived = 0, 5 do
        local a = connect(server)
        for i = 1, 5 do a.server:fire("on", i) end
        a:leave()
        local c, result, missed = comeBack(server, a.token, arrived)
        assert.same({resumed = true, missed = 5 - arrived}, result)
        local wanted = {}
        for i = arrived + 1, 5 do wanted[#wanted + 1] = i end
        assert.same(wanted, firedAt(missed))
        c:leave()
      end
    end)

    it("counts answers and calls as it does events", function()
      local class, server = sessions()
      function class.remote.f() return "f" end
      local a = connect(server)
      local result
      send(a, {id = 1, method = "f"})
      a.server:call("ask", function(value) result = value end)
      a.server:fire("on", 1)
      local list = messages(a)
      assert.equal(3, #list)
      a:leave()
      local c, _, missed = comeBack(server, a.token, 1)
      assert.same({list[2], list[3]}, missed)
      send(c, {id = missed[1].id, result = "answered"})
      assert.equal("answered", result)
    end)

    it("keeps calls in work, in both directions", function()
      local class, server = sessions()
      local answer
      function class.remote:slow() answer = self:later() end
      local a = connect(server)
      local results = {}
      local function done(result) results[#results + 1] = result end
      send(a, {id = 5, method = "slow"})
      a.server:call("before", done)
      local before = messages(a)[1].id
      local instance = a.server
      a:leave()
      answer("while away")
      instance:call("during", done)
      assert.same({}, results)
      local c, _, missed = comeBack(server, a.token, 1)
      assert.same({jsonrpc = "2.0", id = 5, result = "while away"}, missed[1])
      assert.equal("during", missed[2].method)
      send(c, {id = missed[2].id, result = "second"})
      send(c, {id = before, result = "first"})
      assert.same({"second", "first"}, results)
      assert.equal(0, instance._calls.count)
      assert.equal(0, instance._owed)
    end)

    it("may happen again and again, with the same token", function()
      local class, server = sessions()
      local client = connect(server)
      local token, instance = client.token, client.server
      for i = 1, 20 do
        client:leave()
        class.clients:fire("on", i)
        local result, missed
        client, result, missed = comeBack(server, token, i - 1)
        assert.same({resumed = true, missed = 1}, result)
        assert.same({i}, firedAt(missed))
        assert.is_true(client.server == instance)
      end
      local count = 0
      for _ in pairs(class.sessions) do count = count + 1 end
      assert.equal(1, count)
      assert.equal(1, class.clients:count())
    end)

    it("takes over a connection whose end nobody has noticed", function()
      local class, server, lives = sessions()
      local a = connect(server)
      local instance = a.server
      instance:join("room")
      instance:fire("on", 1)
      local old = a.slot
      local c, result, missed = comeBack(server, a.token, 0)
      assert.same({resumed = true, missed = 1}, result)
      assert.same({1}, firedAt(missed))
      assert.is_true(c.server == instance)
      assert.is_true(instance.slot == c.slot and instance.slot ~= old)
      assert.is_nil(loop.clients[old])
      assert.equal(1, class.clients:count())
      assert.equal(1, class:room("room"):fire("on", 2))
      assert.same({{"on", 2}}, events(c))
      assert.matches("onAway.*onClose %d+ resumed.*onResume", table.concat(lives, " "))
    end)

    it("leaves a client in its rooms, whose events it gets", function()
      local class, server = sessions()
      local a, b = connect(server), connect(server)
      local instance = a.server
      instance:join("red")
      instance:join("blue")
      b.server:join("red")
      a:leave()
      assert.equal(1, class:room("red"):count())
      assert.equal(1, class:room("red"):fire("on", "red"))
      assert.equal(0, class:room("blue"):fire("on", "blue"))
      class:room("green"):fire("on", "green")
      b.server:room("red"):except(b.server):fire("on", "red again")
      local c, _, missed = comeBack(server, a.token, 0)
      assert.same({"red", "blue", "red again"}, firedAt(missed))
      assert.is_true(instance:isIn("red") and instance:isIn("blue"))
      assert.equal(2, class:room("red"):fire("on", "here"))
      assert.same({{"on", "here"}}, events(c))
      c:leave()
      assert.is_true(instance:isIn("red"))
    end)

    it("gives up on one who has missed more messages than are kept", function()
      local class, server, lives = sessions {resumeMessages = 4}
      for missing = 3, 6 do
        local a = connect(server)
        a:leave()
        for i = 1, missing do a.server:fire("on", i) end
        local _, result, missed = comeBack(server, a.token, 0)
        assert.equal(missing <= 4, result.resumed)
        assert.equal(missing <= 4 and missing or 0, #missed)
      end
      assert.matches("onClose %d+ left", table.concat(lives, " "))
      assert.equal(0, class.awayCount)
    end)

    it("gives up on one who has missed more bytes than are kept", function()
      local _, server = sessions {resumeBytes = 1000}
      for _, case in ipairs {{400, 2, true}, {400, 3, false}, {940, 1, true}, {1000, 1, false}} do
        local size, count, wanted = unpack(case)
        local a = connect(server)
        a:leave()
        for _ = 1, count do a.server:fire("on", ("x"):rep(size)) end
        assert.is_true(a.server._session.bytes <= 1000)
        local _, result, missed = comeBack(server, a.token, 0)
        assert.equal(wanted, result.resumed)
        assert.equal(wanted and count or 0, #missed)
      end
    end)

    it("holds what is kept for a client that is connected within the same bounds", function()
      local _, server = sessions {resumeMessages = 10, resumeBytes = 500}
      local a = connect(server)
      for i = 1, 1000 do
        a.server:fire("on", ("x"):rep(i % 100))
        messages(a)
      end
      local session, count, bytes = a.server._session, 0, 0
      for number = session.first, session.last do
        count, bytes = count + 1, bytes + #session:text(number)
      end
      assert.is_true(count >= 1 and count <= 10)
      assert.is_true(bytes <= 500 and bytes == session.bytes)
      a:leave()
      assert.is_true((select(2, comeBack(server, a.token, 999))).resumed)
    end)

    it("ends for one who stays away for resumeTime", function()
      local class, server, lives = sessions {resumeTime = 0.03}
      local a = connect(server)
      local instance = a.server
      instance:join("room")
      local reached
      instance:call("f", function(_, err) reached = err.message end)
      a:leave()
      assert.is_nil(reached)
      runUntil("the session ends", function() return class.awayCount == 0 end)
      assert.equal("onClose " .. instance.id .. " left", lives[#lives])
      assert.equal("the client has gone", reached)
      assert.is_nil(next(class.sessions))
      assert.is_nil(next(class.clients.absent))
      assert.is_false(instance:isIn("room"))
      local b, result = comeBack(server, a.token, 0)
      assert.same({resumed = false}, result)
      assert.are_not.equal(instance, b.server)
      assert.same({}, messages(b))
    end)

    it("refuses what is no token of another session, or no count", function()
      local class, server = sessions()
      local a = connect(server)
      a.server:fire("on", 1)
      a:leave()
      local b = connect(server)
      for _, params in ipairs {{}, {"x", 0}, {("0"):rep(32), 0}, {a.token:sub(2), 0}, {a.token},
        {a.token, "0"}, {a.token, 0.5}, {a.token, null}, {5, 0}, {{a.token}, 0}, {b.token, 0},
        {"__index", 0}, {true, 0}} do
        send(b, {id = 1, method = "sync.resume", params = params})
        assert.same({{jsonrpc = "2.0", id = 1, result = {resumed = false}}}, messages(b))
      end
      send(b, {id = 1, method = "sync.resume"})
      assert.same({{jsonrpc = "2.0", id = 1, result = {resumed = false}}}, messages(b))
      assert.equal(1, class.awayCount)
      assert.is_true((select(2, comeBack(server, a.token, 0))).resumed)
    end)

    it("ends a session whose client has a count that cannot be", function()
      for _, count in ipairs {2, -1, 1e15} do
        local class, server, lives = sessions()
        local a = connect(server)
        a.server:fire("on", 1)
        a:leave()
        assert.same({resumed = false}, (select(2, comeBack(server, a.token, count))))
        assert.equal(0, class.awayCount)
        assert.matches("onClose %d+ left", table.concat(lives, " "))
        assert.same({resumed = false}, (select(2, comeBack(server, a.token, 0))))
      end
    end)

    it("is no way back for one who was closed, or has closed for good", function()
      local class, server = sessions()
      local ways = {
        function(client) client.server:close("kicked") end,
        function(client) client.server:abort() end,
        function(client) support.logged(function() client:send(("x"):rep(70000) .. "\0") end) end,
      }
      for _, way in ipairs(ways) do
        local a = connect(server)
        way(a)
        testing.settle()
        assert.is_false(a:isOpen())
        assert.same({resumed = false}, (select(2, comeBack(server, a.token, 0))))
      end
      assert.equal(0, class.awayCount)
    end)

    it("holds at most maxAway clients; more are let go", function()
      local class, server, lives = sessions {maxAway = 2}
      local a, b, c = connect(server), connect(server), connect(server)
      for _, client in ipairs {a, b, c} do client:leave() end
      assert.equal(2, class.awayCount)
      assert.equal("onClose " .. c.server.id .. " left", lives[#lives])
      assert.is_false((select(2, comeBack(server, c.token, 0))).resumed)
      assert.is_true((select(2, comeBack(server, a.token, 0))).resumed)
      assert.is_true((select(2, comeBack(server, b.token, 0))).resumed)
    end)

    it("is each class's own", function()
      local base, baseServer = sessions()
      local _, server = sessions(nil, base)
      local a = connect(baseServer)
      a:leave()
      assert.same({resumed = false}, (select(2, comeBack(server, a.token, 0))))
      assert.is_true((select(2, comeBack(baseServer, a.token, 0))).resumed)
    end)

    it("calls onResume before what was missed is read, and events of it come behind", function()
      local class, server = sessions()
      function class:onResume() self:fire("on", "welcome back") end
      local a = connect(server)
      a:leave()
      a.server:fire("on", "missed")
      local _, _, missed = comeBack(server, a.token, 0)
      assert.same({"missed", "welcome back"}, firedAt(missed))
    end)

    it("sends what was missed before the newcomer's onClose sends more than is kept", function()
      local class, server = sessions {resumeMessages = 5}
      local a = connect(server)
      local instance = a.server
      a:leave()
      instance:fire("on", "missed")
      function class:onClose(reason)
        if reason ~= "resumed" then return end
        for i = 1, 10 do instance:fire("on", i) end
      end
      local _, result, missed = comeBack(server, a.token, 0)
      assert.same({resumed = true, missed = 1}, result)
      assert.same({"missed", 1, 2, 3, 4, 5, 6, 7, 8, 9, 10}, firedAt(missed))
    end)

    it("closes one whose onResume raises an error", function()
      local class, server = sessions()
      function class.onResume() error("in onResume") end
      local a = connect(server)
      a:leave()
      local lines = support.logged(function()
        local c = connect(server)
        send(c, {id = 1, method = "sync.resume", params = {a.token, 0}})
        c.server = loop.clients[c.slot]
        messages(c)
      end)
      assert.matches("in onResume", table.concat(lines))
      assert.equal(0, class.clients:count())
      assert.is_nil(next(class.sessions))
    end)

    it("lets go of the newcomer whose place is taken", function()
      local class, server, lives = sessions()
      function class:onConnect() self:join("hall") end
      local a = connect(server)
      a:leave()
      local c = connect(server)
      local newcomer = c.server
      newcomer:join("lobby")
      send(c, {id = 1, method = "sync.resume", params = {a.token, 0}})
      assert.equal(0, newcomer.slot)
      assert.same({false, "closed"}, {newcomer:send("x")})
      assert.equal(0, class:room("lobby"):count())
      assert.equal(1, class:room("hall"):count())
      assert.equal(1, class.clients:count())
      assert.matches("onClose " .. newcomer.id .. " resumed", table.concat(lives, " "))
      assert.is_nil(class.sessions[c.token])
    end)

    it("holds nothing of a thousand who came, went away, came back and left", function()
      local class, server = sessions()
      local before = loop.count
      for i = 1, 1000 do
        local a = connect(server)
        a.server:join("room" .. i % 7)
        a:leave()
        local c = comeBack(server, a.token, 0)
        c.server:close()
        testing.settle()
      end
      assert.equal(before, loop.count)
      assert.is_nil(next(class.sessions))
      assert.is_nil(next(class.clients.absent))
      assert.equal(0, class.awayCount)
      for i = 0, 6 do
        local room = class:room("room" .. i)
        assert.equal(0, room:count())
        assert.is_nil(next(room.absent))
      end
    end)

    describe("holds at most resumeTotal of all clients", function()
      -- Kept of all, by what they may have missed.
      local function keptOf(clients)
        local count = 0
        for _, client in ipairs(clients) do
          local session = client._session
          for number = session.first, session.last do count = count + #session:text(number) end
        end
        return count
      end

      it("who then may have missed nothing; who has the most loses it first", function()
        local class, server = sessions {resumeTotal = 40000}
        local quiet, nosy = connect(server), connect(server)
        quiet.server:fire("on", "kept")
        quiet:leave()
        local many = {}
        local lines = support.logged(function()
          for i = 1, 10 do
            local client = connect(server)
            many[i] = client.server
            for _ = 1, 5 do client.server:fire("on", ("x"):rep(1500)) end
            client:received()
            client:leave()
            assert.is_true(keptOf(many) <= 40000)
            assert.is_true(class.sessionGroup.bytes <= 40000)
          end
        end)
        assert.matches("resumeTotal", table.concat(lines))
        assert.is_true(keptOf(many) > 20000)
        assert.equal(11, class.awayCount)
        nosy:leave()
        local _, result, missed = comeBack(server, quiet.token, 0)
        assert.same({resumed = true, missed = 1}, result)
        assert.same({"kept"}, firedAt(missed))
        assert.same({resumed = true, missed = 0}, (select(2, comeBack(server, nosy.token, 0))))
      end)

      it("where an event that all are sent counts once", function()
        local class, server = sessions {resumeTotal = 40000}
        local clients = {}
        for i = 1, 20 do clients[i] = connect(server) end
        for i = 11, 20 do clients[i]:leave() end
        for i = 1, 10 do class.clients:fire("on", i, ("x"):rep(1000)) end
        for i = 1, 20 do assert.equal(10, clients[i].server._session.last) end
        for i = 1, 20 do assert.equal(1, clients[i].server._session.first) end
        local bytes = class.sessionGroup.bytes
        assert.is_true(bytes > 10000 and bytes < 30000, bytes)
        for i = 1, 20 do clients[i].server:close() end
        messages(clients[1])
        for i = 2, 10 do messages(clients[i]) end
        assert.equal(0, class.sessionGroup.bytes)
        assert.equal(0, class.sessionGroup.count)
      end)

      it("and nothing of those who have gone for good", function()
        local class, server = sessions {resumeTime = 0.01}
        local clients = {}
        for i = 1, 5 do
          clients[i] = connect(server)
          clients[i].server:fire("on", ("x"):rep(5000))
          messages(clients[i])
          clients[i]:leave()
        end
        runUntil("all sessions end", function() return class.awayCount == 0 end)
        assert.equal(0, class.sessionGroup.bytes)
        clients[1].server:fire("on", ("x"):rep(5000)) -- what an application still says to it
        assert.equal(0, class.sessionGroup.bytes)
        assert.is_nil(next(class.sessionGroup.sessions))
      end)
    end)

    it("a refused resume is not counted, so nothing comes twice later", function()
      local _, server = sessions()
      local b, result = comeBack(server, ("0"):rep(32), 0)
      assert.same({resumed = false}, result)
      b.server:fire("on", 1)
      assert.same({{"on", 1}}, events(b))
      b:leave()
      local _, again, missed = comeBack(server, b.token, 1)
      assert.same({resumed = true, missed = 0}, again)
      assert.same({}, missed)
    end)

    it("a room that a client was taken out of while it was away is left", function()
      local class, server = sessions()
      local a = connect(server)
      local instance = a.server
      instance:join("room")
      a:leave()
      instance:leave("room")
      class:room("room"):fire("on", "not for it")
      local c, result, missed = comeBack(server, a.token, 0)
      assert.same({resumed = true, missed = 0}, result)
      assert.same({}, missed)
      class:room("room"):fire("on", "not for it")
      assert.same({}, events(c))
    end)

    it("a client that is closed while it is away does not come back", function()
      for how, reason in pairs {close = "kicked", abort = "aborted"} do
        local class, server, lives = sessions()
        local a = connect(server)
        local instance = a.server
        a:leave()
        instance[how](instance, reason)
        assert.equal(("onClose %d %s"):format(instance.id, reason), lives[#lives])
        assert.equal(0, class.awayCount)
        assert.same({resumed = false}, (select(2, comeBack(server, a.token, 0))))
      end
    end)

    it("is no way round being closed, for one who does not read", function()
      local class, server, lives = sessions()
      local a = connect(server)
      a.server:fire("on", "unread")
      a.server:close("kicked")
      assert.same({resumed = false}, (select(2, comeBack(server, a.token, 0))))
      assert.is_true(class.clients:has(a.server)) -- until it has read, or closeTimeout
      assert.equal("kicked", a.server.closing)
      assert.is_nil(table.concat(lives, " "):find("onResume", 1, true))
    end)

    it("an error in onAway is logged, and the client may come back", function()
      local class, server = sessions()
      function class.onAway() error("in onAway") end
      local before = loop.count
      local a = connect(server)
      local lines = support.logged(function() a:leave() end)
      assert.matches("in onAway", table.concat(lines))
      assert.is_nil(loop.clients[a.slot])
      assert.equal(before, loop.count)
      assert.is_true((select(2, comeBack(server, a.token, 0))).resumed)
    end)

    -- What each function that is called while a client comes back may do to either side: who is
    -- left, and what was called of whom.
    for _, case in ipairs {
      {"onAway", "the one that comes back", "close",
        "onConnect 1, onConnect 2, onAway 1, onClose 1 gone", resumed = false, left = 1},
      {"onAway", "the one that comes back", "abort",
        "onConnect 1, onConnect 2, onAway 1, onClose 1 aborted", resumed = false, left = 1},
      {"onAway", "the newcomer", "close",
        "onConnect 1, onConnect 2, onAway 1, onClose 2 gone", left = 0, away = 1},
      {"onAway", "the newcomer", "abort",
        "onConnect 1, onConnect 2, onAway 1, onClose 2 aborted", left = 0, away = 1},
      {"onClose", "the one that comes back", "close",
        "onConnect 1, onConnect 2, onAway 1, onClose 2 resumed, onClose 1 gone", left = 0},
      {"onClose", "the one that comes back", "abort",
        "onConnect 1, onConnect 2, onAway 1, onClose 2 resumed, onClose 1 aborted", left = 0},
      {"onResume", "the one that comes back", "close",
        "onConnect 1, onConnect 2, onAway 1, onClose 2 resumed, onResume 1, onClose 1 gone",
        resumed = true, left = 0},
    } do
      local handler, whom, how, expected = unpack(case)
      it(("lasts, and ends once, if %s does %s to %s"):format(handler, how, whom), function()
        local class, server, lives = sessions()
        local a, c = connect(server), connect(server)
        local names = {[a.server.id] = 1, [c.server.id] = 2}
        local target = whom == "the newcomer" and c.server or a.server
        local note, isDone = class[handler], false
        class[handler] = function(self, ...)
          note(self, ...)
          if not isDone then
            isDone = true
            target[how](target, "gone")
          end
        end
        send(c, {id = "resume", method = "sync.resume", params = {a.token, 0}})
        c.server = loop.clients[c.slot]
        local answer = messages(c)[1]
        if case.resumed ~= nil then assert.equal(case.resumed, answer.result.resumed) end
        for i, life in ipairs(lives) do
          lives[i] = life:gsub("%d+", function(id) return names[tonumber(id)] end)
        end
        assert.equal(expected, table.concat(lives, ", "))
        assert.equal(case.left, class.clients:count())
        assert.equal(case.away or 0, class.awayCount)
        local kept = 0
        for _, client in pairs(class.sessions) do
          kept = kept + 1
          assert.is_false(client.closing)
        end
        assert.equal(case.left + class.awayCount, kept)
        assert.equal(kept, class.sessionGroup.count)
      end)
    end

    it("an error in onClose leaves nothing behind", function()
      local class, server = sessions()
      local a = connect(server)
      local reached
      a.server:call("f", function(_, err) reached = err.message end)
      function class.onClose() error("in onClose") end
      messages(a)
      support.logged(function()
        a.server:close()
        testing.settle()
      end)
      assert.is_nil(next(class.sessions))
      assert.equal("the client has gone", reached)
    end)

    it("a message that was dropped, or was too long, is not counted", function()
      local _, server = sessions {maxQueue = 1024, overflow = "drop", resumeBytes = 100000}
      local a = connect(server)
      assert.same({false, "too long"}, {a.server:fire("on", ("x"):rep(2000))})
      local sent = 0
      support.logged(function()
        for _ = 1, 10 do
          local _, why = a.server:fire("on", ("x"):rep(300))
          if why ~= "dropped" then sent = sent + 1 end
        end
      end)
      assert.equal(sent, #messages(a))
      assert.is_true(sent < 10)
      a.server:fire("on", "last")
      a:leave()
      local _, result, missed = comeBack(server, a.token, sent)
      assert.same({resumed = true, missed = 1}, result)
      assert.same({"last"}, firedAt(missed))
    end)

    it("what the old connection has sent, and is read with the new one's, does no harm", function()
      local class, server = sessions()
      local count = 0
      function class.remote.f() count = count + 1 end
      local a, c = connect(server), connect(server)
      local function feed(client, message)
        local text = cjson.encode(message) .. "\0"
        core.C.sync_memory_feed(core.handle, client.slot, text, #text)
      end
      feed(c, {jsonrpc = "2.0", id = 1, method = "sync.resume", params = {a.token, 0}})
      feed(a, {jsonrpc = "2.0", method = "f"})
      feed(c, {jsonrpc = "2.0", method = "f"})
      local lines = support.logged(testing.settle)
      assert.same({}, lines)
      assert.equal(1, count)
    end)

    it("answers with the id it was asked with, and a notification not at all", function()
      local _, server = sessions()
      local a = connect(server)
      a:leave()
      local c = connect(server)
      c:send(('{"jsonrpc":"2.0","id":9007199254740991,"method":"sync.resume","params":["%s",0]}\0')
        :format(a.token))
      c.server = loop.clients[c.slot]
      assert.matches('"id":9007199254740991,', c:received())
      c:leave()
      local d = connect(server)
      d:send(('{"jsonrpc":"2.0","method":"sync.resume","params":["%s",0]}\0'):format(a.token))
      d.server = loop.clients[d.slot]
      assert.equal("", d:received())
    end)

    it("ends for those who are away when the server stops", function()
      local _, server, lives = sessions()
      local a = connect(server)
      a:leave()
      loop.stop(5)
      loop.run()
      assert.equal(("onClose %d stop"):format(a.server.id), lives[#lives])
    end)
  end)
end)
