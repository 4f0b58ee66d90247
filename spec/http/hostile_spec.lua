-- 100,000 hostile strings as parameters, headers, cookies, form fields, calls and tokens.

local Http = require "spec.support.http"
local cjson = require "cjson"
local hostile = require "spec.support.hostile"
local support = require "spec.support"
local sync = require "sync"

local COUNT = 100000

local function escaped(text)
  return (text:gsub("[^%w]", function(byte) return ("%%%02X"):format(byte:byte()) end))
end

local MINE = {["Content-Type"] = true, ["Content-Length"] = true, Date = true, Connection = true,
  ["Set-Cookie"] = true, ["X-Told"] = true, Allow = true, ["Accept-Post"] = true,
  ["Cache-Control"] = true}

-- Splits an answer, which must be one and well-formed. Returns its status, headers and body.
local function whole(answer)
  local status, head, body = answer:match "^HTTP/1.1 (%d%d%d) [%w ]+(\r\n.-\r\n)\r\n(.*)$"
  assert(status, "this is no answer: " .. answer)
  local headers = {}
  for line in head:sub(3):gmatch "(.-)\r\n" do
    local name, value = line:match "^([%w-]+): ([^%c]*)$"
    assert(name and MINE[name], "a header came in: " .. line)
    headers[name] = value
  end
  assert(tonumber(headers["Content-Length"] or 0) == #body, "the body has another length")
  return tonumber(status), headers, body
end

describe("hostile strings", function()
  after_each(support.cleanUp)

  -- What the route of this request has seen, for the spec to compare.
  local seen
  local function application()
    local class = support.protocol({rpcPath = "/rpc"}, sync.Remote)
    class.routes["POST /in/:part"] = function(request)
      seen = {query = request.params.q, cookie = request.cookies.c, form = request.form.f,
        file = request.form.u}
      request:setCookie("c", seen.query)
      -- a header can't hold everything: what it can't is an error of the route
      local ok, problem = pcall(request.setHeader, request, "X-Told", seen.query)
      if not ok then assert(tostring(problem):find "values are one line") end
      return 200, seen.query, {["Content-Type"] = "text/plain"}
    end
    function class.remote:echo(...) return {...} end -- luacheck: ignore self
    return Http.serve(class, {maxHead = 65536, maxBody = 2 ^ 20, maxFieldName = 65536})
  end

  it("come through as they are, and nothing is injected", function()
    local http = application()
    hostile.each(COUNT, function(text, i)
      local code = escaped(text)
      local kind, body
      if i % 2 == 0 then
        kind, body = "application/x-www-form-urlencoded", "f=" .. code .. "&" .. code .. "=1"
      else
        kind = "multipart/form-data; boundary=bound" .. i
        body = ("--bound%d\r\nContent-Disposition: form-data; name=\"f\"\r\n\r\n%s\r\n" ..
          "--bound%d\r\nContent-Disposition: form-data; name=\"u\"; filename=\"%s\"\r\n\r\n" ..
          "%s\r\n" ..
          "--bound%d--\r\n"):format(i, text, i, (text:gsub('[\r\n"]', escaped)), text, i)
      end
      local status, headers, told = whole(http:exchange(("POST /in/%s?q=%s HTTP/1.1\r\n" ..
        "Host: localhost\r\nCookie: c=%s\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n%s")
        :format(i, code, code, kind, #body, body)))
      if status == 500 then
        assert(#code > 3000) -- no cookie is as long
        return
      end
      assert(status == 200, told)
      assert(told == text and seen.query == text and seen.cookie == text and seen.form == text)
      local cookie = headers["Set-Cookie"]
      local value = cookie:match "^c=([^;%s,\"\\]*); Path=/; HttpOnly; SameSite=Lax$"
      assert(value, cookie)
      if i % 2 == 1 and (text ~= "") then
        assert(seen.file.body == text)
        assert(not seen.file.filename:find "[%c/\\]" and seen.file.filename ~= "..")
      end
    end)
  end)

  it("as they are, where a request would have none, break only their own connection", function()
    local http = application()
    hostile.each(COUNT / 10, function(text, i)
      local answer
      if i % 3 == 0 then
        answer = http:exchange("GET /" .. text .. " HTTP/1.1\r\nHost: localhost\r\n\r\n")
      elseif i % 3 == 1 then
        answer = http:exchange("POST /in/x?q=1 HTTP/1.1\r\nHost: localhost\r\nContent-Type: " ..
          text .. "\r\nContent-Length: 2\r\n\r\nf=")
      else
        answer = http:exchange("GET /none HTTP/1.1\r\nHost: localhost\r\n" .. text ..
          ": x\r\nCookie: " .. text .. "\r\n\r\n")
      end
      -- It may be two requests by now, or a part of one.
      assert(not answer:find("\r\nX-Evil", 1, true) and not answer:find("evil=1", 1, true) or
        text:find "evil", answer)
      http:leave()
    end)
    assert.equal(404, (http:ask "GET /none"))
  end)

  it("as names and arguments of calls are answered in JSON", function()
    local http = application()
    hostile.each(COUNT, function(text, i)
      if not sync.isText(text) then text = escaped(text) end
      local isName = i % 4 == 0
      local call = isName and {jsonrpc = "2.0", id = text, method = text} or
        {jsonrpc = "2.0", id = text:sub(1, 100), method = "echo", params = {text}}
      if not sync.isText(tostring(call.id)) then call.id = i end
      local body = cjson.encode(call)
      if i % 10 == 1 then body = text end
      local status, _, told = whole(http:exchange(("POST /rpc HTTP/1.1\r\nHost: localhost\r\n" ..
        "Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%s"):format(#body, body)))
      if i % 10 == 1 then
        assert(status == 400 or status == 200 or status == 204)
        return
      end
      assert(status == 200)
      local answer = cjson.decode(told)
      if isName then
        assert(answer.error, told)
      else
        assert(answer.result[1] == text and answer.id == call.id)
      end
    end)
  end)

  it("are no tokens, and no text of a refusal has anything of them", function()
    local how = {algorithm = "HS256", key = ("k"):rep(32)}
    hostile.each(COUNT, function(text, i)
      local token = i % 2 == 0 and text or text .. "." .. text .. "." .. text
      local claims, why = sync.jwt.verify(token, how)
      assert(claims == nil and type(why) == "string")
      assert(#text < 12 or not why:find(text, 1, true))
    end)
  end)
end)
