local Rpc = require "sync.remoting.jsonrpc"
local cjson = require "cjson"
local fault = require "sync.remoting.fault".new
local loop = require "sync.loop"
local method = require "sync.remoting.method".declare
local support = require "spec.support"
local sync = require "sync"
local testing = require "sync.testing"

local null = sync.null

-- A class with these functions, and a client of it.
local function serve(remote, fields)
  local class = support.protocol(fields, Rpc)
  for name, fn in pairs(remote or {}) do class.remote[name] = fn end
  return support.connect(class), class
end

-- What the client was sent, as texts.
local function texts(client)
  local list = {}
  for text in client:received():gmatch("(%Z*)%z") do list[#list + 1] = text end
  return list
end

-- Sends a text. Returns what is answered: the one message decoded, or nil when there's none.
local function ask(client, text)
  client:send(text .. "\0")
  local list = texts(client)
  assert(#list <= 1, "several messages: " .. table.concat(list, " "))
  return list[1] and cjson.decode(list[1])
end

-- Calls a function with params as a JSON text. Returns its result, or nil and the error.
local function call(client, name, params)
  local answer = ask(client, ('{"jsonrpc":"2.0","id":1,"method":%s%s}')
    :format(cjson.encode(name), params and ',"params":' .. params or ""))
  assert.equal("2.0", answer.jsonrpc)
  assert.equal(1, answer.id)
  return answer.result, answer.error
end

-- The code of the error that a text is answered with, whose id is null.
local function code(client, text)
  local answer = ask(client, text)
  assert.equal("2.0", answer.jsonrpc)
  assert.equal(null, answer.id)
  assert.is_nil(answer.result)
  assert.is_string(answer.error.message)
  return answer.error.code, answer.error.message
end

local function failure(id, errorCode, message)
  return {jsonrpc = "2.0", id = id, error = {code = errorCode, message = message}}
end

local NOT_A_REQUEST = "this is no request of JSON-RPC 2.0"

describe("protocols.jsonrpc", function()
  after_each(support.cleanUp)

  it("takes no more calls in a tick for coming in batches", function()
    local calls, most, all = 0, 0, 0
    local function ended() most, calls = math.max(most, calls), 0 end
    local client = serve {count = function()
      calls, all = calls + 1, all + 1
      loop.atEnd(ended)
    end}
    local batch = "[" .. ('{"jsonrpc":"2.0","method":"count"},'):rep(63) ..
      '{"jsonrpc":"2.0","method":"count"}]\0'
    client:send(batch:rep(25))
    assert.equal(25 * 64, all)
    assert.is_true(most <= 1024)
  end)

  describe("the examples of the specification", function()
    local client, updated

    before_each(function()
      updated = {}
      client = serve {
        subtract = method("minuend: number", "subtrahend: number",
          function(_, a, b) return a - b end),
        update = function(_, ...) updated[#updated + 1] = {...} end,
        sum = function(_, ...)
          local sum = 0
          for i = 1, select("#", ...) do sum = sum + select(i, ...) end
          return sum
        end,
        notify_hello = function() end,
        get_data = function() return {"hello", 5} end,
      }
    end)

    -- The examples as they stand there: what is sent, and what comes back.
    local EXAMPLES = {
      {"positional parameters",
        '{"jsonrpc": "2.0", "method": "subtract", "params": [42, 23], "id": 1}',
        {jsonrpc = "2.0", result = 19, id = 1}},
      {"positional parameters, the other way round",
        '{"jsonrpc": "2.0", "method": "subtract", "params": [23, 42], "id": 2}',
        {jsonrpc = "2.0", result = -19, id = 2}},
      {"named parameters", '{"jsonrpc": "2.0", "method": "subtract", ' ..
        '"params": {"subtrahend": 23, "minuend": 42}, "id": 3}',
        {jsonrpc = "2.0", result = 19, id = 3}},
      {"named parameters in another order", '{"jsonrpc": "2.0", "method": "subtract", ' ..
        '"params": {"minuend": 42, "subtrahend": 23}, "id": 4}',
        {jsonrpc = "2.0", result = 19, id = 4}},
      {"a notification", '{"jsonrpc": "2.0", "method": "update", "params": [1,2,3,4,5]}'},
      {"a notification of what does not exist", '{"jsonrpc": "2.0", "method": "foobar"}'},
      {"a call of what does not exist", '{"jsonrpc": "2.0", "method": "foobar", "id": "1"}',
        failure("1", -32601, 'there is no function "foobar"')},
      {"invalid JSON",
        '{"jsonrpc": "2.0", "method": "foobar, "params": "bar", "baz]', -32700},
      {"an invalid request", '{"jsonrpc": "2.0", "method": 1, "params": "bar"}',
        failure(null, -32600, NOT_A_REQUEST)},
      {"a batch of invalid JSON", '[{"jsonrpc": "2.0", "method": "sum", "params": [1,2,4], ' ..
        '"id": "1"},{"jsonrpc": "2.0", "method"]', -32700},
      {"an empty batch", '[]', failure(null, -32600, "the batch is empty")},
      {"an invalid batch that is not empty", '[1]', {failure(null, -32600, NOT_A_REQUEST)}},
      {"an invalid batch", '[1,2,3]', {failure(null, -32600, NOT_A_REQUEST),
        failure(null, -32600, NOT_A_REQUEST), failure(null, -32600, NOT_A_REQUEST)}},
      {"a batch", [[[
        {"jsonrpc": "2.0", "method": "sum", "params": [1,2,4], "id": "1"},
        {"jsonrpc": "2.0", "method": "notify_hello", "params": [7]},
        {"jsonrpc": "2.0", "method": "subtract", "params": [42,23], "id": "2"},
        {"foo": "boo"},
        {"jsonrpc": "2.0", "method": "foo.get", "params": {"name": "myself"}, "id": "5"},
        {"jsonrpc": "2.0", "method": "get_data", "id": "9"}]
      ]], {
        {jsonrpc = "2.0", result = 7, id = "1"},
        {jsonrpc = "2.0", result = 19, id = "2"},
        failure(null, -32600, NOT_A_REQUEST),
        failure("5", -32601, 'there is no function "foo.get"'),
        {jsonrpc = "2.0", result = {"hello", 5}, id = "9"},
      }},
      {"a batch of notifications", '[{"jsonrpc": "2.0", "method": "notify_sum", ' ..
        '"params": [1,2,4]},{"jsonrpc": "2.0", "method": "notify_hello", "params": [7]}]'},
    }

    for _, example in ipairs(EXAMPLES) do
      local what, sent, wanted = unpack(example)
      it(what, function()
        support.bothWays(function(feed, how)
          feed(client, sent .. "\0")
          local list = texts(client)
          if wanted == nil then
            assert.same({}, list, how)
            return
          end
          assert.equal(1, #list, how)
          local answer = cjson.decode(list[1])
          if wanted == -32700 then
            assert.equal(-32700, answer.error.code, how)
            assert.equal(null, answer.id, how)
          else
            assert.same(wanted, answer, how)
          end
        end)
      end)
    end

    it("a notification is carried out", function()
      ask(client, '{"jsonrpc": "2.0", "method": "update", "params": [1,2,3,4,5]}')
      assert.same({{1, 2, 3, 4, 5}}, updated)
    end)
  end)

  describe("ids", function()
    -- An id as it is sent, and as it must come back.
    local KEPT = {["0"] = "0", ["-7"] = "-7", ["3.0"] = "3", ["1e3"] = "1000",
      ["9007199254740992"] = "9007199254740992", ["-9007199254740992"] = "-9007199254740992",
      ["123456789012345"] = "123456789012345", ["null"] = "null", ['""'] = '""', ['"1"'] = '"1"',
      ['"é \\u0000 \\" 漢"'] = '"é \\u0000 \\" 漢"', ['"' .. ("x"):rep(128) .. '"'] =
      '"' .. ("x"):rep(128) .. '"'}

    it("come back as they were, whole numbers exact", function()
      local client = serve {f = function() return 1 end}
      for sent, back in pairs(KEPT) do
        client:send(('{"jsonrpc":"2.0","id":%s,"method":"f"}\0'):format(sent))
        assert.same({('{"jsonrpc":"2.0","id":%s,"result":1}'):format(back)}, texts(client))
        client:send(('{"jsonrpc":"2.0","id":%s,"method":"g"}\0'):format(sent))
        assert.equal(1, (texts(client)[1] or ""):find(('{"jsonrpc":"2.0","id":%s,"error":')
          :format(back), 1, true))
      end
    end)

    it("of another kind, or too long, are refused, and the function isn't called", function()
      local called = false
      local client = serve {f = function() called = true end}
      for _, id in ipairs {"1.5", "9007199254740994", "true", "false", "[1]", '{"a":1}',
        '"' .. ("x"):rep(129) .. '"'} do
        assert.equal(-32600, (code(client, ('{"jsonrpc":"2.0","id":%s,"method":"f"}'):format(id))))
      end
      assert.is_false(called)
    end)

    it("may be the same for several calls: each is carried out and answered", function()
      local count = 0
      local client = serve {f = function()
        count = count + 1
        return count
      end}
      local one = '{"jsonrpc":"2.0","id":4,"method":"f"}'
      client:send(one .. "\0" .. one .. "\0[" .. one .. "," .. one .. "]\0")
      assert.same({'{"jsonrpc":"2.0","id":4,"result":1}', '{"jsonrpc":"2.0","id":4,"result":2}',
        '[{"jsonrpc":"2.0","id":4,"result":3},{"jsonrpc":"2.0","id":4,"result":4}]'}, texts(client))
    end)
  end)

  describe("what is no request", function()
    local client
    before_each(function() client = serve {f = function() return 1 end} end)

    it("is answered with -32600", function()
      for _, text in ipairs {"1", '"f"', "true", "null", "{}", '{"method":"f","id":null}',
        '{"jsonrpc":"1.0","method":"f"}', '{"jsonrpc":2.0,"method":"f"}',
        '{"jsonrpc":"2.0","method":null}', '{"jsonrpc":"2.0","method":["f"]}',
        '{"jsonrpc":"2.0","method":"f","params":1}', '{"jsonrpc":"2.0","method":"f","params":"x"}',
        '{"jsonrpc":"2.0","id":null}',
        '{"jsonrpc":"2.0","method":"f","params":true}', '{"JSONRPC":"2.0","method":"f"}'} do
        assert.equal(-32600, (code(client, text)), text)
      end
    end)

    it("is not one whose params are null, which is none", function()
      assert.equal(1, (call(client, "f", "null")))
    end)

    it("is answered with its id, when it has one", function()
      for _, id in ipairs {"7", '"seven"'} do
        client:send(('{"id":%s,"method":"f"}\0'):format(id))
        assert.matches('^{"jsonrpc":"2.0","id":' .. id .. ',"error":{"code":%-32600,',
          texts(client)[1])
      end
    end)

    it("an answer that nobody waits for is left alone", function()
      for _, text in ipairs {'{"jsonrpc":"2.0","id":1,"result":1}', '{"result":null}',
        '{"jsonrpc":"2.0","id":{},"error":{"code":1,"message":"x"}}', '{"id":null,"error":null}',
        '[{"jsonrpc":"2.0","id":1,"result":1}]'} do
        assert.is_nil(ask(client, text), text)
      end
    end)
  end)

  describe("what is no JSON", function()
    it("is answered with -32700, and the client may go on", function()
      local client = serve {f = function() return 1 end}
      for _, text in ipairs {"", " ", "{", "[", "]", "[1,]", '{"a":1,}', "[1 2]", '{"a" 1}',
        "{a:1}",
        "'a'", '"a', "tru", "nul", "truex", "NaN", "nan", "Infinity", "-Infinity", "inf", "-inf",
        "+1", "01", "-01", ".5", "1e", "1e+", "-", "0x10", "1_0", "1.5.5", "{}{}", "[] 1",
        "// {}", "\239\187\191{}", "\11{}", '"\\x"', '"\\u12"', '"\\ud800"', '"\\udc00"',
        '"\\ud800\\u0041"'} do
        assert.equal(-32700, (code(client, text)), text)
      end
      assert.equal(1, (call(client, "f")))
    end)

    it("nor is a number that no double holds, which could not be told to others", function()
      local client = serve {f = function(_, value) return value end}
      for _, text in ipairs {"1e999", "-1e999", "[1e309]", '{"a":1' .. ("0"):rep(400) .. "}"} do
        local errorCode, message = code(client,
          '{"jsonrpc":"2.0","id":1,"method":"f","params":[' .. text .. "]}")
        assert.equal(-32700, errorCode, text)
        assert.matches("^this is no JSON: a number in it is too large, at byte %d+$", message)
      end
      assert.equal(1e308, (call(client, "f", "[1e308]")))
      assert.equal("1e999", (call(client, "f", '["1e999"]')))
    end)

    it("nor is what is nested deeper than could be written, whatever maxDepth is", function()
      local client = serve({f = function(_, value) return value end}, {maxDepth = 1000})
      local function nested(depth) return ("["):rep(depth) .. ("]"):rep(depth) end
      local function request(depth) return '{"jsonrpc":"2.0","id":1,"method":"f","params":[' ..
        nested(depth) .. "]}" end
      assert.equal(-32700, (code(client, request(63))))
      client:send(request(62) .. "\0")
      assert.is_nil(client:received():find("error", 1, true))
    end)

    it("nor is what isn't UTF-8", function()
      local client = serve {f = function(_, text) return text end}
      for _, bytes in ipairs {"\255", "\128", "\192\128", "\237\160\128", "\244\144\128\128",
        "\226\130", "\240\159\142"} do
        local errorCode, message = code(client,
          '{"jsonrpc":"2.0","id":1,"method":"f","params":["' .. bytes .. '"]}')
        assert.equal(-32700, errorCode)
        assert.equal("this is not UTF-8", message)
      end
      assert.equal("é漢🎉\239\191\191", (call(client, "f", '["é漢🎉\239\191\191"]')))
    end)
    it("nor is what has a NUL behind it, or in it", function()
      local client = serve({f = function(_, text) return text end}, {framing = "length16"})
      local fine = '{"jsonrpc":"2.0","id":1,"method":"f","params":["x"]}'
      for _, text in ipairs {fine .. "\0", fine .. "\0more", "\0" .. fine, "\0", "[\0]",
        (fine:gsub("x", "\0"))} do
        client:send(string.char(0, #text) .. text)
        local answer = cjson.decode(client:received():sub(3))
        assert.equal(-32700, answer.error.code)
      end
    end)
    it("may be nested to maxDepth", function()
      local client = serve({f = function(_, list) return list end}, {maxDepth = 6})
      assert.same({{{{5}}}}, (call(client, "f", "[[[[[5]]]]]")))
      local errorCode, message = code(client,
        '{"jsonrpc":"2.0","id":1,"method":"f","params":[[[[[[5]]]]]]}')
      assert.equal(-32700, errorCode)
      assert.matches("nested", message)
    end)

    it("may be nested to 32 unless the class says otherwise, with text of a megabyte", function()
      local client = serve({}, {maxMessage = 2 ^ 20})
      for _, depth in ipairs {33, 1000, 2 ^ 20} do
        assert.equal(-32700, (code(client, ("["):rep(depth))))
        assert.equal(-32700, (code(client, ('{"a":'):rep(depth / 8) .. ("["):rep(33))))
      end
      assert.equal(-32600, ask(client, ("["):rep(32) .. ("]"):rep(32))[1].error.code)
    end)
  end)

  describe("batches", function()
    local client
    before_each(function()
      client = serve({echo = function(_, value) return value end,
        quit = function(self) self:close("bye") end}, {maxBatch = 3})
    end)

    local function batchOf(count)
      return "[" .. ('{"jsonrpc":"2.0","method":"echo","id":1},'):rep(count):sub(1, -2) .. "]"
    end

    it("hold at most maxBatch calls; of a longer one none is carried out", function()
      assert.equal(3, #ask(client, batchOf(3)))
      local errorCode, message = code(client, batchOf(4))
      assert.equal(-32600, errorCode)
      assert.equal("a batch holds at most 3 calls", message)
    end)

    it("are answered in their order", function()
      local answer = ask(client, ' \n[{"jsonrpc":"2.0","method":"echo","params":["a"],"id":2},' ..
        '{"jsonrpc":"2.0","method":"echo","params":["b"],"id":"1"},' ..
        '{"jsonrpc":"2.0","method":"echo","params":["c"],"id":null}]')
      assert.same({{jsonrpc = "2.0", id = 2, result = "a"},
        {jsonrpc = "2.0", id = "1", result = "b"},
        {jsonrpc = "2.0", id = null, result = "c"}}, answer)
    end)

    it("hold no batches", function()
      local answer = ask(client, '[[{"jsonrpc":"2.0","method":"echo","id":1}]]')
      assert.same({failure(null, -32600, NOT_A_REQUEST)}, answer)
    end)

    it("end with the call that closes the client", function()
      local count = 0
      getmetatable(client.server).remote.count = function() count = count + 1 end
      client:send('[{"jsonrpc":"2.0","method":"count"},{"jsonrpc":"2.0","method":"quit"},' ..
        '{"jsonrpc":"2.0","method":"count"}]\0{"jsonrpc":"2.0","method":"count"}\0')
      assert.equal(1, count)
      assert.is_false(client:isOpen())
    end)
  end)

  describe("params", function()
    -- A function that returns how many arguments there were, and them.
    local function spread(_, ...) return {select("#", ...), {...}} end

    it("by position reach the function as arguments, null as nil", function()
      local seen
      local client = serve {f = function(...) seen = {n = select("#", ...), ...} end}
      call(client, "f", '[1,null,"x",true,null]')
      assert.equal(6, seen.n)
      assert.is_true(seen[1] == client.server)
      assert.same({1, nil, "x", true, nil}, {unpack(seen, 2, 6)})
      call(client, "f")
      assert.equal(1, seen.n)
      call(client, "f", "[]")
      assert.equal(1, seen.n)
      call(client, "f", "{}")
      assert.equal(1, seen.n)
    end)

    it("by name reach a function that declares none as one table", function()
      local client = serve {f = spread}
      assert.same({1, {{a = 1, b = {2, null}}}}, (call(client, "f", '{"a":1,"b":[2,null]}')))
    end)

    it("by name twice: the last counts", function()
      local client = serve {f = spread, g = method("a: number", function(_, a) return a end)}
      assert.same({1, {{a = 2}}}, (call(client, "f", '{"a":1,"a":2}')))
      assert.equal(2, (call(client, "g", '{"a":1,"a":2}')))
      assert.equal(2, ask(client, '{"jsonrpc":"2.0","method":"f","method":"g",' ..
        '"params":{"a":2},"id":1}').result)
    end)

    it("are at most 250 by position", function()
      local client = serve {f = function(_, ...) return select("#", ...) end}
      local function zeros(count) return "[" .. ("0,"):rep(count):sub(1, -2) .. "]" end
      assert.equal(250, (call(client, "f", zeros(250))))
      for _, count in ipairs {251, 8000, 30000} do
        local _, err = call(client, "f", zeros(count))
        assert.same({code = -32602, message = "a call has at most 250 arguments"}, err)
      end
      assert.equal(1, (call(client, "f", "[" .. zeros(30000) .. "]")))
    end)

    it("keep numbers as they are", function()
      local seen
      local client = serve {f = function(_, n) seen = n end}
      for text, number in pairs {["1e308"] = 1e308, ["-1e308"] = -1e308, ["-0"] = 0,
        ["9007199254740993"] = 2 ^ 53, ["0.1"] = 0.1, ["1E-400"] = 0, ["1."] = 1,
        ["123456789012345678901234567890"] = 123456789012345678901234567890} do
        call(client, "f", "[" .. text .. "]")
        assert.equal(number, seen)
      end
    end)

    it("keep a NUL and control characters in strings", function()
      local seen
      local client = serve {f = function(_, text) seen = text end}
      call(client, "f", '["a\\u0000b\\n\127\\/"]')
      assert.equal("a\0b\n\127/", seen)
      call(client, "f", '["a\tb"]')
      assert.equal("a\tb", seen)
    end)
  end)

  describe("only functions of remote can be called:", function()
    it("not methods, handlers, inherited names, nor those of Lua", function()
      local called = {}
      local class = support.protocol(nil, Rpc)
      function class.secret() called[#called + 1] = "secret" end
      function class.remote:fine() return self.id end
      class.remote.number, class.remote.text, class.remote.list = 5, "print", {}
      local client = support.connect(class)
      for _, name in ipairs {"secret", "send", "close", "abort", "onData", "onConnect", "onClose",
        "onError", "new", "extend", "is", "remote", "invoke", "transmit", "later", "begin", "own",
        "clients", "__index", "__newindex", "__gc", "__tostring", "__metatable", "name", "class",
        "print", "os", "number", "text", "list", "", " fine", "fine ", "Fine", "fine\0",
        "sync.fine", "remote.fine", "remote:fine", "sync.nothing", "rpc.discover",
        "toString", "1"} do
        local _, err = call(client, name)
        assert.equal(-32601, err and err.code, name)
        client:send(cjson.encode {jsonrpc = "2.0", method = name} .. "\0")
        assert.same({}, texts(client))
      end
      assert.equal(client.server.id, (call(client, "fine")))
      assert.same({}, called)
    end)

    it("of the class and of the ones it extends", function()
      local base = support.protocol(nil, Rpc)
      function base.remote.a() return "a" end
      function base.remote.b() return "b" end
      local class, other = support.protocol(nil, base), support.protocol(nil, base)
      function class.remote.b() return "other b" end
      function other.remote.c() return "c" end
      local client = support.connect(class)
      assert.equal("a", (call(client, "a")))
      assert.equal("other b", (call(client, "b")))
      assert.equal(-32601, select(2, call(client, "c")).code)
      assert.equal("b", (call(support.connect(base), "b")))
    end)

    it("and the protocol's own, which no class replaces", function()
      local client = serve {["sync.ping"] = function() return "mine" end}
      assert.is_true((call(client, "sync.ping")))
      assert.is_true((call(client, "sync.ping", "[1,2]")))
    end)
  end)

  describe("errors in a function", function()
    it("are logged, and the client isn't told their text", function()
      local remote = {
        text = function() error("secret: no such file") end,
        table = function() error({password = "secret"}) end,
        none = function() error() end,
        bad = function()
          error(setmetatable({}, {__tostring = function() error("secret") end}))
        end,
        index = function() return (nil).secret end,
        deep = function(self)
          local function down(n) return 1 + down(n) end
          return down(self)
        end,
      }
      local client, class = serve(remote)
      for name in pairs(remote) do
        local err
        local lines = support.logged(function() err = select(2, call(client, name)) end)
        assert.same({code = -32603, message = "internal error"}, err, name)
        assert.is_not_nil(table.concat(lines):find("error in " .. class.className ..
          ".remote:" .. name, 1, true), name)
      end
      assert.is_true(client:isOpen())
    end)

    it("are logged once, with a traceback, for a notification, too", function()
      local client = serve {fail = function() error("what happened") end}
      local lines = support.logged(function()
        assert.is_nil(ask(client, '{"jsonrpc":"2.0","method":"fail"}'))
      end)
      assert.equal(1, #lines)
      assert.matches("what happened", lines[1])
      assert.matches("jsonrpc_spec%.lua:%d+", lines[1])
    end)

    it("that are faults are told, with their data, and not logged", function()
      local client = serve {
        plain = function() error(fault(7, "not your turn")) end,
        data = function() error(fault(-1, "é", {next = "bob", list = {1, 2}})) end,
        falsy = function() error(fault(0, "no", false)) end,
        noJson = function() error(fault(3, "no", function() end)) end,
        noText = function() error(fault(3, "\255", "\255")) end,
      }
      local lines = support.logged(function()
        assert.same({code = 7, message = "not your turn"}, select(2, call(client, "plain")))
        assert.same({code = -1, message = "é", data = {next = "bob", list = {1, 2}}},
          select(2, call(client, "data")))
        assert.same({code = 0, message = "no", data = false}, select(2, call(client, "falsy")))
        assert.same({code = 3, message = "no"}, select(2, call(client, "noJson")))
        assert.same({code = 3, message = "error"}, select(2, call(client, "noText")))
      end)
      assert.same({}, lines)
    end)

    it("faults have a whole number as code", function()
      for _, wrong in ipairs {"1", 1.5, 0 / 0, math.huge, {}} do
        assert.matches("code must be a whole number", support.raised(fault, wrong, "x"))
      end
    end)
  end)

  describe("results", function()
    it("of each kind come back", function()
      local value
      local client = serve {f = function() return value end}
      for _, each in ipairs {1, 0.1, -2 ^ 40, "", "é\0\"\\/", true, false, {1, 2, {3}},
        {a = {b = 1}}, {1, null, 3}, null} do
        value = each
        assert.same(each, (call(client, "f")))
      end
      value = nil
      client:send('{"jsonrpc":"2.0","id":1,"method":"f"}\0')
      assert.same({'{"jsonrpc":"2.0","id":1,"result":null}'}, texts(client))
    end)

    it("go out with the digits that they have, an empty table as an object", function()
      local client = serve {f = function() return {1 / 3, 2 ^ 53, {}, 1732900000123456} end}
      client:send('{"jsonrpc":"2.0","id":1,"method":"f"}\0')
      assert.same({'{"jsonrpc":"2.0","id":1,"result":' ..
        "[0.3333333333333333,9007199254740992,{},1732900000123456]}"}, texts(client))
    end)

    it("are lists where they came as such, or are marked", function()
      local echoed
      local client = serve {
        f = function(_, value)
          echoed = value
          return value
        end,
        g = function(self) return {sync.list(), sync.list {1}, self:room("nobody"):members()} end,
      }
      client:send('{"jsonrpc":"2.0","id":1,"method":"f","params":[{"a":[],"b":{}}]}\0')
      assert.same({'{"jsonrpc":"2.0","id":1,"result":' ..
        (next(echoed) == "a" and '{"a":[],"b":{}}}' or '{"b":{},"a":[]}}')}, texts(client))
      client:send('{"jsonrpc":"2.0","id":2,"method":"g"}\0')
      assert.same({'{"jsonrpc":"2.0","id":2,"result":[[],[1],[]]}'}, texts(client))
    end)

    it("that are no JSON are an internal error, which the log explains", function()
      local cyclic, deep = {}, {}
      cyclic[1] = cyclic
      for _ = 1, 70 do deep = {deep} end
      local wrong = {fn = function() end, nan = 0 / 0, infinite = math.huge, bytes = "\255",
        key = {[true] = 1}, nested = {1, {x = 0 / 0}}, keyBytes = {["\255"] = 1}, cyclic = cyclic,
        deep = deep, thread = coroutine.create(print)}
      local client, class = serve {f = function(_, name) return wrong[name] end}
      local logged = 0
      for name in pairs(wrong) do
        local err
        local lines = support.logged(function()
          err = select(2, call(client, "f", '["' .. name .. '"]'))
        end)
        assert.same({code = -32603, message = "internal error"}, err, name)
        logged = logged + #lines
        if lines[1] then
          assert.matches("result of " .. class.className .. ".remote:f", lines[1])
        end
      end
      assert.equal(5, logged) -- of a kind in 10 seconds
      assert.equal(1, (call(serve {f = function() return 1 end}, "f")))
    end)

    it("that are longer than maxQueue are an error, and the client stays", function()
      local client = serve({f = function(_, n) return ("x"):rep(n) end}, {maxQueue = 4096})
      support.logged(function()
        assert.same({code = -32603, message = "the answer is too long"},
          select(2, call(client, "f", "[5000]")))
        local answer = ask(client, '[{"jsonrpc":"2.0","method":"f","params":[3000],"id":1},' ..
          '{"jsonrpc":"2.0","method":"f","params":[3000],"id":2}]')
        assert.same(failure(null, -32603, "the answer is too long"), answer)
      end)
      assert.equal(3000, #call(client, "f", "[3000]"))
    end)
  end)

  it("what a function that closes its client returns is not sent", function()
    local client = serve {quit = function(self)
      self:close("bye")
      return "unseen"
    end}
    client:send('{"jsonrpc":"2.0","id":1,"method":"quit"}\0')
    assert.equal("", client:received())
    assert.is_false(client:isOpen())
  end)

  describe("later", function()
    local function later(fields)
      local answers = {}
      local client, class = serve({
        f = function(self)
          answers[#answers + 1] = self:later()
          return "of no matter"
        end,
      }, fields)
      return client, answers, class
    end

    it("answers after the call, in any order, once", function()
      local client, answers = later()
      for id = 1, 3 do
        assert.is_nil(ask(client, ('{"jsonrpc":"2.0","id":%d,"method":"f"}'):format(id)))
      end
      assert.equal(3, client.server._owed)
      answers[3]("third")
      answers[1](nil, fault(5, "no", {1}))
      answers[2]()
      for i = 1, 3 do answers[i]("again") end
      testing.settle()
      local list = texts(client)
      assert.equal(3, #list)
      assert.same({jsonrpc = "2.0", id = 3, result = "third"}, cjson.decode(list[1]))
      assert.same({jsonrpc = "2.0", id = 1, error = {code = 5, message = "no", data = {1}}},
        cjson.decode(list[2]))
      assert.same({jsonrpc = "2.0", id = 2, result = null}, cjson.decode(list[3]))
      assert.equal(0, client.server._owed)
    end)

    it("answers within the call, in its place in a batch", function()
      local client = serve {
        now = function(self, value)
          self:later()(value)
          return "of no matter"
        end,
        no = function(self) self:later()(nil, fault(6, "no")) end,
      }
      assert.equal("x", (call(client, "now", '["x"]')))
      assert.same({code = 6, message = "no"}, select(2, call(client, "no")))
      assert.same({{jsonrpc = "2.0", id = 1, result = true},
        {jsonrpc = "2.0", id = 2, result = "y"},
        {jsonrpc = "2.0", id = 3, result = true}}, ask(client,
        '[{"jsonrpc":"2.0","id":1,"method":"sync.ping"},' ..
        '{"jsonrpc":"2.0","id":2,"method":"now","params":["y"]},' ..
        '{"jsonrpc":"2.0","id":3,"method":"sync.ping"}]'))
      assert.equal(0, client.server._owed)
    end)

    local BATCH = '[{"jsonrpc":"2.0","id":1,"method":"f"},{"jsonrpc":"2.0","id":2,' ..
      '"method":"sync.ping"},{"jsonrpc":"2.0","id":3,"method":"f"},' ..
      '{"jsonrpc":"2.0","method":"f"}]'

    it("answers a batch's calls in it, when the last answer is known", function()
      local client, answers = later()
      assert.is_nil(ask(client, BATCH))
      answers[2]("third")
      answers[3]("a notification's")
      assert.same({}, texts(client))
      answers[1](nil, fault(5, "first"))
      testing.settle()
      assert.same({'[{"jsonrpc":"2.0","id":1,"error":{"code":5,"message":"first"}},' ..
        '{"jsonrpc":"2.0","id":2,"result":true},{"jsonrpc":"2.0","id":3,"result":"third"}]'},
        texts(client))
      assert.equal(0, client.server.heldBytes)
    end)

    it("lets a batch's answers wait no longer than callTimeout", function()
      local client, answers = later {callTimeout = 0.05}
      assert.is_nil(ask(client, BATCH))
      answers[1]("first")
      local list = support.wait(function()
        local seen = texts(client)
        return seen[1] and seen
      end)
      assert.same({{jsonrpc = "2.0", id = 1, result = "first"},
        {jsonrpc = "2.0", id = 2, result = true}, failure(3, -32000, "no answer in time")},
        cjson.decode(list[1]))
      answers[2]("too late")
      testing.settle()
      assert.same({}, texts(client))
      answers[3]()
      assert.equal(0, client.server._owed)
    end)

    it("lets no more of a batch's answers wait than maxQueue", function()
      local client, answers = later {maxQueue = 4096}
      assert.is_nil(ask(client, BATCH))
      assert.is_nil(ask(client, BATCH))
      answers[1](("x"):rep(2500))
      assert.same({}, texts(client))
      answers[4](("y"):rep(2500))
      testing.settle()
      local list = texts(client)
      assert.equal(1, #list)
      assert.same(failure(3, -32000, "too many answers wait for this one"),
        cjson.decode(list[1])[3])
      answers[2]("x")
      testing.settle()
      assert.equal(1, #texts(client))
      assert.equal(0, client.server.heldBytes)
    end)

    it("answers no batch of one who has gone", function()
      local client, answers = later()
      assert.is_nil(ask(client, BATCH))
      client:leave()
      for i = 1, 3 do answers[i]("nobody reads this") end
      testing.settle()
    end)

    it("twice in one call is the same answer", function()
      local client, first, second
      client = serve {f = function(self) first, second = self:later(), self:later() end}
      assert.is_nil(ask(client, '{"jsonrpc":"2.0","id":1,"method":"f"}'))
      assert.equal(1, client.server._owed)
      second(1)
      first(2)
      testing.settle()
      assert.same({'{"jsonrpc":"2.0","id":1,"result":1}'}, texts(client))
    end)

    it("is owed for a notification, too, and not answered", function()
      local client, answers = later {maxCalls = 1}
      assert.is_nil(ask(client, '{"jsonrpc":"2.0","method":"f"}'))
      assert.equal(-32000, select(2, call(client, "f")).code)
      answers[1]("unseen")
      testing.settle()
      assert.same({}, texts(client))
      assert.equal(0, client.server._owed)
    end)

    it("is owed at most maxCalls times", function()
      local client, answers = later {maxCalls = 2}
      client:send('{"jsonrpc":"2.0","id":1,"method":"f"}\0{"jsonrpc":"2.0","id":2,"method":"f"}\0')
      assert.same({code = -32000, message = "too many calls wait for their answers"},
        select(2, call(client, "f")))
      answers[1](1)
      testing.settle()
      texts(client)
      assert.is_nil(ask(client, '{"jsonrpc":"2.0","id":3,"method":"f"}'))
      assert.equal(-32000, select(2, call(client, "f")).code)
    end)

    it("is owed no more when the function raises an error", function()
      local given
      local client = serve({f = function(self)
        given = self:later()
        error(fault(4, "after all"))
      end}, {maxCalls = 1})
      for _ = 1, 3 do
        assert.same({code = 4, message = "after all"}, select(2, call(client, "f")))
        given("too late")
        testing.settle()
        assert.same({}, texts(client))
        assert.equal(0, client.server._owed)
      end
    end)

    it("tells no error that is not a fault, and logs it", function()
      local client, answers = later()
      ask(client, '{"jsonrpc":"2.0","id":1,"method":"f"}')
      local lines = support.logged(function() answers[1](nil, "secret: no database") end)
      testing.settle()
      assert.same({'{"jsonrpc":"2.0","id":1,"error":{"code":-32603,"message":"internal error"}}'},
        texts(client))
      assert.matches("secret: no database", lines[1])
    end)

    it("is refused where no call is under way", function()
      local message
      local other
      local client = serve {f = function() message = support.raised(other.later, other) end}
      other = client.server
      assert.matches("later%(%) answers the call under way", support.raised(other.later, other))
      other = support.connect(getmetatable(client.server)).server
      call(client, "f")
      assert.matches("later%(%) answers the call under way", message)
    end)

    it("answers one who has gone without harm", function()
      local client, answers = later()
      ask(client, '{"jsonrpc":"2.0","id":1,"method":"f"}')
      client:leave()
      answers[1]("nobody reads this")
      testing.settle()
    end)
  end)

  describe("rates", function()
    it("let so many calls through at once, and refuse more by name", function()
      local count = 0
      local client = serve {
        f = method({rate = 0.001, burst = 3}, function() count = count + 1 end),
        g = method({rate = 0.001}, function() return "g" end),
      }
      for _ = 1, 3 do assert.is_nil(select(2, call(client, "f"))) end
      for _ = 1, 3 do
        assert.same({code = -32001, message = "f is called too often"},
          select(2, call(client, "f")))
        assert.is_nil(ask(client, '{"jsonrpc":"2.0","method":"f"}'))
      end
      assert.equal(3, count)
      assert.equal("g", (call(client, "g")))
      assert.equal(-32001, select(2, call(client, "g")).code)
    end)

    it("are each client's own, and count what was refused for its arguments not", function()
      local client, class = serve {f = method("n: number", {rate = 0.001, burst = 1},
        function(_, n) return n end)}
      local other = support.connect(class)
      assert.equal(-32602, select(2, call(client, "f")).code)
      assert.equal(1, (call(client, "f", "[1]")))
      assert.equal(-32001, select(2, call(client, "f", "[1]")).code)
      assert.equal(2, (call(other, "f", "[2]")))
    end)

    it("refill with time, up to the burst", function()
      local client = serve {f = method({rate = 1000, burst = 2}, function() return true end)}
      local ended = sync.now() + 30
      local function eventually()
        repeat
          local ok = call(client, "f")
        until ok or sync.now() > ended
        assert.is_true(sync.now() < ended)
      end
      for _ = 1, 10 do eventually() end
      local allowance = client.server._allowances.f
      allowance.at = allowance.at - 3600
      assert.is_true((call(client, "f")))
      assert.is_true(allowance.left <= 1)
    end)
  end)

  describe("on other framings", function()
    it("answers line by line", function()
      support.bothWays(function(feed, how)
        local client = serve({f = function(_, text) return text end}, {framing = "line"})
        feed(client, '{"jsonrpc":"2.0","id":1,"method":"f","params":["a\\nb"]}\r\n{}\n')
        assert.equal('{"jsonrpc":"2.0","id":1,"result":"a\\nb"}\n' ..
          '{"jsonrpc":"2.0","id":null,"error":{"code":-32600,"message":"' .. NOT_A_REQUEST ..
          '"}}\n', client:received(), how)
      end)
    end)

    it("closes for a message above maxMessage", function()
      local client = serve({}, {maxMessage = 100})
      support.logged(function() client:send(("x"):rep(101) .. "\0") end)
      assert.is_false(client:isOpen())
    end)
  end)
end)
