-- sync.sql "postgres://…", with a server of PostgreSQL's own.

local missing = require "spec.support.missing"
local Postgres = require "spec.support.postgres"
local Process = require "spec.support.process"
local shared = require "spec.sql.shared"
local support = require "spec.support"
local sync = require "sync"

local DIALECT = {id = "bigserial primary key", blob = "bytea", time = "timestamptz",
  locked = " for update", slow = "select pg_sleep(60)"}

describe("PostgreSQL", function()
  local server

  setup(function() server = Postgres.start() end)
  teardown(function()
    server:stop()
    Process.cleanUp()
  end)

  shared.specs(DIALECT, function(options) return sync.sql(server.url, options) end)

  it("keeps what only it has", function()
    local db = sync.sql(server.url)
    shared.waits(function()
      assert.same({t = true, f = false, n = "12345678901234567890.5", d = "2026-11-29",
        a = "{1,2}"}, db:row("select true as t, false as f, 12345678901234567890.5 as n, " ..
          "date '2026-11-29' as d, array[1,2] as a"))
      assert.equal(true, db:value("select '{\"a\":1}'::jsonb ?? 'a'"))
      assert.equal("a?b", db:value("select $q$a?b$q$"))
      assert.equal("misuse", shared.failure(db.value, db, "select ?::text", "a\0b").code)
      assert.equal("failed", shared.failure(db.run, db, "select 1; select 2").code)
      db:run("do $$ begin raise notice 'nobody reads this'; end $$")
    end)
    db:close()
  end)

  it("prepares a statement anew when its table has changed", function()
    local db = sync.sql(server.url, {size = 1})
    shared.waits(function()
      db:run("create table changing (a int)")
      db:run("insert into changing values (1)")
      assert.same({a = 1}, db:row("select * from changing"))
      db:run("alter table changing add b text default 'x'")
      assert.same({a = 1, b = "x"}, db:row("select * from changing"))
    end)
    db:close()
  end)

  it("says that a statement failed which the transaction went on after", function()
    local db = sync.sql(server.url)
    shared.waits(function()
      local failure = shared.failure(db.transaction, db, function(tx)
        pcall(tx.run, tx, "selct")
      end)
      assert.matches("was rolled back", failure.message)
      assert.equal(1, db:value("select 1"))
    end)
    db:close()
  end)

  it("ends a statement at its time limit", function()
    local db = sync.sql(server.url, {timeout = 0.3, size = 1})
    shared.waits(function()
      assert.equal("timeout", shared.failure(db.value, db, "select pg_sleep(30)").code)
      assert.equal(1, db:value("select 1"))
    end)
    db:close()
  end)

  it("fails with a clear error when the server is killed, and comes back with it", function()
    local db = sync.sql(server.url, {size = 4})
    shared.waits(function()
      db:run("drop table if exists pair")
      db:run("create table pair (id int, half int)")
      local codes, running, left = {}, true, 20
      for i = 1, 20 do
        sync.spawn(function()
          while running do
            local ok, failure = pcall(db.transaction, db, function(tx)
              tx:run("insert into pair values (?, 1)", i)
              tx:run("insert into pair values (?, 2)", i)
            end)
            if not ok then codes[failure.code] = (codes[failure.code] or 0) + 1 end
            if not ok then sync.sleep(0.02) end
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
      assert.is_true(db:value("select count(*) from pair") > 0)
    end)
    db:close()
  end)

  it("says that a commit is in doubt when its answer is lost", function()
    local db = sync.sql(server.url, {size = 2})
    shared.waits(function()
      db:run("drop table if exists slow")
      db:run("create table slow (id int unique deferrable initially deferred)")
      -- What is deferred is done by COMMIT: it waits for the other transaction's row.
      local failure
      db:transaction(function(tx)
        tx:run("insert into slow values (1)")
        local pid
        sync.spawn(function()
          local ok, problem = pcall(db.transaction, db, function(other)
            pid = other:value("select pg_backend_pid()")
            other:run("insert into slow values (1)")
          end)
          failure = not ok and problem
        end)
        repeat sync.sleep(0.05) until pid and tx:value("select count(*) from pg_stat_activity " ..
          "where pid = ? and query = 'COMMIT' and wait_event_type = 'Lock'", pid) == 1
        tx:value("select pg_terminate_backend(?)", pid)
        repeat sync.sleep(0.01) until failure
      end)
      assert.equal("in doubt", failure.code)
    end)
    db:close()
  end)

  it("says what it can't reach, without the password", function()
    local db = sync.sql(("postgres://ann:secret@127.0.0.1:%d/x"):format(Process.freePort()))
    shared.waits(function()
      local failure = shared.failure(db.value, db, "select 1")
      assert.equal("away", failure.code)
      assert.matches("refused", failure.message)
      assert.is_nil(tostring(failure):find("secret", 1, true))
    end)
    db:close()
    local raised = support.raised(sync.sql, "postgres://ann:sec%ret@host/x")
    assert.matches("none of PostgreSQL's", raised)
    assert.is_nil(raised:find("sec%ret", 1, true))
    assert.matches("more than one host", support.raised(sync.sql, "postgres://a,b/x"))
  end)

  it("names the package where the library is missing", function()
    assert.matches("sync.sql: the library libpq is missing: apt%-get install libpq5",
      missing.run("pq", 'require "sync".sql "postgres://localhost/x"'))
  end)
end)
