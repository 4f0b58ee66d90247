-- sync.sql "sqlite:…".

local missing = require "spec.support.missing"
local Process = require "spec.support.process"
local shared = require "spec.sql.shared"
local support = require "spec.support"
local sync = require "sync"

local SLOW = "with recursive c(x) as (select 1 union all select x + 1 from c) " ..
  "select count(*) from c"
local DIALECT = {id = "integer primary key", blob = "blob", time = "real", locked = "", slow = SLOW}

local path

local function file()
  path = path or Process.file(nil, ".db")
  return path
end

local function cleanUp()
  if path then
    for _, ending in ipairs {"", "-wal", "-shm"} do os.remove(path .. ending) end
  end
  path = nil
  Process.cleanUp()
end

describe("SQLite in a file", function()
  after_each(cleanUp)
  shared.specs(DIALECT, function(options) return sync.sql("sqlite:" .. file(), options) end)

  it("reads while a transaction writes, and writes in the order of the line", function()
    local db = sync.sql("sqlite:" .. file())
    shared.waits(function()
      db:run("create table t (k integer primary key, v)")
      db:transaction(function(tx)
        local _, id = tx:run("insert into t (v) values (?)", "a")
        assert.equal(1, id)
        local seen
        sync.spawn(function() seen = db:value("select count(*) from t") end)
        repeat sync.sleep(0.001) until seen
        assert.equal(0, seen)
      end)
      local order = {}
      shared.together(20, function(i)
        db:run("insert into t (v) values (?)", i)
        order[#order + 1] = i
      end)
      for i = 1, 20 do assert.equal(i, order[i]) end
      assert.same({{k = 22}}, db:rows("insert into t (v) values (1) returning k"))
      assert.equal("wal", db:value("pragma journal_mode"))
    end)
    db:close()
  end)

  it("ends what a cancelled task has left of each, and bounds how many go on", function()
    local db = sync.sql("sqlite:" .. file())
    local function hold(begun)
      return sync.spawn(function()
        db:each("select 1 as x", function()
          begun[#begun + 1] = true
          sync.sleep(60)
        end)
      end)
    end
    for _ = 1, 2 do
      local begun, tasks = {}, {}
      for i = 1, 64 do tasks[i] = hold(begun) end
      support.wait(function() return #begun == 64 end)
      shared.waits(function()
        assert.equal("busy", shared.failure(db.each, db, "select 1", print).code)
      end)
      for _, spawned in ipairs(tasks) do spawned:cancel() end
    end
    shared.waits(function()
      local count = 0
      db:each("select 1 as x", function() count = count + 1 end)
      assert.equal(1, count)
    end)
    db:close()
  end)

  it("interrupts a statement at its time limit, and others go on", function()
    local db = sync.sql("sqlite:" .. file(), {timeout = 0.2, readers = 1})
    shared.waits(function()
      assert.equal("timeout", shared.failure(db.value, db, SLOW).code)
      assert.equal(1, db:value("select 1"))
      local raised = shared.failure(db.transaction, db, function(tx) tx:value(SLOW) end)
      assert.equal("timeout", raised.code)
      db:run("create table t (k)")
    end)
    db:close()
  end)

  it("is shared by two processes", function()
    local db = sync.sql("sqlite:" .. file())
    shared.waits(function() db:run("create table t (k)") end)
    local Program = require "spec.support.program"
    local script = ([[
      local sync = require "sync"
      local db = sync.sql("sqlite:%s")
      sync.spawn(function()
        for i = 1, 200 do
          db:transaction(function(tx)
            tx:value("select count(*) from t")
            tx:run("insert into t values (?)", i)
          end)
        end
      end)
      sync.start()
    ]]):format(file())
    local one = Program.start(Process.file(script))
    shared.waits(function()
      for i = 1, 200 do
        db:transaction(function(tx)
          tx:value("select count(*) from t")
          tx:run("insert into t values (?)", i)
        end)
      end
    end)
    assert.equal(0, one:wait(), one:stderr())
    shared.waits(function() assert.equal(400, db:value("select count(*) from t")) end)
    db:close()
  end)

  it("says where a file can't be opened", function()
    local db = sync.sql "sqlite:/nowhere/at/all.db"
    shared.waits(function()
      local failure = shared.failure(db.value, db, "select 1")
      assert.equal("away", failure.code)
      assert.equal(14, failure.native)
    end)
    db:close()
  end)
end)

describe("SQLite in memory", function()
  after_each(cleanUp)
  local dialect = setmetatable({isAlone = true}, {__index = DIALECT})
  shared.specs(dialect, function() return sync.sql "sqlite::memory:" end)
end)

describe("sync.sql", function()
  after_each(cleanUp)

  it("says what it can't open", function()
    assert.matches("must begin with sqlite:", support.raised(sync.sql, "oracle:x"))
    assert.matches("no setting sise", support.raised(sync.sql, "sqlite:x", {sise = 1}))
    assert.matches("size must be a number above 0", support.raised(sync.sql, "sqlite:x",
      {size = 0}))
  end)

  it("names the package where a library is missing", function()
    assert.matches("sync.sql: the library libsqlite3 is missing: apt%-get install libsqlite3%-0",
      missing.run("libsqlite3", 'require "sync".sql "sqlite:x.db"'))
  end)
end)
