local values = require "sync.flash.values"
local amf3 = require "sync.flash.amf3"
local cjson = require "cjson"
local pace = require "sync.rooms.pace"
local reference = require "spec.state.reference"
local support = require "spec.support"
local sync = require "sync"
local testing = require "sync.testing"

local rooms = {}
local number = 0

-- A class of rooms whose ticks are made by `tick`, and a sync.Remote whose clients may join.
local function arena(fields, options)
  number = number + 1
  local Arena = sync.Room:extend("Arena" .. number)
  Arena.state = sync.state {
    phase = "string",
    players = sync.map({name = "string", x = "float32", y = "float32", hp = "uint8",
      hand = sync.private(sync.listOf "uint8"), secret = sync.server "string"}, options),
  }
  function Arena:onJoin(member)
    self.state.players[member.id] = {owner = member, name = "p" .. member.id}
  end
  function Arena:onLeave(member) self.state.players[member.id] = nil end
  for name, value in pairs(fields or {}) do Arena[name] = value end
  rooms[#rooms + 1] = Arena
  return Arena, support.protocol({rooms = {Arena}, resumeTime = fields and fields.resumeTime or
    false}, sync.Remote)
end

-- The class's room, of which there is one here.
local function only(Arena)
  return Arena:all()[1]
end

-- Makes the room do what is due, as its timer does.
local function tick(Arena)
  local home = only(Arena).inner
  if Arena.tickRate > 0 then home.start = home.start - 1 / Arena.tickRate end
  pace.run(home)
  testing.settle()
end

local function send(client, method, params)
  client:send(cjson.encode {jsonrpc = "2.0", id = 1, method = method, params = params} .. "\0")
end

-- What the client was sent, decoded.
local function messages(client)
  testing.settle()
  local list = {}
  for text in client:received():gmatch("(%Z*)%z") do list[#list + 1] = cjson.decode(text) end
  return list
end

local function patches(client)
  local list = {}
  for _, message in ipairs(messages(client)) do
    if message.method == "sync.patch" then list[#list + 1] = message.params[1] end
  end
  return list
end

-- A client that has joined, and what it was told.
local function join(server, Arena, params)
  local client = server:connect()
  params = params or {}
  params.room = Arena.className
  send(client, "sync.join", params)
  return client, messages(client)[1]
end

describe("rooms", function()
  after_each(function()
    for _, Arena in ipairs(rooms) do
      for _, room in ipairs(Arena:all()) do room:close() end
    end
    rooms = {}
    support.cleanUp()
  end)

  it("tell who joins what they are made of", function()
    local Arena, Game = arena {tickRate = 30, patchRate = 20}
    local _, answer = join(support.serve(Game), Arena)
    local result = answer.result
    assert.equal(Arena.className, result.name)
    assert.equal(1, result.member)
    assert.same({0, 30, 20}, {result.epoch, result.tickRate, result.patchRate})
    assert.is_true(math.abs(sync.now() - result.start) < 60)
    assert.same({fields = {{"phase", "string"}}, maps = {{name = "players", keys = "integer",
      fields = {{"hp", "uint8"}, {"name", "string"}, {"x", "float32"}, {"y", "float32"}},
      private = {{"hand", {"list", "uint8"}}}}}}, result.state)
  end)

  it("send a snapshot, and then what has changed", function()
    local Arena, Game = arena()
    local client, answer = join(support.serve(Game), Arena)
    local state = only(Arena).state
    tick(Arena)
    assert.same({{room = answer.result.room, epoch = 0, tick = 1, input = 0, snapshot = true,
      new = {[""] = {{0, "", {}}}, players = {{0, 1, {name = "p1"}, true}}}}}, patches(client))
    tick(Arena)
    assert.same({}, patches(client))
    state.phase, state.players[1].x, state.players[1].hand = "play", 2.5, {1, 2}
    state.players[1].secret = "never"
    tick(Arena)
    assert.same({[""] = {{0, {phase = "play"}}}, players = {{0, {hand = {1, 2}, x = 2.5}, true}}},
      patches(client)[1].change)
    state.players[7] = {hp = 300, secret = "never"}
    tick(Arena)
    assert.same({players = {{1, 7, {hp = 255}}}}, patches(client)[1].new)
    state.players[7] = nil
    tick(Arena)
    assert.same({players = {1}}, patches(client)[1].gone)
  end)

  it("keep what is private from others", function()
    local Arena, Game = arena()
    local server = support.serve(Game)
    local ann, bob = join(server, Arena), join(server, Arena)
    only(Arena).state.players[1].hand:add(42)
    tick(Arena)
    assert.same({{0, 1, {hand = {42}, name = "p1"}, true}, {1, 2, {name = "p2"}}},
      patches(ann)[1].new.players)
    assert.same({{0, 1, {name = "p1"}}, {1, 2, {name = "p2"}, true}}, patches(bob)[1].new.players)
  end)

  it("show what is near, and what they are told to", function()
    local Arena, Game = arena(nil, {sees = sync.near(10)})
    local server = support.serve(Game)
    local ann, bob = join(server, Arena), join(server, Arena)
    local room = only(Arena)
    local players = room.state.players
    players[2].x = 20
    tick(Arena)
    assert.equal(1, #patches(ann)[1].new.players)
    patches(bob)
    players[2].x = 10
    tick(Arena)
    assert.same({{1, 2, {name = "p2", x = 10}}}, patches(ann)[1].seen.players)
    room:hide(room.members[1], players[2])
    tick(Arena)
    assert.same({players = {1}}, patches(ann)[1].hidden)
    players[2].x = 500
    room:show(room.members[1], players[2])
    tick(Arena)
    assert.equal(500, patches(ann)[1].seen.players[1][3].x)
    room:unset(room.members[1], players[2])
    tick(Arena)
    assert.same({players = {1}}, patches(ann)[1].hidden)
    room:look(room.members[1], 495, 0)
    tick(Arena)
    assert.same({players = {{1, 2, {name = "p2", x = 500}}}}, patches(ann)[1].seen)
  end)

  it("ask a function within its budget", function()
    local asked = 0
    local Arena, Game = arena({patchRate = 20}, {rate = 20, budget = 3, sees = function(_, p)
      asked = asked + 1
      return p.hp > 5
    end})
    local client = join(support.serve(Game), Arena)
    local players = only(Arena).state.players
    for id = 11, 15 do players[id] = {hp = id - 7} end
    local seen = {}
    for _ = 1, 3 do
      tick(Arena)
      for _, patch in ipairs(patches(client)) do
        for _, adds in ipairs {patch.new or {}, patch.seen or {}} do
          for _, entry in ipairs(adds.players or {}) do seen[entry[2]] = true end
        end
      end
    end
    assert.equal(9, asked)
    assert.same({[1] = true, [13] = true, [14] = true, [15] = true}, seen)
  end)

  it("have settings that are checked before anybody may join", function()
    local _, Game = arena {maxMembers = "many"}
    assert.matches("Arena%d+.maxMembers must be a whole number from 1 to 1000000, or false, " ..
      'not "many"', support.raised(sync.enable, "127.0.0.1", 0, Game))
    _, Game = arena {state = {players = sync.map {}}}
    assert.matches("Arena%d+.state must be made by sync.state, not table", support.raised(
      sync.enable, "127.0.0.1", 0, Game))
  end)

  it("refuse who may not join, and say why", function()
    local Arena, Game = arena {maxMembers = 1, onJoin = function(_, _, options)
      if options == "no" then return false, "not you" end
      if options == "fault" then error(sync.fault(7, "seven")) end
      if options == "error" then error "private" end
    end}
    local server = support.serve(Game)
    local function answer(params)
      local _, message = join(server, Arena, params)
      return message.error and {message.error.code, message.error.message}
    end
    assert.same({-32002, "not you"}, answer {options = "no"})
    assert.same({7, "seven"}, answer {options = "fault"})
    assert.same({-32603, "internal error"}, answer {options = "error"})
    assert.equal(-32602, answer({form = "binary"})[1])
    assert.equal(-32602, answer({form = "amf3"})[1])
    assert.is_nil(only(Arena))
    assert.is_nil(answer {})
    local client = server:connect()
    send(client, "sync.join", {room = "Other"})
    assert.equal(-32602, messages(client)[1].error.code)
  end)

  it("take calls with inputs, and tell the last that was taken", function()
    local Arena, Game = arena()
    local called = {}
    Arena.remote.aim = sync.method("angle: number", {rate = 2}, function(room, member, angle)
      called[#called + 1] = {room, member, angle}
      return angle * 2
    end)
    function Arena.remote.plain(_, member) return member.id end
    local client, joined = join(support.serve(Game), Arena)
    local room = joined.result.room
    local function call(params)
      params.room = params.room or room
      send(client, "sync.call", params)
      local message = messages(client)[1]
      return message.result or message.error.code
    end
    assert.equal(90, call {method = "aim", params = {45}, input = 3})
    assert.same({{only(Arena), only(Arena).members[1], 45}}, called)
    assert.equal(1, call {method = "plain", input = 2})
    assert.equal(-32602, call {method = "aim", params = {"x"}})
    assert.equal(-32601, call {method = "onTick"})
    assert.equal(-32602, call {method = "aim", params = {1}, input = 0})
    assert.equal(-32602, call {room = 99, method = "aim"})
    assert.equal(2, call {method = "aim", params = {1}})
    assert.equal(-32001, call {method = "aim", params = {1}})
    tick(Arena)
    assert.equal(3, patches(client)[1].input)
    call {method = "plain", input = 9}
    tick(Arena)
    local patch = patches(client)[1]
    assert.same({9, nil, nil}, {patch.input, patch.change, patch.snapshot})
  end)

  it("leave, are left, and end with their last member", function()
    local left, ended = {}, 0
    local Arena, Game = arena {
      onLeave = function(_, member, reason) left[#left + 1] = {member.id, reason} end,
      onEnd = function() ended = ended + 1 end}
    local server = support.serve(Game)
    local ann, joined = join(server, Arena)
    local bob, cid = join(server, Arena), join(server, Arena)
    send(ann, "sync.leave", {room = joined.result.room})
    assert.is_true(messages(ann)[1].result)
    only(Arena).members[1]:kick("cheat")
    local message = messages(bob)[1]
    assert.same({"sync.left", joined.result.room, "cheat"},
      {message.method, unpack(message.params)})
    assert.equal(0, ended)
    cid:leave()
    assert.same({{1, "left"}, {2, "cheat"}, {3, "left"}}, left)
    assert.equal(1, ended)
    assert.is_nil(only(Arena))
  end)

  it("give a slow member what has changed since its last patch, and no more than one", function()
    local Arena, Game = arena()
    local server = support.serve(Game)
    local slow, quick = join(server, Arena), join(server, Arena)
    tick(Arena)
    patches(quick)
    local players = only(Arena).state.players
    for i = 1, 50 do -- the slow one doesn't read: it has its snapshot unread
      players[1].x = i
      if i == 10 then players[9] = {hp = 1} end
      if i == 20 then players[8] = {hp = 2} end
      if i == 30 then players[9] = nil end
      tick(Arena)
      assert.equal(1, #patches(quick))
    end
    local list = patches(slow)
    assert.equal(1, #list)
    assert.is_true(list[1].snapshot)
    tick(Arena)
    list = patches(slow)
    assert.equal(1, #list)
    assert.same({players = {{0, {x = 50}}}}, list[1].change)
    assert.same({players = {{3, 8, {hp = 2}}}}, list[1].new)
    assert.is_nil(list[1].gone)
  end)

  it("send a snapshot to who asks, and to who has come back", function()
    local Arena, Game = arena {resumeTime = 30}
    local server = support.serve(Game)
    local client = server:connect()
    local token = messages(client)[1].params[1].token
    send(client, "sync.join", {room = Arena.className})
    local room = messages(client)[1].result.room
    tick(Arena)
    patches(client)
    send(client, "sync.snapshot", {room = room})
    assert.is_true(messages(client)[1].result)
    tick(Arena)
    assert.is_true(patches(client)[1].snapshot)
    local instance = client.server
    client:leave()
    only(Arena):fire("onMissed")
    local again = server:connect()
    messages(again)
    send(again, "sync.resume", {token, 2}) -- the answers: patches don't count
    again.server = instance
    local list = messages(again)
    assert.same({resumed = true, missed = 1}, list[1].result)
    assert.equal("onMissed", list[2].method)
    tick(Arena)
    list = patches(again)
    assert.equal(1, #list)
    assert.is_true(list[1].snapshot)
    assert.same({{0, 1, {name = "p1"}, true}}, list[1].seen.players)
  end)

  it("keep a member that is away, until it is let go", function()
    local reasons = {}
    local Arena, Game = arena {resumeTime = 30, onLeave = function(_, _, reason)
      reasons[#reasons + 1] = reason
    end}
    local server = support.serve(Game)
    local client = join(server, Arena)
    local instance = client.server
    client:leave()
    tick(Arena)
    assert.same({{}, 1}, {reasons, #only(Arena).members})
    instance:close("bored")
    assert.same({"bored"}, reasons)
  end)

  it("fire at all members, in order with patches", function()
    local Arena, Game = arena()
    local server = support.serve(Game)
    local ann, bob = join(server, Arena), join(server, Arena)
    only(Arena):fire("onStart", 3)
    only(Arena).members[2]:fire("onYou")
    messages(ann)
    messages(bob)
    only(Arena):fire("onStart", 4)
    local names = {}
    for _, message in ipairs(messages(ann)) do names[#names + 1] = message.method end
    tick(Arena)
    for _, message in ipairs(messages(ann)) do names[#names + 1] = message.method end
    assert.same({"onStart", "sync.patch"}, names)
  end)

  it("speak AMF3 by a ByteArray", function()
    local Arena, Game = arena()
    local server = support.serve(Game, {framing = "length32", encoding = "amf3"})
    local client = server:connect()
    local function framed(value)
      local bytes = amf3.encode(value)
      return ("\0\0%s%s"):format(string.char(math.floor(#bytes / 256), #bytes % 256), bytes)
    end
    local function received()
      local bytes, at, list = client:received(), 1, {}
      while at <= #bytes do
        local length = bytes:byte(at + 2) * 256 + bytes:byte(at + 3)
        local ok, value = amf3.decode(bytes:sub(at + 4, at + 3 + length))
        assert.is_true(ok)
        list[#list + 1] = value
        at = at + 4 + length
      end
      return list
    end
    local params = {room = Arena.className}
    client:send(framed {jsonrpc = "2.0", id = 1, method = "sync.join", params = params})
    local joined = received()[1].result
    for _, length in ipairs {1, 70, 200, 3000} do -- the length of a ByteArray has several forms
      only(Arena).state.phase = ("x"):rep(length)
      tick(Arena)
      local message = received()[1]
      assert.equal("sync.patch", message.method)
      assert.equal("bytes", values.kind(message.params[1]))
      local patch = reference.read(joined, message.params[1].data)
      assert.equal(only(Arena).state.phase, patch.sections[1][1].fields.phase)
    end
  end)

  it("tick at the exact rate, catch up, and leave out what is too much", function()
    local ticks = {}
    local Arena, Game = arena {tickRate = 100, patchRate = 50, onTick = function(room, dt)
      ticks[#ticks + 1] = dt
      room.state.phase = tostring(room.tick)
    end}
    local client = join(support.serve(Game), Arena)
    local room = only(Arena)
    local function later(count)
      room.inner.start = room.inner.start - count / 100
      ticks = {}
      local before = room.tick
      pace.run(room.inner)
      return room.tick - before, #ticks
    end
    local passed, made = later(4)
    assert.is_true(passed >= 4 and made == passed)
    assert.equal(0.01, ticks[1])
    patches(client)
    passed, made = later(100)
    assert.is_true(passed >= 100)
    assert.equal(8, made)
    local list = patches(client)
    assert.equal(room.tick, list[#list].tick)
  end)

  it("say when a patch is longer than a member's queue, and go on when it isn't", function()
    local Arena, Game = arena()
    local client = join(support.serve(Game, {maxQueue = 2000}), Arena)
    only(Arena).state.phase = ("x"):rep(3000)
    local lines = support.logged(function() tick(Arena) end)
    assert.matches("a patch is longer than maxQueue", lines[1], 1, true)
    assert.same({}, patches(client))
    only(Arena).state.phase = "x"
    tick(Arena)
    assert.is_true(patches(client)[1].snapshot)
  end)

  it("go on when a handler fails", function()
    local Arena, Game = arena {tickRate = 10, onTick = function() error "boom" end}
    local client = join(support.serve(Game), Arena)
    local lines = support.logged(function() tick(Arena) end)
    assert.matches("boom", lines[1], 1, true)
    only(Arena).state.phase = "on"
    support.logged(function() tick(Arena) end)
    assert.is_true(#patches(client) > 0)
  end)
end)
