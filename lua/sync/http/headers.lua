--- The headers of an answer: an ordered list of {name, value}, a line each.
-- @module sync.http.headers

local headers = {}

local FRAMING = {["content-length"] = true, ["transfer-encoding"] = true, connection = true}

-- Header values go out as they are, so they must not hold a line's end.
local function check(name, value)
  local kind = type(value)
  if kind ~= "string" and kind ~= "number" then
    error(("header %q: its value must be a string, a number, or a list of these, not a %s")
      :format(tostring(name), kind), 0)
  end
  if type(name) == "string" and FRAMING[name:lower()] then
    error(("header %q says where an answer ends, and is written here alone"):format(name), 0)
  end
  value = tostring(value)
  if type(name) ~= "string" or name == "" or name:find("[^%w!#$%%&'*+.^_`|~-]") or
    value:find("[%c]") then
    error(("header %q: names are tokens, and values are one line"):format(tostring(name)), 0)
  end
  return value
end

--- The list of what a route gives.
-- @tparam table given values by name, where a list as a value is several lines, or {name, value}
-- in order
-- @treturn table
-- @raise for what can't be written
function headers.list(given)
  local list = {}
  local function add(name, value)
    if type(value) ~= "table" then value = {value} end
    for _, line in ipairs(value) do list[#list + 1] = {name, check(name, line)} end
  end
  for name, value in pairs(given) do
    if type(name) == "number" and type(value) == "table" then
      add(value[1], value[2])
    else
      add(name, value)
    end
  end
  return list
end

--- The first header of a name, in whatever case.
-- @tparam table list
-- @tparam string name
-- @treturn table|nil {name, value}
function headers.find(list, name)
  name = name:lower()
  for _, header in ipairs(list) do
    if header[1]:lower() == name then return header end
  end
end

--- Says that the answer differs by a header of the request, beside what Vary says already.
function headers.vary(list, name)
  local header
  for _, other in ipairs(list) do
    if other[1]:lower() == "vary" then
      header = other
      for token in other[2]:gmatch("[^%s,]+") do
        if token == "*" or token:lower() == name:lower() then return end
      end
    end
  end
  if header then
    header[2] = header[2] .. ", " .. name
  else
    list[#list + 1] = {"Vary", name}
  end
end

--- The list as lines of HTTP.
-- @treturn string
function headers.write(list)
  local lines = {}
  for i, header in ipairs(list) do lines[i] = header[1] .. ": " .. header[2] .. "\r\n" end
  return table.concat(lines)
end

return headers
