-- What every database must do: one set of specs, run against each. `open()` gives one with
-- nothing in it, `dialect` says what its SQL calls things.

local busted = require "busted"
local hostile = require "spec.support.hostile"
local support = require "spec.support"
local sync = require "sync"
local task = require "sync.task"

local assert = require "luassert"
local it, before_each, after_each = busted.it, busted.before_each, busted.after_each

local shared = {}

--- Runs a function that may wait, and returns what it returns; its errors are raised.
function shared.waits(fn, ...)
  local results
  local function run(...) results = {pcall(fn, ...)} end
  sync.spawn(run, ...)
  support.wait(function() return results end, 30 + hostile.COUNT / 100)
  if not results[1] then error(results[2], 0) end
  return unpack(results, 2, table.maxn(results))
end

--- The failure that a function raises.
function shared.failure(fn, ...)
  local ok, failure = pcall(fn, ...)
  assert.is_false(ok)
  assert.equal("table", type(failure), tostring(failure))
  return failure
end

--- Runs functions at once, each in a task of its own, until all have ended.
function shared.together(count, fn)
  task.await(function(resume)
    local left = count
    for i = 1, count do
      sync.spawn(function()
        local ok, problem = pcall(fn, i)
        left = left - 1
        if not ok then print(problem) end
        if left == 0 then resume() end
      end)
    end
  end)
end

function shared.specs(dialect, open)
  local waits, failure = shared.waits, shared.failure
  local db

  -- A spec that is a function which may wait.
  local function may(what, fn)
    it(what, function() waits(fn) end)
  end

  before_each(function()
    db = open()
    waits(function()
      db:run("drop table if exists score")
      db:run(("create table score (id %s, name varchar(50) not null unique, points bigint, " ..
        "data %s, ratio double precision, seen %s)"):format(dialect.id, dialect.blob, dialect.time))
    end)
  end)

  after_each(function() db:close() end)

  may("keeps types", function()
    local bytes = {}
    for i = 0, 255 do bytes[i + 1] = string.char(i) end
    bytes = table.concat(bytes)
    local insert = "insert into score (name, points, data, ratio, seen) values (?, ?, ?, ?, ?)"
    assert.equal(1, (db:run(insert, "ann", 2 ^ 53, sync.sql.blob(bytes), 0.1,
      sync.sql.time(1764452821.25))))
    db:run(insert, "bob", -9223372036854775807LL, nil, -1e300, nil)
    local ann = db:row("select * from score where name = ?", "ann")
    assert.equal(2 ^ 53, ann.points)
    assert.equal(bytes, ann.data)
    assert.equal(0.1, ann.ratio)
    assert.equal(1764452821.25, ann.seen)
    local bob = db:row("select * from score where name = ?", "bob")
    assert.equal(-9223372036854775807LL, bob.points)
    assert.is_nil(bob.data)
    assert.is_nil(bob.seen)
    assert.equal(-1e300, bob.ratio)
    assert.is_nil(db:row("select * from score where name = ?", "eve"))
    assert.is_nil((db:value("select points from score where name = ?", "eve")))
    assert.is_nil((db:value("select data from score where name = ?", "bob")))
    assert.same({{name = "ann"}, {name = "bob"}}, db:rows("select name from score order by name"))
    assert.equal(2, (db:run("update score set points = ?", 7)))
    assert.equal(7, db:value("select max(points) from score"))
  end)

  may("binds what is hostile, and nothing of it is SQL", function()
    local PACK = 10
    local places = {}
    for n = 1, PACK do places[n] = "? as a" .. n end
    local sql = "select " .. table.concat(places, ", ")
    local pack, named = {}, 0
    hostile.each(function(text, i)
      -- What is no text of the database is refused, or comes back as it was.
      if not sync.isText(text) or text:find("\0", 1, true) then
        local ok, found = pcall(db.value, db, "select ?", text)
        assert(ok and found == text or not ok and type(found) == "table" and found.code, found)
        text = text:gsub("[^\1-\127]", "~")
      end
      pack[#pack + 1] = text
      if #pack < PACK then return end
      local row = db:row(sql, unpack(pack))
      for n = 1, PACK do assert(row["a" .. n] == pack[n], pack[n]) end
      pack = {}
      if i % 100 > 0 then return end
      -- A column of MariaDB's has one byte a character where nobody says otherwise.
      local name = (i .. text):gsub("[\128-\255]", "~"):sub(1, 45)
      db:run("insert into score (name) values (?)", name)
      assert.equal(name, db:value("select name from score where name = ?", name))
      named = named + 1
    end)
    assert.equal(named, db:value("select count(*) from score"))
    assert.equal("?", db:value("select '?'"))
    assert.equal(5, db:value("select 5 -- is ? not one\n where ? = 1 /* nor ? */", 1))
  end)

  may("says what is wrong, with the database's code", function()
    db:run("insert into score (name) values (?)", "ann")
    local again = failure(db.run, db, "insert into score (name) values (?)", "ann")
    assert.equal("unique", again.code)
    assert.is_truthy(again.native)
    assert.matches("^sync.sql: .*unique, ", tostring(again))
    assert.equal("not null", failure(db.run, db, "insert into score (points) values (1)").code)
    assert.equal("failed", failure(db.run, db, "selct 1").code)
    assert.equal("misuse", failure(db.run, db, "select ?").code)
    assert.equal("misuse", failure(db.run, db, "select 1", 1).code)
    assert.equal("misuse", failure(db.run, db, "select ?", {}).code)
    assert.equal("misuse", failure(db.run, db, "select ?", print).code)
    assert.equal("misuse", failure(db.run, db, "").code)
    assert.equal("ann", db:value("select name from score")) -- and goes on
  end)

  may("commits what a transaction's function has done, or nothing of it", function()
    assert.equal("done", db:transaction(function(tx, name)
      tx:run("insert into score (name) values (?)", name)
      tx:run("insert into score (name) values (?)", "bob")
      assert.equal(2, tx:value("select count(*) from score"))
      return "done"
    end, "ann"))
    assert.equal(2, db:value("select count(*) from score"))
    local raised = support.raised(db.transaction, db, function(tx)
      tx:run("delete from score")
      error("oh")
    end)
    assert.equal("oh", raised)
    local later = failure(db.transaction, db, function(tx)
      tx:run("delete from score")
      tx:run("insert into score (name) values (null)")
    end)
    assert.equal("not null", later.code)
    assert.equal(2, db:value("select count(*) from score"))
  end)

  may("refuses db: inside a transaction, and tx: outside", function()
    local kept
    db:transaction(function(tx)
      kept = tx
      for _, call in ipairs {"rows", "row", "value", "run"} do
        assert.matches("use the tx", support.raised(db[call], db, "select 1"))
      end
      assert.matches("don't nest", support.raised(db.transaction, db, print))
      assert.equal(1, tx:value("select 1"))
    end)
    assert.matches("has ended", support.raised(kept.run, kept, "select 1"))
    assert.equal(1, db:value("select 1"))
  end)

  may("leaves no transaction open that a statement has begun or ended", function()
    pcall(db.run, db, "begin")
    db:run("insert into score (name) values ('ann')")
    pcall(db.run, db, "rollback")
    assert.equal(1, db:value("select count(*) from score"))
    local ok = pcall(db.transaction, db, function(tx)
      tx:run("insert into score (name) values ('bob')")
      tx:run("commit")
    end)
    assert.is_false(ok)
    assert.equal(1, db:value("select 1"))
  end)

  may("gives many rows part by part, and stops when it's told to", function()
    for i = 1, 30 do db:run("insert into score (name, points) values (?, ?)", "n" .. i, i) end
    local many = "select a.points as x from score a, score b, score c where a.points > ? " ..
      "order by a.points"
    local count, sum = 0, 0
    db:each(many, 10, function(row)
      count, sum = count + 1, sum + row.x
      if count % 5000 == 0 then sync.sleep(0.001) end
    end)
    assert.equal(18000, count)
    assert.equal(20.5 * 18000, sum)
    count = 0
    db:each(many, 10, function()
      count = count + 1
      return count < 7
    end)
    assert.equal(7, count)
    assert.matches("oh", support.raised(db.each, db, many, 10, function() error "oh" end))
    assert.equal("too large", failure(db.rows, db, many, 0).code)
    assert.equal(1, db:row(many, 0).x)
    assert.equal(1, db:value(many, 0))
    db:transaction(function(tx)
      count = 0
      tx:each(many, 10, function() count = count + 1 end)
      assert.equal(18000, count)
    end)
    assert.equal(30, db:value("select count(*) from score"))
  end)

  may("does for many at once what it does for one", function()
    db:run("insert into score (name, points) values ('all', 0)")
    shared.together(40, function(i)
      db:run("insert into score (name, points) values (?, ?)", "n" .. i, i)
      assert.equal(i, db:value("select points from score where name = ?", "n" .. i))
      db:transaction(function(tx)
        local points = tx:value("select points from score where name = 'all'" .. dialect.locked)
        tx:run("update score set points = ? where name = 'all'", points + i)
      end)
    end)
    assert.equal(41, db:value("select count(*) from score"))
    assert.equal(820, db:value("select points from score where name = 'all'"))
  end)

  may("takes the steps of a folder once each", function()
    local folder = os.tmpname()
    os.remove(folder)
    os.execute("mkdir " .. folder)
    local function step(name, text)
      local file = assert(io.open(folder .. "/" .. name, "w"))
      file:write(text)
      file:close()
    end
    local ok, problem = pcall(function()
      db:run "drop table if exists sync_migration"
      db:run "drop table if exists tool"
      step("001_tools.sql", "create table tool (id integer);\ninsert into tool values (1);\n")
      step("002_more.sql", "-- a comment;\ninsert into tool values (2);\n")
      local done = 0
      shared.together(dialect.isAlone and 1 or 5, function()
        local count = sync.migrate(db, folder)
        done = done + count
      end)
      assert.equal(2, done)
      assert.equal(0, sync.migrate(db, folder .. "/"))
      step("010_wrong.sql", "insert into tool values (3);\nselct;\n")
      assert.matches("sync.migrate: 010_wrong.sql: sync.sql: ", support.raised(sync.migrate, db,
        folder))
      assert.equal(2, db:value("select count(*) from tool"))
      step("010_wrong.sql", "insert into tool values (4);")
      assert.equal(1, sync.migrate(db, folder))
      os.rename(folder .. "/002_more.sql", folder .. "/002_other.sql")
      assert.matches("002_other.sql was done as 002_more.sql", support.raised(sync.migrate, db,
        folder))
      step("2_again.sql", "")
      assert.matches("has the number of", support.raised(sync.migrate, db, folder))
    end)
    os.execute("rm -r " .. folder)
    if not ok then error(problem, 0) end
    assert.matches("no .sql file", support.raised(sync.migrate, db, folder))
  end)

  if dialect.isAlone then return end -- what follows needs a second opening of the same

  it("waits only where one may, and not for ever", function()
    assert.matches("inside sync.spawn", support.raised(db.run, db, "select 1"))
    local small = open {size = 1, queue = 2, queueTimeout = 0.3, transactionTimeout = 0.6}
    local codes, held = {}, nil
    local stuck = sync.spawn(function()
      held = pcall(small.transaction, small, function(tx)
        tx:run("update score set points = 1")
        require "sync.task".await(function() end) -- its end never comes
      end)
    end)
    for _ = 1, 4 do
      sync.spawn(function()
        local ok, problem = pcall(small.run, small, "insert into score (name) values ('x')")
        codes[#codes + 1] = ok and "done" or problem.code .. ": " .. problem.message
      end)
    end
    support.wait(function() return #codes == 4 end)
    table.sort(codes)
    assert.same({"busy: no connection was free in 0.3 s", "busy: no connection was free in 0.3 s",
      "busy: too many wait for a connection already",
      "busy: too many wait for a connection already"}, codes)
    assert.is_nil(held)
    shared.waits(function() -- the transaction's time is over, and its connection free
      local ok
      repeat
        ok = pcall(small.run, small, "insert into score (name) values ('y')")
      until ok
    end)
    stuck:cancel()
    small:close()
  end)

  it("has the connection back of a task that was cancelled", function()
    local small = open {size = 1, queueTimeout = 2}
    shared.waits(function() small:run("update score set points = 1") end)
    for _, call in ipairs {"run", "each"} do
      local spawned = sync.spawn(function()
        if call == "each" then
          small:each("select 1 as x", function() sync.sleep(60) end)
        else
          small:run("update score set points = 2")
        end
      end)
      if call == "each" then shared.waits(sync.sleep, 0.1) end
      spawned:cancel()
      shared.waits(function()
        sync.sleep(0.05)
        small:run("update score set points = 3")
      end)
    end
    small:close()
  end)

  it("raises at the next call what a transaction's time limit was", function()
    local small = open {transactionTimeout = 0.2}
    shared.waits(function()
      local raised = failure(small.transaction, small, function(tx)
        tx:run("insert into score (name) values ('x')")
        sync.sleep(0.6)
        pcall(tx.run, tx, "insert into score (name) values ('y')")
      end)
      assert.equal("timeout", raised.code)
      assert.equal(0, small:value("select count(*) from score"))
    end)
    small:close()
  end)

  it("fails what waits when it's closed", function()
    local own, code = open(), nil
    sync.spawn(function()
      local ok, problem = pcall(own.run, own, dialect.slow)
      code = not ok and problem.code
    end)
    own:close()
    support.wait(function() return code end)
    assert.equal("closed", code)
    shared.waits(function() assert.equal("closed", failure(own.value, own, "select 1").code) end)
  end)
end

return shared
