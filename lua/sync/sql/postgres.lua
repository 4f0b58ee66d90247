--- PostgreSQL by libpq's asynchronous interface: see sync.sql. The FFI is known here and by
-- sync.sql.libpq.
--
-- libpq calls nobody: its socket is watched by the core, and each time there is something it's
-- asked what came. Statements are prepared at their first use on a connection.
-- @module sync.sql.postgres

local bit = require "bit"
local Connection = require "sync.sql.connection"
local core = require "sync.core"
local ffi = require "ffi"
local jobs = require "sync.jobs"
local limits = require "sync.limits"
local libpq = require "sync.sql.libpq"
local places = require "sync.sql.places"
local Server = require "sync.sql.server"
local values = require "sync.sql.values"

local toString = core.string
local READABLE, WRITABLE = 1, 2
local EMPTY, COMMAND_OK, TUPLES_OK, SINGLE_TUPLE = 0, 1, 2, 9
local READING, WRITING, OK = 1, 2, 3 -- what PQconnectPoll wants
local IDLE = 0
local PLAN_CHANGED = "0A000" -- "cached plan must not change result type"
local MOST_PREPARED = 256 -- of a connection
local MOST_TEXTS = 1000   -- whose places are known
local HELD_ROWS = 500     -- that a function of `each` hasn't taken yet

local PostgreSQL = Connection:extend("PostgreSQL")
local lib -- once it's loaded

local function problemOf(self)
  local text = toString(lib.PQerrorMessage(self.pg)):gsub("%s+", " "):gsub("%s+$", "")
  return text ~= "" and text or "the connection was lost"
end

-- Waiting. One thing at a time is under way on a connection; it ends with `done`.

local function done(self, failure)
  local resume = self.resume
  self.resume, self.isBusy = nil, false
  limits.stop(self)
  if resume then resume(failure) end
end

-- Waits until what was begun has ended. Returns what went wrong.
local function outcome(self)
  self.isBusy = true
  limits.start(self, self.options.timeout)
  return self:wait()
end

-- The same; raises it.
local function await(self)
  local failure = outcome(self)
  if failure then error(failure, 0) end
end

--- The connection is no good any more; what is under way fails.
function PostgreSQL:lose(failure)
  self.isBroken = true
  self:close()
  done(self, failure)
end

function PostgreSQL:close()
  if self.watch then jobs.unwatch(self.watch) end
  self.watch = nil
  if self.result then lib.PQclear(self.result) end
  self.result = nil
  if self.pg then lib.PQfinish(ffi.gc(self.pg, nil)) end
  self.pg = nil
  if self.isBusy and not self.isBroken then
    self.isBroken = true
    done(self, values.failure("closed", "the database was closed"))
  end
end

-- Connecting.

local function watch(self, interest)
  local fd = lib.PQsocket(self.pg)
  if self.watch then jobs.unwatch(self.watch) end -- libpq may have another socket now
  self.watch = jobs.watch(fd, interest, self)
  self.interest = interest
  return self.watch
end

local function poll(self)
  local wants = lib.PQconnectPoll(self.pg)
  if wants == READING or wants == WRITING then
    if watch(self, wants == READING and READABLE or WRITABLE) then return end
  elseif wants == OK and watch(self, READABLE) then
    lib.PQsetnonblocking(self.pg, 1)
    self.isOpen, self.isConnecting = true, false
    return done(self)
  end
  self:lose(values.failure("away", problemOf(self)))
end

--- Connects; waits.
function PostgreSQL:connect()
  local host = self.host -- libpq would wait for a name
  local address = host ~= "" and not host:find "^/" and self:lookUp(host) or nil
  local settings = {
    "dbname", self.url, "client_encoding", "UTF8", "application_name", "sync",
    "options", ("-c statement_timeout=%d -c timezone=UTC -c bytea_output=hex -c datestyle=ISO")
      :format(self.options.timeout * 1000),
  }
  if address then
    settings[#settings + 1] = "hostaddr"
    settings[#settings + 1] = address
  end
  local keywords = ffi.new("const char *[?]", #settings / 2 + 1)
  local given = ffi.new("const char *[?]", #settings / 2 + 1)
  for i = 1, #settings / 2 do
    keywords[i - 1], given[i - 1] = settings[2 * i - 1], settings[2 * i]
  end
  local pg = lib.PQconnectStartParams(keywords, given, 1)
  if pg == nil then error(values.failure("memory", "not enough memory"), 0) end
  self.pg, self.isConnecting, self.prepared, self.count = ffi.gc(pg, lib.PQfinish), true, {}, 0
  -- Notices would go to standard error. This function does nothing with what it's given: NULL.
  lib.PQsetNoticeReceiver(pg, ffi.cast("PQnoticeReceiver", lib.PQresultStatus), nil)
  if not watch(self, WRITABLE) then error(values.failure("away", problemOf(self)), 0) end
  await(self)
end

-- Results.

-- What the first result tells of the columns; the same each time of a prepared statement.
local function describe(self, result)
  local known = self.statement
  if known.names then
    self.names, self.reads = known.names, known.reads
    return
  end
  local names, reads = {}, {}
  for column = 0, lib.PQnfields(result) - 1 do
    names[column + 1] = toString(lib.PQfname(result, column))
    reads[column + 1] = libpq.READ[tonumber(lib.PQftype(result, column))]
  end
  known.names, known.reads = names, reads
  self.names, self.reads = names, reads
end

local function readRow(self, result)
  local names, reads, row = self.names, self.reads, {}
  for i = 1, #names do row[names[i]] = libpq.cell(result, 0, i - 1, reads[i]) end
  return row
end

local function tooLarge(self)
  self:lose(values.failure("too large", "there are more rows, or more bytes, than the bound"))
end

-- A row has come. Returns false when no more are taken.
local function takeRow(self, result)
  local want, taken, bytes = self.want, self.taken + 1, self.bytes
  self.taken = taken
  if taken == 1 then describe(self, result) end
  if taken > 1 and (want == "first" or want == "value") then return true end
  if want == "each" then
    self.rows[#self.rows + 1] = readRow(self, result)
    return true
  end
  for column = 0, #self.names - 1 do bytes = bytes + lib.PQgetlength(result, 0, column) end
  self.bytes = bytes
  if taken > self.options.maxRows or bytes > self.options.maxBytes then
    tooLarge(self)
    return false
  elseif want == "value" then
    self.value = libpq.cell(result, 0, 0, self.reads[1])
  elseif want == "rows" or want == "first" then
    self.rows[taken] = readRow(self, result)
  end
  return true
end

local function takeResult(self, result)
  local status = lib.PQresultStatus(result)
  if status == SINGLE_TUPLE then
    local ok = takeRow(self, result)
    lib.PQclear(result)
    return ok
  end
  if status == EMPTY then
    self.failure = values.failure("misuse", "there is no statement")
  elseif status ~= COMMAND_OK and status ~= TUPLES_OK then
    self.failure = self.failure or libpq.failed(result)
  end
  if self.want == "none" then -- else nobody asks
    self.changes = tonumber(toString(lib.PQcmdTuples(result))) or 0
    self.tag = toString(lib.PQcmdStatus(result))
  end
  lib.PQclear(result)
  if status > TUPLES_OK and status < 5 then -- COPY, which has a protocol of its own
    self:lose(values.failure("misuse", "COPY is not for this"))
    return false
  end
  return true
end

local function setInterest(self, interest)
  if self.interest ~= interest then
    self.interest = interest
    jobs.interest(self.watch, interest)
  end
end

-- Takes the results that are there. Those of `each` stop when its function has many to take.
local function takeResults(self)
  while lib.PQisBusy(self.pg) == 0 do
    local result = lib.PQgetResult(self.pg)
    if result == nil then
      self.isComplete = true
      return done(self, self.want ~= "each" and self.failure or nil)
    end
    if not takeResult(self, result) then return end
    if self.want == "each" and #self.rows >= HELD_ROWS then
      setInterest(self, 0)
      return done(self)
    end
  end
end

local function flush(self)
  local left = lib.PQflush(self.pg)
  if left < 0 then return self:lose(values.failure("away", problemOf(self))) end
  setInterest(self, left == 1 and READABLE + WRITABLE or READABLE)
end

--- The socket is ready: for what is under way, or because an idle connection has ended.
function PostgreSQL:descriptorReady(value)
  if self.isConnecting then return poll(self) end
  if bit.band(value, WRITABLE) ~= 0 then flush(self) end
  if self.isBroken then return end
  if lib.PQconsumeInput(self.pg) == 0 then
    return self:lose(values.failure("away", problemOf(self)))
  end
  if self.isBusy then takeResults(self) end
end

-- Sends; `sent` is what a function of libpq has returned.
local function send(self, sent, want)
  if sent == 0 then
    local failure = values.failure("away", problemOf(self))
    self.isBroken = true
    error(failure, 0)
  end
  self.want, self.taken, self.bytes, self.rows = want, 0, 0, want ~= "value" and {} or nil
  self.failure, self.value, self.changes, self.isComplete = nil, nil, 0, false
  if want ~= "none" then lib.PQsetSingleRowMode(self.pg) end
  flush(self)
  if self.isBroken then error(values.failure("away", "the connection was lost"), 0) end
end

local function command(self, sql)
  send(self, lib.PQsendQuery(self.pg, sql), "none")
  await(self)
end

--- Executes a script: several statements.
function PostgreSQL:script(sql)
  command(self, sql)
end

-- Statements: their texts with $1 for ?, and how many places they have.
local known, knownCount = {}, 0

local function translate(sql)
  local found = known[sql]
  if found then return found end
  if knownCount >= MOST_TEXTS then known, knownCount = {}, 0 end
  local count, text = places.number(sql)
  found = {count = count, text = text}
  known[sql], knownCount = found, knownCount + 1
  return found
end

-- A statement as it was prepared on this connection: its `name`, and its columns once known.
local function prepare(self, sql, statement)
  local found = self.prepared[sql]
  if found then return found end
  if self.count >= MOST_PREPARED then
    command(self, "DEALLOCATE ALL")
    self.prepared, self.count = {}, 0
  end
  self.count = self.count + 1
  found = {name = "s" .. self.count}
  send(self, lib.PQsendPrepare(self.pg, found.name, statement.text, 0, nil), "none")
  await(self)
  self.prepared[sql] = found
  return found
end

-- Gives a function what has come, part by part, until it wants no more.
local function give(self, fn)
  while true do
    local rows = self.rows
    self.rows = {}
    for _, row in ipairs(rows) do
      if fn(row) == false then return end
    end
    if self.isComplete then break end
    setInterest(self, READABLE)
    self.isBusy = true
    limits.start(self, self.options.timeout)
    local failure = self:wait(takeResults)
    if failure then error(failure, 0) end
  end
  if self.failure then error(self.failure, 0) end
end

-- What `each` has left is read and thrown away in a transaction, which goes on; elsewhere the
-- connection ends.
local function finishEach(self, ok, problem)
  if not self.isComplete and not self.isBroken then
    if self:isInTransaction() then
      pcall(give, self, function() end)
    else
      self.isBroken = true
    end
  end
  if not ok then error(problem, 0) end
end

local function resultOf(self, want)
  if want == "value" then return self.value end
  if want == "rows" then return self.rows end
  if want == "first" then return self.rows[1] end
  return self.changes
end

-- Sends a statement, and waits for what comes; of `each` until there are some rows. Returns what
-- the server has against it.
local function execute(self, want, sql, count, ...)
  local statement = translate(sql)
  if statement.count ~= count then
    values.misuse("the statement has %d places for %d parameters", statement.count, count)
  end
  self.statement = prepare(self, sql, statement)
  libpq.bind(count, ...)
  send(self, lib.PQsendQueryPrepared(self.pg, self.statement.name, count, libpq.texts,
    libpq.lengths, libpq.formats, 0), want)
  libpq.release(count)
  local failure = outcome(self)
  return failure or self.isComplete and self.failure or nil
end

--- Executes a statement. One that was prepared before a table changed is prepared anew, unless
-- that has made a transaction fail: nothing of it was done.
function PostgreSQL:query(want, fn, sql, count, ...)
  local failure = execute(self, want, sql, count, ...)
  if failure and failure.native == PLAN_CHANGED and not self.isBroken and
    not self:isInTransaction() then
    self.prepared[sql] = nil
    failure = execute(self, want, sql, count, ...)
  end
  if want == "each" then
    finishEach(self, pcall(give, self, fn))
  elseif failure then
    error(failure, 0)
  end
  return resultOf(self, want)
end

function PostgreSQL:isInTransaction()
  return self.pg ~= nil and lib.PQtransactionStatus(self.pg) ~= IDLE
end

--- Executes a statement without a result.
PostgreSQL.command = command

function PostgreSQL:begin() command(self, "BEGIN") end

--- A COMMIT of a transaction that has failed is answered with ROLLBACK.
function PostgreSQL:commit()
  Connection.commit(self)
  if self.tag == "ROLLBACK" then
    error(values.failure("failed", "the transaction was rolled back, as a statement of it had " ..
      "failed", "25P02"), 0)
  end
end

local postgres = {}

-- The host that a URL names, "" for the default one.
local function hostOf(url)
  local problem = ffi.new "char *[1]"
  local list = lib.PQconninfoParse(url, problem)
  if list == nil then
    local text = problem[0] ~= nil and toString(problem[0]) or "it can't be read"
    if problem[0] ~= nil then lib.PQfreemem(problem[0]) end
    -- libpq's words may have a part of the URL, and so of the password.
    return nil, "the URL is none of PostgreSQL's: " .. text:gsub('".*"', "…"):gsub("%s+$", "")
  end
  local host, address, at = "", nil, 0
  while list[at].keyword ~= nil do
    local keyword = toString(list[at].keyword)
    if list[at].val ~= nil then
      if keyword == "host" then host = toString(list[at].val) end
      if keyword == "hostaddr" then address = toString(list[at].val) end
    end
    at = at + 1
  end
  lib.PQconninfoFree(list)
  if host:find(",", 1, true) then return nil, "the URL names more than one host" end
  return address or host
end

--- @tparam string rest of the URL, behind "postgres:"
-- @tparam table options of sync.sql
-- @treturn Server|nil or nil and a message
function postgres.open(rest, options)
  local problem
  lib, problem = libpq.load()
  if not lib then return nil, problem end
  local url = "postgresql:" .. rest
  local host
  host, problem = hostOf(url)
  if not host then return nil, problem end
  return Server.new(options, function()
    return PostgreSQL:new {url = url, host = host, options = options}
  end)
end

return postgres
