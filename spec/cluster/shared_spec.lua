-- sync.shared, in one process and over an engine that is slow, or away.

local Shared = require "sync.cluster.shared"
local amf = require "sync.amf"
local support = require "spec.support"
local sync = require "sync"
local testing = require "sync.testing"

-- Runs a function of sync.spawn to its end, and returns what it returns.
local function run(fn)
  local result, spawned
  spawned = sync.spawn(function() result = {fn()} end)
  for _ = 1, 200 do
    if spawned.status ~= "waiting" then break end
    testing.settle()
    require("socket").sleep(0.002)
  end
  assert.equal("done", spawned.status)
  return unpack(result, 1, 3)
end

local count = 0
local function fresh()
  count = count + 1
  return sync.shared("spec" .. count)
end

describe("shared state", function()
  it("keeps what JSON can say", function()
    local shared = fresh()
    for i, value in ipairs {true, false, 1, -2.5, 2 ^ 53, "", "ü\0\n", {1, 2, {a = "b"}}, {}} do
      run(function() assert.is_true(shared:set("k" .. i, value)) end)
      assert.same(value, (run(function() return shared:get("k" .. i) end)))
    end
    assert.is_nil((run(function() return shared:get "none" end)))
    run(function() shared:set("k1", nil) end)
    assert.is_nil((run(function() return shared:get "k1" end)))
  end)

  it("keeps lists and numbers as they are", function()
    local shared = fresh()
    local value = {none = sync.list(), deep = {sync.list {1 / 3}}, at = 1732900000123456}
    run(function() shared:set("k", value) end)
    local kept = run(function() return shared:get "k" end)
    assert.equal(getmetatable(sync.list()), getmetatable(kept.none))
    assert.equal(1 / 3, kept.deep[1][1])
    assert.equal(1732900000123456, kept.at)
    assert.is_true((run(function() return shared:compareAndSet("k", kept, "new") end)))
    assert.equal(2 ^ 53 - 1, (run(function() return shared:increment("n", 2 ^ 53 - 1) end)))
  end)

  it("keeps what JSON can't say, and compares it", function()
    local shared = fresh()
    for i, value in ipairs {0 / 0, 1 / 0, "\255\0", 2 ^ 63 + 1LL, {[7] = 1, [true] = "x"},
      {at = amf.date(5.5), bytes = amf.bytes "\0\255", n = sync.null, none = sync.list()}} do
      local key = "k" .. i
      run(function() shared:set(key, value) end)
      local kept = run(function() return shared:get(key) end)
      if value == value then assert.same(value, kept) else assert.is_true(kept ~= kept) end
      assert.is_true((run(function() return shared:compareAndSet(key, kept, i) end)))
      assert.equal(i, (run(function() return shared:get(key) end)))
    end
  end)

  it("answers later, in order, to functions", function()
    local shared, order = fresh(), {}
    shared:set("a", 1, nil, function(ok) order[#order + 1] = ok end)
    shared:get("a", function(value) order[#order + 1] = value end)
    shared:increment("a", 4, function(value) order[#order + 1] = value end)
    assert.same({}, order)
    testing.settle()
    require("socket").sleep(0.01)
    testing.settle()
    assert.same({true, 1, 5}, order)
  end)

  it("answers others though one's function raises an error", function()
    local shared, order = fresh(), {}
    local lines = support.logged(function()
      shared:set("a", 1, nil, function() error "mine" end)
      shared:get("a", function(value) order[#order + 1] = value end)
      support.wait(function() return order[1] end)
    end)
    assert.same({1}, order)
    assert.equal(1, #lines)
    assert.matches("error in an answer of memory, no client is closed: .*mine", lines[1])
  end)

  it("counts, compares, expires and removes", function()
    local shared = fresh()
    run(function()
      assert.equal(1, shared:increment "n")
      assert.equal(11, shared:increment("n", 10))
      assert.equal(11, shared:get "n")
      assert.is_true(shared:set("t", {b = 1, a = {2}}))
      local done, current = shared:compareAndSet("t", {a = 1}, "x")
      assert.is_false(done)
      assert.same({b = 1, a = {2}}, current)
      assert.is_true(shared:compareAndSet("t", {a = {2}, b = 1}, "x")) -- the order is no matter
      assert.is_true(shared:compareAndSet("new", nil, 1))
      assert.is_false((shared:compareAndSet("new", nil, 2)))
      local _, err = shared:increment "t"
      assert.equal("not a number", err.code)
      assert.matches("whole number", tostring(err))
      assert.is_true(shared:expire("n", 0.02))
      assert.is_true(shared:set("s", 1, {expire = 0.02}))
      sync.sleep(0.05)
      assert.is_nil(shared:get "n")
      assert.is_nil(shared:get "s")
      assert.is_true(shared:remove "t")
      assert.is_false(shared:remove "t")
    end)
  end)

  it("refuses what it can't keep, and says what to do", function()
    local shared = fresh()
    assert.matches("sync.spawn", support.raised(shared.get, shared, "k"))
    for what, call in pairs {
      ["can't be shared"] = function() shared:set("k", print) end,
      ["nested more than 64 deep"] = function()
        local t = {}
        for _ = 1, 70 do t = {t} end
        shared:set("k", t)
      end,
      ["a table can't be a key"] = function() shared:set("k", {[{}] = 1}) end,
      ["longer than"] = function() shared:set("k", ("x"):rep(70000)) end,
      ["the key must be"] = function() shared:set(("k"):rep(151), 1) end,
      ["expire must be"] = function() shared:set("k", 1, {expire = 0}) end,
      ["by must be"] = function() shared:increment("k", 0.5) end,
      ["new must not"] = function() shared:compareAndSet("k", 1, nil) end,
      ["must be a function"] = function() shared:remove("k", 1) end,
    } do
      assert.matches(what, support.raised(call), 1, true)
    end
    assert.matches("without a slash", support.raised(sync.shared, "a/b"))
  end)

  it("tells the troubles of the engine", function()
    local asked = {}
    local engine = setmetatable({}, {__index = function(_, name)
      return function(_, ...) asked[#asked + 1] = {name, ...} end
    end})
    local got
    local shared = Shared.opener(function() return engine end)("spec")
    shared:get("k", function(...) got = {...} end)
    assert.equal("get", asked[1][1])
    assert.equal("v/" .. shared.name .. "/k", asked[1][2])
    asked[1][3](nil, "away")
    assert.equal("away", got[2].code)
    shared:set("k", {1}, {expire = 2}, function(...) got = {...} end)
    assert.same({"set", "v/" .. shared.name .. "/k", "[1]", 2}, {unpack(asked[2], 1, 4)})
    asked[2][5](nil, "LOADING the data")
    assert.same({"failed", "LOADING the data"}, {got[2].code, got[2].message})
    shared:compareAndSet("k", 1, 2, function(...) got = {...} end)
    asked[3][6](false, nil, "7")
    assert.same({false, 7}, got)
    shared:set("quiet", 1)
    assert.is_nil(asked[4][5])
  end)
end)
