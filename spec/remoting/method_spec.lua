local Rpc = require "sync.remoting.jsonrpc"
local cjson = require "cjson"
local method = require "sync.remoting.method".declare
local support = require "spec.support"
local sync = require "sync"

local null = sync.null

-- A function that calls one with declared arguments as a client does, with params as a JSON
-- text. It returns the arguments that were let through and how many, or nil and the error.
local function caller(...)
  local seen
  local given = {...}
  given[#given + 1] = function(_, ...)
    seen = {...}
    return select("#", ...)
  end
  local class = support.protocol(nil, Rpc)
  class.remote.f = method(unpack(given))
  local client = support.connect(class)
  return function(params)
    seen = nil
    client:send(('{"jsonrpc":"2.0","id":1,"method":"f"%s}\0')
      :format(params and ',"params":' .. params or ""))
    local answer = cjson.decode((client:received():gsub("%z$", "")))
    if answer.error then
      assert.is_nil(seen, "the function was called all the same")
      assert.equal(-32602, answer.error.code)
      return nil, answer.error.message
    end
    return seen, answer.result
  end
end

describe("method", function()
  after_each(support.cleanUp)

  -- What each type lets through, what it does not, and how the refusal ends.
  local TYPES = {
    number = {
      fine = {"0", "-1.5", "1e300", "9007199254740993", "-0"},
      wrong = {['"1"'] = "be a number, and is a string", ["true"] = "be a number, and is true",
        ["[1]"] = "be a number, and is a list", ['{"a":1}'] = "be a number, and is an object",
        ["null"] = "be a number, and is missing"},
    },
    integer = {
      fine = {"0", "-7", "3.0", "1e3", "9007199254740992", "-9007199254740992"},
      wrong = {["1.5"] = "be a whole number, and is 1.5",
        ["1e300"] = "be a whole number, and is 1e+300",
        ["9007199254740994"] = "be a whole number",
        ['"3"'] = "be a whole number, and is a string",
        ["false"] = "be a whole number, and is false", ["[]"] = "be a whole number, and is a list",
        ["null"] = "be a whole number, and is missing"},
    },
    string = {
      fine = {'""', '"x"', '"é\\u0000"', '"null"'},
      wrong = {["1"] = "be a string, and is 1", ["true"] = "be a string, and is true",
        ['["x"]'] = "be a string, and is a list", ["null"] = "be a string, and is missing",
        ['{"x":1}'] = "be a string, and is an object"},
    },
    boolean = {
      fine = {"true", "false"},
      wrong = {["0"] = "be true or false, and is 0",
        ['"true"'] = "be true or false, and is a string",
        ["[]"] = "be true or false, and is a list", ["null"] = "be true or false, and is missing"},
    },
    list = {
      fine = {"[]", "[1]", "[null]", "[null,null]", '["a",{"b":1},[]]', "{}"},
      wrong = {['{"a":1}'] = "be a list, and is an object", ['"[]"'] = "be a list, and is a string",
        ['{"1":1}'] = "be a list, and is an object", ["1"] = "be a list, and is 1",
        ["null"] = "be a list, and is missing"},
    },
    table = {
      fine = {"{}", '{"a":1}', '{"1":1}', '{"a":null}', "[]"},
      wrong = {["[1]"] = "be an object, and is a list", ["[null]"] = "be an object, and is a list",
        ['"{}"'] = "be an object, and is a string", ["5"] = "be an object, and is 5",
        ["null"] = "be an object, and is missing"},
    },
    any = {
      fine = {"0", '""', "false", "[]", "{}", "[null]"},
      wrong = {["null"] = "be given"},
    },
  }

  it("lets no number through that is infinite or none, which only AMF can say", function()
    for _, kind in ipairs {"number", "integer"} do
      local declared = sync.method("x: " .. kind, function() end)
      for _, value in ipairs {1 / 0, -1 / 0, 0 / 0} do
        assert.matches("^argument 1 %(x%) must be a .*number, and is %-?[in][na][fn]$",
          declared:problem({value}, 1))
      end
    end
  end)

  for kind, cases in pairs(TYPES) do
    it("lets " .. kind .. " through", function()
      local f = caller("value: " .. kind)
      for _, text in ipairs(cases.fine) do
        local seen, count = f("[" .. text .. "]")
        assert.same({cjson.decode(text)}, seen, text)
        assert.equal(1, count)
        assert.same({cjson.decode(text)}, (f('{"value":' .. text .. "}")), text)
      end
    end)

    it("refuses what is not " .. kind .. ", and names it", function()
      local f = caller("first: any?", "value: " .. kind)
      for text, problem in pairs(cases.wrong) do
        for _, params in ipairs {"[0," .. text .. "]", '{"value":' .. text .. "}"} do
          local _, message = f(params)
          assert.equal(1, message:find("argument 2 (value) must " .. problem, 1, true),
            params .. ": " .. message)
        end
      end
      assert.matches("^argument 2 %(value%) must be", select(2, f()))
      assert.matches("^argument 2 %(value%) must be", select(2, f("[]")))
    end)
  end

  it("lets arguments with a ? be left out or null, but not be of another type", function()
    local f = caller("a: number", "b: string?", "c: integer?")
    for _, params in ipairs {"[1]", "[1,null]", "[1,null,null]", '{"a":1}', '{"a":1,"b":null}'} do
      assert.same({1}, (f(params)))
    end
    assert.same({1, "x"}, (f('[1,"x"]')))
    local seen, count = f("[1,null,3]")
    assert.same({1, nil, 3}, seen)
    assert.equal(3, count)
    assert.same({1, nil, 3}, (f('{"c":3,"a":1}')))
    assert.equal("argument 2 (b) must be a string, and is 2", select(2, f("[1,2]")))
    assert.equal("argument 3 (c) must be a whole number, and is a string",
      select(2, f('[1,null,"x"]')))
  end)

  it("refuses more arguments than there are, and unknown names", function()
    local f = caller("a: number?", "b: number?")
    assert.equal("3 arguments were given, and it takes 2", select(2, f("[1,2,3]")))
    assert.equal("3 arguments were given, and it takes 2", select(2, f("[null,null,null]")))
    assert.equal('there is no argument "c"', select(2, f('{"a":1,"c":2}')))
    assert.equal('there is no argument "A"', select(2, f('{"A":1}')))
    assert.equal('there is no argument "1"', select(2, f('{"1":1}')))
    assert.equal('there is no argument "__index"', select(2, f('{"__index":1}')))
    assert.equal("1 arguments were given, and it takes 0", select(2, caller()("[1]")))
    assert.same({}, (caller()("[]")))
  end)

  it("lets nulls stay within lists and objects", function()
    local f = caller("list: list", "object: table")
    assert.same({{1, null}, {a = null}}, (f('[[1,null],{"a":null}]')))
  end)

  it("takes spaces as they come", function()
    assert.same({1}, (caller("  a:number? ")("[1]")))
    assert.same({1}, (caller("_a1 :  number")("[1]")))
  end)

  describe("says what is wrong with a declaration:", function()
    local function fn() end

    it("its form, or its type", function()
      for _, wrong in ipairs {"", "a", "a:", ": number", "a number", "a: int", "a: Number",
        "1a: number", "a b: number", "a: number??", "a: number|string", "a?: number", 5, false} do
        assert.matches('is not "name: type"', support.raised(method, wrong, fn))
      end
    end)

    it("the function that is missing", function()
      for _, given in ipairs {{}, {"a: number"}, {fn, "a: number"}, {"a: number", {rate = 1}}} do
        assert.matches("the last argument must be the function",
          support.raised(method, unpack(given)))
      end
    end)

    it("its options", function()
      for _, options in ipairs {{rate = 0}, {rate = -1}, {rate = "1"}, {burst = 0, rate = 1},
        {rates = 1}, {rate = 1, brust = 2}, {1}, {rate = true}} do
        assert.matches("must be rate or burst, a number above 0",
          support.raised(method, options, fn))
      end
      for _, options in ipairs {{burst = 5}, {rate = 1, burst = 0.5}} do
        assert.matches("burst must be 1 or more, and stand beside a rate",
          support.raised(method, options, fn))
      end
    end)

    it("and where it stands", function()
      local _, message = pcall(function() method("a: int", fn) end)
      assert.matches("method_spec%.lua:%d+: sync%.method", message)
    end)
  end)
end)
