-- What a node writes down of its sessions, and what another reads of it.

local frame = require "sync.cluster.frame"
local nodes = require "spec.support.nodes"
local support = require "spec.support"

describe("the journal of a node", function()
  local world, one, other, Game, server

  before_each(function()
    world = nodes.world()
    one, other = world:node(), world:node()
    Game, server = one:serve("Game", {resumeTime = 30, resumeFields = {"nick"}})
    world:advance(2)
  end)

  after_each(function() world:close() end)

  local function connect()
    local client = server:connect()
    client.token = client.server._session.token
    return client
  end

  -- The entries of a log.
  local function read(name)
    local list
    other.link:read(name, "", 1000, function(entries) list = entries end)
    world:advance()
    local all = {}
    for _, entry in ipairs(list) do all[#all + 1] = frame.decode(entry.bytes, 0) end
    return all
  end

  -- The kinds of all items of the node's journal, in short.
  local function kinds()
    local words = {}
    for _, entry in ipairs(read(one.cluster.journal.logOf(1, one.cluster.epoch))) do
      for _, item in ipairs(entry) do words[#words + 1] = item[1] end
    end
    return table.concat(words, " ")
  end

  -- What the other node finds out of a session.
  local function find(client)
    local session, problem
    other.cluster.handover.history:find(1, one.cluster.epoch, client.token, function(...)
      session, problem = ...
    end)
    world:advance()
    return session, problem
  end

  local function missed(client, received)
    local texts, known
    other.cluster.handover.history:missed(assert(find(client)), client.token, received,
      function(...) texts, known = ... end)
    world:advance()
    local words = {}
    for i, text in ipairs(texts or {}) do words[i] = text:match '"params":%[(.-)%]' end
    return texts and table.concat(words, " "), known
  end

  it("tells sessions, with rooms and fields, until they end", function()
    local client = connect()
    client.server.nick = "ann"
    client.server:join("red", 1)
    client.server:join "blue"
    client.server:leave "blue"
    world:advance()
    local found = find(client)
    assert.same({"Game", '"ann"', "1"}, {found.class, found.fields.nick, found.rooms.red})
    assert.is_nil(found.rooms.blue)
    assert.equal("state join field join field leave", kinds())
    client.server:abort()
    world:advance(3) -- what was read is kept for two seconds
    local _, problem = find(client)
    assert.equal("its node's journal does not know it", problem)
    assert.matches("end$", kinds())
  end)

  it("writes an event once for all who were sent it", function()
    local clients = {}
    for i = 1, 50 do clients[i] = connect() end
    world:advance()
    local before = #kinds()
    Game.clients:fire("on", 1)
    world:advance()
    assert.equal(" event", kinds():sub(before + 1))
    assert.equal("1", (missed(clients[1], 0)))
    assert.equal("1", (missed(clients[50], 0)))
    assert.equal("", (missed(clients[50], 1)))
  end)

  it("gives what was sent, and what was fired since, in order", function()
    local client = connect()
    client.server:join "red"
    world:advance()
    client.server:fire("on", 1)
    Game:room("red"):fire("on", 2)
    client.server:fire("on", 3)
    world:advance()
    local Other = other:serve("Game", {resumeTime = 30})
    one:kill()
    Other:room("red"):fire("on", 4)
    world:advance()
    assert.equal("1 2 3 4", (missed(client, 0)))
    assert.equal("3 4", (missed(client, 2)))
    local texts, why = missed(client, 4)
    assert.is_nil(texts)
    assert.equal("it has 4 messages, and the journal tells of 0 to 3", why)
  end)

  it("tells nothing twice that a session has had before it began here", function()
    local client = connect()
    client.server:join "red"
    world:advance()
    for i = 1, 2 do Game:room("red"):fire("on", i) end
    world:advance()
    local journal = one.cluster.journal
    local events = read(journal.eventsOf(one.cluster.topicOf("Game", "red")))
    journal:restart(client.server)
    journal:had(client.server._session, {[events[#events][1]] = true}) -- and so what is before
    Game:room("red"):fire("on", 3)
    world:advance(3)
    assert.equal("3", (missed(client, 2)))
  end)

  it("begins anew where something could not be written", function()
    local client = connect()
    world:advance()
    one.link:cut()
    client.server:fire("on", 1)
    world:advance()
    one.link:heal()
    world:advance(2)
    client.server:fire("on", 2)
    world:advance()
    local found = find(client)
    assert.equal(1, found.first) -- what was sent before is not told
    assert.equal("2", (missed(client, 1)))
  end)

  it("tells no event of a room twice when a session begins anew", function()
    local client = connect()
    client.server:join "red"
    world:advance()
    for i = 1, 2 do Game:room("red"):fire("on", i) end
    world:advance()
    one.link:cut()
    client.server:fire("on", 3) -- isn't written
    world:advance()
    one.link:heal()
    world:advance(2)
    Game:room("red"):fire("on", 4)
    world:advance()
    assert.equal("4", (missed(client, 3)))
    one:kill()
    other:serve("Game", {resumeTime = 30}):room("red"):fire("on", 5)
    world:advance(3)
    assert.equal("4 5", (missed(client, 3)))
  end)

  it("says when the engine can't be asked, or the log is none", function()
    local client = connect()
    world:advance()
    other.link:cut()
    assert.equal("the engine: away", (select(2, find(client))))
    other.link:heal()
    one.link:append(one.cluster.journal.logOf(1, one.cluster.epoch), "no table", 10, 10)
    world:advance(3)
    assert.equal("its log can't be read", (select(2, find(client))))
  end)

  it("reads a journal once for many who ask at the same time", function()
    local clients, reads = {}, 0
    for i = 1, 20 do clients[i] = connect() end
    world:advance()
    local ask = other.link.ask
    other.link.ask = function(self, name, ...)
      if name == "read" then reads = reads + 1 end
      return ask(self, name, ...)
    end
    local found = 0
    for _, client in ipairs(clients) do
      other.cluster.handover.history:find(1, one.cluster.epoch, client.token, function(session)
        found = found + (session and 1 or 0)
      end)
    end
    world:advance(1)
    assert.same({20, 1}, {found, reads})
    find(clients[1])
    assert.equal(1, reads)
    world:advance(3)
    find(clients[1])
    assert.equal(2, reads)
  end)

  it("leaves out who takes too much of it, for a minute", function()
    local client = connect()
    local text = ("x"):rep(40000)
    local said = support.logged(function()
      for _ = 1, 150 do
        client.server:fire("on", text)
        world:advance()
        client:received()
      end
    end)
    assert.matches("a client takes more of the journal than it may", table.concat(said))
    assert.is_nil(client.server._session.sid)
    world:advance(62)
    assert.truthy(client.server._session.sid)
  end)
end)
