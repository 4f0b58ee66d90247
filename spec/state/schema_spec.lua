local ffi = require "ffi"
local Process = require "spec.support.process"
local core = require "sync.core"
local State = require "sync.state.state"
local support = require "spec.support"
local sync = require "sync"

local number = 0

-- The root of a new state, and the state, which somebody must hold.
local function state(declaration)
  number = number + 1
  local made = State.new(sync.state(declaration), number)
  return made.root, made
end

local function refused(declaration)
  return support.raised(function() return sync.state(declaration) end)
end

describe("a declaration", function()
  it("is refused with the place and the reason", function()
    assert.equal('sync.state: a: there is no type "flot32" (did you mean float32?)',
      refused {a = "flot32"})
    assert.equal("sync.state: m.a: this is a list, a map or a mark within another; there are " ..
      "two levels, and no more", refused {m = sync.map {a = sync.listOf(sync.listOf "bool")}})
    assert.matches("m.owner: every entity has an owner", refused {m = sync.map {owner = "uint8"}})
    assert.matches("the state itself has no owner", refused {a = sync.private "uint8"}, 1, true)
    assert.matches("the name 1:", refused {"uint8"}, 1, true)
    assert.matches("sync.near needs a number x in it", refused {m = sync.map({y = "float32"},
      {sees = sync.near(5)})}, 1, true)
    assert.matches("there is no option see %(did you mean sees%?%)",
      refused {m = sync.map({y = "float32"}, {see = "all"})})
    assert.matches("the name a%-b: it has letters", refused {["a-b"] = "uint8"})
    assert.matches("two levels", refused {a = sync.listOf {b = sync.listOf "bool"}}, 1, true)
    assert.matches("a record in it has 1 to 32 fields", refused {a = sync.listOf {}}, 1, true)
  end)

  it("of a fixed number has as many steps as 4 bytes can say", function()
    for _, wrong in ipairs {{0, 1, 0}, {1, 0, 1}, {0, 1e10, 0.1}, {0, 1, 5}, {0, 0 / 0, 1}} do
      assert.matches("^sync.fixed", support.raised(sync.fixed, unpack(wrong)))
    end
  end)

  it("takes no more types of C when it is made again, and so many in all", function()
    local function declared() return {a = "uint8", m = sync.map {x = "float32", here = "bool"}} end
    local one, other = state(declared()), state(declared())
    one.m[1], other.m[1] = {x = 1}, {x = 2}
    assert.equal(ffi.typeof(one.m[1]), ffi.typeof(other.m[1]))
    assert.equal(ffi.typeof(one), ffi.typeof(other))
    assert.equal("entity of m", tostring(one.m[1]))
    -- In a process of its own, since these are kept.
    local script = Process.file [[
      local sync = require "sync"
      local function declare(i)
        local fields = {}
        for j = 1, 250 do fields["f" .. i .. "_" .. j] = "uint8" end
        return pcall(sync.state, fields)
      end
      for i = 1, 119 do assert(declare(i)) end
      for _ = 1, 300 do assert(declare(7)) end
      print(select(2, declare(120)))
      os.exit(0)
    ]]
    local process = Process.start {os.getenv "SYNC_LUA" or "./sync-lua", script}
    process:expect("stdout", "this process has declared states with too many different fields")
    assert.equal(0, process:wait())
    Process.cleanUp()
  end)

  it("may use names that are words of C and of Lua", function()
    local root = state {double = "uint8", switch = "bool", ["end"] = "float32"}
    root.double, root.switch, root["end"] = 3, true, 0.5
    assert.same({3, true, 0.5}, {root.double, root.switch, root["end"]})
  end)
end)

describe("entities", function()
  local root, held

  before_each(function()
    root, held = state {
      round = "uint16",
      players = sync.map({name = "string", x = "float32", alive = "bool",
        aim = sync.fixed(10, 20, 1), hand = sync.listOf("uint8", {most = 3}),
        bag = sync.map("string", {keys = "string", most = 2}),
        items = sync.listOf {kind = "uint8", name = "string"}, target = sync.server "any"},
        {most = 3, bytes = 20}),
      words = sync.map({x = "float32"}, {keys = "string"}),
    }
  end)

  it("begin with defaults", function()
    root.players[1] = {}
    local p = root.players[1]
    assert.same({"", 0, false, 10, 0, 0},
      {p.name, p.x, p.alive, p.aim, p.hand:count(), p.bag:count()})
    assert.is_nil(p.target)
    assert.is_nil(p.owner)
  end)

  it("say what isn't there, and what is like it", function()
    root.players[1] = {}
    local p = root.players[1]
    assert.equal("an entity of players has no field nam (did you mean name?)",
      support.raised(function() return p.nam end))
    assert.equal("an entity of players has no field ownr (did you mean owner?)",
      support.raised(function() p.ownr = 1 end))
    assert.equal("the state has no field rond (did you mean round?)",
      support.raised(function() root.rond = 1 end))
    assert.matches("has no field nope", support.raised(function()
      root.players[2] = {nope = 1, x = 5}
    end), 1, true)
    assert.is_nil(root.players[2])
    assert.equal(1, root.players:count())
  end)

  it("have bounds that are told", function()
    for id = 1, 3 do root.players[id] = {} end
    assert.equal("players[4]: it has 3 entities, and may have 3, and their keys and values 20 " ..
      "bytes; raise `most` or `bytes`", support.raised(function() root.players[4] = {} end))
    root.players[1].name = ("x"):rep(15)
    assert.matches("^players.name: the strings, lists and maps of all entities have as many bytes",
      support.raised(function() root.players[2].name = ("y"):rep(6) end))
    assert.equal("", root.players[2].name)
    assert.equal("players.name must be a string of at most 4096 bytes",
      support.raised(function() root.players[1].name = ("x"):rep(4097) end))
    assert.equal("players.name must be a string in UTF-8",
      support.raised(function() root.players[1].name = "\255" end))
    assert.equal("players.name must be a string",
      support.raised(function() root.players[1].name = 5 end))
  end)

  it("have keys of one kind", function()
    for _, key in ipairs {"a", 1.5, 2 ^ 53, true} do
      assert.matches("a key must be a whole number", support.raised(function()
        root.players[key] = {}
      end), 1, true)
    end
    assert.matches("a key must be a string", support.raised(function()
      root.words[1] = {}
    end), 1, true)
    root.words.each = {x = 4} -- the name of a method
    assert.equal(4, root.words:get("each").x)
    assert.equal("function", type(root.words.each))
    root.players[-2 ^ 52] = {x = 1}
    assert.equal(1, root.players[-2 ^ 52].x)
  end)

  it("are looped over, while some come and go", function()
    local map = root.words
    for i = 1, 100 do map["k" .. i] = {x = i} end
    local seen = {}
    for key, p in map:each() do
      seen[key] = (seen[key] or 0) + 1
      if p.x % 2 == 0 then map[key] = nil end
      if p.x == 7 then map.new = {x = 1000} end
    end
    for i = 1, 100 do assert.equal(1, seen["k" .. i]) end
    assert.equal(51, map:count())
    local count = 0
    for key in map:each() do
      for other in map:each() do
        if other == key then count = count + 1 end
      end
    end
    assert.equal(51, count)
    map:each() -- a loop that is left early
    map:clear()
    for _ in map:each() do count = nil end
    assert.equal(51, count)
  end)

  it("that were removed touch nobody's memory", function()
    root.players[1] = {x = 1, name = "ann", hand = {1}, target = "t"}
    local ann = root.players[1]
    root.players[1] = nil
    root.players[1] = {x = 2, name = "bob"} -- with the same number
    ann.x, ann.name = 99, "changed"
    ann.hand:add(7)
    held:compare()
    held:finish()
    local bob = root.players[1]
    assert.same({2, "bob", 0}, {bob.x, bob.name, bob.hand:count()})
    assert.same({99, "changed", 2}, {ann.x, ann.name, ann.hand:count()})
    assert.is_nil(ann.target)
  end)

  it("are not kept by what they refer to", function()
    local gone = setmetatable({}, {__mode = "k"})
    for id = 1, 3 do
      root.players[id] = {}
      root.players[id].target = root.players[id]
      gone[root.players[id]] = true
      root.players[id] = nil
    end
    collectgarbage()
    collectgarbage()
    assert.is_nil(next(gone))
  end)

  it("go with a state that nobody holds, and so do their lists", function()
    local schema = sync.state {players = sync.map {hand = sync.listOf "uint8", name = "string"}}
    local gone = setmetatable({}, {__mode = "k"})
    for i = 1, 5 do
      local made = State.new(schema, i)
      made.root.players[1] = {hand = {1}, name = "x"}
      gone[made], gone[made.root.players[1]], gone[made.root.players[1].hand] = true, true, true
    end
    collectgarbage()
    collectgarbage()
    collectgarbage()
    assert.is_nil(next(gone))
  end)

  it("have lists that check what they are given", function()
    root.players[1] = {hand = {1, 2}}
    local hand = root.players[1].hand
    assert.same({2, 1, 2}, {#hand, hand[1], hand[2]})
    hand:add(3)
    hand[1] = 9
    assert.equal("players.hand: it may have 3 values at most; raise `most` for more",
      support.raised(function() hand:add(4) end))
    assert.equal(9, hand:remove(1))
    local values = {}
    for i, value in hand:each() do values[i] = value end
    assert.same({2, 3}, values)
    assert.matches("a value must be a number", support.raised(function()
      hand[1] = "x"
    end), 1, true)
    assert.matches("there is no place 5", support.raised(function() hand[5] = 1 end), 1, true)
    root.players[1].hand = {}
    assert.equal(0, #hand)
    assert.matches("a list has no gaps", support.raised(function()
      root.players[1].hand = {1, [3] = 2}
    end), 1, true)
  end)

  it("have records in lists, which are set anew", function()
    root.players[1] = {items = {{kind = 1, name = "x"}, {}}}
    local items = root.players[1].items
    assert.same({1, "x", 0, ""}, {items[1].kind, items[1].name, items[2].kind, items[2].name})
    assert.matches("can't be changed", support.raised(function() items[1].kind = 2 end), 1, true)
    assert.matches("a record without knd (did you mean kind?)",
      support.raised(function() items:add {knd = 1} end), 1, true)
  end)

  it("have maps", function()
    root.players[1] = {bag = {a = "x"}}
    local bag = root.players[1].bag
    bag.b, bag.a = "y", nil
    assert.same({1, "y"}, {bag:count(), bag.b})
    bag.c = "z"
    assert.matches("2 values at most", support.raised(function() bag.d = "w" end), 1, true)
    assert.matches("a key must be a string", support.raised(function() bag[1] = "w" end), 1, true)
  end)

  it("are owned by members of their room", function()
    root.players[1] = {}
    assert.matches("owner must be a member", support.raised(function()
      root.players[1].owner = 5
    end), 1, true)
    assert.matches("owner must be a member of this room", support.raised(function()
      root.players[1].owner = {number = 77}
    end), 1, true)
    local member = {number = core.C.sync_state_join(held.handle, 0)}
    root.players[1].owner = member
    assert.equal(member, root.players[1].owner)
    member.number = 0 -- it has left
    assert.is_nil(root.players[1].owner)
  end)
end)
