-- What goes with a room to another node: here to another home in this process.

local Home = require "sync.rooms.home"
local carried = require "sync.rooms.carried"
local directory = require "sync.rooms.directory"
local rooms = require "spec.support.rooms"
local saved = require "sync.state.saved"
local support = require "spec.support"
local sync = require "sync"

local join = rooms.join

describe("what goes along with a room", function()
  after_each(rooms.cleanUp)

  local FIELDS = {maxMembers = 4, tickRate = 10, persist = true, state = sync.state {
    phase = "string", deck = sync.server "any",
    players = sync.map {name = "string", hand = sync.private(sync.listOf "uint8")}}}

  function FIELDS:onJoin(member)
    self.state.players[member.id] = {owner = member, name = member.user.name, hand = {member.id}}
  end

  -- A room with two members, and the class.
  local function serve()
    local Duel = rooms.class(FIELDS)
    local server = support.serve(rooms.game {rooms = {Duel}})
    local function connect(name)
      local client = server:connect()
      client.server.user = {name = name}
      return client
    end
    join(connect "ann", Duel)
    join(connect "bob", Duel)
    return Duel:all()[1], Duel
  end

  local function copy(room, Duel, about)
    local home = room.inner
    local bytes = saved.write(home.state, carried.describe(home))
    about = about or carried.about(home)
    home:vanish() -- its home has died
    local other = Home.create(Duel:new {metadata = {}}, room.id)
    assert(carried.fill(other, bytes, about))
    return other
  end

  it("are its members, who are away, with what they own, and the rest of it", function()
    local room, Duel = serve()
    room.state.phase, room.state.deck = "play", {3, {1}}
    room:setMetadata {mode = "ranked"}
    local code = room:makePrivate()
    room:lock()
    room.members[2].line:input(17)
    local home = copy(room, Duel)
    local again = home.room
    assert.same({"play", {3, {1}}}, {again.state.phase, again.state.deck})
    assert.same({{mode = "ranked"}, code, true, true}, {again.metadata, again.code, again.isLocked,
      again.isPrivate})
    assert.equal(home, directory.byCode(code))
    assert.same({1, 2}, {again.members[1].id, again.members[2].id})
    for i, name in ipairs {"ann", "bob"} do
      local member = again:member(i)
      assert.same({true, name}, {member.isAway, member.user.name})
      assert.equal(member, again.state.players[i].owner)
      assert.equal(i, again.state.players[i].hand[1])
    end
    assert.same({2, 17}, {home.lastMember, again.members[2].lastInput})
    home:finish()
  end)

  it("is the same text as long as nothing of it changes", function()
    local room = serve()
    local function text()
      return saved.write(room.inner.state, carried.describe(room.inner))
    end
    local before = text()
    room.tick = room.tick + 5
    assert.equal(before, text())
    room.members[1].line:input(3)
    assert.not_equal(before, text())
  end)

  it("is its time: ticks go on where they would be", function()
    local room, Duel = serve()
    local about = carried.about(room.inner)
    about.age, about.tick, about.wall = 100, 1000, about.wall - 7 -- it was dead for 7 s
    local home = copy(room, Duel, about)
    assert.is_true(home.room.tick >= 1070 and home.room.tick < 1080)
    assert.near(107, sync.now() - home.start, 1)
    home:finish()
  end)

  it("isn't taken when it can't be read", function()
    local room, Duel = serve()
    local bytes = saved.write(room.inner.state, carried.describe(room.inner))
    local about = carried.about(room.inner)
    room:close()
    for length = 0, #bytes - 1, 7 do
      local home = Home.create(Duel:new {metadata = {}})
      assert.is_nil((carried.fill(home, bytes:sub(1, length), about)))
      home:finish()
    end
  end)

  it("is nothing where there is no engine: the room is as others", function()
    local room = serve()
    assert.is_false(room.inner.keep)
    assert.is_true(room.inner:goesOn())
  end)
end)
