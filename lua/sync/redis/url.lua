--- Reads the URLs of Redis.
--
-- A URL may hold a password, and where that begins and ends is not known of one that is
-- wrong. So what is said of it never quotes what may be a part of a password.
-- @module sync.redis.url

local MOST_PATH = 107 -- of a Unix socket

local redisurl = {
  MOST_SERVERS = 64, -- of Sentinel
}

local MOST_SERVERS = redisurl.MOST_SERVERS

-- %XX, and all other text as it is.
local function decode(text)
  return (text:gsub("%%(%x%x)", function(digits) return string.char(tonumber(digits, 16)) end))
end
redisurl.decode = decode

--- What stands behind a host: nothing, or a colon and a port.
-- @treturn number|nil the port
function redisurl.readPort(text, default)
  local port = text == "" and default or tonumber(text:match("^:(%d+)$"))
  return port and port >= 1 and port <= 65535 and port or nil
end

local readPort = redisurl.readPort

local FORMS = "redis://[[USER]:PASSWORD@]HOST[:PORT][/DATABASE], " ..
  "rediss:// (in TLS, also with ?ca=FILE, certificate=FILE and key=FILE), or " ..
  "unix://[[USER]:PASSWORD@]/PATH[?db=DATABASE], or " ..
  "redis+sentinel://[[USER]:PASSWORD@]HOST[:PORT],…/MASTER[/DATABASE]"

local function decodeStrictly(text)
  if text:gsub("%%%x%x", ""):find("%%") then
    return nil, "a % must stand before two hexadecimal digits (%25 is a %)"
  end
  return decode(text)
end

local function readParameters(query, known)
  for pair in query:gmatch("[^&]+") do
    local name, value = pair:match("^(%l+)=(.*)$")
    if not name or not known[name] then return nil, "there is a parameter that is not known" end
    local text, problem = decodeStrictly(value)
    if not text then return nil, problem end
    known[name] = text
  end
  return known
end

local function readAccount(text)
  if not text then return {user = ""} end
  local user, password = text:match("^([^:]*):(.+)$")
  if not user then return nil, "before the @ there must be USER:PASSWORD, or :PASSWORD" end
  local problem
  user, problem = decodeStrictly(user)
  if user then password, problem = decodeStrictly(password) end
  if problem then return nil, problem end
  return {user = user, password = password}
end

local function readPath(place, path)
  local decoded, problem = decodeStrictly(path)
  if not decoded then return nil, problem end
  if place ~= "" or #decoded < 2 or #decoded > MOST_PATH or decoded:find("%z") then
    return nil, ("the path must begin with / and have at most %d bytes: unix:///PATH")
      :format(MOST_PATH)
  end
  return "unix:" .. decoded, 0
end

local function readHost(place, default)
  local host, rest = place:match("^%[([%x:.]+)%](.*)$")
  if not host then host, rest = place:match("^([^:%[%]%%%s%c]+)(.*)$") end
  if not host then return nil, "the host is missing, or is none" end
  local port = readPort(rest, default or 6379)
  if not port then return nil, "the port is none" end
  return host, port
end

local function trustOf(known)
  local trust = {}
  for _, name in ipairs {"ca", "certificate", "key"} do
    if known[name] ~= "" then trust[name] = known[name] end
  end
  return trust
end

-- Reads the hosts of Sentinels into a list of `{host, port}`. Returns that and the first of them,
-- or nil, nil and what is wrong.
local function readSentinels(place)
  local servers = {}
  for text in (place .. ","):gmatch "([^,]*)," do
    local host, port = readHost(text, 26379)
    if not host then return nil, nil, port end
    servers[#servers + 1] = {host, port}
  end
  if #servers > MOST_SERVERS then
    return nil, nil, ("there are more than %d servers"):format(MOST_SERVERS)
  end
  return servers, unpack(servers[1])
end

-- What stands behind the question mark: a database for a Unix socket, files for TLS, a password
-- for Sentinels, and `more` of the caller's.
local function readQuery(query, scheme, more)
  local known = {}
  for name, default in pairs(more or {}) do known[name] = default end
  if scheme == "unix" then known.db = "0" end
  if scheme == "rediss" then known.ca, known.certificate, known.key = "", "", "" end
  if scheme == "redis+sentinel" then known.sentinelpassword = "" end
  return readParameters(query, known)
end

local function readPlace(scheme, place, path)
  if scheme == "redis+sentinel" then return readSentinels(place) end
  if scheme == "unix" then return nil, readPath(place, path) end
  return nil, readHost(place)
end

local SCHEMES = {redis = true, rediss = true, unix = true, ["redis+sentinel"] = true}

--- Reads a URL of Redis.
-- @tparam string url
-- @tparam[opt] table more parameters that it may have, too, with what they are by default
-- @treturn table|nil `host`, `port`, `account` (with `user` and perhaps `password`),
-- `database`, each of `more` and, in TLS, `trust` with `ca`, `certificate` and `key`, each a file
-- or nil; with Sentinel `servers`, a list of `{host, port}`, and `master`, its name; or nil and
-- what is wrong
function redisurl.read(url, more)
  local scheme, rest = url:match("^([%l+]+)://(.*)$")
  if not SCHEMES[scheme] then return nil, "it must be " .. FORMS end
  local address, query = rest:match("^([^?]*)%??(.*)$")
  local authority, path = address:match("^([^/]*)(.*)$")
  local text, place = authority:match("^(.*)@(.*)$")
  local account, problem = readAccount(text)
  if not account then return nil, problem end
  local hasSentinel, master = scheme == "redis+sentinel", nil
  if hasSentinel then master, path = path:match "^/([%w._-]+)(.*)$" end
  if hasSentinel and not master then
    return nil, "behind the Sentinels the master's name is missing, or is none"
  end
  local servers, host, port = readPlace(scheme, place or authority, path)
  if not host then return nil, port end
  local known
  known, problem = readQuery(query, scheme, more)
  if not known then return nil, problem end
  local database = known.db or path:sub(2)
  if database == "" then database = "0" end
  if not database:find("^%d%d?%d?%d?%d?$") then return nil, "the database must be a number" end
  local password = known.sentinelpassword
  local found = {servers = servers, master = master, account = account,
    sentinelpassword = password ~= "" and password or nil, host = host, port = port,
    database = ("%d"):format(tonumber(database)), trust = scheme == "rediss" and trustOf(known)}
  for name in pairs(more or {}) do found[name] = known[name] end
  return found
end

return redisurl
