-- What a node keeps for others, by each engine: leases, records with their epochs, and the roll.

local Kept = require "sync.cluster.kept"
local Lease = require "sync.cluster.lease"
local Roll = require "sync.cluster.roll"
local clock = require "sync.cluster.clock"
local kinds = require "spec.support.engines"
local loop = require "sync.loop"
local support = require "spec.support"

local wait = support.wait

for _, kind in ipairs(kinds.names) do
  describe("what is kept by " .. kind, function()
    local engines, leases, openOne
    local renewSeconds = Lease.RENEW_SECONDS
    local time -- as leases know it
    local clockOfLeases = setmetatable({awake = function() return time end}, {__index = clock})

    setup(function() Lease.RENEW_SECONDS = 0.02 end)

    teardown(function()
      Lease.RENEW_SECONDS = renewSeconds
      kinds.cleanUp()
    end)

    before_each(function()
      engines, leases, time = {}, {}, 1000
      openOne = kinds.kinds[kind]()
    end)

    after_each(function()
      for _, lease in ipairs(leases) do lease:close() end
      for _, engine in ipairs(engines) do engine:close() end
      wait(function() return loop.links == 0 end)
    end)

    local function open()
      local engine = openOne()
      engines[#engines + 1] = engine
      wait(function() return engine:isUp() end)
      return engine
    end

    -- A node: its engine, a lease that holds, and what it keeps.
    local function node(name, onLost)
      local engine = open()
      local lease = Lease.open(engine, name, {onLost = onLost, clock = clockOfLeases})
      leases[#leases + 1] = lease
      wait(function() return lease:isValid() end)
      return {engine = engine, lease = lease, kept = Kept.open(engine, lease)}
    end

    -- Calls a method, and waits for what its `done` gets.
    local function ask(object, method, ...)
      local answer, arguments = nil, {n = select("#", ...), ...}
      arguments[arguments.n + 1] = function(...)
        assert(not answer, "done was called twice")
        answer = {...}
      end
      object[method](object, unpack(arguments, 1, arguments.n + 1))
      wait(function() return answer end)
      return unpack(answer, 1, 3)
    end

    -- No more renewals, as of a process that stands still: its clock goes on.
    local function freeze(one)
      one.renew = one.lease.renew
      one.lease.renew = function() end
    end

    local function waitUntilRenewed(one)
      local count = one.lease.count
      wait(function() return one.lease.count > count + 1 end)
    end

    -- Lets time pass until the lease of one that is frozen is over.
    local function waitUntilOver(looker, token)
      local since = time
      while not ask(looker.lease, "look", token) do time = time + 0.5 end
      assert.is_true(time - since >= Lease.SECONDS + Lease.MARGIN)
      waitUntilRenewed(looker)
    end

    it("is a node's as long as it renews its lease, and nobody can end it", function()
      local one, other = node "one", node "other"
      for _ = 1, 20 do
        assert.is_false(ask(other.lease, "look", one.lease.token))
        time = time + 1
        waitUntilRenewed(one)
        assert.is_true(one.lease:isValid())
      end
      assert.equal("one.1", one.lease.token)
    end)

    it("is over for its holder before others see it, who stands still", function()
      local lost
      local one, other = node("one", function(token) lost = token end), node "other"
      local token = one.lease.token
      freeze(one)
      repeat
        local isOver, isValid = ask(other.lease, "look", token), one.lease:isValid()
        assert.is_false(isOver and isValid)
        time = time + 0.1
      until isOver
      one.lease.renew = one.renew -- it goes on
      assert.is_false(one.lease:isValid())
      wait(function() return lost end)
      assert.equal(token, lost)
      wait(function() return one.lease:isValid() end)
      assert.equal("one.2", one.lease.token)
      assert.is_true(ask(other.lease, "look", token)) -- for ever
    end)

    it("goes on where nobody has ended the lease meanwhile", function()
      local lost
      local one = node("one", function(token) lost = token end)
      freeze(one)
      time = time + Lease.SECONDS
      assert.is_false(one.lease:isValid())
      one.lease.renew = one.renew
      wait(function() return one.lease:isValid() end)
      assert.is_nil(lost)
      assert.equal("one.1", one.lease.token)
    end)

    it("may be taken at once of who gives up its lease", function()
      local one, other = node "one", node "other"
      assert.is_true(ask(one.lease, "close"))
      assert.is_true(ask(other.lease, "look", one.lease.token))
    end)

    it("is written, and read by who takes it over: whole, or not at all", function()
      local one, other = node "one", node "other"
      local record = one.kept:begin "r"
      assert.same({nil, "none"}, {ask(other.kept, "take", "r", one.lease.token)})
      for i, size in ipairs {0, 10, 300000, 65536, 20} do
        assert.is_true(ask(record, "write", ("%d"):format(i):rep(size), {i = i}))
      end
      freeze(one)
      waitUntilOver(other, one.lease.token)
      -- A writing that breaks off, of which some pieces have come.
      local set = one.engine.set
      one.engine.set = function(engine, key, value, keep, done)
        if key:find "%.2$" then return done(nil, "timeout") end
        set(engine, key, value, keep, done)
      end
      assert.same({nil, "timeout"}, {ask(record, "write", ("x"):rep(200000), {i = 6})})
      local get, failed = other.engine.get, false -- the pieces don't come at first
      other.engine.get = function(engine, key, done)
        if failed or not key:find "%.1$" then return get(engine, key, done) end
        failed = true
        done(nil, "timeout")
      end
      local taken, bytes, about = ask(other.kept, "take", "r", one.lease.token)
      assert.is_true(failed)
      assert.equal(2, taken.epoch)
      assert.equal(("5"):rep(20), bytes)
      assert.same({i = 5}, about)
      one.engine.set = nil
      assert.is_false(ask(record, "write", "late", {}))      -- of an older epoch
      assert.is_false(ask(record, "retake"))
      assert.is_false(ask(record, "remove"))
      assert.is_true(ask(taken, "write", "new", {i = 7}))
      assert.same({2, other.lease.token, {i = 7}}, (function(found)
        return {found.epoch, found.token, found.about}
      end)(ask(one.kept, "find", "r")))
    end)

    it("is taken by one of many", function()
      local one = node "one"
      local record = one.kept:begin "r"
      assert.is_true(ask(record, "write", "bytes", {}))
      local token, others, done, winners = one.lease.token, {}, 0, 0
      for i = 1, 3 do others[i] = node("other" .. i) end
      freeze(one)
      waitUntilOver(others[1], token)
      for _, other in ipairs(others) do waitUntilRenewed(other) end
      for _, other in ipairs(others) do
        other.kept:take("r", token, function(taken, bytes)
          done = done + 1
          if taken then
            winners = winners + 1
            assert.equal("bytes", bytes)
          else
            assert.equal("taken", bytes)
          end
        end)
      end
      wait(function() return done == 3 end)
      assert.equal(1, winners)
    end)

    it("stays with who has lost the lease and comes first", function()
      local lost
      local one, other = node("one", function() lost = true end), node "other"
      local record, token = one.kept:begin "r", one.lease.token
      assert.is_true(ask(record, "write", "bytes", {}))
      freeze(one)
      waitUntilOver(other, token)
      one.lease.renew = one.renew
      wait(function() return lost and one.lease:isValid() end)
      assert.is_true(ask(record, "retake"))
      assert.is_true(ask(record, "retake"))
      assert.equal(2, record.epoch)
      assert.same({nil, "taken"}, {ask(other.kept, "take", "r", token)})
      assert.is_true(ask(record, "write", "more", {}))
    end)

    it("knows after an answer that didn't come what was done", function()
      local one = node "one"
      local record = one.kept:begin "r"
      local replace = one.engine.replace
      for _, wasDone in ipairs {true, false} do
        one.engine.replace = function(engine, key, old, new, keep, done)
          if not key:find "^kept/" then return replace(engine, key, old, new, keep, done) end
          if not wasDone then return done(nil, "timeout") end
          replace(engine, key, old, new, keep, function() done(nil, "timeout") end)
        end
        assert.same({nil, "timeout"}, {ask(record, "write", "a", {})})
        one.engine.replace = nil
        assert.is_true(ask(record, "write", "b", {}))
      end
      assert.is_true(ask(record, "remove"))
      assert.is_nil(ask(one.kept, "find", "r"))
    end)

    it("leaves no pieces behind", function()
      local one, keys = node "one", {}
      local set = one.engine.set
      one.engine.set = function(engine, key, ...)
        keys[key] = true
        set(engine, key, ...)
      end
      local record = one.kept:begin "r"
      for i = 1, 3 do assert.is_true(ask(record, "write", ("x"):rep(i * 70000), {})) end
      assert.is_true(ask(record, "remove"))
      one.engine.set = nil
      for key in pairs(keys) do
        wait(function() return ask(one.engine, "get", key) == nil end)
      end
    end)

    it("is found by the tokens of leases", function()
      local one, other = open(), open()
      local mine, theirs = Roll.open(one, "one.1"), Roll.open(other, "two.1")
      for i = 1, 500 do mine:add("room" .. i) end
      theirs:add "else"
      local function read(token)
        local list = ask(mine, "read", token)
        table.sort(list)
        return list
      end
      wait(function() return #read "one.1" == 500 and #read "two.1" == 1 end)
      local tokens = ask(theirs, "tokens")
      table.sort(tokens)
      assert.same({"one.1", "two.1"}, tokens)
      mine:remove "room1"
      mine:rename "one.2"
      wait(function() return #read "one.2" == 499 end)
      theirs:drop "one.1"
      wait(function() return #ask(theirs, "tokens") == 2 and #read "one.1" == 0 end)
      mine:close()
      theirs:close()
    end)

    it("goes on in the next process, with ids that aren't written yet", function()
      local before, after = Roll.open(open(), "one.1"), Roll.open(open(), "one.1")
      before:add "first"
      wait(function() return #ask(after, "read", "one.1") == 1 and before.writing == 0 end)
      before:add "second"
      before:remove "first"
      local told = before:pack()
      before:close()
      after:goOn(told)
      wait(function()
        local list = ask(after, "read", "one.1")
        return #list == 1 and list[1] == "second"
      end)
      after:close()
    end)
  end)
end
