local cjson = require "cjson"
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
    for _, wrong in ipairs {{latest = 1}, {latest = "a", more = 1}} do
      assert.matches("the options are {latest", support.raised(function()
        ann.server:fire(wrong, "onA")
      end), 1, true)
    end
  end)
end)
