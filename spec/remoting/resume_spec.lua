-- What a session store is asked for: lua/sync/remoting/resume.lua.

local cjson = require "cjson"
local loop = require "sync.loop"
local support = require "spec.support"
local sync = require "sync"
local testing = require "sync.testing"

describe("a session store", function()
  local asked, Game, server, take

  before_each(function()
    asked, take = {}, nil
    Game = support.protocol({resumeTime = 30}, sync.Remote)
    local store = {prefix = function() return "7.1." end}
    for _, name in ipairs {"begin", "kept", "joined", "left", "stop", "finish", "forward"} do
      store[name] = function(_, first, ...)
        assert(first == first._session or first.token or first._session)
        asked[#asked + 1] = table.concat({name, tostring((...))}, " ")
        return true
      end
    end
    function store.take(_, client, token, received, done)
      take = {client = client, token = token, received = received, done = done}
      return token:match "^8" ~= nil
    end
    Game:keepSessions(store)
    server = support.serve(Game)
  end)

  after_each(support.cleanUp)

  local function messages(client)
    local list = {}
    for text in client:received():gmatch "(%Z*)%z" do list[#list + 1] = cjson.decode(text) end
    return list
  end

  local function resume(client, token, received)
    client:send(cjson.encode {jsonrpc = "2.0", id = "resume", method = "sync.resume",
      params = {token, received}} .. "\0")
  end

  it("gives tokens their beginning, and is told of a session's life", function()
    local client = server:connect()
    assert.matches("^7%.1%.%x+$", messages(client)[1].params[1].token)
    client.server:join("red", 1)
    client.server:join "red" -- once more says nothing
    client.server:leave "red"
    client.server:leave "red"
    client.server:fire("on", 1)
    Game.clients:fire("on", 2)
    client.server:abort()
    testing.settle()
    assert.same({"begin nil", "joined red", "left red",
      'kept {"jsonrpc":"2.0","method":"on","params":[1]}',
      'kept {"jsonrpc":"2.0","method":"on","params":[2]}', "finish nil"}, asked)
  end)

  it("ends what is under way when a client comes back here", function()
    local client = server:connect()
    local token = messages(client)[1].params[1].token
    client:leave()
    client.server:fire("on", 1)
    local again = server:connect()
    resume(again, token, 0)
    again.server = loop.clients[again.slot]
    assert.equal("stop nil", asked[4])
    assert.is_true(messages(again)[2].result.resumed)
  end)

  it("finds what is elsewhere, or does not", function()
    local client = server:connect()
    resume(client, "9.1.ab", 0)
    assert.is_false(messages(client)[2].result.resumed)
    resume(client, "8.1.ab", 3)
    assert.same({client.server, "8.1.ab", 3}, {take.client, take.token, take.received})
    assert.same({}, messages(client))
    take.done({'"missed"'}, true)
    local text = client:received()
    assert.matches('"callsLost":true', text)
    assert.matches('\0"missed"\0', text)
    assert.matches("sync.session", text, 1, true)
  end)

  it("sends to the client of a session that has moved", function()
    local client = server:connect()
    client.server._session.successor = {}
    assert.is_true(client.server:fire("on", 1))
    assert.matches('^forward {"jsonrpc"', asked[#asked])
    local fault
    client.server:call("ask", function(_, why) fault = why end)
    assert.equal("the client has gone", fault.message)
  end)

  it("may hold what is sent, for a while", function()
    local client = server:connect()
    messages(client)
    client.server._session.isHeld = true
    client.server:fire("on", 1)
    assert.same({}, messages(client))
    assert.equal('kept {"jsonrpc":"2.0","method":"on","params":[1]}', asked[#asked])
  end)
end)
