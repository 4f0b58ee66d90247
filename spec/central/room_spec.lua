-- The rooms of examples/central, and its class, without a browser.

package.path = "examples/central/?.lua;" .. package.path

local cjson = require "cjson"
local support = require "spec.support"
local testing = require "sync.testing"

local Room = require "room"

-- Adds somebody who keeps what they are told, by event.
local function enter(room, name)
  local told = {}
  local member = room:add(name or "ann", 10, function(event, ...)
    told[event] = told[event] or {}
    table.insert(told[event], {...})
  end)
  return member, told
end

local function place(room, member, x, y)
  member.x, member.y, member.vx, member.vy = x, y, 0, 0
  room:aim(member, x, y)
  room:step()
end

-- The ids of the members in a snapshot.
local function seen(told)
  local ids, text = {}, told.s[#told.s][2]
  for line in text:gmatch("[^\n]+") do
    for id in line:match("^(.-)|"):gmatch("(%d+),[^;]*;") do ids[tonumber(id)] = true end
  end
  return ids
end

local function withoutSparks(room)
  for _, cell in ipairs(room.cells) do cell.sparks = {} end
  room.sparkCount = 0
end

describe("a room of Central", function()
  it("moves a comet to where it is aimed, and no faster than it may", function()
    local room = Room.new("x")
    local ann = enter(room)
    place(room, ann, 1000, 1000)
    room:aim(ann, 2000, 1000)
    local last = ann.x
    for _ = 1, Room.TICKS do
      room:step()
      assert.is_true(ann.x - last <= 430 / Room.TICKS + 0.001)
      last = ann.x
    end
    assert.is_true(ann.x > 1200)
    for _ = 1, 10 * Room.TICKS do room:step() end
    assert.is_true(math.abs(ann.x - 2000) < 5 and math.abs(ann.y - 1000) < 5)
    room:aim(ann, -5, 1e9)
    for _ = 1, 60 * Room.TICKS do room:step() end
    assert.is_true(ann.x >= 0 and ann.y <= Room.HEIGHT)
  end)

  it("tells a member of what is near, and of nothing else", function()
    local room = Room.new("x")
    local ann, told = enter(room)
    local near, far = enter(room, "near"), enter(room, "far")
    place(room, near, 1100, 1000)
    place(room, far, 5000, 3500)
    place(room, ann, 1000, 1000)
    room:step()
    local ids = seen(told)
    assert.is_true(ids[ann.id] and ids[near.id])
    assert.is_nil(ids[far.id])
    place(room, far, 1000 + Room.CELL, 1000)
    room:step()
    assert.is_true(seen(told)[far.id])
    assert.equal(3, told.onPulse == nil and 3 or told.onPulse[1][1])
  end)

  it("gives a spark to whom it meets, once", function()
    local room = Room.new("x")
    local ann, ben = enter(room), enter(room, "ben")
    place(room, ann, 1000, 1000)
    place(room, ben, 3000, 3000)
    withoutSparks(room)
    ann.score, ben.score = 0, 0
    room:addSpark(1010, 1000)
    room:step()
    room:step()
    assert.same({1, 0}, {ann.score, ben.score})
    assert.is_true(room.sparkCount >= 1) -- another one, elsewhere
  end)

  it("lets a comet dash, rest, and bump sparks out of another", function()
    local room = Room.new("x")
    local ann, told = enter(room)
    local ben = enter(room, "ben")
    place(room, ann, 1000, 1000)
    place(room, ben, 1080, 1000)
    withoutSparks(room)
    ann.score, ben.score = 0, 5
    room:aim(ann, 1400, 1000)
    assert.is_true(room:startDash(ann))
    assert.is_false(room:startDash(ann))
    for _ = 1, 10 do room:step() end
    assert.is_true(ben.score < 5)
    assert.same({ann.id, ben.id, 3}, told.onBump[1])
    for _ = 1, 2 * Room.TICKS do room:step() end
    assert.is_true(room:startDash(ann))
  end)

  it("keeps the board within its bounds, and tells what it forgets", function()
    local room = Room.new("x")
    local ann, told = enter(room)
    for stroke = 1, 1600 do room:draw(ann, stroke, 3, {1, 2, 3, 4}) end
    assert.equal(1500, #room:state().board)
    assert.equal(101, told.onForget[#told.onForget][1])
    local points = {}
    for i = 1, 200 do points[i] = i end
    for _ = 1, 1300 do room:draw(ann, 9999, 3, points) end -- one stroke, far too long
    assert.is_true(room.points <= 60000)
    local count = 0
    for _, stroke in ipairs(room:state().board) do count = count + #stroke[5] / 2 end
    assert.equal(room.points, count)
  end)

  it("takes off the board what one has drawn, and nothing else", function()
    local room = Room.new("x")
    local ann, ben = enter(room), enter(room, "ben")
    room:draw(ann, 1, 3, {1, 1})
    room:draw(ben, 1, 3, {2, 2, 3, 3})
    room:draw(ann, 2, 3, {4, 4})
    room:erase(ann)
    local board = room:state().board
    assert.equal(1, #board)
    assert.equal(ben.id, board[1][1])
    assert.equal(2, room.points)
  end)

  it("keeps the last lines, and tells newcomers", function()
    local room = Room.new("x")
    local ann = enter(room)
    for i = 1, 60 do room:say(ann, "line " .. i) end
    local chat = room:state().chat
    assert.equal(50, #chat)
    assert.same({"line 11", "line 60"}, {chat[1].text, chat[50].text})
  end)

  it("is full at some time", function()
    local room = Room.new("x")
    for _ = 1, Room.MOST_MEMBERS do assert.is_table((enter(room))) end
    assert.is_nil((enter(room)))
  end)

  it("forgets who leaves", function()
    local room = Room.new("x")
    local ann, told = enter(room)
    local ben = enter(room, "ben")
    room:remove(ben)
    assert.same({{ben.id}}, told.onLeave)
    assert.equal(1, #room:state().people)
    place(room, ann, ann.x, ann.y)
    room:step()
    assert.is_nil(seen(told)[ben.id])
  end)
end)

describe("Central", function()
  local Central = require "central"

  after_each(support.cleanUp)

  -- Calls a function; returns its result and its error.
  local function call(client, name, ...)
    client:send(cjson.encode {jsonrpc = "2.0", id = 7, method = name, params = {...}} .. "\0")
    for text in client:received():gmatch("%Z+") do
      local message = cjson.decode(text)
      if message.id == 7 then return message.result, message.error end
    end
  end

  local function code(client, ...)
    local _, err = call(client, ...)
    return err and err.code
  end

  it("lets nobody act before joining, and checks what it is given", function()
    local client = support.connect(Central)
    assert.equal(1, code(client, "aim", 1, 2))
    assert.equal(2, code(client, "join", "spec", " \t "))
    local state = call(client, "join", "spec", "ann", 400)
    assert.same({{state.you, "ann", 40}}, state.people)
    assert.equal(5, code(client, "draw", 1, 3, {1, 2, 3}))
    assert.equal(5, code(client, "draw", 1, 3, {Room.WIDTH + 1, 2}))
    assert.equal(5, code(client, "draw", 1, 3, {1, Room.HEIGHT + 1}))
    assert.equal(5, code(client, "draw", 1, 3, {1, "x"}))
    assert.equal(-32602, code(client, "draw", 1, 3))
    assert.equal(-32602, code(client, "aim", "left", 2))
    assert.is_number((call(client, "draw", 1, 3, {1, 2})))
  end)

  it("cleans names and lines, between letters", function()
    assert.equal("a b", Central.clean("  a\nb\0 ", 20))
    assert.equal("ää", Central.clean("äää", 5))
    assert.equal("", Central.clean("\27\7", 5))
    local client = support.connect(Central)
    local state = call(client, "join", "spec", ("é"):rep(30))
    assert.equal(("é"):rep(10), state.people[1][2])
  end)

  it("counts what one may do in a second", function()
    local client = support.connect(Central)
    call(client, "join", "spec", "ann")
    local refused = 0
    for _ = 1, 20 do
      if code(client, "say", "spam") == -32001 then refused = refused + 1 end
    end
    assert.is_true(refused >= 10)
  end)

  it("makes rooms when they are asked for, not too many, and forgets empty ones", function()
    local server = support.serve(Central)
    local clients = {}
    for i = 1, 101 do
      clients[i] = server:connect()
      local _, err = call(clients[i], "join", "room " .. i, "ann")
      if i <= 100 then assert.is_nil(err) else assert.equal(3, err.code) end
    end
    clients[1]:leave()
    testing.settle()
    assert.is_nil(Central.rooms["room 1"])
    assert.is_nil((select(2, call(clients[101], "join", "room 101", "ann"))))
    for _, client in ipairs(clients) do client:leave() end
  end)
end)
