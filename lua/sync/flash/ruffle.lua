--- Configuration for Ruffle, which plays Flash movies in today's browsers.
--
-- A movie opens TCP sockets, and a page can't; so Ruffle tunnels each through a WebSocket.
-- Its `socketProxy` says which: host and port must be written exactly as the movie asks
-- for them, there is no wildcard. `?stream` in the URL lets the server speak first.
--
-- What an old movie asks for is compiled into it. A listener's setting `ruffle` names that:
-- `{asks = {{"game.example.com", 9604}, {"*", "9600-9610"}}}`. A "*" is written out: as host it is
-- each name that is known, as port the listener's own.
-- @module sync.flash.ruffle

local ruffle = {}

local LOOPBACK = {["localhost"] = true, ["127.0.0.1"] = true, ["::1"] = true}
local WILDCARD = {["*"] = true, ["0.0.0.0"] = true, ["::"] = true}

local MOST_PORTS = 1000 -- of one ask

-- The first and last port of what a movie asks for, or nil.
local function portsOf(port)
  local first, last = tostring(port):match("^(%d+)%-?(%d*)$")
  first = tonumber(first)
  last = tonumber(last) or first
  if first and first >= 1 and first <= last and last <= 65535 and last - first < MOST_PORTS then
    return first, last
  end
end

local function isAsk(ask)
  if type(ask) ~= "table" then return false end
  local host, port = ask[1], ask[2]
  return type(host) == "string" and host:find("^[%w_.:%[%]*-]+$") ~= nil and
    (host == "*" or not host:find("*", 1, true)) and (port == "*" or portsOf(port) ~= nil)
end

--- Whether a value may stand for the setting `ruffle`, and what is wanted.
function ruffle.check(value)
  local wanted = 'false, or what movies ask for, as in {asks = {{"game.example.com", 9604}, ' ..
    '{"*", "9600-9610"}}}; a name with a star in it can\'t be written out: give each'
  local asks = type(value) == "table" and value.asks
  if type(asks) ~= "table" then return value == false, wanted end
  for name in pairs(value) do
    if name ~= "asks" then return false, wanted end
  end
  for _, ask in ipairs(asks) do
    if not isAsk(ask) then return false, wanted end
  end
  return #asks > 0, wanted
end

local function asksOf(listener)
  local setting = listener.settings and listener.settings.ruffle
  return setting and setting.asks or {}
end

-- A list without repetitions, and what adds to it.
local function newList()
  local list, seen = {}, {}
  return list, function(name)
    if name and not seen[name] then
      seen[name] = true
      list[#list + 1] = name
    end
  end
end

-- The names by which a movie may ask for a listener.
local function hostNames(listener, extra)
  local names, add = newList()
  local host = listener.host:match("^%[(.*)%]$") or listener.host
  if not WILDCARD[host] then add(host) end
  add(extra)
  if WILDCARD[host] or LOOPBACK[host] then
    add("localhost")
    add("127.0.0.1")
  end
  return names
end

local function quote(text)
  return '"' .. text:gsub('[%c"\\<]', function(c) return ("\\u%04x"):format(c:byte()) end) .. '"'
end

local function url(listener, host, secure, front)
  local tls = listener.settings and listener.settings.tls
  if front or tls and not tls.only and secure ~= nil then tls = secure end
  if host:find(":", 1, true) and host:sub(1, 1) ~= "[" then host = "[" .. host .. "]" end
  return ("%s://%s:%d/?stream"):format(tls and "wss" or "ws", host,
    front and front.listener == listener and front.port or listener.port)
end

-- Those that a movie can reach, in the order of their ports.
local function reachable(listeners)
  local list, byPort = {}, {}
  for _, listener in pairs(listeners) do
    local serves = listener.port and not listener.closed and
      (not listener.settings or listener.settings.transports.websocket)
    if serves and not byPort[listener.port] then
      list[#list + 1] = listener
      byPort[listener.port] = true
    end
  end
  table.sort(list, function(a, b) return a.port < b.port end)
  return list
end

-- The names that a "*" stands for: the server's own, and those that are asked for.
local function knownNames(listeners, host)
  local names, add = newList()
  for _, listener in ipairs(listeners) do
    for _, name in ipairs(hostNames(listener, host)) do add(name) end
  end
  for _, listener in ipairs(listeners) do
    for _, ask in ipairs(asksOf(listener)) do
      if ask[1] ~= "*" then add(ask[1]) end
    end
  end
  return names
end

-- Calls `visit(name, port)` for what a listener's setting names.
local function eachAsk(listener, known, visit)
  for _, ask in ipairs(asksOf(listener)) do
    local first, last = listener.port, listener.port
    if ask[2] ~= "*" then first, last = portsOf(ask[2]) end
    for _, name in ipairs(ask[1] == "*" and known or {ask[1]}) do
      for port = first, last do visit(name, port) end
    end
  end
end

--- The `socketProxy` entries for listeners, as JavaScript. What a setting names goes before the
-- listener that has that name and port.
-- @tparam table listeners listeners by any key
-- @tparam[opt] string host one more name that movies may ask for: the page's
-- @tparam[opt] boolean secure whether the page came by https, where a port has both
-- @tparam[opt] table front the `listener` that a proxy asked for the page, and its own `port`
-- @treturn string
function ruffle.proxies(listeners, host, secure, front)
  local lines, seen = {}, {}
  local function add(name, port, listener, to)
    local key = name .. " " .. port
    if seen[key] then return end
    seen[key] = true
    lines[#lines + 1] = ("  { host: %s, port: %d, proxyUrl: %s }"):format(quote(name), port,
      quote(url(listener, to, secure, front)))
  end
  local list = reachable(listeners)
  local known = knownNames(list, host)
  for _, listener in ipairs(list) do
    local to = host or hostNames(listener)[1]
    eachAsk(listener, known, function(name, port) add(name, port, listener, to) end)
  end
  for _, listener in ipairs(list) do
    for _, name in ipairs(hostNames(listener, host)) do
      add(name, listener.port, listener, host or name)
    end
  end
  return "[\n" .. table.concat(lines, ",\n") .. "\n]"
end

--- A script that configures Ruffle; a page loads it before Ruffle itself.
-- @treturn string
function ruffle.script(listeners, host, secure, front)
  return ("window.RufflePlayer = window.RufflePlayer || {};\n" ..
    "window.RufflePlayer.config = Object.assign(window.RufflePlayer.config || {}, {\n" ..
    "socketProxy: %s\n});\n"):format(ruffle.proxies(listeners, host, secure,
      front))
end

return ruffle
