-- What AMF0 and AMF3 have in common: which value becomes which, and the limits.

local amf = require "sync.amf"
local amf0 = require "sync.flash.amf0"
local amf3 = require "sync.flash.amf3"

local function bytes(hex)
  return (hex:gsub("%s", ""):gsub("%x%x", function(pair)
    return string.char(tonumber(pair, 16))
  end))
end

local function raised(fn, ...)
  return (tostring(select(2, pcall(fn, ...))):gsub("^[^%s:]+:%d+: ", ""))
end

describe("AMF values", function()
  it("know what they are", function()
    assert.equal("list", amf.kind(amf.list()))
    assert.equal("typed", amf.kind(amf.typed "A"))
    assert.equal("vector", amf.kind(amf.vector("int", {1})))
    assert.is_nil(amf.kind {})
    assert.is_nil(amf.kind(setmetatable({}, {__metatable = "locked"})))
    assert.is_nil(amf.kind "date")
    assert.equal("A", amf.className(amf.typed "A"))
    assert.equal("A", amf.className(amf.vector("object", {}, false, "A")))
    assert.is_nil(amf.className(amf.vector "object"))
    assert.is_nil(amf.className {})
    local vector = amf.vector("uint", {}, true)
    assert.same({"uint", true}, {vector.kind, vector.fixed})
  end)

  it("are text", function()
    assert.equal("2012-05-11T09:20:00.250Z", tostring(amf.date(1336728000250)))
    assert.equal("1969-12-31T23:59:59.999Z", tostring(amf.date(-1)))
    assert.equal("1970-01-01T00:00:00.000Z", tostring(amf.date(0.5)))
    for _, time in ipairs {0 / 0, math.huge, -math.huge, 8.64e15 + 2} do
      assert.equal("invalid date", tostring(amf.date(time)))
    end
    assert.equal("<a/>", tostring(amf.xml "<a/>"))
    assert.equal("\255", tostring(amf.bytes "\255"))
  end)

  it("are made of what they should be", function()
    assert.equal("amf.list(items): it takes a table, not number", raised(amf.list, 1))
    assert.equal("amf.typed(className, fields): it takes a string, not nil", raised(amf.typed))
    assert.equal("amf.typed(className, fields): the name is empty", raised(amf.typed, ""))
    assert.equal("amf.date(milliseconds): it takes a number, not string", raised(amf.date, "1"))
    assert.equal('amf.xml(text, kind): the kind is "document" or "e4x"',
      raised(amf.xml, "", "html"))
    assert.equal("amf.bytes(data): it takes a string, not table", raised(amf.bytes, {}))
    assert.matches("the kind is", raised(amf.vector, "float"))
  end)

  it("forget the names of classes that no object is of", function()
    local mark = setmetatable({getmetatable(amf.typed "Forgotten")}, {__mode = "v"})
    collectgarbage()
    collectgarbage()
    assert.is_nil(mark[1])
  end)
end)

for name, format in pairs {AMF0 = amf0, AMF3 = amf3} do
  local function again(value)
    local ok, result = format.decode(assert(format.encode(value)))
    return assert(ok and result, result)
  end

  describe(name .. " maps", function()
    it("tables with whole numbers for keys to arrays, holes to null", function()
      assert.same({1, amf.null, 3}, again {1, nil, 3})
      assert.same({amf.null, amf.null, amf.null, 4}, again {[4] = 1 + 3})
      local reversed = {}
      for i = 20, 1, -1 do reversed[i] = i end
      local result = again(reversed)
      assert.same(reversed, result)
      assert.is_nil(amf.kind(result))
    end)

    it("mostly empty arrays to objects", function()
      assert.same({["65"] = 1}, again {[65] = 1})
      assert.equal(64, #again {[64] = 1})
      local sparse = {}
      for i = 4, 400, 4 do sparse[i] = i end
      assert.equal(400, #again(sparse))
      sparse[1000000] = 1
      assert.equal(1, again(sparse)["1000000"])
    end)

    it("other keys to text", function()
      assert.same({["1"] = 1, x = 2}, again {1, x = 2})
      assert.same({["0"] = 1, ["-1"] = 2, ["1.5"] = 3}, again {[0] = 1, [-1] = 2, [1.5] = 3})
      assert.same({nil, "value[true]: a boolean can't be a key"}, {format.encode {[true] = 1}})
      assert.matches("^value%[a%]%[table: %w+%]: a table can't be a key$",
      (select(2, format.encode {a = {[{}] = 1}})))
    end)

    -- LuaJIT tells other values from numbers by NaNs, so each of these could become one.
    it("every NaN to a number, in compiled code too", function()
      local double = name == "AMF0" and "00" or "05"
      for _, bits in ipairs {"7ff0000000000001", "7ff8000000000000", "7fffffffffffffff",
          "fff0000000000001", "fff8000000000000", "fff9000000000000", "fffc000012345678",
          "fffdffffffffffff", "fffe000012345678", "fffff00000000000", "ffffffff00000000",
          "ffffffffffffffff"} do
        local text = bytes(double .. bits)
        for _ = 1, 200 do
          local ok, value = format.decode(text)
          assert(ok and type(value) == "number" and value ~= value, bits)
        end
      end
      for bits, value in pairs {["7ff0000000000000"] = math.huge,
          ["fff0000000000000"] = -math.huge} do
        assert.same({true, value, 10}, {format.decode(bytes(double .. bits))})
      end
    end)

    it("empty tables to objects, unless they are lists", function()
      assert.is_nil(amf.kind(again {}))
      assert.equal("list", amf.kind(again(amf.list())))
      assert.equal("list", amf.kind(again(again(amf.list()))))
    end)

    it("instances of classes of one's own to objects", function()
      local class = {name = "Class", method = function() end}
      class.__index = class
      assert.same({x = 1}, again(setmetatable({x = 1}, class)))
    end)

    it("objects of a class in each other", function()
      local value = again(amf.typed("a.Player", {at = amf.typed("a.Point", {x = 1, y = 2})}))
      assert.equal("a.Player", amf.className(value))
      assert.equal("a.Point", amf.className(value.at))
      assert.same({at = {x = 1, y = 2}}, value)
    end)
  end)

  describe(name .. " can't write", function()
    it("functions and the like, and says where they are", function()
      assert.same({nil, "value: a function can't be written"}, {format.encode(print)})
      assert.same({nil, "value[players][3][x]: a thread can't be written"},
        {format.encode {players = {1, 2, {x = coroutine.create(print)}}}})
      assert.same({nil, "value[a?b]: a userdata can't be written"},
        {format.encode {["a\nb"] = newproxy()}})
    end)

    it("what is too deep", function()
      local value = {}
      for _ = 1, 31 do value = {value} end
      assert.is_string(format.encode(value))
      assert.matches("^value" .. ("%[1%]"):rep(32) .. ": it is nested deeper than 32$",
        select(2, format.encode {value}))
      assert.is_string(format.encode({value}, {depth = 33}))
      assert.same({nil, "value[1]: it is nested deeper than 1"}, {format.encode({{}}, {depth = 1})})
    end)

    it("what is too large", function()
      assert.matches("larger than 100 bytes",
        select(2, format.encode({("a"):rep(100)}, {size = 100})))
      local value = {}
      for _ = 1, 30 do value = {value, value} end
      assert.matches("larger than 16777216 bytes",
        select(2, format.encode(value, {references = false})))
    end)

    it("values whose fields were spoiled", function()
      local date, xml = amf.date(1), amf.xml ""
      date.milliseconds, xml.text = "1", nil
      assert.same({nil, "value[1]: the milliseconds of this date is no number"},
        {format.encode {date}})
      assert.same({nil, "value[1]: the text of this xml is no string"}, {format.encode {xml}})
    end)

    it("anything, and then can write again", function()
      format.encode {print}
      assert.same({true}, again {true})
    end)
  end)

  describe(name .. " reads no more than", function()
    it("a depth", function()
      local value = {}
      for _ = 1, 31 do value = {value} end
      local text = assert(format.encode(value))
      assert.is_true((format.decode(text)))
      assert.is_true((format.decode(text, 1, {depth = 32})))
      local ok, problem = format.decode(text, 1, {depth = 31})
      assert.is_false(ok)
      assert.matches("^byte %d+: it is nested deeper than 31$", problem)
    end)

    it("a number of values, of which each counts", function()
      local text = assert(format.encode {1, {a = 2}, {3}})
      assert.is_true((format.decode(text, 1, {values = 6})))
      local ok, problem = format.decode(text, 1, {values = 5})
      assert.is_false(ok)
      assert.matches("too many values", problem)
    end)

    it("that number when references are followed", function()
      local value = {}
      for _ = 1, 10 do value = {value, value} end
      local text = assert(format.encode(value))
      assert.is_true((format.decode(text, 1, {values = 2 ^ 11 - 1})))
      assert.is_false((format.decode(text, 1, {values = 2 ^ 11 - 2})))
      for _ = 1, 16 do value = {value, value} end
      local ok, problem = format.decode(assert(format.encode(value)))
      assert.is_false(ok)
      assert.matches("too many values", problem)
    end)

    it("so much text by reference", function()
      local value, shared = {}, {("a"):rep(1000)}
      for i = 1, 100 do value[i] = shared end
      local text = assert(format.encode(value))
      assert.is_true((format.decode(text, 1, {text = 100000})))
      local ok, problem = format.decode(text, 1, {text = 90000})
      assert.is_false(ok)
      assert.matches("repeats too much text", problem)
    end)
  end)
end

-- Random values, and damaged bytes: some of what the fuzzer does.
it("AMF brings random values back, and reads damaged bytes", function()
  for seed = 1, 3 do assert(loadfile "spec/fuzz/amf.lua")(1000, seed, true) end
end)

-- The bombs are of 64 KiB, and may cost some megabytes.
describe("AMF bombs", function()
  local SIZE = 65536

  local function cost(format, text)
    collectgarbage()
    collectgarbage "stop"
    local before, time = collectgarbage "count", os.clock()
    local ok, result = format.decode(text)
    time = os.clock() - time
    local memory = collectgarbage "count" - before
    collectgarbage "restart"
    assert.is_true(memory < 16 * 1024, memory .. " KB")
    assert.is_true(time < 2, time .. " s")
    return ok, result
  end

  local function fill(first, repeated)
    return first .. repeated:rep(math.floor((SIZE - #first) / #repeated))
  end

  it("of counts come to nothing", function()
    for _, text in ipairs {"09ffffffff", "0dffffffff00", "0effffffff00", "0fffffffff00",
        "10ffffffff0001", "11ffffffff00", "0afffffff3" .. "01", "06ffffffff", "0cffffffff",
        "07ffffffff", "0bffffffff"} do
      local ok, problem = cost(amf3, bytes(text))
      assert.is_false(ok)
      assert.matches("cut short", problem)
      assert.is_false((cost(amf3, fill(bytes(text), "\1"))))
    end
    for _, text in ipairs {"0affffffff", "0cffffffff", "0fffffffff", "08ffffffff"} do
      assert.is_false((cost(amf0, bytes(text))))
      assert.is_false((cost(amf0, fill(bytes(text), "\5"))))
    end
  end)

  it("of depth end at the limit", function()
    assert.is_false((cost(amf3, fill("", "\9\3\1"))))
    assert.is_false((cost(amf0, fill("", "\10\0\0\0\1"))))
    assert.is_false((cost(amf0, fill("", "\3\0\1a"))))
    assert.is_false((cost(amf0, fill("", "\10\0\0\0\1\17\9\3\1"))))
  end)

  it("of small tables cost a few megabytes", function()
    local count = math.floor((SIZE - 5) / 3)
    local head = string.char(0x09, 0x80 + bit.rshift(count, 13),
      0x80 + bit.band(bit.rshift(count, 6), 0x7f), bit.band(count * 2 + 1, 0x7f), 1)
    local ok, value = cost(amf3, head .. ("\9\1\1"):rep(count))
    assert.is_true(ok)
    assert.equal(count, #value)
  end)

  it("of references to references are refused", function()
    local value = {}
    for _ = 1, 28 do value = {value, value, value, value, value} end
    for _, format in ipairs {amf0, amf3} do
      assert.is_false((cost(format, assert(format.encode(value)))))
    end
  end)

  it("of references to one long string are refused", function()
    local value = {("a"):rep(40000)}
    for i = 2, 10000 do value[i] = value[1] end
    local text = assert(amf3.encode(value))
    assert.is_true(#text < SIZE)
    local ok, problem = cost(amf3, text)
    assert.is_false(ok)
    assert.matches("repeats too much text", problem)
    value = {}
    for i = 1, 5000 do value[i] = amf.typed("A", {[("n"):rep(30000)] = i % 2}) end
    ok, problem = cost(amf3, assert(amf3.encode(value)))
    assert.is_false(ok)
    assert.matches("repeats too much text", problem)
  end)
end)
