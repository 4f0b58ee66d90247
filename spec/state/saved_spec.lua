local State = require "sync.state.state"
local Record = require "sync.state.record"
local pieces = require "sync.state.pieces"
local saved = require "sync.state.saved"
local support = require "spec.support"
local sync = require "sync"

local function declared(more)
  local players = {
    name = "string", x = "float32", hp = "uint8", alive = "bool", aim = sync.fixed(0, 360, 0.5),
    hand = sync.private(sync.listOf "uint8"), bag = sync.map("string", {keys = "string"}),
    items = sync.listOf {kind = "uint8", name = "string"},
    vx = sync.server "float32", plan = sync.server "any", note = sync.server "string",
  }
  for name, of in pairs(more or {}) do players[name] = of or nil end
  return sync.state {phase = "string", round = "uint16", players = sync.map(players),
    words = sync.map({at = "float64"}, {keys = "string"})}
end

local function filled()
  local state = State.new(declared(), 1)
  local ann = {id = 3, number = require "sync.core".C.sync_state_join(state.handle, 0)}
  local root = state.root
  root.phase, root.round = "play", 300
  root.players[7] = {owner = ann, name = "Ärger\0", x = 0.1, hp = 200, alive = true, aim = 12.5,
    hand = {1, 2, 255}, bag = {apple = "red", [""] = "none"},
    items = {{kind = 4, name = "axe"}, {}},
    vx = -math.huge, plan = {goal = {x = 1}, [1] = "go", far = false}, note = "\255"}
  root.players[-2 ^ 40] = {}
  root.words.each = {at = 1 / 3}
  return state, ann
end

-- What is in a state, as plain values.
local function plain(state)
  local function fieldsOf(p, shape)
    local list, side = {owner = shape.name ~= "" and p.owner and p.owner.id or nil}, Record.side(p)
    for _, field in ipairs(shape.fields) do
      local inner = side.inner[field.name]
      local value = p[field.name]
      if inner then
        value = {}
        for key, one in pairs(inner.items) do
          value[key] = type(one) == "table" and {one.kind, one.name} or one
        end
      elseif type(value) == "cdata" then
        value = {}
      end
      list[field.name] = value
    end
    return list
  end
  local all = {fieldsOf(state.root, state.schema.root)}
  for i, shape in ipairs(state.schema.maps) do
    local map = {}
    for key, p in require "sync.state.map".methods.each(state.maps[i]) do
      map[key] = fieldsOf(p, shape)
    end
    all[shape.name] = map
  end
  return all
end

describe("a state that is kept", function()
  it("is what it was: numbers as handlers had them, server fields, keys and owners", function()
    local state, ann = filled()
    local bytes = saved.write(state, {tick = 71, codes = {"a", true}})
    local other = State.new(declared(), 2)
    ann.number = require "sync.core".C.sync_state_join(other.handle, 0)
    local ok, extra = saved.read(other, bytes, function(id) return id == 3 and ann or nil end)
    assert.is_true(ok, extra)
    assert.same({tick = 71, codes = {"a", true}}, extra)
    assert.same(plain(state), plain(other))
    assert.equal(0.1, other.root.players[7].x) -- no float32
  end)

  it("belongs to nobody where its owner isn't known", function()
    local state = filled()
    local other = State.new(declared(), 2)
    assert.is_true(saved.read(other, saved.write(state), function() return nil end))
    assert.is_nil(other.root.players[7].owner)
  end)

  it("is read by a script that declares other fields", function()
    local state = filled()
    local other = State.new(declared {hp = "string", hand = sync.listOf("uint8", {most = 2}),
      plan = false, mana = "uint8", x = "bool"}, 2)
    local logged = support.logged(function()
      assert.is_true(saved.read(other, saved.write(state)))
    end)
    local p = other.root.players[7]
    assert.same({"Ärger\0", "", true, 0, 0}, {p.name, p.hp, p.x, p.mana, p.hand:count()})
    local text = table.concat(logged, "\n")
    assert.matches("a value that was kept is dropped: .*players.hp must be a string", text)
    assert.matches("a value that was kept is dropped: .*players.hand: it may have 2", text)
  end)

  it("leaves out what can't be kept, and says so", function()
    local state = State.new(declared(), 1)
    local loop = {}
    loop.loop, loop.n = loop, 1
    state.root.players[1] = {plan = print}
    state.root.players[2] = {plan = {fn = print, n = 5, p = state.root.players[1]}}
    state.root.players[3] = {plan = loop}
    local bytes
    local logged = support.logged(function() bytes = saved.write(state) end)
    assert.matches("players.plan has a value that can't be kept", logged[1])
    local other = State.new(declared(), 2)
    assert.is_true(saved.read(other, bytes))
    assert.is_nil(other.root.players[1].plan)
    assert.same({n = 5}, other.root.players[2].plan)
    assert.equal(1, other.root.players[3].plan.loop.loop.n)
  end)

  it("is read, or refused with a reason, whatever has become of its bytes", function()
    local bytes = saved.write((filled()), {tick = 1})
    support.logged(function()
      for cut = 0, #bytes - 1 do
        local ok, why = saved.read(State.new(declared(), 1), bytes:sub(1, cut))
        assert.is_nil(ok)
        assert.is_string(why)
      end
      math.randomseed(7)
      for _ = 1, 2000 do
        local at = math.random(#bytes)
        local spoilt = bytes:sub(1, at - 1) .. string.char(math.random(0, 255)) ..
          bytes:sub(at + 1)
        local ok, why = saved.read(State.new(declared(), 1), spoilt)
        assert.is_true(ok or type(why) == "string")
      end
    end)
  end)
end)

describe("pieces", function()
  local whole = ("0123456789"):rep(50)

  it("are as large as they may be, and become the whole again", function()
    for _, most in ipairs {64, 100, 499, 500, 525, 10000} do
      local joiner, joined = pieces.joiner(500), nil
      for _, piece in ipairs(pieces.cut(whole, most, 2 ^ 50)) do
        assert.is_nil(joined)
        assert.is_true(#piece <= most)
        joined = joiner:add(piece)
      end
      assert.equal(whole, joined)
    end
    assert.equal("", pieces.joiner(0):add(pieces.cut("", 64, 1)[1]))
    assert.matches("most must be 64 or more", support.raised(pieces.cut, whole, 63, 1), 1, true)
  end)

  it("of two writings are never taken for one", function()
    local old, new = pieces.cut(whole, 100, 1), pieces.cut(whole:reverse(), 100, 2)
    local joiner = pieces.joiner(1000)
    assert.is_nil(joiner:add(old[1]))
    local _, problem = joiner:add(new[2])
    assert.equal("a piece before it is missing", problem)
    _, problem = joiner:add(old[2])
    assert.equal("a piece before it is missing", problem)
    for i = 1, #new - 1 do assert.is_nil(joiner:add(new[i])) end
    assert.equal(whole:reverse(), joiner:add(new[#new]))
  end)

  it("that are none, or too many, are dropped", function()
    local joiner = pieces.joiner(90)
    for _, wrong in ipairs {"", "x", "\196", "\196\1\3\3abc", "\196\255\255\255\255\255"} do
      local joined, problem = joiner:add(wrong)
      assert.is_nil(joined)
      assert.is_string(problem)
    end
    local list = pieces.cut(whole, 100, 1)
    joiner:add(list[1])
    local _, problem = joiner:add(list[2])
    assert.equal("the pieces have more than 90 bytes", problem)
  end)
end)
