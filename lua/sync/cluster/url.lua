--- Reads the URLs of the engines.
--
-- A URL may hold a password, and where that begins and ends is not known of one that is
-- wrong. So what is said of it never quotes what may be a part of a password.
-- @module sync.cluster.url

local DAY = 86400
local MOST_PREFIX = 64
local MOST_PATH = 107 -- of a Unix socket
local MOST_SERVERS = 64

local engineurl = {}

-- %XX, and all other text as it is.
local function decode(text)
  return (text:gsub("%%(%x%x)", function(digits) return string.char(tonumber(digits, 16)) end))
end

-- What stands behind a host: nothing, or a colon and a port.
local function readPort(text, default)
  local port = text == "" and default or tonumber(text:match("^:(%d+)$"))
  return port and port >= 1 and port <= 65535 and port or nil
end

-- Redis.

local REDIS = "redis://[[USER]:PASSWORD@]HOST[:PORT][/DATABASE][?prefix=PREFIX], " ..
  "rediss:// (in TLS, also with ca=FILE, certificate=FILE and key=FILE), or " ..
  "unix://[[USER]:PASSWORD@]/PATH[?db=DATABASE&prefix=PREFIX], or " ..
  "redis+sentinel://[[USER]:PASSWORD@]HOST[:PORT],…/MASTER[/DATABASE][?prefix=PREFIX]"

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

--- Reads a URL of Redis.
-- @tparam string url
-- @treturn table|nil `host`, `port`, `account` (with `user` and perhaps `password`),
-- `database`, `prefix` and, in TLS, `trust` with `ca`, `certificate` and `key`, each a file or
-- nil; with Sentinel `servers`, a list of `{host, port}`, and `master`, its name; or nil and what
-- is wrong
function engineurl.redis(url)
  local scheme, rest = url:match("^([%l+]+)://(.*)$")
  local isSecure, hasSentinel = scheme == "rediss", scheme == "redis+sentinel"
  if scheme ~= "redis" and not hasSentinel and scheme ~= "unix" and not isSecure then
    return nil, "it must be " .. REDIS
  end
  local address, query = rest:match("^([^?]*)%??(.*)$")
  local authority, path = address:match("^([^/]*)(.*)$")
  local text, place = authority:match("^(.*)@(.*)$")
  place = place or authority
  local account, problem = readAccount(text)
  if not account then return nil, problem end
  local isUnix = scheme == "unix"
  local master
  if hasSentinel then master, path = path:match "^/([%w._-]+)(.*)$" end
  if hasSentinel and not master then
    return nil, "behind the Sentinels the master's name is missing, or is none"
  end
  local servers, host, port
  if hasSentinel then servers, host, port = readSentinels(place)
  elseif isUnix then host, port = readPath(place, path)
  else host, port = readHost(place) end
  if not host then return nil, port end
  local known = {prefix = "sync", db = isUnix and "0" or nil}
  if isSecure then known.ca, known.certificate, known.key = "", "", "" end
  if hasSentinel then known.sentinelpassword = "" end
  known, problem = readParameters(query, known)
  if not known then return nil, problem end
  local database = known.db or path:sub(2)
  if database == "" then database = "0" end
  if not database:find("^%d%d?%d?%d?%d?$") then return nil, "the database must be a number" end
  if known.prefix == "" or #known.prefix > MOST_PREFIX or known.prefix:find(":", 1, true) then
    return nil, ("the prefix must have 1 to %d bytes, and no colon"):format(MOST_PREFIX)
  end
  local password = known.sentinelpassword
  return {servers = servers, master = master, account = account,
    sentinelpassword = password ~= "" and password or nil, host = host, port = port,
    prefix = known.prefix, database = ("%d"):format(tonumber(database)),
    trust = isSecure and trustOf(known)}
end

-- NATS.

local function readServer(scheme, text)
  local host, rest = text:match "^(%[[%x:.]+%])(.*)$"
  if not host then host, rest = text:match "^([%w._-]+)(.*)$" end
  local port = host and readPort(rest, 4222)
  return port and ("%s://%s:%d"):format(scheme, host, port)
end

local CHECKS = {
  prefix = function(text) return text:find "^[%w_-]+$" and #text <= MOST_PREFIX and text end,
  ca = function(text) return text ~= "" and text end,
  maxage = function(text)
    local seconds = tonumber(text)
    return seconds and seconds >= 1 and seconds <= 3650 * DAY and seconds
  end,
  replicas = function(text) return text:find "^[1-5]$" and tonumber(text) end,
}

local function readOptions(query, into)
  for pair in query:gmatch "[^&]+" do
    local name, text = pair:match "^([^=]*)=(.*)$"
    local check = CHECKS[name]
    if not check then
      return nil, ("unknown option %s; there are prefix, ca, maxage and replicas")
        :format(name or pair)
    end
    local value = check(decode(text))
    if not value then return nil, ("option %s can't be %q"):format(name, text) end
    into[name] = value
  end
  return into
end

local function readServers(scheme, hosts)
  local servers = {}
  for text in (hosts:gsub("/$", "") .. ","):gmatch "([^,]*)," do
    local server = readServer(scheme, text)
    if not server then
      -- USER:PASSWORD without @HOST looks like a host and what is no port.
      return nil, ("%q is no HOST or HOST:PORT"):format((text:gsub(":.*[^%d].*", ":…")))
    end
    servers[#servers + 1] = server
  end
  if #servers > MOST_SERVERS then
    return nil, ("there are more than %d servers"):format(MOST_SERVERS)
  end
  return servers
end

-- Reads who we are into a table: a user and a password, or a token.
local function readIdentity(text, into)
  local user, password = text:match "^([^:]*):(.*)$"
  if user then
    into.user, into.password = decode(user), decode(password)
  else
    into.token = decode(text)
  end
end

local function readNats(scheme, rest)
  local place, query = rest:match "^([^?]*)%??(.*)$"
  local identity, hosts = place:match "^(.*)@([^@]*)$"
  local servers, problem = readServers(scheme, hosts or place)
  if not servers then return nil, problem end
  local into = {servers = servers, secure = scheme == "tls", prefix = "sync", maxage = DAY,
    replicas = 1}
  if identity then readIdentity(identity, into) end
  return readOptions(query, into)
end

--- Reads a URL of NATS.
-- @tparam string url
-- @treturn table|nil `servers` (a list of URLs without accounts), `secure` (whether in TLS),
-- `prefix`, `maxage`, `replicas`, perhaps `ca`, and `user` and `password` or `token`; or nil
-- and what is wrong
function engineurl.nats(url)
  if type(url) ~= "string" then return nil, "the URL must be a string, not " .. type(url) end
  local scheme, rest = url:match "^(%a+)://(.*)$"
  if scheme ~= "nats" and scheme ~= "tls" then
    return nil, "the URL must begin with nats:// or tls://"
  end
  local found, problem = readNats(scheme, rest)
  -- A password with a ? in it looks like a host and options.
  if not found and rest:find "%?.*@" then
    problem = "before the @ of an account a ? is written %3F"
  end
  return found, problem
end

return engineurl
