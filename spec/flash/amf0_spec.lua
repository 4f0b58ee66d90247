-- The vectors are written by hand from Adobe's "Action Message Format -- AMF 0".

local amf = require "sync.amf"
local amf0 = require "sync.flash.amf0"

local DATE = "427373b3296fa000" -- 1336728000250
local ONE, TWO = "00 3ff0000000000000", "00 4000000000000000"

local function bytes(hex)
  return (hex:gsub("%s", ""):gsub("%x%x", function(pair)
    return string.char(tonumber(pair, 16))
  end))
end

local function hex(text)
  return (text:gsub(".", function(byte) return ("%02x"):format(byte:byte()) end))
end

local function decoded(text, limits)
  local ok, value, next = amf0.decode(bytes(text), 1, limits)
  assert(ok, value)
  assert.equal(#bytes(text) + 1, next)
  return value
end

local function problem(text, limits)
  local ok, message, next = amf0.decode(bytes(text), 1, limits)
  assert.is_false(ok)
  assert.is_nil(next)
  return message
end

local function encoded(value, options)
  return hex(assert(amf0.encode(value, options)))
end

-- What can be written in one way only.
local VECTORS = {
  {"a number", "00 bff8000000000000", -1.5},
  {"false", "01 00", false},
  {"true", "01 01", true},
  {"an empty string", "02 0000", ""},
  {"a string", "02 0003 68c3a9", "hé"},
  {"the longest string", "02 ffff" .. ("61"):rep(65535), ("a"):rep(65535)},
  {"the shortest long string", "0c 00010000" .. ("61"):rep(65536), ("a"):rep(65536)},
  {"an empty object", "03 0000 09", {}},
  {"an object", "03 0001 61" .. ONE .. "0000 09", {a = 1}},
  {"an object in another", "03 0001 61 03 0001 62 01 01 0000 09 0000 09", {a = {b = true}}},
  {"a member without a name", "03 0000" .. ONE .. "0000 09", {[""] = 1}},
  {"null", "05", amf.null},
  {"an array of names", "08 00000001 0001 61" .. ONE .. "0000 09", amf.list {a = 1}},
  {"an array", "0a 00000002" .. ONE .. TWO, {1, 2}},
  {"an empty array", "0a 00000000", amf.list {}},
  {"a date", "0b" .. DATE .. "0000", amf.date(1336728000250)},
  {"an XML document", "0f 00000004 3c612f3e", amf.xml "<a/>"},
  {"an object of a class", "10 0003 612e50 0001 78" .. ONE .. "0000 09", amf.typed("a.P", {x = 1})},
  {"one without members", "10 0001 50 0000 09", amf.typed("P", {})},
}

describe("AMF0", function()
  for _, vector in ipairs(VECTORS) do
    local name, text, value = unpack(vector)
    it("reads and writes " .. name, function()
      local result = decoded(text)
      assert.same(value, result)
      assert.equal(amf.kind(value), amf.kind(result))
      assert.equal(amf.className(value), amf.className(result))
      assert.equal((text:gsub(" ", "")), encoded(value))
    end)

    it("reads no part of " .. name, function()
      local whole = bytes(text)
      local step = #whole > 1000 and 997 or 1
      for length = 0, #whole - 1, step do
        local ok, message = amf0.decode(whole:sub(1, length))
        assert.is_false(ok)
        assert.matches("^byte %d+: it is cut short$", message)
      end
    end)
  end

  it("keeps the sign of 0, and what is not a number", function()
    assert.equal("008000000000000000", encoded(-0.0))
    assert.equal(-math.huge, 1 / decoded "008000000000000000")
    local nan = decoded(encoded(0 / 0))
    assert.is_true(nan ~= nan)
  end)

  it("reads undefined and unsupported values as null", function()
    assert.equal(amf.null, decoded "06")
    assert.equal(amf.null, decoded "0d")
    assert.equal("05", encoded(nil))
  end)

  it("takes any byte but 0 for true, and no notice of a date's time zone", function()
    assert.is_true(decoded "01 80")
    assert.equal(1336728000250, decoded("0b" .. DATE .. "ff88").milliseconds)
  end)

  it("reads an object whose class has no name as one without a class", function()
    assert.is_nil(getmetatable(decoded "10 0000 0000 09"))
  end)

  it("reads from a position, and says what is behind", function()
    local _, value, next = amf0.decode(bytes "ff 0101 05", 2)
    assert.same({true, 4}, {value, next})
  end)

  describe("associative arrays", function()
    it("are sequences when their names are 0 to n-1, whatever they say of their length", function()
      for _, count in ipairs {"00000000", "00000002", "ffffffff"} do
        assert.same({1, 2}, decoded("08" .. count .. "0001 30" .. ONE .. "0001 31" .. TWO ..
          "0000 09"))
      end
    end)

    it("may come in another order, and with their length", function()
      local first, second, length = "0001 30" .. ONE, "0001 31" .. TWO, "0006 6c656e677468" .. TWO
      for _, text in ipairs {first .. second .. length, length .. first .. second,
          second .. first, second .. length .. first, length .. second .. first} do
        local value = decoded("08 00000002" .. text .. "0000 09")
        assert.same({1, 2}, value)
        assert.equal(2, #value)
      end
    end)

    it("keep all names otherwise", function()
      local value = decoded("08 00000002 0001 30" .. ONE .. "0001 32" .. TWO .. "0000 09")
      assert.same({["0"] = 1, ["2"] = 2}, value)
      assert.equal("list", amf.kind(value))
      value = decoded("08 00000002 0001 30" .. ONE .. "0006 6c656e677468" .. TWO .. "0000 09")
      assert.same({["0"] = 1, length = 2}, value)
      assert.same({["00"] = 1}, decoded("08 00000001 0002 3030" .. ONE .. "0000 09"))
    end)

    it("keep the last of two with the same name", function()
      assert.same({["0"] = 2}, decoded("03 0001 30" .. ONE .. "0001 30" .. TWO .. "0000 09"))
      assert.same({2}, decoded("08 00000001 0001 30" .. ONE .. "0001 30" .. TWO .. "0000 09"))
    end)

    it("are empty arrays when they are empty", function()
      assert.equal("list", amf.kind(decoded "08 00000000 0000 09"))
      assert.same({}, decoded "08 00000005 0000 09")
    end)

    it("hold arrays within arrays", function()
      assert.same({{1}}, decoded("08 00000001 0001 30 08 00000001 0001 30" .. ONE ..
        "0000 09 0000 09"))
    end)

    it("are written for arrays with other names, items from 0 on", function()
      assert.equal(("08 00000002 0001 30" .. ONE .. "0001 78" .. TWO .. "0000 09"):gsub(" ", ""),
        (encoded(amf.list {1, x = 2})))
    end)
  end)

  describe("references", function()
    it("count objects and arrays in the order of their beginnings", function()
      local value = decoded [[0a 00000008
        03 0001 61 10 0001 50 0000 09 0000 09
        08 00000001 0001 61 05 0000 09
        0b 0000000000000000 0000
        0a 00000001 05
        07 0001 07 0002 07 0003 07 0004]]
      assert.equal(value[1], value[5])
      assert.equal(value[1].a, value[6])
      assert.equal(value[2], value[7])
      assert.equal(value[4], value[8])
      local shared = {1}
      assert.equal(("0a 00000002 0a 00000001" .. ONE .. "07 0001"):gsub(" ", ""),
        (encoded {shared, shared}))
    end)

    it("to what contains them are refused, or wanted", function()
      assert.matches("a value contains itself", problem "03 0001 61 07 0000 0000 09")
      local value = decoded("03 0001 61 07 0000 0000 09", {cyclic = true})
      assert.equal(value, value.a)
      assert.equal("03000161070000000009", encoded(value))
    end)

    it("may be refused altogether, and lead nowhere", function()
      local text = "0a 00000002 03 0000 09 07 0001"
      assert.same({{}, {}}, decoded(text))
      assert.matches("references are refused", problem(text, {references = false}))
      assert.matches("reference 2 leads nowhere", problem "0a 00000002 03 0000 09 07 0002")
    end)

    it("need not be written", function()
      local shared = {1}
      local item = "0a00000001" .. ONE:gsub(" ", "")
      assert.equal("0a00000002" .. item .. item, encoded({shared, shared}, {references = false}))
      local again = {}
      again.again = again
      assert.matches("nested deeper than 32", select(2, amf0.encode(again, {references = false})))
    end)

    it("reach the 65,536th table and no further", function()
      local last, beyond = {a = 1}, {a = 2}
      local value = {}
      for i = 1, 65534 do value[i] = {} end
      value[65535], value[65536] = last, last
      value[65537], value[65538], value[65539] = beyond, beyond, last
      local ok, result = amf0.decode(assert(amf0.encode(value)), 1, {values = 200000})
      assert(ok, result)
      assert.equal(65539, #result)
      assert.equal(result[65535], result[65536])
      assert.equal(result[65535], result[65539])
      assert.same(beyond, result[65538])
      assert.is_false(result[65537] == result[65538])
    end)
  end)

  describe("AMF3 in it", function()
    it("is one value", function()
      assert.same({5, 1}, decoded("0a 00000002 11 0405" .. ONE))
      assert.same({a = {b = 1}}, decoded "03 0001 61 11 0a0b01 0362 0401 01 0000 09")
      assert.same({false, "byte 2: it is cut short"}, {amf0.decode "\17"})
    end)

    it("shares references with other such values, and none with AMF0", function()
      assert.same({"a", "a"}, decoded "0a 00000002 11 060361 11 0600")
      local value = decoded "0a 00000002 11 0a0b0101 11 0a00"
      assert.equal(value[1], value[2])
      assert.matches("reference 1 leads nowhere", problem "0a 00000002 11 0a0b0101 07 0001")
    end)

    it("counts for the depth and the number of values", function()
      local text = "0a 00000001 11 090301 0401"
      assert.same({{1}}, decoded(text, {depth = 2, values = 4}))
      assert.matches("nested deeper than 1", problem(text, {depth = 1}))
      assert.matches("too many values", problem(text, {values = 3}))
    end)
  end)

  it("refuses what is never sent", function()
    assert.equal("byte 2: movie clips can't be sent", problem "04")
    assert.equal("byte 2: record sets can't be sent", problem "0e")
    for _, marker in ipairs {0x09, 0x12, 0xff} do
      assert.equal(("byte 2: there is no value with the marker 0x%02x"):format(marker),
        problem(("%02x"):format(marker)))
    end
    assert.matches("marker 0x09", problem "03 0001 61 09")
  end)

  it("says what it has no type for", function()
    assert.same({nil, "value[a]: AMF0 has no byte arrays"}, {amf0.encode {a = amf.bytes ""}})
    assert.same({nil, "value[1]: AMF0 has no vectors"}, {amf0.encode {amf.vector("int")}})
    assert.same({nil, "value: AMF0 has no dictionaries"}, {amf0.encode(amf.dictionary())})
    assert.equal("0f0000000161", encoded(amf.xml("a", "e4x")))
  end)

  it("refuses text that is not UTF-8 wherever it stands", function()
    for _, text in ipairs {"02 0001 ff", "0c 00000001 ff", "0f 00000001 ff", "10 0001 ff",
        "03 0001 ff 05 0000 09", "08 00000001 0001 ff 05 0000 09"} do
      assert.matches("not UTF%-8$", problem(text))
    end
    for _, value in ipairs {{"\255"}, {["\255"] = 1}, amf.typed("\255", {}), amf.xml "\255",
        amf.list {["\255"] = 1}} do
      assert.matches("not UTF%-8", select(2, amf0.encode(value)))
    end
  end)

  it("has no names that are longer than 65,535 bytes", function()
    local long = ("a"):rep(65536)
    assert.matches("a name is longer", select(2, amf0.encode {[long] = 1}))
    assert.matches("a name is longer", select(2, amf0.encode(amf.typed(long))))
    local _, value = amf0.decode(assert(amf0.encode {[long:sub(2)] = 1}))
    assert.same({[long:sub(2)] = 1}, value)
  end)
end)
