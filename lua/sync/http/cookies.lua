--- Cookies: read from requests, and written with what is safe by default (RFC 6265).
--
-- A value may be any bytes: what a cookie can't hold is written as %XX, and read back.
-- @module sync.http.cookies

local MOST_BYTES = 4096 -- of a name and a value: browsers take no more
local EXPIRED = "Thu, 01 Jan 1970 00:00:00 GMT"

local cookies = {}

local function decode(text)
  return (text:gsub("%%(%x%x)", function(hex) return string.char(tonumber(hex, 16)) end))
end

local ENCODED = {}
for byte = 0, 255 do ENCODED[string.char(byte)] = ("%%%02X"):format(byte) end

local function encode(text)
  return (text:gsub("[^%w!#$&'()*+./:<=>?@%[%]^_`{|}~-]", ENCODED))
end

local function isToken(name)
  return type(name) == "string" and name ~= "" and not name:find("[^%w!#$%%&'*+.^_`|~-]")
end

--- The cookies of a request by name; of those of one name the first, which is of the longest path.
-- @tparam string|nil header
-- @treturn table
function cookies.read(header)
  local found = {}
  for pair in (header or ""):gmatch "[^;]+" do
    local name, value = pair:match "^%s*([^=%s]+)%s*=%s*(.-)%s*$"
    if isToken(name) and found[name] == nil then
      found[name] = decode(value:match '^"(.*)"$' or value)
    end
  end
  return found
end

local SAME_SITE = {Strict = true, Lax = true, None = true}
local KNOWN = {maxAge = "number", path = "string", domain = "string", secure = "boolean",
  httpOnly = "boolean", sameSite = "string"}

local function check(name, options, secure)
  for key, value in pairs(options) do
    if not KNOWN[key] then error(("setCookie: there is no option %s"):format(tostring(key)), 4) end
    if type(value) ~= KNOWN[key] then
      error(("setCookie: %s must be a %s, not %s"):format(key, KNOWN[key], type(value)), 4)
    end
  end
  if options.sameSite and not SAME_SITE[options.sameSite] then
    error('setCookie: sameSite must be "Strict", "Lax" or "None"', 4)
  end
  if options.sameSite == "None" and not secure then
    error('setCookie: sameSite = "None" needs secure: browsers take it by TLS only', 4)
  end
  for _, key in ipairs {"path", "domain"} do
    if options[key] and (options[key]:find "[%c;,\127-\255]" or options[key] == "") then
      error(("setCookie: %s can't be %q"):format(key, options[key]), 4)
    end
  end
  if options.path and options.path:sub(1, 1) ~= "/" then
    error("setCookie: path must begin with /", 4)
  end
  if name:find "^__Host%-" and (not secure or options.domain or options.path and
    options.path ~= "/") then
    error("setCookie: a name with __Host- needs TLS, no domain, and the path /", 4)
  elseif name:find "^__Secure%-" and not secure then
    error("setCookie: a name with __Secure- needs TLS", 4)
  end
end

--- The value of Set-Cookie.
-- @tparam string name
-- @tparam string|number|nil value nil takes the cookie away
-- @tparam table options `maxAge` (seconds; until the browser ends), `path` ("/"), `domain` (the
-- host alone), `secure`, `httpOnly` (true), `sameSite` ("Lax")
-- @tparam boolean isSecure whether the request came by TLS: the default of `secure`
-- @treturn string
-- @raise for what can't be written
function cookies.write(name, value, options, isSecure)
  if not isToken(name) then
    error(("setCookie: %q is no name of a cookie"):format(tostring(name)), 3)
  end
  if value ~= nil and type(value) ~= "string" and type(value) ~= "number" then
    error("setCookie: the value must be a string, or nil, not a " .. type(value), 3)
  end
  local secure = options.secure
  if secure == nil then secure = isSecure end
  check(name, options, secure)
  local text = name .. "=" .. encode(tostring(value or ""))
  if #text > MOST_BYTES then
    error(("setCookie: %s has %d bytes, and browsers take %d"):format(name, #text, MOST_BYTES), 3)
  end
  local parts = {text, "Path=" .. (options.path or "/")}
  local function add(part) parts[#parts + 1] = part end
  if value == nil then
    add("Max-Age=0; Expires=" .. EXPIRED)
  elseif options.maxAge then
    add(("Max-Age=%.0f"):format(math.max(0, math.min(options.maxAge, 2 ^ 40))))
  end
  if options.domain then add("Domain=" .. options.domain) end
  if secure then add "Secure" end
  if options.httpOnly ~= false then add "HttpOnly" end
  add("SameSite=" .. (options.sameSite or "Lax"))
  return table.concat(parts, "; ")
end

return cookies
