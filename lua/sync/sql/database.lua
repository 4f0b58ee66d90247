--- A database, whichever it is: what `sync.sql(url)` returns.
--
--     local db = sync.sql "sqlite:game.db"
--     db:run("insert into score (name, points) values (?, ?)", name, 10)
--     local best = db:value("select max(points) from score")
--     db:transaction(function(tx)
--       tx:run("update score set points = points - ? where name = ?", 5, "ann")
--       tx:run("update score set points = points + ? where name = ?", 5, "bob")
--     end)
--
-- Each call waits, so it belongs in a function that may: `sync.spawn`. Parameters take the
-- places of `?`, and are never part of the text.
--
-- **Failures are raised**: tables with `code`, `message` and the database's own code in
-- `native`. So a value that is NULL is nil and nothing else, and a transaction is rolled back.
-- @classmod sync.sql.database

local Class = require "sync.class"
local limits = require "sync.limits"
local task = require "sync.task"
local values = require "sync.sql.values"

local Database = Class:extend("Database")
local Transaction = Class:extend("Transaction")

-- Transactions by the tasks that are in them.
local inside = setmetatable({}, {__mode = "k"})

local function check(call, sql)
  if type(sql) ~= "string" then
    error(("%s(sql, …): sql must be a string, not %s"):format(call, type(sql)), 4)
  end
  return task.needed(call, 4)
end

-- What statements are executed by: the driver, or a transaction's session.
function Database:executor(call, sql)
  local current = check(call, sql)
  local own = inside[current]
  if own and own.database == self then
    error(call .. " inside a transaction would be outside of it: use the tx that the function " ..
      "is given", 3)
  end
  return self.driver
end

function Transaction:executor(call, sql)
  check(call, sql)
  if self.failure then error(self.failure, 0) end
  if self.ended then error(call .. ": the transaction has ended", 3) end
  return self.session
end

-- The calls that both have. A statement wants so many rows: "rows" all within the bound,
-- "first" one, "none" of them needed.
local function calls(class, name)
  local rows, row, value = name .. ":rows", name .. ":row", name .. ":value"
  local run, each = name .. ":run", name .. ":each"

  --- All rows, as a list of tables by the columns' names; NULL is nil. More than
  -- `options.maxRows` are the failure "too large": see `each`.
  -- @tparam string sql one statement
  -- @param ... as many as it has places
  -- @treturn table
  function class:rows(sql, ...)
    return self:executor(rows, sql):execute("rows", sql, select("#", ...), ...)
  end

  --- The first row, nil when there is none.
  function class:row(sql, ...)
    return self:executor(row, sql):execute("first", sql, select("#", ...), ...)
  end

  --- The first value of the first row, nil when it is NULL or there is no row.
  function class:value(sql, ...)
    return self:executor(value, sql):execute("value", sql, select("#", ...), ...)
  end

  --- A statement without rows.
  -- @treturn number how many rows it has inserted, changed or deleted
  -- @treturn number|nil the id that an inserted row was given, but by PostgreSQL: use
  -- `returning` there
  function class:run(sql, ...)
    return self:executor(run, sql):execute("none", sql, select("#", ...), ...)
  end

  --- Calls a function with each row, however many there are: they are fetched as it takes them.
  -- It may wait. `false` from it ends the rest.
  -- @tparam string sql a statement that only reads
  -- @param ... the parameters, and last the function
  function class:each(sql, ...)
    local count = select("#", ...)
    local fn = select(count, ...)
    if count == 0 or type(fn) ~= "function" then
      error(each .. "(sql, …, fn): the last argument must be a function", 2)
    end
    self:executor(each, sql):each(fn, sql, count - 1, ...)
  end
end

calls(Database, "db")
calls(Transaction, "tx")

--- Executes several statements, without parameters and results; for migrations.
-- @local
function Transaction:script(text)
  self:executor("tx:script", text):script(text)
end

-- It has taken too long, and its task may be gone or asleep: its function hears of it at its
-- next call.
function Transaction:expire()
  self.failure = values.failure("timeout", ("the transaction took longer than %g s, it was " ..
    "rolled back"):format(self.database.options.transactionTimeout))
  if self.ended then return end
  self.ended = true
  self.session:abandon(self.failure)
end

local function finish(self, ok, ...)
  inside[self.task] = nil
  limits.stop(self)
  if self.failure then error(self.failure, 0) end
  self.ended = true
  if not ok then
    self.session:rollback()
    error((...), 0)
  end
  self.session:commit()
  return ...
end

--- Calls a function in a transaction: it is committed when the function returns, and rolled
-- back when an error is raised, or after `transactionTimeout` seconds.
--
-- The failure "in doubt" says that the connection broke while the answer to COMMIT was waited
-- for: nobody knows whether all of it is done, or nothing. It is never begun anew by itself;
-- "conflict" (a deadlock, a serialization failure) says that it can be.
-- @tparam function fn gets `tx`, with the calls of a database
-- @param ... more for fn
-- @return what fn returns
function Database:transaction(fn, ...)
  if type(fn) ~= "function" then
    error("db:transaction(fn): fn must be a function, not " .. type(fn), 2)
  end
  local current = check("db:transaction", "")
  if inside[current] then error("db:transaction: transactions don't nest", 2) end
  local tx = Transaction:new {database = self, task = current}
  tx.session = self.driver:begin()
  inside[current] = tx
  limits.start(tx, self.options.transactionTimeout)
  return finish(tx, pcall(fn, tx, ...))
end

--- Closes it: what waits fails with "closed".
function Database:close()
  if self.isClosed then return end
  self.isClosed = true
  self.driver:close()
end

return Database
