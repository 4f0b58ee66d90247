-- Databases and passwords from handlers that wait.

local Postgres = require "spec.support.postgres"
local core = require "sync.core"
local support = require "spec.support"
local sync = require "sync"

local C, handle = core.C, core.handle

describe("a handler that asks a database", function()
  local file, db

  before_each(function()
    file = os.tmpname()
    db = sync.sql("sqlite:" .. file)
  end)

  after_each(function()
    support.cleanUp()
    db:close()
    for _, ending in ipairs {"", "-wal", "-shm"} do os.remove(file .. ending) end
  end)

  local function prepare()
    local ready
    sync.spawn(function()
      db:run "create table user (name text primary key, hash text)"
      db:run("insert into user values (?, ?)", "ann", sync.password.hash "right")
      ready = true
    end)
    support.wait(function() return ready end)
  end

  local function isRight(name, password)
    local hash = db:value("select hash from user where name = ?", name)
    return sync.password.verify(password, hash)
  end

  it("logs in by onConnect's first message, and holds nobody else up", function()
    prepare()
    local Game = support.protocol {framing = "line"}
    Game.onData = sync.waits(function(self, line)
      local name, password = line:match "^(%S+) (%S+)$"
      if not name then return self:send("echo " .. line) end
      self:send(isRight(name, password) and "welcome" or "no")
    end)
    local ann, mallory, bob = support.connect(Game, 3)
    ann:send "ann right\nthen\n"
    mallory:send "ann wrong\n"
    bob:send "hello\n" -- while two passwords are hashed, some 50 ms of a core
    assert.equal("echo hello\n", bob:received())
    assert.equal("", ann:received())
    local got = ""
    support.wait(function()
      got = got .. ann:received()
      return got == "welcome\necho then\n"
    end)
    support.wait(function() return mallory:received() == "no\n" end)
  end)

  it("lets in by onUpgrade, and holds nobody else up", function()
    prepare()
    local Game = support.protocol {}
    function Game:onUpgrade(request) -- luacheck: ignore self
      return isRight("ann", request.headers["x-password"]) or 401
    end
    function Game:onConnect() self:send "welcome" end
    Game.routes["GET /fast"] = function() return "fast" end
    local server = support.serve(Game, {transports = {"websocket", "http"}})
    local slots = {}
    local function ask(target, more)
      local slot = C.sync_memory_connect(handle, server.id)
      slots[#slots + 1] = slot
      local text = ("GET %s HTTP/1.1\r\nHost: localhost\r\n%s\r\n"):format(target, more or "")
      C.sync_memory_feed(handle, slot, text, #text)
      local got = ""
      return function()
        got = got .. core.take(slot)
        return got
      end
    end
    local function shake(password)
      return ask("/", "Upgrade: websocket\r\nConnection: Upgrade\r\n" ..
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n" ..
        "X-Password: " .. password .. "\r\n")
    end
    local right, wrong = shake "right", shake "wrong"
    local fast = ask "/fast"
    support.wait(function() return fast():find "fast$" end)
    assert.equal("", right())
    support.wait(function() return right():find "^HTTP/1.1 101 .*welcome$" end)
    support.wait(function() return wrong():find "^HTTP/1.1 401 " end)
    for _, slot in ipairs(slots) do C.sync_abort(handle, slot) end
  end)

  it("rolls back when it is cancelled, and gives the writer back", function()
    local steps = {}
    local spawned = sync.spawn(function()
      db:run "create table t (v integer)"
      db:transaction(function(tx)
        tx:run "insert into t values (1)"
        steps[1] = "inserted"
        sync.sleep(100)
      end)
    end)
    support.wait(function() return steps[1] end)
    spawned:cancel()
    local left
    sync.spawn(function()
      db:run "insert into t values (2)"
      left = db:rows "select v from t"
    end)
    support.wait(function() return left end)
    assert.same({{v = 2}}, left)
    support.wait(function() return not spawned:isAlive() end)
    assert.equal("cancelled", spawned.status)
  end)

  it("gives up rows that are half read when it is cancelled", function()
    local count = 0
    for _ = 1, 70 do -- more than there may be at once
      local spawned = sync.spawn(function()
        db:each([[with recursive n(i) as (select 1 union all select i + 1 from n limit 1000000)
          select i from n]], function()
          count = count + 1
          sync.sleep(100)
        end)
      end)
      local before = count
      support.wait(function() return count > before end)
      spawned:cancel()
      support.wait(function() return not spawned:isAlive() end)
    end
    assert.equal(70, count)
  end)
end)

describe("a database that is killed and started again", function()
  it("lets no handler hang, and does nothing by halves", function()
    local server = Postgres.start()
    local db = sync.sql(server.url, {size = 4, timeout = 5})
    local ready
    sync.spawn(function()
      db:run "create table pair (a integer, b integer)"
      db:run "insert into pair values (0, 0)"
      ready = true
    end)
    support.wait(function() return ready end)
    local Game = support.protocol {framing = "line"}
    Game.onData = sync.waits(function(self)
      local ok, err = pcall(db.transaction, db, function(tx)
        tx:run "update pair set a = a + 1"
        tx:run "update pair set b = b + 1"
      end)
      self:send(ok and "done" or err.code)
    end)
    local clients = {support.connect(Game, 8)}
    local asked, answers, counts = 0, 0, {}
    local function ask(client)
      asked = asked + 1
      client:send "go\n"
    end
    local function take()
      for _, client in ipairs(clients) do
        for word in client:received():gmatch "[^\n]+" do
          answers = answers + 1
          counts[word] = (counts[word] or 0) + 1
          ask(client)
        end
      end
    end
    for _, client in ipairs(clients) do ask(client) end
    support.wait(function() take() return (counts.done or 0) >= 20 end)
    server:kill()
    support.wait(function() take() return (counts.away or 0) >= 8 end)
    server:launch()
    local before = counts.done
    support.wait(function() take() return counts.done >= before + 20 end, 60)
    -- Each is answered once.
    support.wait(function()
      for _, client in ipairs(clients) do
        for word in client:received():gmatch "[^\n]+" do
          answers = answers + 1
          counts[word] = (counts[word] or 0) + 1
        end
      end
      return answers == asked
    end, 60)
    local row
    sync.spawn(function() row = db:row "select a, b from pair" end)
    support.wait(function() return row end)
    assert.equal(row.a, row.b)
    local doubt = counts["in doubt"] or 0
    assert.is_true(row.a >= counts.done and row.a <= counts.done + doubt)
    local known = {done = 1, away = 1, ["in doubt"] = 1, failed = 1, conflict = 1}
    for word in pairs(counts) do assert.is_not_nil(known[word], word) end
    support.cleanUp()
    db:close()
    server:stop()
  end)
end)
