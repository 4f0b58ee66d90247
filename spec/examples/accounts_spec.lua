-- examples/accounts: as its users and its operator see it.

local Process = require "spec.support.process"
local Program = require "spec.support.program"
local cjson = require "cjson"
local loop = require "sync.loop"
local support = require "spec.support"
local sync = require "sync"

local FREE_PORT = [[
  local sync = require "sync"
  local enable = sync.enable
  function sync.enable(host, port, ...) return enable("127.0.0.1", 0, ...) end
]]

-- Waits for a function in a task; an error in it is the spec's.
local function inTask(fn)
  local ok, result
  sync.spawn(function() ok, result = pcall(fn) end)
  support.wait(function() return ok ~= nil end)
  assert(ok, result)
  return result
end

local function play(url, hook)
  local server = Process.start {"env", "ACCOUNTS_DB=" .. url, "ACCOUNTS_HOOK=" .. (hook or ""),
    "ACCOUNTS_SECRET=" .. ("s"):rep(32), Program.path, "-e", FREE_PORT,
    "examples/accounts/main.lua"}
  local port = server:expect("stderr", "listens on 127.0.0.1:(%d+)")
  return server, port
end

local function post(port, path, body)
  local url = ("http://127.0.0.1:%s%s"):format(port, path)
  local response = assert(sync.http {url = url, json = body})
  return response.status, response:json(), response
end

-- All that the example does, on a database.
local function works(url)
  local heard = {}
  local Hook = support.protocol {}
  Hook.routes["POST /hook"] = function(request)
    heard[#heard + 1] = request.json
    return 204
  end
  local listener = sync.enable("127.0.0.1", 0, Hook)
  local server, port = play(url, ("http://127.0.0.1:%d/hook"):format(listener.port))
  local tokens = {}

  inTask(function()
    local status, answer = post(port, "/signup", {name = "Ann", password = "correct horse"})
    assert.equal(200, status)
    assert.equal("Ann", answer.name)
    tokens.ann = answer.token
    assert.equal(409, (post(port, "/signup", {name = "ANN", password = "another horse"})))
    assert.equal(400, (post(port, "/signup", {name = "a b", password = "another horse"})))
    assert.equal(400, (post(port, "/signup", {name = "bob", password = "short"})))
    assert.equal(400, (post(port, "/signup", "Ann")))
    status, answer = post(port, "/login", {name = "ann", password = "wrong horse"})
    assert.same({401, "the name or the password is wrong"}, {status, answer.problem})
    local _, unknown = post(port, "/login", {name = "nobody", password = "wrong horse"})
    assert.equal(answer.problem, unknown.problem)
    status, answer = post(port, "/login", {name = "ann", password = "correct horse"})
    assert.same({200, "Ann"}, {status, answer.name})
    local _, bob = post(port, "/signup", {name = "bob'); drop table account; --", password = "x"})
    assert.matches("a name has", bob.problem)
    _, bob = post(port, "/signup", {name = "bob", password = "'; drop table account; --"})
    tokens.bob = bob.token
  end)

  local url_ = "tcp://127.0.0.1:" .. port
  local ann = sync.connect(url_, {token = tokens.ann})
  local bob = sync.connect(url_, {token = function() return tokens.bob end})
  local scores
  bob:on("onScores", function(list) scores = list end)
  inTask(function()
    assert.equal("bob", bob:call "whoAmI")
    assert.same({}, (bob:call "top"))
    assert.same({better = true, best = true}, ann:call("score", 30))
    assert.same({better = false, best = false}, ann:call("score", 10))
    assert.same({better = true, best = false}, bob:call("score", 20))
    local _, fault = bob:call("score", 100000)
    assert.equal(1, fault.code)
  end)
  support.wait(function() return scores and #scores == 2 end)
  assert.same({{name = "Ann", points = 30}, {name = "bob", points = 20}}, scores)
  support.wait(function() return #heard == 1 end)
  assert.same({name = "Ann", points = 30}, heard[1])

  inTask(function()
    local response = assert(sync.http(("http://127.0.0.1:%s/scores"):format(port)))
    assert.same({"Ann", 30}, {response:json().scores[1].name, response:json().scores[1].points})
    assert.matches("<title>Taps", sync.http(("http://127.0.0.1:%s/"):format(port)).body)
    assert.is_true(ann:call("sync.auth", (ann:call "token")))
    local _, fault = ann:call("sync.auth", tokens.bob)
    assert.equal(-32003, fault.code)
  end)

  -- Who has no token, or a wrong one, sees nothing.
  local closed
  local guest = sync.connect(url_, {token = "x.y.z", reconnect = false})
  guest:onState(function(state, detail) closed = state == "closed" and detail.reason end)
  support.wait(function() return closed end)
  assert.matches("token was refused", closed)

  -- Passwords are not guessed.
  inTask(function()
    local status, headers
    for _ = 1, 12 do
      local response
      status, _, response = post(port, "/login", {name = "ann", password = "guess 12345"})
      headers = response.headers
    end
    assert.same({429, "60"}, {status, headers["retry-after"]})
  end)

  for _, client in ipairs {ann, bob} do client:close() end
  listener:close()
  server:kill "INT"
  assert.equal(0, (server:wait()))
  assert.is_nil(server:stderr():find("ERROR", 1, true), server:stderr())
  assert.is_nil(server:stderr():find(tokens.ann, 1, true))

  -- Accounts and scores are there when it's started again, and so are tokens.
  server, port = play(url)
  ann = sync.connect("tcp://127.0.0.1:" .. port, {token = tokens.ann})
  inTask(function()
    assert.equal("Ann", ann:call "whoAmI")
    assert.equal(30, (ann:call "top")[1].points)
  end)
  ann:close()
  server:kill "INT"
  server:wait()
  support.wait(function() return loop.count == 0 end)
  assert.is_string(cjson.encode(heard)) -- what came was JSON
end

describe("examples/accounts", function()
  it("works on SQLite", function()
    local file = Process.file()
    works("sqlite:" .. file)
    for _, ending in ipairs {"", "-wal", "-shm"} do os.remove(file .. ending) end
  end)

  it("works on PostgreSQL", function()
    local postgres = require "spec.support.postgres".start()
    works(postgres.url)
    postgres:stop()
  end)
end)
