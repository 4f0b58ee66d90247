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

-- Days since 1970 of a date, and back (proleptic Gregorian; years begin in March here).

local function toDays(year, month, day)
  if month <= 2 then year = year - 1 end
  local era = math.floor(year / 400)
  local inEra = year - era * 400
  local inYear = math.floor((153 * (month + (month > 2 and -3 or 9)) + 2) / 5) + day - 1
  return era * 146097 + inEra * 365 + math.floor(inEra / 4) - math.floor(inEra / 100) + inYear -
    719468
end

local function toDate(days)
  days = days + 719468
  local era = math.floor(days / 146097)
  local inEra = days - era * 146097
  local year = math.floor((inEra - math.floor(inEra / 1460) + math.floor(inEra / 36524) -
    math.floor(inEra / 146096)) / 365)
  local inYear = inEra - (365 * year + math.floor(year / 4) - math.floor(year / 100))
  local month = math.floor((5 * inYear + 2) / 153)
  local day = inYear - math.floor((153 * month + 2) / 5) + 1
  month = month + (month < 10 and 3 or -9)
  return year + era * 400 + (month <= 2 and 1 or 0), month, day
end

--- A time as text, "2026-11-29 21:47:01.000000", UTC.
function values.formatTime(seconds)
  local micros = math.floor(seconds * 1e6 + 0.5)
  local whole = math.floor(micros / 1e6)
  local days = math.floor(whole / 86400)
  local rest = whole - days * 86400
  local year, month, day = toDate(days)
  return ("%04d-%02d-%02d %02d:%02d:%02d.%06d"):format(year, month, day, math.floor(rest / 3600),
    math.floor(rest / 60) % 60, rest % 60, micros - whole * 1e6)
end

--- The seconds of such a text, with an offset of a zone or without one (UTC). Other texts
-- ("infinity", years before Christ) stay as they are.
function values.parseTime(text)
  local year, month, day, hour, minute, second, zone =
    text:match("^(%d%d%d%d+)%-(%d%d)%-(%d%d)[ T](%d%d):(%d%d):(%d%d%.?%d*)(.*)$")
  if not year then return text end
  local offset = 0
  if zone ~= "" and zone ~= "Z" then
    local sign, hours, minutes = zone:match("^([+-])(%d%d):?(%d?%d?)")
    if not sign then return text end
    offset = (tonumber(hours) * 3600 + (tonumber(minutes) or 0) * 60) * (sign == "-" and -1 or 1)
  end
  return toDays(tonumber(year), tonumber(month), tonumber(day)) * 86400 + tonumber(hour) * 3600 +
    tonumber(minute) * 60 + tonumber(second) - offset
end

--- What a call of a database raises: a table with `code`, `message` and `native`, the
-- database's own code. As text it says all of them.
values.failure = failure.of "sync.sql"
values.isFailure = failure.is

return values
