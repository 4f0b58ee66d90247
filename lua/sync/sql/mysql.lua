--- MySQL and MariaDB by libmariadb's non-blocking interface: see sync.sql. Beside
-- lua/sync/core.lua this file knows the FFI.
--
-- Each operation of the library has a `_start` and a `_cont`: they say what they wait for on the
-- socket, which is watched by the core, until they are done.
-- @module sync.sql.mysql

local bit = require "bit"
local Class = require "sync.class"
local address = require "sync.sql.address"
local core = require "sync.core"
local ffi = require "ffi"
local jobs = require "sync.jobs"
local limits = require "sync.limits"
local Server = require "sync.sql.server"
local task = require "sync.task"
local values = require "sync.sql.values"

ffi.cdef [[
typedef struct st_mysql MYSQL;
typedef struct st_mysql_stmt MYSQL_STMT;
typedef struct st_mysql_res MYSQL_RES;
typedef char my_bool;
typedef struct st_mysql_field {
    char *name; char *org_name; char *table; char *org_table; char *db; char *catalog; char *def;
    unsigned long length, max_length;
    unsigned name_length, org_name_length, table_length, org_table_length, db_length,
        catalog_length, def_length, flags, decimals, charsetnr;
    int type;
    void *extension;
} MYSQL_FIELD;
typedef struct st_mysql_bind {
    unsigned long *length;
    my_bool *is_null;
    const void *buffer;
    my_bool *error;
    void *place;
    void *functions[3];
    unsigned long buffer_length, offset, length_value;
    unsigned flags, pack_length;
    int buffer_type;
    my_bool error_value, is_unsigned, long_data_used, is_null_value;
    void *extension;
} MYSQL_BIND;
MYSQL *mysql_init(MYSQL *mysql);
int mysql_options(MYSQL *mysql, int option, const void *value);
void mysql_close(MYSQL *mysql);
int mysql_get_socket(MYSQL *mysql);
unsigned mysql_errno(MYSQL *mysql);
const char *mysql_error(MYSQL *mysql);
my_bool mariadb_get_infov(MYSQL *mysql, int value, void *out, ...);
int mysql_real_connect_start(MYSQL **ret, MYSQL *mysql, const char *host, const char *user,
    const char *password, const char *db, unsigned port, const char *socket, unsigned long flags);
int mysql_real_connect_cont(MYSQL **ret, MYSQL *mysql, int status);
int mysql_real_query_start(int *ret, MYSQL *mysql, const char *sql, unsigned long length);
int mysql_real_query_cont(int *ret, MYSQL *mysql, int status);
MYSQL_STMT *mysql_stmt_init(MYSQL *mysql);
int mysql_stmt_prepare_start(int *ret, MYSQL_STMT *stmt, const char *sql, unsigned long length);
int mysql_stmt_prepare_cont(int *ret, MYSQL_STMT *stmt, int status);
unsigned long mysql_stmt_param_count(MYSQL_STMT *stmt);
my_bool mysql_stmt_bind_param(MYSQL_STMT *stmt, MYSQL_BIND *bind);
my_bool mysql_stmt_bind_result(MYSQL_STMT *stmt, MYSQL_BIND *bind);
int mysql_stmt_execute_start(int *ret, MYSQL_STMT *stmt);
int mysql_stmt_execute_cont(int *ret, MYSQL_STMT *stmt, int status);
int mysql_stmt_fetch_start(int *ret, MYSQL_STMT *stmt);
int mysql_stmt_fetch_cont(int *ret, MYSQL_STMT *stmt, int status);
int mysql_stmt_free_result_start(my_bool *ret, MYSQL_STMT *stmt);
int mysql_stmt_free_result_cont(my_bool *ret, MYSQL_STMT *stmt, int status);
int mysql_stmt_close_start(my_bool *ret, MYSQL_STMT *stmt);
int mysql_stmt_close_cont(my_bool *ret, MYSQL_STMT *stmt, int status);
int mysql_stmt_fetch_column(MYSQL_STMT *stmt, MYSQL_BIND *bind, unsigned column,
    unsigned long offset);
unsigned mysql_stmt_errno(MYSQL_STMT *stmt);
const char *mysql_stmt_error(MYSQL_STMT *stmt);
unsigned long long mysql_stmt_affected_rows(MYSQL_STMT *stmt);
unsigned long long mysql_stmt_insert_id(MYSQL_STMT *stmt);
MYSQL_RES *mysql_stmt_result_metadata(MYSQL_STMT *stmt);
void mysql_free_result(MYSQL_RES *result);
unsigned mysql_num_fields(MYSQL_RES *result);
MYSQL_FIELD *mysql_fetch_fields(MYSQL_RES *result);
]]

local toString = core.string
local WAIT_READ, WAIT_WRITE = 1, 2 -- the same bits as those of the core's watch
local INIT_COMMAND, CHARSET_NAME, LOCAL_INFILE, NONBLOCK = 3, 7, 8, 6000
local FOUND_ROWS = 2               -- an update counts the rows that it has found
local SERVER_STATUS, IN_TRANSACTION = 30, 1
local LONGLONG, FLOAT, DOUBLE, NULL, STRING, BLOB = 8, 4, 5, 6, 254, 252
local UNSIGNED, BINARY = 32, 63
local NO_DATA, TRUNCATED = 100, 101
local MOST_PARAMETERS = 999
local MOST_PREPARED = 256 -- of a connection
local DEFAULT_PORT = 3306

local Connection = Class:extend("MySQL")
local lib

local function load()
  local ok, found = pcall(ffi.load, "libmariadb.so.3")
  if not ok then return nil, "the library libmariadb is missing: apt-get install libmariadb3" end
  lib = found
  return true
end

local function misuse(...)
  error(values.failure("misuse", (...):format(select(2, ...))), 0)
end

-- Failures.

local CODES = {[1062] = "unique", [1048] = "not null", [1364] = "not null", [1451] = "foreign key",
  [1452] = "foreign key", [1213] = "conflict", [1205] = "timeout", [1969] = "timeout",
  [3024] = "timeout", [1040] = "busy", [1203] = "busy", [1045] = "denied", [1044] = "denied",
  [1065] = "misuse", [4025] = "constraint", [3819] = "constraint", [1927] = "away",
  [1053] = "away"}

-- What the library says; its own errors, from 2000 on, are those of the connection.
local function failure(self, code, text)
  local isOwn = code >= 2000 and code < 3000
  if isOwn or CODES[code] == "away" then self.isBroken = true end
  return values.failure(CODES[code] or isOwn and "away" or "failed", toString(text), code)
end

local function failed(self)
  return failure(self, lib.mysql_errno(self.my), lib.mysql_error(self.my))
end

local function statementFailed(self, statement)
  return failure(self, lib.mysql_stmt_errno(statement), lib.mysql_stmt_error(statement))
end

-- Waiting.

local function hold(resume, connection)
  connection.resume = resume
end

-- The task waits no more: what it has begun goes on at the server.
local function leave(connection, why)
  connection:lose(why)
end

local function unwatch(self)
  if self.watch then jobs.unwatch(self.watch) end
  self.watch, self.fd = nil, nil
end

local function watch(self, interest)
  local fd = lib.mysql_get_socket(self.my)
  if fd ~= self.fd then -- while it connects, it may have another
    unwatch(self)
    self.watch, self.fd = jobs.watch(fd, interest, self), fd
  elseif interest ~= self.interest then
    jobs.interest(self.watch, interest)
  end
  self.interest = interest
end

local function wake(self, events)
  local resume = self.resume
  self.resume = nil
  if resume then resume(events) end
end

function Connection:descriptorReady(events)
  if self.resume then
    wake(self, events)
  elseif not self.isBusy then -- an idle one has ended
    self.isBroken = true
    self:close()
  end
end

--- It is no good any more; what is under way fails.
function Connection:lose(problem)
  self.isBroken, self.lost = true, problem
  self:close()
  wake(self, problem)
end

function Connection:expire()
  self:lose(values.failure("timeout", ("the server has not answered in %g s")
    :format(self.options.timeout)))
end

function Connection:close()
  unwatch(self)
  if self.my then lib.mysql_close(ffi.gc(self.my, nil)) end
  self.my = nil
end

-- Goes on with an operation until it's done.
local function go(self, status, continue, result, object)
  while status ~= 0 do
    watch(self, bit.band(status, WAIT_READ + WAIT_WRITE))
    local events = task.await(hold, leave, self)
    if type(events) == "table" then error(events, 0) end
    status = continue(result, object, bit.band(events, WAIT_READ + WAIT_WRITE))
  end
end

local function finish(self, ok, ...)
  limits.stop(self)
  self.isBusy = false
  if self.my and self.isOpen then watch(self, WAIT_READ) end
  if not ok then error((...), 0) end
  return ...
end

-- Calls a function of operations, with a time limit for all of them.
local function busy(self, fn, ...)
  if self.isBroken then error(self.lost or values.failure("away", "the connection was lost"), 0) end
  self.isBusy = true
  limits.start(self, self.options.timeout)
  return finish(self, pcall(fn, self, ...))
end

-- Connecting.

local function resolve(host, seconds)
  if host == "" or host:find("^[%d.]+$") or host:find(":", 1, true) then return host end
  local found, problem = address.of(host, seconds)
  if not found then error(values.failure("away", host .. ": " .. problem), 0) end
  return found
end

local function connect(self)
  local where = self.where
  local place = resolve(where.host, self.options.timeout)
  local my = lib.mysql_init(nil)
  if my == nil then error(values.failure("memory", "not enough memory"), 0) end
  self.my = ffi.gc(my, lib.mysql_close)
  lib.mysql_options(my, NONBLOCK, nil)
  lib.mysql_options(my, CHARSET_NAME, "utf8mb4")
  lib.mysql_options(my, INIT_COMMAND, "SET time_zone = '+00:00'")
  lib.mysql_options(my, LOCAL_INFILE, ffi.new("unsigned[1]", 0)) -- a server reads no file here
  local result = ffi.new "MYSQL *[1]"
  go(self, lib.mysql_real_connect_start(result, my, place ~= "" and place or nil, where.user,
    where.password, where.name, where.port, where.socket, FOUND_ROWS),
    lib.mysql_real_connect_cont, result, my)
  if result[0] == nil then error(failed(self), 0) end
  self.isOpen, self.prepared, self.count = true, {}, 0
end

--- Connects; waits.
function Connection:connect()
  busy(self, connect)
end

-- Values.

local binds = ffi.new("MYSQL_BIND[?]", MOST_PARAMETERS)
local numbers = ffi.new("struct { union { int64_t integer; double real; }; }[?]", MOST_PARAMETERS)
local kept = {} -- luacheck: ignore 241 (holds the texts until they are sent)

local function bytesOf(place, kind, bytes, number)
  kept[number] = bytes
  place.buffer_type, place.buffer = kind, ffi.cast("const char *", bytes)
  place.buffer_length, place.length_value = #bytes, #bytes
end

local function integerOf(place, integer, number)
  numbers[number - 1].integer = integer
  place.buffer_type, place.buffer = LONGLONG, numbers + (number - 1)
end

local function bindOne(place, value, number)
  local kind = type(value)
  ffi.fill(place, ffi.sizeof "MYSQL_BIND")
  if value == nil then
    place.buffer_type = NULL
  elseif kind == "number" and value % 1 == 0 and math.abs(value) <= 2 ^ 53 then
    integerOf(place, value, number)
  elseif kind == "number" then
    if value ~= value or math.abs(value) == math.huge then
      misuse("parameter %d is no number that MySQL has", number)
    end
    numbers[number - 1].real = value
    place.buffer_type, place.buffer = DOUBLE, numbers + (number - 1)
  elseif kind == "string" then
    bytesOf(place, STRING, value, number)
  elseif kind == "boolean" then
    integerOf(place, value and 1 or 0, number)
  elseif values.isBlob(value) then
    bytesOf(place, BLOB, value.bytes, number)
  elseif values.isTime(value) then
    bytesOf(place, STRING, values.formatTime(value.seconds), number)
  elseif kind == "cdata" and values.integer(value) then
    integerOf(place, ffi.cast("int64_t", value), number)
  else
    misuse("parameter %d is a %s, which is no value of a database", number, kind)
  end
end

local function bind(statement, count, ...)
  local places = tonumber(lib.mysql_stmt_param_count(statement))
  if places ~= count then
    misuse("the statement has %d places for %d parameters", places, count)
  end
  for i = 1, count do bindOne(binds[i - 1], (select(i, ...)), i) end
  if count > 0 then lib.mysql_stmt_bind_param(statement, binds) end
end

local function integer(text)
  local number = tonumber(text)
  if number > -2 ^ 53 and number < 2 ^ 53 then return number end
  local negative, digits = text:match("^(%-?)(%d+)$")
  local made = 0LL
  for digit in digits:gmatch "%d" do made = made * 10 - tonumber(digit) end
  made = negative == "-" and made or -made
  return (made == 2LL ^ 53 or made == -(2LL ^ 53)) and tonumber(made) or made
end

local function unsigned(text)
  local number = tonumber(text)
  if number < 2 ^ 53 then return number end
  local made = 0ULL
  for digit in text:gmatch "%d" do made = made * 10 + tonumber(digit) end
  return made
end

-- How a column's text is read, by its type: TINY, SHORT, LONG, INT24 and YEAR, LONGLONG,
-- TIMESTAMP and DATETIME. FLOAT and DOUBLE come as numbers, others stay texts.
local READ = {[1] = tonumber, [2] = tonumber, [3] = tonumber, [9] = tonumber, [13] = tonumber,
  [8] = integer, [7] = values.parseTime, [12] = values.parseTime}

-- Rows: each column is asked for as text, first for its length, then for its bytes.

-- What a result's columns are; nil for a statement without rows.
local function describe(statement)
  local meta = lib.mysql_stmt_result_metadata(statement)
  if meta == nil then return nil end
  local count, fields = lib.mysql_num_fields(meta), lib.mysql_fetch_fields(meta)
  local columns = {count = count, binds = ffi.new("MYSQL_BIND[?]", count),
    reals = ffi.new("double[?]", count), lengths = ffi.new("unsigned long[?]", count),
    nulls = ffi.new("my_bool[?]", count)}
  for i = 0, count - 1 do
    local field, place = fields[i], columns.binds[i]
    local read = READ[field.type]
    if read == integer and bit.band(field.flags, UNSIGNED) ~= 0 then read = unsigned end
    local isReal = field.type == FLOAT or field.type == DOUBLE
    columns[i + 1] = {name = toString(field.name, field.name_length), read = read, isReal = isReal}
    if isReal then -- the library's text of one loses digits
      place.buffer_type, place.buffer, place.buffer_length = DOUBLE, columns.reals + i, 8
    else
      place.buffer_type = field.charsetnr == BINARY and field.type >= 249 and BLOB or STRING
    end
    place.length, place.is_null = columns.lengths + i, columns.nulls + i
  end
  lib.mysql_free_result(meta)
  lib.mysql_stmt_bind_result(statement, columns.binds)
  return columns
end

local one = ffi.new "MYSQL_BIND"
local oneLength, oneNull = ffi.new "unsigned long[1]", ffi.new "my_bool[1]"

local function cell(statement, columns, i)
  if columns.nulls[i] ~= 0 then return nil end
  if columns[i + 1].isReal then return columns.reals[i] end
  local length = tonumber(columns.lengths[i])
  local text = ""
  if length > 0 then
    local buffer = ffi.new("char[?]", length + 1)
    ffi.fill(one, ffi.sizeof "MYSQL_BIND")
    one.buffer_type, one.buffer, one.buffer_length = columns.binds[i].buffer_type, buffer, length
    one.length, one.is_null = oneLength, oneNull
    lib.mysql_stmt_fetch_column(statement, one, i, 0)
    text = toString(buffer, length)
  end
  local read = columns[i + 1].read
  if read then return read(text) end
  return text
end

local function readRow(statement, columns)
  local row = {}
  for i = 0, columns.count - 1 do row[columns[i + 1].name] = cell(statement, columns, i) end
  return row
end

local code, flag = ffi.new "int[1]", ffi.new "my_bool[1]"

-- Whether there is another row.
local function fetch(self, statement)
  local result = ffi.new "int[1]"
  go(self, lib.mysql_stmt_fetch_start(result, statement), lib.mysql_stmt_fetch_cont, result,
    statement)
  if result[0] == 0 or result[0] == TRUNCATED then return true end
  if result[0] == NO_DATA then return false end
  error(statementFailed(self, statement), 0)
end

local function collect(self, statement, columns)
  local rows, bytes = {}, 0
  while fetch(self, statement) do
    for i = 0, columns.count - 1 do bytes = bytes + tonumber(columns.lengths[i]) end
    if #rows >= self.options.maxRows or bytes > self.options.maxBytes then
      self.isBroken = true -- what is left isn't read
      error(values.failure("too large", "there are more rows, or more bytes, than the bound"), 0)
    end
    rows[#rows + 1] = readRow(statement, columns)
  end
  return rows
end

local function giveEach(self, statement, columns, fn)
  while fetch(self, statement) do
    limits.stop(self) -- the function may take its time
    if fn(readRow(statement, columns)) == false then return end
    limits.start(self, self.options.timeout)
  end
end

local function take(self, want, fn, statement)
  local columns = describe(statement)
  if not columns then
    local id = tonumber(lib.mysql_stmt_insert_id(statement))
    if want == "rows" then return {} end
    if want ~= "none" then return nil end
    return tonumber(lib.mysql_stmt_affected_rows(statement)), id > 0 and id or nil
  elseif want == "rows" then
    return collect(self, statement, columns)
  elseif want == "each" then
    return giveEach(self, statement, columns, fn)
  elseif want == "none" or not fetch(self, statement) then
    return want == "none" and 0 or nil
  end
  if want == "value" then return cell(statement, columns, 0) end
  return readRow(statement, columns)
end

local function prepared(self, sql)
  local statement = self.prepared[sql]
  if statement then return statement end
  if self.count >= MOST_PREPARED then
    for _, old in pairs(self.prepared) do
      go(self, lib.mysql_stmt_close_start(flag, old), lib.mysql_stmt_close_cont, flag, old)
    end
    self.prepared, self.count = {}, 0
  end
  statement = lib.mysql_stmt_init(self.my)
  if statement == nil then error(values.failure("memory", "not enough memory"), 0) end
  go(self, lib.mysql_stmt_prepare_start(code, statement, sql, #sql),
    lib.mysql_stmt_prepare_cont, code, statement)
  local problem = lib.mysql_stmt_errno(statement) ~= 0 and statementFailed(self, statement)
  if problem then
    go(self, lib.mysql_stmt_close_start(flag, statement), lib.mysql_stmt_close_cont, flag,
      statement)
    error(problem, 0)
  end
  self.prepared[sql], self.count = statement, self.count + 1
  return statement
end

local function freed(self, statement, ok, ...)
  if not self.isBroken then
    go(self, lib.mysql_stmt_free_result_start(flag, statement), lib.mysql_stmt_free_result_cont,
      flag, statement)
  end
  if not ok then error((...), 0) end
  return ...
end

local function query(self, want, fn, sql, count, ...)
  if count > MOST_PARAMETERS then misuse("a statement has at most 999 parameters") end
  local statement = prepared(self, sql)
  bind(statement, count, ...)
  go(self, lib.mysql_stmt_execute_start(code, statement), lib.mysql_stmt_execute_cont, code,
    statement)
  if lib.mysql_stmt_errno(statement) ~= 0 then error(statementFailed(self, statement), 0) end
  return freed(self, statement, pcall(take, self, want, fn, statement))
end

--- Executes a statement.
function Connection:query(...)
  return busy(self, query, ...)
end

local function command(self, sql)
  go(self, lib.mysql_real_query_start(code, self.my, sql, #sql), lib.mysql_real_query_cont, code,
    self.my)
  if lib.mysql_errno(self.my) ~= 0 then error(failed(self), 0) end
end

-- The statements of a script, one after the other: a semicolon at a line's end ends one.
local function script(self, sql)
  for part in (sql .. ";\n"):gmatch("(.-);[ \t\r]*\n") do
    if part:gsub("%-%-[^\n]*", ""):find("%S") then command(self, part) end
  end
end

--- Executes a script.
function Connection:script(sql)
  busy(self, script, sql)
end

function Connection:isInTransaction()
  if not self.my then return false end
  local status = ffi.new "unsigned[1]"
  lib.mariadb_get_infov(self.my, SERVER_STATUS, status)
  return bit.band(status[0], IN_TRANSACTION) ~= 0
end

function Connection:begin() busy(self, command, "START TRANSACTION") end
function Connection:rollback() busy(self, command, "ROLLBACK") end

--- The answer may be lost: then nobody knows what it was.
function Connection:commit()
  local ok, problem = pcall(busy, self, command, "COMMIT")
  if not ok and self.isBroken then
    problem = values.failure("in doubt", "the answer to COMMIT was lost: " ..
      "all of the transaction is done, or nothing", problem.native)
  end
  if not ok then error(problem, 0) end
end

local mysql = {}

local function unescape(text)
  return text and (text:gsub("%%(%x%x)", function(pair)
    return string.char(tonumber(pair, 16))
  end))
end

-- The parts of a URL behind its scheme; nil when it is none. Its options are `socket=PATH`.
local function parse(rest)
  local authority, name, more = rest:match("^//([^/]*)/([^?]*)%??(.*)$")
  if not authority or name == "" then return nil end
  local login, place = authority:match("^(.*)@([^@]*)$")
  place = place or authority
  local host, port = place:match("^%[([%x:.]+)%]:?(%d*)$")
  if not host then host, port = place:match("^([^:]*):?(%d*)$") end
  if not host then return nil end
  local user, password = (login or ""):match("^([^:]*):?(.*)$")
  return {host = unescape(host), port = tonumber(port) or DEFAULT_PORT, user = unescape(user),
    password = unescape(password), name = unescape(name),
    socket = unescape(more:match("^socket=([^&]+)$"))}
end

--- @tparam string rest of the URL, behind "mysql:"
-- @treturn Server|nil or nil and a message
function mysql.open(rest, options)
  if not lib then
    local ok, problem = load()
    if not ok then return nil, problem end
  end
  local where = parse(rest)
  if not where then return nil, "the URL is not mysql://USER:PASSWORD@HOST:PORT/DATABASE" end
  return Server.new(options, function()
    return Connection:new {where = where, options = options}
  end)
end

return mysql
