-- What a request says beside its path, and what its answer carries.

local Http = require "spec.support.http"
local cookies = require "sync.http.cookies"
local form = require "sync.http.form"
local refusal = require "sync.http.refusal"
local support = require "spec.support"

local BOUNDS = {maxFields = 5, maxFieldName = 10, maxField = 20}

-- What a form is refused with.
local function refused(...)
  local ok, problem = pcall(form.read, ...)
  assert.is_false(ok)
  assert.is_true(refusal.is(problem), tostring(problem))
  return problem.status
end

local function part(head, body) return "--b\r\n" .. head .. "\r\n\r\n" .. body .. "\r\n" end
local function field(name, body)
  return part(('Content-Disposition: form-data; name="%s"'):format(name), body)
end
local function file(name, filename, body, kind)
  return part(('Content-Disposition: form-data; name="%s"; filename="%s"%s'):format(name, filename,
    kind and "\r\nContent-Type: " .. kind or ""), body)
end
local MULTIPART = "multipart/form-data; boundary=b"

describe("cookies", function()
  it("are read as browsers send them", function()
    assert.same({a = "1", b = "x=y", c = "a;b\r\n", d = "", ["$Version"] = "q q"},
      cookies.read 'a=1; b="x=y";c=a%3Bb%0D%0A;a=2; d=; $Version=q q; bad name=1; =x; novalue')
    assert.same({}, cookies.read(nil))
  end)

  it("are written with what is safe, and what is read is what was written", function()
    assert.equal("s=1; Path=/; HttpOnly; SameSite=Lax", cookies.write("s", "1", {}, false))
    assert.equal("s=1; Path=/; Secure; HttpOnly; SameSite=Lax", cookies.write("s", "1", {}, true))
    assert.equal("s=; Path=/; Max-Age=0; Expires=Thu, 01 Jan 1970 00:00:00 GMT; HttpOnly; " ..
      "SameSite=Lax", cookies.write("s", nil, {}, false))
    assert.equal("s=1; Path=/a; Max-Age=60; Domain=example.com; Secure; SameSite=None",
      cookies.write("s", 1, {path = "/a", maxAge = 60, domain = "example.com", secure = true,
        httpOnly = false, sameSite = "None"}, false))
    local all = {}
    for byte = 0, 255 do all[#all + 1] = string.char(byte) end
    local bytes = table.concat(all)
    local line = cookies.write("s", bytes, {}, false)
    assert.is_nil(line:find "[%c\127-\255]")
    assert.equal(bytes, cookies.read(line:match "^[^;]*").s)
  end)

  it("that can't be written are errors", function()
    for _, case in ipairs {
      {"a b", "1", {}}, {"", "1", {}}, {"a\r\nX: y", "1", {}}, {"a", {}, {}}, {"a", true, {}},
      {"a", ("x"):rep(4096), {}}, {"a", "1", {path = "x"}}, {"a", "1", {path = "/;Domain=x"}},
      {"a", "1", {domain = "x\r\ny"}}, {"a", "1", {sameSite = "lax"}},
      {"a", "1", {sameSite = "None"}}, {"a", "1", {maxage = 1}}, {"a", "1", {maxAge = "1"}},
      {"__Host-a", "1", {}}, {"__Host-a", "1", {secure = true, path = "/x"}},
      {"__Secure-a", "1", {}},
    } do
      assert.has_error(function() cookies.write(case[1], case[2], case[3], false) end)
    end
    assert.truthy(cookies.write("__Host-a", "1", {}, true))
  end)
end)

describe("a form", function()
  it("is read urlencoded", function()
    local kind = "application/x-www-form-urlencoded; charset=UTF-8"
    local read = form.read(kind, "a=1+2&b=%C3%A4%0d%00&a=3&c&=e", BOUNDS)
    assert.equal("1 2", read.a)
    assert.equal("ä\r\0", read.b)
    assert.equal("", read.c)
    assert.equal("e", read[""])
    assert.same({name = "a", value = "3"}, read[3])
    assert.equal(5, #read)
    assert.same({}, form.read(kind, "", BOUNDS))
    assert.equal(413, refused(kind, "a&b&c&d&e&f", BOUNDS))
    assert.equal(413, refused(kind, ("x"):rep(11) .. "=1", BOUNDS))
    assert.equal(413, refused(kind, "a=" .. ("x"):rep(21), BOUNDS))
    assert.equal(415, refused("text/plain", "a=1", BOUNDS))
    assert.equal(415, refused(nil, "a=1", BOUNDS))
  end)

  it("is read as multipart, files too", function()
    local body = field("a", "1\r\n--c") .. file("f", "C:\\dir\\..\\x\1.png", "\0\r\n\255",
      "image/png") .. field("a", "") .. file("none", "", "") .. file("%22q", "..", "x") ..
      "--b--\r\n"
    local read = form.read(MULTIPART, body, BOUNDS)
    assert.equal("1\r\n--c", read.a)
    assert.same({name = "f", filename = "x.png", body = "\0\r\n\255", type = "image/png"}, read.f)
    assert.same({name = "a", value = ""}, read[3])
    assert.is_nil(read.none)
    assert.same({name = '"q', filename = "file", body = "x", type = "application/octet-stream"},
      read['"q'])
    assert.equal(4, #read)
    assert.equal("1", form.read('multipart/form-data; boundary="b"', "preamble\r\n" ..
      field("a", "1") .. "--b--", BOUNDS).a)
    assert.equal(0, #form.read(MULTIPART, "--b--", BOUNDS))
  end)

  it("that is broken, or beyond a bound, is refused", function()
    local whole = field("a", "1") .. file("f", "x", "yz") .. "--b--"
    for length = 0, #whole - 1 do
      local body = whole:sub(1, length)
      assert.equal(400, refused(MULTIPART, body, BOUNDS), body)
    end
    for _, body in ipairs {part("X: y", "1") .. "--b--", "--b junk\r\n\r\n--b--",
      part("Content-Disposition: form-data", "1") .. "--b--", part("", "1") .. "--b--",
      part('Content-Disposition: attachment; name="a"', "1") .. "--b--"} do
      assert.equal(400, refused(MULTIPART, body, BOUNDS), body)
    end
    for _, kind in ipairs {"multipart/form-data", "multipart/form-data; boundary=",
      "multipart/form-data; boundary=" .. ("b"):rep(71), "multipart/form-data; boundary=a\1"} do
      assert.equal(400, refused(kind, "--b--", BOUNDS), kind)
    end
    assert.equal(413, refused(MULTIPART, field("a", "1"):rep(6) .. "--b--", BOUNDS))
    assert.equal(413, refused(MULTIPART, field(("n"):rep(11), "1") .. "--b--", BOUNDS))
    assert.equal(413, refused(MULTIPART, file("a", "f", ("x"):rep(21)) .. "--b--", BOUNDS))
    assert.equal(413, refused(MULTIPART, part(("X: y\r\n"):rep(1000), "1") .. "--b--", BOUNDS))
  end)
end)

describe("a route", function()
  after_each(support.cleanUp)

  local function serve(routes, options, fields)
    local class = support.protocol(fields)
    for name, fn in pairs(routes) do class.routes[name] = fn end
    return Http.serve(class, options)
  end

  it("reads cookies, forms and JSON; what is none is refused by itself", function()
    local http = serve({
      ["GET /cookie"] = function(request) return request.cookies.session or "none" end,
      ["POST /form"] = function(request) return request.form.name end,
      ["POST /json"] = function(request) return {got = request.json.list[2]} end,
    }, {maxFields = 3})
    local function told(...)
      local status, body = http:ask(...)
      return status .. " " .. body
    end
    assert.equal("200 a b", told("GET /cookie", {Cookie = "x=1; session=a%20b"}))
    assert.equal("200 none", told "GET /cookie")
    local urlencoded = {["Content-Type"] = "application/x-www-form-urlencoded"}
    assert.equal("200 ann", told("POST /form", urlencoded, "name=ann"))
    assert.equal(413, (http:ask("POST /form", urlencoded, "a&b&c&d")))
    assert.equal(415, (http:ask("POST /form", {}, "name=ann")))
    assert.equal(400, (http:ask("POST /form", {["Content-Type"] = MULTIPART}, "x")))
    local json = {["Content-Type"] = "application/json; charset=utf-8"}
    assert.equal('200 {"got":2}', told("POST /json", json, '{"list":[1,2]}'))
    local status, text = http:ask("POST /json", json, '{"list":')
    assert.equal(400, status)
    assert.matches("^the body is no JSON: ", text)
    assert.equal(415, (http:ask("POST /json", urlencoded, "{}")))
    assert.equal(400, (http:ask("POST /json", json, ("["):rep(40) .. ("]"):rep(40))))
  end)

  it("sets cookies and headers, whatever the answer", function()
    local http = serve {
      ["GET /ok"] = function(request)
        request:setCookie("a", "1")
        request:setCookie("b", "2", {maxAge = 60})
        request:setHeader("X-More", 1)
        return 200, "ok", {["Set-Cookie"] = "c=3"}
      end,
      ["GET /broken"] = function(request)
        request:setCookie("a", "1")
        error "no"
      end,
      ["GET /bad"] = function(request) request:setHeader("X-More", "a\r\nX-Evil: 1") end,
      ["GET /length"] = function() return 200, "ok", {["Content-Length"] = "1"} end,
      ["GET /chunked"] = function(request) request:setHeader("transfer-encoding", "chunked") end,
    }
    local status, _, head = http:ask "GET /ok"
    assert.equal(200, status)
    assert.same({"c=3", "a=1; Path=/; HttpOnly; SameSite=Lax",
      "b=2; Path=/; Max-Age=60; HttpOnly; SameSite=Lax"}, Http.lines(head, "Set-Cookie"))
    assert.same({"1"}, Http.lines(head, "X-More"))
    status, _, head = http:ask "GET /broken"
    assert.equal(500, status)
    assert.equal(1, #Http.lines(head, "Set-Cookie"))
    for _, path in ipairs {"bad", "length", "chunked"} do
      status, _, head = http:ask("GET /" .. path)
      assert.equal(500, status)
      assert.same({}, Http.lines(head, "X-Evil"))
    end
  end)

  it("has a handshake carry headers, accepted or refused", function()
    local http = serve({}, nil, {onUpgrade = function(_, request)
      request:setCookie("seen", "1")
      if request.path == "/later" then return 503, "later", {["Retry-After"] = "5"} end
      if request.path == "/no" then return false, "no", {["X-Why"] = "so"} end
      return true, nil, {["X-Game"] = "7"}
    end})
    local upgrade = {Upgrade = "websocket", Connection = "Upgrade",
      ["Sec-WebSocket-Version"] = "13", ["Sec-WebSocket-Key"] = "dGhlIHNhbXBsZSBub25jZQ=="}
    local status, _, head = http:ask("GET /later", upgrade)
    assert.equal(503, status)
    assert.same({"5"}, Http.lines(head, "Retry-After"))
    assert.equal(1, #Http.lines(head, "Set-Cookie"))
    status, _, head = http:ask("GET /no", upgrade)
    assert.equal(403, status)
    assert.same({"so"}, Http.lines(head, "X-Why"))
    status, _, head = http:ask("GET /yes", upgrade)
    assert.equal(101, status)
    assert.same({"7"}, Http.lines(head, "X-Game"))
    assert.same({"seen=1; Path=/; HttpOnly; SameSite=Lax"}, Http.lines(head, "Set-Cookie"))
  end)

  it("lets pages of other sites read, as cors says", function()
    local routes = {["PUT /a"] = function() return "a" end}
    local function told(cors, options)
      options = options or {origins = {"https://a.example"}}
      options.cors = cors
      local http = serve(routes, options)
      local _, _, head = http:ask("PUT /a", {Origin = "https://a.example"})
      local status, _, ahead = http:ask("OPTIONS /a", {Origin = "https://a.example",
        ["Access-Control-Request-Method"] = "PUT"})
      assert.equal(204, status)
      return head, ahead
    end
    local head, ahead = told(nil)
    assert.same({"https://a.example"}, Http.lines(head, "Access-Control-Allow-Origin"))
    assert.same({}, Http.lines(head, "Access-Control-Allow-Credentials"))
    assert.same({"content-type"}, Http.lines(ahead, "Access-Control-Allow-Headers"))
    head, ahead = told {credentials = true, headers = {"authorization", "content-type"},
      expose = {"X-Total"}, maxAge = 5}
    assert.same({"true"}, Http.lines(head, "Access-Control-Allow-Credentials"))
    assert.same({"X-Total"}, Http.lines(head, "Access-Control-Expose-Headers"))
    assert.same({"authorization, content-type"}, Http.lines(ahead, "Access-Control-Allow-Headers"))
    assert.same({"OPTIONS, PUT"}, Http.lines(ahead, "Access-Control-Allow-Methods"))
    assert.same({"5"}, Http.lines(ahead, "Access-Control-Max-Age"))
    assert.same({"true"}, Http.lines(ahead, "Access-Control-Allow-Credentials"))
    head = told({credentials = true}, {origins = {"https://b.example"}})
    assert.same({}, Http.lines(head, "Access-Control-Allow-Origin"))
    assert.same({}, Http.lines(head, "Access-Control-Allow-Credentials"))
    for _, origins in ipairs {"*", {"*"}, {"https://a.example", "null"}} do
      assert.matches("cors.credentials needs origins that name each site", support.raised(serve,
        routes, {origins = origins, cors = {credentials = true}}))
    end
    assert.matches("cors", support.raised(serve, routes, {cors = {credential = true}}))
    assert.matches("cors", support.raised(serve, routes, {cors = {headers = {"a\r\nb"}}}))
  end)

  it("says which methods there are", function()
    local http = serve {["POST /a"] = function() return "a" end}
    local status, _, head = http:ask "OPTIONS /a"
    assert.same({204, {"OPTIONS, POST"}}, {status, Http.lines(head, "Allow")})
    assert.same({}, Http.lines(head, "Access-Control-Allow-Methods"))
    status, _, head = http:ask "DELETE /a"
    assert.same({405, {"OPTIONS, POST"}}, {status, Http.lines(head, "Allow")})
    status, _, head = http:ask "OPTIONS /sync.js"
    assert.same({204, {"GET, HEAD, OPTIONS"}}, {status, Http.lines(head, "Allow")})
    status, _, head = http:ask "POST /sync.js"
    assert.same({405, {"GET, HEAD, OPTIONS"}}, {status, Http.lines(head, "Allow")})
    assert.equal(204, (http:ask "OPTIONS *"))
    assert.equal(404, (http:ask "OPTIONS /none"))
  end)
end)
