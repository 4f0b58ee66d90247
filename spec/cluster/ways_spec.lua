-- Ways from one worker to another that don't lead through their parent.

local Connector = require "sync.connector"
local Protocol = require "sync.protocol"
local buffer = require "string.buffer"
local engines = require "spec.support.engines"
local places = require "sync.places"
local support = require "spec.support"

local wait = support.wait

describe("a way from a worker to another", function()
  local one, other, heard, passed

  before_each(function()
    local open = engines.kinds.bus()
    one, other, heard, passed = open(), open(), {}, 0
    other:attach {onMessage = function(_, bytes) heard[#heard + 1] = tonumber(bytes) end}
    one:subscribe "n1"
    other:subscribe "n2"
    one:pair("n1", "n2")
    other:pair("n2", "n1")
    local isSettled
    other:settle(function() isSettled = true end)
    wait(function() return isSettled end)
    local pass = one.pass
    one.pass = function(...)
      passed = passed + 1
      return pass(...)
    end
  end)

  after_each(function()
    one:close()
    other:close()
    wait(function() return not one.link and not other.link or one.closed end)
    engines.cleanUp()
  end)

  local sent

  local function send(count)
    for _ = 1, count do
      sent = sent + 1
      assert.is_true(one:publish("n2", tostring(sent)))
    end
  end

  local function checkOrder(from)
    for i = from, #heard do assert.equal(i, heard[i]) end
  end

  local function way() return one.ways.byTopic.n2 end

  -- Messages go on while the way opens.
  local function open()
    sent = 0
    wait(function()
      send(1)
      return way().link and not way().held
    end)
  end

  it("is taken after some messages, all of which come in their order", function()
    open()
    local before = passed
    assert.is_true(before >= 64)
    send(1000)
    wait(function() return #heard == sent end)
    checkOrder(1)
    assert.equal(before, passed)
    assert.is_true(sent - before > 1000) -- some were held back
  end)

  it("ends with the sibling's end, and messages go through the parent", function()
    open()
    wait(function() return #heard == sent end)
    local before = passed
    way().link:abort()
    wait(function() return not way().link end)
    send(10)
    wait(function() return #heard == sent end)
    checkOrder(1)
    assert.equal(before + 10, passed)
    wait(function() -- another one opens
      send(1)
      return way().link and not way().held
    end)
    wait(function() return #heard == sent end)
    checkOrder(1)
  end)

  it("is given up where the sibling doesn't say that all has come", function()
    other.ways.compare = function() end
    sent = 0
    wait(function()
      send(1)
      return way().held
    end)
    send(100)
    wait(function() return not way().link end)
    send(100)
    wait(function() return #heard == sent end)
    checkOrder(1)
    assert.equal(sent, passed)
  end)

  it("holds back no more than a connection would", function()
    other.ways.compare = function() end
    sent = 0
    wait(function()
      send(1)
      return way().held
    end)
    local most = one.ways.maxHeld
    one.ways.maxHeld = way().heldBytes + 2
    assert.is_true(one:publish("n2", "77"))
    assert.is_false(one:publish("n2", "78"))
    assert.equal(1, one.dropped)
    assert.equal(one.ways.maxHeld, one:unsent "n2")
    one.ways.maxHeld = most
  end)

  it("isn't there where no socket can be opened", function()
    local before = places.open
    finally(function() places.open = before end)
    local asked
    places.open = function()
      asked = true
      return nil, "nowhere"
    end
    sent = 0
    send(100)
    wait(function() return asked and #heard == 100 end)
    checkOrder(1)
    assert.equal(100, passed)
  end)

  it("lets nobody in who wasn't asked", function()
    open()
    assert.is_true(other.ways.door ~= false)
    local Stranger = Protocol:extend "Stranger"
    Stranger.framing, Stranger.isLink = "length32", true
    local connector = assert(Connector.new(Stranger, {}))
    local isOver = false
    function Stranger:begin() connector:giveUp() end
    function Stranger:onConnect()
      self:send(buffer.encode {from = "n3", mark = 1})
    end
    function Stranger:onClose() isOver = true end
    connector:connect("unix:" .. other.ways.door.path, 0, 5, error)
    wait(function() return isOver end)
    connector:close()
  end)
end)
