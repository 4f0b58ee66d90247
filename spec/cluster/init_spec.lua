-- Two nodes and more in one process: what reaches whom, what is lost and counted, who lives.

local nodes = require "spec.support.nodes"
local sync = require "sync"
local testing = require "sync.testing"
local support = require "spec.support"

describe("nodes", function()
  local world, one, other

  before_each(function()
    world = nodes.world()
    one, other = world:node(), world:node()
  end)

  after_each(function() world:close() end)

  -- Serves a class of lines at both, with a client each; the clients of the nodes.
  local function lines(name)
    local fields = {framing = "line"}
    local One, serverOne = one:serve(name or "Chat", fields, sync.Protocol)
    local Other, serverOther = other:serve(name or "Chat", fields, sync.Protocol)
    local a, b = serverOne:connect(), serverOther:connect()
    world:advance(2)
    return One, Other, a, b
  end

  local function received(client)
    world:advance()
    return client:received()
  end

  it("know each other", function()
    world:advance(2)
    assert.is_true(one.cluster.nodes[2].alive)
    assert.is_true(other.cluster.nodes[1].alive)
    assert.same({1, 1, 0, 0, true}, {one.cluster:state().node, one.cluster:state().others,
      one.cluster:state().lost, one.cluster:state().dropped, one.cluster:state().isUp})
  end)

  it("are one server to those who send to a class, to a room, and to all but one", function()
    local One, Other, a, b = lines()
    for i = 1, 100 do One.clients:send(tostring(i)) end
    local wanted = {}
    for i = 1, 100 do wanted[i] = i .. "\n" end
    assert.equal(table.concat(wanted), received(a))
    assert.equal(table.concat(wanted), received(b))
    a.server:join "red"
    world:advance()
    Other:room("red"):send("to red")
    assert.equal("to red\n", received(a))
    assert.equal("", received(b))
    One.clients:except(a.server):send "but one"
    assert.same({"", "but one\n"}, {received(a), received(b)})
    One.clients:filter(function() return true end):send "of this node"
    assert.same({"of this node\n", ""}, {received(a), received(b)})
  end)

  it("carry a message's kind with it", function()
    local One, Other, _, b = lines()
    local server = testing.serve(Other, {transports = {"websocket"}})
    local socket = server:connect()
    world:advance(2)
    local function message()
      world:advance()
      return {socket:message()}
    end
    One.clients:send("a", "binary")
    assert.same({"a\n", "binary"}, message()) -- by the framing, as bytes are
    One.clients:send("b", "text")
    One.clients:send("c")
    assert.same({"b", "text"}, message())
    assert.same({"c", "text"}, message())
    local distant = one.cluster:distant(socket.server.id)
    distant:send("d", "binary")
    distant:send("e", "text")
    distant:send("f")
    assert.same({"d\n", "binary"}, message())
    assert.same({"e", "text"}, message())
    assert.same({"f", "text"}, message())
    assert.has_error(function() distant:send("g", "txt") end)
    assert.equal("a\nb\nc\n", received(b))
    server:close()
  end)

  it("count clients by beats", function()
    local One, Other = lines()
    assert.same({2, 2, 1}, {One.clients:total(), Other.clients:total(), One.clients:count()})
    assert.same({}, {one.cluster.classes.Chat.clients.channel:members()[1]})
  end)

  it("find clients of others by their ids, and tell whether a message is on its way", function()
    local _, _, _, b = lines()
    local distant = one.cluster:distant(b.server.id)
    assert.equal("client " .. b.server.id .. " of node 2", tostring(distant))
    local function result(...) return {n = select("#", ...), ...} end
    assert.same({n = 1, true}, result(distant:send "hello"))
    assert.equal("hello\n", received(b))
    assert.same({n = 1, true}, result(distant:fire("on", 1)))
    assert.matches('"method":"on"', received(b))
    one.link:cut()
    assert.same({n = 2, false, "dropped"}, result(distant:send "lost"))
    one.link:heal()
    other.cluster:stop()
    world:advance()
    assert.same({n = 2, false, "closed"}, result(distant:send "too late"))
    assert.is_nil(one.cluster:distant(b.server.id))
  end)

  it("close clients of others", function()
    local _, _, _, b = lines()
    one.cluster:distant(b.server.id):close("enough")
    world:advance()
    assert.equal("enough", b.server.closing)
  end)

  it("count what is lost on its way, at the next message", function()
    local One, _, _, b = lines()
    One.clients:send "1"
    assert.equal("1\n", received(b))
    other.link.loses = function(topic) return topic == "c/Chat" end
    One.clients:send "2"
    One.clients:send "3"
    world:advance()
    other.link.loses = nil
    One.clients:send "4"
    assert.equal("4\n", received(b))
    assert.same({0, 2}, {one.cluster.lost, other.cluster.lost})
  end)

  it("count what is lost when nothing comes behind it, by what beats claim", function()
    local One, _, _, b = lines()
    One.clients:send "1"
    received(b)
    other.link.loses = function(topic) return topic == "c/Chat" end
    One.clients:send "2"
    world:advance()
    assert.equal(0, other.cluster.lost)
    world:advance(4)
    assert.equal(1, other.cluster.lost)
    other.link.loses = nil
    One.clients:send "3"
    assert.equal("3\n", received(b))
    assert.equal(1, other.cluster.lost)
  end)

  it("count what was sent while a link was cut, and nothing comes twice", function()
    local One, _, _, b = lines()
    One.clients:send "1"
    received(b)
    other.link:cut()
    for i = 2, 11 do One.clients:send(tostring(i)) end
    world:advance(3)
    other.link:heal()
    One.clients:send "12"
    world:advance(4)
    assert.equal("12\n", received(b))
    assert.equal(10, other.cluster.lost)
  end)

  it("take one that is silent for dead after five seconds, and know it again", function()
    local One = lines()
    other.link:cut()
    world:advance(4)
    assert.equal(2, One.clients:total())
    world:advance(3)
    assert.equal(1, One.clients:total())
    assert.is_false(one.cluster.nodes[2].alive)
    other.link:heal()
    world:advance(2)
    assert.equal(2, One.clients:total())
    assert.is_true(one.cluster.nodes[2].alive)
  end)

  it("forget one that has been away for a minute, and know one that stops at once", function()
    lines()
    other.cluster:stop()
    world:advance()
    assert.is_false(one.cluster.nodes[2].alive)
    world:advance(62)
    assert.is_nil(one.cluster.nodes[2])
  end)

  it("let only what is said of rooms take a way of its own, and overtake events", function()
    local _, _, _, b = lines()
    local frame = require "sync.cluster.frame"
    local link, topics = one.cluster.engine, {}
    local publish = link.publish
    function link:publish(topic, bytes)
      topics[#topics + 1] = {(frame.read(bytes)), topic}
      return publish(self, topic, bytes)
    end
    local peer = one.cluster.nodes[2]
    one.cluster:tell(peer, frame.TAKE, {})
    one.cluster:tell(peer, frame.ROOM, {})
    assert.is_true(one.cluster:distant(b.server.id):send "x")
    assert.same({{frame.TAKE, "n2"}, {frame.ROOM, "w2"}, {frame.DIRECT, "n2"}}, topics)
    topics = {}
    one.cluster:stop()
    link.publish = nil
    assert.same({{frame.BYE, "n2"}, {frame.BYE, "w2"}}, topics)
  end)

  it("know that something that was said of rooms is lost, also when nothing follows", function()
    lines()
    local frame = require "sync.cluster.frame"
    local said, missed = {}, {}
    one.cluster:onRooms {said = function(_, list) said[#said + 1] = list end,
      changed = function() end, missed = function(number) missed[#missed + 1] = number end}
    local peer = other.cluster.nodes[1]
    other.cluster:tell(peer, frame.ROOM, {"first"})
    world:advance()
    function one.link.loses(_, bytes) return frame.read(bytes) == frame.ROOM end
    other.cluster:tell(peer, frame.ROOM, {"second"})
    world:advance()
    one.link.loses = nil
    assert.same({{{"first"}}, {}}, {said, missed})
    world:advance(4)
    assert.same({2}, missed)
    assert.same({1, 0}, {#said, one.cluster.lost})
  end)

  it("know that one has stopped when it has said so by each way", function()
    lines()
    local frame = require "sync.cluster.frame"
    local peer = one.cluster.nodes[2]
    one.cluster:publish(peer.stream, frame.BYE, "")
    world:advance()
    assert.is_true(other.cluster.nodes[1].alive) -- its last words are on the other way
    one.cluster:publish(peer.way, frame.BYE, "")
    world:advance()
    assert.is_false(other.cluster.nodes[1].alive)
  end)

  it("replace one whose process is another, and hear no late words of the first", function()
    lines()
    local frame = require "sync.cluster.frame"
    local epoch = other.cluster.epoch
    other:kill()
    local again = world:node {number = 2}
    again.cluster.epoch = epoch + 1 -- a second later
    world:advance(2)
    assert.equal(epoch + 1, one.cluster.nodes[2].epoch)
    one.link:tell("onMessage", "a", frame.write(frame.BYE, 2, epoch, 1, 1000, ""))
    world:advance()
    assert.is_true(one.cluster.nodes[2].alive)
  end)

  it("give a number that another has back, and take one of their own", function()
    local core = require "sync.core"
    local random, given = core.randomNumber, 0
    function core.randomNumber(most) -- 42 for the first two, whose epochs differ
      given = given + 1
      if most == 16 then return given end
      return given <= 4 and 41 or random(most)
    end
    local third, fourth = world:node {number = false}, world:node {number = false}
    world:advance(1)
    core.randomNumber = random
    assert.equal(42, third.cluster.node)
    assert.truthy(fourth.cluster.node ~= 42)
    world:advance(2)
    assert.is_true(third.cluster.nodes[fourth.cluster.node].alive)
  end)

  it("leave an application's messages out where the engine doesn't keep up, and count them",
    function()
      local One, _, _, b = lines()
      One.clients:send "first"
      received(b)
      local said = support.logged(function()
        one.link.unsent = function() return 7 * 1024 * 1024 end
        One.clients:send "shed"
        assert.equal(1, one.cluster.dropped())
        one.link.unsent = nil
        One.clients:send "sent"
      end)
      assert.matches("the engine doesn't keep up", said[1])
      assert.equal("sent\n", received(b))
      assert.equal(1, other.cluster.lost)
      world:advance(7)
      assert.is_true(other.cluster.nodes[1].alive)
    end)

  it("survive frames that no node sends", function()
    local One, _, _, b = lines()
    local frame = require "sync.cluster.frame"
    local said = support.logged(function()
      one.link:publish("c/Chat", "")
      one.link:publish("c/Chat", ("x"):rep(40))
      for type = frame.BEAT, frame.BACK do
        one.link:publish("a", frame.write(type, 3, 1, 1, type, "no table"))
      end
      one.link:publish("n2", frame.write(frame.DIRECT, 3, 1, 2, 1, "x"))
      world:advance()
    end)
    assert.matches("node 3: a frame can't be read", table.concat(said))
    One.clients:send "still here"
    assert.equal("still here\n", received(b))
  end)

  it("refuse classes that can't be known by their names", function()
    one:serve "Game"
    local Game = sync.Protocol:extend "Game"
    assert.matches('two classes have the name "Game"',
      support.raised(one.cluster.addClass, one.cluster, Game))
    assert.matches("no slash",
      support.raised(one.cluster.addClass, one.cluster, sync.Protocol:extend "a/b"))
  end)
end)
