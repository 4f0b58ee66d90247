--- libpq, and PostgreSQL's values as it takes and gives them. Beside lua/sync/core.lua this file
-- and sync.sql.postgres know the FFI for it.
-- @module sync.sql.libpq

local core = require "sync.core"
local ffi = require "ffi"
local timestamp = require "sync.timestamp"
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
local PRIMARY, STATE = ("M"):byte(), ("C"):byte()
local MOST_PARAMETERS = 999

local lib

local libpq = {}

--- Opens it, once.
-- @treturn cdata|nil its functions, or nil and which package lacks
function libpq.load()
  if lib then return lib end
  for _, name in ipairs {"libpq.so.5", "pq"} do
    local ok, found = pcall(ffi.load, name)
    if ok then
      lib = found
      return lib
    end
  end
  return nil, "the library libpq is missing: apt-get install libpq5"
end

-- Values.

local texts = ffi.new("const char *[?]", MOST_PARAMETERS)
local lengths = ffi.new("int[?]", MOST_PARAMETERS)
local formats = ffi.new("int[?]", MOST_PARAMETERS)
local kept = {} -- luacheck: ignore 241 (holds the texts until they are sent)

local function write(value, number)
  local kind = type(value)
  if kind == "string" then
    if value:find("\0", 1, true) then
      values.misuse("parameter %d has a NUL, which no text has: use sync.sql.blob", number)
    end
    return value
  elseif kind == "number" then
    if value ~= value then values.misuse("parameter %d is NaN", number) end
    return values.number(value)
  elseif kind == "boolean" then
    return value and "t" or "f"
  elseif values.isTime(value) then
    return timestamp.write(value.seconds) .. "+00"
  end
  local integer = kind == "cdata" and values.integer(value)
  if integer then return integer end
  values.misuse("parameter %d is a %s, which is no value of a database", number, kind)
end

--- Keeps parameters for PQsendQueryPrepared: `texts`, `lengths`, `formats`.
function libpq.bind(count, ...)
  if count > MOST_PARAMETERS then values.misuse("a statement has at most 999 parameters") end
  for i = 1, count do
    local value = (select(i, ...))
    formats[i - 1] = 0
    if type(value) == "string" or type(value) == "number" then -- most are
      value = write(value, i)
      kept[i] = value
      texts[i - 1] = value
    elseif value == nil then
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

--- Lets go of what `bind` has kept.
function libpq.release(count)
  for i = 1, count do kept[i] = nil end
end

local size = ffi.new "size_t[1]"

local function bytea(text)
  local bytes = lib.PQunescapeBytea(ffi.cast("const unsigned char *", text), size)
  local made = toString(bytes, size[0])
  lib.PQfreemem(bytes)
  return made
end

--- How a column's text is read, by the type's number; others stay texts.
libpq.READ = {[16] = function(text) return text == "t" end, [17] = bytea, [20] = values.readInteger,
  [21] = tonumber, [23] = tonumber, [26] = tonumber, [700] = tonumber, [701] = tonumber,
  [1114] = timestamp.read, [1184] = timestamp.read}

--- A value of a result.
function libpq.cell(result, row, column, read)
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

--- The failure that a result tells.
function libpq.failed(result)
  local state = lib.PQresultErrorField(result, STATE)
  local text = lib.PQresultErrorField(result, PRIMARY)
  state = state ~= nil and toString(state) or "XX000"
  return values.failure(CODES[state] or CLASSES[state:sub(1, 2)] or "failed",
    text ~= nil and toString(text) or "the statement failed", state)
end

libpq.texts, libpq.lengths, libpq.formats = texts, lengths, formats

return libpq
