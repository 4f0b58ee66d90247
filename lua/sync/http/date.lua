--- Dates of HTTP (RFC 9110 section 5.6.7).
-- @module sync.http.date

local timestamp = require "sync.timestamp"

local floor, min, max = math.floor, math.min, math.max

local date = {}

local weekdays = {"Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"}
local months = {"Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"}
local monthLengths = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31}

local isWeekday, monthNumbers = {}, {}
for _, name in ipairs(weekdays) do
  isWeekday[name], isWeekday[name:sub(1, 3)] = true, true
end
for number, name in ipairs(months) do monthNumbers[name] = number end

--- A date as HTTP writes it (IMF-fixdate), in English whatever the locale.
-- @tparam number seconds since 1970; those outside of the years 0 to 9999, which such a
-- date cannot tell, become the nearest that it can
-- @treturn string "Sun, 06 Nov 1994 08:49:37 GMT"
function date.write(seconds)
  local t = os.date("!*t", max(-62167219200, min(253402300799, floor(seconds))))
  return ("%s, %02d %s %04d %02d:%02d:%02d GMT"):format(weekdays[t.wday]:sub(1, 3), t.day,
    months[t.month], t.year, t.hour, t.min, t.sec)
end

local function isLeap(year)
  return year % 4 == 0 and (year % 100 ~= 0 or year % 400 == 0)
end

-- The parts of a date in any of HTTP's three forms (RFC 9110, 5.6.7), as text.
local function dateParts(text)
  local weekday, day, month, year, clock =
    text:match("^(%a%a%a), (%d%d) (%a%a%a) (%d%d%d%d) ([%d:]+) GMT$")
  if not weekday then
    weekday, day, month, year, clock =
      text:match("^(%a%a%a%a%a%a+), (%d%d)-(%a%a%a)-(%d%d) ([%d:]+) GMT$")
  end
  if not weekday then
    weekday, month, day, clock, year =
      text:match("^(%a%a%a) (%a%a%a) ([%d ]%d) ([%d:]+) (%d%d%d%d)$")
  end
  return weekday, day, month, year, clock
end

--- The time of an HTTP date, in the form of today, of RFC 850 or of asctime. The weekday is not
-- compared with the date.
-- @tparam string text
-- @tparam[opt=os.time()] number now in seconds since 1970; RFC 850 writes years with two
-- digits, which are at most 50 years ahead
-- @treturn ?number seconds since 1970, or nil when it is no date
function date.read(text, now)
  local weekday, day, monthName, year, clock = dateParts(text)
  if not weekday or not isWeekday[weekday] then return nil end
  local hour, minute, second = clock:match("^(%d%d):(%d%d):(%d%d)$")
  local month = monthNumbers[monthName]
  if not hour or not month then return nil end
  local short = #year == 2
  day, year = tonumber(day), tonumber(year)
  hour, minute, second = tonumber(hour), tonumber(minute), tonumber(second)
  if short then
    local thisYear = os.date("!*t", now or os.time()).year
    year = year + thisYear - thisYear % 100
    if year > thisYear + 50 then year = year - 100 end
  end
  local lastDay = month == 2 and isLeap(year) and 29 or monthLengths[month]
  if day < 1 or day > lastDay or hour > 23 or minute > 59 or second > 60 then return nil end
  return timestamp.days(year, month, day) * 86400 + hour * 3600 + minute * 60 + second
end

return date
