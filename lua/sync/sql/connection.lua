--- What connections to the servers of databases share, whatever they speak: waiting for the
-- server, its time limit, and the end of a transaction. Extended by sync.sql.postgres and
-- sync.sql.mysql, which have `close`, `lose` and `command`.
-- @module sync.sql.connection

local Class = require "sync.class"
local address = require "sync.sql.address"
local task = require "sync.task"
local values = require "sync.sql.values"

local Connection = Class:extend("SQL.Connection")

local function hold(resume, self)
  self.resume = resume
  local begin = self.begins
  self.begins = nil
  if begin then begin(self) end
end

-- The task waits no more, and what it has begun goes on at the server: another connection is
-- made than to wait for that.
local function leave(self, why) self:lose(why) end

--- Waits until `self.resume` is called, and returns what with.
-- @tparam[opt] function begin called with the connection once it waits
function Connection:wait(begin)
  self.begins = begin
  return task.await(hold, leave, self)
end

--- The server has taken too long: see sync.limits.
function Connection:expire()
  self:lose(values.failure("timeout", ("the server has not answered in %g s")
    :format(self.options.timeout)))
end

--- The address of a host; waits. The databases' libraries would have everybody wait.
function Connection:lookUp(host)
  if host == "" or host:find("^[%d.]+$") or host:find(":", 1, true) then return host end
  local found, problem = address.of(host, self.options.timeout)
  if not found then error(values.failure("away", host .. ": " .. problem), 0) end
  return found
end

--- Ends a transaction. The answer may be lost: then nobody knows what it was.
function Connection:commit()
  local ok, problem = pcall(self.command, self, "COMMIT")
  if not ok and self.isBroken then
    problem = values.failure("in doubt", "the answer to COMMIT was lost: " ..
      "all of the transaction is done, or nothing", problem.native)
  end
  if not ok then error(problem, 0) end
end

function Connection:rollback() self:command("ROLLBACK") end

return Connection
