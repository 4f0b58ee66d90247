--- What all databases share: values that Lua has no type for, times, and failures.
-- @module sync.sql.values

local failure = require "sync.service.failure"

local values = {}

local Blob, Time = {}, {}

--- Bytes as a parameter that is no text: a BLOB, a bytea.
function values.blob(bytes)
  if type(bytes) ~= "string" then
    error("sync.sql.blob(bytes): bytes must be a string, not " .. type(bytes), 2)
  end
  return setmetatable({bytes = bytes}, Blob)
end

--- A time as a parameter.
-- @tparam number seconds since 1970, UTC; fractions to the microsecond
function values.time(seconds)
  if type(seconds) ~= "number" or seconds ~= seconds or math.abs(seconds) > 2 ^ 37 then
    error("sync.sql.time(seconds): seconds must be a number of this age", 2)
  end
  return setmetatable({seconds = seconds}, Time)
end

function values.isBlob(value) return getmetatable(value) == Blob end
function values.isTime(value) return getmetatable(value) == Time end

--- A number as text that a database takes, without loss: whole ones as such.
function values.number(value)
  if value % 1 == 0 and math.abs(value) <= 2 ^ 53 then return ("%d"):format(value) end
  return ("%.17g"):format(value)
end

--- A 64-bit integer as text; nil for other cdata.
function values.integer(value)
  return tostring(value):match("^(%-?%d+)U?LL$")
end

--- Raises what a wrong call raises.
function values.misuse(text, ...)
  error(values.failure("misuse", text:format(...)), 0)
end

--- A whole number from a database's text: 64 bits where a Lua number would lose some.
function values.readInteger(text)
  local number = tonumber(text)
  if number > -2 ^ 53 and number < 2 ^ 53 then return number end
  local negative, digits = text:match("^(%-?)(%d+)$")
  local made = 0LL
  for digit in digits:gmatch "%d" do made = made * 10 - tonumber(digit) end
  made = negative == "-" and made or -made
  return (made == 2LL ^ 53 or made == -(2LL ^ 53)) and tonumber(made) or made
end

--- The same of one without a sign.
function values.readUnsigned(text)
  local number = tonumber(text)
  if number < 2 ^ 53 then return number end
  local made = 0ULL
  for digit in text:gmatch "%d" do made = made * 10 + tonumber(digit) end
  return made
end

--- What a call of a database raises: a table with `code`, `message` and `native`, the
-- database's own code. As text it says all of them.
values.failure = failure.of "sync.sql"
values.isFailure = failure.is

return values
