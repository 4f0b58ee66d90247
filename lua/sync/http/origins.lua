--- Who may connect from a page: the `origins` of a protocol.
--
-- A browser says in the Origin header which site's page makes a request; programs that are
-- no browsers send none. `origins` is false (only pages from the same host, and from one of this
-- server's own ports), "*" (any), or a list of exactly those: "https://game.example.com",
-- "https://*.example.com", "null" and "file://", which pages say that are files.
-- @module sync.http.origins

local hosts = require "sync.http.hosts"
local log = require "sync.log"
local loop = require "sync.loop"

local origins = {}

local DEFAULT_PORTS = {http = "80", https = "443", ws = "80", wss = "443"}

-- Scheme, host and port of an origin, or nil.
local function split(origin)
  local scheme, rest = origin:lower():match("^([a-z][a-z0-9+.-]*)://([^/?#@]+)$")
  if not scheme then return nil end
  local host, port = rest:match("^(%[[%x:.]+%]):?(%d*)$")
  if not host then host, port = rest:match("^([^:]+):?(%d*)$") end
  if not host then return nil end
  return scheme, host, port ~= "" and port or DEFAULT_PORTS[scheme]
end

-- Whether an origin is one of the list's.
local function matches(pattern, scheme, host, port)
  local wantedScheme, wantedHost, wantedPort = split(pattern)
  return wantedScheme == scheme and wantedPort == port and hosts.fits(wantedHost, host)
end

-- Whether this server listens on a port: its page may be on one port, its socket on another.
local function isOwnPort(port)
  for _, listener in pairs(loop.listeners) do
    if listener.port == port and not listener.closed then return true end
  end
  return false
end

-- Whether the page comes from where the request goes to.
local function isSameHost(host, scheme, originHost, originPort)
  local name, port = (host or ""):lower():match("^(%[[%x:.]+%]):?(%d*)$")
  if not name then name, port = (host or ""):lower():match("^([^:]+):?(%d*)$") end
  if not name then return false end
  if port == "" then port = DEFAULT_PORTS[scheme] end
  return name == originHost and (port == originPort or isOwnPort(tonumber(originPort)))
end

--- Whether a request may come from this origin.
-- @param allowed a protocol's `origins`
-- @tparam string|nil origin the request's Origin header
-- @tparam string|nil host its Host header
-- @treturn boolean
function origins.allow(allowed, origin, host)
  if origin == nil then return true end
  if origin:find("%c") then return false end -- an answer's header couldn't repeat the origin
  if allowed == "*" then return true end
  local scheme, originHost, originPort = split(origin) -- none of "null": a file, or no rights
  if not allowed then
    return scheme ~= nil and isSameHost(host, scheme, originHost, originPort)
  end
  for _, pattern in ipairs(allowed) do
    if pattern == "*" or pattern == origin then return true end
    if scheme and matches(pattern, scheme, originHost, originPort) then return true end
  end
  return false
end

--- Logs that a page was refused.
-- @tparam sync.Protocol class
-- @tparam table request with `origin` and `address`
-- @treturn string what the page is told
function origins.refuse(class, request)
  local origin = hosts.shown(request.origin)
  log.limited("warn", "origin", ("a page from %s may not connect; to let it: %s.origins = {%q}")
    :format(origin, class.className, origin),
    {address = request.address, protocol = class.className})
  return "pages of " .. origin .. " may not connect"
end

-- Whether a text is an origin; a star may only stand before the dot of a domain. The pages of
-- some programs, which are files, say "file://".
local function isPattern(origin)
  if origin == "*" or origin == "null" or origin == "file://" then return true end
  local _, host = split(origin)
  return host ~= nil and not host:gsub("^%*%.", "", 1):find("*", 1, true)
end

--- Whether a value may stand for `origins`, and what is wanted.
function origins.check(value)
  local wanted = 'false, "*", or a list of origins as in {"https://example.com"}'
  if value == false or value == "*" then return true, wanted end
  if type(value) ~= "table" then return false, wanted end
  for _, origin in ipairs(value) do
    if type(origin) ~= "string" or not isPattern(origin) then
      return false, wanted .. " (not " .. tostring(origin) .. ")"
    end
  end
  return true, wanted
end

--- The host names that `origins` lets in, as a Flash policy names domains, or nil when it
-- names none: then only the server's own host may connect.
-- @treturn table|nil a list
function origins.domains(allowed)
  if allowed == "*" then return {"*"} end
  if not allowed then return nil end
  local domains, seen = {}, {}
  for _, pattern in ipairs(allowed) do
    local _, host = split(pattern)
    host = pattern == "*" and "*" or host
    if host and not seen[host] then
      seen[host] = true
      domains[#domains + 1] = host
    end
  end
  return domains
end

return origins
