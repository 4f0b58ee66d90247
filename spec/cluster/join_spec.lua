-- Who is told that it has joined gets what other nodes send to the room from then on, however long
-- the way to the engine is.

local Nats = require "spec.support.nats"
local Process = require "spec.support.process"
local Redis = require "spec.support.redis"
local Relay = require "spec.support.relay"
local bus = require "sync.cluster.bus"
local cjson = require "cjson"
local cluster = require "sync.cluster"
local hubs = require "sync.cluster.hub"
local nats = require "sync.cluster.nats"
local nodes = require "spec.support.nodes"
local redis = require "sync.cluster.redis"
local socketpair = require "spec.support.socketpair"
local support = require "spec.support"
local sync = require "sync"
local testing = require "sync.testing"

local wait = support.wait

local function messages(client)
  local list = {}
  for text in client:received():gmatch "(%Z*)%z" do list[#list + 1] = cjson.decode(text) end
  return list
end

local function call(client, id, name, ...)
  client:send(cjson.encode {jsonrpc = "2.0", id = id, method = name, params = {...}} .. "\0")
end

local function lobby()
  local class = sync.Remote:extend "Lobby"
  function class.remote:enter(name)
    assert(self:join(name))
    return "in " .. name
  end
  return class
end

describe("a join, by an engine that is far away,", function()
  local SECONDS = 0.02

  -- The engines of two nodes, and what ends what they stand on.
  local KINDS = {}

  function KINDS.redis()
    local server = Redis.start()
    local relay = Relay.open(server.port, SECONDS)
    return assert(redis.open(server:url())),
      assert(redis.open(("redis://127.0.0.1:%d"):format(relay.port))), relay
  end

  function KINDS.nats()
    local server = Nats.start()
    local relay = Relay.open(tonumber(server.url:match ":(%d+)$"), SECONDS)
    return assert(nats.open(server.url)),
      assert(nats.open(("nats://127.0.0.1:%d"):format(relay.port))), relay
  end

  for _, kind in ipairs {"redis", "nats"} do
    it("is answered when messages arrive: " .. kind, function()
      local near, far, relay = KINDS[kind]()
      wait(function() return near:isUp() and far:isUp() end, 20)
      local one, other = cluster.new(near, {number = 1}), cluster.new(far, {number = 2})
      local One, Other = lobby(), lobby()
      one:addClass(One)
      other:addClass(Other)
      local client = testing.serve(Other):connect()
      local answered, heard = 0, 0
      for i = 1, 20 do
        local name, isHeard = "room" .. i, false
        call(client, i, "enter", name)
        wait(function()
          for _, message in ipairs(messages(client)) do
            if message.id == i then
              assert.equal("in " .. name, message.result)
              answered = answered + 1
              One:room(name):fire("on", i)
            elseif message.method == "on" then
              assert.equal(i, message.params[1])
              isHeard, heard = true, heard + 1
            end
          end
          return isHeard
        end)
      end
      assert.same({20, 20}, {answered, heard})
      client.server:close()
      one:stop()
      other:stop()
      near:close()
      far:close()
      relay:close()
      Nats.cleanUp()
      Process.cleanUp()
    end)
  end

  it("waits for the parent of workers, and for all topics that are owed", function()
    local hub = hubs.open(2, {onListens = function() end})
    local engine, ours, theirs = bus.open(), socketpair()
    engine:connect(ours, function() end)
    wait(function() return engine.link end)
    local answers = {}
    engine:subscribe "a"
    engine:settle(function(...) answers[1] = {...} end)
    for _ = 1, 20 do testing.settle() end
    assert.same({}, answers) -- nobody reads at the other end
    local put = engine.put
    engine.put = function() return false end -- as where the queue is full
    engine:subscribe "b"
    engine:settle(function(...) answers[2] = {...} end)
    engine.put = put
    assert(hub:adopt(theirs))
    wait(function() return answers[1] end)
    assert.same({{true}}, answers)
    engine:tellOwed()
    wait(function() return answers[2] end)
    assert.is_true(answers[2][1])
    engine:close()
  end)
end)

describe("a join of two nodes", function()
  local world, one, other, One, Other, serverOther, later

  before_each(function()
    world = nodes.world()
    one, other = world:node(), world:node()
    One, Other = one:serve "Game", nil
    Other, serverOther = other:serve "Game"
    world:advance(2)
    later = {}
    other.link.confirm = function(_, done) later[#later + 1] = done end
    function Other.remote:enter(...)
      for _, name in ipairs {...} do assert(self:join(name)) end
      self:fire "onEnter"
      return ...
    end
    function Other.remote:add(a, b) return a + b end
  end)

  after_each(function() world:close() end)

  local function confirm()
    local list = later
    later = {}
    for _, done in ipairs(list) do done(true) end
    world:advance()
  end

  -- What a client was sent, in short.
  local function heard(client)
    world:advance()
    local words = {}
    for _, message in ipairs(messages(client)) do
      words[#words + 1] = message.method or message.id .. "=" ..
        tostring(message.result or message.error.message)
    end
    return table.concat(words, " ")
  end

  it("lets the client's answers wait, in their order, and nothing else", function()
    local client, second = serverOther:connect(), serverOther:connect()
    call(client, 1, "enter", "red")
    call(client, 2, "add", 1, 2)
    call(second, 1, "add", 1, 2)
    assert.equal("onEnter", heard(client))
    assert.equal("1=3", heard(second))
    Other.clients:fire "on"
    assert.equal("on", heard(client))
    confirm()
    assert.equal("1=red 2=3", heard(client))
    call(client, 3, "enter", "red")
    call(second, 2, "enter", "red")
    assert.equal("onEnter 3=red", heard(client))
    assert.equal("on onEnter 2=red", heard(second))
    assert.equal(0, #later)
  end)

  it("waits for all rooms, and all who come at once", function()
    local client, second = serverOther:connect(), serverOther:connect()
    call(client, 1, "enter", "red", "blue")
    call(second, 1, "enter", "red")
    world:advance()
    assert.equal(1, #later) -- one question for all of a tick
    call(client, 2, "enter", "green")
    world:advance()
    table.remove(later, 1)(true)
    assert.equal("onEnter onEnter", heard(client))
    assert.equal("onEnter 1=red", heard(second))
    confirm()
    assert.equal("1=red 2=green", heard(client))
  end)

  it("is answered after a second, and the log says so", function()
    local client = serverOther:connect()
    local lines = support.logged(function()
      call(client, 1, "enter", "red")
      world:advance(0.5)
      assert.equal("onEnter", heard(client))
      world:advance(0.6)
      assert.equal("1=red", heard(client))
    end)
    assert.equal(1, #lines)
    assert.matches("memory has not said within 1 s .*room=red", lines[1])
    confirm()
    call(client, 2, "enter", "red")
    assert.equal("onEnter 2=red", heard(client))
  end)

  it("asks anew where the engine couldn't say", function()
    local client = serverOther:connect()
    support.logged(function()
      call(client, 1, "enter", "red")
      world:advance()
      table.remove(later)(nil, "busy")
      world:advance(1)
      assert.equal("onEnter 1=red", heard(client))
    end)
    assert.equal(1, #later)
    confirm()
    call(client, 2, "enter", "red")
    assert.equal("onEnter 2=red", heard(client))
  end)

  it("lets a batch and late answers wait, and so many answers at most", function()
    local answer
    function Other.remote:slow() answer = self:later() end
    Other.maxCalls = 3
    local client = serverOther:connect()
    client:send(cjson.encode {{jsonrpc = "2.0", id = 1, method = "enter", params = {"red"}},
      {jsonrpc = "2.0", id = 2, method = "add", params = {1, 2}}} .. "\0")
    call(client, 3, "slow")
    world:advance()
    answer "late"
    assert.equal("onEnter", heard(client))
    for i = 4, 6 do call(client, i, "add", i, 0) end
    assert.equal("5=5 6=6", heard(client)) -- three wait already
    Other.maxCalls = nil
    later[1](true)
    world:advance()
    local bytes = client:received()
    assert.matches('^%[{"jsonrpc":"2.0","id":1,"result":"red"},.*"result":3}%]', bytes)
    assert.matches('"id":3,"result":"late".*"id":4,"result":4', bytes)
  end)

  it("that is over before its answer leaves nothing", function()
    local client = serverOther:connect()
    call(client, 1, "enter", "red")
    world:advance()
    client.server:close()
    world:advance()
    confirm()
    local second = serverOther:connect()
    call(second, 1, "enter", "blue")
    world:advance()
    second.server:leave "blue"
    world:advance(8) -- the room is let go
    assert.equal("onEnter 1=blue", heard(second))
    call(second, 2, "enter", "blue") -- heard of anew
    assert.equal("onEnter", heard(second))
    table.remove(later, 1)(true) -- of the first time
    assert.equal("", heard(second))
    confirm()
    assert.equal("2=blue", heard(second))
  end)

  it("calls a function, of any protocol", function()
    local Line = other:serve("Line", {framing = "line"}, sync.Protocol)
    local client = testing.serve(Line):connect()
    local calls = {}
    assert.is_true(client.server:join("red", nil, function() calls[#calls + 1] = "red" end))
    client.server:join("blue", 5, function() error "in the spec" end)
    client.server:join("green", 5, function() calls[#calls + 1] = "green" end)
    world:advance()
    assert.same({}, calls)
    local lines = support.logged(confirm)
    assert.matches("in the spec", lines[1])
    table.sort(calls)
    assert.same({"green", "red"}, calls)
    client.server:join("red", nil, function() calls[#calls + 1] = "at once" end)
    assert.equal("at once", calls[3])
    local alone = support.protocol({}, sync.Protocol)
    local solo = support.connect(alone, 1)
    solo.server:join("x", nil, function() calls[#calls + 1] = "alone" end)
    assert.equal("alone", calls[4])
    support.cleanUp()
  end)

  it("has nothing to wait for where another has joined, or no other node can send", function()
    local client = serverOther:connect()
    call(client, 1, "enter", ("x"):rep(129))
    call(client, 2, "add", 1, 1)
    assert.matches("2=2$", (heard(client)))
    One:room("red"):fire "on"
  end)
end)
