-- Sessions on their way between nodes, and what is left of them when a node dies.

local Program = require "spec.support.program"
local Process = require "spec.support.process"
local cjson = require "cjson"
local nodes = require "spec.support.nodes"

local FIELDS = {resumeTime = 30, resumeFields = {"nick"}}

describe("a session of two nodes", function()
  local world, one, other, One, Other, serverOne, serverOther

  before_each(function()
    world = nodes.world()
    one, other = world:node(), world:node()
    One, serverOne = one:serve("Game", FIELDS)
    Other, serverOther = other:serve("Game", FIELDS)
    world:advance(2)
  end)

  after_each(function() world:close() end)

  local function messages(client)
    world:advance()
    local list = {}
    for text in client:received():gmatch "(%Z*)%z" do list[#list + 1] = cjson.decode(text) end
    return list
  end

  -- What a client was sent, in short.
  local function heard(client)
    local words = {}
    for _, message in ipairs(messages(client)) do
      local result = message.result
      if message.method == "sync.session" then
        words[#words + 1] = "session"
      elseif message.method then
        words[#words + 1] = message.method .. tostring(message.params[1])
      else
        words[#words + 1] = result.resumed and "resumed" .. result.missed or "refused"
        if result.callsLost then words[#words + 1] = "callsLost" end
      end
    end
    return table.concat(words, " ")
  end

  local function connect(server)
    local client = server:connect()
    client.token = messages(client)[1].params[1].token
    return client
  end

  local function comeBack(server, token, received)
    local client = connect(server)
    client:send(cjson.encode {jsonrpc = "2.0", id = "resume", method = "sync.resume",
      params = {token, received}} .. "\0")
    world:advance()
    return client
  end

  it("comes with rooms, fields and what was missed, in order and once", function()
    local client = connect(serverOne)
    client.server.nick = "ann"
    client.server:join("hall", {at = 1})
    client.server:fire("on", 1)
    world:advance()
    assert.equal("on1", heard(client))
    client:leave()
    Other:room("hall"):fire("on", 2)
    world:advance()
    One.clients:fire("on", 3)
    local again = comeBack(serverOther, client.token, 1)
    Other:room("hall"):fire("on", 4) -- while the session is on its way
    world:advance()
    One:room("hall"):fire("on", 5)
    world:advance(1)
    assert.equal("resumed4 on2 on3 on4 on5 session", heard(again))
    assert.equal("ann", again.server.nick)
    assert.is_true(again.server:isIn "hall")
    assert.equal(0, One:room("hall"):count())
    assert.is_nil(next(One.sessions))
    Other:room("hall"):fire("on", 6)
    One:room("hall"):fire("on", 7)
    world:advance()
    assert.equal("on6 on7", heard(again))
  end)

  it("comes to its own user alone", function()
    local function asUser(token) return {id = token} end
    One.auth, Other.auth = asUser, asUser
    local function enter(server, name)
      local client = server:connect()
      client:send(cjson.encode {jsonrpc = "2.0", id = "auth", method = "sync.auth",
        params = {name}} .. "\0")
      world:advance()
      for _, message in ipairs(messages(client)) do
        if message.method == "sync.session" then client.token = message.params[1].token end
      end
      return client
    end
    local function resume(client, token)
      client:send(cjson.encode {jsonrpc = "2.0", id = "resume", method = "sync.resume",
        params = {token, 0}} .. "\0")
      world:advance(1)
      for _, message in ipairs(messages(client)) do
        if message.id == "resume" then return message.result.resumed end
      end
    end
    for _, case in ipairs {{"mallory", false}, {"ann", true}} do
      local client = enter(serverOne, "ann")
      client.server.nick = "Ann"
      world:advance()
      client:leave()
      local again = enter(serverOther, case[1])
      assert.equal(case[2], resume(again, client.token))
      assert.equal(case[1], again.server.user.id)
      assert.equal(case[2] and "Ann" or nil, again.server.nick)
    end
  end)

  it("that is asked for while it is here is taken from its broken connection", function()
    local client = connect(serverOne)
    client.server:join "hall"
    world:advance()
    local again = comeBack(serverOther, client.token, 0)
    world:advance(1)
    assert.equal("resumed0 session", heard(again))
    assert.is_true(again.server:isIn "hall")
    assert.equal(0, One.clients:count())
  end)

  it("is passed what its first instance still answers", function()
    local client = connect(serverOne)
    local first = client.server
    client:leave()
    local again = comeBack(serverOther, client.token, 0)
    world:advance(1)
    assert.equal("resumed0 session", heard(again))
    assert.is_true(first:fire("on", "late"))
    world:advance()
    assert.equal("onlate", heard(again))
    other.cluster:stop()
    world:advance()
    assert.same({false, "closed"}, {first:fire("on", "lost")})
  end)

  it("is refused when its token is unknown there, and the client is a new one", function()
    local client = connect(serverOne)
    local wrong = client.token:sub(-1) == "0" and "1" or "0"
    local again = comeBack(serverOther, client.token:sub(1, -2) .. wrong, 0)
    world:advance(1)
    assert.equal("refused", heard(again))
    assert.equal(1, One.clients:count())
  end)

  it("of a node that is silent is rebuilt from its journal", function()
    local client = connect(serverOne)
    client.server.nick = "ann"
    client.server:join "hall"
    world:advance(1)
    client.server:fire("on", 1)
    One:room("hall"):fire("on", 2)
    Other:room("hall"):fire("on", 3)
    world:advance(1)
    one:kill()
    Other:room("hall"):fire("on", 4)
    world:advance(6) -- it has died
    Other.clients:fire("on", 5)
    world:advance(1)
    local again = comeBack(serverOther, client.token, 1)
    world:advance(4)
    assert.equal("resumed4 callsLost on2 on3 on5 on4 session", heard(again))
    assert.equal("ann", again.server.nick)
    assert.is_true(again.server:isIn "hall")
  end)

  it("that has moved is rebuilt without what came while it was on its way", function()
    local client = connect(serverOne)
    client.server:join "hall"
    world:advance(1)
    client:leave()
    local again = comeBack(serverOther, client.token, 0)
    One:room("hall"):fire("on", 1)
    Other:room("hall"):fire("on", 2)
    world:advance(1)
    assert.matches("^resumed2 on%d on%d session$", heard(again))
    Other:room("hall"):fire("on", 3)
    world:advance(1)
    other:kill()
    One:room("hall"):fire("on", 4)
    world:advance(6)
    local last = comeBack(serverOne, again.token, 1)
    world:advance(4)
    assert.equal("resumed1 callsLost on4 session", heard(last))
  end)

  it("of a node that doesn't answer in time is rebuilt, too", function()
    local client = connect(serverOne)
    client.server:fire("on", 1)
    world:advance(1)
    one:kill()
    local again = comeBack(serverOther, client.token, 0) -- the node still counts as alive
    assert.equal("", heard(again))
    world:advance(4)
    assert.equal("resumed1 callsLost on1 session", heard(again))
  end)

  it("whose journal the engine hasn't begins anew", function()
    local client = connect(serverOne)
    client.server:fire("on", 1)
    world:advance(1)
    one:kill()
    world:advance(130) -- what the engine keeps has gone
    local again = comeBack(serverOther, client.token, 0)
    world:advance(4)
    assert.equal("refused", heard(again))
  end)

  it("begins anew on a node that is cut off from the engine, and lacks nothing there", function()
    local client = connect(serverOne)
    client.server:fire("on", 1)
    world:advance(1)
    other.link:cut()
    local again = comeBack(serverOther, client.token, 0)
    again.server:fire("on", 2)
    world:advance(4)
    assert.equal("on2 refused", heard(again))
  end)
end)

-- Where it gets hard: a program whose engine the spec is, and whose other nodes say what no node
-- says in peace.
--
-- `Game` is served, `published` is what this node has told, and `store` is what the engine
-- keeps. `peer` is another node, `DEAD` the beginning of a dead one's tokens.
local NODE = [[
  local sync = require "sync"
  local buffer, cjson = require "string.buffer", require "cjson"
  local frame, loop = require "sync.cluster.frame", require "sync.loop"
  local testing = require "sync.testing"
  local Store, now = require "sync.cluster.store", require "sync.core".C.sync_now
  local store, published, reads, held = Store.new(), {}, {}, nil
  local handlers
  local engine = setmetatable({dropped = 0}, {__index = function(_, name)
    return function(_, ...) return store[name](store, ...) end
  end})
  function engine.isUp() return true end
  function engine.unsent() return 0 end
  function engine.subscribe() return true end
  function engine.settle(_, done) done(true) end
  function engine.guard(_, _, fn, ...) fn(...) end
  function engine.unsubscribe() end
  function engine.pair() end
  function engine.close() end
  function engine.publish(_, topic, bytes)
    local type, _, _, _, number = frame.read(bytes)
    published[#published + 1] = {topic = topic, type = type, number = number,
      said = type >= frame.BEAT and buffer.decode(bytes:sub(frame.HEAD + 1))}
    return true
  end
  -- Reading may be held up: then `held` gets what has to be called.
  function engine.read(_, name, ...)
    reads[#reads + 1] = name
    if not held then return store:read(name, ...) end
    local arguments = {name, ...}
    held[#held + 1] = function() store:read(unpack(arguments)) end
  end
  function engine.attach(_, given) handlers = given end
  local cluster = sync.cluster
  cluster:link(engine)
  handlers.onUp()

  local Game = sync.Remote:extend("Game")
  Game.resumeTime = 30
  Game.resumeFields = {"nick"}
  cluster:addClass(Game)
  local server = testing.serve(Game)

  local peer, frames = cluster.node % 16000 + 1, 0
  local function hear(type, said)
    frames = frames + 1
    handlers.onMessage("n" .. cluster.node,
      frame.write(type, peer, 7, 1, frames, buffer.encode(said)))
    testing.settle()
  end
  hear(frame.BEAT, {counts = {}, claims = {}})

  -- What this node has told the other one last, of a type.
  local function told(type)
    for i = #published, 1, -1 do
      local one = published[i]
      if one.topic == "n" .. peer and one.type == type then return one.said end
    end
  end

  local function waitFor(seconds, test)
    local stop = now() + seconds
    repeat
      testing.settle()
      if test and test() then return true end
      require "socket".sleep(0.005)
    until now() > stop
    return not test
  end

  local function messages(client)
    testing.settle()
    local list = {}
    for text in client:received():gmatch "(%Z*)%z" do list[#list + 1] = cjson.decode(text) end
    return list
  end

  -- What a client was sent, in short.
  local function heard(client)
    local words = {}
    for _, message in ipairs(messages(client)) do
      if message.method == "sync.session" then
        words[#words + 1] = "session"
      elseif message.method then
        words[#words + 1] = message.method .. tostring(message.params[1])
      else
        local result = message.result
        words[#words + 1] = result.resumed and "resumed" .. result.missed or "refused"
      end
    end
    return table.concat(words, " ")
  end

  local function connect()
    local client = server:connect()
    client.token = messages(client)[1].params[1].token
    return client
  end
  local function ask(client, token, received)
    client:send(cjson.encode {jsonrpc = "2.0", id = "resume", method = "sync.resume",
      params = {token, received or 0}} .. "\0")
  end

  -- Asks on a new connection, which may become another instance's.
  local function comeBack(token, received)
    local client = connect()
    ask(client, token, received)
    client.server = loop.clients[client.slot]
    return client
  end

  local digits = ("0"):rep(31)
  local ALIVE = ("%d.7.%s1"):format(peer, digits)
  local GONE = peer + 1
  local DEAD = ("%d.9.%s"):format(GONE, digits)
  local function journal(...)
    store:append(("j/%d.9"):format(GONE), buffer.encode {...}, 20000, 120)
  end

  -- Clients of which the own journal says that they are there.
  local function stated()
    local sids, count = {}, 0
    store:read(("j/%d.%d"):format(cluster.node, cluster.epoch), "", 20000, function(list)
      for _, entry in ipairs(list) do
        for _, item in ipairs(buffer.decode(entry.bytes)) do
          if item[1] == "state" then sids[item[2] ] = true end
          if item[1] == "end" then sids[item[2] ] = nil end
        end
      end
    end)
    for _ in pairs(sids) do count = count + 1 end
    return count
  end
]]

describe("a session on its way", function()
  after_each(Process.cleanUp)

  -- Runs code at such a node. Returns what it has printed, and nothing may be logged as an error.
  local function run(code)
    local result, out, err = Program.runCode(NODE .. code)
    assert.equal(0, result, err)
    assert.is_nil(err:find("ERROR", 1, true), err)
    assert.is_nil(err:find("can't be read", 1, true), err)
    return out
  end

  it("comes from another node, and what was missed with it, once", function()
    assert.equal("held\nresumed3 on1 on2 on3 session on4\ntrue\tann\n", run [[
      local client = connect()
      ask(client, ALIVE)
      local first = told(frame.TAKE)
      hear(frame.GIVEN, {number = first.number, texts = {'{"method":"on","params":[1]}'},
        rooms = {hall = ""}, fields = {nick = '"ann"'}})
      print "held"
      client.server:fire("on", 3)
      -- The same once more is too late: it's no answer to what is asked next.
      hear(frame.GIVEN, {number = first.number, texts = {}, rooms = {}, fields = {}})
      waitFor(5, function() return told(frame.TAKE).isRest end)
      hear(frame.GIVEN, {number = first.number, isRefused = true})
      local rest = told(frame.TAKE)
      for _ = 1, 2 do
        hear(frame.GIVEN, {number = rest.number, texts = {'{"method":"on","params":[2]}'},
          names = {""}})
      end
      client.server:fire("on", 4)
      print(heard(client))
      print(client.server:isIn "hall", client.server.nick)
    ]])
  end)

  it("that is refused at last leaves a new client, which lacks nothing", function()
    assert.equal("refused on2 on3\nfalse\tnil\nresumed1 on3\n", run [[
      local client = connect()
      client.server:fire("on", 1)
      heard(client)
      ask(client, ALIVE)
      hear(frame.GIVEN, {number = told(frame.TAKE).number, texts = {}, rooms = {hall = ""},
        fields = {nick = '"ann"'}})
      client.server:fire("on", 2)
      waitFor(5, function() return told(frame.TAKE).isRest end)
      hear(frame.GIVEN, {number = told(frame.TAKE).number, isRefused = true})
      client.server:fire("on", 3)
      print(heard(client))
      print(client.server:isIn "hall", client.server.nick)
      client:leave()
      print(heard(comeBack(client.token, 2)))
    ]])
  end)

  it("of a node that answers too late, and never, is given up once", function()
    assert.equal("refused\nrefused\n0\n", run [[
      local late, never = connect(), connect()
      ask(late, ALIVE)
      local question = told(frame.TAKE).number
      ask(never, ALIVE)
      held = {}
      waitFor(10, function() return #held > 0 end)
      hear(frame.GIVEN, {number = question, texts = {}, rooms = {}, fields = {}})
      held[1]()
      print((waitFor(5, function() return late.server._session.moving == nil end) and heard(late)))
      print((waitFor(5, function() return never.server._session.moving == nil end) and
        heard(never)))
      late:leave()
      never:leave()
      loop.stop(0)
      testing.settle()
      print(stated())
    ]])
  end)

  it("leaves nothing of a client that goes before the answer comes", function()
    assert.equal("0\t0\nresumed0 session\n", run [[
      journal({"state", 1, DEAD .. 1, "Game", 0, {}, {}})
      Game.resumeTime = 0.01
      held = {}
      for i = 1, 20 do
        local client = connect()
        ask(client, i % 2 == 0 and ALIVE or DEAD .. 1)
        if i % 3 == 0 then client.server:close() else client:leave() end
      end
      for _, done in ipairs(held) do done() end
      held = nil
      waitFor(5, function() return stated() == 0 end)
      print(stated(), Game.awayCount)
      local last = connect()
      ask(last, DEAD .. 1)
      waitFor(5, function() return not last.server._session.moving end)
      print(heard(last))
    ]])
  end)

  it("may be asked for by a third node, and by its client, meanwhile", function()
    assert.equal("true\n0\t0\n", run [[
      local client = connect()
      ask(client, ALIVE)
      hear(frame.GIVEN, {number = told(frame.TAKE).number, texts = {}, rooms = {}, fields = {}})
      hear(frame.TAKE, {number = 5, class = "Game", token = client.token, received = 0, id = 1})
      print(told(frame.GIVEN).isRefused)
      Game.resumeTime = 0.01
      local other = connect()
      ask(other, ALIVE)
      comeBack(other.token):leave()
      waitFor(5, function() return stated() == 0 end)
      print(stated(), Game.awayCount)
    ]])
  end)

  it("that its client takes back while it's given away stays", function()
    assert.equal("0\nresumed1 on1\ntrue\nresumed1 on1\n", run [[
      local client = connect()
      client:leave()
      client.server:fire("on", 1)
      local function take(number, isRest)
        hear(frame.TAKE, {number = number, class = "Game", token = client.token, received = 0,
          isRest = isRest, id = 1})
        return told(frame.GIVEN)
      end
      take(1)
      take(2)
      print(#take(3).rooms)
      local again = comeBack(client.token)
      print(heard(again))
      print(take(4, true).isRefused)
      again:leave()
      print(heard(comeBack(client.token)))
    ]])
  end)

  it("is none when onAway closes the client of which it is", function()
    assert.equal("true\nonClose tired\n", run [[
      local client = connect()
      local lives = {}
      function Game:onAway() self:close "tired" end
      function Game:onClose(reason) lives[#lives + 1] = "onClose " .. reason end
      hear(frame.TAKE, {number = 1, class = "Game", token = client.token, received = 0, id = 1})
      print(told(frame.GIVEN).isRefused)
      print(table.concat(lives, ", "))
    ]])
  end)

  it("leaves nothing behind, whatever comes in whichever order", function()
    local out = run [[
      journal({"state", 1, DEAD .. 1, "Game", 0, {hall = ""}, {}})
      math.randomseed(20)
      local random, clients, tokens, questions = math.random, {}, {ALIVE, DEAD .. 1, DEAD .. 2}, {}
      local function any(list) return list[random(math.max(1, #list))] end
      -- One that still has the connection with which it has come.
      local function anyClient()
        local client = any(clients)
        return client and client.server.slot == client.slot and client or nil
      end
      local closed, twice = {}, 0
      -- What handlers do, now and then: to the client itself, or to any other.
      local function meddle(self)
        local client = random(2) == 1 and self or (any(clients) or {}).server or self
        local act = random(12)
        if act == 1 then client:close "meddled" end
        if act == 2 then client:abort() end
        if act == 3 then client:fire("on", 1) end
        if act == 4 then client:join("room" .. random(5)) end
        if act == 5 then Game.clients:fire("on", 2) end
        if act == 6 then client:call("f", function() client:close() end) end
      end
      Game.onConnect, Game.onAway, Game.onResume = meddle, meddle, meddle
      function Game:onClose()
        if closed[self] then twice = twice + 1 end
        closed[self] = true
        meddle(self)
      end
      Game.resumeTime = 0.2
      Game.resumeTotal = 20000
      local acts = {
        function()
          local client = server:connect()
          local list = client.server and messages(client) or {}
          if not list[1] then return end
          client.token = list[1].params[1].token
          clients[#clients + 1] = client
          tokens[#tokens + 1] = client.token
        end,
        function()
          local client = anyClient()
          if client then ask(client, any(tokens), random(0, 2)) end
          if client then client.server = loop.clients[client.slot] or client.server end
        end,
        function()
          local client = anyClient()
          if client then client:leave() end
        end,
        function()
          local asked = told(frame.TAKE)
          if asked then questions[#questions + 1] = asked.number end
          local answer = {number = any(questions) or 1, texts = {'{"method":"on"}'}, names = {""},
            rooms = {hall = "", lobby = "1"}, fields = {nick = '"ann"'}}
          if random(3) == 1 then answer = {number = answer.number, isRefused = true} end
          hear(frame.GIVEN, answer)
        end,
        function()
          hear(frame.TAKE, {number = 1, class = "Game", token = any(tokens), received = 0,
            isRest = random(2) == 1, id = 1})
        end,
        function()
          local client = anyClient()
          if client then client.server:fire("on", ("x"):rep(random(1000))) end
          if client then client:received() end
          if #clients > 20 then table.remove(clients, 1) end
        end,
      }
      local stop = now() + 3
      while now() < stop do
        acts[random(#acts)]()
        if #published > 500 then published = {published[#published]} end
        if #tokens > 40 then table.remove(tokens, random(3, 20)) end
      end
      waitFor(8, function()
        for _, client in pairs(loop.clients) do client:abort() end
        return not next(Game.sessions)
      end)
      print(twice, stated(), Game.awayCount, Game.clients:count(), Game.sessionGroup.count,
        Game.sessionGroup.bytes, next(loop.away), next(Game.clients.absent))
    ]]
    assert.equal("0\t0\t0\t0\t0\t0\tnil\tnil\n", out)
  end)

  it("costs others little, however often it is asked for", function()
    local reads, longest = run [[
      -- A journal as a node leaves it that had many clients and was busy.
      for sid = 1, 1000 do
        journal({"state", sid, ("%s%d"):format(DEAD, sid), "Game", 0, {}, {}})
      end
      for number = 1, 200 do
        local item = {"event", "name" .. number}
        for sid = 1, 1000 do item[#item + 1], item[#item + 2] = sid, number end
        journal(item)
      end
      local one, many = connect(), {}
      local own = cluster.handover:prefix()
      -- As an unknown client asks, with all that one message may hold; each is answered.
      for _, prefix in ipairs {own, DEAD, GONE .. ".1"} do
        local batch = {}
        for i = 1, 64 do
          local token = prefix == GONE .. ".1" and ("%s%d.ab"):format(prefix, i) or
            ("%s%dff"):format(prefix, i)
          batch[i] = {jsonrpc = "2.0", id = i, method = "sync.resume", params = {token, 0}}
        end
        one:send(cjson.encode(batch) .. "\0")
      end
      for i = 1, 500 do
        many[i] = connect()
        ask(many[i], ("%sff%d"):format(DEAD, i))
      end
      local longest, moving = 0, true
      while moving do
        local begun = now()
        loop.step()
        longest = math.max(longest, now() - begun)
        moving = one.server._session.moving
        for _, client in ipairs(many) do moving = moving or client.server._session.moving end
      end
      assert(not heard(one):find "resumed")
      print(#reads, longest)
    ]]:match "^(%d+)%s+(%S+)"
    -- The journal has 1,200 entries: it's read once, 32 at a time. 50 ms, and for a busy machine
    -- some more; it took 2 s.
    assert.is_true(tonumber(reads) <= 40, reads .. " reads")
    assert.is_true(tonumber(longest) < 0.25, longest .. " s in a tick")
  end)
end)
