-- What sessions keep, as the next process is told of it.

local Session = require "sync.remoting.session"
local bundle = require "sync.upgrade.bundle"
local histories = require "sync.upgrade.histories"

describe("what sessions keep", function()
  local group, teller

  before_each(function()
    group, teller = Session.group "Game", histories.teller()
  end)

  after_each(histories.forget)

  local function session(token)
    return Session.new(group, token, {bytes = 65536, messages = false,
      setting = "resumeBytes", value = 65536})
  end

  -- The way to the other process. Returns how many messages were told.
  local function pass()
    local told = teller:take()
    if not told then return 0 end
    local count = 0
    for _, each in ipairs(told.sessions) do count = count + #each.entries end
    histories.receive(bundle.decode(bundle.encode(told)))
    return count
  end

  -- The session there, once all was told.
  local function arrived(here)
    teller:add(here)
    pass()
    local there = session(here.token)
    there:unpack(here:pack(), histories.of(here.token))
    return there
  end

  local function texts(of)
    local list = {}
    for number = of.first, of.last do list[#list + 1] = of:text(number) end
    return list
  end

  it("is told once, whatever comes between", function()
    local here = session "a"
    for i = 1, 40 do here:keep("text " .. i) end
    teller:add(here)
    assert.equal(40, pass())
    teller:add(here)
    assert.equal(0, pass())
    for i = 41, 50 do here:keep("text " .. i) end
    teller:add(here)
    assert.equal(10, pass())
    here:keep "text 51"
    local there = arrived(here)
    assert.same(texts(here), texts(there))
    assert.same({1, 51, "text 51"}, {there.first, there.last, there:text(51)})
    assert.same({here.bytes, here.own}, {there.bytes, there.own})
  end)

  it("is less where some was dropped since it was told", function()
    local here = session "a"
    here:keep(("x"):rep(60000))
    teller:add(here)
    pass()
    here:keep(("y"):rep(60000))
    local there = arrived(here)
    assert.same({2, 2}, {there.first, there.last})
    assert.equal(here.bytes, there.bytes)
  end)

  it("is another once a session has begun anew", function()
    local here = session "a"
    for i = 1, 5 do here:keep("old " .. i) end
    teller:add(here)
    pass()
    here:restart()
    for i = 1, 3 do here:keep("new " .. i) end
    assert.same({"new 1", "new 2", "new 3"}, texts(arrived(here)))
    here:restart()
    assert.same({}, texts(arrived(here)))
  end)

  it("has the text of an event once, which many keep, with its name", function()
    local here, other = session "a", session "b"
    local event = Session.event(("x"):rep(1000), "1.2.3")
    for _, each in ipairs {here, other} do
      each:keep "own"
      each:keep(event.text, event)
    end
    teller:add(here)
    pass()
    teller:add(other)
    local told = teller:take()
    assert.same({}, told.texts)
    histories.receive(bundle.decode(bundle.encode(told)))
    local before = group.bytes
    local one, two = arrived(here), arrived(other)
    assert.equal(one:entry(2), two:entry(2))
    assert.same({"1.2.3", 1000}, {one:entry(2).name, #one:text(2)})
    assert.equal(2 * before, group.bytes)
  end)
end)
