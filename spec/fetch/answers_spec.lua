-- sync.http: requests and answers, with a server of Node.js.

local Process = require "spec.support.process"
local fetch = require "spec.fetch.support"
local missing = require "spec.support.missing"
local support = require "spec.support"
local sync = require "sync"

describe("sync.http", function()
  local peer

  setup(function() peer = fetch.peer() end)
  teardown(function() Process.cleanUp() end)

  local function get(path, more) return fetch.get(peer, path, more) end
  local function echo(more) return get("/echo", more):json() end

  it("asks and gets an answer", function()
    local response = assert(get "/headers")
    assert.equal(200, response.status)
    assert.equal("Fine, thanks", response.reason)
    assert.equal(1.1, response.version)
    assert.equal("", response.body)
    assert.equal(peer.url .. "/headers", response.url)
    assert.same({["set-cookie"] = {"a=1", "b=2, c"}, ["x-two"] = "one, two", ["x-empty"] = "",
      ["content-length"] = "0"}, response.headers)
    assert.same({404, "told"}, {get("/status?code=404").status, get("/status?code=404").body})
    assert.equal("hello world", get("/chunks").body)
    assert.equal("late", get("/early").body)
    assert.is_nil(get("/early").headers["x-early"])
  end)

  it("says what it was told to", function()
    local seen = echo()
    assert.same({"GET", "/echo", ""}, {seen.method, seen.path, seen.body})
    assert.equal("sync/" .. sync.version, seen.headers["user-agent"])
    seen = echo {json = {text = "é", list = sync.list {1}}}
    assert.same({"POST", "application/json"}, {seen.method, seen.headers["content-type"]})
    assert.matches('"list":%[1%]', seen.body)
    seen = echo {method = "PUT", body = "\0\1\255", headers = {["X-A"] = "b", ["x-empty"] = "",
      ["User-Agent"] = "mine", ["x-number"] = 7}}
    assert.same({"PUT", "\0\1ÿ", "b", "", "mine", "7"}, {seen.method, seen.body,
      seen.headers["x-a"], seen.headers["x-empty"], seen.headers["user-agent"],
      seen.headers["x-number"]})
    assert.is_nil(seen.headers["content-type"])
    assert.is_nil(seen.headers.expect)
    seen = echo {form = {b = {"1 & 2", "ü"}, a = true}, query = {q = "a b#c"}}
    assert.same({"a=true&b=1%20%26%202&b=%C3%BC", "/echo?q=a%20b%23c"}, {seen.body, seen.path})
    assert.equal("application/x-www-form-urlencoded", seen.headers["content-type"])
    seen = echo {method = "POST"}
    assert.same({"POST", "0"}, {seen.method, seen.headers["content-length"]})
    assert.equal("DELETE", echo {method = "DELETE"}.method)
    assert.equal("PATCH", echo {method = "PATCH", body = "x"}.method)
    assert.equal("Bearer abc", echo {token = "abc"}.headers.authorization)
    assert.equal("Basic YW5uOmE6Yg==", echo {user = "ann", password = "a:b"}.headers.authorization)
    local head = assert(get("/echo", {method = "HEAD"}))
    assert.same({200, ""}, {head.status, head.body})
  end)

  it("sends a large body", function()
    local body = ("0123456789abcdef"):rep(256 * 1024)
    assert.equal(#body, #echo {body = body, maxBody = 2 ^ 23}.body)
  end)

  it("inflates, and reads JSON", function()
    local response = get "/gzip"
    assert.equal("compressed", response.body)
    assert.equal("gzip, deflate", response.headers["x-accepted"])
    local value, problem = response:json()
    assert.is_nil(value)
    assert.matches("^sync.http: the answer of http://127.0.0.1:%d+/gzip is no JSON", problem)
  end)

  it("follows redirects within a bound", function()
    local response = assert(get "/chain?left=5")
    assert.same({"arrived", peer.url .. "/chain?left=0"}, {response.body, response.url})
    local nothing, problem, code = get "/chain?left=6"
    assert.same({nil, "redirects"}, {nothing, code})
    assert.matches("more than 5 redirects", problem)
    response = get("/chain?left=6", {redirects = 0})
    assert.same({302, "/chain?left=5"}, {response.status, response.headers.location})
    code = select(3, get("/redirect?to=/redirect", {redirects = 20}))
    assert.is_nil(code) -- it ends at /redirect without a target
    code = select(3, get "/redirect?to=ftp://127.0.0.1/")
    assert.equal("redirects", code)
    code = select(3, get "/redirect?to=file:///etc/passwd")
    assert.equal("redirects", code)
  end)

  it("keeps the method where it must, and keeps secrets from elsewhere", function()
    local function moved(code, more)
      more.url = ("%s/redirect?code=%d&to=/echo"):format(peer.url, code)
      return get("", more):json()
    end
    for _, code in ipairs {301, 302, 303} do
      local seen = moved(code, {json = {1}})
      assert.same({"GET", ""}, {seen.method, seen.body})
      assert.is_nil(seen.headers["content-type"])
    end
    for _, code in ipairs {307, 308} do
      local seen = moved(code, {json = {1}})
      assert.same({"POST", "[1]"}, {seen.method, seen.body})
    end
    assert.equal("PUT", moved(302, {method = "PUT", body = "x"}).method)
    assert.equal("GET", moved(303, {method = "PUT", body = "x"}).method)
    assert.equal("Bearer abc", moved(302, {token = "abc"}).headers.authorization)
    local other = fetch.peer()
    local seen = get("/redirect?to=" .. other.url .. "/echo", {token = "abc", headers = {
      Cookie = "a=1", ["X-Mine"] = "stays"}}):json()
    assert.is_nil(seen.headers.authorization)
    assert.is_nil(seen.headers.cookie)
    assert.equal("stays", seen.headers["x-mine"])
  end)

  it("reads a body by pieces, and lets the server wait", function()
    local size = 32 * 1024 * 1024
    fetch.waits(function()
      local response = assert(sync.http(fetch.options(peer, "/pieces?size=" .. size,
        {stream = true, maxBody = 1})))
      assert.is_nil(response.body)
      local first = assert(response:read())
      assert.equal("abcdefgh", first:sub(1, 8))
      -- What the kernel holds may go on; the rest stays with the server.
      local before
      repeat
        before = sync.http(fetch.options(peer, "/seen")):json().pieces
        sync.sleep(0.3)
      until sync.http(fetch.options(peer, "/seen")):json().pieces == before
      assert.is_true(before < size, before)
      local taken = #first
      for piece in response:pieces() do
        assert.is_true(#piece <= 128 * 1024, #piece)
        taken = taken + #piece
      end
      assert.equal(size, taken)
      assert.is_nil(response:read())
    end)
  end)

  it("ends a body by pieces that nobody wants any more", function()
    fetch.waits(function()
      local response = assert(sync.http(fetch.options(peer, "/huge", {stream = true})))
      assert(response:read())
      response:close()
      response:close()
      assert.is_nil(response:read())
      response = assert(sync.http(fetch.options(peer, "/short", {stream = true})))
      assert.equal("only this", response:read())
      local nothing, problem, code = response:read()
      assert.same({nil, "cut"}, {nothing, code})
      assert.matches("ended before", problem)
      assert.equal("cut", select(3, response:read()))
      assert.has_error(function()
        for _ in sync.http(fetch.options(peer, "/reset", {stream = true})):pieces() do end
      end)
    end)
    assert.equal(0, (sync.http.state()))
  end)

  it("never sends twice what must not be carried out twice", function()
    local function dies(more)
      return select(3, get("/dies", more))
    end
    assert.is_nil(dies())
    assert.is_nil(dies()) -- the connection that was kept is dead: on a new one
    local before = get("/seen"):json().dies
    assert.is_nil(dies {method = "PUT", body = "x"})
    local after = get("/seen"):json().dies
    assert.is_true(after > before)
    -- A POST meets a kept connection that dies under it.
    local codes = {}
    for _ = 1, 4 do
      before = get("/seen"):json().dies
      codes[#codes + 1] = dies {body = "x"} or "answered"
      assert.equal(before + 1, get("/seen"):json().dies)
    end
    assert.is_true((table.concat(codes, " ")):find "cut" ~= nil, table.concat(codes, " "))
  end)

  it("sends without waiting, and logs what fails", function()
    local lines = support.logged(function()
      assert.is_true(sync.http.send(fetch.options(peer, "/echo", {json = {1}})))
      assert.is_true(sync.http.send(fetch.options(peer, "/status?code=500&token=secret")))
      support.wait(function() return (sync.http.state()) == 0 end)
      assert.is_true(sync.http.send {url = "http://ann:secret@127.0.0.1:1/hook", proxy = false})
      support.wait(function() return (sync.http.state()) == 0 end)
    end)
    assert.equal(2, #lines)
    assert.matches("WARN.*http://127.0.0.1:%d+/status: the answer was 500", lines[1])
    assert.matches("WARN.*http://127.0.0.1:1/hook: nobody answers there", lines[2])
    assert.is_nil(table.concat(lines):find "secret")
  end)

  it("refuses what makes no sense", function()
    local function refused(options)
      return fetch.waits(function()
        return support.raised(function() sync.http(options) end)
      end)
    end
    local url = peer.url
    for pattern, options in pairs {
      ["url must be a string"] = {},
      ["is no URL"] = "gopher://x/",
      ["is no URL of http"] = "http://",
      ["there is no option bodi"] = {url = url, bodi = "x"},
      ["timeout must be seconds"] = {url = url, timeout = 0},
      ["maxBody must be"] = {url = url, maxBody = -1},
      ["give one of"] = {url = url, body = "x", json = {}},
      ["method must be"] = {url = url, method = "get"},
      ["must be a text of one line"] = {url = url, headers = {x = "a\r\nEvil: 1"}},
      ["is no name of a header"] = {url = url, headers = {["a b"] = "x"}},
      ["made by itself"] = {url = url, headers = {["Content-Length"] = "1"}},
      ["token must be"] = {url = url, token = "a\r\nb"},
      ["forbid must be"] = {url = url, forbid = "10.0.0.0/99"},
      ["HEAD has no body"] = {url = url, method = "HEAD", body = "x"},
      ["json: "] = {url = url, json = print},
    } do
      assert.matches(pattern, refused(options))
    end
    assert.matches("is no URL", refused(url .. "/a\r\nEvil: 1"))
    assert.matches("inside sync.spawn", support.raised(function() sync.http(url) end))
    assert.matches("no setting perhost", support.raised(function() sync.http.perhost = 1 end))
  end)

  it("says which package lacks", function()
    local output = missing.run("libcurl", [[
      local sync = require "sync"
      sync.spawn(function() print(sync.http "http://127.0.0.1/") end)
      print(sync.http.send "http://127.0.0.1/")
    ]])
    assert.matches("nil\tsync.http: the library libcurl is missing: apt%-get install libcurl4",
      output)
    assert.matches("false\tsync.http: the library libcurl is missing", output)
  end)
end)
