local rooms = require "spec.support.rooms"
local support = require "spec.support"
local sync = require "sync"
local task = require "sync.task"
local testing = require "sync.testing"

local call, join, send = rooms.call, rooms.join, rooms.send

local lastAddress = 0

-- A class of rooms, and a server whose clients may join them.
local function serve(fields, gameFields)
  local Duel = rooms.class(fields)
  gameFields = gameFields or {}
  gameFields.rooms = {Duel}
  local server = support.serve(rooms.game(gameFields))
  return Duel, function()
    local client = server:connect()
    lastAddress = lastAddress + 1 -- what one asks for in vain is counted by address
    client.server.address = ("10.0.%d.%d"):format(lastAddress / 256, lastAddress % 256)
    return client
  end
end

-- An onJoin that waits until it's told to go on.
local function waiting(log)
  return function(_, member)
    log[#log + 1] = "asked " .. member.id
    local answer, why = task.await(function(go) log.go = go end)
    log[#log + 1] = "told " .. member.id
    return answer, why
  end
end

describe("rooms", function()
  after_each(rooms.cleanUp)

  describe("are joined", function()
    it("as long as there is a place, and made when there is none", function()
      local Duel, connect = serve {maxMembers = 2}
      local ids = {}
      for i = 1, 5 do ids[i] = join(connect(), Duel).id end
      assert.equal(ids[1], ids[2])
      assert.equal(ids[3], ids[4])
      assert.equal(3, #Duel:all())
      assert.same({2, 2, 1}, {#Duel:all()[1].members, #Duel:all()[2].members,
        #Duel:all()[3].members})
    end)

    it("by what filterBy names", function()
      local Duel, connect = serve {maxMembers = 4, filterBy = {"mode", "map"}}
      local a = join(connect(), Duel, {mode = "ranked", map = 1})
      assert.equal(a.id, join(connect(), Duel, {mode = "ranked", map = 1, name = "x"}).id)
      assert.not_equal(a.id, join(connect(), Duel, {mode = "ranked", map = "1"}).id)
      assert.not_equal(a.id, join(connect(), Duel, {mode = "ranked"}).id)
      local none = join(connect(), Duel)
      assert.equal(none.id, join(connect(), Duel, {other = 3}).id)
      assert.same({mode = "ranked", map = 1}, Duel:find(a.id).metadata)
      Duel:find(a.id):setMetadata {mode = "free", map = 1}
      assert.equal(a.id, join(connect(), Duel, {mode = "free", map = 1}).id)
    end)

    it("in the order of sortBy, the fullest first without", function()
      local Duel, connect = serve {maxMembers = 3}
      local first, second = Duel:create(), Duel:create()
      assert.equal(first.id, join(connect(), Duel).id)
      call(connect(), "sync.joinById", {id = second.id})
      call(connect(), "sync.joinById", {id = second.id})
      assert.equal(second.id, join(connect(), Duel).id)
      local Race
      Race, connect = serve {sortBy = {"level"}}
      local high, low = Race:create(), Race:create()
      high:setMetadata {level = 9}
      low:setMetadata {level = 2}
      assert.equal(low.id, join(connect(), Race).id)
      low:lock()
      assert.equal(high.id, join(connect(), Race).id)
      low:unlock()
      assert.equal(low.id, join(connect(), Race).id)
    end)

    it("by their id, unless they are locked, full or private", function()
      local Duel, connect = serve {maxMembers = 1}
      local room = Duel:create()
      local function try()
        local told, problem = call(connect(), "sync.joinById", {id = room.id})
        return told and told.id or problem.message
      end
      room:lock()
      assert.equal("the room is locked", try())
      room:unlock()
      assert.equal(room.id, try())
      assert.equal("the room is full", try())
      room.members[1]:kick()
      room = Duel:create()
      room:makePrivate()
      assert.equal("there is no such room", try())
    end)

    it("by a code when they are private", function()
      local Duel, connect = serve {onCreate = function(self, options)
        if options and options.private then self:makePrivate() end
      end}
      local made = call(connect(), "sync.create", {room = Duel.className,
        options = {private = true}})
      assert.matches("^[34679ACEFGHJKMNPRTWXY]+$", made.code)
      assert.equal(6, #made.code)
      assert.not_equal(made.id, join(connect(), Duel).id)
      local typed = made.code:lower():sub(1, 3) .. "-" .. made.code:lower():sub(4)
      assert.equal(made.id, call(connect(), "sync.joinByCode", {code = typed}).id)
      local client = connect()
      for i = 1, 21 do
        local _, problem = call(client, "sync.joinByCode", {code = "AAAAAA"})
        assert.equal(i <= 20 and -32002 or -32001, problem.code)
      end
      Duel:find(made.id):makePublic()
      assert.is_nil(Duel:find(made.id).code)
    end)

    it("by a seat that is kept for one", function()
      local Duel, connect = serve {maxMembers = 2}
      local room = Duel:create()
      room:makePrivate()
      room:lock()
      local seats = {room:reserve(), room:reserve()}
      assert.is_nil(room:reserve())
      local told = call(connect(), "sync.joinById", {id = seats[1]})
      assert.equal(room.id, told.id)
      local _, problem = call(connect(), "sync.joinById", {id = seats[1]})
      assert.equal("there is no such room", problem.message)
      assert.equal(room.id, call(connect(), "sync.joinById", {id = seats[2]}).id)
      room.members[1]:kick()
      assert.is_string(room:reserve(0.01))
      support.wait(function() return room:reserve(30) end)
    end)

    it("a thousand at once, by filter, and none is left half filled", function()
      local Four, connect = serve {maxMembers = 4, filterBy = {"mode"}, onJoin = function()
        task.await(function(go) sync.after(0, function() go() end) end)
      end}
      local clients = {}
      for i = 1, 1000 do clients[i] = connect() end
      for i, client in ipairs(clients) do
        send(client, "sync.join", {room = Four.className,
          options = {mode = i % 2 == 0 and "a" or "b"}})
      end
      local function settled()
        local count = 0
        for _, room in ipairs(Four:all()) do count = count + #room.members end
        return count == 1000
      end
      support.wait(settled)
      assert.equal(250, #Four:all())
      for _, room in ipairs(Four:all()) do assert.equal(4, #room.members) end
    end)
  end)

  describe("are listed", function()
    it("with their metadata, by a filter, without private and locked ones", function()
      local Duel, connect = serve {maxMembers = 2}
      local client = connect()
      local function list(filter)
        local ids = {}
        local found = call(client, "sync.rooms", {room = Duel.className, filter = filter})
        for i, each in ipairs(found) do ids[i] = each.id end
        return ids, found
      end
      assert.same({}, list())
      local a, b, c, d = Duel:create(), Duel:create(), Duel:create(), Duel:create()
      a:setMetadata {mode = "ranked", name = "ann's"}
      b:setMetadata {mode = "free"}
      c:makePrivate()
      d:lock()
      call(connect(), "sync.joinById", {id = a.id})
      local ids, found = list()
      assert.same({a.id, b.id}, ids)
      assert.same({id = a.id, members = 1, maxMembers = 2, metadata = a.metadata}, found[1])
      assert.same({b.id}, list {mode = "free"})
      assert.same({}, list {mode = "free", name = "x"})
      assert.equal(-32602, select(2, call(client, "sync.rooms", {room = "None"})).code)
      assert.has_error(function() a:setMetadata {x = ("x"):rep(3000)} end)
    end)
  end)

  describe("whose onJoin waits", function()
    it("keep the place, and let in who is accepted", function()
      local log = {}
      local Duel, connect = serve {maxMembers = 1, onJoin = waiting(log)}
      local ann, bob = connect(), connect()
      send(ann, "sync.join", {room = Duel.className})
      assert.is_nil(rooms.answer(ann))
      local room = Duel:all()[1]
      assert.same({0, 1}, {#room.members, room.inner:taken()})
      local _, problem = call(bob, "sync.joinById", {id = room.id})
      assert.equal("the room is full", problem.message)
      log.go()
      assert.equal(room.id, rooms.answer(ann).result.id)
      assert.equal(1, #room.members)
      assert.same({"asked 1", "told 1"}, {log[1], log[2]})
    end)

    it("refuse who isn't, and end", function()
      local log = {}
      local Duel, connect = serve {onJoin = waiting(log)}
      local ann = connect()
      send(ann, "sync.join", {room = Duel.className})
      log.go(false, "not you")
      assert.equal("not you", rooms.answer(ann).error.message)
      assert.same({}, Duel:all())
    end)

    it("never had who has gone meanwhile", function()
      local log = {}
      local Duel, connect = serve {onJoin = waiting(log),
        onLeave = function() log[#log + 1] = "left" end,
        onEnd = function() log[#log + 1] = "ended" end}
      local ann = connect()
      send(ann, "sync.join", {room = Duel.className})
      ann:leave()
      testing.settle()
      log.go()
      assert.same({"asked 1", "ended"}, {unpack(log)})
      assert.same({}, Duel:all())
    end)

    it("wait for onCreate, too", function()
      local go
      local Duel, connect = serve {
        onCreate = function(self) self.level = task.await(function(fn) go = fn end) end,
        onJoin = function(self) return self.level == 3, "wrong level" end}
      local ann, bob = connect(), connect()
      send(ann, "sync.join", {room = Duel.className})
      send(bob, "sync.join", {room = Duel.className})
      assert.is_nil(rooms.answer(ann))
      go(3)
      assert.equal(rooms.answer(ann).result.id, rooms.answer(bob).result.id)
    end)
  end)

  it("whose onCreate fails are none, and say why", function()
    local Duel, connect = serve {onCreate = function(_, options)
      if options == "fault" then error(sync.fault(5, "no such map")) end
      error "private"
    end}
    local ann = connect()
    assert.same({code = 5, message = "no such map"}, select(2, join(ann, Duel, "fault")))
    assert.equal("internal error", select(2, join(ann, Duel)).message)
    assert.same({}, Duel:all())
    assert.is_nil((Duel:create()))
  end)

  it("keep the place of who is away, and tell", function()
    local log = {}
    local function note(what) return function(_, m) log[#log + 1] = what .. " " .. m.id end end
    local Duel, connect = serve({maxMembers = 1, onAway = note "away", onReturn = note "back",
      onLeave = note "left"}, {resumeTime = 30})
    local ann = connect()
    local token = rooms.messages(ann)[1].params[1].token
    local room = Duel:find(join(ann, Duel).id)
    local member, instance = room.members[1], ann.server
    ann:leave()
    assert.same({"away 1"}, log)
    assert.is_true(member.isAway)
    assert.equal("the room is full",
      select(2, call(connect(), "sync.joinById", {id = room.id})).message)
    local again = connect()
    rooms.messages(again)
    send(again, "sync.resume", {token, 1})
    again.server = instance
    assert.same({"away 1", "back 1"}, log)
    assert.equal(member, room.members[1])
    assert.is_false(member.isAway)
    again:leave()
    instance:close "bored"
    assert.same({"away 1", "back 1", "away 1", "left 1"}, log)
  end)

  it("have nobody whose connection has gone, whatever its handlers fire", function()
    local fired
    local Duel, connect = serve({onLeave = function(self) fired = self:fire "onLeft" end},
      {resumeTime = 30, onClose = function(self)
        for _, room in ipairs(self.rooms[1]:all()) do room:fire "onClosed" end
      end})
    local ann, bob = connect(), connect()
    join(ann, Duel)
    join(bob, Duel)
    local room = Duel:all()[1]
    ann.server:close "out"
    testing.settle()
    assert.equal(1, fired)
    assert.equal(1, room.inner.clients:count())
    rooms.messages(bob)
    local cid = connect() -- who gets the place in the core that ann has had
    assert.equal(ann.slot, cid.slot)
    room:fire "onSecret"
    for _, message in ipairs(rooms.messages(cid)) do
      assert.not_equal("onSecret", message.method)
    end
  end)

  it("fire at all, at all but one, and at who isn't in yet behind the answer", function()
    local Duel, connect = serve {onJoin = function(self, member)
      member:fire("onWelcome", member.id)
      self:fire("onCome", member.id)
    end}
    local ann, bob = connect(), connect()
    local function names(client)
      local list = {}
      for i, message in ipairs(rooms.messages(client)) do
        list[i] = message.method or "answer"
      end
      return list
    end
    send(ann, "sync.join", {room = Duel.className})
    assert.same({"answer", "onWelcome"}, names(ann))
    send(bob, "sync.join", {room = Duel.className})
    assert.same({"onCome"}, names(ann))
    assert.same({"answer", "onWelcome"}, names(bob))
    local room = Duel:all()[1]
    room:except(room:member(2)):fire "onSecret"
    assert.same({"onSecret"}, names(ann))
    assert.same({}, names(bob))
  end)

  it("stay for a while when they are empty, or until they are closed", function()
    local ended = 0
    local Duel, connect = serve {emptyTime = false, onEnd = function() ended = ended + 1 end}
    local ann = connect()
    local told = join(ann, Duel)
    assert.is_true(call(ann, "sync.leave", {room = told.room}))
    assert.equal(1, #Duel:all())
    local again = join(ann, Duel)
    assert.same({told.id, 2}, {again.id, again.member})
    Duel:find(told.id):close "over"
    local message = rooms.messages(ann)[1]
    assert.same({"sync.left", again.room, "over"}, {message.method, unpack(message.params)})
    assert.same({0, 1}, {#Duel:all(), ended})
    local Short, other = serve {emptyTime = 0.01}
    ann = other()
    told = join(ann, Short)
    call(ann, "sync.leave", {room = told.room})
    assert.equal(1, #Short:all())
    support.wait(function() return #Short:all() == 0 end)
  end)

  it("have bounds: of a client, of a class, and of making", function()
    local Duel, connect = serve({maxMembers = 1, maxOpen = 6}, {maxJoined = 2, createRate = 4})
    local ann = connect()
    local first = join(ann, Duel)
    join(ann, Duel)
    assert.equal("the client is in too many rooms", select(2, join(ann, Duel)).message)
    for _ = 1, 2 do
      call(ann, "sync.leave", {room = first.room})
      first = join(ann, Duel)
    end
    call(ann, "sync.leave", {room = first.room})
    assert.equal(-32001, select(2, join(ann, Duel)).code)
    for _ = 1, 5 do join(connect(), Duel) end
    assert.equal("there are too many rooms", select(2, join(connect(), Duel)).message)
    local Match
    Match, connect = serve {clientsCreate = false}
    assert.equal("there is no such room", select(2, join(connect(), Match)).message)
    assert.equal("there is no such room",
      select(2, call(connect(), "sync.create", {room = Match.className})).message)
    Match:create()
    assert.is_string(join(connect(), Match).id)
  end)

  it("give members what the client has", function()
    local Duel, connect = serve({}, {resumeFields = {"nick"}, onConnect = function(self)
      self.user, self.nick = {id = 7}, "ann"
    end})
    join(connect(), Duel)
    local member = Duel:all()[1].members[1]
    assert.same({{id = 7}, "ann", 1}, {member.user, member.nick, member.id})
    assert.is_nil(member.client)
  end)
end)
