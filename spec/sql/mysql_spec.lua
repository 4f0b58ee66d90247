-- sync.sql "mysql://…", with a server of MariaDB's own.

local MariaDB = require "spec.support.mariadb"
local missing = require "spec.support.missing"
local Process = require "spec.support.process"
local shared = require "spec.sql.shared"
local support = require "spec.support"
local sync = require "sync"

local DIALECT = {id = "bigint auto_increment primary key", blob = "longblob", time = "datetime(6)",
  locked = " for update", slow = "select sleep(60)"}

describe("MariaDB", function()
  local server

  setup(function() server = MariaDB.start() end)
  teardown(function()
    server:stop()
    Process.cleanUp()
  end)

  shared.specs(DIALECT, function(options) return sync.sql(server.url, options) end)

  it("keeps what only it has", function()
    local db = sync.sql(server.url)
    shared.waits(function()
      assert.same({n = "12345678901234567890.5", d = "2026-11-29", e = "",
        u = 18446744073709551615ULL}, db:row(
          "select 12345678901234567890.5 as n, date '2026-11-29' as d, '' as e, " ..
          "cast(18446744073709551615 as unsigned) as u"))
      db:run("create or replace table t (id int auto_increment primary key, v longtext)")
      local changes, id = db:run("insert into t (v) values (?)", ("long"):rep(50000))
      assert.same({1, 1}, {changes, id})
      assert.equal(200000, #db:value("select v from t"))
      db:run("drop table t")
    end)
    db:close()
  end)

  it("ends a statement at its time limit", function()
    local db = sync.sql(server.url, {timeout = 0.3, size = 1})
    shared.waits(function()
      assert.equal("timeout", shared.failure(db.value, db, "select sleep(30)").code)
      assert.equal(1, db:value("select 1"))
    end)
    db:close()
  end)

  it("fails with a clear error when the server is killed, and comes back with it", function()
    local db = sync.sql(server.url, {size = 4})
    shared.waits(function()
      db:run("create or replace table pair (id int, half int) engine=innodb")
      local codes, running, left = {}, true, 20
      for i = 1, 20 do
        sync.spawn(function()
          while running do
            local ok, failure = pcall(db.transaction, db, function(tx)
              tx:run("insert into pair values (?, 1)", i)
              tx:run("insert into pair values (?, 2)", i)
            end)
            if not ok then
              codes[failure.code] = (codes[failure.code] or 0) + 1
              sync.sleep(0.02)
            end
          end
          left = left - 1
        end)
      end
      sync.sleep(0.2)
      server:kill()
      repeat sync.sleep(0.05) until codes.away
      server:launch()
      local back
      repeat
        back = pcall(db.value, db, "select 1")
        sync.sleep(0.05)
      until back
      running = false
      repeat sync.sleep(0.01) until left == 0
      for code in pairs(codes) do
        assert.is_truthy(({away = true, ["in doubt"] = true, busy = true})[code], code)
      end
      assert.equal(0, db:value("select count(*) from (select id, sum(case half when 1 then 1 " ..
        "else -1 end) as odd from pair group by id) x where odd <> 0"))
    end)
    db:close()
  end)

  it("says what it can't reach, without the password", function()
    local db = sync.sql(("mysql://ann:secret@127.0.0.1:%d/x"):format(Process.freePort()))
    shared.waits(function()
      local failure = shared.failure(db.value, db, "select 1")
      assert.equal("away", failure.code)
      assert.is_nil(tostring(failure):find("secret", 1, true))
    end)
    db:close()
    local raised = support.raised(sync.sql, "mysql://ann:secret")
    assert.matches("the URL is not mysql://", raised)
    assert.is_nil(raised:find("secret", 1, true))
  end)

  it("names the package where the library is missing", function()
    assert.matches("sync.sql: the library libmariadb is missing: apt%-get install libmariadb3",
      missing.run("libmariadb", 'require "sync".sql "mysql://localhost/x"'))
  end)
end)
