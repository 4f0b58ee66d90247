local amf = require "sync.amf"
local amfpacket = require "sync.flash.packet"
local loop = require "sync.loop"
local socket = require "socket"
local support = require "spec.support"
local sync = require "sync"

local BOUND = 10 -- seconds

local closing = {}

local function serve(class, options)
  local listener = sync.enable("127.0.0.1", 0, class, options)
  closing[#closing + 1] = listener
  return listener.port
end

-- Sends a request and turns the loop until its answer is whole.
local function post(port, body, headers, method)
  local peer = assert(socket.connect("127.0.0.1", port))
  local lines = {("%s /any/path HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n"):format(method or "POST", port)}
  for name, value in pairs(headers or {["Content-Type"] = "application/x-amf"}) do
    lines[#lines + 1] = ("%s: %s\r\n"):format(name, value)
  end
  lines[#lines + 1] = ("Content-Length: %d\r\nConnection: close\r\n\r\n"):format(#body)
  peer:send(table.concat(lines) .. body)
  peer:settimeout(0)
  local deadline, answer = socket.gettime() + BOUND, ""
  while true do
    local bytes, why, part = peer:receive("*a")
    answer = answer .. (bytes or part or "")
    if bytes or why == "closed" then break end
    assert(socket.gettime() < deadline, "no answer")
    if loop.step() == 0 then socket.sleep(0.001) end
  end
  peer:close()
  local status, head, rest = answer:match("^HTTP/1.1 (%d+)[^\r]*\r\n(.-)\r\n\r\n(.*)$")
  return tonumber(status), rest, head
end

local function packet(messages, version, headers)
  return assert(amfpacket.encode {version = version or 0, headers = headers or {},
    messages = messages})
end

-- Calls functions, and returns the answers by their target.
local function call(port, messages, version, headers)
  local status, body, head = post(port, packet(messages, version, headers))
  assert.equal(200, status)
  assert.matches("Content-Type: application/x-amf", head, 1, true)
  local answer = assert(amfpacket.decode(body))
  local values = {}
  for i, message in ipairs(answer.messages) do
    values[i] = message.target
    values[message.target] = message.value
  end
  return values
end

local function game(fields)
  local class = support.protocol(fields, sync.Remote)
  class.remote.add = sync.method("a: number", "b: number", function(_, a, b) return a + b end)
  function class.remote:echo(...) return select("#", ...) == 1 and (...) or amf.list {...} end
  function class.remote:fault() error(sync.fault(42, "not now", {after = 5})) end
  function class.remote:crash() error("secret") end
  return class
end

describe("the gateway of Flash Remoting", function()
  after_each(function()
    for _, each in ipairs(closing) do each:close() end
    closing = {}
    for _ = 1, 5 do loop.step() end
    support.cleanUp()
  end)

  it("calls functions, and answers each message", function()
    local class = game()
    local port = serve(class)
    local answers = call(port, {
      {target = "add", response = "/1", value = amf.list {1, 2}},
      {target = class.className .. ".add", response = "/2", value = amf.list {3, 4}},
      {target = "echo", response = "/3", value = amf.list {"grüße", {1, 2, {deep = true}}}},
      {target = "echo", response = "/4", value = amf.list {}},
    })
    assert.same({"/1/onResult", "/2/onResult", "/3/onResult", "/4/onResult"},
      {answers[1], answers[2], answers[3], answers[4]})
    assert.equal(3, answers["/1/onResult"])
    assert.equal(7, answers["/2/onResult"])
    assert.same({"grüße", {1, 2, {deep = true}}}, answers["/3/onResult"])
  end)

  it("answers AMF3 with AMF3", function()
    local port = serve(game())
    local answers = call(port, {
      {target = "echo", response = "/1", value = amf.list {amf.bytes("\0\1")}},
    }, 3)
    assert.equal("bytes", amf.kind(answers["/1/onResult"]))
    assert.equal("\0\1", answers["/1/onResult"].data)
  end)

  it("answers faults at onStatus, and errors without their text", function()
    local port = serve(game())
    local answers
    local lines = support.logged(function()
      answers = call(port, {
        {target = "fault", response = "/1", value = amf.list {}},
        {target = "crash", response = "/2", value = amf.list {}},
        {target = "send", response = "/3", value = amf.list {"x"}},
        {target = "add", response = "/4", value = amf.list {1, "two"}},
        {target = "Other.add", response = "/5", value = amf.list {1, 2}},
      })
    end)
    assert.equal(1, #lines)
    local function codeAt(n) return answers[("/%d/onStatus"):format(n)].code end
    assert.same({level = "error", code = 42, description = "not now", details = {after = 5}},
      answers["/1/onStatus"])
    assert.equal("internal error", answers["/2/onStatus"].description)
    assert.same({-32603, -32601, -32602, -32601}, {codeAt(2), codeAt(3), codeAt(4), codeAt(5)})
    assert.matches("(b) must be a number", answers["/4/onStatus"].description, 1, true)
  end)

  it("fires events at all that are connected, and its caller is in no set", function()
    local class = game()
    local caller
    function class.remote:shout(text)
      caller = self
      self.clients:fire("onShout", text)
      return {self:join("room"), (self:send("x")), (self:fire("y")), self.transport}
    end
    local port = serve(class)
    local listening = support.connect(class, 1)
    local answers = call(port, {{target = "shout", response = "/1", value = amf.list {"hey"}}})
    assert.same({false, false, false, "http"}, answers["/1/onResult"])
    assert.equal('{"jsonrpc":"2.0","method":"onShout","params":["hey"]}\0', listening:received())
    assert.equal(1, class.clients:count())
    local failure
    caller:call("anything", function(_, err) failure = err end)
    assert.equal(-32000, failure.code)
  end)

  it("waits for what is answered later, and no longer than callTimeout", function()
    local class = game {callTimeout = 0.2}
    function class.remote:soon(value)
      local answer = self:later()
      sync.after(0.02, function() answer(value) end)
    end
    function class.remote:never() self:later() end
    local port = serve(class)
    local answers = call(port, {
      {target = "soon", response = "/1", value = amf.list {"a"}},
      {target = "add", response = "/2", value = amf.list {1, 1}},
      {target = "soon", response = "/3", value = amf.list {"b"}},
    })
    assert.same({"/1/onResult", "/2/onResult", "/3/onResult"}, {answers[1], answers[2], answers[3]})
    assert.same({"a", 2, "b"}, {answers["/1/onResult"], answers["/2/onResult"],
      answers["/3/onResult"]})
    answers = call(port, {
      {target = "never", response = "/1", value = amf.list {}},
      {target = "soon", response = "/2", value = amf.list {"c"}},
    })
    assert.equal(-32000, answers["/1/onStatus"].code)
    assert.equal("c", answers["/2/onResult"])
  end)

  -- Calls that wait for the same, and are all answered by another client's handler.
  it("raises nothing in who answers, whatever the answer and the caller's request", function()
    local class = game {callTimeout = 20}
    local waiting, answered = {}, 0
    function class.remote:wait() table.insert(waiting, self:later()) end
    function class.remote:release(result, err)
      for _, answer in ipairs(waiting) do answer(result, err) end
      answered, waiting = #waiting, {}
    end
    local port = serve(class)
    local bystander = support.connect(class)
    local results = {
      {function() end}, {"\255"}, {amf.bytes(("x"):rep(9e6))},
      {false, sync.fault(1, "not \255 UTF-8")}, {false, sync.fault(1, "no", {"\255"})},
      {false, "a string"}, {{1, 2}},
    }
    local statuses = {200, 200, 500, 200, 200, 200, 200}
    for i, result in ipairs(results) do
      local message = {target = "wait", response = "/1", value = amf.list {}}
      local peers = {}
      for j = 1, 3 do
        local body = packet({message, message}, 3)
        peers[j] = assert(socket.connect("127.0.0.1", port))
        peers[j]:send(("POST / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n" ..
          "Content-Type: application/x-amf\r\nContent-Length: %d\r\n\r\n%s"):format(#body, body))
      end
      support.wait(function() return #waiting == 6 end)
      support.logged(function()
        assert.is_true(bystander.server:invoke("release", result))
      end)
      assert.equal(6, answered)
      for j = 1, 3 do
        peers[j]:settimeout(0)
        local head = ""
        support.wait(function()
          local bytes, why, part = peers[j]:receive(64 - #head)
          head = head .. (bytes or part)
          return #head == 64 or why == "closed"
        end)
        assert.equal(("HTTP/1.1 %d"):format(statuses[i]), head:sub(1, 12), i)
        peers[j]:close()
      end
    end
    assert.is_true(bystander:isOpen())
  end)

  it("answers what an answer was when it was given", function()
    local class = game {callTimeout = 20}
    local list = {1}
    function class.remote:early() return list end
    function class.remote:late()
      local answer = self:later()
      sync.after(0, function()
        list[1] = print -- which can't be written
        answer(2)
      end)
    end
    local answers = call(serve(class), {
      {target = "early", response = "/1", value = amf.list {}},
      {target = "late", response = "/2", value = amf.list {}},
    })
    assert.same({{1}, 2}, {answers["/1/onResult"], answers["/2/onResult"]})
  end)

  it("refuses names of responses that an answer has no room for", function()
    local port = serve(game(), {maxBody = 100000})
    local status, text = post(port, packet {{target = "add", response = "/" .. ("x"):rep(65534),
      value = amf.list {1, 2}}})
    assert.same({400, "a response's name has at most 255 bytes\n"}, {status, text})
  end)

  it("answers pages whose origin is no header", function()
    local class = game()
    local port = serve(class, {origins = "*"})
    local body = packet {{target = "add", response = "/1", value = amf.list {1, 2}}}
    local status, _, head = post(port, body, {["Content-Type"] = "application/x-amf",
      Origin = "http://a\tb"})
    assert.equal(403, status)
    assert.is_nil(head:find("Allow-Origin", 1, true))
  end)

  it("counts rates by address", function()
    local class = game()
    class.remote.limited = sync.method({rate = 0.01, burst = 2}, function() return true end)
    local port = serve(class)
    local message = {target = "limited", response = "/1", value = amf.list {}}
    assert.is_true(call(port, {message})["/1/onResult"])
    assert.is_true(call(port, {message})["/1/onResult"])
    assert.equal(-32001, call(port, {message})["/1/onStatus"].code)
  end)

  it("refuses what is no AMF, too many calls, strange headers and other sites", function()
    local class = game {maxBatch = 2}
    local port = serve(class)
    local status, text = post(port, "\0\0\0\9")
    assert.equal(400, status)
    assert.matches("^this is no AMF: ", text)
    local message = {target = "add", response = "/1", value = amf.list {1, 2}}
    status, text = post(port, packet {message, message, message})
    assert.same({400, "a request holds at most 2 calls\n"}, {status, text})
    local answers = call(port, {message}, 0,
      {{name = "Strange", mustUnderstand = true, value = true}})
    assert.matches('header "Strange"', answers["/1/onStatus"].description)
    answers = call(port, {message}, 0, {{name = "Strange", mustUnderstand = false, value = true}})
    assert.equal(3, answers["/1/onResult"])
    local kind = {["Content-Type"] = "application/x-amf", Origin = "http://evil.example"}
    assert.equal(403, (post(port, packet {message}, kind)))
    kind.Origin = ("http://127.0.0.1:%d"):format(port)
    assert.equal(200, (post(port, packet {message}, kind)))
  end)

  it("answers the preflight of sites that may call, and gives them the policy", function()
    local port = serve(game(), {origins = {"http://game.example"}})
    local ask = {Origin = "http://game.example", ["Access-Control-Request-Method"] = "POST",
      ["Access-Control-Request-Headers"] = "content-type"}
    local status, _, head = post(port, "", ask, "OPTIONS")
    assert.equal(204, status)
    assert.matches("Access-Control-Allow-Origin: http://game.example", head, 1, true)
    assert.matches("Access-Control-Allow-Methods: OPTIONS, POST", head, 1, true)
    assert.matches("Access-Control-Allow-Headers: content-type", head, 1, true)
    ask.Origin = "http://evil.example"
    status, _, head = post(port, "", ask, "OPTIONS")
    assert.equal(204, status)
    assert.is_nil(head:find("Access-Control-Allow-Origin", 1, true))
  end)

  it("has no session: resuming is refused, as each other call is answered", function()
    for _, fields in ipairs {{}, {resumeTime = 5}} do
      local port = serve(support.protocol(fields, sync.Remote))
      local lines = support.logged(function()
        local values = call(port, {
          {target = "sync.resume", response = "/1", value = {("0"):rep(32), 0}},
          {target = "sync.resume", response = "/2", value = {}},
        })
        assert.same({resumed = false}, values["/1/onResult"])
        assert.same({resumed = false}, values["/2/onResult"])
      end)
      assert.same({}, lines)
    end
  end)

  it("gives a function the packet's headers, and those that must be understood if it knows them",
  function()
    local class = game {understands = {"Token"}}
    function class.remote:who()
      return {self.request.amfHeaders.Credentials.userid, self.request.amfHeaders.Token}
    end
    local port = serve(class)
    local message = {target = "who", response = "/1", value = amf.list {}}
    local credentials = {name = "Credentials", value = {userid = "ann", password = "secret"}}
    local answers = call(port, {message}, 0,
      {credentials, {name = "Token", mustUnderstand = true, value = "t"}})
    assert.same({"ann", "t"}, answers["/1/onResult"])
    answers = call(port, {message}, 0, {credentials, {name = "Other", mustUnderstand = true,
      value = 1}})
    assert.matches('header "Other"', answers["/1/onStatus"].description)
  end)

  describe("for Flex", function()
    local PACKAGE = "flex.messaging.messages."
    -- Sends one message as RemoteObject does: AMF3 in a list in a packet of version 3.
    local function send(port, class, fields)
      fields.messageId, fields.timestamp, fields.timeToLive = "M-1", 0, 0
      fields.destination = fields.destination or "any"
      fields.headers = fields.headers or {DSId = "nil"}
      local answers = call(port, {{target = "null", response = "/1",
        value = amf.list {amf.typed(PACKAGE .. class, fields)}}}, 3)
      return answers["/1/onResult"] or answers["/1/onStatus"], answers[1]
    end

    it("calls functions by RemotingMessage, and takes its collections", function()
      local class = game()
      function class.remote:sum(list, proxy)
        return amf.collection {list.value[1] + list.value[2], proxy.value.x}
      end
      local port = serve(class)
      local answer, target = send(port, "RemotingMessage", {operation = "sum",
        source = class.className, clientId = "C-1",
        body = amf.list {amf.collection {1, 2}, amf.proxy {x = 7}}})
      assert.equal("/1/onResult", target)
      assert.equal(PACKAGE .. "AcknowledgeMessage", amf.className(answer))
      assert.equal("flex.messaging.io.ArrayCollection", amf.className(answer.body))
      assert.same({3, 7}, answer.body.value)
      assert.same({"M-1", "C-1"}, {answer.correlationId, answer.clientId})
      answer = send(port, "RemotingMessage", {operation = "add", body = amf.list {1, 2}})
      assert.equal(3, answer.body)
    end)

    it("answers faults by ErrorMessage, at once and later", function()
      local class = game()
      function class.remote:late()
        local answer = self:later()
        sync.after(0, function() answer(nil, sync.fault(7, "too late")) end)
      end
      local port = serve(class)
      local answer, target = send(port, "RemotingMessage", {operation = "fault"})
      assert.equal("/1/onStatus", target)
      assert.equal(PACKAGE .. "ErrorMessage", amf.className(answer))
      assert.same({"42", "not now", {after = 5}, "M-1"}, {answer.faultCode, answer.faultString,
        answer.extendedData, answer.correlationId})
      answer = send(port, "RemotingMessage", {operation = "late"})
      assert.same({"7", "too late"}, {answer.faultCode, answer.faultString})
      for _, fields in ipairs {{operation = "none"}, {operation = "add", source = "Other"},
        {operation = {}}, {operation = ("x"):rep(300)}, {}} do
        answer = send(port, "RemotingMessage", fields)
        assert.equal("-32601", answer.faultCode)
      end
      answer = send(port, "CommandMessage", {operation = 0})
      assert.equal("-32600", answer.faultCode)
      answer = send(port, "OtherMessage", {})
      assert.equal("-32600", answer.faultCode)
    end)

    it("answers the ping, and knows who has logged in until they log out", function()
      local class = game()
      function class:onLogin(name, password)
        if name == "broken" then error("secret") end
        return password == "pass:word" and {name = name}
      end
      function class.remote:who() return self.request.login and self.request.login.name end
      local port = serve(class)
      local answer = send(port, "CommandMessage", {operation = 5})
      local id = answer.headers.DSId
      assert.equal(36, #id)
      local function who(DSId)
        return send(port, "RemotingMessage", {operation = "who", headers = {DSId = DSId}}).body
      end
      local function login(text, DSId)
        return send(port, "CommandMessage", {operation = 8, headers = {DSId = DSId or id},
          body = text}).faultCode
      end
      assert.equal("Client.Authentication", login "YW5uOndyb25n") -- ann:wrong
      assert.equal("Client.Authentication", login "YW5u")         -- ann
      assert.equal("Client.Authentication", login(5))
      assert.equal("Client.Authentication", login("YW5uOnBhc3M6d29yZA==", "nil"))
      local lines = support.logged(function()
        assert.equal("-32603", login "YnJva2VuOng=") -- broken:x
      end)
      assert.matches("error in onLogin", lines[1], 1, true)
      assert.equal(amf.null, who(id))
      assert.is_nil(login "YW5uOnBhc3M6d29yZA==") -- ann:pass:word
      assert.equal("ann", who(id))
      assert.equal(amf.null, who((id:gsub("^.", "Z"))))
      send(port, "CommandMessage", {operation = 9, headers = {DSId = id}})
      assert.equal(amf.null, who(id))
    end)

    it("refuses a login where the class has no onLogin, and gives remote credentials", function()
      local class = game()
      function class.remote:who() return self.request.amfHeaders.Credentials.userid end
      local port = serve(class)
      local id = send(port, "CommandMessage", {operation = 5}).headers.DSId
      assert.equal("Client.Authentication", send(port, "CommandMessage", {operation = 8,
        headers = {DSId = id}, body = "YW5uOng="}).faultCode)
      assert.equal("ann", send(port, "RemotingMessage", {operation = "who",
        headers = {DSId = id, DSRemoteCredentials = "YW5uOng="}}).body)
    end)
  end)

  it("takes no other POST", function()
    local port = serve(game())
    assert.equal(404, (post(port, "{}", {["Content-Type"] = "application/json"})))
  end)
end)
