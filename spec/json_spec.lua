local amf = require "sync.amf"
local cjson = require "cjson"
local json = require "sync.json"
local sync = require "sync"

local function again(text)
  local ok, value = json.decode(text)
  return assert(json.encode(assert(ok and value, value)))
end

describe("JSON", function()
  it("comes back as it was", function()
    for _, text in ipairs {"[]", "{}", "[[],{},[[]]]", '{"a":[]}', '{"a":{"b":[{}]}}', "[null,1]",
      "[true,false,null]", '""', '"\\u0000\\n\\"\\\\/é🎉"', "[[1,2],[3]]", "0", "-1.5"} do
      assert.equal(text, again(text))
    end
  end)

  it("keeps numbers", function()
    for _, text in ipairs {"1732900000123456", "9007199254740992", "-9007199254740991", "0.1",
      "3.141592653589793", "0.30000000000000004", "1e+21", "-0", "100000000000000", "123.45"} do
      assert.equal(text, again(text))
    end
    local ok, value = json.decode "5e-324"
    assert.is_true(ok and value > 0 and select(2, json.decode(json.encode(value))) == value)
  end)

  it("writes a list that is marked, empty or not", function()
    assert.equal("[]", json.encode(sync.list()))
    assert.equal("[1,null,3]", json.encode(sync.list {1, nil, 3}))
    assert.equal("[]", json.encode(amf.list()))
    assert.equal("[]", json.encode(amf.vector("int")))
    assert.equal('{"name":1}', json.encode(amf.list {name = 1}))
    assert.has_error(function() sync.list(5) end,
      "sync.list(items): it takes a table, not number")
  end)

  it("writes what looks like a list as one, unless most of it is holes", function()
    assert.equal("[1,2]", json.encode {1, 2})
    assert.equal("[null,2]", json.encode {[2] = 2})
    assert.equal('{"65":1}', json.encode {[65] = 1})
    assert.equal("{}", json.encode {})
    assert.equal('{"0":1}', json.encode {[0] = 1})
    assert.equal('{"1.5":1}', json.encode {[1.5] = 1})
  end)

  it("says what it can't write", function()
    local cycle = {}
    cycle.a = cycle
    for message, value in pairs {
      ["a function is no value of JSON"] = {print},
      ["a number in it is not finite"] = {0 / 0},
      ["a boolean can't be the name of a member"] = {[true] = 1},
      ["tables are nested more than 64 deep"] = cycle,
      ["a string in it is not UTF-8"] = {"\255"},
    } do
      local text, problem = json.encode(value)
      assert.is_nil(text)
      assert.equal(message, problem)
    end
    assert.equal("[1]", json.encode {1}) -- the next one is none the worse
  end)

  -- cjson reads the same, but for what it says of numbers that no double holds, and of NUL.
  it("takes and refuses what cjson does, with the same values", function()
    local pieces = {"[", "]", "{", "}", ",", ":", '"a"', '"\\u00e9"', "1", "-2.5", "1e3", "null",
      "true", " ", '"', "\\", "01", "[]", "{}", '{"a":', "[1,", '"b":', "tru", "-", "."}
    local strict = cjson.new()
    strict.decode_invalid_numbers(false)
    math.randomseed(7)
    local taken = 0
    for _ = 1, 60000 do
      local parts = {}
      for i = 1, math.random(1, 8) do parts[i] = pieces[math.random(#pieces)] end
      local text = table.concat(parts)
      local ok, value = json.decode(text)
      local fine, wanted = pcall(strict.decode, text)
      -- cjson takes "-.5", which is none, and reads infinity where a number is too large.
      if not text:find("%-%.") and not text:find("e%d%d%d") then assert.equal(fine, ok, text) end
      if fine and ok then
        taken = taken + 1
        assert.same(wanted, value, text)
      end
    end
    assert.is_true(taken > 1000)
  end)

  it("is refused with the place of what is wrong", function()
    for text, message in pairs {["[1,]"] = "this is no value, at byte 4",
      ["{\"a\" 1}"] = "a colon is missing, at byte 6",
      ["[[1]"] = "a comma or an end is missing, at byte 5"} do
      local ok, problem = json.decode(text)
      assert.is_false(ok)
      assert.equal("this is no JSON: " .. message, problem)
    end
  end)
end)
