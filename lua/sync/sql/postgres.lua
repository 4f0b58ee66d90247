--- PostgreSQL by libpq's asynchronous interface: see sync.sql. Beside lua/sync/core.lua this
-- file knows the FFI.
--
-- libpq calls nobody: its socket is watched by the core, and each time there is something it's
-- asked what came. Statements are prepared at their first use on a connection.
-- @module sync.sql.postgres

local bit = require "bit"
local Class = require "sync.class"
local address = require "sync.sql.address"
local core = require "sync.core"
local ffi = require "ffi"
local jobs = require "sync.jobs"
local limits = require "sync.limits"
local places = require "sync.sql.places"
local Server = require "sync.sql.server"
local task = require "sync.task"
local values = require "sync.sql.values"

ffi.cdef [[
typedef struct pg_conn PGconn;
typedef struct pg_result PGresult;
typedef struct {
    char *keyword; char *envvar; char *compiled; char *val; char *label; char *dispchar;
    int dispsize;
} PQconninfoOption;
PQconninfoOption *PQconninfoParse(const char *conninfo, char **errmsg);
void PQconninfoFree(PQconninfoOption *options);
void PQfreemem(void *memory);
PGconn *PQconnectStartParams(const char *const *keywords, const char *const *values, int expand);
int PQconnectPoll(PGconn *conn);
void PQfinish(PGconn *conn);
int PQsocket(const PGconn *conn);
int PQsetnonblocking(PGconn *conn, int on);
char *PQerrorMessage(const PGconn *conn);
int PQtransactionStatus(const PGconn *conn);
typedef void (*PQnoticeReceiver)(void *data, const PGresult *result);
PQnoticeReceiver PQsetNoticeReceiver(PGconn *conn, PQnoticeReceiver receiver, void *data);
int PQsendQuery(PGconn *conn, const char *sql);
int PQsendPrepare(PGconn *conn, const char *name, const char *sql, int count, const void *types);
int PQsendQueryPrepared(PGconn *conn, const char *name, int count, const char *const *values,
    const int *lengths, const int *formats, int binary);
int PQsetSingleRowMode(PGconn *conn);
int PQflush(PGconn *conn);
int PQconsumeInput(PGconn *conn);
int PQisBusy(PGconn *conn);
PGresult *PQgetResult(PGconn *conn);
void PQclear(PGresult *result);
int PQresultStatus(const PGresult *result);
char *PQresultErrorField(const PGresult *result, int field);
char *PQcmdStatus(PGresult *result);
char *PQcmdTuples(PGresult *result);
int PQntuples(const PGresult *result);
int PQnfields(const PGresult *result);
char *PQfname(const PGresult *result, int column);
unsigned PQftype(const PGresult *result, int column);
char *PQgetvalue(const PGresult *result, int row, int column);
int PQgetlength(const PGresult *result, int row, int column);
int PQgetisnull(const PGresult *result, int row, int column);
unsigned char *PQunescapeBytea(const unsigned char *text, size_t *length);
]]

local toString = core.string
local READABLE, WRITABLE = 1, 2
local EMPTY, COMMAND_OK, TUPLES_OK, SINGLE_TUPLE = 0, 1, 2, 9
local READING, WRITING, OK = 1, 2, 3 -- what PQconnectPoll wants
local IDLE = 0
local PRIMARY, STATE = ("M"):byte(), ("C"):byte()
local PLAN_CHANGED = "0A000" -- "cached plan must not change result type"
local MOST_PARAMETERS = 999
local MOST_PREPARED = 256 -- of a connection
local MOST_TEXTS = 1000   -- whose places are known
local HELD_ROWS = 500     -- that a function of `each` hasn't taken yet

local Connection = Class:extend("PostgreSQL")
local lib

local function load()
  for _, name in ipairs {"libpq.so.5", "pq"} do
    local ok, found = pcall(ffi.load, name)
    if ok then
      lib = found
      return true
    end
  end
  return nil, "the library libpq is missing: apt-get install libpq5"
end

-- Values.

local texts = ffi.new("const char *[?]", MOST_PARAMETERS)
local lengths = ffi.new("int[?]", MOST_PARAMETERS)
local formats = ffi.new("int[?]", MOST_PARAMETERS)
local kept = {} -- luacheck: ignore 241 (holds the texts until they are sent)

local function misuse(...)
  error(values.failure("misuse", (...):format(select(2, ...))), 0)
end

local function write(value, number)
  local kind = type(value)
  if kind == "string" then
    if value:find("\0", 1, true) then
      misuse("parameter %d has a NUL, which no text has: use sync.sql.blob", number)
    end
    return value
  elseif kind == "number" then
    if value ~= value then misuse("parameter %d is NaN", number) end
    return values.number(value)
  elseif kind == "boolean" then
    return value and "t" or "f"
  elseif values.isTime(value) then
    return values.formatTime(value.seconds) .. "+00"
  end
  local integer = kind == "cdata" and values.integer(value)
  if integer then return integer end
  misuse("parameter %d is a %s, which is no value of a database", number, kind)
end

local function bind(count, ...)
  if count > MOST_PARAMETERS then misuse("a statement has at most 999 parameters") end
  for i = 1, count do
    local value = (select(i, ...))
    formats[i - 1] = 0
    if value == nil then
      texts[i - 1] = nil
    elseif values.isBlob(value) then
      kept[i] = value.bytes
      texts[i - 1], lengths[i - 1], formats[i - 1] = value.bytes, #value.bytes, 1
    else
      local text = write(value, i)
      kept[i] = text
      texts[i - 1] = text
    end
  end
end

local size = ffi.new "size_t[1]"

local function integer(text)
  local number = tonumber(text)
  if number > -2 ^ 53 and number < 2 ^ 53 then return number end
  local negative, digits = text:match("^(%-?)(%d+)$")
  local made = 0LL
  for digit in digits:gmatch "%d" do made = made * 10 - tonumber(digit) end
  made = negative == "-" and made or -made
  return (made == 2LL ^ 53 or made == -(2LL ^ 53)) and tonumber(made) or made
end

local function bytea(text)
  local bytes = lib.PQunescapeBytea(ffi.cast("const unsigned char *", text), size)
  local made = toString(bytes, size[0])
  lib.PQfreemem(bytes)
  return made
end

-- How a column's text is read, by the type's number; others stay texts.
local READ = {[16] = function(text) return text == "t" end, [17] = bytea, [20] = integer,
  [21] = tonumber, [23] = tonumber, [26] = tonumber, [700] = tonumber, [701] = tonumber,
  [1114] = values.parseTime, [1184] = values.parseTime}

local function cell(result, row, column, read)
  if lib.PQgetisnull(result, row, column) ~= 0 then return nil end
  local text = toString(lib.PQgetvalue(result, row, column), lib.PQgetlength(result, row, column))
  if read then return read(text) end
  return text
end

-- Failures.

local CODES = {["23505"] = "unique", ["23502"] = "not null", ["23503"] = "foreign key",
  ["40001"] = "conflict", ["40P01"] = "conflict", ["57014"] = "timeout", ["25P02"] = "failed"}
local CLASSES = {["08"] = "away", ["23"] = "constraint", ["28"] = "denied", ["53"] = "busy",
  ["57"] = "away"}

local function failed(result)
  local state = lib.PQresultErrorField(result, STATE)
  local text = lib.PQresultErrorField(result, PRIMARY)
  state = state ~= nil and toString(state) or "XX000"
  return values.failure(CODES[state] or CLASSES[state:sub(1, 2)] or "failed",
    text ~= nil and toString(text) or "the statement failed", state)
end

local function problemOf(self)
  local text = toString(lib.PQerrorMessage(self.pg)):gsub("%s+", " "):gsub("%s+$", "")
  return text ~= "" and text or "the connection was lost"
end

-- Waiting. One thing at a time is under way on a connection; it ends with `done`.

local function hold(resume, connection)
  connection.resume = resume
end

-- The task waits no more, and what it has begun goes on at the server: another connection is
-- made than to wait for that.
local function leave(connection, why)
  connection:lose(why)
end

local function done(self, failure)
  local resume = self.resume
  self.resume, self.isBusy = nil, false
  limits.stop(self)
  if resume then resume(failure) end
end

-- Waits until what was begun has ended; raises what went wrong.
local function await(self)
  self.isBusy = true
  limits.start(self, self.options.timeout)
  local failure = task.await(hold, leave, self)
  if failure then error(failure, 0) end
end

--- The connection is no good any more; what is under way fails.
function Connection:lose(failure)
  self.isBroken = true
  self:close()
  done(self, failure)
end

function Connection:expire()
  self:lose(values.failure("timeout", ("PostgreSQL has not answered in %g s")
    :format(self.options.timeout)))
end

function Connection:close()
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

-- The address of a name; nil and a message, or nil for a path. libpq would wait for it.
local function resolve(host, seconds)
  if host == "" or host:find("^/") or host:find("^[%d.]+$") or host:find(":", 1, true) then
    return nil
  end
  local found, problem = address.of(host, seconds)
  if not found then error(values.failure("away", host .. ": " .. problem), 0) end
  return found
end

--- Connects; waits.
function Connection:connect()
  local place = resolve(self.host, self.options.timeout)
  local settings = {
    "dbname", self.url, "client_encoding", "UTF8", "application_name", "sync",
    "options", ("-c statement_timeout=%d -c timezone=UTC -c bytea_output=hex -c datestyle=ISO")
      :format(self.options.timeout * 1000),
  }
  if place then
    settings[#settings + 1] = "hostaddr"
    settings[#settings + 1] = place
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
    reads[column + 1] = READ[tonumber(lib.PQftype(result, column))]
  end
  known.names, known.reads = names, reads
  self.names, self.reads = names, reads
end

local function readRow(self, result)
  local names, reads, row = self.names, self.reads, {}
  for i = 1, #names do row[names[i]] = cell(result, 0, i - 1, reads[i]) end
  return row
end

local function tooLarge(self)
  self:lose(values.failure("too large", "there are more rows, or more bytes, than the bound"))
end

-- A row has come. Returns false when no more are taken.
local function takeRow(self, result)
  local want = self.want
  self.taken = self.taken + 1
  if self.taken == 1 then describe(self, result) end
  if self.taken > 1 and (want == "first" or want == "value") then return true end
  for column = 0, #self.names - 1 do
    self.bytes = self.bytes + lib.PQgetlength(result, 0, column)
  end
  if want == "each" then
    self.rows[#self.rows + 1] = readRow(self, result)
    return true
  elseif self.taken > self.options.maxRows or self.bytes > self.options.maxBytes then
    tooLarge(self)
    return false
  elseif want == "rows" or want == "first" then
    self.rows[self.taken] = readRow(self, result)
  elseif want == "value" then
    self.value = cell(result, 0, 0, self.reads[1])
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
    self.failure = self.failure or failed(result)
  end
  self.changes = tonumber(toString(lib.PQcmdTuples(result))) or 0
  self.tag = toString(lib.PQcmdStatus(result))
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
function Connection:descriptorReady(value)
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
  self.want, self.taken, self.bytes, self.rows = want, 0, 0, {}
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
function Connection:script(sql)
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

local function holdOn(resume, self)
  hold(resume, self)
  takeResults(self)
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
    local failure = task.await(holdOn, leave, self)
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

local function execute(self, want, fn, sql, count, ...)
  local statement = translate(sql)
  if statement.count ~= count then
    misuse("the statement has %d places for %d parameters", statement.count, count)
  end
  self.statement = prepare(self, sql, statement)
  bind(count, ...)
  send(self, lib.PQsendQueryPrepared(self.pg, self.statement.name, count, texts, lengths, formats,
    0), want)
  for i = 1, count do kept[i] = nil end
  await(self)
  if want == "each" then return finishEach(self, pcall(give, self, fn)) end
  return resultOf(self, want)
end

--- Executes a statement. One that was prepared before a table changed is prepared anew: nothing
-- of it was done.
function Connection:query(want, fn, sql, count, ...)
  local prepared = self.prepared[sql]
  if not prepared or self:isInTransaction() then
    return execute(self, want, fn, sql, count, ...)
  end
  local ok, a = pcall(execute, self, want, fn, sql, count, ...)
  if ok then return a end
  if type(a) ~= "table" or a.native ~= PLAN_CHANGED then error(a, 0) end
  self.prepared[sql] = nil
  return execute(self, want, fn, sql, count, ...)
end

function Connection:isInTransaction()
  return self.pg ~= nil and lib.PQtransactionStatus(self.pg) ~= IDLE
end

function Connection:begin() command(self, "BEGIN") end
function Connection:rollback() command(self, "ROLLBACK") end

--- The answer may be lost: then nobody knows what it was.
function Connection:commit()
  local ok, problem = pcall(command, self, "COMMIT")
  if not ok and self.isBroken then
    problem = values.failure("in doubt", "the answer to COMMIT was lost: " ..
      "all of the transaction is done, or nothing", problem.native)
  elseif ok and self.tag == "ROLLBACK" then
    ok, problem = false, values.failure("failed", "the transaction was rolled back, as a " ..
      "statement of it had failed", "25P02")
  end
  if not ok then error(problem, 0) end
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
  local host, place, at = "", nil, 0
  while list[at].keyword ~= nil do
    local keyword = toString(list[at].keyword)
    if list[at].val ~= nil then
      if keyword == "host" then host = toString(list[at].val) end
      if keyword == "hostaddr" then place = toString(list[at].val) end
    end
    at = at + 1
  end
  lib.PQconninfoFree(list)
  if host:find(",", 1, true) then return nil, "the URL names more than one host" end
  return place or host
end

--- @tparam string rest of the URL, behind "postgres:"
-- @treturn Server|nil or nil and a message
function postgres.open(rest, options)
  if not lib then
    local ok, problem = load()
    if not ok then return nil, problem end
  end
  local url = "postgresql:" .. rest
  local host, problem = hostOf(url)
  if not host then return nil, problem end
  return Server.new(options, function()
    return Connection:new {url = url, host = host, options = options}
  end)
end

return postgres
