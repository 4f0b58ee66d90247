-- Hostile strings as parameters, headers, cookies, form fields, calls and tokens.

local Http = require "spec.support.http"
local cjson = require "cjson"
local hostile = require "spec.support.hostile"
local support = require "spec.support"
local sync = require "sync"

local PACK = 10 -- of which so many come together

local ESCAPES = {}
for byte = 0, 255 do ESCAPES[string.char(byte)] = ("%%%02X"):format(byte) end

local function escaped(text)
  return (text:gsub("[^%w]", ESCAPES))
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
    if name == "Set-Cookie" then
      headers[name] = headers[name] or {}
      table.insert(headers[name], value)
    else
      headers[name] = value
    end
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
    class.routes["POST /in/*"] = function(request)
      seen = {params = request.params, cookies = request.cookies, form = request.form}
      for i = 1, PACK do
        local text = request.params["q" .. i]
        request:setCookie("c" .. i, text)
        -- a header can't hold everything: what it can't is an error of the route
        local ok, problem = pcall(request.setHeader, request, "X-Told", text)
        if not ok then assert(tostring(problem):find "values are one line") end
      end
      return 200, request.params.q1, {["Content-Type"] = "text/plain"}
    end
    function class.remote:echo(...) return {...} end -- luacheck: ignore self
    return Http.serve(class, {maxHead = 2 ^ 20, maxBody = 2 ^ 20, maxFieldName = 65536})
  end

  -- Calls a function with lists of so many of the strings.
  local function eachPack(fn)
    local pack = {}
    hostile.each(function(text, i)
      pack[#pack + 1] = text:sub(1, 1000) -- a cookie has an end
      if #pack == PACK then
        fn(pack, i)
        pack = {}
      end
    end)
  end

  local function bodyOf(pack, i)
    local parts = {}
    for n, text in ipairs(pack) do
      if i % (2 * PACK) == 0 then
        parts[n] = ("f%d=%s&%s=1"):format(n, escaped(text), escaped(text))
      else
        parts[n] = ('--bound%d\r\nContent-Disposition: form-data; name="f%d"\r\n\r\n%s\r\n' ..
          '--bound%d\r\nContent-Disposition: form-data; name="u%d"; filename="%s"\r\n\r\n%s\r\n')
          :format(i, n, text, i, n, (text:gsub('[\r\n"]', escaped)), text)
      end
    end
    if i % (2 * PACK) == 0 then
      return "application/x-www-form-urlencoded", table.concat(parts, "&")
    end
    return "multipart/form-data; boundary=bound" .. i, table.concat(parts) .. "--bound" .. i .. "--"
  end

  it("come through as they are, and nothing is injected", function()
    local http = application()
    eachPack(function(pack, i)
      local query, cookies = {}, {}
      for n, text in ipairs(pack) do
        query[n] = ("q%d=%s"):format(n, escaped(text))
        cookies[n] = ("c%d=%s"):format(n, escaped(text))
      end
      local kind, body = bodyOf(pack, i)
      local status, headers, told = whole(http:exchange(("POST /in/%s?%s HTTP/1.1\r\n" ..
        "Host: localhost\r\nCookie: %s\r\nContent-Type: %s\r\nContent-Length: %d\r\n" ..
        "\r\n%s"):format(escaped(pack[1]), table.concat(query, "&"), table.concat(cookies, "; "),
          kind, #body, body)))
      assert(status == 200 and told == pack[1], told)
      assert(seen.params["*"] == pack[1])
      assert(#headers["Set-Cookie"] == PACK)
      for n, text in ipairs(pack) do
        assert(seen.params["q" .. n] == text and seen.cookies["c" .. n] == text)
        assert(seen.form["f" .. n] == text)
        local cookie = headers["Set-Cookie"][n]
        assert(cookie:find("^c" .. n .. "=[^;%s,\"\\]*; Path=/; HttpOnly; SameSite=Lax$"), cookie)
        local file = seen.form["u" .. n]
        if file then
          assert(file.body == text and not file.filename:find "[%c/\\]" and file.filename ~= "..")
        end
      end
    end)
  end)

  it("as they are, where a request would have none, break only their own connection", function()
    local http = application()
    hostile.each(function(text, i)
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
    local function post(body)
      return whole(http:exchange(("POST /rpc HTTP/1.1\r\nHost: localhost\r\nContent-Type: " ..
        "application/json\r\nContent-Length: %d\r\n\r\n%s"):format(#body, body)))
    end
    eachPack(function(pack, i)
      local batch = {}
      for n, text in ipairs(pack) do
        if not sync.isText(text) then text = escaped(text):sub(1, 1000) end
        pack[n] = text
        local id = sync.isText(text:sub(1, 100)) and text:sub(1, 100) or n
        batch[2 * n - 1] = {jsonrpc = "2.0", id = id, method = "echo", params = {text}}
        batch[2 * n] = {jsonrpc = "2.0", id = id, method = text}
      end
      local status, _, told = post(cjson.encode(batch))
      assert(status == 200, told)
      local answers = cjson.decode(told)
      for n, text in ipairs(pack) do
        local fine, none = answers[2 * n - 1], answers[2 * n]
        assert(fine.result[1] == text and fine.id == batch[2 * n].id)
        assert(none.error and none.id == batch[2 * n].id)
      end
      if i % 100 == 0 then
        status = post(pack[1])
        assert(status == 400 or status == 200 or status == 204)
      end
    end)
  end)

  it("are no tokens, and no text of a refusal has anything of them", function()
    local how = {algorithm = "HS256", key = ("k"):rep(32)}
    hostile.each(function(text, i)
      local token = i % 2 == 0 and text or text .. "." .. text .. "." .. text
      local claims, why = sync.jwt.verify(token, how)
      assert(claims == nil and type(why) == "string")
      assert(#text < 12 or not why:find(text, 1, true))
    end)
  end)
end)
