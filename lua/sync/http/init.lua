--- HTTP on a server's ports: requests go to WebSocket's handshake, to the class's routes,
-- to its web folder, and to /healthz.
--
-- A route is a function of the request; a segment that begins with a colon stands for any:
--
--     Game.routes["GET /scores"] = function(request) return 200, {top = Game.top} end
--     Game.routes["GET /players/:name"] = function(request)
--       local player = Game.players[request.params.name]
--       if not player then return 404, "no such player" end
--       return player
--     end
--
-- A last segment `*`, or `*name`, stands for all that follows. A route without either goes before
-- one with names, and that before one with a star, of which the longest counts.
--
-- A route returns a status (200 when left out), a body (a string, or a table that goes out as
-- JSON) and a table of headers, where a list as a value is several lines:
-- `{["Set-Cookie"] = {"a=1", "b=2"}}`. An error in a route is logged and answered with 500.
--
-- **A request** has `method`, `target` (as it came), `path` (decoded), `query` (as it came),
-- `params` (of the route's path and the query's, decoded), `headers` (by lower-case name;
-- repeated ones joined by commas), `body`, `origin`, `address`, `port`, `secure`;
-- the last three and the header `host` are the client's if it came through one of `proxies`.
-- Its cookies, forms and JSON, and what it has the answer carry: see sync.http.request.
-- @module sync.http

require "sync.http.settings"
local Exchange = require "sync.http.exchange"
local Request = require "sync.http.request"
local core = require "sync.core"
local cors = require "sync.http.cors"
local files = require "sync.http.files"
local hosts = require "sync.http.hosts"
local known = require "sync.http.known"
local log = require "sync.log"
local loop = require "sync.loop"
local operators = require "sync.http.operators"
local origins = require "sync.http.origins"
local pages = require "sync.http.pages"
local panel = require "sync.http.panel"
local proxies = require "sync.http.proxies"
local routes = require "sync.http.routes"
local upgrade = require "sync.http.upgrade"

local C, handle = core.C, core.handle

local function decode(text)
  return (text:gsub("%%(%x%x)", function(hex) return string.char(tonumber(hex, 16)) end))
end

-- The parameters of a query string; of a repeated one the first.
local function queryParams(query)
  local params = {}
  for pair in query:gmatch("[^&]+") do
    local name, value = pair:match("^([^=]*)=(.*)$")
    name = decode(((name or pair):gsub("+", " ")))
    if params[name] == nil then params[name] = decode(((value or ""):gsub("+", " "))) end
  end
  return params
end

-- A request from its head as the core gives it: "METHOD TARGET 1.1", then a header a line.
local function parse(slot, head, body, settings)
  local method, target, version, rest = head:match("^(%S+) (%S+) (%S+)\n(.*)$")
  local headers = {}
  for name, value in rest:gmatch("([^\n:]+): ([^\n]*)\n") do
    local before = headers[name]
    headers[name] = before and before .. ", " .. value or value
  end
  local address, port = core.peer(slot)
  local whole = target:gsub("^%w+://[^/?]*", "")
  local path, query = whole:match("^([^?]*)%??(.*)$")
  return Request.new({
    method = method,
    target = target,
    version = version,
    path = path == "" and "/" or decode(path),
    query = query,
    params = queryParams(query),
    headers = headers,
    body = body,
    origin = headers.origin,
    address = address,
    port = port,
    secure = C.sync_secure(handle, slot) ~= 0,
  }, settings)
end

-- What may be asked of a path. A browser asks before it sends a request that a page of another
-- site makes (CORS).
local function answerOptions(exchange, methods)
  local headers = {Allow = routes.list(methods)}
  if exchange:isLetIn() then cors.preflight(exchange.listener.settings.cors, headers) end
  exchange:respond(204, headers, "")
end

local function wantsWebSocket(request)
  if request.method ~= "GET" or request.version ~= "1.1" then return false end
  local upgrades, connects = false, false
  for token in (request.headers.upgrade or ""):lower():gmatch("[^%s,]+") do
    upgrades = upgrades or token == "websocket"
  end
  for token in (request.headers.connection or ""):lower():gmatch("[^%s,]+") do
    connects = connects or token == "upgrade"
  end
  return upgrades and connects
end

-- What a visitor of a server without pages is told.
local function nothingHere(exchange)
  local listener, path = exchange.listener, exchange.request.path
  if path == "/" and listener.settings.transports.websocket then
    return exchange:say(426, ("This is %s, a server for WebSocket and byte " ..
      "streams; there is no page here."):format(listener.class.className), {Upgrade = "websocket"})
  end
  exchange:say(404, "there is nothing at " .. path:gsub("%c", "?"))
end

-- Looks in the next folder for the file of a request; in all of them again, whatever the case, if
-- that is wanted. Returns whether there was another.
local function lookOn(exchange)
  local web, looks = exchange.listener.settings.web, exchange.looks
  local anyCase = looks >= #web
  if anyCase and (not web.anyCase or looks >= 2 * #web) then return false end
  exchange.looks = looks + 1
  if C.sync_file_open(handle, exchange.slot, exchange.file, looks % #web, anyCase and 1 or 0) < 0
  then
    exchange:say(503)
  else
    exchange:wait()
  end
  return true
end

-- Whether a file may be the answer to this method.
local function asksForFile(web, method)
  return method == "GET" or method == "HEAD" or method == "POST" and web and web.post
end

-- Looks for the file of a request; `found` goes on.
local function openFile(exchange)
  local request = exchange.request
  local path, status, why = files.path(request.target)
  if not path then return exchange:say(status, why) end
  if files.isSource(path) then
    return exchange:say(404, "files of this kind are never served; a route may answer here")
  end
  if request.method == "POST" then request.method = "GET" end
  exchange.file, exchange.looks = path, 0
  lookOn(exchange)
end

-- The path of a folder with the slash that was left out. One slash at the beginning, for
-- two would name another host.
local function withSlash(request)
  local path, query = request.target:gsub("^%w+://[^/?]*", ""):match("^/*([^?]*)(.*)$")
  return "/" .. path .. "/" .. query
end

-- The file of a request was found, or not.
local function found(event)
  local exchange = Exchange.take(event.id)
  if not exchange then return end
  local request, failure = exchange.request, event.value
  if failure == 404 and lookOn(exchange) then return end
  if failure == 404 and request.path == "/ruffle.js" then
    return pages["/ruffle-config.js"](exchange)
  elseif failure == 404 and exchange.file == "" then
    return exchange:say(404, "there is no page here yet: the web folder has no index.html, and " ..
      'the class no route "GET /"')
  elseif failure ~= 0 then
    return exchange:say(failure)
  end
  local file = core.file(event)
  if file.slashMissing then
    return exchange:say(301, nil, {Location = withSlash(request)})
  end
  exchange:respondFile(files.answer(request, file))
end

local function serve(exchange)
  local request, listener = exchange.request, exchange.listener
  local class, settings, path = listener.class, listener.settings, request.path
  if not settings.transports.http then
    return exchange:say(426, "this port is for WebSockets", {Upgrade = "websocket"})
  end
  local route, methods = routes.find(class, request)
  if route then return routes.call(exchange, route) end
  if settings.console and operators.take(exchange) then return end
  local reads = request.method == "GET" or request.method == "HEAD"
  if settings.panel then
    local status, headers, body = panel.answer(listener, request)
    if status then return exchange:respond(status, headers, body) end
  end
  local take = class:takesRequest(request)
  if take then return known.answer(exchange, take) end
  if request.method == "OPTIONS" then
    for method in pairs(class:methodsOf(path)) do methods[method] = true end
    if settings.web or pages[path] then methods.GET = true end
    if asksForFile(settings.web, "POST") then methods.POST = true end
    if next(methods) or path == "*" then return answerOptions(exchange, methods) end
    return nothingHere(exchange)
  end
  local taken, isItsOwn = class:methodsOf(path)
  if isItsOwn then
    for method in pairs(taken) do methods[method] = true end
  end
  if next(methods) then
    return exchange:say(405, nil, {Allow = routes.list(methods)})
  end
  local page = reads and pages[path]
  if page and page(exchange) ~= false then return end
  if pages[path] and not reads and not settings.web then
    return exchange:say(405, nil, {Allow = "GET, HEAD, OPTIONS"})
  end
  if settings.web then
    if asksForFile(settings.web, request.method) then return openFile(exchange) end
    return exchange:say(405, nil, {Allow = asksForFile(settings.web, "POST") and
      "GET, HEAD, OPTIONS, POST" or "GET, HEAD, OPTIONS"})
  end
  if reads and path == "/ruffle.js" then return pages["/ruffle-config.js"](exchange) end
  nothingHere(exchange)
end

-- A request has come.
local function take(event)
  local slot, headLength = event.id, event.value
  local head = core.string(event.data, headLength)
  local body = core.string(event.data + headLength, event.length - headLength)
  local listener = loop.listeners[C.sync_listener_of(handle, slot)]
  local request = parse(slot, head, body, listener.settings)
  local refused = proxies.apply(slot, request)
  local exchange = Exchange:new {slot = slot, listener = listener, request = request}
  if refused == "banned" then return exchange:say(403, "this address is shut out") end
  if refused == "often" then return exchange:say(429, "this address connects too often") end
  if refused then
    log.limited("warn", "address full", "one address has as many connections as it may; more " ..
      "of it are refused, without a line each (maxPerAddress)", {address = request.address})
    return exchange:say(429, "this address has as many connections as it may")
  end
  if not hosts.allow(listener, request, origins.domains(listener.settings.origins)) then
    return exchange:say(421, "this server does not know itself by this host's name; its log " ..
      "says how to change it")
  end
  if not wantsWebSocket(request) then return serve(exchange) end
  if not listener.settings.transports.websocket then
    return exchange:say(403, "this port takes no WebSockets")
  end
  if loop.isStopping() then return exchange:say(503, "stopping") end
  upgrade.take(exchange)
end

loop.on(C.SYNC_REQUEST, take)
loop.on(C.SYNC_FILE, found)
loop.on(C.SYNC_CLOSE, function(event) Exchange.take(event.id) end) -- the client has gone
