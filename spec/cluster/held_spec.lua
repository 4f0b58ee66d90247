-- What an engine hears and is asked for while a process goes on in the next one.

local held = require "sync.cluster.held"
local memory = require "sync.cluster.memory"
local support = require "spec.support"

local wait = support.wait

describe("what is held of an engine", function()
  local hub, other

  before_each(function()
    hub = memory.hub()
    other = memory.open(hub)
  end)

  local function open()
    local engine, seen = memory.open(hub), {}
    engine:subscribe "a"
    return engine, seen, {onMessage = function(_, bytes) seen[#seen + 1] = bytes end,
      onUp = function() seen[#seen + 1] = "up" end}
  end

  local function publish(engine, ...)
    for _, bytes in ipairs {...} do engine:publish("a", bytes) end
    wait(function() return engine.taken == 0 end)
  end

  it("comes to the next process when it goes on, in its order", function()
    local engine, seen, handlers = open()
    local holds = held.begin(engine)
    local words, answer = {}, nil
    engine:subscribe "word"
    holds.words.word = function(bytes) words[#words + 1] = bytes end
    engine:attach(handlers)
    other:subscribe "b"
    local published = {}
    other:attach {onMessage = function(_, bytes) published[#published + 1] = bytes end}
    publish(other, "1", "2")
    other:publish("word", "!")
    wait(function() return words[1] end)
    engine:publish("b", "mine")
    engine:increment("key", 2, nil, function(sum) answer = sum end)
    engine:increment("key", 3, nil)
    wait(function() return #holds.list == 2 end)
    assert.same({{}, {}, nil, false}, {seen, published, answer, holds.problem})
    held.goOn(holds)
    publish(other, "3")
    wait(function() return #seen == 3 and #published == 1 and answer end)
    assert.same({"1", "2", "3"}, seen)
    assert.same({"mine"}, published)
    assert.equal(2, answer)
    other:get("key", function(sum) answer = sum end)
    wait(function() return answer == "5" end)
  end)

  it("comes to the old process when that goes on", function()
    local engine, seen, handlers = open()
    engine:attach(handlers)
    wait(function() return seen[1] == "up" end)
    local holds = held.still(engine)
    publish(other, "1", "2")
    wait(function() return #holds.list == 2 end)
    assert.equal(0, holds.said)
    engine:publish("b", "x")
    engine:get("key", function() end)
    assert.equal(2, holds.said)
    assert.equal(1, #seen)
    held.release(holds)
    publish(other, "3")
    wait(function() return #seen == 4 end)
    assert.same({"up", "1", "2", "3"}, seen)
  end)

  it("says when the connection was lost, and tells who uses the engine", function()
    local engine = open()
    local why
    engine:attach {onDown = function(reason) why = reason end}
    local holds = held.still(engine)
    engine.up = false
    engine:tell("onDown", "it's cut")
    assert.equal("the connection to the engine is lost: it's cut", holds.problem)
    assert.is_nil(why)
    held.release(holds)
    assert.is_truthy(why:find "it's cut")
  end)
end)
