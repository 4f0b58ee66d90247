--- Databases that are servers: a pool of connections, and what a transaction holds of it. Knows
-- no protocol: a connection has `connect`, `query`, `begin`, `commit`, `rollback`,
-- `isInTransaction` and `close`, which wait, and `isOpen` and `isBroken`.
-- @module sync.sql.server

local Class = require "sync.class"
local loop = require "sync.loop"
local Pause = require "sync.service.pause"
local Pool = require "sync.service.pool"
local task = require "sync.task"
local values = require "sync.sql.values"

local Server = Class:extend("SQL.Server")
local Session = Class:extend("SQL.Session")

--- @tparam table options
-- @tparam function make a connection, not open yet
function Server.new(options, make)
  local connections = setmetatable({}, {__mode = "k"})
  local self = setmetatable({options = options, pause = Pause.new(), connections = connections},
    Server)
  self.pool = Pool.open(options, function()
    local connection = make()
    connections[connection] = true
    return connection
  end, values.failure)
  return self
end

-- Nobody is at the other end: for a while, nobody tries.
local function rest(self, problem)
  self.problem = problem
  loop.startTimer(self.pause:next(), 0, function() self.problem = nil end)
end

-- Connects, unless it has just been found that nobody is there. Returns what went wrong.
local function open(self, connection)
  if self.problem then return self.problem end
  local ok, problem = pcall(connection.connect, connection)
  if ok then
    self.pause:reset()
    return nil
  end
  if not self.problem then rest(self, problem) end
  return problem
end

-- A connection that is open.
local function lease(self)
  local connection = self.pool:take()
  if connection.isOpen and not connection.isBroken then return connection end
  local problem = open(self, connection)
  if not problem then return connection end
  connection.isBroken = true
  self.pool:give(connection)
  error(problem, 0)
end

local function giveBack(self, connection, ok, ...)
  local isOpen = not connection.isBroken and connection:isInTransaction()
  if isOpen then connection.isBroken = true end
  self.pool:give(connection)
  if not ok then error((...), 0) end
  if isOpen then
    error(values.failure("misuse", "a transaction is begun by db:transaction, not by a " ..
      "statement"), 0)
  end
  return ...
end

--- Executes a statement on whichever connection is free.
function Server:execute(want, sql, count, ...)
  local connection = lease(self)
  return giveBack(self, connection,
    pcall(connection.query, connection, want, nil, sql, count, ...))
end

function Server:each(fn, sql, count, ...)
  local connection = lease(self)
  return giveBack(self, connection,
    pcall(connection.query, connection, "each", fn, sql, count, ...))
end

function Server:begin()
  local connection = lease(self)
  local ok, problem = pcall(connection.begin, connection)
  if not ok then giveBack(self, connection, false, problem) end
  return Session:new {server = self, connection = connection}
end

function Server:close()
  self.pool:close()
  local busy = {}
  for connection in pairs(self.connections) do
    if connection.isBusy then busy[#busy + 1] = connection end
  end
  for _, connection in ipairs(busy) do
    connection:lose(values.failure("closed", "the database was closed"))
  end
end

local function release(session)
  local connection = session.connection
  session.connection = nil
  if not connection then return end
  if not connection.isBroken and connection:isInTransaction() then connection.isBroken = true end
  session.server.pool:give(connection)
end

local function check(session, connection)
  if not connection:isInTransaction() then session.isOver = true end
end

function Session:execute(want, sql, count, ...)
  return self:query(want, nil, sql, count, ...)
end

function Session:each(fn, sql, count, ...)
  self:query("each", fn, sql, count, ...)
end

local function queried(session, connection, ...)
  check(session, connection)
  return ...
end

function Session:query(want, fn, sql, count, ...)
  local connection = self.connection
  if connection.isBusy then
    error(values.failure("misuse", "the transaction executes another statement already"), 0)
  end
  return queried(self, connection, connection:query(want, fn, sql, count, ...))
end

function Session:script(sql)
  self.connection:script(sql)
  check(self, self.connection)
end

--- Begins anew, when a statement has ended the transaction.
function Session:reopen()
  if not self.isOver then return end
  self.connection:begin()
  self.isOver = false
end

function Session:commit()
  local connection = self.connection
  if self.isOver then
    release(self)
    error(values.failure("misuse", "the transaction was ended by a statement of its own"), 0)
  end
  local ok, problem = pcall(connection.commit, connection)
  release(self)
  if not ok then error(problem, 0) end
end

function Session:rollback()
  local connection = self.connection
  if connection and not connection.isBroken then pcall(connection.rollback, connection) end
  release(self)
end

--- Ends it, whatever became of the task: a statement under way ends with its connection.
function Session:abandon(failure)
  local connection = self.connection
  if not connection then return end
  if connection.isBusy then
    connection:lose(failure)
    release(self)
  else
    task.spawn(function() self:rollback() end)
  end
end

return Server
