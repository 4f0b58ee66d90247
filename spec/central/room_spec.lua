-- The rooms of examples/central, and its class, without a browser.

package.path = "examples/central/?.lua;" .. package.path

local cjson = require "cjson"
local support = require "spec.support"

local Central = require "central"
local Room = require "room"

local DT = 1 / Room.tickRate

-- A room that lives by the spec's ticks alone, and without sparks.
local function make()
  local room = assert(Room:create {room = "x"})
  room.state.sparks:clear()
  return room
end

-- A comet without a member.
local function put(room, id, x, y)
  room.state.people[id] = {name = "bot " .. id}
  room.state.comets[id] = {x = x, y = y, aimX = x, aimY = y}
  return room.state.comets[id]
end

local function ticks(room, count)
  for _ = 1, count do room:onTick(DT) end
end

describe("a room of Central", function()
  it("moves a comet to where it is aimed, and no faster than it may", function()
    local room = make()
    local ann = put(room, 1, 1000, 1000)
    ann.aimX = 2000
    local last = ann.x
    for _ = 1, Room.tickRate do
      room:onTick(DT)
      assert.is_true(ann.x - last <= 430 * DT + 0.001)
      last = ann.x
    end
    assert.is_true(ann.x > 1200)
    ticks(room, 10 * Room.tickRate)
    assert.is_true(math.abs(ann.x - 2000) < 5 and math.abs(ann.y - 1000) < 5)
  end)

  it("gives a spark to whom it meets, once, and makes another", function()
    local room = make()
    local ann, ben = put(room, 1, 1000, 1000), put(room, 2, 3000, 3000)
    room:addSpark(1010, 1000)
    ticks(room, 1)
    assert.is_nil(room.state.sparks[room.lastSpark - 1])
    assert.same({1, 0, 1}, {ann.score, ben.score, room.state.sparks:count()})
  end)

  it("lets a comet dash, rest, and bump sparks out of another", function()
    local room = make()
    local bumps = {}
    function room:fire(...) bumps[#bumps + 1] = {...} end -- luacheck: ignore self
    local ann, ben = put(room, 1, 1000, 1000), put(room, 2, 1080, 1000)
    ann.aimX, ben.score = 1400, 5
    assert.is_true(room:startDash {id = 1})
    assert.is_false(room:startDash {id = 1})
    ticks(room, 10)
    assert.is_true(ben.score < 5)
    assert.same({"onBump", 1, 2, 3}, bumps[1])
    ticks(room, 2 * Room.tickRate)
    assert.is_true(room:startDash {id = 1})
  end)

  it("keeps the board within its bounds, the newest strokes and points", function()
    local room = make()
    put(room, 1, 1, 1)
    local ann = {id = 1}
    for stroke = 1, 4100 do room:draw(ann, stroke, 3, {1, 2, 3, 4}) end
    local strokes = room.state.strokes
    assert.same({4000, 8000}, {strokes:count(), room.points})
    assert.is_nil(strokes[100])
    assert.equal(101, strokes[101].number)
    local points = {}
    for i = 1, 200 do points[i] = i end
    for _ = 1, 1300 do room:draw(ann, 9999, 3, points) end -- one stroke, far too long
    assert.is_true(room.points <= 60000)
    local count = 0
    for _, piece in strokes:each() do count = count + #piece.points / 2 end
    assert.equal(room.points, count)
  end)

  it("keeps a stroke in pieces that hang together", function()
    local room = make()
    put(room, 1, 1, 1)
    local points = {}
    for i = 1, 200 do points[i] = i end
    room:draw({id = 1}, 7, 3, points)
    local first, second = room.state.strokes[1].points, room.state.strokes[2].points
    assert.same({128, 127, 128}, {#first, first[127], first[128]})
    assert.same({127, 128, 129, 200}, {second[1], second[2], second[3], second[#second]})
  end)

  it("takes off the board what one has drawn, and nothing else", function()
    local room = make()
    put(room, 1, 1, 1)
    put(room, 2, 1, 1)
    room:draw({id = 1}, 1, 3, {1, 1})
    room:draw({id = 2}, 1, 3, {2, 2, 3, 3})
    room:draw({id = 1}, 2, 3, {4, 4})
    room:erase {id = 1}
    assert.same({1, 2}, {room.state.strokes:count(), room.points})
    assert.equal(2, room.state.strokes[2].member)
  end)
end)

describe("Central", function()
  after_each(support.cleanUp)

  local function ask(client, method, params)
    client:send(cjson.encode {jsonrpc = "2.0", id = 7, method = method, params = params} .. "\0")
    for text in client:received():gmatch("%Z+") do
      local message = cjson.decode(text)
      if message.id == 7 then return message.result, message.error end
    end
  end

  local function enter(client, room, name, hue)
    local joined, err = ask(client, "sync.join",
      {room = "Central", options = {room = room, name = name, hue = hue}})
    client.room = joined and joined.room
    return joined and Room:find(joined.id), joined and joined.member or err
  end

  -- The code of what is refused.
  local function code(client, name, ...)
    local _, err = ask(client, "sync.call", {room = client.room, method = name, params = {...}})
    return err and err.code
  end

  it("checks what it is given", function()
    local client = support.connect(Central)
    local _, err = enter(client, "spec", " \t ")
    assert.equal(2, err.code)
    for _, name in ipairs {"", "two\nlines", (" spec"), ("x"):rep(21)} do
      assert.equal(3, select(2, enter(client, name, "ann")).code)
    end
    local room, id = enter(client, "spec", "ann", 400)
    assert.same({"ann", 40}, {room.state.people[id].name, room.state.people[id].hue})
    assert.equal(5, code(client, "draw", 1, 3, {1, 2, 3}))
    assert.equal(5, code(client, "draw", 1, 3, {Room.WIDTH + 1, 2}))
    assert.equal(5, code(client, "draw", 1, 3, {1, Room.HEIGHT + 1}))
    assert.equal(5, code(client, "draw", 1, 3, {1, "x"}))
    assert.equal(-32602, code(client, "draw", 1, 3))
    assert.equal(-32602, code(client, "aim", "left", 2))
    assert.is_nil(code(client, "draw", 1, 3, {1, 2}))
    assert.is_nil(code(client, "aim", -5, 1e9))
    local comet = room.state.comets[id]
    assert.same({0, Room.HEIGHT}, {comet.aimX, comet.aimY})
  end)

  it("cleans names and lines, between letters", function()
    assert.equal("a b", Central.clean("  a\nb\0 ", 20))
    assert.equal("ää", Central.clean("äää", 5))
    assert.equal("", Central.clean("\27\7", 5))
    local client = support.connect(Central)
    local room, id = enter(client, "spec", ("é"):rep(30))
    assert.equal(("é"):rep(10), room.state.people[id].name)
    assert.is_nil(code(client, "rename", "ann\0"))
    assert.equal("ann", room.state.people[id].name)
  end)

  it("keeps the last lines", function()
    local client = support.connect(Central)
    local room, id = enter(client, "spec", "ann")
    local say = Room.remote.say.fn
    for i = 1, 60 do say(room, {id = id}, "line " .. i) end
    assert.equal(50, room.state.chat:count())
    assert.same({"line 11", "line 60", "ann"},
      {room.state.chat[11].text, room.state.chat[60].text, room.state.chat[60].name})
  end)

  it("counts what one may do in a second", function()
    local client = support.connect(Central)
    enter(client, "spec", "ann")
    local refused = 0
    for _ = 1, 20 do
      if code(client, "say", "spam") == -32001 then refused = refused + 1 end
    end
    assert.is_true(refused >= 10)
  end)

  it("brings together who names the same room, and shows what is near alone", function()
    local server = support.serve(Central)
    local ann, ben = server:connect(), server:connect()
    local room, annId = enter(ann, "spec", "ann")
    local same, benId = enter(ben, "spec", "ben")
    assert.equal(room, same)
    local comets = room.state.comets
    comets[annId].x, comets[annId].y = 1000, 1000
    comets[benId].x, comets[benId].y = 5000, 3500
    room:onTick(DT)
    -- The page's snapshot, in JSON: its first patch.
    ann:send(cjson.encode {jsonrpc = "2.0", id = 8, method = "sync.snapshot",
      params = {room = ann.room}} .. "\0")
    local patch
    support.wait(function()
      for text in ann:received():gmatch("%Z+") do
        local message = cjson.decode(text)
        if message.method == "sync.patch" then patch = message.params[1] end
      end
      return patch and patch.snapshot
    end)
    local adds = patch.new or patch.seen
    local names = {}
    for _, one in ipairs((patch.seen or {}).people or {}) do names[#names + 1] = one[3].name end
    for _, one in ipairs((patch.new or {}).people or {}) do names[#names + 1] = one[3].name end
    table.sort(names)
    assert.same({"ann", "ben"}, names)
    assert.same({annId}, {adds.comets[1][2], (adds.comets[2] or {})[2]})
  end)

  it("forgets who leaves, and the room with the last", function()
    local server = support.serve(Central)
    local ann, ben = server:connect(), server:connect()
    local room = enter(ann, "leaving", "ann")
    local _, benId = enter(ben, "leaving", "ben")
    ben:leave()
    support.wait(function() return room.state.people[benId] == nil end)
    assert.equal(1, room.state.comets:count())
    ann:leave()
    support.wait(function() return Room:find(room.id) == nil end)
  end)
end)
