--- libmariadb, and MySQL's values as it takes and gives them. The FFI is known here for it, and by
-- sync.sql.mysql.
-- @module sync.sql.libmariadb

local bit = require "bit"
local core = require "sync.core"
local ffi = require "ffi"
local timestamp = require "sync.timestamp"
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
local LONGLONG, FLOAT, DOUBLE, NULL, STRING, BLOB = 8, 4, 5, 6, 254, 252
local UNSIGNED, BINARY = 32, 63
local MOST_PARAMETERS = 999

local lib

local libmariadb = {}

--- Opens it, once.
-- @treturn cdata|nil its functions, or nil and which package lacks
function libmariadb.load()
  if lib then return lib end
  local ok, found = pcall(ffi.load, "libmariadb.so.3")
  if not ok then return nil, "the library libmariadb is missing: apt-get install libmariadb3" end
  lib = found
  return lib
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
      values.misuse("parameter %d is no number that MySQL has", number)
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
    bytesOf(place, STRING, timestamp.write(value.seconds), number)
  elseif kind == "cdata" and values.integer(value) then
    integerOf(place, ffi.cast("int64_t", value), number)
  else
    values.misuse("parameter %d is a %s, which is no value of a database", number, kind)
  end
end

--- Binds parameters to a statement's places.
function libmariadb.bind(statement, count, ...)
  if count > MOST_PARAMETERS then values.misuse("a statement has at most 999 parameters") end
  local places = tonumber(lib.mysql_stmt_param_count(statement))
  if places ~= count then
    values.misuse("the statement has %d places for %d parameters", places, count)
  end
  for i = 1, count do bindOne(binds[i - 1], (select(i, ...)), i) end
  if count > 0 then lib.mysql_stmt_bind_param(statement, binds) end
end

-- How a column's text is read, by its type: TINY, SHORT, LONG, INT24 and YEAR, LONGLONG,
-- TIMESTAMP and DATETIME. FLOAT and DOUBLE come as numbers, others stay texts.
local READ = {[1] = tonumber, [2] = tonumber, [3] = tonumber, [9] = tonumber, [13] = tonumber,
  [8] = values.readInteger, [7] = timestamp.read, [12] = timestamp.read}

-- Rows: each column is asked for as text, first for its length, then for its bytes.

--- What a result's columns are; nil for a statement without rows.
function libmariadb.describe(statement)
  local meta = lib.mysql_stmt_result_metadata(statement)
  if meta == nil then return nil end
  local count, fields = lib.mysql_num_fields(meta), lib.mysql_fetch_fields(meta)
  local columns = {count = count, binds = ffi.new("MYSQL_BIND[?]", count),
    reals = ffi.new("double[?]", count), lengths = ffi.new("unsigned long[?]", count),
    nulls = ffi.new("my_bool[?]", count)}
  for i = 0, count - 1 do
    local field, place = fields[i], columns.binds[i]
    local read = READ[field.type]
    if read == values.readInteger and bit.band(field.flags, UNSIGNED) ~= 0 then
      read = values.readUnsigned
    end
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

--- A value of the row that was fetched last.
function libmariadb.cell(statement, columns, i)
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

return libmariadb
