local support = require "spec.support"
local sync = require "sync"

-- A class whose clients are named a, b, c, ... and as many connected clients.
local function crowd(count)
  local class = support.protocol()
  local server = support.serve(class)
  local clients = {}
  for i = 1, count do
    clients[i] = server:connect()
    clients[i].server.letter = string.char(96 + i)
  end
  return class, clients, server
end

local function letters(set)
  local found = {}
  for client in set do found[#found + 1] = client.letter end
  return table.concat(found)
end

describe("set", function()
  after_each(support.cleanUp)

  it("is gone through with for, in the order of joining", function()
    local class = crowd(5)
    assert.equal("abcde", letters(class.clients))
    assert.equal("", letters(crowd(0).clients))
  end)

  it("counts, and knows who is in it", function()
    local class, clients = crowd(3)
    local other = crowd(1)
    assert.equal(3, class.clients:count())
    local b = clients[2].server
    assert.is_true(class.clients:has(b))
    assert.is_false(other.clients:has(b))
    clients[2]:leave()
    assert.equal(2, class.clients:count())
    assert.is_false(class.clients:has(b))
    assert.equal("set of 2 clients", tostring(class.clients))
  end)

  it("sends to all, and says to how many", function()
    local class, clients = crowd(3)
    assert.equal(3, class.clients:send("hello"))
    for _, client in ipairs(clients) do assert.equal("hello", client:received()) end
    assert.equal(0, crowd(0).clients:send("hello"))
  end)

  it("sends nothing to those who left", function()
    local class, clients = crowd(3)
    clients[2]:leave()
    assert.equal(2, class.clients:send("hello"))
    assert.equal("hello", clients[1]:received())
    assert.equal("hello", clients[3]:received())
  end)

  it("raises an error for what is not a string, naming the call", function()
    local class = crowd(2)
    for _, set in ipairs {class.clients, class.clients:except(nil),
      class.clients:filter(function() return true end)} do
      assert.equal("send(data): data must be a string, not number",
        support.raised(function() set:send(7) end))
      assert.matches("set_spec.lua", select(2, pcall(function() set:send(nil) end)))
    end
  end)

  it("has no holes when clients came and went", function()
    local class, clients, server = crowd(6)
    clients[2]:leave()
    clients[5]:leave()
    assert.equal("acdf", letters(class.clients))
    server:connect().server.letter = "g"
    assert.equal("acdfg", letters(class.clients))
    assert.equal(5, class.clients:send("x"))
  end)

  it("is right after thousands came, left and came back", function()
    local class, clients, server = crowd(0)
    for _ = 1, 3 do
      for i = 1, 1000 do clients[i] = server:connect() end
      assert.equal(1000, class.clients:count())
      assert.equal(1000, class.clients:send("x"))
      for i = 1, 1000 do
        if i % 100 ~= 0 then clients[i]:leave() end
      end
      assert.equal(10, class.clients:count())
      assert.equal(10, class.clients:send("y"))
      for i = 100, 1000, 100 do
        assert.equal("xy", clients[i]:received())
        clients[i]:leave()
      end
      assert.equal(0, class.clients:count())
    end
  end)

  describe("while it is gone through", function()
    it("may be left by the client at hand", function()
      local _, clients = crowd(4)
      for _, client in ipairs(clients) do client.server:join("room") end
      local room, seen = clients[1].server:room("room"), {}
      for client in room do
        seen[#seen + 1] = client.letter
        if client.letter < "c" then client:leave("room") end
      end
      assert.equal("abcd", table.concat(seen))
      assert.equal("cd", letters(room))
      assert.equal(2, room:count())
    end)

    it("does not show one that was removed further on", function()
      local _, clients = crowd(4)
      for _, client in ipairs(clients) do client.server:join("room") end
      local room, seen = clients[1].server:room("room"), {}
      for client in room do
        seen[#seen + 1] = client.letter
        if client.letter == "a" then
          clients[2].server:leave("room")
          clients[3].server:leave("room")
        end
      end
      assert.equal("ad", table.concat(seen))
    end)

    it("may be emptied", function()
      local _, clients = crowd(4)
      for _, client in ipairs(clients) do client.server:join("room") end
      local room, seen = clients[1].server:room("room"), 0
      for _ in room do
        seen = seen + 1
        for _, client in ipairs(clients) do client.server:leave("room") end
      end
      assert.equal(1, seen)
      assert.equal(0, room:count())
      assert.equal(0, room:send("x"))
    end)

    it("may be joined", function()
      local _, clients = crowd(3)
      clients[1].server:join("room")
      local room, seen = clients[1].server:room("room"), {}
      for client in room do
        seen[#seen + 1] = client.letter
        for _, other in ipairs(clients) do other.server:join("room") end
      end
      assert.equal("abc", table.concat(seen))
      assert.equal(3, room:count())
    end)

    it("shows all others when the client at hand leaves and joins again", function()
      local _, clients = crowd(4)
      for _, client in ipairs(clients) do client.server:join("room") end
      local room, seen = clients[1].server:room("room"), {}
      for client in room do
        seen[client.letter] = true
        if client.letter == "b" then
          client:leave("room")
          client:join("room")
        end
      end
      assert.same({a = true, b = true, c = true, d = true}, seen)
      assert.equal(4, room:count())
      assert.equal(4, room:send("x"))
    end)

    it("stays right when all leave and join again many times in one tick", function()
      local _, clients = crowd(4)
      local room = clients[1].server:room("room")
      for _ = 1, 50 do
        for _, client in ipairs(clients) do client.server:join("room") end
        for i = 1, 3 do clients[i].server:leave("room") end
      end
      assert.equal("d", letters(room))
      require "sync.testing".settle()
      assert.equal("d", letters(room))
      clients[2].server:join("room")
      assert.is_true(room:has(clients[2].server))
      assert.is_false(room:has(clients[1].server))
      assert.equal(2, room:send("x"))
      assert.equal("x", clients[2]:received())
      assert.equal("", clients[1]:received())
    end)

    it("lets clients be closed and aborted", function()
      local class, clients = crowd(4)
      local seen = 0
      for client in class.clients do
        seen = seen + 1
        if seen % 2 == 0 then client:close() else client:abort() end
      end
      require "sync.testing".settle()
      assert.equal(4, seen)
      assert.equal(0, class.clients:count())
      for _, client in ipairs(clients) do assert.is_false(client:isOpen()) end
    end)

    it("can be gone through again inside", function()
      local class = crowd(3)
      local pairsSeen = {}
      for outer in class.clients do
        for inner in class.clients do
          pairsSeen[#pairsSeen + 1] = outer.letter .. inner.letter
        end
      end
      assert.equal("aa ab ac ba bb bc ca cb cc", table.concat(pairsSeen, " "))
    end)
  end)

  describe("while a function that waits goes through it", function()
    local task = require "sync.task"

    -- Goes through a set, and waits at each client. Returns a function that lets it go on,
    -- and one that tells what it has seen.
    local function walk(set)
      local seen, resume = {}, nil
      local walker = sync.spawn(function()
        for client in set do
          seen[#seen + 1] = client.letter
          task.await(function(done) resume = done end)
        end
      end)
      return function() resume() end, function()
        return table.concat(seen) .. (walker.status == "done" and "." or "")
      end
    end

    it("goes on when the client at hand has gone, and others before and behind it", function()
      local class, clients, server = crowd(7)
      local goOn, seen = walk(class.clients)
      goOn()
      goOn()
      clients[1]:leave()
      clients[3]:leave()
      goOn()
      assert.equal("abcd", seen())
      clients[4]:leave()
      clients[2]:leave()
      clients[5]:leave()
      goOn()
      assert.equal("abcdf", seen())
      goOn()
      clients[7]:leave()
      clients[6]:leave()
      server:connect().server.letter = "h"
      goOn()
      goOn()
      assert.equal("abcdfgh.", seen())
    end)

    it("goes on when the client has gone in this tick", function()
      local class, clients = crowd(3)
      local goOn, seen = walk(class.clients)
      goOn()
      class.onClose = goOn
      clients[2]:leave()
      assert.equal("abc", seen())
    end)

    it("goes on in a view, and in a room that the client has left", function()
      local _, clients = crowd(5)
      for _, client in ipairs(clients) do client.server:join("room") end
      local room = clients[1].server:room("room")
      local goOn, seen = walk(room:except(clients[4].server))
      goOn()
      clients[2].server:leave("room")
      require "sync.testing".settle()
      clients[1].server:leave("room")
      require "sync.testing".settle()
      goOn()
      goOn()
      goOn()
      assert.equal("abce.", seen())
    end)

    it("keeps nothing of those that leave when no function goes through it any more", function()
      local class, clients = crowd(4)
      local goOn = walk(class.clients)
      clients[2]:leave()
      assert.is_truthy(class.clients.gone)
      goOn()
      goOn()
      goOn()
      clients[3]:leave()
      assert.is_false(class.clients.gone)
    end)

    it("says so, outside of sync.spawn, when the client at hand has gone", function()
      local class, clients = crowd(3)
      assert.matches("the client at which this loop stands has left", support.raised(function()
        for _ in class.clients do clients[1]:leave() end
      end))
    end)
  end)

  describe("except", function()
    it("leaves one client out, of loops, sends and counts", function()
      local class, clients = crowd(3)
      local others = class.clients:except(clients[2].server)
      assert.equal("ac", letters(others))
      assert.equal(2, others:count())
      assert.equal(2, others:send("x"))
      assert.equal("x", clients[1]:received())
      assert.equal("", clients[2]:received())
      assert.is_false(others:has(clients[2].server))
      assert.is_true(others:has(clients[1].server))
      assert.equal("set of 2 clients", tostring(others))
    end)

    it("of a client that is not in it is all", function()
      local class, clients = crowd(2)
      local _, others = crowd(1)
      assert.equal(2, class.clients:except(others[1].server):send("x"))
      clients[1]:leave()
      assert.equal(1, class.clients:except(clients[1].server):send("x"))
    end)

    it("follows what the set becomes", function()
      local class, clients, server = crowd(2)
      local others = class.clients:except(clients[1].server)
      server:connect().server.letter = "c"
      assert.equal("bc", letters(others))
    end)
  end)

  describe("filter", function()
    local function isVowel(client) return client.letter:find("[aeiou]") end

    it("lets through those that pass the test", function()
      local class, clients = crowd(5)
      local vowels = class.clients:filter(isVowel)
      assert.equal("ae", letters(vowels))
      assert.equal(2, vowels:count())
      assert.equal(2, vowels:send("x"))
      assert.equal("x", clients[5]:received())
      assert.equal("", clients[2]:received())
      assert.is_true(vowels:has(clients[1].server))
      assert.is_false(vowels:has(clients[2].server))
    end)

    it("tests anew at each use", function()
      local class, clients = crowd(3)
      local vowels = class.clients:filter(isVowel)
      clients[2].server.letter = "u"
      assert.equal("au", letters(vowels))
    end)

    it("can be nested with except, in any order", function()
      local class, clients = crowd(5)
      local all, a, b = class.clients, clients[1].server, clients[2].server
      assert.equal("e", letters(all:filter(isVowel):except(a)))
      assert.equal("e", letters(all:except(a):filter(isVowel)))
      assert.equal("cde", letters(all:except(a):except(b)))
      assert.equal(3, all:except(a):except(b):send("x"))
      assert.equal("", clients[1]:received())
      assert.equal("x", clients[3]:received())
      local late = all:filter(function(client) return client.letter > "b" end)
      assert.equal(1, late:filter(isVowel):count())
      assert.equal(1, late:filter(isVowel):send("y"))
      assert.equal("xy", clients[5]:received())
      assert.equal("d", letters(late:except(clients[5].server):filter(function(client)
        return client.letter ~= "c"
      end)))
    end)

    it("may send from within the test", function()
      local class, clients = crowd(3)
      local everybody = class.clients:filter(function() return true end)
      local sent = class.clients:filter(function(client)
        everybody:send(client.letter)
        return true
      end):send("!")
      assert.equal(3, sent)
      assert.equal("abc!", clients[1]:received())
    end)

    it("works for more clients than its first scratch space has room for", function()
      local class, _, server = crowd(0)
      local last
      for _ = 1, 2500 do last = server:connect() end
      assert.equal(2500, class.clients:filter(function() return true end):send("x"))
      assert.equal("x", last:received())
    end)

    it("works again after the test has raised an error", function()
      local class = crowd(2)
      assert.is_false(pcall(function()
        class.clients:filter(function() error("bad") end):send("x")
      end))
      assert.equal(2, class.clients:filter(function() return true end):send("x"))
    end)

    it("wants a function", function()
      local class = crowd(1)
      assert.equal("filter(test): test must be a function, not string",
        support.raised(class.clients.filter, class.clients, "a"))
    end)
  end)

  describe("of a class that does more", function()
    it("gives its methods to its sets, and those of its views to all views", function()
      local Set = require "sync.set"
      local Loud = Set:extend()
      function Loud:shout(text) return self:send(text:upper()) end
      Loud.View.shout = Loud.shout
      local class = support.protocol {Set = Loud}
      class.clients = class.Set:new()
      local server = support.serve(class)
      local a, b = server:connect(), server:connect()
      assert.equal(2, class.clients:shout "x")
      assert.equal(1, class.clients:except(a.server):shout "y")
      assert.equal(1, class.clients:filter(function(c) return c == a.server end)
        :except(b.server):shout "z")
      assert.same({"XZ", "XY"}, {a:received(), b:received()})
      a.server:join "red"
      assert.equal(1, class:room("red"):shout "r")
      assert.equal("set of 2 clients", tostring(class.clients))
      assert.is_nil(Set.shout)
      assert.is_nil(Set.View.shout)
    end)
  end)
end)
