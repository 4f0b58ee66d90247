-- The vectors are written by hand from Adobe's "AMF 3 Specification" (January 2013).

local amf = require "sync.amf"
local amf3 = require "sync.flash.amf3"

local function bytes(hex)
  return (hex:gsub("%s", ""):gsub("%x%x", function(pair)
    return string.char(tonumber(pair, 16))
  end))
end

local function hex(text)
  return (text:gsub(".", function(byte) return ("%02x"):format(byte:byte()) end))
end

local function decoded(text, limits)
  local ok, value, next = amf3.decode(bytes(text), 1, limits)
  assert(ok, value)
  assert.equal(#bytes(text) + 1, next)
  return value
end

local function problem(text, limits)
  local ok, message, next = amf3.decode(bytes(text), 1, limits)
  assert.is_false(ok)
  assert.is_nil(next)
  return message
end

local function encoded(value, options)
  return hex(assert(amf3.encode(value, options)))
end

local COLLECTION = hex "flex.messaging.io.ArrayCollection"
local PROXY = hex "flex.messaging.io.ObjectProxy"

-- What can be written in one way only.
local VECTORS = {
  {"false", "02", false},
  {"true", "03", true},
  {"null", "01", amf.null},
  {"0", "0400", 0},
  {"127, the largest of 1 byte", "047f", 127},
  {"128, the smallest of 2", "048100", 128},
  {"16383, the largest of 2", "04ff7f", 16383},
  {"16384, the smallest of 3", "04818000", 16384},
  {"2097151, the largest of 3", "04ffff7f", 2097151},
  {"2097152, the smallest of 4", "0480c08000", 2097152},
  {"268435455, the largest integer", "04bfffffff", 268435455},
  {"268435456, a double", "0541b0000000000000", 268435456},
  {"-1", "04ffffffff", -1},
  {"-268435456, the smallest integer", "04c0808000", -268435456},
  {"-268435457, a double", "05c1b0000001000000", -268435457},
  {"1.5", "053ff8000000000000", 1.5},
  {"infinity", "057ff0000000000000", math.huge},
  {"an empty string", "0601", ""},
  {"a string", "060768c3a9", "hé"},
  {"a long string", "06 8401" .. ("61"):rep(256), ("a"):rep(256)},
  {"an XML document", "07 09 3c612f3e", amf.xml("<a/>", "document")},
  {"a date", "08 01 427373b3296fa000", amf.date(1336728000250)},
  {"a collection", "0a 07 43" .. COLLECTION .. "09 05 01 0401 0402", amf.collection {1, 2}},
  {"an empty collection", "0a 07 43" .. COLLECTION .. "09 01 01", amf.collection()},
  {"a proxy", "0a 07 3b" .. PROXY .. "0a 0b 01 0361 0401 01", amf.proxy {a = 1}},
  {"two collections", "09 05 01 0a 07 43" .. COLLECTION .. "09 03 01 0401 0a 01 09 03 01 0402",
    {amf.collection {1}, amf.collection {2}}},
  {"an empty array", "09 01 01", amf.list {}},
  {"an array", "09 05 01 0401 0402", {1, 2}},
  {"an array of names", "09 01 03 61 0401 01", amf.list {a = 1}},
  {"an empty object", "0a 0b 01 01", {}},
  {"an object", "0a 0b 01 03 61 0401 01", {a = 1}},
  {"an object of a class", "0a 23 03 50 03 78 03 79 0401 0402", amf.typed("P", {x = 1, y = 2})},
  {"one without members", "0a 03 03 50", amf.typed("P")},
  {"XML", "0b 09 3c612f3e", amf.xml("<a/>", "e4x")},
  {"bytes", "0c 07 00ff80", amf.bytes "\0\255\128"},
  {"no bytes", "0c 01", amf.bytes ""},
  {"a vector of int", "0d 05 00 00000001 fffffffe", amf.vector("int", {1, -2})},
  {"a fixed vector of uint", "0e 05 01 00000001 ffffffff",
    amf.vector("uint", {1, 2 ^ 32 - 1}, true)},
  {"a vector of double", "0f 03 00 3ff8000000000000", amf.vector("double", {1.5})},
  {"a vector of objects", "10 05 00 03 50 01 0a 03 00",
    amf.vector("object", {amf.null, amf.typed "P"}, false, "P")},
  {"a dictionary", "11 03 00 0401 02", amf.dictionary {[1] = false}},
  {"an empty dictionary", "11 01 00", amf.dictionary {}},
  {"empty strings, which are never referred to", "09 09 01 0601 0603 61 0601 0600",
    {"", "a", "", "a"}},
  {"a string twice", "09 05 01 06 03 61 06 00", {"a", "a"}},
  {"the traits of a class twice", "09 05 01 0a 13 03 50 03 78 0401 0a 01 0402",
    {amf.typed("P", {x = 1}), amf.typed("P", {x = 2})}},
  {"those of no class twice", "09 05 01 0a 0b 01 01 0a 01 01", {{}, {}}},
}

describe("AMF3", function()
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
      for length = 0, #whole - 1 do
        local ok, message = amf3.decode(whole:sub(1, length))
        assert.is_false(ok)
        assert.matches("^byte %d+: it is cut short$", message)
      end
    end)
  end

  it("keeps the sign of 0, and what is not a number", function()
    assert.equal("058000000000000000", encoded(-0.0))
    assert.equal(-math.huge, 1 / decoded "058000000000000000")
    local nan = decoded "057ff8000000000000"
    assert.is_true(nan ~= nan)
    nan = decoded "0f0300fffe000012345678"[1]
    assert.is_true(type(nan) == "number" and nan ~= nan)
    nan = decoded(encoded(0 / 0))
    assert.is_true(nan ~= nan)
  end)

  it("reads undefined as null, and nil is written as null", function()
    assert.equal(amf.null, decoded "00")
    assert.same({amf.null, amf.null}, decoded "0905010001")
    assert.equal("01", encoded(nil))
  end)

  it("reads integers in more bytes than they need", function()
    assert.equal(1, decoded "04 80808001")
    assert.equal(1, decoded "04 8001")
  end)

  it("reads from a position, and says what is behind", function()
    local text = bytes "ff 0401 03"
    local _, value, next = amf3.decode(text, 2)
    assert.same({1, 4}, {value, next})
    assert.same({true, true, 5}, {amf3.decode(text, next)})
    assert.same({false, "byte 5: it is cut short"}, {amf3.decode(text, 5)})
    assert.same({false, "byte 100: it is cut short"}, {amf3.decode(text, 100)})
  end)

  it("raises errors for misuse only", function()
    assert.has_error(function() amf3.decode() end,
      "decode(bytes, position, limits): it takes a string, not nil")
    assert.has_error(function() amf3.decode("", 0) end,
      "decode(bytes, position, limits): the position is a whole number from 1 on")
  end)

  describe("arrays", function()
    it("are sequences when their names are 0 to n-1", function()
      assert.same({7, 8}, decoded "0901 0330 0407 0331 0408 01")
    end)

    it("keep other names, and items under theirs", function()
      local value = decoded "0905 0378 0409 01 0407 0408"
      assert.same({["0"] = 7, ["1"] = 8, x = 9}, value)
      assert.equal("list", amf.kind(value))
    end)

    it("are sequences again when only a length was among the names", function()
      assert.same({7, 8}, decoded "0905 0d6c656e677468 0402 01 0407 0408")
      assert.same({["0"] = 7, length = 9}, decoded "0903 0d6c656e677468 0409 01 0407")
    end)

    it("with names are written with items first from 1 on", function()
      assert.equal("0903 0378 0409 01 0407", (encoded(amf.list {7, x = 9})
        :gsub("^(....)(....)(....)(..)(....)$", "%1 %2 %3 %4 %5")))
      assert.equal("090101", encoded(amf.list {}))
    end)
  end)

  describe("objects", function()
    it("have sealed and dynamic members", function()
      local value = decoded "0a 1b 03 50 03 78 0401 03 79 0402 01"
      assert.same({x = 1, y = 2}, value)
      assert.equal("P", amf.className(value))
    end)

    it("without a class may be sealed", function()
      local value = decoded "0a 13 01 03 78 0401"
      assert.same({x = 1}, value)
      assert.is_nil(getmetatable(value))
    end)

    it("refer to traits in the order in which these came", function()
      local value = decoded [[09 07 01
        0a 13 03 41 03 78 0a 13 03 42 03 79 0401
        0a 05 0402
        0a 01 0403]]
      assert.same({{x = {y = 1}}, {y = 2}, {x = 3}}, value)
      assert.equal("B", amf.className(value[1].x))
      assert.equal("B", amf.className(value[2]))
      assert.equal("A", amf.className(value[3]))
      assert.matches("reference 1 leads to no traits", problem "0a 05")
    end)

    it("of externalizable classes are refused by name", function()
      assert.equal("byte 6: class abc is externalizable, which only its program can read",
        (problem "0a 07 07 616263 01"):gsub("byte %d+", "byte 6"))
    end)

    it("have no empty names", function()
      assert.same({nil, "value[a][]: AMF3 has no members with an empty name"},
        {amf3.encode {a = {[""] = 1}}})
    end)
  end)

  describe("references", function()
    it("to strings count values, names and classes, but no empty ones", function()
      assert.same({"", "a", {b = "a"}, "b", "P", "a"},
        decoded "090d01 0601 0603 61 0a13 0350 0362 0600 0604 0602 0600")
      assert.matches("reference 1 leads to no string", problem "090501 060361 0602")
    end)

    it("give the same table again", function()
      local value = decoded "090501 0a0b01 0361 0401 01 0a02"
      assert.equal(value[1], value[2])
      local shared = {a = 1}
      assert.equal("0905010a0b01036104010" .. "10a02", encoded {shared, shared})
    end)

    it("count all that has them, in the order of their beginnings", function()
      local value = decoded [[09 19 01
        08 01 0000000000000000  08 02
        0b 03 61                0b 04
        0c 03 00                0c 06
        0d 03 00 00000001       0d 08
        10 01 00 01             10 0a
        11 01 00                11 0c]]
      for i = 1, 11, 2 do assert.equal(value[i], value[i + 1]) end
      assert.equal("a", value[3].text)
    end)

    it("are written for all of these", function()
      for _, item in ipairs {amf.date(0), amf.xml "a", amf.xml("a", "e4x"), amf.bytes "a",
          amf.vector("int"), amf.vector("object"), amf.dictionary(), amf.list(),
          amf.typed "A", {}} do
        local text = assert(amf3.encode {item, item})
        assert.equal("02", hex(text):sub(-2))
        local _, value = amf3.decode(text)
        assert.equal(value[1], value[2])
      end
    end)

    it("to what contains them are refused, or wanted", function()
      assert.matches("^byte %d+: a value contains itself$", problem "0a0b01 0361 0a00 01")
      local value = decoded("0a0b01 0361 0a00 01", {cyclic = true})
      assert.equal(value, value.a)
      assert.equal("0a0b0103610a0001", encoded(value))
      value = decoded("1103 00 0a0b0101 1100", {cyclic = true})
      assert.equal(value, select(2, next(value)))
    end)

    it("may be refused altogether", function()
      assert.matches("references are refused",
        problem("090501 0a0b0101 0a02", {references = false}))
      assert.same({"a", "a"}, decoded("090501 060361 0600", {references = false}))
    end)

    it("lead nowhere", function()
      assert.matches("reference 5 leads nowhere", problem "090301 0a0a")
    end)

    it("need not be written", function()
      local shared = amf.typed("A", {b = "b"})
      local text = encoded({shared, shared, "b"}, {references = false})
      assert.equal("09070" .. "1" .. ("0a1303410362060362"):rep(2) .. "060362", text)
      local again = {}
      again.again = again
      assert.matches("nested deeper than 32", select(2, amf3.encode(again, {references = false})))
    end)
  end)

  describe("dictionaries", function()
    it("keep keys of any type", function()
      local value = decoded "1109 01 0401 02 060331 03 0a0b0101 0401 01 0402"
      assert.is_false(value[1])
      assert.is_true(value["1"])
      assert.equal(2, value[amf.null])
      local key
      for k in pairs(value) do key = type(k) == "table" and k or key end
      assert.equal(1, value[key])
      local _, again = amf3.decode(amf3.encode(value))
      assert.equal("dictionary", amf.kind(again))
      assert.is_false(again[1])
    end)

    it("have no key that is not a number", function()
      assert.matches("a key is not a number", problem "1103 00 057ff8000000000000 01")
    end)

    -- A client can choose numbers that LuaJIT's hash puts into one chain.
    it("have few keys that are numbers which may collide, in all of a message", function()
      local function keyed(first, count, step)
        local value = amf.dictionary {}
        for i = 0, count - 1 do value[first + i * step] = true end
        return value
      end
      local function read(...) return amf3.decode(assert(amf3.encode {...})) end
      assert.is_true((read(keyed(0, 30000, 1))))
      for _, wrong in ipairs {{0.5, 1}, {0x10000, 1}, {-1, -1}, {1e300, 1e299}} do
        local first, step = unpack(wrong)
        assert.is_true((read(keyed(first, 256, step))))
        local ok, why = read(keyed(first, 257, step))
        assert.is_false(ok)
        assert.matches("more than 256 keys are numbers", why)
        assert.is_false((read(keyed(first, 200, step), keyed(first, 57, step))))
      end
    end)
  end)

  it("says which item of a vector is wrong", function()
    for kind, item in pairs {int = 2 ^ 31, uint = -1, double = "1"} do
      assert.same({nil, "value[v]: item 2 of the vector is not of type " .. kind},
        {amf3.encode {v = amf.vector(kind, {1, item})}})
    end
  end)

  it("refuses text that is not UTF-8 wherever it stands", function()
    for _, text in ipairs {"0603ff", "0703ff", "0b03ff", "0a0b03ff01", "0a0b0103ff0101",
        "0a1301 03ff 01", "090103ff0101", "100100 03ff"} do
      assert.matches("not UTF%-8$", problem(text))
    end
    for _, value in ipairs {{"\255"}, {a = {["\255"] = 1}}, amf.typed("\255", {a = 1}),
        amf.xml "\255", amf.vector("object", {}, false, "\255")} do
      assert.matches("not UTF%-8", select(2, amf3.encode(value)))
    end
  end)

  it("refuses markers that there are not", function()
    for marker = 0x12, 0xff do
      assert.equal(("byte 2: there is no marker 0x%02x"):format(marker),
        problem(("%02x"):format(marker)))
    end
  end)
end)
