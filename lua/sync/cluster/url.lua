--- Reads the URLs of the engines.
--
-- A URL may hold a password, and where that begins and ends is not known of one that is
-- wrong. So what is said of it never quotes what may be a part of a password.
-- @module sync.cluster.url

local redisurl = require "sync.redis.url"

local DAY = 86400
local MOST_PREFIX = 64
local MOST_SERVERS = redisurl.MOST_SERVERS

local engineurl = {}

local decode, readPort = redisurl.decode, redisurl.readPort

-- Redis.

--- Reads a URL of Redis: see sync.redis.url.
-- @tparam string url
-- @treturn table|nil what that returns, and `prefix`; or nil and what is wrong
function engineurl.redis(url)
  local found, problem = redisurl.read(url, {prefix = "sync"})
  if not found then return nil, problem end
  if found.prefix == "" or #found.prefix > MOST_PREFIX or found.prefix:find(":", 1, true) then
    return nil, ("the prefix must have 1 to %d bytes, and no colon"):format(MOST_PREFIX)
  end
  return found
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
