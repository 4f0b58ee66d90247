--- Under which names a server may be asked: the `hosts` of a protocol.
--
-- The name in the Host header is what a browser takes the server for. Whoever owns a name can
-- let it lead to a visitor's own machine (DNS rebinding): a page from there is then, to the
-- browser, a page of this server. So a name that a stranger can have counts where `hosts` or
-- `origins` names it. Without `hosts` only requests that come straight from this machine, or
-- from its network, are looked at: no other reaches what a page could not reach by itself.
-- @module sync.http.hosts

local log = require "sync.log"

local hosts = {}

local MOST_SHOWN = 100 -- bytes of a client's text, in the log

-- Names below these are in nobody's hands.
local PRIVATE_DOMAINS = {"localhost", "local", "internal", "home.arpa", "lan", "test"}

local PRIVATE_ADDRESSES = {"^127%.", "^10%.", "^192%.168%.", "^169%.254%.", "^172%.1[6-9]%.",
  "^172%.2%d%.", "^172%.3[01]%.", "^::1$", "^f[cd]%x%x:", "^fe[89ab]%x:"}

-- What proxies add. Pages can't give headers to a WebSocket.
local PROXY_HEADERS = {"forwarded", "x-forwarded-for", "x-real-ip", "via"}

--- Whether a name is the pattern's; "*." stands for any name below a domain.
function hosts.fits(pattern, name)
  if pattern:sub(1, 2) ~= "*." then return pattern == name end
  local domain = pattern:sub(2)
  return #name > #domain and name:sub(-#domain) == domain
end

local function isListed(list, name)
  for _, pattern in ipairs(list or {}) do
    if hosts.fits(pattern:lower(), name) then return true end
  end
  return false
end

-- The name in a Host header, without the port and a last dot.
local function nameOf(host)
  host = host:lower()
  return host:match("^(%[[%x:.]+%])") or host:match("^([^:]*)"):gsub("%.$", "")
end

-- Whether no stranger can have this name: an address, or a name that public DNS doesn't know.
local function isPrivateName(name)
  if name:find("^%[") or name:find("^%d+%.%d+%.%d+%.%d+$") or not name:find(".", 1, true) then
    return true
  end
  for _, domain in ipairs(PRIVATE_DOMAINS) do
    if hosts.fits("*." .. domain, name) then return true end
  end
  return false
end

local function isPrivateAddress(address)
  for _, pattern in ipairs(PRIVATE_ADDRESSES) do
    if address:find(pattern) then return true end
  end
  return false
end

local function isProxied(headers)
  for _, name in ipairs(PROXY_HEADERS) do
    if headers[name] then return true end
  end
  return false
end

local function allows(listener, request, name, trusted)
  local settings = listener.settings
  if settings.hosts then return isListed(settings.hosts, name) end
  return settings.origins == "*" or not isPrivateAddress(request.address) or
    request.proxied or isProxied(request.headers) or isPrivateName(name) or
    name == (listener.host or ""):lower() or isListed(trusted, name)
end

--- Text of a client, as the log and answers show it.
function hosts.shown(text)
  text = text:gsub("%c", "?")
  return #text > MOST_SHOWN and text:sub(1, MOST_SHOWN) .. "..." or text
end

--- Whether the server may be asked under the name that a request gives; a refusal is logged.
-- @tparam sync.Listener listener
-- @tparam table request as in `sync.http`
-- @tparam table|nil trusted names of `origins`
-- @treturn boolean
function hosts.allow(listener, request, trusted)
  local host = request.headers.host
  if not host or allows(listener, request, nameOf(host), trusted) then return true end
  local shown = hosts.shown(host:match("^[^:]*"))
  log.limited("warn", "host", ("a request for the host %q was refused, for a stranger's name " ..
    "may lead here; if it is the server's own: %s.hosts = {%q}"):format(shown,
    listener.class.className, shown), {address = request.address})
  return false
end

--- Whether a value may stand for `hosts`, and what is wanted.
function hosts.check(value)
  local wanted = 'false, or a list of names as in {"game.example.com", "*.example.org"}'
  if value == false then return true, wanted end
  if type(value) ~= "table" or #value == 0 then return false, wanted end
  for _, name in ipairs(value) do
    local fine = type(name) == "string" and (name:find("^%[[%x:.]+%]$") or
      name:gsub("^%*%.", "", 1):find("^[%w_.-]+$"))
    if not fine then return false, wanted .. " (not " .. tostring(name) .. ")" end
  end
  return true, wanted
end

return hosts
