-- Sessions between two nodes, and what is left of them when a node dies.

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
    local again = comeBack(serverOther, client.token:sub(1, -3) .. "00", 0)
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
