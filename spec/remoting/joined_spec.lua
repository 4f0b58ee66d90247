local Seen = require "sync.remoting.seen"
local cjson = require "cjson"
local loop = require "sync.loop"
local patches = require "sync.remoting.patches"
local support = require "spec.support"
local sync = require "sync"

local wait = support.wait

local FUZZ = tonumber(os.getenv "FUZZ") or 10000
local SEED = tonumber(os.getenv "SEED") or 1

local function bytesOf(hex)
  return (hex:gsub("%x%x", function(pair) return string.char(tonumber(pair, 16)) end))
end

local function vector(name)
  local file = assert(io.open(("spec/state/vectors/%s.json"):format(name)))
  local text = file:read "*a"
  file:close()
  return cjson.decode(text)
end

local VECTORS = {types = vector "types", entities = vector "entities", refused = vector "refused"}

local function apply(seen, step, form)
  return seen:apply(form == "json" and patches.ofObject(step.json) or
    patches.ofBytes(bytesOf(step.binary)))
end

-- A value of a step, where maps are pairs, as a client has it.
local function isMap(kind) return type(kind) == "table" and kind[1] == "map" end

local function expected(declared, given)
  local fields = {}
  for _, list in ipairs {declared.fields or {}, declared.private or {}} do
    for _, field in ipairs(list) do
      local value = given[field[1]]
      if value ~= nil and isMap(field[2]) then
        local map = {}
        for _, pair in ipairs(value) do map[pair[1]] = pair[2] end
        value = map
      end
      fields[field[1]] = value
    end
  end
  return fields
end

-- What a client has, without what is at its default.
local function found(shape, entity)
  local fields = {}
  for _, field in ipairs(shape.all) do
    local value, first = entity.fields[field.name], field.kind.first()
    if value ~= first and not (type(value) == "table" and next(value) == nil) then
      fields[field.name] = value
    end
  end
  return fields
end

local function checkState(vectors, seen, step)
  assert.same({step.tick, step.input}, {seen.tick, seen.input}, step.what)
  local state = vectors.join.state
  if seen.tables[0].count > 0 then
    assert.same(expected(state, step.state), found(seen.tables[0], seen.root), step.what)
  end
  for i, map in ipairs(state.maps or {}) do
    local shape, wanted, mine = seen.tables[i], step.state[map.name], {}
    assert.equal(#wanted, shape.count, step.what)
    for _, pair in ipairs(wanted) do
      assert.same(expected(map, pair[2]), found(shape, shape.keys[pair[1]]), step.what)
    end
    for _, key in ipairs(step.mine[map.name]) do mine[key] = true end
    for key, entity in pairs(shape.keys) do assert.equal(mine[key] or false, entity.mine) end
  end
end

local function told(list)
  local texts = {}
  for i, one in ipairs(list) do
    local detail = one.detail
    if type(detail) == "table" then
      table.sort(detail)
      detail = table.concat(detail, " ")
    end
    texts[i] = ("%s %s %s %s"):format(one.what, one.shape.name, one.entity.key, tostring(detail))
  end
  table.sort(texts)
  return texts
end

local function toldOf(step)
  local list = {}
  for i, one in ipairs(step.told) do
    list[i] = {what = one[1], shape = {name = one[2]}, entity = {key = one[3]}, detail = one[4]}
  end
  return told(list)
end

describe("patches", function()
  for name, vectors in pairs(VECTORS) do
    for _, form in ipairs {"binary", "json"} do
      it(("are as the vectors of %s say, in %s"):format(name, form), function()
        local seen = Seen.new(vectors.join.state)
        for _, step in ipairs(vectors.steps) do
          if not step.refused then
            assert.same(toldOf(step), told(apply(seen, step, form)), step.what)
            checkState(vectors, seen, step)
          elseif form == "binary" then
            local before = cjson.encode(seen.tables[1].numbers[0].fields)
            local ok, why = pcall(apply, seen, step, form)
            assert.is_false(ok, step.refused)
            assert.is_true(patches.isRefusal(why), tostring(why))
            assert.equal(before, cjson.encode(seen.tables[1].numbers[0].fields))
          end
        end
      end)
    end
  end

  it("in JSON that are wrong are refused", function()
    local seen = Seen.new(VECTORS.refused.join.state)
    apply(seen, VECTORS.refused.steps[1], "json")
    local function refuses(what, value)
      local patch = {room = 1, epoch = 0, tick = 2, input = 0, [what] = value}
      local ok, why = pcall(function() seen:apply(patches.ofObject(patch)) end)
      assert.is_false(ok)
      assert.is_true(patches.isRefusal(why), tostring(why))
    end
    refuses("tick", -1)
    refuses("input", 1.5)
    refuses("change", {none = {}})
    refuses("change", {players = 3})
    refuses("change", {players = {{1, {hp = 1}}}})
    refuses("change", {players = {{0, {hp = 256}}}})
    refuses("change", {players = {{0, {hp = "1"}}}})
    refuses("change", {players = {{0, {what = 1}}}})
    refuses("change", {players = {{0, {x = cjson.null}}}})
    refuses("change", {players = {{0, cjson.null}}})
    refuses("change", {players = {cjson.null}})
    refuses("change", {players = {{0, {hand = 5}, true}}})
    refuses("new", {players = {{0, 9, {}}}})
    refuses("seen", {players = {{1, 3, {}}}})
    refuses("new", {players = {{1, "x", {}}}})
    refuses("gone", {players = {0, 0}})
    refuses("hidden", {players = {"0"}})
  end)

  -- FUZZ=1000000 for the long run.
  it("that are mutated are taken or refused", function()
    math.randomseed(SEED)
    local chance = math.random
    local names, refused = {"entities", "refused", "types"}, 0
    local function mutate(bytes)
      for _ = 1, chance(4) do
        local at = chance(0, #bytes)
        local how, before, behind = chance(5), bytes:sub(1, at), bytes:sub(at + 1)
        if how == 1 then bytes = before .. string.char(chance(0, 255)) .. behind:sub(2)
        elseif how == 2 then bytes = before .. behind:sub(1 + chance(4))
        elseif how == 3 then bytes = before .. string.char(chance(0, 255)) .. behind
        elseif how == 4 then
          bytes = before .. "\255\255\255" .. string.char(chance(0, 127)) .. behind
        else bytes = (bytes .. behind):sub(1, 4096) end
      end
      return bytes
    end
    local done = 0
    while done < FUZZ do
      local vectors = VECTORS[names[chance(3)]]
      local seen, right = Seen.new(vectors.join.state), Seen.new(vectors.join.state)
      for _, step in ipairs(vectors.steps) do
        local bytes = bytesOf(step.binary)
        local isTaken, problem = pcall(apply, right, step, "binary") -- also among all these
        assert.equal(step.refused == nil, isTaken, tostring(problem))
        for _ = 1, 10 do
          local ok, why = pcall(function() seen:apply(patches.ofBytes(mutate(bytes))) end)
          if not ok then
            assert.is_true(patches.isRefusal(why), tostring(why))
            refused = refused + 1
          end
          done = done + 1
        end
        local ok, why = pcall(function() seen:apply(patches.ofBytes(bytes)) end)
        assert.is_true(ok or patches.isRefusal(why), tostring(why))
      end
    end
    assert.is_true(refused > done / 4 and refused < done)
  end)

  it("of types that this client doesn't know are an error that says so", function()
    for _, kind in ipairs {"vector", {"list", "vector"}, {"set", "uint8"}, 5} do
      assert.has_error(function() Seen.new {fields = {{"a", kind}}} end)
    end
  end)
end)

local closing = {}

local function arena()
  local Arena = sync.Room:extend "Arena"
  Arena.patchRate = 100
  Arena.state = sync.state {phase = "string", players = sync.map({name = "string", x = "float32",
    hand = sync.private(sync.listOf "uint8")})}
  function Arena:onCreate(options)
    if options and options.private then self:makePrivate() end
  end
  function Arena:onJoin(member, options)
    if options and options.refused then return false, "not today" end
    self.state.phase = "play"
    self.state.players[member.id] = {owner = member, name = options and options.name or "?",
      hand = {member.id}}
  end
  function Arena:onLeave(member) self.state.players[member.id] = nil end
  function Arena.remote.move(room, member, by)
    local p = room.state.players[member.id]
    p.x = p.x + by
    return p.x
  end
  function Arena.remote.hide(room, member) room:hide(member, room.state.players[member.id]) end
  function Arena.remote.kick(_, member) member:kick "enough" end
  function Arena.remote.hit(room, _, ...) room:fire("onHit", ...) end
  return Arena
end

local function serve(options)
  local Game = support.protocol({}, sync.Remote)
  Game.transports, Game.resumeTime = {"tcp"}, 5
  Game.rooms = {arena()}
  local listener = sync.enable("127.0.0.1", 0, Game, options)
  closing[#closing + 1] = listener
  return "tcp://127.0.0.1:" .. listener.port
end

local function connect(url, options)
  local client = sync.connect(url, options)
  closing[#closing + 1] = client
  return client
end

local function enter(client, ...)
  local room, problem
  local arguments = {...}
  arguments[#arguments + 1] = function(joined, err) room, problem = joined, err end
  client:join("Arena", unpack(arguments))
  wait(function() return room or problem end)
  if room then wait(function() return room.tick > 0 end) end
  return room, problem
end

for _, how in ipairs {{}, {framing = "length32", encoding = "amf3"}} do
  local function copy() return {framing = how.framing, encoding = how.encoding} end

  describe("a room joined over " .. (how.encoding or "json"), function()
    after_each(function()
      for _, each in ipairs(closing) do each:close() end
      closing = {}
      wait(function() return loop.count == 0 end)
    end)

    it("has the state that it sees, and calls and events", function()
      local url = serve(copy())
      local ann = enter(connect(url, copy()), {name = "ann"})
      local seen = {}
      ann.state.players:onAdd(function(p, id, why) seen[#seen + 1] = why .. " " .. p.name .. id end)
      ann.state.players:onChange(function(p, id, names)
        seen[#seen + 1] = ("change %d %s %g"):format(id, table.concat(names, " "), p.x)
      end)
      ann.state.players:onRemove(function(_, id, why) seen[#seen + 1] = why .. id end)
      local bob = enter(connect(url, copy()), {name = "bob"})
      wait(function() return #seen == 2 end)
      local x
      bob:call("move", 2.5, function(result) x = result end)
      wait(function() return #seen == 3 and x end)
      assert.equal(2.5, x)
      bob:leave()
      wait(function() return #seen == 4 end)
      assert.same({"seen ann1", "new bob2", "change 2 x 2.5", "gone2"}, seen)
      ann:call("hide", function() end)
      wait(function() return #seen == 5 end)
      assert.equal("hidden1", seen[5])
      assert.same({"play", "Arena", 1}, {ann.state.phase, ann.name, ann.member})

      local hits = {}
      ann:on("onHit", function(...) hits[#hits + 1] = {n = select("#", ...), ...} end)
      assert.equal(1, ann:input("hit", 1, nil, "b"))
      wait(function() return hits[1] and ann.inputTaken == 1 end)
      assert.same({n = 3, 1, nil, "b"}, hits[1])
    end)

    it("tells what is one's own, and takes no writes", function()
      local url = serve(copy())
      local ann, bob = enter(connect(url, copy())), enter(connect(url, copy()))
      wait(function() return ann.state.players:count() == 2 end)
      assert.is_true(ann.state.players:isMine(1))
      assert.is_false(ann.state.players:isMine(2))
      assert.same({{1}, {}}, {ann.state.players[1].hand, ann.state.players[2].hand})
      assert.same({2}, bob.state.players:get(2).hand)
      assert.has_error(function() ann.state.phase = "mine" end)
      assert.has_error(function() ann.state.players[1] = nil end)
      local keys = {}
      for key, p in ann.state.players:each() do keys[key] = p.name end
      assert.same({"?", "?"}, keys)
    end)

    it("is refused, left and lost for a reason", function()
      local url = serve(copy())
      local client = connect(url, copy())
      local _, err = enter(client, {refused = true})
      assert.equal("not today", err.message)
      local room = enter(client)
      local reason
      room:onLeft(function(why) reason = why end)
      room:call("kick", function() end)
      wait(function() return reason end)
      assert.equal("enough", reason)
      room = enter(client)
      room:onLeft(function(why) reason = why end)
      client:close("over")
      assert.equal("the client is closed: over", reason)
      assert.is_false(room.isIn)
    end)

    it("makes rooms, finds them, and joins one by its id or its code", function()
      local url = serve(copy())
      local ann, bob = connect(url, copy()), connect(url, copy())
      local function result(start)
        local made, err
        start(function(...) made, err = ... end)
        wait(function() return made or err end)
        return made, err
      end
      local mine = result(function(fn) ann:create("Arena", {private = true}, fn) end)
      assert.equal(6, #mine.code)
      local same = result(function(fn) bob:joinByCode(mine.code:lower(), nil, fn) end)
      assert.equal(mine.id, same.id)
      local open = result(function(fn) ann:create("Arena", fn) end)
      local listed = result(function(fn) bob:rooms("Arena", fn) end)
      assert.same({open.id, 1}, {listed[#listed].id, listed[#listed].members})
      assert.same({}, (result(function(fn) bob:rooms("Arena", {mode = "none"}, fn) end)))
      local again = result(function(fn) bob:joinById(open.id, fn) end)
      assert.same({open.id, 2}, {again.id, again.member})
      local _, err = result(function(fn) bob:joinById("0000", fn) end)
      assert.equal("there is no such room", err.message)
      assert.has_error(function() bob:create("Arena") end)
    end)

    it("goes on after the connection was lost, with a snapshot", function()
      local url = serve(copy())
      local given = copy()
      given.firstWait = 0.01
      local client = connect(url, given)
      local ann, bob = enter(client), enter(connect(url, copy()))
      wait(function() return ann.state.players:count() == 2 end)
      local heard = {}
      ann.state.players:onChange(function(p, id) heard[#heard + 1] = {id, p.x} end)
      ann.state.players:onRemove(function(_, id) heard[#heard + 1] = {id} end)
      client:drop "cut"
      bob:input("move", 7)
      wait(function() return heard[1] end)
      assert.is_true(client.resumed)
      assert.same({{2, 7}}, heard)
      assert.equal(2, ann.state.players:count())
    end)
  end)
end

describe("a client in rooms", function()
  after_each(function()
    for _, each in ipairs(closing) do each:close() end
    closing = {}
    wait(function() return loop.count == 0 end)
  end)

  it("asks for a snapshot when a patch is wrong, and leaves what it joined too late", function()
    local calls, joins = {}, 0
    local Stand = support.protocol {framing = "null"}
    Stand.transports = {"tcp"}
    local joined = cjson.encode(VECTORS.entities.join)
    local answers = {}
    function Stand:onData(data)
      local message = cjson.decode(data)
      calls[#calls + 1] = message.method
      if message.method == "sync.join" then
        joins = joins + 1
        local text = ('{"jsonrpc":"2.0","id":%d,"result":%s}'):format(message.id, joined)
        if joins == 1 then self:send(text) else answers[1] = function() self:send(text) end end
      end
      self.patch = function(_, step)
        self:send('{"jsonrpc":"2.0","method":"sync.patch","params":[' ..
          cjson.encode(step.json) .. "]}")
      end
      answers.stand = self
    end
    local listener = sync.enable("127.0.0.1", 0, Stand)
    closing[#closing + 1] = listener
    local client = connect("tcp://127.0.0.1:" .. listener.port, {timeout = 0.2})
    local room
    client:join("Arena", function(made) room = made end)
    wait(function() return room end)
    local steps = VECTORS.entities.steps
    answers.stand:patch(steps[1])
    answers.stand:patch(steps[4])
    answers.stand:patch(steps[4]) -- doesn't fit
    answers.stand:patch(steps[2])
    wait(function() return calls[#calls] == "sync.snapshot" end)
    assert.equal(4, room.tick)
    answers.stand:patch(steps[1])
    wait(function() return room.tick == 1 end)
    assert.equal(2, room.state.players:count())

    local err
    client:join("Arena", function(_, problem) err = problem end)
    wait(function() return err end)
    assert.equal("timeout", err.code)
    answers[1]()
    wait(function() return calls[#calls] == "sync.leave" end)
  end)
end)
