--- Configuration for Ruffle, which plays Flash movies in today's browsers.
--
-- A movie opens TCP sockets, and a page can't; so Ruffle tunnels each through a WebSocket.
-- Its `socketProxy` says which: host and port must be written exactly as the movie asks
-- for them, there is no wildcard. `?stream` in the URL lets the server speak first.
-- @module sync.flash.ruffle

local ruffle = {}

local LOOPBACK = {["localhost"] = true, ["127.0.0.1"] = true, ["::1"] = true}
local WILDCARD = {["*"] = true, ["0.0.0.0"] = true, ["::"] = true}

-- The names by which a movie may ask for a listener.
local function hostNames(listener, extra)
  local names, seen = {}, {}
  local function add(name)
    if name and not seen[name] then
      seen[name] = true
      names[#names + 1] = name
    end
  end
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

local function url(listener, host, secure)
  local tls = listener.settings and listener.settings.tls
  if tls and not tls.only and secure ~= nil then tls = secure end
  if host:find(":", 1, true) and host:sub(1, 1) ~= "[" then host = "[" .. host .. "]" end
  return ("%s://%s:%d/?stream"):format(tls and "wss" or "ws", host, listener.port)
end

--- The `socketProxy` entries for listeners, as JavaScript.
-- @tparam table listeners listeners by any key
-- @tparam[opt] string host one more name that movies may ask for: the page's
-- @tparam[opt] boolean secure whether the page came by https, where a port has both
-- @treturn string
function ruffle.proxies(listeners, host, secure)
  local ports, byPort = {}, {}
  for _, listener in pairs(listeners) do
    local serves = listener.port and not listener.closed and
      (not listener.settings or listener.settings.transports.websocket)
    if serves and not byPort[listener.port] then
      ports[#ports + 1] = listener.port
      byPort[listener.port] = listener
    end
  end
  table.sort(ports)
  local lines = {}
  for _, port in ipairs(ports) do
    for _, name in ipairs(hostNames(byPort[port], host)) do
      lines[#lines + 1] = ("  { host: %s, port: %d, proxyUrl: %s }"):format(quote(name), port,
        quote(url(byPort[port], host or name, secure)))
    end
  end
  return "[\n" .. table.concat(lines, ",\n") .. "\n]"
end

--- A script that configures Ruffle; a page loads it before Ruffle itself.
-- @treturn string
function ruffle.script(listeners, host, secure)
  return ("window.RufflePlayer = window.RufflePlayer || {};\n" ..
    "window.RufflePlayer.config = Object.assign(window.RufflePlayer.config || {}, {\n" ..
    "socketProxy: %s\n});\n"):format(ruffle.proxies(listeners, host, secure))
end

return ruffle
