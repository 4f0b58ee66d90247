local cjson = require "cjson"
local loop = require "sync.loop"
local support = require "spec.support"
local sync = require "sync"
local testing = require "sync.testing"

local function events(client)
  testing.settle()
  local list = {}
  for text in client:received():gmatch("(%Z*)%z") do
    local message = cjson.decode(text)
    list[#list + 1] = {message.method, unpack(message.params)}
  end
  return list
end

describe("fire with a key", function()
  after_each(support.cleanUp)

  it("sends at once to one that reads", function()
    local ann = support.connect(support.protocol({}, sync.Remote), 1)
    assert.is_true(ann.server:fire({latest = "at"}, "onMove", 1, 2))
    assert.same({{"onMove", 1, 2}}, events(ann))
  end)

  it("sends one that is behind the last of each key, when it can take it", function()
    local ann, bob = support.connect(support.protocol({}, sync.Remote), 2)
    ann.server:fire("onFirst") -- unread, so ann is behind
    for i = 1, 10 do
      ann.server.clients:fire({latest = "a"}, "onA", i)
      ann.server:fire({latest = "b"}, "onB", i)
      events(bob)
    end
    bob.server.clients:fire({latest = "a"}, "onA", 11)
    assert.same({{"onA", 11}}, events(bob))
    assert.same({{"onFirst"}}, events(ann))
    local list = {}
    support.wait(function()
      for _, event in ipairs(events(ann)) do list[#list + 1] = event end
      return #list >= 2
    end)
    assert.same({{"onA", 11}, {"onB", 10}}, list)
  end)

  it("holds so many keys, and drops what more there are", function()
    local ann = support.connect(support.protocol({}, sync.Remote), 1)
    ann.server:fire("onFirst")
    local last, why
    for i = 1, 65 do last, why = ann.server:fire({latest = "k" .. i}, "onKey", i) end
    assert.same({false, "dropped"}, {last, why})
  end)

  it("gives one that was away the last when it is back", function()
    local class = support.protocol({resumeTime = 30}, sync.Remote)
    local server = support.serve(class)
    local ann = server:connect()
    local token = events(ann)[1][2].token
    local instance = ann.server
    ann:leave()
    for i = 1, 5 do class.clients:fire({latest = "a"}, "onA", i) end
    local again = server:connect()
    events(again)
    again:send(cjson.encode {jsonrpc = "2.0", id = 1, method = "sync.resume",
      params = {token, 0}} .. "\0")
    again.server = instance
    local texts = ""
    support.wait(function()
      texts = texts .. again:received()
      return texts:find("onA", 1, true)
    end)
    assert.matches('"missed":0', texts, 1, true)
    assert.matches('"onA","params":[5]', texts, 1, true)
    instance:close()
  end)

  it("takes no other options", function()
    local ann = support.connect(support.protocol({}, sync.Remote), 1)
    for _, wrong in ipairs {{latest = 1}, {latest = "a", more = 1}, {latest = "a", late = false},
      {late = true}, {late = 0}, {late = nil}, {latest = ("x"):rep(129)}} do
      assert.matches("the options are {latest", support.raised(function()
        ann.server:fire(wrong, "onA")
      end), 1, true)
    end
  end)
end)

describe("fire({late = false})", function()
  after_each(support.cleanUp)

  local function resumable()
    local class = support.protocol({resumeTime = 30}, sync.Remote)
    return class, support.serve(class)
  end

  local function connect(server)
    local client = server:connect()
    client.token = events(client)[1][2].token
    return client
  end

  local function resume(server, token, received)
    local client = connect(server)
    client:send(cjson.encode {jsonrpc = "2.0", id = 1, method = "sync.resume",
      params = {token, received}} .. "\0")
    client.server = loop.clients[client.slot]
    testing.settle()
    local list = {}
    for text in client:received():gmatch("(%Z*)%z") do list[#list + 1] = cjson.decode(text) end
    return client, list
  end

  it("is as any other to one that reads", function()
    local class = support.protocol({}, sync.Remote)
    local ann, bob = support.connect(class, 2)
    assert.is_true(ann.server:fire({late = false}, "onMove", 1))
    assert.same({{"onMove", 1}}, events(ann))
    assert.equal(2, class.clients:fire({late = false}, "onMove", 2))
    assert.same({{"onMove", 2}}, events(ann))
    assert.equal('{"jsonrpc":"2.0","method":"onMove","params":[2]}\0', bob:received())
    assert.equal(1, class.clients:except(bob.server):fire({late = false}, "onMove", 3))
    assert.same({{"onMove", 3}}, events(ann))
  end)

  it("doesn't reach one that is behind, now or later", function()
    local class = support.protocol({}, sync.Remote)
    local ann, bob = support.connect(class, 2)
    ann.server:fire("onFirst") -- unread, so ann is behind
    testing.settle()
    assert.equal(1, class.clients:fire({late = false}, "onMove", 1))
    assert.same({false, "dropped"}, {ann.server:fire({late = false}, "onMove", 2)})
    assert.same({{"onMove", 1}}, events(bob))
    assert.same({{"onFirst"}}, events(ann))
    ann.server:fire("onLast")
    assert.same({{"onLast"}}, events(ann))
  end)

  it("isn't counted, kept, or sent again", function()
    local class, server = resumable()
    local ann = connect(server)
    local instance = ann.server
    ann.server:fire("on", 1)
    events(ann)
    for i = 1, 100 do
      assert.equal(1, class.clients:fire({late = false}, "onMove", i))
      testing.settle()
      assert.matches('"late":false}', ann:received(), 1, true)
    end
    class.clients:fire("on", 2)
    assert.equal(2, instance._session.last)
    ann:leave()
    assert.equal(0, class.clients:fire({late = false}, "onMove", "away"))
    assert.same({false, "dropped"}, {instance:fire({late = false}, "onMove", "away")})
    class.clients:fire("on", 3)
    local _, list = resume(server, ann.token, 1)
    assert.same({resumed = true, missed = 2}, list[1].result)
    assert.same({2, 3}, {list[2].params[1], list[3].params[1]})
    assert.equal(3, #list)
  end)

  it("is not counted by the Lua client either", function()
    local class = support.protocol({resumeTime = 30}, sync.Remote)
    local listener = assert(sync.enable("localhost", 0, class))
    local game = sync.connect("tcp://localhost:" .. listener.port)
    local seen, moves = {}, 0
    game:on("on", function(n) seen[#seen + 1] = n end)
    game:on("onMove", function() moves = moves + 1 end)
    support.wait(function() return game.state == "open" and game.token end)
    for i = 1, 10 do class.clients:fire({late = false}, "onMove", i) end
    class.clients:fire("on", 1)
    support.wait(function() return seen[1] end)
    assert.same({10, 1}, {moves, game.count})
    game:drop("broken by the spec")
    support.wait(function() return class.clients:count() == 0 end)
    class.clients:fire({late = false}, "onMove", "away")
    class.clients:fire("on", 2)
    support.wait(function() return seen[2] end)
    assert.same({1, 2}, seen)
    assert.same({10, true, 1}, {moves, game.resumed, game.sessions})
    game:close()
    listener:close()
  end)

  it("says the same in AMF3", function()
    local amf3 = require "sync.flash.amf3"
    local class = support.protocol({resumeTime = 30, encoding = "amf3", framing = "length32"},
      sync.Remote)
    local server = support.serve(class)
    local client = server:connect()
    client:received()
    class.clients:fire({late = false}, "onMove", 1, "late", {a = "onMove"})
    testing.settle()
    local ok, message, behind = amf3.decode(client:received():sub(5))
    assert.is_true(ok and behind > 1)
    assert.same({"2.0", "onMove", false}, {message.jsonrpc, message.method, message.late})
    assert.same({1, "late", {a = "onMove"}}, setmetatable(message.params, nil))
  end)
end)
