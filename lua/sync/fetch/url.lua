--- URLs: what an error may show of one, and what is put behind one.
-- @module sync.fetch.url

local url = {}

local LONGEST_PART = 15 -- characters of a path's segment that is shown

--- The scheme, and the host with its port, in small letters, without who asks.
-- @treturn string|nil nil: it's no URL of HTTP
function url.origin(text)
  local scheme, authority = text:match("^(%a+)://([^/?#]*)")
  scheme = scheme and scheme:lower()
  if scheme ~= "http" and scheme ~= "https" then return nil end
  authority = authority:gsub("^.*@", ""):lower()
  if authority == "" then return nil end
  if not authority:find(":%d+$") then
    authority = authority .. (scheme == "https" and ":443" or ":80")
  end
  return scheme .. "://" .. authority
end

--- A URL as an error may show it: without who asks and what is asked for, and without parts
-- of its path that are long, as tokens are.
function url.shown(text)
  local scheme, authority, path = text:match("^(%a+://)([^/?#]*)([^?#]*)")
  if not scheme then return "a URL that can't be read" end
  path = path:gsub("[^/]+", function(part)
    return #part > LONGEST_PART and "…" or part
  end)
  return (scheme .. authority:gsub("^.*@", "") .. path):gsub("%c", "?") .. ""
end

--- Text as a part of a URL or a form.
function url.encode(text)
  return (tostring(text):gsub("[^%w%-._~]", function(byte)
    return ("%%%02X"):format(byte:byte())
  end))
end

--- A table as a form has it: its keys in order, a list's values one after another.
function url.form(fields)
  local names, parts = {}, {}
  for name in pairs(fields) do names[#names + 1] = tostring(name) end
  table.sort(names)
  for _, name in ipairs(names) do
    local value = fields[name]
    if value == nil then value = fields[tonumber(name)] end
    for _, each in ipairs(type(value) == "table" and value or {tostring(value)}) do
      parts[#parts + 1] = url.encode(name) .. "=" .. url.encode(each)
    end
  end
  return table.concat(parts, "&")
end

--- A URL with more behind its question mark.
function url.withQuery(text, fields)
  local before, fragment = text:match("^([^#]*)(.*)$")
  local form = url.form(fields)
  if form == "" then return text end
  return before .. (before:find("?", 1, true) and "&" or "?") .. form .. fragment
end

return url
