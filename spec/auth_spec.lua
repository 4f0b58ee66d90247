-- Tokens at the handshake, and by the first call.

local auth = require "sync.auth"
local core = require "sync.core"
local hostile = require "spec.support.hostile"
local json = require "sync.remoting.json"
local support = require "spec.support"
local sync = require "sync"
local task = require "sync.task"
local testing = require "sync.testing"

local C, handle = core.C, core.handle
local KEY = ("k"):rep(32)
local OPTIONS = {algorithm = "HS256", key = KEY}

local function token(claims, expires)
  return (assert(sync.jwt.sign(claims, {algorithm = "HS256", key = KEY, expires = expires or 600})))
end

local slots = {}

-- A WebSocket's handshake with these headers. Returns what gives what has come, and the slot.
local function shake(server, headers, target)
  local slot = C.sync_memory_connect(handle, server.id)
  slots[#slots + 1] = slot
  local lines = {("GET %s HTTP/1.1"):format(target or "/"), "Host: localhost",
    "Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="}
  for name, value in pairs(headers) do lines[#lines + 1] = name .. ": " .. value end
  local text = table.concat(lines, "\r\n") .. "\r\n\r\n"
  C.sync_memory_feed(handle, slot, text, #text)
  testing.settle()
  return core.take(slot), slot
end

local function answerTo(...) return (shake(...)) end

-- The code and the text of a Close frame behind a response.
local function closing(got)
  local frame = got:match("\r\n\r\n(.*)$")
  assert.equal(0x88, frame:byte(1))
  return frame:byte(3) * 256 + frame:byte(4), frame:sub(5)
end

local function call(client, id, method, ...)
  client:send(json.encode {jsonrpc = "2.0", id = id, method = method, params = {...}} .. "\n")
end

local function answers(client)
  local all = {}
  for line in client:received():gmatch("[^\n]+") do
    local _, message = json.decode(line, 10)
    if message.id ~= nil then
      all[message.id] = message.error and message.error.code or message.result
    else
      all[message.method] = message.params[1] or true
    end
  end
  return all
end

describe("a class with auth", function()
  after_each(function()
    for _, slot in ipairs(slots) do C.sync_abort(handle, slot) end
    slots = {}
    support.cleanUp()
  end)

  local function plain(fields)
    local Game = support.protocol(fields or {})
    Game.auth = Game.auth or sync.jwt.auth(OPTIONS)
    function Game:onConnect() self:send("hello " .. self.user.sub) end
    return Game, support.serve(Game, {transports = {"websocket"}})
  end

  local function game(fields)
    local Game = support.protocol(fields or {}, sync.Remote)
    Game.framing = "line"
    Game.auth = Game.auth or sync.jwt.auth(OPTIONS)
    Game.remote.who = function(self) return self.user.sub end
    return Game
  end

  it("takes a token by a header or a subprotocol", function()
    local _, server = plain()
    local got = shake(server, {Authorization = "Bearer " .. token {sub = "ann"}})
    assert.matches("^HTTP/1.1 101 ", got)
    assert.matches("hello ann$", got)
    local shown = token {sub = "bob"}
    got = shake(server, {["Sec-WebSocket-Protocol"] = "sync.auth, sync.token." .. shown})
    assert.matches("Sec%-WebSocket%-Protocol: sync.auth\r\n", got)
    assert.matches("hello bob$", got)
    assert.is_nil(got:find(shown, 1, true))
  end)

  it("prefers its own subprotocol", function()
    local Game, server = plain()
    Game.subprotocols = {"game.1"}
    local got = shake(server,
      {["Sec-WebSocket-Protocol"] = "game.1, sync.auth, sync.token." .. token {sub = "bob"}})
    assert.matches("Sec%-WebSocket%-Protocol: game.1\r\n", got)
  end)

  it("refuses others by 401, and pages by a code", function()
    local Game, server = plain()
    local bad = token({sub = "ann"}, -100)
    local logged = support.logged(function()
      for _, headers in ipairs {{}, {Authorization = "Bearer " .. bad},
        {Authorization = "Basic x"}, {Authorization = "Bearer " .. ("x"):rep(5000)}} do
        local got = shake(server, headers)
        assert.matches("^HTTP/1.1 401 .*WWW%-Authenticate: Bearer", got)
        assert.is_nil(got:find(bad, 1, true))
      end
      local code, why = closing(answerTo(server, {Origin = "http://localhost",
        Authorization = "Bearer " .. bad}))
      assert.equal(4401, code)
      assert.equal("the token has expired", why)
      assert.equal(4401, (closing(answerTo(server, {["Sec-WebSocket-Protocol"] = "sync.auth"}))))
      assert.matches("^HTTP/1.1 403 ", answerTo(server, {Origin = "http://elsewhere.example",
        Authorization = "Bearer " .. token {sub = "ann"}}))
    end)
    for _, line in ipairs(logged) do assert.is_nil(line:find(bad, 1, true)) end
    assert.equal(0, Game.clients:count())
  end)

  it("asks for the user, which may wait, and who may not come in", function()
    local resume
    local Game, server = plain {auth = sync.jwt.auth {algorithm = "HS256", key = KEY,
      user = function(claims)
        if claims.sub == "mallory" then return nil end
        local name = task.await(function(go) resume = go end)
        return {id = 7, sub = name}
      end}}
    local got, slot = shake(server, {Authorization = "Bearer " .. token {sub = "x"}})
    assert.equal("", got)
    resume "ann"
    testing.settle()
    assert.matches("hello ann$", core.take(slot))
    local bad = {Authorization = "Bearer " .. token {sub = "mallory"}}
    assert.matches("^HTTP/1.1 403 .*this user may not come in", answerTo(server, bad))
    bad.Origin = "http://localhost"
    assert.equal(4403, (closing(answerTo(server, bad))))
    function Game:onUpgrade(request) -- luacheck: ignore self
      return request.user.sub == "ann" and 403 or nil, "no ann"
    end
    bad.Authorization = "Bearer " .. token {sub = "y"}
    local _, waiting = shake(server, bad)
    resume "ann"
    testing.settle()
    local code, why = closing(core.take(waiting))
    assert.equal(4403, code)
    assert.equal("no ann", why)
  end)

  it("says so when its function is wrong, and refuses", function()
    local _, server = plain {auth = function() return "ann" end}
    local logged = support.logged(function()
      assert.matches("^HTTP/1.1 500 ", answerTo(server, {Authorization = "Bearer x"}))
    end)
    assert.matches("a user must be a table", logged[1])
  end)

  it("takes the token by the first call, and is in no set before", function()
    local Game = game()
    local connected, closed = 0, 0
    function Game:onConnect()
      connected = connected + 1
      assert.equal("ann", self.user.sub)
    end
    function Game:onClose() closed = closed + 1 end
    local server = support.serve(Game)
    local ann = server:connect()
    Game.clients:fire("secret")
    assert.equal(0, Game.clients:count())
    call(ann, 1, "sync.ping")
    assert.same({[1] = true}, answers(ann))
    assert.equal(0, connected)
    call(ann, 2, "sync.auth", token {sub = "ann"})
    call(ann, 3, "who")
    assert.same({[2] = true, [3] = "ann"}, answers(ann))
    assert.equal(1, Game.clients:count())
    local bob = server:connect()
    support.logged(function() call(bob, 1, "who") end)
    assert.same({[1] = -32003}, answers(bob))
    assert.is_false(bob:isOpen())
    local cid = server:connect()
    support.logged(function() call(cid, 1, "sync.auth", "no token") end)
    assert.same({[1] = -32003}, answers(cid))
    assert.is_false(cid:isOpen())
    local dan = server:connect()
    dan:leave()
    assert.equal(1, connected)
    assert.equal(0, closed) -- of who was never in
  end)

  it("keeps what comes behind the first call until the user is known", function()
    local resume
    local Game = game {auth = function(text)
      return {sub = task.await(function(go) resume = go end) .. text}
    end}
    local ann = support.connect(Game)
    call(ann, 1, "sync.auth", "1")
    call(ann, 2, "who")
    assert.same({}, answers(ann))
    resume "ann"
    testing.settle()
    assert.same({true, "ann1"}, answers(ann))
  end)

  it("has clients try again while nobody can say whose a token is", function()
    local Game = game {auth = function(text)
      if text == "right" then return {sub = "ann"} end
      return nil, "the keys are away", 503
    end}
    local server, web = support.serve(Game), support.serve(Game, {transports = {"websocket"}})
    support.logged(function()
      for _, headers in ipairs {{Authorization = "Bearer x"}, {Authorization = "Bearer x",
        Origin = "http://localhost"}} do
        local got = answerTo(web, headers)
        assert.matches("^HTTP/1.1 503 .*Retry%-After: 1.*the keys are away", got)
      end
      local ann = server:connect()
      call(ann, 1, "sync.auth", "x") -- no answer, which would be a refusal
      assert.same({}, answers(ann))
      assert.is_false(ann:isOpen())
    end)
    local bob = server:connect()
    call(bob, 1, "sync.auth", "right")
    call(bob, 2, "sync.auth", "x")
    assert.same({true, -32000}, answers(bob))
    assert.is_true(bob:isOpen())
  end)

  it("gives the first call a time", function()
    local ann = support.connect(game(), 1, {handshakeTimeout = 0.05})
    support.wait(function() return not ann:isOpen() end)
  end)

  it("gives a session back to its user alone", function()
    local Game = game {resumeTime = 10}
    local server = support.serve(Game)
    local ann = server:connect()
    call(ann, 1, "sync.auth", token {sub = "ann"})
    local session = answers(ann)["sync.session"].token
    local server1 = ann.server
    ann:leave()
    for _, case in ipairs {{"mallory", false}, {"ann", true}} do
      local again = server:connect()
      call(again, 1, "sync.auth", token {sub = case[1]})
      again:received()
      call(again, "resume", "sync.resume", session, 0)
      assert.matches('"resumed":' .. tostring(case[2]), (core.take(again.slot)))
    end
    assert.equal("ann", server1.user.sub)
    assert.is_true(server1.slot ~= 0)
  end)

  it("takes another token of the same user, and closes when none is left", function()
    local ann = support.connect(game())
    call(ann, 1, "sync.auth", token({sub = "ann"}, 60))
    local before = ann.server._userEnds
    call(ann, 2, "sync.auth", token({sub = "ann"}, 6000))
    assert.is_true(ann.server._userEnds > before)
    call(ann, 3, "sync.auth", token {sub = "bob"})
    call(ann, 4, "sync.auth", "x")
    assert.same({true, true, -32003, -32003}, answers(ann))
    assert.is_true(ann:isOpen())
    local bob = support.connect(game())
    call(bob, 1, "sync.auth", token({sub = "bob"}, -29)) -- within the leeway
    assert.same({true}, answers(bob))
    support.wait(function() return not bob:isOpen() end, 30)
    assert.is_true(ann:isOpen())
  end)

  it("has no such call without auth", function()
    local Game = support.protocol({framing = "line"}, sync.Remote)
    local ann = support.connect(Game)
    call(ann, 1, "sync.auth", "x")
    assert.same({[1] = -32601}, answers(ann))
  end)

  it("lets a byte stream of a plain protocol in nowhere", function()
    local Game = support.protocol {framing = "line", auth = sync.jwt.auth(OPTIONS)}
    local server = support.serve(Game)
    local slot = C.sync_memory_connect(handle, server.id)
    testing.settle()
    assert.equal(0, Game.clients:count())
    C.sync_abort(handle, slot)
  end)

  it("takes calls by POST with a token alone", function()
    local Game = game {rpcPath = "/rpc"}
    local server = support.serve(Game, {transports = {"tcp", "http"}})
    local function post(more)
      local slot = C.sync_memory_connect(handle, server.id)
      slots[#slots + 1] = slot
      local body = '{"jsonrpc":"2.0","id":1,"method":"who"}'
      local text = ("POST /rpc HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n" ..
        "Content-Length: %d\r\n%s\r\n%s"):format(#body, more or "", body)
      C.sync_memory_feed(handle, slot, text, #text)
      testing.settle()
      return core.take(slot)
    end
    support.logged(function()
      assert.matches("^HTTP/1.1 401 .*WWW%-Authenticate: Bearer", (post()))
      assert.matches("^HTTP/1.1 401 ", (post "Authorization: Bearer x\r\n"))
    end)
    local right = "Authorization: Bearer " .. token {sub = "ann"} .. "\r\n"
    assert.matches('^HTTP/1.1 200 .*"result":"ann"', (post(right)))
  end)

  it("takes damaged tokens", function()
    local Game = game()
    local server = support.serve(Game)
    local right = token {sub = "ann"}
    math.randomseed(7)
    support.logged(function()
      for i = 1, hostile.COUNT do
        local at = math.random(#right)
        local text = right:sub(1, at - 1) .. string.char(math.random(33, 126)) .. right:sub(at + 1)
        local user, why = nil, nil
        if i % 2 == 0 then text = text:sub(1, at) end
        sync.spawn(function() user, why = auth.ask(Game, text) end)
        assert.is_true(user == nil or text == right or user.sub == "ann")
        assert.is_nil(why and #text > 20 and tostring(why):find(text, 1, true) or nil)
      end
    end)
    server:close()
  end)

  -- Bytes as they may stand in a header: those that end one make another request.
  local function inHeader(text) return (text:gsub("[\r\n%z]", "~")) end

  it("refuses hostile strings for tokens, and tells nobody of them", function()
    local _, server = plain()
    local calls = support.serve(game())
    local lines = support.logged(function()
      hostile.each(function(text, i)
        local shown = inHeader(text)
        local got
        if i % 3 == 0 then
          local client = calls:connect()
          call(client, 1, "sync.auth", sync.isText(text) and text or shown:gsub("[\128-\255]", "~"))
          got = client:received()
          assert(got:find("-32003", 1, true) and not client:isOpen(), got)
        elseif i % 3 == 1 then
          got = answerTo(server, {Authorization = "Bearer " .. shown})
          assert(got:find "^HTTP/1.1 40[01] ", got)
        else
          got = answerTo(server, {["Sec-WebSocket-Protocol"] = "sync.auth, sync.token." .. shown})
          assert(got:find "^HTTP/1.1 400 " or closing(got) == auth.UNAUTHORIZED, got)
        end
        if #text > 20 then assert(not got:find(text, 1, true)) end
        C.sync_abort(handle, slots[#slots] or 0)
        slots = {}
      end)
    end)
    for _, line in ipairs(lines) do assert.is_nil(line:find "evil") end
  end)
end)
