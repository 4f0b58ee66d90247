-- JSON-RPC 2.0 by HTTP POST.

local Http = require "spec.support.http"
local cjson = require "cjson"
local support = require "spec.support"
local sync = require "sync"
local task = require "sync.task"
local testing = require "sync.testing"

local JSON = {["Content-Type"] = "application/json"}

describe("calls by POST", function()
  after_each(support.cleanUp)

  local function serve(functions, fields, options)
    fields = fields or {}
    fields.rpcPath = fields.rpcPath == nil and "/rpc" or fields.rpcPath
    local class = support.protocol(fields, sync.Remote)
    for name, fn in pairs(functions) do class.remote[name] = fn end
    return Http.serve(class, options), class
  end

  -- Posts, and returns the answer's value, or its status when that isn't 200.
  local function call(http, body, headers)
    local status, text, head = http:ask("POST /rpc", headers or JSON, body)
    if status ~= 200 then return status, text, head end
    assert.same({"application/json"}, Http.lines(head, "Content-Type"))
    return cjson.decode(text), text, head
  end

  it("are answered, one or a batch, under their own ids", function()
    local http = serve {
      add = function(_, a, b) return a + b end,
      whoami = function(self) return {self.address, self.transport, self.request.path} end,
      raise = function() error "secret" end,
      refuse = function() error(sync.fault(7, "no", {a = 1})) end,
    }
    assert.same({jsonrpc = "2.0", id = 1, result = 3},
      call(http, '{"jsonrpc":"2.0","id":1,"method":"add","params":[1,2]}'))
    assert.same({jsonrpc = "2.0", id = "x", error = {code = 7, message = "no", data = {a = 1}}},
      call(http, '{"jsonrpc":"2.0","id":"x","method":"refuse"}'))
    local answer, text = call(http, '{"jsonrpc":"2.0","id":null,"method":"raise"}')
    assert.equal(-32603, answer.error.code)
    assert.is_nil(text:find "secret")
    assert.equal("http", call(http, '{"jsonrpc":"2.0","id":1,"method":"whoami"}').result[2])
    answer = call(http, '[{"jsonrpc":"2.0","id":"b","method":"add","params":[1,1]},' ..
      '{"jsonrpc":"2.0","method":"add","params":[1,1]},1,' ..
      '{"jsonrpc":"2.0","id":2.5,"method":"add"},{"jsonrpc":"2.0","id":"b","method":"none"},' ..
      '{"jsonrpc":"1.0","id":4,"method":"add"},{"jsonrpc":"2.0","id":5,"result":1}]')
    local told = {}
    for i, each in ipairs(answer) do
      told[i] = tostring(each.id) .. " " .. tostring(each.result or each.error.code)
    end
    local null = tostring(cjson.null)
    assert.same({"b 2", null .. " -32600", null .. " -32600", "b -32601", "4 -32600"}, told)
    assert.equal(true, call(http, '{"jsonrpc":"2.0","id":1,"method":"sync.ping"}').result)
  end)

  it("that are notifications have no content for an answer", function()
    local count = 0
    local http = serve {
      note = function() count = count + 1 end,
      later = function(self) self:later() end,
      raise = function() error "no" end,
    }
    assert.equal(204, (call(http, '{"jsonrpc":"2.0","method":"note"}')))
    assert.equal(204, (call(http, '[{"jsonrpc":"2.0","method":"note"},' ..
      '{"jsonrpc":"2.0","method":"later"},{"jsonrpc":"2.0","method":"raise"}]')))
    assert.equal(204, (call(http, '{"jsonrpc":"2.0","method":"none"}')))
    assert.equal(2, count)
  end)

  it("may be answered later, or never", function()
    local answers = {}
    local http = serve({later = function(self) answers[#answers + 1] = self:later() end,
      now = function() return 1 end}, {callTimeout = 0.05})
    local body = '[{"jsonrpc":"2.0","id":1,"method":"later"},' ..
      '{"jsonrpc":"2.0","id":2,"method":"now"},{"jsonrpc":"2.0","id":3,"method":"later"}]'
    assert.is_nil((http:ask("POST /rpc", JSON, body)))
    answers[2]("three")
    answers[1](nil, sync.fault(9, "one"))
    local status, text = http:answer()
    assert.equal(200, status)
    local list = cjson.decode(text)
    assert.same({9, 1, "three"}, {list[1].error.code, list[2].result, list[3].result})
    answers[1]("again") -- harmless
    assert.is_nil((http:ask("POST /rpc", JSON, '{"jsonrpc":"2.0","id":8,"method":"later"}')))
    support.wait(function()
      status, text = http:answer()
      return status
    end)
    assert.same({8, -32000}, {cjson.decode(text).id, cjson.decode(text).error.code})
    answers[3]("too late")
    assert.is_nil((http:answer()))
  end)

  it("may set cookies, and hear no events", function()
    local http, class = serve {login = function(self, name)
      assert.is_false(self:fire("event"))
      assert.is_false(self:send("x"))
      assert.is_false(self:join("room"))
      self.request:setCookie("user", name)
      return self.request.cookies.before or "nobody"
    end}
    local answer, _, head = call(http, '{"jsonrpc":"2.0","id":1,"method":"login","params":["ann"]}',
      {["Content-Type"] = "application/json", Cookie = "before=bob"})
    assert.equal("bob", answer.result)
    assert.same({"user=ann; Path=/; HttpOnly; SameSite=Lax"}, Http.lines(head, "Set-Cookie"))
    assert.equal(0, class.clients:count())
  end)

  it("are taken of no page that may not connect, nor in a type that any page can send", function()
    local count = 0
    local http = serve({note = function() count = count + 1 end}, nil,
      {origins = {"https://a.example"}})
    local body = '{"jsonrpc":"2.0","id":1,"method":"note"}'
    for _, kind in ipairs {"text/plain", "application/x-www-form-urlencoded",
      "multipart/form-data; boundary=x", "text/json", ""} do
      assert.equal(415, (call(http, body, {["Content-Type"] = kind})), kind)
    end
    assert.equal(415, (call(http, body, {})))
    assert.equal(403, (call(http, body, {["Content-Type"] = "application/json",
      Origin = "https://b.example"})))
    assert.equal(0, count)
    local answer, _, head = call(http, body, {["Content-Type"] = "application/json",
      Origin = "https://a.example"})
    assert.equal(1, answer.id)
    assert.same({"https://a.example"}, Http.lines(head, "Access-Control-Allow-Origin"))
    local status, _, ahead = http:ask("OPTIONS /rpc", {Origin = "https://a.example"})
    assert.equal(204, status)
    assert.same({"OPTIONS, POST"}, Http.lines(ahead, "Access-Control-Allow-Methods"))
    status, _, head = http:ask "GET /rpc"
    assert.same({405, {"OPTIONS, POST"}}, {status, Http.lines(head, "Allow")})
    assert.equal(404, (http:ask "GET /else"))
  end)

  it("keep to bounds, and say what is no JSON-RPC", function()
    local http = serve({limited = sync.method({rate = 1, burst = 2}, function() return 1 end)},
      {maxBatch = 2, maxDepth = 4}, {maxBody = 1000})
    for _, case in ipairs {{"{", -32700}, {"", -32700}, {"[]", -32600}, {"1", -32600},
      {'[1,2,3]', -32600}, {"[[[[[1]]]]]", -32700}, {'"x"', -32600}, {"null", -32600}} do
      local status, text = http:ask("POST /rpc", JSON, case[1])
      assert.equal(400, status, case[1])
      assert.same({case[2], cjson.null}, {cjson.decode(text).error.code, cjson.decode(text).id})
    end
    assert.equal(413, (http:ask("POST /rpc", JSON, (" "):rep(1001))))
    local body = '{"jsonrpc":"2.0","id":1,"method":"limited"}'
    local codes = {}
    for i = 1, 3 do
      local answer = call(http, body)
      codes[i] = answer.result or answer.error.code
    end
    assert.same({1, 1, -32001}, codes) -- of an address, over all its requests
    local off = serve({}, {rpcPath = false})
    assert.equal(404, (off:ask("POST /rpc", JSON, body)))
    assert.matches("rpcPath", support.raised(serve, {}, {rpcPath = "rpc"}))
  end)

  it("need a token where the class has auth", function()
    local resume
    local http = serve({whoami = function(self) return self.user.name end}, {
      auth = function(token)
        if token == "slow" then task.await(function(done) resume = done end) end
        if token == "raises" then error "no" end
        if token == "other" then return nil, "not here", 403 end
        return (token == "right" or token == "slow") and {name = "ann"} or nil
      end})
    local body = '{"jsonrpc":"2.0","id":1,"method":"whoami"}'
    local function with(token)
      return {["Content-Type"] = "application/json",
        Authorization = token and "Bearer " .. token or nil}
    end
    local status, _, head = call(http, body, with(nil))
    assert.equal(401, status)
    assert.same({"Bearer"}, Http.lines(head, "WWW-Authenticate"))
    assert.equal(401, (call(http, body, with "wrong")))
    assert.equal(403, (call(http, body, with "other")))
    assert.equal(500, (call(http, body, with "raises")))
    assert.equal("ann", call(http, body, with "right").result)
    assert.is_nil((http:ask("POST /rpc", with "slow", body)))
    resume()
    local _, text = http:answer()
    assert.equal("ann", cjson.decode(text).result)
    http:ask("POST /rpc", with "slow", body)
    http:leave()
    resume() -- nobody hears this
  end)

  it("wait in functions that may", function()
    local resumes = {}
    local http = serve {wait = sync.waits(function(_, x)
      return task.await(function(done) resumes[x] = done end) .. x
    end)}
    assert.is_nil((http:ask("POST /rpc", JSON, '[{"jsonrpc":"2.0","id":1,"method":"wait",' ..
      '"params":[1]},{"jsonrpc":"2.0","method":"wait","params":[3]},{"jsonrpc":"2.0","id":2,' ..
      '"method":"wait","params":[2]}]')))
    resumes[2] "b"
    assert.is_nil((http:answer()))
    resumes[1] "a"
    local status, text = http:answer()
    assert.equal(200, status)
    assert.same({"a1", "b2"}, {cjson.decode(text)[1].result, cjson.decode(text)[2].result})
    resumes[3] "nobody hears this"
    assert.equal(404, (http:ask "GET /else"))
  end)

  it("of a client that has gone are carried out all the same", function()
    local answer
    local http = serve {later = function(self) answer = self:later() end}
    http:ask("POST /rpc", JSON, '{"jsonrpc":"2.0","id":1,"method":"later"}')
    http:leave()
    testing.settle()
    answer "nobody hears this"
    assert.equal(404, (http:ask "GET /else"))
  end)
end)
