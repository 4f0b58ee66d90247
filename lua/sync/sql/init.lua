--- Databases: `sync.sql(url, options)`.
--
--     local db = sync.sql "sqlite:game.db"                        -- a file, nothing to install
--     local db = sync.sql "postgres://user:password@host/name"
--     local db = sync.sql "mysql://user:password@host/name"
--
-- See sync.sql.database for the calls, which are the same. Each database's library is opened
-- here, so a missing one shows when the program starts.
-- @module sync.sql

local Database = require "sync.sql.database"
local values = require "sync.sql.values"

--- Settings, with what they are when nothing is said.
local OPTIONS = {
  size = 10,               -- connections (of PostgreSQL and MySQL)
  readers = 2,             -- threads that read (of SQLite)
  queue = 1000,            -- calls that wait for a connection; one more fails with "busy"
  queueTimeout = 5,        -- seconds that a call waits for one
  timeout = 10,            -- seconds of a statement
  transactionTimeout = 30, -- seconds of a transaction
  maxRows = 10000,         -- of a statement's result; `each` has no such bound
  maxBytes = 16 * 1024 * 1024,
}

local DRIVERS = {sqlite = "sync.sql.sqlite", postgres = "sync.sql.postgres",
  postgresql = "sync.sql.postgres", mysql = "sync.sql.mysql", mariadb = "sync.sql.mysql"}

local sql = {blob = values.blob, time = values.time}

local function merged(given)
  local options = {}
  for name, value in pairs(OPTIONS) do options[name] = value end
  for name, value in pairs(given or {}) do
    if not OPTIONS[name] then error("sync.sql: there is no setting " .. tostring(name), 4) end
    if type(value) ~= "number" or value ~= value or value <= 0 then
      error(("sync.sql: %s must be a number above 0"):format(name), 4)
    end
    options[name] = value
  end
  return options
end

local function open(url, given)
  local scheme, rest = tostring(url):match("^(%l+):(.+)$")
  if not DRIVERS[scheme] then
    error("sync.sql(url): the URL must begin with sqlite:, postgres: or mysql:", 3)
  end
  local options = merged(given)
  local driver, problem = require(DRIVERS[scheme]).open(rest, options)
  if not driver then error("sync.sql: " .. problem, 3) end
  return Database:new {driver = driver, options = options, scheme = scheme}
end

return setmetatable(sql, {__call = function(_, url, given) return open(url, given) end})
