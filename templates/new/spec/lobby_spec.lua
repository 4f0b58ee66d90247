-- The lobby, without sockets: sync.testing carries the bytes through the same framing,
-- limits and queues as those of a real client.

local Lobby = require "lobby"
local cjson = require "cjson"
local testing = require "sync.testing"

-- A message is a JSON text and a NUL, as on a TCP connection.
local function call(client, name, ...)
  client:send(cjson.encode {jsonrpc = "2.0", id = 1, method = name, params = {...}} .. "\0")
end

-- What a client has got since the last time: a list of {event, arguments...}, and the answer
-- to its call, if there was one.
local function got(client)
  local events, answer = {}, nil
  for text in client:received():gmatch("(%Z+)%z") do
    local message = cjson.decode(text)
    if message.method then
      events[#events + 1] = {message.method, unpack(message.params)}
    else
      answer = message
    end
  end
  return events, answer
end

local function resultOf(client)
  local _, answer = got(client)
  return answer.result
end

local function faultOf(client)
  local _, answer = got(client)
  return answer.error.message
end

describe("the lobby", function()
  local server, ann, bob

  before_each(function()
    server = testing.serve(Lobby)
    ann, bob = server:connect(), server:connect()
    call(ann, "join", "ann")
    got(ann)
  end)

  after_each(function() server:close() end)

  it("tells who comes who is in, and those who are in who comes", function()
    call(bob, "join", "bob")
    assert.same({"ann", "bob"}, resultOf(bob))
    assert.same({{"onJoin", "bob"}}, (got(ann)))
  end)

  it("lets all who are in hear what is said", function()
    call(bob, "join", "bob")
    local outside = server:connect()
    got(ann)
    got(bob)
    call(ann, "say", "hello")
    assert.same({{"onSay", "ann", "hello"}}, (got(ann)))
    assert.same({{"onSay", "ann", "hello"}}, (got(bob)))
    assert.same({}, (got(outside)))
  end)

  it("tells who leaves", function()
    call(bob, "join", "bob")
    got(ann)
    bob:leave()
    assert.same({{"onLeave", "bob"}}, (got(ann)))
  end)

  it("refuses names that are taken, empty, too long, or no text", function()
    call(bob, "join", "ann")
    assert.equal("ann is taken", faultOf(bob))
    call(bob, "join", " ")
    assert.matches("1 to 24 bytes", faultOf(bob))
    call(bob, "join", ("x"):rep(25))
    assert.matches("1 to 24 bytes", faultOf(bob))
    call(bob, "join", 5)
    assert.matches("must be a string", faultOf(bob))
    assert.is_nil(bob.server.nick)
  end)

  it("refuses talk of those who are not in, and long talk", function()
    call(bob, "say", "hello")
    assert.equal("join first", faultOf(bob))
    call(ann, "say", ("x"):rep(501))
    assert.matches("at most 500 bytes", faultOf(ann))
    assert.same({}, (got(bob)))
  end)

  it("takes 10 texts at once, and not 40", function()
    for _ = 1, 40 do call(ann, "say", "spam") end
    local heard = #got(ann)
    assert.is_true(heard >= 10 and heard < 40, heard .. " were taken")
  end)
end)
