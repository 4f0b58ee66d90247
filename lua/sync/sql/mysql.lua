--- MySQL and MariaDB by libmariadb's non-blocking interface: see sync.sql. The FFI is
-- known here and by sync.sql.libmariadb.
--
-- Each operation of the library has a `_start` and a `_cont`: they say what they wait for on the
-- socket, which is watched by the core, until they are done.
-- @module sync.sql.mysql

local bit = require "bit"
local Connection = require "sync.sql.connection"
local core = require "sync.core"
local ffi = require "ffi"
local jobs = require "sync.jobs"
local limits = require "sync.limits"
local libmariadb = require "sync.sql.libmariadb"
local Server = require "sync.sql.server"
local values = require "sync.sql.values"

local toString = core.string
local WAIT_READ, WAIT_WRITE = 1, 2 -- the same bits as those of the core's watch
local INIT_COMMAND, CHARSET_NAME, LOCAL_INFILE, NONBLOCK = 3, 7, 8, 6000
local FOUND_ROWS = 2               -- an update counts the rows that it has found
local SERVER_STATUS, IN_TRANSACTION = 30, 1
local NO_DATA, TRUNCATED = 100, 101
local MOST_PREPARED = 256 -- of a connection
local DEFAULT_PORT = 3306

local MySQL = Connection:extend("MySQL")
local lib -- once it's loaded

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

function MySQL:descriptorReady(events)
  if self.resume then
    wake(self, events)
  elseif not self.isBusy then -- an idle one has ended
    self.isBroken = true
    self:close()
  end
end

--- It is no good any more; what is under way fails.
function MySQL:lose(problem)
  self.isBroken, self.lost = true, problem
  self:close()
  wake(self, problem)
end

function MySQL:close()
  unwatch(self)
  if self.my then lib.mysql_close(ffi.gc(self.my, nil)) end
  self.my = nil
end

-- Goes on with an operation until it's done.
local function go(self, status, continue, result, object)
  while status ~= 0 do
    watch(self, bit.band(status, WAIT_READ + WAIT_WRITE))
    local events = self:wait()
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

local function connect(self)
  local where = self.where
  local address = self:lookUp(where.host)
  local my = lib.mysql_init(nil)
  if my == nil then error(values.failure("memory", "not enough memory"), 0) end
  self.my = ffi.gc(my, lib.mysql_close)
  lib.mysql_options(my, NONBLOCK, nil)
  lib.mysql_options(my, CHARSET_NAME, "utf8mb4")
  lib.mysql_options(my, INIT_COMMAND, "SET time_zone = '+00:00'")
  lib.mysql_options(my, LOCAL_INFILE, ffi.new("unsigned[1]", 0)) -- a server reads no file here
  local result = ffi.new "MYSQL *[1]"
  go(self, lib.mysql_real_connect_start(result, my, address ~= "" and address or nil, where.user,
    where.password, where.name, where.port, where.socket, FOUND_ROWS),
    lib.mysql_real_connect_cont, result, my)
  if result[0] == nil then error(failed(self), 0) end
  self.isOpen, self.prepared, self.count = true, {}, 0
end

--- Connects; waits.
function MySQL:connect()
  busy(self, connect)
end

local function readRow(statement, columns)
  local row = {}
  for i = 0, columns.count - 1 do
    row[columns[i + 1].name] = libmariadb.cell(statement, columns, i)
  end
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
  local columns = libmariadb.describe(statement)
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
  if want == "value" then return libmariadb.cell(statement, columns, 0) end
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
  local statement = prepared(self, sql)
  libmariadb.bind(statement, count, ...)
  go(self, lib.mysql_stmt_execute_start(code, statement), lib.mysql_stmt_execute_cont, code,
    statement)
  if lib.mysql_stmt_errno(statement) ~= 0 then error(statementFailed(self, statement), 0) end
  return freed(self, statement, pcall(take, self, want, fn, statement))
end

--- Executes a statement.
function MySQL:query(...)
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
function MySQL:script(sql)
  busy(self, script, sql)
end

function MySQL:isInTransaction()
  if not self.my then return false end
  local status = ffi.new "unsigned[1]"
  lib.mariadb_get_infov(self.my, SERVER_STATUS, status)
  return bit.band(status[0], IN_TRANSACTION) ~= 0
end

--- Executes a statement without a result.
function MySQL:command(sql) busy(self, command, sql) end

function MySQL:begin() self:command("START TRANSACTION") end

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
-- @tparam table options of sync.sql
-- @treturn Server|nil or nil and a message
function mysql.open(rest, options)
  local problem
  lib, problem = libmariadb.load()
  if not lib then return nil, problem end
  local where = parse(rest)
  if not where then return nil, "the URL is not mysql://USER:PASSWORD@HOST:PORT/DATABASE" end
  return Server.new(options, function()
    return MySQL:new {where = where, options = options}
  end)
end

return mysql
