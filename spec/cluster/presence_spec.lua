-- Who is in the rooms of two nodes.

local nodes = require "spec.support.nodes"
local support = require "spec.support"
local sync = require "sync"

describe("a room of two nodes", function()
  local world, one, other, One, Other, serverOne, serverOther

  before_each(function()
    world = nodes.world()
    one, other = world:node(), world:node()
    local fields = {framing = "line", maxRooms = 5000}
    One, serverOne = one:serve("Game", fields, sync.Protocol)
    Other, serverOther = other:serve("Game", fields, sync.Protocol)
    world:advance(2)
  end)

  after_each(function() world:close() end)

  local function enter(server, room, value)
    local client = server:connect()
    client.server:join(room, value)
    return client
  end

  -- The values of a room's members, as a node sees them.
  local function values(class, room)
    world:advance()
    local list = {}
    for i, member in ipairs(class:room(room or "red"):members()) do
      list[i] = tostring(member.value)
    end
    world:advance()
    table.sort(list)
    return table.concat(list, " ")
  end

  it("has the members of both, with their values, at once", function()
    enter(serverOne, "red", "ann")
    local ben = enter(serverOther, "red", "ben")
    assert.same({"ann ben", "ann ben"}, {values(One), values(Other)})
    assert.same({2, 1}, {One:room("red"):total(), One:room("red"):count()})
    ben.server:join("red", "benjamin")
    assert.equal("ann benjamin", values(One))
    ben.server:leave "red"
    assert.same({"ann", "ann"}, {values(One), values(Other)})
    ben:leave()
    assert.equal(1, One:room("red"):total())
  end)

  it("is seen by one who is not in it, once it was looked at", function()
    for i = 1, 1200 do enter(serverOther, "red", i) end -- in several frames
    assert.equal("", values(One))
    assert.equal(1200, One:room("red"):total())
    enter(serverOther, "red", "last")
    world:advance()
    assert.equal(1201, One:room("red"):total())
  end)

  it("is looked at by few, and let go after a minute without members", function()
    One:room("red"):total()
    world:advance()
    assert.is_true(one.link.topics["r/Game/red"])
    world:advance(59)
    assert.is_true(one.link.topics["r/Game/red"])
    world:advance(8)
    assert.is_nil(one.link.topics["r/Game/red"])
  end)

  it("is let go some seconds after its last member has left", function()
    local ann = enter(serverOne, "red")
    world:advance()
    ann.server:leave "red"
    world:advance(4)
    assert.is_true(one.link.topics["r/Game/red"])
    world:advance(4)
    assert.is_nil(one.link.topics["r/Game/red"])
    ann.server:join "red"
    world:advance()
    assert.is_true(one.link.topics["r/Game/red"])
  end)

  it("is let go sooner where there are many of which that is so", function()
    local ann = enter(serverOne, "red")
    for i = 1, 1500 do ann.server:join("room" .. i) end
    world:advance()
    for i = 1, 1500 do ann.server:leave("room" .. i) end
    world:advance()
    assert.truthy(one.link.topicCount < 1010)
    assert.is_true(one.link.topics["r/Game/red"])
    assert.is_true(one.link.topics["r/Game/room1500"])
  end)

  it("loses the members of a node that dies, or stops, and has them again", function()
    enter(serverOne, "red", "ann")
    enter(serverOther, "red", "ben")
    world:advance()
    other.link:cut()
    world:advance(7)
    assert.equal("ann", values(One))
    other.link:heal()
    world:advance(3)
    assert.same({"ann ben", "ann ben"}, {values(One), values(Other)})
    other.cluster:stop()
    assert.equal("ann", values(One))
  end)

  it("heals when a change was lost on its way", function()
    enter(serverOne, "red", "ann")
    enter(serverOther, "red", "ben")
    world:advance()
    one.link.loses = function(topic) return topic == "r/Game/red" end
    local cy = enter(serverOther, "red", "cy")
    world:advance()
    one.link.loses = nil
    assert.equal("ann ben", values(One))
    world:advance(6) -- the beat claims what is missing
    assert.equal("ann ben cy", values(One))
    assert.equal(0, one.cluster.lost) -- of the application's messages
    cy.server:leave "red"
    assert.equal("ann ben", values(One))
  end)

  it("is asked for again where the question was lost, or the answer", function()
    enter(serverOther, "red", "ben")
    world:advance()
    other.link.loses = function(topic) return topic == "a" end
    assert.equal("", values(One))
    other.link.loses = nil
    world:advance(5)
    assert.equal("ben", values(One))
    enter(serverOther, "blue", "cy")
    world:advance()
    one.link.loses = function(topic) return topic == "n1" end
    assert.equal("", values(One, "blue"))
    one.link.loses = nil
    world:advance(6)
    assert.equal("cy", values(One, "blue"))
  end)

  it("is heard when the engine has room for its topic again", function()
    enter(serverOther, "red", "ben")
    one.link.maxTopics = one.link.topicCount
    local said = support.logged(function()
      enter(serverOne, "red", "ann")
      assert.equal("ann", values(One))
    end)
    assert.matches("too many rooms have members on this node", said[1])
    one.link.maxTopics = one.link.topicCount + 1
    world:advance(2)
    assert.equal("ann ben", values(One))
  end)

  it("stays on its node when its name is no topic", function()
    local said = support.logged(function() enter(serverOne, 5, "ann") end)
    assert.matches("a room's name is no string, or too long", said[1])
    assert.equal("ann", values(One, 5))
    assert.equal("", values(Other, 5))
  end)
end)
