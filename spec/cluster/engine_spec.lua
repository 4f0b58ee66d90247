-- The contract of engines, lua/sync/cluster/engine.lua, by each of them.

local Engine = require "sync.cluster.engine"
local kinds = require "spec.support.engines"
local loop = require "sync.loop"
local support = require "spec.support"

local wait = support.wait

local ANY = {}
for byte = 0, 255 do ANY[#ANY + 1] = string.char(byte) end
ANY = table.concat(ANY)
local NAME = ANY:sub(1, 67) .. ".*>\r\n \255" -- of a topic, a key or a log

for _, kind in ipairs(kinds.names) do
  describe("an engine: " .. kind, function()
    local engines, openOne

    before_each(function()
      engines = {}
      openOne = kinds.kinds[kind]()
    end)

    after_each(function()
      for _, engine in ipairs(engines) do engine:close() end
      wait(function() return loop.links == 0 end)
    end)

    teardown(kinds.cleanUp)

    -- Opens an engine, and notes what its handlers are told.
    local function open()
      local engine, seen = openOne(), {ups = 0, downs = 0, messages = {}}
      engines[#engines + 1] = engine
      engine:attach {
        onUp = function() seen.ups = seen.ups + 1 end,
        onDown = function() seen.downs = seen.downs + 1 end,
        onMessage = function(topic, bytes) seen.messages[#seen.messages + 1] = {topic, bytes} end,
      }
      wait(function() return engine:isUp() and seen.ups > 0 end)
      return engine, seen
    end

    -- Begins an operation. Returns a table that will have `n` and what `done` gets.
    local function begin(engine, name, ...)
      local answer, arguments = {}, {n = select("#", ...), ...}
      arguments[arguments.n + 1] = function(...)
        assert(not answer.n, "done was called twice")
        answer.n = select("#", ...)
        answer[1], answer[2], answer[3] = ...
      end
      engine[name](engine, unpack(arguments, 1, arguments.n + 1))
      assert(not answer.n, "done was called within the call: " .. tostring(answer[2]))
      return answer
    end

    local function ask(...)
      local answer = begin(...)
      wait(function() return answer.n end)
      return unpack(answer, 1, 3)
    end

    -- Waits until what one engine publishes to a topic reaches another.
    local function meet(from, seen, topic)
      seen.messages = {}
      wait(function()
        from:publish(topic, "?")
        return #seen.messages > 0
      end)
      from:publish(topic, "!")
      wait(function() return seen.messages[#seen.messages][2] == "!" end)
      seen.messages = {}
    end

    it("says once that it is up", function()
      local _, seen = open()
      ask(open(), "get", "key")
      assert.same({1, 0}, {seen.ups, seen.downs})
    end)

    it("tells when what was subscribed to stands: then nothing is missed", function()
      local from = open()
      local to, seen = open()
      for round = 1, 20 do
        local topics = {}
        for i = 1, 50 do
          topics[i] = ("room %d of round %d"):format(i, round)
          assert.is_true(to:subscribe(topics[i]))
        end
        if round % 3 == 0 then to:unsubscribe(table.remove(topics)) end
        local isCalled = false
        local answer = begin(to, "settle")
        to:subscribe("another " .. round) -- that comes later
        wait(function()
          if answer.n and not isCalled then
            isCalled = true
            for _, topic in ipairs(topics) do from:publish(topic, "x") end
          end
          return isCalled
        end)
        assert.is_true(answer[1], tostring(answer[2]))
        wait(function() return #seen.messages >= #topics end)
        assert.equal(#topics, #seen.messages)
        seen.messages = {}
      end
    end)

    it("catches up with what was published, if its connection can't be handed over", function()
      if kind == "memory" or kind == "bus" then return end
      local from = open()
      local to, seen = open()
      to:subscribe "room"
      assert.is_true(ask(to, "settle"))
      for round = 1, 20 do
        for i = 1, 50 do from:publish("room", ("%d %d"):format(round, i)) end
        assert.is_true(ask(from, "catchUp"))
        assert.is_true(ask(to, "catchUp"))
        assert.equal(50 * round, #seen.messages)
      end
      local answer = begin(from, "get", "key")
      assert.is_true(from:pendingCalls() > 0)
      wait(function() return answer.n end)
      assert.equal(0, from:pendingCalls())
      from:close()
      assert.same({nil, "away"}, {ask(from, "catchUp")})
    end)

    it("tells all who ask whether what is subscribed to stands, or why not", function()
      local engine = open()
      local answers = {}
      for i = 1, 10 do
        engine:subscribe("t" .. i)
        answers[i] = begin(engine, "settle")
      end
      answers[11] = begin(engine, "settle")
      wait(function() return answers[11].n end)
      for _, answer in ipairs(answers) do assert.is_true(answer[1]) end
      engine:subscribe "last"
      local answer = begin(engine, "settle")
      engine:close()
      local closed = begin(engine, "settle")
      wait(function() return answer.n and closed.n end)
      assert.is_true(answer[1] == true or answer[2] == "away")
      assert.same({nil, "away"}, {closed[1], closed[2]})
    end)

    it("carries messages of any bytes, in order, to those that have subscribed", function()
      local from = open()
      local to, seen = open()
      local topics = {"a", NAME, ("\255"):rep(200), "=00", "\0"}
      for _, topic in ipairs(topics) do
        assert.is_true(to:subscribe(topic))
        assert.is_true(to:subscribe(topic))
      end
      meet(from, seen, "a")
      local wanted = {}
      for _, bytes in ipairs {"", "x", ANY, ANY:rep(4096)} do
        for _, topic in ipairs(topics) do
          assert.is_true(from:publish(topic, bytes))
          wanted[#wanted + 1] = {topic, bytes}
          wait(function() return from:unsent() < 4 * 1024 * 1024 end)
        end
      end
      from:publish("nobody's", "x")
      from:publish("a", "last")
      wanted[#wanted + 1] = {"a", "last"}
      wait(function() return #seen.messages == #wanted end)
      for i, each in ipairs(wanted) do assert(each[1] == seen.messages[i][1] and
        each[2] == seen.messages[i][2], i) end
      assert.same({0, 0}, {from.dropped, to.dropped})
    end)

    it("carries nothing of a topic that isn't subscribed to any more", function()
      local from = open()
      local to, seen = open()
      to:subscribe "one"
      to:subscribe "other"
      meet(from, seen, "other")
      to:unsubscribe "one"
      to:unsubscribe "one"
      to:unsubscribe "never"
      from:publish("one", "1")
      from:publish("other", "2")
      wait(function() return #seen.messages == 1 end)
      assert.same({"other", "2"}, seen.messages[1])
      to:subscribe "one"
      meet(from, seen, "one")
    end)

    it("drops a message that is too long, and counts it", function()
      local from = open()
      assert.is_false(from:publish("a", ("x"):rep(Engine.MOST_MESSAGE + 1)))
      assert.equal(1, from.dropped)
    end)

    it("keeps, adds, replaces and removes values of any bytes", function()
      local a, b = open(), open()
      local large = ("x"):rep(Engine.MOST_VALUE)
      assert.is_nil((ask(a, "get", NAME)))
      assert.is_true(ask(a, "set", NAME, large, nil))
      assert.is_true(ask(b, "get", NAME) == large)
      assert.is_true(ask(a, "set", "empty", "", false))
      assert.equal("", (ask(b, "get", "empty")))
      assert.is_false((ask(b, "add", NAME, "x", nil)))
      assert.is_true((ask(b, "add", "key", "x", nil)))
      assert.same({false, nil, "x"}, {ask(a, "replace", "key", "y", "z", nil)})
      assert.is_true((ask(a, "replace", "key", "x", ANY, nil)))
      assert.same({false, nil, ANY}, {ask(a, "replace", "key", nil, "z", nil)})
      assert.is_true((ask(a, "replace", "key2", nil, "z", nil)))
      assert.same({false, nil, nil}, {ask(a, "replace", "key3", "a", "z", nil)})
      assert.is_true((ask(b, "remove", "key")))
      assert.is_false((ask(b, "remove", "key")))
      assert.is_nil((ask(a, "get", "key")))
      a:set("key", "last", nil) -- nobody waits for this
      wait(function() return ask(b, "get", "key") == "last" end)
    end)

    it("counts exactly within 2^53, and nothing that is no number", function()
      local a, b = open(), open()
      assert.equal(5, (ask(a, "increment", "n", 5, nil)))
      assert.equal(-2, (ask(b, "increment", "n", -7, nil)))
      assert.equal("-2", (ask(a, "get", "n")))
      ask(a, "set", "n", "9007199254740990", nil)
      assert.equal(2 ^ 53 - 1, (ask(a, "increment", "n", 1, nil)))
      assert.same({nil, "not a number"}, {ask(a, "increment", "n", 2, nil)})
      assert.equal(2 ^ 53, (ask(a, "increment", "n", 1, nil)))
      assert.same({nil, "not a number"}, {ask(a, "increment", "n", 1, nil)})
      assert.equal("9007199254740992", (ask(a, "get", "n")))
      assert.equal(-2 ^ 53, (ask(a, "increment", "m", -2 ^ 53, nil)))
      assert.same({nil, "not a number"}, {ask(a, "increment", "m", -1, nil)})
      assert.equal(0, (ask(a, "increment", "m", 2 ^ 53, nil)))
      assert.equal(0, (ask(a, "increment", "m", -0, nil)))
      assert.equal("0", (ask(a, "get", "m")))
      for _, text in ipairs {"", "one", "1.5", "1e3", "0x10", "nan", "01", "-0", " 1", "1\n",
        "9007199254740993"} do
        ask(a, "set", "n", text, nil)
        assert.same({nil, "not a number"}, {ask(a, "increment", "n", 1, nil)}, text)
        assert.equal(text, (ask(a, "get", "n")))
      end
    end)

    it("counts for all at once, and loses nothing", function()
      local a, b = open(), open()
      local answers = {}
      for i = 1, 25 do
        answers[2 * i - 1] = begin(a, "increment", "many", 1, nil)
        answers[2 * i] = begin(b, "increment", "many", 1, nil)
      end
      for i, answer in ipairs(answers) do
        wait(function() return answer.n end)
        assert.is_nil(answer[2], i)
      end
      assert.equal("50", (ask(a, "get", "many")))
    end)

    it("lets values expire, and keeps those that shall stay", function()
      local a, b = open(), open()
      local function gone(key) return function() return ask(b, "get", key) == nil end end
      ask(a, "set", "set", "x", 0.3)
      ask(a, "add", "add", "x", 0.3)
      ask(a, "replace", "replace", nil, "x", 0.3)
      ask(a, "increment", "increment", 1, 0.3)
      ask(a, "set", "expire", "x", nil)
      assert.is_true((ask(b, "expire", "expire", 0.3)))
      ask(a, "set", "kept", "x", 0.3)
      assert.is_true((ask(b, "expire", "kept", nil)))
      ask(a, "set", "again", "x", 0.3)
      ask(a, "set", "again", "y", nil)
      assert.equal(2, (ask(a, "increment", "increment", 1, nil))) -- as long as before
      for _, key in ipairs {"set", "add", "replace", "increment", "expire"} do wait(gone(key)) end
      assert.equal("x", (ask(b, "get", "kept")))
      assert.equal("y", (ask(b, "get", "again")))
      assert.is_false((ask(b, "expire", "set", 10)))
      assert.is_false((ask(b, "remove", "set")))
      assert.is_true((ask(b, "add", "set", "new", 1e300)))
      ask(a, "set", "at once", "x", 0)
      wait(gone "at once")
    end)

    it("keeps logs, in order", function()
      local a, b = open(), open()
      assert.same({}, (ask(a, "read", NAME, "", 10)))
      local ids, wanted = {}, {}
      for i = 1, 12 do
        wanted[i] = i == 12 and "" or ANY .. i
        ids[i] = ask(i % 2 == 1 and a or b, "append", NAME, wanted[i], 50, 60)
      end
      ask(b, "append", "other", "x", 50, 60)
      local list = ask(b, "read", NAME, "", 100)
      assert.equal(12, #list)
      for i, entry in ipairs(list) do assert.same({id = ids[i], bytes = wanted[i]}, entry) end
      list = ask(a, "read", NAME, ids[5], 3)
      assert.same({wanted[6], wanted[7], wanted[8]}, {list[1].bytes, list[2].bytes, list[3].bytes})
      assert.equal(3, #list)
      assert.same({}, (ask(a, "read", NAME, ids[12], 100)))
      assert.equal(12, #ask(a, "read", NAME, "no id", 100))
    end)

    it("keeps about the newest entries of a log", function()
      local a = open()
      for i = 1, 600 do
        a:append("log", tostring(i), 50, 60)
        if i % 100 == 0 then ask(a, "append", "log", "x" .. i, 50, 60) end
      end
      local list = ask(a, "read", "log", "", 1000)
      assert(#list >= 50 and #list <= 250, #list)
      assert.equal("x600", list[#list].bytes)
      assert.equal("600", list[#list - 1].bytes)
    end)

    it("refuses what is too long to be kept", function()
      local a = open()
      local long = ("x"):rep(Engine.MOST_VALUE + 1)
      assert.same({nil, "too long"}, {ask(a, "set", "key", long, nil)})
      assert.same({nil, "too long"}, {ask(a, "add", "key", long, nil)})
      assert.same({nil, "too long"}, {ask(a, "replace", "key", nil, long, nil)})
      assert.same({nil, "too long"}, {ask(a, "append", "log", long, 10, 10)})
      assert.is_nil((ask(a, "get", "key")))
      assert.is_string((ask(a, "append", "log", long:sub(2), 10, 10)))
    end)

    it("raises an error when it is misused, which names the call", function()
      local a = open()
      local function raised(...) return support.raised(a[(...)], a, select(2, ...)) end
      local long = ("x"):rep(Engine.MOST_NAME + 1)
      assert.equal("publish(topic, bytes): topic must be a string, not nil",
        raised("publish", nil, "x"))
      assert.equal("subscribe(topic): topic must have at most 200 bytes, not 201",
        raised("subscribe", long))
      assert.equal("get(key, done): key must have at most 200 bytes, not 201",
        raised("get", long, print))
      for _, each in ipairs {
        {"bytes must be a string, not number", "publish", "x", 1},
        {"seconds must be a number from 0", "set", "x", "y", "z"},
        {"seconds must be a number from 0", "set", "x", "y", 0 / 0},
        {"seconds must be a number from 0", "expire", "x", -1},
        {"by must be a whole number", "increment", "x", 1.5},
        {"most must be a whole number from 1", "read", "x", "", 0, print},
        {"most must be a whole number from 1", "append", "x", "y", nil},
        {"after must be a string", "read", "x", nil, 1, print},
        {"old must be a string", "replace", "x", 1, "y"},
      } do
        assert.matches(each[1], raised(unpack(each, 2)), 1, true)
      end
    end)

    it("bounds operations that wait, and topics", function()
      local a = open()
      ask(a, "get", "key")
      a.maxPending = 3
      local answers = {}
      for i = 1, 4 do answers[i] = begin(a, "get", "key") end
      for i = 1, 4 do wait(function() return answers[i].n end) end
      assert.same({nil, "busy"}, {unpack(answers[4], 1, 2)})
      for i = 1, 3 do assert.is_nil(answers[i][2]) end
      assert.is_nil((select(2, ask(a, "get", "key"))))
      if kind == "redis" then return end -- whose bound is tried in its own spec
      a.maxTopics = 2
      assert.is_true(a:subscribe "1")
      assert.is_true(a:subscribe "2")
      assert.is_false(a:subscribe "3")
      assert.is_true(a:subscribe "2")
      a:unsubscribe "1"
      assert.is_true(a:subscribe "3")
    end)

    it("goes on when a handler or an answer raises an error", function()
      local from = open()
      local to, seen = open()
      to:subscribe "a"
      meet(from, seen, "a")
      local got = 0
      to:attach {onMessage = function()
        got = got + 1
        error "from a message"
      end}
      local lines = support.logged(function()
        for _ = 1, 3 do from:publish("a", "x") end
        to:get("key", function() error "from an answer" end)
        wait(function() return got == 3 end)
        ask(to, "get", "key")
      end)
      local all = table.concat(lines)
      assert.matches("from a message", all)
      assert.matches("from an answer", all)
      assert.is_true(to:isUp())
    end)

    it("closes: what is published is sent, and who waits is told that it is away", function()
      local from = open()
      local to, seen = open()
      to:subscribe "a"
      meet(from, seen, "a")
      from:publish("a", "last words")
      local waiting = begin(from, "get", "key")
      from:close()
      from:close()
      assert.is_nil(waiting.n)
      assert.is_false(from:isUp())
      assert.is_false(from:publish("a", "x"))
      assert.is_false(from:subscribe "a")
      local later = begin(from, "get", "key")
      wait(function() return waiting.n and later.n and #seen.messages == 1 end)
      assert.same({nil, "away"}, {unpack(waiting, 1, 2)})
      assert.same({nil, "away"}, {unpack(later, 1, 2)})
      assert.equal("last words", seen.messages[1][2])
    end)
  end)
end
