-- Values and logs in memory.

local Process = require "spec.support.process"
local Store = require "sync.cluster.store"
local socket = require "socket"

-- Calls a function; returns what it tells `done`.
local function call(store, name, ...)
  local told
  local arguments, count = {...}, select("#", ...)
  arguments[count + 1] = function(...) told = {...} end
  store[name](store, unpack(arguments, 1, count + 1))
  return unpack(told, 1, 3)
end

describe("a store", function()
  local store
  before_each(function() store = Store.new() end)

  it("keeps, adds, replaces and removes values", function()
    assert.is_nil((call(store, "get", "a")))
    assert.is_true(call(store, "set", "a", "1\0\r\n", nil))
    assert.equal("1\0\r\n", (call(store, "get", "a")))
    assert.is_false((call(store, "add", "a", "2", nil)))
    assert.is_true((call(store, "add", "b", "2", nil)))
    assert.same({false, nil, "2"}, {call(store, "replace", "b", "x", "3", nil)})
    assert.is_true((call(store, "replace", "b", "2", "3", nil)))
    assert.same({false, nil, nil}, {call(store, "replace", "c", "x", "3", nil)})
    assert.is_true((call(store, "replace", "c", nil, "3", nil)))
    assert.is_true((call(store, "remove", "a")))
    assert.is_false((call(store, "remove", "a")))
    store:set("quiet", "x") -- without `done`
    assert.equal("x", (call(store, "get", "quiet")))
  end)

  it("lets values expire, and counts on without another time", function()
    store:set("a", "1", 0.5)
    store:increment("n", 1, 0.5)
    store:increment("n", 1, nil)
    store:set("b", "1")
    assert.is_true((call(store, "expire", "b", 0.5)))
    assert.is_false((call(store, "expire", "none", 1)))
    assert.equal("1", (call(store, "get", "a")))
    for _, key in ipairs {"a", "n", "b"} do
      Process.eventually("it expires", function() return not call(store, "get", key) end)
    end
    assert.equal(1, (call(store, "increment", "n", 1, nil)))
    assert.is_true((call(store, "add", "a", "2", nil)))
  end)

  it("gives the memory of what has expired back, without being asked for it", function()
    for i = 1, 1000 do store:set("k" .. i, "x", 0.01) end
    socket.sleep(0.03)
    for i = 1, 400 do store:set("new" .. i, "x") end
    assert.equal(400, store.keys)
    for i = 1, 400 do store:remove("new" .. i) end
    assert.same({0, 0}, {store.keys, store.bytes})
  end)

  it("is bounded in keys, bytes and lengths", function()
    store = Store.new {maxKeys = 3}
    for i = 1, 3 do assert.is_true(call(store, "set", "k" .. i, "x", nil)) end
    assert.same({nil, "full"}, {call(store, "set", "k4", "x", nil)})
    assert.is_true(call(store, "set", "k3", "y", nil))
    assert.same({nil, "full"}, {call(store, "append", "log", "x", 10, 10)})
    store = Store.new {maxBytes = 1000}
    assert.is_true(call(store, "set", "a", ("x"):rep(900), nil))
    assert.same({nil, "full"}, {call(store, "set", "b", ("x"):rep(900), nil)})
    assert.is_true(call(store, "set", "a", ("y"):rep(910), nil))
  end)

  it("keeps logs, of the newest entries", function()
    assert.same({}, (call(store, "read", "log", "", 10)))
    local ids = {}
    for i = 1, 10 do ids[i] = call(store, "append", "log", "entry " .. i, 5, 60) end
    local list = call(store, "read", "log", "", 10)
    assert.equal(5, #list)
    assert.same({id = ids[6], bytes = "entry 6"}, list[1])
    list = call(store, "read", "log", ids[8], 1)
    assert.same({{id = ids[9], bytes = "entry 9"}}, list)
    assert.same({}, (call(store, "read", "log", ids[10], 10)))
    assert.is_true(ids[9] < ids[10])
    call(store, "append", "short", "x", 5, 0.02)
    socket.sleep(0.05)
    assert.same({}, (call(store, "read", "short", "", 10)))
  end)

  it("makes room in a log by its oldest entries", function()
    store = Store.new {maxBytes = 2000}
    for i = 1, 100 do
      assert.is_string((call(store, "append", "log", ("x"):rep(100) .. i, 100, 60)))
    end
    local list = call(store, "read", "log", "", 100)
    assert.is_true(#list >= 5 and #list < 20)
    assert.matches("100$", list[#list].bytes)
    assert.is_true(store.bytes <= 2000)
  end)

  it("may drop whole logs for others, which is told to who reads them, for a while", function()
    store = Store.new {maxKeys = 10, maxBytes = 100000, drops = true}
    local function append(name, length, seconds)
      assert.is_string((call(store, "append", name, ("x"):rep(length), 1000, seconds)), name)
    end
    for i = 1, 1000 do append("log " .. i, 100, 60) end -- too many
    assert.equal(10, store.keys)
    assert.equal(1, #call(store, "read", "log 1000", "", 10))
    local dropped = 0
    for i = 1, 1000 do
      local list, problem = call(store, "read", "log " .. i, "", 10)
      if not list and problem == "full" then dropped = dropped + 1 end
    end
    assert.equal(990, dropped)
    for i = 1, 1000 do append("large " .. i, 40000, 60) end -- too large
    assert.is_true(store.bytes <= 100000)
    assert.equal(1, #call(store, "read", "large 1000", "", 10))

    store = Store.new {maxKeys = 1, drops = true}
    append("a", 1, 0.02)
    append("b", 1, 0.02)
    assert.same({nil, "full"}, {call(store, "read", "a", "", 10)})
    Process.eventually("what was dropped would have expired", function()
      return call(store, "read", "a", "", 10)
    end)
  end)

  it("goes on in another process, in pieces", function()
    for i = 1, 25000 do call(store, "set", "key " .. i, "value " .. i, i == 7 and 60 or nil) end
    call(store, "set", "gone", "x", 0)
    for i = 1, 5 do call(store, "append", "log", "entry " .. i, 3, 60) end
    local lists = {}
    store:pack(function(list) lists[#lists + 1] = list end)
    assert.is_true(#lists > 2)
    local next = Store.new()
    for _, list in ipairs(lists) do next:unpack(list) end
    assert.equal("value 1", (call(next, "get", "key 1")))
    assert.equal("value 25000", (call(next, "get", "key 25000")))
    assert.is_true(next.entries["key 7"].due > 0)
    assert.is_nil(next.entries.gone)
    local log, before = call(next, "read", "log", "", 10), call(store, "read", "log", "", 10)
    assert.same(before, log)
    assert.equal(3, #log)
    assert.equal(("%016d"):format(6), (call(next, "append", "log", "entry 6", 3, 60)))
    store:pack(function() end)
    call(store, "get", "gone")
    call(store, "append", "log", "entry 6", 3, 60)
    assert.same({store.keys, store.bytes}, {next.keys, next.bytes})
  end)
end)
