--- Times as text, by the year first (ISO 8601, RFC 3339), as databases and JSON have them.
-- @module sync.timestamp

local timestamp = {}

--- Days since 1970 of a date (proleptic Gregorian; years begin in March here).
-- @tparam number year
-- @tparam number month 1 to 12
-- @tparam number day
-- @treturn number
function timestamp.days(year, month, day)
  if month <= 2 then year = year - 1 end
  local era = math.floor(year / 400)
  local inEra = year - era * 400
  local inYear = math.floor((153 * (month + (month > 2 and -3 or 9)) + 2) / 5) + day - 1
  return era * 146097 + inEra * 365 + math.floor(inEra / 4) - math.floor(inEra / 100) + inYear -
    719468
end

-- The date of so many days.
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
-- @tparam number seconds since 1970
-- @treturn string
function timestamp.write(seconds)
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
-- @tparam string text
-- @treturn number|string seconds since 1970, UTC
function timestamp.read(text)
  local year, month, day, hour, minute, second, zone =
    text:match("^(%d%d%d%d+)%-(%d%d)%-(%d%d)[ T](%d%d):(%d%d):(%d%d%.?%d*)(.*)$")
  if not year then return text end
  local offset = 0
  if zone ~= "" and zone ~= "Z" then
    local sign, hours, minutes = zone:match("^([+-])(%d%d):?(%d?%d?)")
    if not sign then return text end
    offset = (tonumber(hours) * 3600 + (tonumber(minutes) or 0) * 60) * (sign == "-" and -1 or 1)
  end
  local days = timestamp.days(tonumber(year), tonumber(month), tonumber(day))
  return days * 86400 + tonumber(hour) * 3600 + tonumber(minute) * 60 + tonumber(second) - offset
end

return timestamp
