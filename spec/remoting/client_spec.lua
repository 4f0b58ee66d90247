local loop = require "sync.loop"
local socket = require "socket"
local support = require "spec.support"
local sync = require "sync"

local wait = support.wait

-- Calls a function of the server and waits for the answer.
local function ask(client, ...)
  local answer
  local arguments = {n = select("#", ...), ...}
  arguments[arguments.n + 1] = function(result, err) answer = {result, err} end
  client:call(unpack(arguments, 1, arguments.n + 1))
  wait(function() return answer end)
  return answer[1], answer[2]
end

local closing = {}

local function serve(class, options)
  local listener = sync.enable("127.0.0.1", 0, class, options)
  closing[#closing + 1] = listener
  return listener, "tcp://127.0.0.1:" .. listener.port
end

local function connect(url, options)
  local client = sync.connect(url, options)
  closing[#closing + 1] = client
  return client
end

local function isOpen(client) return function() return client.state == "open" end end

local function game(fields)
  local class = support.protocol(fields, sync.Remote)
  class.transports = {"tcp"}
  function class.remote:echo(...) return select("#", ...) == 1 and (...) or {...} end
  function class.remote:name(name) self.name = name return true end
  function class.remote:fault() error(sync.fault(42, "not now", {after = 5})) end
  function class.remote:crash() error("secret") end
  function class.remote:never() self:later() end
  function class.remote:fire(name, ...) self.clients:fire(name, ...) end
  function class.remote:ask(name, ...)
    local answer = self:later()
    local arguments = {...}
    arguments[#arguments + 1] = answer
    self:call(name, unpack(arguments))
  end
  return class
end

describe("sync.connect", function()
  after_each(function()
    for _, each in ipairs(closing) do each:close() end
    closing = {}
    wait(function() return loop.count == 0 end)
  end)

  it("calls functions of a server, and gets results, faults and errors", function()
    local _, url = serve(game())
    local client = connect(url)
    assert.equal("connecting", client.state)
    assert.equal("ann", (ask(client, "echo", "ann")))
    assert.equal("open", client.state)
    assert.same({1, "two", {three = 3}}, (ask(client, "echo", 1, "two", {three = 3})))
    local _, err = ask(client, "fault")
    assert.same({42, "not now", 5}, {err.code, err.message, err.data.after})
    assert.equal("not now (42)", tostring(err))
    local lines = support.logged(function() _, err = ask(client, "crash") end)
    assert.equal(1, #lines)
    assert.same({-32603, "internal error"}, {err.code, err.message})
    _, err = ask(client, "nothing")
    assert.equal(-32601, err.code)
  end)

  it("shows a token first, and asks once more for another", function()
    local class = game {resumeTime = 5}
    class.auth = function(token)
      local name = token:match("^right (%w+)$")
      if not name then return nil, "wrong" end
      return {id = name}
    end
    function class.remote:who() return self.user.id end
    local _, url = serve(class)
    support.logged(function()
      assert.equal("ann", (ask(connect(url, {token = "right ann"}), "who")))
      local asked = 0
      local client = connect(url, {firstWait = 0.01, token = function()
        sync.sleep(0.01)
        asked = asked + 1
        return asked == 1 and "old" or "right bob"
      end})
      assert.equal("bob", (ask(client, "who")))
      assert.equal(2, asked)
      client:drop("for this test")
      assert.equal("bob", (ask(client, "who")))
      assert.is_true(client.resumed)
      assert.equal(3, asked)
      for _, token in ipairs {"secret", function() return "secret" end} do
        local refused = connect(url, {token = token, firstWait = 0.01})
        local _, err = ask(refused, "who")
        assert.equal("closed", err.code)
        assert.matches("token was refused: wrong", err.message)
        assert.is_nil(tostring(err):find("secret", 1, true))
        assert.equal("closed", refused.state)
      end
      local broken = connect(url, {token = function() error("no network") end, firstWait = 0.01})
      wait(function() return broken.attempt > 1 end)
    end)
    assert.matches("token", support.raised(sync.connect, url, {token = 7}))
  end)

  it("speaks each framing", function()
    for _, framing in ipairs {"null", "line", "length16", "length32"} do
      local _, url = serve(game(), {framing = framing})
      assert.equal(framing, (ask(connect(url, {framing = framing}), "echo", framing)))
    end
  end)

  it("connects to names, IPv6 and Unix sockets", function()
    local class = game()
    local listener = serve(class)
    assert.equal(1, (ask(connect("tcp://localhost:" .. listener.port), "echo", 1)))
    local path = os.tmpname()
    os.remove(path)
    closing[#closing + 1] = sync.enable("unix:" .. path, class)
    assert.equal(2, (ask(connect("unix:" .. path), "echo", 2)))
    assert.equal(2, (ask(connect("unix://" .. path), "echo", 2)))
    local ok, six = pcall(sync.enable, "::1", 0, class)
    if ok then
      closing[#closing + 1] = six
      assert.equal(3, (ask(connect(("tcp://[::1]:%d"):format(six.port)), "echo", 3)))
    end
  end)

  it("gets events, all of them by *, and one by once", function()
    local _, url = serve(game())
    local client, seen = connect(url), {}
    local function note(kind) return function(...) seen[#seen + 1] = {kind, ...} end end
    local stop = client:on("news", note "on")
    client:once("news", note "once")
    client:on("*", note "all")
    ask(client, "fire", "news", "a", 1)
    stop()
    ask(client, "fire", "news", "b")
    ask(client, "fire", "other")
    assert.same({{"on", "a", 1}, {"once", "a", 1}, {"all", "news", "a", 1}, {"all", "news", "b"},
      {"all", "other"}}, seen)
  end)

  it("answers the server's calls, with results, faults and errors", function()
    local _, url = serve(game())
    local client = connect(url)
    client:handle("double", function(x) return 2 * x end)
    client:handle("refuse", function() error(sync.fault(7, "never")) end)
    client:handle("break", function() error("secret") end)
    assert.equal(10, (ask(client, "ask", "double", 5)))
    local _, err = ask(client, "ask", "refuse")
    assert.same({7, "never"}, {err.code, err.message})
    support.logged(function() _, err = ask(client, "ask", "break") end)
    assert.same({-32603, "internal error"}, {err.code, err.message})
    client:handle("double", nil)
    _, err = ask(client, "ask", "double", 5)
    assert.equal(-32601, err.code)
  end)

  it("goes on when a listener of the user raises an error", function()
    local _, url = serve(game())
    local client, heard = connect(url), false
    client:on("news", function() error("mine") end)
    client:on("news", function() heard = true end)
    local lines = support.logged(function() ask(client, "fire", "news") end)
    assert.equal(1, #lines)
    assert.matches("error in on news: .*mine", lines[1])
    assert.is_true(heard)
    assert.equal("open", client.state)
  end)

  it("keeps a time limit, and drops an answer that comes too late", function()
    local class = game()
    local late
    function class.remote:slow() late = self:later() end
    local _, url = serve(class)
    local client = connect(url, {timeout = 0.05})
    local _, err = ask(client, "slow")
    assert.equal("timeout", err.code)
    late("too late")
    assert.equal("next", (ask(connect(url), "echo", "next")))
    assert.equal(0, client.requests.count)
  end)

  it("bounds calls that wait for answers, and those that wait for a connection", function()
    local listener, url = serve(game())
    local client = connect(url, {pendingLimit = 2, queueLimit = 1})
    local codes = {}
    local function note(_, err) codes[#codes + 1] = err and err.code end
    client:call("never", note)
    client:call("never", note)
    assert.same({"full"}, codes)
    client:call("never", note)
    assert.same({"full", "full"}, codes)
    wait(isOpen(client))
    listener:close()
    client:close()
    assert.same({"full", "full", "closed"}, codes)
    assert.same({false, "closed"}, {client:notify("echo")})
  end)

  it("fails each call once when it closes, also those that are called then", function()
    local _, url = serve(game())
    local client, told = connect(url), {}
    wait(isOpen(client))
    local function again(_, err)
      told[#told + 1] = err.code
      if #told <= 50 then client:call("never", again) end
    end
    for _ = 1, 5 do client:call("never", again) end
    client:close()
    assert.equal(55, #told)
    for _, code in ipairs(told) do assert.equal("closed", code) end
  end)

  it("queues what is called while away, in order, or refuses it", function()
    local class = game()
    local listener, url = serve(class)
    listener:close()
    local heard = {}
    function class.remote:note(x) heard[#heard + 1] = x end -- luacheck: ignore self
    local client = connect(url, {firstWait = 0.05, longestWait = 0.1})
    local refusing = connect(url, {offline = "refuse", firstWait = 0.05})
    assert.same({false, "offline"}, {refusing:notify("note", 9)})
    for i = 1, 5 do assert.is_true(client:notify("note", i)) end
    wait(function() return client.state == "waiting" end)
    closing[#closing + 1] = sync.enable("127.0.0.1", listener.port, class)
    wait(function() return #heard == 5 end)
    assert.same({1, 2, 3, 4, 5}, heard)
  end)

  it("gives up after so many attempts, and tells why", function()
    local listener, url = serve(game())
    listener:close()
    local client, states = connect(url, {attempts = 2, firstWait = 0.01}), {}
    client:onState(function(state, detail) states[#states + 1] = {state, detail.reason} end)
    local _, err = ask(client, "echo")
    assert.equal("closed", err.code)
    local refused = "connection refused"
    assert.same({{"waiting", refused}, {"connecting"}, {"waiting", refused}, {"connecting"},
      {"closed", refused}}, states)
  end)

  it("comes back after a lost connection, and begins a session anew", function()
    local class = game()
    local _, url = serve(class)
    local client, sessions = connect(url, {firstWait = 0.02}), 0
    client:onSession(function() sessions = sessions + 1 end)
    wait(isOpen(client))
    for each in class.clients do each:abort() end
    local _, err = ask(client, "never")
    assert.equal("disconnected", err.code)
    assert.equal("back", (ask(client, "echo", "back")))
    assert.equal(2, sessions)
    assert.is_false(client.resumed)
  end)

  it("resumes a session: the same instance, and each event once, in order", function()
    local class = game {resumeTime = 5}
    local _, url = serve(class)
    local client, seen = connect(url, {firstWait = 0.02}), {}
    client:on("n", function(n) seen[#seen + 1] = n end)
    ask(client, "name", "ann")
    for n = 1, 30 do
      class.clients:fire("n", n)
      if n % 10 == 5 then
        client:drop("broken by the spec")
        wait(function() return class.clients:count() == 0 end)
      elseif n % 10 == 0 then
        wait(isOpen(client))
      end
    end
    wait(function() return #seen == 30 end)
    for n = 1, 30 do assert.equal(n, seen[n]) end
    assert.is_true(client.resumed)
    assert.equal(1, client.sessions)
    local only
    for each in class.clients do only = each end
    assert.equal("ann", only.name)
  end)

  it("gets the answer to a call that was in work when the connection broke", function()
    local class = game {resumeTime = 5}
    local answer
    function class.remote:slow() answer = self:later() end
    local _, url = serve(class)
    local client, got = connect(url, {firstWait = 0.02}), nil
    wait(isOpen(client))
    client:call("slow", function(result) got = result end)
    wait(function() return answer end)
    client:drop("broken by the spec")
    wait(function() return class.clients:count() == 0 end)
    answer("here")
    wait(function() return got end)
    assert.equal("here", got)
  end)

  it("is told that a server has gone: calls in work fail, but for those that were answered",
    function()
      local server = assert(socket.bind("127.0.0.1", 0))
      server:settimeout(0)
      local function accept() return (server:accept()) end
      local _, port = server:getsockname()
      local client, outcomes = connect("tcp://127.0.0.1:" .. port, {firstWait = 0.02}), {}
      local peer = wait(accept)
      peer:send('{"jsonrpc":"2.0","method":"sync.session","params":[{"token":"old","time":5}]}\0')
      wait(function() return client.token end)
      for _, name in ipairs {"answered", "lost", "lostToo"} do
        client:call(name, function(result, err)
          outcomes[#outcomes + 1] = err and err.code .. " " .. err.message or result
          if err then client:call("again", function(again) outcomes.again = again end) end
        end)
      end
      peer:close()
      peer = wait(accept)
      client:call("queued", function(result) outcomes.queued = result end)
      peer:send('{"jsonrpc":"2.0","id":"resume","result":{"resumed":true,"missed":1,' ..
        '"callsLost":true}}\0{"jsonrpc":"2.0","id":1,"result":"in time"}\0')
      wait(function() return outcomes[1] end)
      assert.same({"in time"}, outcomes)
      peer:send('{"jsonrpc":"2.0","method":"sync.session","params":[{"token":"new","time":5}]}\0')
      wait(function() return outcomes[3] end)
      table.sort(outcomes)
      local gone = ": the server that it was sent to has gone: the call may have been done, " ..
        "or not"
      assert.same({"disconnected lost" .. gone, "disconnected lostToo" .. gone, "in time"},
        outcomes)
      peer:send('{"jsonrpc":"2.0","id":4,"result":1}\0{"jsonrpc":"2.0","id":5,"result":2}\0' ..
        '{"jsonrpc":"2.0","id":6,"result":3}\0')
      wait(function() return outcomes.queued and outcomes.again end)
      assert.equal(1, outcomes.queued)
      assert.equal(1, client.sessions)
      wait(function() return client.requests.count == 0 end)
      peer:close()
      server:close()
    end)

  it("begins anew when more was missed than the server keeps", function()
    local class = game {resumeTime = 5, resumeMessages = 3}
    local _, url = serve(class)
    local client, seen = connect(url, {firstWait = 0.02}), {}
    client:on("n", function(n) seen[#seen + 1] = n end)
    ask(client, "name", "ann")
    client:drop("broken by the spec")
    wait(function() return class.clients:count() == 0 end)
    for n = 1, 10 do class.clients:fire("n", n) end
    wait(isOpen(client))
    assert.equal(2, client.sessions)
    ask(client, "fire", "n", 11)
    assert.same({11}, seen)
  end)

  it("notices a server that is silent", function()
    local silent = assert(socket.bind("127.0.0.1", 0))
    local _, port = silent:getsockname()
    local client = connect("tcp://127.0.0.1:" .. port,
      {heartbeat = 0.05, connectTimeout = 0.1, firstWait = 60, jitter = 0})
    local reason
    client:onState(function(_, detail) reason = reason or detail.reason end)
    wait(function() return reason end)
    assert.equal("silent for 0.1 s", reason)
    silent:close()
  end)

  it("does not come back when it was told not to, or is closed", function()
    local class = game()
    local _, url = serve(class)
    local client = connect(url, {reconnect = false})
    wait(isOpen(client))
    for each in class.clients do each:abort() end
    wait(function() return client.state == "closed" end)
    local other = connect(url)
    wait(isOpen(other))
    other:close()
    other:close()
    assert.equal("closed", other.state)
    wait(function() return class.clients:count() == 0 end)
  end)

  it("passes over what can't be read", function()
    local server = assert(socket.bind("127.0.0.1", 0))
    local _, port = server:getsockname()
    local client = connect("tcp://127.0.0.1:" .. port)
    wait(isOpen(client))
    local peer = server:accept()
    local heard
    client:on("fine", function(value) heard = value end)
    local lines = support.logged(function()
      peer:send("{\0[1,2]\0null\0" .. '{"jsonrpc":"2.0","id":77,"result":1}\0' ..
        '{"jsonrpc":"2.0","method":"fine","params":["yes"]}\0')
      wait(function() return heard end)
    end)
    assert.equal("yes", heard)
    assert.equal(1, #lines)
    assert.matches("can't be read", lines[1])
    peer:close()
    server:close()
  end)

  it("says what is wrong with a URL or an option", function()
    assert.equal('sync.connect: "http://x" is neither tcp://HOST:PORT, tls://HOST:PORT nor ' ..
      "unix:/PATH",
      support.raised(sync.connect, "http://x"))
    assert.equal("sync.connect: the URL must be a string, not nil", support.raised(sync.connect))
    assert.matches("tcp://x:0", support.raised(sync.connect, "tcp://x:0"))
    assert.equal("sync.connect: unknown option timout; did you mean timeout?",
      support.raised(sync.connect, "tcp://x:1", {timout = 1}))
    assert.equal("sync.connect: option timeout must be a number, not soon",
      support.raised(sync.connect, "tcp://x:1", {timeout = "soon"}))
    assert.matches('must be "queue" or "refuse"',
      support.raised(sync.connect, "tcp://x:1", {offline = "wait"}))
    assert.matches("framing must be one of",
      support.raised(sync.connect, "tcp://x:1", {framing = "json"}))
    local client = connect("tcp://127.0.0.1:1", {reconnect = false})
    assert.equal("call(name, …, fn): the last argument must be a function, outside " ..
      "sync.spawn; notify needs none",
      support.raised(client.call, client, "join", "ann"))
    assert.matches("join: argument 2: ", support.raised(client.notify, client, "join", 1, print))
  end)

  it("names the line that has called it wrongly", function()
    local client = connect("tcp://127.0.0.1:1", {reconnect = false})
    local here = debug.getinfo(1, "S").short_src
    local function line(fn)
      local from = debug.getinfo(fn, "S").linedefined
      local _, err = pcall(fn)
      assert.equal(("%s:%d:"):format(here, from + 1), err:match("^.-:%d+:"))
    end
    line(function()
      sync.connect("nowhere")
    end)
    line(function()
      sync.connect("tcp://x:1", {timout = 1})
    end)
    line(function()
      client:call("join", "ann")
    end)
    line(function()
      client:call(7, print)
    end)
    line(function()
      client:notify("join", print)
    end)
    line(function()
      client:create("Arena")
    end)
    line(function()
      client:rooms("Arena")
    end)
    line(function()
      client:on("news", 1)
    end)
    line(function()
      client:onState(1)
    end)
  end)

  it("tells of a host that nobody knows", function()
    local client = connect("tcp://nobody.invalid:1", {reconnect = false})
    local _, err = ask(client, "echo")
    assert.equal("closed", err.code)
    assert.matches("nobody.invalid", err.message, 1, true)
  end)
end)
