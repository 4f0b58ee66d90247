-- Values of the application between nodes: they arrive as they were, in what each client speaks.

local amf = require "sync.amf"
local amf3 = require "sync.flash.amf3"
local cjson = require "cjson"
local loop = require "sync.loop"
local nodes = require "spec.support.nodes"
local support = require "spec.support"
local sync = require "sync"
local testing = require "sync.testing"

describe("values of two nodes", function()
  local world, one, other, One, Other, serverOne, serverOther

  local function serve(fields)
    One, serverOne = one:serve("Game", fields)
    Other, serverOther = other:serve("Game", fields)
    world:advance(2)
  end

  before_each(function()
    world = nodes.world()
    one, other = world:node(), world:node()
  end)

  after_each(function() world:close() end)

  -- A client that speaks AMF3, and one that speaks JSON, of a class.
  local function flash(class)
    return testing.serve(class, {encoding = "amf3", framing = "length32"}):connect()
  end

  local function frames(client)
    world:advance()
    local list, bytes = {}, client:received()
    while #bytes > 0 do
      local length = bytes:byte(3) * 256 + bytes:byte(4)
      local ok, message = amf3.decode(bytes:sub(5, 4 + length))
      assert.is_true(ok, message)
      list[#list + 1] = {message.method, unpack(message.params)}
      bytes = bytes:sub(5 + length)
    end
    return list
  end

  local function texts(client)
    world:advance()
    local list = {}
    for text in client:received():gmatch "(%Z*)%z" do
      local message = cjson.decode(text)
      if message.method ~= "sync.session" then
        list[#list + 1] = {message.method, unpack(message.params or {})}
      end
    end
    return list
  end

  local bytes = "\0\255\254"
  local function all()
    return "on", amf.date(1732900000123.5), amf.bytes(bytes), 0 / 0, 1 / 3, sync.list(), nil,
      {deep = {amf.typed("com.example.P", {x = 1 / 3, none = sync.list()})}}
  end

  local function checkAll(event)
    assert.equal("on", event[1])
    assert.same({"date", 1732900000123.5}, {amf.kind(event[2]), event[2].milliseconds})
    assert.same({"bytes", bytes}, {amf.kind(event[3]), event[3].data})
    assert.is_true(event[4] ~= event[4])
    assert.equal(1 / 3, event[5])
    assert.equal("list", amf.kind(event[6]))
    assert.equal(sync.null, event[7])
    local typed = event[8].deep[1]
    assert.same({"com.example.P", 1 / 3, "list"},
      {amf.className(typed), typed.x, amf.kind(typed.none)})
  end

  it("reach a set's AMF3 clients as one of them, here and there", function()
    for _, fields in ipairs {{}, {resumeTime = 30}} do
      world:close()
      world = nodes.world()
      one, other = world:node(), world:node()
      serve(fields)
      local here, there, page = flash(One), flash(Other), serverOther:connect()
      for _, client in ipairs {here, there, page} do
        client.server:join "hall"
        world:advance()
        client:received()
      end
      local lines = support.logged(function()
        for _, set in ipairs {One.clients, One:room "hall", One.clients:except(nil)} do
          assert.equal(1, set:fire(all()))
          checkAll(frames(here)[1])
          checkAll(frames(there)[1])
        end
        here.server:fire(all())
        checkAll(frames(here)[1])
      end)
      assert.matches("the event on can't be told to clients that speak JSON", lines[1])
      assert.same({}, texts(page))
    end
  end)

  it("that JSON says reach all in what each speaks, from a node without the other kind", function()
    serve()
    local page, there, pageThere = serverOne:connect(), flash(Other), serverOther:connect()
    One.clients:fire("on", amf.date(5), {1, 1 / 3}, sync.list(), nil, 2 ^ 53)
    local event = frames(there)[1]
    assert.same({"date", 5}, {amf.kind(event[2]), event[2].milliseconds})
    assert.same({1, 1 / 3}, setmetatable(event[3], nil))
    assert.equal("list", amf.kind(event[4]))
    assert.same({sync.null, 2 ^ 53}, {event[5], event[6]})
    local wanted = {{"on", {milliseconds = 5}, {1, 1 / 3}, {}, cjson.null, 2 ^ 53}}
    assert.equal(cjson.encode(wanted), cjson.encode(texts(page)))
    assert.equal(cjson.encode(wanted), cjson.encode(texts(pageThere)))
    One.clients:fire("on", "plain") -- which goes as its JSON
    assert.same({{"on", "plain"}}, frames(there))
    assert.same({{"on", "plain"}}, texts(pageThere))
  end)

  it("raise an error where nobody could be told them, or JSON is all that is spoken", function()
    serve()
    serverOne:connect()
    assert.matches('^fire%("on"%): argument 1: a number in it is not finite',
      support.raised(One.clients.fire, One.clients, "on", 0 / 0))
    local client = flash(One)
    assert.equal(1, One.clients:fire("on", 0 / 0))
    assert.matches("argument 1: .*function",
      support.raised(One.clients.fire, One.clients, "on", print))
    assert.equal(1, #frames(client))
  end)

  it("may be told from the first listener on that takes AMF3, before anyone comes", function()
    local class = support.protocol({}, sync.Remote)
    local room = class:room "early"
    local listener = assert(sync.enable("localhost", 0, class,
      {encoding = "amf3", framing = "length32"}))
    assert.equal(0, class.clients:fire("on", 0 / 0))
    assert.equal(0, room:fire("on", 0 / 0))
    assert.equal(0, class:room("late"):fire("on", 0 / 0))
    listener:close()
  end)

  it("reach one client of another node", function()
    serve()
    local there, page = flash(Other), serverOther:connect()
    local distant = one.cluster:distant(there.server.id)
    assert.is_true(distant:fire(all()))
    checkAll(frames(there)[1])
    assert.is_true(one.cluster:distant(page.server.id):fire("on", 1 / 3, sync.list()))
    assert.same({{"on", 1 / 3, {}}}, texts(page))
    support.logged(function()
      one.cluster:distant(page.server.id):fire("on", 0 / 0)
      assert.same({}, texts(page))
    end)
    assert.matches("the name must be a string", support.raised(distant.fire, distant, 5))
    assert.matches("can't be told", support.raised(distant.fire, distant, "on", print))
  end)

  it("of members and of sessions that move are the same there", function()
    serve {resumeTime = 30, resumeFields = {"born", "skin", "scores"}}
    local client = serverOne:connect()
    world:advance()
    local token = cjson.decode((client:received():gsub("%z", ""))).params[1].token
    local self = client.server
    self.born, self.skin, self.scores = amf.date(7.5), amf.bytes(bytes), {[7] = 1 / 3, n = -1LL}
    assert.is_true(self:join("hall", {at = amf.date(1 / 3), list = sync.list(), nan = 0 / 0,
      [9] = "nine", id = 2LL ^ 62}))
    Other:room("hall"):members()
    world:advance(1)
    local function check(value)
      assert.same({"date", 1 / 3}, {amf.kind(value.at), value.at.milliseconds})
      assert.equal("list", amf.kind(value.list))
      assert.is_true(value.nan ~= value.nan)
      assert.equal("nine", value[9])
      assert.is_true(value.id == 2LL ^ 62)
    end
    check(Other:room("hall"):members()[1].value)
    client:leave()
    local again = serverOther:connect()
    again:send(cjson.encode {jsonrpc = "2.0", id = 1, method = "sync.resume",
      params = {token, 0}} .. "\0")
    world:advance(1)
    local moved = loop.clients[again.slot]
    assert.same({"date", 7.5, bytes, 1 / 3}, {amf.kind(moved.born), moved.born.milliseconds,
      moved.skin.data, moved.scores[7]})
    assert.is_true(moved.scores.n == -1LL)
    check(Other:room("hall"):members()[1].value)
    assert.same({false, "value too long"}, {moved:join("x", amf.bytes(("x"):rep(1100)))})
    assert.matches("the value: a function", support.raised(moved.join, moved, "x", print))
  end)

  it("come with what was missed as the event that they are of", function()
    serve {resumeTime = 30}
    local client = serverOne:connect()
    world:advance()
    local token = cjson.decode((client:received():gsub("%z", ""))).params[1].token
    client.server.isMine = true
    client:leave()
    One.clients:fire("on", 1)
    One.clients:filter(function(c) return c.isMine end):fire("on", "filtered")
    world:advance(1)
    one:kill()
    world:advance(6)
    Other.clients:fire("on", 2)
    Other.clients:fire({late = false}, "on", "late")
    world:advance(1)
    local again = serverOther:connect()
    again:send(cjson.encode {jsonrpc = "2.0", id = 1, method = "sync.resume",
      params = {token, 0}} .. "\0")
    world:advance(2)
    again.server = loop.clients[again.slot]
    local list = {}
    for _, event in ipairs(texts(again)) do
      if event[1] == "on" then list[#list + 1] = event[2] end
    end
    assert.same({1, "filtered", 2}, list)
  end)

  describe("that are worthless when late", function()
    it("are dropped for those who are behind on other nodes, too", function()
      serve()
      local ann, bob = serverOther:connect(), serverOther:connect()
      ann.server:fire "onFirst" -- unread: ann is behind
      world:advance()
      One.clients:fire({late = false}, "onMove", 1)
      assert.same({{"onMove", 1}}, texts(bob))
      assert.same({{"onFirst"}}, texts(ann))
      one.cluster:distant(ann.server.id):fire({late = false}, "onMove", 2)
      assert.same({{"onMove", 2}}, texts(ann))
    end)

    it("are the last of their key there", function()
      serve()
      local ann = serverOther:connect()
      ann.server:fire "onFirst"
      world:advance()
      for i = 1, 5 do
        One.clients:fire({latest = "at"}, "onMove", i, 0.5)
        one.cluster:distant(ann.server.id):fire({latest = "own"}, "onTurn", i)
        world:advance()
      end
      local list = texts(ann)
      assert.same({{"onFirst"}}, list)
      list = {}
      support.wait(function()
        for _, event in ipairs(texts(ann)) do list[#list + 1] = event end
        return #list >= 2
      end)
      assert.same({{"onMove", 5, 0.5}, {"onTurn", 5}}, list)
    end)

    it("are in no log, neither the node's nor the set's", function()
      serve {resumeTime = 30}
      local ann = serverOne:connect()
      world:advance()
      ann:received()
      local appended = {}
      local append = one.link.append
      one.link.append = function(self, name, text, ...)
        appended[#appended + 1] = text
        return append(self, name, text, ...)
      end
      One.clients:fire({late = false}, "onMove", "fleeting")
      world:advance(3)
      assert.matches('"late":false', ann:received(), 1, true)
      assert.is_nil(table.concat(appended):find("fleeting", 1, true))
      One.clients:fire("onMove", "lasting")
      world:advance(3)
      assert.is_truthy(table.concat(appended):find("lasting", 1, true))
    end)
  end)
end)
