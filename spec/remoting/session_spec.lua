-- What a session keeps, for how long, and what is told of it.

local Session = require "sync.remoting.session"
local core = require "sync.core"
local support = require "spec.support"

local now = core.C.sync_now

describe("a session", function()
  local group

  before_each(function()
    group = Session.group "Game"
    group.time = 30
  end)

  local function begin(bounds)
    bounds.bytes = bounds.bytes or 10 ^ 6
    bounds.setting, bounds.value = bounds.setting or "resumeBytes", bounds.value or bounds.bytes
    return Session.new(group, "token", bounds)
  end

  -- As if so many seconds had passed: what is kept became older.
  local function pass(session, seconds)
    for _, mark in ipairs(session.marks) do mark[1] = mark[1] - seconds end
    session.nextMark = session.nextMark - seconds
  end

  local function kept(session)
    local list = {}
    for number = session.first, session.last do list[#list + 1] = session:text(number) end
    return table.concat(list, " ")
  end

  it("keeps thirty events a second for resumeTime by default", function()
    local class = support.protocol({resumeTime = 30}, require "sync".Remote)
    local client = support.connect(class, 1)
    local session = client.server._session
    for i = 1, 30 * 30 do
      client.server:fire("onMove", i, "a name of a player", 123.25, 456.75)
      if i % 30 == 0 then
        pass(session, 1)
        client:received()
      end
    end
    assert.equal(1, session.first)
    assert.is_true(session:reaches(0))
    support.cleanUp()
  end)

  it("drops what was sent longer ago than may be asked for, and nothing younger", function()
    local session = begin {}
    for second = 1, 300 do
      session:keep(tostring(second))
      pass(session, 1)
      local oldest = session.last - session.first + 1 -- in seconds
      assert.is_true(oldest >= math.min(second, 60) and oldest <= 76, oldest)
    end
    assert.equal(0, group.bytes - session.own)
    session:forget()
    assert.equal(0, group.bytes)
    assert.equal("", kept(session))
  end)

  it("lasts as long as resumeTime says where that is longer", function()
    group.time = 600
    local session = begin {}
    for _ = 1, 500 do
      session:keep "x"
      pass(session, 1)
    end
    assert.equal(1, session.first)
  end)

  it("lets nothing become too old while its client is away", function()
    local session = begin {}
    session:keep "a"
    session.away = true
    for _ = 1, 200 do
      pass(session, 1)
      session:keep "b"
    end
    assert.equal(1, session.first)
    session.away = false
    pass(session, 100)
    session:keep "c"
    assert.is_true(session.first > 190)
  end)

  it("holds its messages in order through all sizes", function()
    local session = begin {messages = 1000}
    for i = 1, 5000 do
      session:keep(tostring(i))
      assert.equal(tostring(i), session:text(i))
    end
    local words = {}
    for i = 4001, 5000 do words[#words + 1] = tostring(i) end
    assert.equal(table.concat(words, " "), kept(session))
    local large = #session.ring
    for _ = 1, 30 do
      pass(session, 30)
      session:keep "late"
    end
    assert.is_true(#session.ring < large / 8)
    assert.matches("^late[ late]*$", kept(session))
  end)

  it("logs the first time that it keeps less than was promised, and what to set", function()
    local session = begin {bytes = 2000}
    local lines = support.logged(function()
      for _ = 1, 100 do
        session:keep(("x"):rep(100))
        pass(session, 0.5)
      end
    end)
    assert.equal(1, #lines)
    assert.matches("Game: what is kept .* are the last 10 s, not resumeTime %(30 s%)", lines[1])
    local advice = tonumber(lines[1]:match "Set resumeBytes = (%d+)")
    assert.is_true(advice >= 6000 and advice <= 16384, advice)
    assert.matches("{late = false}", lines[1], 1, true)
    assert.same({}, support.logged(function() begin {bytes = 10}:keep(("x"):rep(11)) end))
  end)

  it("names what else makes it keep less", function()
    local lines = support.logged(function()
      begin {bytes = 1000, setting = "maxQueue", value = 2000}:keep(("x"):rep(1001))
      group.isTold = false
      local session = begin {messages = 10}
      for _ = 1, 11 do session:keep "x" end
    end)
    assert.matches("Set maxQueue = ", lines[1])
    assert.matches("Set resumeMessages = %d+, or false", lines[2])
  end)

  it("keeps no promise beyond resumeTime, and says nothing of that", function()
    local session = begin {bytes = 2000}
    assert.same({}, support.logged(function()
      for _ = 1, 100 do
        session:keep(("x"):rep(100))
        pass(session, 2)
      end
    end))
  end)

  it("tells when a client has missed more than is kept", function()
    local session = begin {messages = 10}
    local lines = support.logged(function()
      for _ = 1, 15 do session:keep "x" end
      assert.is_true(session:reaches(5))
      assert.is_false(session:reaches(4))
      assert.is_false(session:reaches(16))
    end)
    assert.equal(2, #lines)
    assert.matches("of the 11 messages that it has missed 1 are kept no more", lines[2])
  end)

  it("gives what is too old before others forget what they may need", function()
    group.most = 3000
    local old, new = begin {}, begin {}
    for _ = 1, 10 do old:keep(("x"):rep(100)) end
    pass(old, 100)
    old.marks[2] = {now() - 90, old.last + 1}
    assert.same({}, support.logged(function()
      for _ = 1, 20 do new:keep(("x"):rep(100)) end
    end))
    assert.equal("", kept(old))
    assert.equal(20, new.last - new.first + 1)
  end)
end)
