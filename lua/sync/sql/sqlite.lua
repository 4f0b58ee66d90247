--- SQLite on threads: see src/sql/sqlite.h. Beside lua/sync/core.lua this file knows the FFI.
--
-- Statements that read are done by several threads as they come, statements that write by one:
-- who writes has it alone, for a statement or for a transaction, and others wait in line.
-- @module sync.sql.sqlite

local bit = require "bit"
local Class = require "sync.class"
local core = require "sync.core"
local ffi = require "ffi"
local jobs = require "sync.jobs"
local limits = require "sync.limits"
local Pool = require "sync.service.pool"
local task = require "sync.task"
local values = require "sync.sql.values"

ffi.cdef(require "sync.sql.cdef")

local C, handle, toString = core.C, core.handle, core.string
local band, bor, tobit = bit.band, bit.bor, bit.tobit
local NULL, INTEGER, REAL, TEXT, BLOB = 0, 1, 2, 3, 4
local WRITER, INSIDE, SCRIPT, FIRST = 1, 2, 4, 8
local MORE, WRITES, OPEN = 1, 2, 4
local MOST_PARAMETERS = 999
local WRITES_KNOWN = 1000     -- texts of statements that read and write, at most
local PART_ROWS, PART_BYTES = 500, 256 * 1024
local LONGEST_SQL = 1024 * 1024
local MOST_CURSORS = 64       -- each has a connection

local SQLite = Class:extend("SQLite")
local Session = Class:extend("SQLite.Session")

-- Values.

local Value = ffi.typeof "const struct sync_sql_value *"
local Result = ffi.typeof "const struct sync_lite_result *"
local int64 = ffi.typeof "int64_t"
local places = ffi.new("struct sync_sql_value[?]", MOST_PARAMETERS)
local SIZE, HEAD = ffi.sizeof "struct sync_sql_value", ffi.sizeof "struct sync_lite_result"

local function bytesOf(place, type, bytes)
  place.type, place.length, place.bytes = type, #bytes, bytes
end

local function bindOther(place, value, number)
  if type(value) == "boolean" then
    place.type, place.integer = INTEGER, value and 1 or 0
  elseif values.isBlob(value) then
    bytesOf(place, BLOB, value.bytes)
  elseif values.isTime(value) then
    place.type, place.real = REAL, value.seconds
  elseif type(value) == "cdata" and values.integer(value) then
    place.type, place.integer = INTEGER, ffi.cast(int64, value)
  else
    error(values.failure("misuse", ("parameter %d is a %s, which is no value of a database")
      :format(number, type(value))), 0)
  end
end

local function bind(count, ...)
  if count > MOST_PARAMETERS then
    error(values.failure("misuse", "a statement has at most 999 parameters"), 0)
  end
  for i = 1, count do
    local value, place = (select(i, ...)), places[i - 1]
    local kind = type(value)
    if kind == "number" then
      if value % 1 == 0 and value >= -2 ^ 53 and value <= 2 ^ 53 then
        place.type, place.integer = INTEGER, value
      elseif value ~= value then
        error(values.failure("misuse", ("parameter %d is NaN"):format(i)), 0)
      else
        place.type, place.real = REAL, value
      end
    elseif kind == "string" then
      bytesOf(place, TEXT, value)
    elseif kind == "nil" then
      place.type = NULL
    else
      bindOther(place, value, i)
    end
  end
end

-- The value at a place of a result, and the place behind it.
local function read(at)
  local value = ffi.cast(Value, at)
  local kind = value.type
  if kind == INTEGER then
    local number = value.integer
    if number > 0x20000000000000LL or number < -0x20000000000000LL then
      return int64(number), at + SIZE
    end
    return tonumber(number), at + SIZE
  elseif kind == REAL then
    return value.real, at + SIZE
  elseif kind == NULL then
    return nil, at + SIZE
  end
  local length = value.length
  return toString(at + SIZE, length), at + SIZE + band(length + 7, -8)
end

local function readRows(data)
  local head, at = ffi.cast(Result, data), data + HEAD
  local names, rows = {}, {}
  for i = 1, head.columns do names[i], at = read(at) end
  for i = 1, head.rows do
    local row = {}
    for j = 1, #names do row[names[j]], at = read(at) end
    rows[i] = row
  end
  return rows
end

-- The first value of the first row, without making a row of it.
local function readValue(data)
  local head, at = ffi.cast(Result, data), data + HEAD
  if head.rows == 0 then return nil end
  for _ = 1, head.columns do at = select(2, read(at)) end
  return (read(at))
end

-- Failures, by SQLite's code; the extended ones have it in their lowest byte.

local CODES = {[5] = "busy", [6] = "busy", [9] = "timeout", [7] = "memory", [8] = "read only",
  [13] = "full", [14] = "away", [19] = "constraint", [25] = "misuse", [18] = "too large"}
local EXTENDED = {[2067] = "unique", [1555] = "unique", [787] = "foreign key",
  [517] = "conflict", [1299] = "not null"}
local OWN = {[-1] = "too large", [-2] = "misuse", [-3] = "misuse", [-4] = "misuse"}

local function failed(code, data, length)
  local message = length > HEAD and read(data + HEAD) or "not enough memory"
  if OWN[code] then return values.failure(OWN[code], message) end
  return values.failure(EXTENDED[code] or CODES[band(code, 255)] or "failed", message, code)
end

-- Jobs.

-- A statement under way, or the part of a cursor. They are used again: a statement costs no
-- table and no function of its own.
local Statement = {}
Statement.__index = Statement

local spare = {}

-- For task.await, which hands over what ends the waiting.
local function hold(resume, statement)
  statement.resume = resume
end

function Statement:jobEnded(value, data, length)
  limits.stop(self)
  self.driver.underWay[self] = nil
  if self.session then self.session.statement = nil end
  self.resume(value, data, length)
end

-- The task waits no more.
local function leave(statement, why) statement:giveUp(why) end

--- Ends it before its time: it is interrupted, and raises the failure.
function Statement:giveUp(failure)
  jobs.cancel(self.id)
  self:jobEnded(failure)
end

function Statement:expire()
  self:giveUp(values.failure("timeout", ("the statement took longer than %g s")
    :format(self.driver.options.timeout)))
end

-- Waits for a job, at most as long as the limit. Returns its data, which live until the next
-- wait; raises what went wrong. A session may end the wait.
local function await(self, id, session)
  if self.isClosed then error(values.failure("closed", "the database was closed"), 0) end
  local statement = table.remove(spare) or setmetatable({}, Statement)
  local begun, problem = jobs.begin(id, statement)
  if not begun then
    error(values.failure(problem:find("^busy") and "busy" or "memory", problem), 0)
  end
  statement.id, statement.driver, statement.session = id, self, session
  limits.start(statement, self.options.timeout)
  if session then session.statement = statement end
  self.underWay[statement] = true
  local code, data, length = task.await(hold, leave, statement)
  spare[#spare + 1] = statement
  if code == 0 then return data end
  if type(code) == "table" then error(code, 0) end
  error(failed(tobit(code), data, length), 0)
end

local MOST = {first = 1, value = 1, none = 0}

-- Executes a statement by the reader or the writer.
local function execute(self, flags, want, session, sql, count, ...)
  if self.isClosed then error(values.failure("closed", "the database was closed"), 0) end
  if #sql > LONGEST_SQL then error(values.failure("misuse", "the statement is too long"), 0) end
  bind(count, ...)
  local most = MOST[want]
  if most then flags = flags + FIRST end
  return await(self, C.sync_lite_do(self.file, flags, sql, #sql, places, count,
    most or self.options.maxRows, self.options.maxBytes), session)
end

local function resultOf(want, data)
  if want == "value" then return readValue(data) end
  if want == "rows" then return readRows(data) end
  if want == "first" then return readRows(data)[1] end
  local head = ffi.cast(Result, data)
  return head.changes, tonumber(head.last_id)
end

-- The one that may write: it's taken from a pool of one. The pool asks it for these.
local Writer = Class:extend("SQLite.Writer")
function Writer.close() end

local function giveBack(self, writer, ok, ...)
  self.writers:give(writer)
  if not ok then error((...), 0) end
  return ...
end

-- Calls a function with the writer in hand, and gives it back whatever happens.
local function writing(self, fn, ...)
  return giveBack(self, self.writers:take(), pcall(fn, self, ...))
end

local function write(self, want, sql, count, ...)
  return resultOf(want, execute(self, WRITER, want, nil, sql, count, ...))
end

--- Executes a statement. One that only reads is done by a reader; that another writes is found
-- when it is prepared, and kept.
function SQLite:execute(want, sql, count, ...)
  if want == "none" or self.inMemory or self.writes[sql] then
    return writing(self, write, want, sql, count, ...)
  end
  local data = execute(self, 0, want, nil, sql, count, ...)
  if band(ffi.cast(Result, data).found, WRITES) == 0 then return resultOf(want, data) end
  if self.known >= WRITES_KNOWN then self.writes, self.known = {}, 0 end
  self.writes[sql], self.known = true, self.known + 1
  return writing(self, write, want, sql, count, ...)
end

-- Cursors: `place` is the core's.

local function closeCursor(self, cursor)
  self.cursorCount = self.cursorCount - 1
  if not self.isClosed then C.sync_lite_cursor_close(cursor.place) end
end

local function openCursor(self, flags, sql, count, ...)
  if self.cursorCount >= MOST_CURSORS then
    error(values.failure("busy", "64 calls of db:each are under way already"), 0)
  end
  bind(count, ...)
  local place = C.sync_lite_cursor_open(self.file, flags, sql, #sql, places, count)
  if place == nil then error(values.failure("memory", "not enough memory"), 0) end
  local cursor = {place = place}
  self.cursorCount = self.cursorCount + 1
  return cursor
end

local function fetchAll(self, session, cursor, fn)
  repeat
    local data = await(self, C.sync_lite_fetch(cursor.place, PART_ROWS, PART_BYTES), session)
    local more = band(ffi.cast(Result, data).found, MORE) ~= 0
    for _, row in ipairs(readRows(data)) do
      if fn(row) == false then return end
    end
  until not more
end

-- Gives a function the rows of a statement, part by part.
local function each(self, flags, session, fn, sql, count, ...)
  local cursor = openCursor(self, flags, sql, count, ...)
  local ok, problem = pcall(fetchAll, self, session, cursor, fn)
  closeCursor(self, cursor)
  if not ok then error(problem, 0) end
end

function SQLite:each(fn, sql, count, ...)
  if self.isClosed then error(values.failure("closed", "the database was closed"), 0) end
  if not self.inMemory then return each(self, 0, nil, fn, sql, count, ...) end
  writing(self, each, 0, nil, fn, sql, count, ...)
end

-- Transactions.

local function command(self, sql, session)
  return execute(self, bor(WRITER, INSIDE), "none", session, sql, 0)
end

--- Begins a transaction that will write, so that it can't fail halfway because another has
-- written meanwhile.
function SQLite:begin()
  if self.isClosed then error(values.failure("closed", "the database was closed"), 0) end
  local writer = self.writers:take()
  local session = Session:new {driver = self, writer = writer}
  local ok, problem = pcall(command, self, "BEGIN IMMEDIATE", session)
  if not ok then
    self.writers:give(writer)
    error(problem, 0)
  end
  return session
end

function Session:release()
  local writer = self.writer
  self.writer = nil
  if not writer then return end
  self.driver.writers:give(writer)
end

local function alone(self)
  if self.statement then
    error(values.failure("misuse", "the transaction executes another statement already"), 0)
  end
end

function Session:execute(want, sql, count, ...)
  alone(self)
  local data = execute(self.driver, bor(WRITER, INSIDE), want, self, sql, count, ...)
  if band(ffi.cast(Result, data).found, OPEN) == 0 then self.isOver = true end
  return resultOf(want, data)
end

function Session:each(fn, sql, count, ...)
  alone(self)
  each(self.driver, bor(WRITER, INSIDE), self, fn, sql, count, ...)
end

function Session:script(sql)
  alone(self)
  execute(self.driver, bor(WRITER, INSIDE, SCRIPT), "none", self, sql, 0)
end

--- SQLite has answered, or it is on no disk: nothing of this is ever in doubt.
function Session:commit()
  local problem = self.isOver and
    values.failure("misuse", "the transaction was ended by a statement of its own")
  local ok, err = true, nil
  if not problem then ok, err = pcall(command, self.driver, "COMMIT", self) end
  if not ok then pcall(command, self.driver, "ROLLBACK", self) end
  self:release()
  if problem or not ok then error(problem or err, 0) end
end

function Session:rollback()
  pcall(command, self.driver, "ROLLBACK", self) -- SQLite may have done it itself
  self:release()
end

--- Interrupts what is under way and rolls back, whatever became of the task.
function Session:abandon(failure)
  if self.statement then self.statement:giveUp(failure) end
  task.spawn(function() self:rollback() end)
end

--- Opens a database: a path, or ":memory:".
-- @treturn SQLite|nil or nil and a message
function SQLite.open(path, options)
  local message = ffi.new "char[256]"
  if C.sync_lite_load(message, 256) ~= 0 then return nil, toString(message) end
  local inMemory = path == ":memory:"
  local file = C.sync_lite_open(handle, path, inMemory and 0 or options.readers, options.queue,
    options.timeout * 1000)
  if file == nil then return nil, "not enough memory" end
  local self = SQLite:new {file = file, options = options, inMemory = inMemory, writes = {},
    known = 0, underWay = {}, cursorCount = 0}
  self.writers = Pool.open({size = 1, queue = options.queue, queueTimeout = options.queueTimeout},
    function() return Writer:new() end, values.failure)
  return self
end

function SQLite:close()
  self.isClosed = true
  self.writers:close()
  local left = {}
  for statement in pairs(self.underWay) do left[#left + 1] = statement end
  C.sync_lite_close(self.file)
  for _, statement in ipairs(left) do
    jobs.forget(statement.id)
    statement:jobEnded(values.failure("closed", "the database was closed"))
  end
end

return SQLite
