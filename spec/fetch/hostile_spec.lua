-- sync.http: servers that are slow, broken, huge, or that lie; and addresses that are forbidden.

local Process = require "spec.support.process"
local Program = require "spec.support.program"
local fetch = require "spec.fetch.support"
local library = require "sync.fetch.library"
local support = require "spec.support"
local sync = require "sync"

local LIMITS = {timeout = 20, connectTimeout = 20, idleTimeout = 20}

describe("sync.http", function()
  local peer

  setup(function() peer = fetch.peer() end)
  teardown(function() Process.cleanUp() end)
  after_each(function() assert.equal(0, (sync.http.state())) end)

  -- What becomes of a path: the code of the failure, or the status; and the message or the body.
  local function result(path, more, from)
    local options = {}
    for name, value in pairs(LIMITS) do options[name] = value end
    for name, value in pairs(more or {}) do options[name] = value end
    local response, problem, code = fetch.get(from or peer, path, options)
    if response then return response.status, response.body end
    return code, problem
  end

  it("tells answers that aren't whole, or no answers", function()
    for path, expected in pairs {
      ["/short"] = "cut", ["/reset"] = "cut", ["/nothing"] = "cut", ["/badchunks"] = "broken",
      ["/badgzip"] = "broken", ["/negative"] = "broken", ["/hugechunk"] = "broken",
    } do
      local code, text = result(path)
      assert.equal(expected, code, path .. ": " .. tostring(text))
      assert.matches("^sync.http: GET http://127.0.0.1:%d+" .. path .. ": ", text)
    end
    local code = result "/garbage" -- HTTP/0.9 would take anything for an answer
    assert.is_true(code == "broken" or code == "failed", code)
  end)

  it("takes a body for as long as its length says", function()
    assert.same({200, "four"}, {result "/long"})
    local code, text = result "/twolengths"
    assert.is_true(code == "broken" or code == "cut" or code == 200 and text == "four", text)
  end)

  it("stops at its bounds", function()
    for path, expected in pairs {
      ["/huge"] = "maxBody", ["/bomb"] = "maxBody", ["/bomb?twice=1"] = "maxBody",
      ["/manyheaders"] = "maxHead", ["/informational"] = "maxHead", ["/trailers"] = "maxHead",
    } do
      local code, text = result(path)
      assert.equal("too large", code, path .. ": " .. tostring(text))
      assert.matches(expected, text)
    end
    local code = result "/longheader" -- libcurl has a bound of its own for one line
    assert.is_true(code == "too large" or code == "memory" or code == "failed", code)
    assert.equal("too large", (result("/said", {idleTimeout = 0.3, maxBody = 10})))
    assert.same({200, "late"}, {result("/early", {maxBody = 4})})
    assert.equal("too large", (result("/early", {maxBody = 3})))
  end)

  it("keeps its time limits", function()
    for path, limits in pairs {
      ["/silent"] = {idleTimeout = 0.2}, ["/stalled"] = {idleTimeout = 0.2},
      ["/slowly"] = {timeout = 1.5, idleTimeout = 1.4},
    } do
      local code, text = result(path, limits)
      assert.equal("timeout", code, path)
      assert.matches(limits.timeout and "whole within timeout" or "for idleTimeout", text)
    end
    -- Nobody accepts: the queue of one who listens fills up, and connecting takes for ever.
    local socket = require "socket"
    local deaf = assert(socket.bind("127.0.0.1", 0, 1))
    local port, crowd = select(2, deaf:getsockname()), {}
    for i = 1, 4 do
      crowd[i] = socket.tcp()
      crowd[i]:settimeout(0)
      crowd[i]:connect("127.0.0.1", port)
    end
    local code, text = result("/", {connectTimeout = 0.2}, {url = "http://127.0.0.1:" .. port})
    assert.equal("timeout", code)
    assert.matches("within connectTimeout", text)
    deaf:close()
    for _, client in ipairs(crowd) do client:close() end
  end)

  it("isn't held up by a piece of a stream that waits to be read", function()
    fetch.waits(function()
      local response = assert(sync.http(fetch.options(peer, "/pieces?size=9000000",
        {stream = true, idleTimeout = 0.2})))
      assert(response:read())
      sync.sleep(0.6)
      local taken = 0
      for piece in response:pieces() do taken = taken + #piece end
      assert.is_true(taken > 8900000)
    end)
  end)

  it("fails when the server is killed, and tells a stopped one by time", function()
    local other = fetch.peer()
    local codes = {}
    for _, path in ipairs {"/stalled", "/silent", "/slowly"} do
      sync.spawn(function()
        local code = select(3, sync.http(fetch.options(other, path, LIMITS)))
        codes[#codes + 1] = code
      end)
    end
    assert.equal(200, (result("/echo", nil, other)))
    other.process:kill "STOP"
    assert.equal("timeout", (result("/echo", {idleTimeout = 0.3}, other)))
    other.process:kill "CONT"
    assert.equal(200, (result("/echo", nil, other)))
    other.process:kill "KILL"
    support.wait(function() return #codes == 3 end)
    assert.same({"cut", "cut", "cut"}, codes)
    assert.equal("away", (result("/echo", nil, other)))
  end)

  it("has at most so many of a host under way, and so many in a line", function()
    local most, perHost, queue = sync.http.most, sync.http.perHost, sync.http.queue
    sync.http.perHost, sync.http.queue = 3, 4
    local other = fetch.peer()
    local done, codes = 0, {}
    for _ = 1, 9 do
      sync.spawn(function()
        local response, _, code = sync.http(fetch.options(other, "/hold", LIMITS))
        done = done + (response and 1 or 0)
        codes[#codes + 1] = code
      end)
    end
    assert.same({"busy", "busy"}, codes)
    assert.same({3, 4}, {sync.http.state()})
    assert.is_false((sync.http.send(fetch.options(other, "/echo"))))
    assert.equal(200, (result "/echo")) -- another host's has its own places
    sync.http.queue = 5
    assert.equal("busy", (result("/echo", {timeout = 0.1}, other))) -- no place in time
    sync.http.perHost = 4
    assert.equal(3, fetch.get(other, "/seen"):json().most)
    sync.http.perHost = 6
    support.wait(function()
      fetch.waits(function() sync.http(fetch.options(other, "/release")) end)
      return done == 7
    end)
    sync.http.most = 1
    assert.equal(200, (result "/echo"))
    sync.http.most, sync.http.perHost, sync.http.queue = most, perHost, queue
  end)

  it("ends a request whose function is cancelled, or whose time is over", function()
    local other = fetch.peer()
    local perHost = sync.http.perHost
    sync.http.perHost = 2
    local function ask()
      sync.http(fetch.options(other, "/hold", LIMITS))
      error "it was answered"
    end
    local tasks = {sync.spawn(ask), sync.spawn(ask), sync.spawn(ask)}
    assert.same({2, 1}, {sync.http.state()})
    tasks[3]:cancel() -- in the line
    assert.same({2, 0}, {sync.http.state()})
    local waiting = sync.spawn(ask)
    support.wait(function() return other.process and (sync.http.state()) == 2 end)
    sync.http.perHost = 3
    support.wait(function() return fetch.get(other, "/seen"):json().waiting == 2 end)
    sync.http.perHost = 2
    tasks[1]:cancel() -- its place goes to who waits
    support.wait(function()
      local running, inLine = sync.http.state()
      return running == 2 and inLine == 0
    end)
    tasks[2]:timeout(0.1)
    support.wait(function() return tasks[2].status == "failed" end)
    waiting:cancel()
    assert.same({0, 0}, {sync.http.state()})
    support.wait(function() return (fetch.get(other, "/seen"):json().gone or 0) >= 2 end)
    assert.equal("cancelled", tasks[1].status)
    sync.http.perHost = perHost
    -- By pieces, too, and while a name is looked up.
    local read = sync.spawn(function()
      local response = sync.http(fetch.options(other, "/stalled", {stream = true}))
      assert.equal("half", response:read())
      response:read()
    end)
    support.wait(function() return (sync.http.state()) == 1 end)
    fetch.waits(function() sync.sleep(0.1) end)
    read:cancel()
    assert.equal(0, (sync.http.state()))
    local named = sync.spawn(function()
      sync.http {url = "http://nobody.invalid/", proxy = false}
    end)
    named:cancel()
    support.wait(function() return (sync.http.state()) == 0 end)
  end)

  describe("forbid", function()
    it("knows addresses in all their forms", function()
      local private = {}
      for _, network in ipairs {"10.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "::1/128"} do
        private[#private + 1] = network
      end
      for _, address in ipairs {"127.0.0.1", "10.1.2.3", "::1", "::ffff:127.0.0.1",
        "::ffff:7f00:1", "::127.0.0.1", "64:ff9b::10.0.0.1", "2002:7f00:1::", "2002:a9fe:a9fe::1",
        "::ffff:0:169.254.169.254", "no address"} do
        assert.is_true(library.forbids(private, address), address)
      end
      for _, address in ipairs {"8.8.8.8", "2606:4700::1111", "::ffff:8.8.8.8",
        "64:ff9b::8.8.8.8", "2002:808:808::", "128.0.0.1"} do
        assert.is_false(library.forbids(private, address), address)
      end
    end)

    it("refuses what isn't on the public internet, by whatever name", function()
      local before = fetch.get(peer, "/echo"):json().requests
      local port = peer.port
      for _, host in ipairs {"127.0.0.1", "localhost", "2130706433", "0x7f000001", "0177.0.0.1",
        "127.1", "0", "0.0.0.0", "[::1]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]",
        "169.254.169.254", "10.0.0.1", "192.168.1.1", "[64:ff9b::127.0.0.1]", "[fe80::1]"} do
        local code, text = result("/echo", {forbid = "private"}, {url = "http://" .. host .. ":" ..
          port})
        assert.equal("forbidden", code, host .. ": " .. tostring(text))
      end
      assert.equal(before + 1, fetch.get(peer, "/echo"):json().requests)
    end)

    it("looks at each redirect, and at connections that were kept", function()
      local other = fetch.peer()
      assert.equal(200, (result("/echo", nil, other))) -- a connection that is kept
      local network = "127.0.0.1/32"
      assert.equal("forbidden", (result("/echo", {forbid = {network}}, other)))
      -- One that is allowed leads to one that isn't.
      local allowed = Program.serve([[
        local Web = sync.Protocol:extend("Web")
        Web.transports = {"http"}
        Web.routes = {["GET /to"] = function(class, request)
          return 302, "", {Location = "]] .. other.url .. [[/echo"}
        end}
        sync.enable("127.0.0.2", 0, Web)
        sync.start()
      ]])
      local port = allowed:expect("stderr", "listens on %S-:(%d+)")
      local code, text = result("/to", {forbid = {network}}, {url = "http://127.0.0.2:" .. port})
      assert.equal("forbidden", code, text)
      assert.matches(other.url .. "/echo", text)
      assert.equal(200, (result("/to", nil, {url = "http://127.0.0.2:" .. port})))
    end)

    it("is refused together with a proxy", function()
      assert.matches("can't be kept by a proxy", support.raised(function()
        fetch.get(peer, "/", {forbid = "private", proxy = "http://127.0.0.1:1"})
      end))
      local process = Process.start {"env", "https_proxy=http://127.0.0.1:1", Program.path,
        Process.file [[
          local sync = require "sync"
          sync.spawn(function() sync.http {url = "http://127.0.0.1:1/", forbid = "private"} end)
        ]]}
      process:wait()
      assert.matches("environment names %(https_proxy%)", process:stderr())
    end)
  end)
end)
