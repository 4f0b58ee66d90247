-- Values as texts that lose nothing: alone, and between nodes.

local amf = require "sync.amf"
local journal = require "sync.cluster.journal"
local packed = require "sync.packed"
local support = require "spec.support"
local sync = require "sync"
local values = require "sync.cluster.values"

local null = sync.null
local listMark = getmetatable(sync.list())

local function again(value, isSorted)
  local ok, result = values.decode(assert(values.encode(value, isSorted)))
  assert.is_true(ok, result)
  return result
end

-- Whether two values are the same to the last digit, with what their tables are.
local function same(one, other, path)
  path = path or "value"
  assert.equal(type(one), type(other), path)
  if type(one) == "number" then
    return assert.equal(("%.17g"):format(one), ("%.17g"):format(other), path)
  elseif type(one) ~= "table" then
    return assert.is_true(one == other, path)
  end
  local isList = one[1] ~= nil and amf.kind(other) == "list" -- what came as JSON is marked
  if not isList then assert.equal(amf.kind(one), amf.kind(other), path) end
  assert.equal(amf.className(one), amf.className(other), path)
  for key, item in pairs(one) do same(item, other[key], path .. "." .. tostring(key)) end
  for key in pairs(other) do assert.is_true(one[key] ~= nil, path .. "." .. tostring(key)) end
end

describe("a value as a text", function()
  it("that JSON says in full is JSON", function()
    for text, value in pairs {["null"] = null, ["true"] = true, ["0.1"] = 0.1, ['"a"'] = "a",
      ["{}"] = {}, ["[]"] = sync.list(), ["[1,[2]]"] = {1, {2}}, ['{"a":[1]}'] = {a = {1}},
      ["9007199254740992"] = 2 ^ 53} do
      assert.equal(text, values.encode(value))
      assert.equal(text, values.encode(value, true))
      same(value == value and again(value), again(value, true))
    end
  end)

  it("comes back as it was", function()
    local xml = amf.xml("<a/>", "e4x")
    for _, value in ipairs {
      0 / 0, 1 / 0, -1 / 0, 1 / 3, 5e-324, 1.7976931348623157e308, 2 ^ 53 + 2,
      "\255\0\254", "", ("x"):rep(70000), 9223372036854775807LL, -1LL, 18446744073709551615ULL,
      amf.date(1732900000123.456), amf.date(0 / 0), amf.bytes "\0\1\255", xml,
      amf.typed("com.example.P", {x = 1, at = amf.date(1)}), amf.typed "Empty",
      amf.vector("int", {1, 2}, true), amf.vector("object", {amf.date(2)}, false, "Date"),
      amf.vector "double", amf.collection {1, amf.bytes ""}, amf.proxy {a = null},
      amf.dictionary {[1] = "a", x = amf.date(1), [2.5] = false},
      {[7] = 1, [0] = 2, [-1] = 3}, {[true] = 1, [false] = 2}, {1, 2, 3, x = 4}, {[2] = "hole"},
      {1, null, 0 / 0, sync.list(), {}, sync.list {1}, {amf.bytes "x"}},
      setmetatable({a = 1, [3] = 2}, listMark), {["\255"] = 1},
    } do
      same(value, again(value))
      same(value, again(value, true))
      same({deep = {value}}, again {deep = {value}})
    end
    local dictionary = again(amf.dictionary {[amf.typed("K", {n = 1})] = "by identity"})
    local key, item = next(dictionary)
    assert.same({"K", 1, "by identity"}, {amf.className(key), key.n, item})
    assert.equal(-1 / 0, 1 / again {-0, 0 / 0}[1])
  end)

  it("may be as long as any", function()
    local vector = amf.vector "double"
    for i = 1, 20000 do vector[i] = i / 3 end
    same(vector, again(vector))
    local list = {0 / 0}
    for i = 2, 20000 do list[i] = {i} end
    same(list, again(list))
  end)

  it("is the same for equal values, if that is asked for", function()
    for _, extra in ipairs {1, amf.date(1)} do
      local one, other = {}, {}
      for i = 1, 50 do one["k" .. i], one[i] = i, extra end
      for i = 50, 1, -1 do other[i], other["k" .. i] = extra, i end
      assert.equal(values.encode(one, true), values.encode(other, true))
    end
    assert.equal(values.encode({0, amf.date(0)}, true), values.encode({-0, amf.date(-0)}, true))
  end)

  it("is none of what can't be told", function()
    local own = {}
    own.own = own
    local wide = {}
    for _ = 1, 25 do wide = {wide, wide} end -- 2^25 values
    for what, value in pairs {["a function can't be told"] = {print},
      ["a thread can't"] = coroutine.create(print), ["nested more than 64 deep"] = own,
      ["more than a million values"] = wide, ["a table can't be a key"] = {[{}] = 1},
      ["a nil can't"] = setmetatable({}, getmetatable(amf.date(1)))} do
      local text, problem = values.encode(value)
      assert.is_true(text == nil, what)
      assert.matches(what, problem, 1, true)
    end
  end)

  it("that is none is refused, whatever it says", function()
    local good = values.encode {a = amf.date(1), b = {0 / 0, amf.vector("int", {1})}}
    for length = 1, #good - 1 do
      local ok = values.decode(good:sub(1, length))
      assert.is_false(ok)
    end
    math.randomseed(7)
    for _ = 1, 5000 do
      local at = math.random(2, #good)
      values.decode(good:sub(1, at - 1) .. string.char(math.random(0, 255)) .. good:sub(at + 1))
    end
    for _, text in ipairs {"\1", "\1\9", "{", "\1\255", packed.MARK .. ("\9\1"):rep(100)} do
      assert.is_false((values.decode(text)))
      assert.is_nil(values.read(text))
    end
    assert.is_false((values.decode ""))
    assert.is_nil(values.read "")
  end)

  it("is noted, or the log says why not", function()
    assert.equal("", values.note(nil, "it"))
    assert.equal("[1]", values.note({1}, "it"))
    local cycle = {}
    cycle[1] = cycle
    for _, value in ipairs {print, cycle, {a = {print}}} do
      local lines = support.logged(function()
        assert.equal("", values.note(value, "the field x"))
      end)
      assert.matches("the field x can't be told to other nodes: ", lines[1], 1, true)
    end
  end)

  -- A node writes them once a second, for all of its clients.
  it("that can't be told lets a session's other fields and rooms be kept", function()
    local class = support.protocol({resumeFields = {"nick", "friend"}}, sync.Remote)
    local client = support.connect(class).server
    client.nick, client.friend = "ann", print
    local value = {at = 1}
    client:join("room", value)
    value.at = print
    client:join("other", 5)
    support.logged(function()
      assert.same({nick = '"ann"'}, journal.fieldsOf(client))
      assert.same({room = "", other = "5"}, journal.roomsOf(client))
    end)
    support.cleanUp()
  end)
end)
