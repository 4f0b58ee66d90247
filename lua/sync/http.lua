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
-- It returns a status (200 when left out), a body (a string, or a table that goes out as
-- JSON) and a table of headers. An error in it is logged and answered with 500.
--
-- **A request** has `method`, `target` (as it came), `path` (decoded), `query` (as it came),
-- `params` (of the route's path and the query's, decoded), `headers` (by lower-case name;
-- repeated ones joined by commas), `body`, `origin`, `address`, `port`, `secure`.
-- @module sync.http

local core = require "sync.core"
local hosts = require "sync.hosts"
local log = require "sync.log"
local loop = require "sync.loop"
local memory = require "sync.memory"
local origins = require "sync.origins"
local policy = require "sync.policy"
local ruffle = require "sync.ruffle"
local upgrade = require "sync.upgrade"
local web = require "sync.web"

local C, handle = core.C, core.handle

local http = {}

local function decode(text)
  return (text:gsub("%%(%x%x)", function(hex) return string.char(tonumber(hex, 16)) end))
end

-- The parameters of a query string; of one that is repeated, the first.
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
local function parse(slot, head, body)
  local method, target, version, rest = head:match("^(%S+) (%S+) (%S+)\n(.*)$")
  local headers = {}
  for name, value in rest:gmatch("([^\n:]+): ([^\n]*)\n") do
    local before = headers[name]
    headers[name] = before and before .. ", " .. value or value
  end
  local address, port = core.peer(slot)
  local whole = target:gsub("^%w+://[^/?]*", "")
  local path, query = whole:match("^([^?]*)%??(.*)$")
  return {
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
  }
end

-- Whether the client wants to send its next request on this connection (RFC 9112 9.3).
local function keepsAlive(request)
  local connection = (request.headers.connection or ""):lower()
  for token in connection:gmatch("[^%s,]+") do
    if token == "close" then return false end
    if token == "keep-alive" then return true end
  end
  return request.version ~= "1.0"
end

-- Header values go out as they are, so they must not hold a line's end.
local function headerLine(name, value)
  value = tostring(value)
  if name:find("[^%w!#$%%&'*+.^_`|~-]") or value:find("[%c]") then
    error(("header %q: names are tokens, and values are one line"):format(name), 0)
  end
  return ("%s: %s\r\n"):format(name, value)
end

-- A response's head. `given` is a table of headers, or an ordered list of {name, value}.
local function responseHead(request, status, given, length, keep)
  local lines = {("HTTP/1.1 %d %s\r\n"):format(status, web.reason(status))}
  local function add(name, value) lines[#lines + 1] = headerLine(name, value) end
  for name, value in pairs(given) do
    if type(name) == "number" then add(value[1], value[2]) else add(name, value) end
  end
  if length then add("Content-Length", length) end
  add("Date", web.date(os.time()))
  if not keep then
    add("Connection", "close")
  elseif request.version == "1.0" then
    add("Connection", "keep-alive")
  end
  lines[#lines + 1] = "\r\n"
  return table.concat(lines)
end

-- A page of another site that `origins` lets in may read the answer.
local function allowOrigin(listener, request, headers)
  local origin = request.origin
  if origin and origins.allow(listener.settings.origins, origin, request.headers.host) then
    headers["Access-Control-Allow-Origin"] = origin
    headers["Vary"] = "Origin"
    return true
  end
  return false
end

local function respond(slot, listener, request, status, headers, body)
  allowOrigin(listener, request, headers)
  local keep = keepsAlive(request) and not loop.isStopping()
  local bodiless = status == 204 or status == 304
  local bytes = responseHead(request, status, headers, not bodiless and #body or nil, keep)
  if request.method ~= "HEAD" and not bodiless then bytes = bytes .. body end
  local sent = C.sync_respond(handle, slot, bytes, #bytes, keep and 1 or 0)
  if sent == C.SYNC_TOO_LONG then
    log.limited("error", "response", ("the response to %s %s is %d bytes long, more than " ..
      "maxQueue: it was answered with 500"):format(request.method, request.path, #bytes))
    bytes = responseHead(request, 500, {}, 0, false)
    C.sync_respond(handle, slot, bytes, #bytes, 0)
  end
end

-- Answers with a line of text.
local function say(slot, listener, request, status, text, headers)
  local all = {["Content-Type"] = "text/plain; charset=utf-8"}
  for name, value in pairs(headers or {}) do all[name] = value end
  respond(slot, listener, request, status, all, (text or web.reason(status)) .. "\n")
end

-- Status, headers and body from what a route has returned.
local function result(status, body, headers)
  if type(status) ~= "number" then status, body, headers = 200, status, body end
  local all = {}
  for name, value in pairs(type(headers) == "table" and headers or {}) do all[name] = value end
  local kind
  if type(body) == "table" then
    body, kind = require "cjson".encode(body), "application/json"
  elseif body == nil then
    body = ""
    if status == 200 then status = 204 end
  else
    body, kind = tostring(body), "text/plain; charset=utf-8"
  end
  local named = false
  for name in pairs(all) do named = named or tostring(name):lower() == "content-type" end
  if kind and not named then all["Content-Type"] = kind end
  return status, all, body
end

-- The parameters of a path that fits a pattern, or nil.
local function fits(pattern, path)
  local params = {}
  local rest = path
  for segment in pattern:gmatch("/([^/]*)") do
    local value, behind = rest:match("^/([^/]*)(.*)$")
    if not value then return nil end
    if segment:sub(1, 1) == ":" and value ~= "" then
      params[segment:sub(2)] = value
    elseif segment ~= value then
      return nil
    end
    rest = behind
  end
  return rest == "" and params or nil
end

-- Calls `visit(method, pattern, fn)` for the routes of a class and of those it extends,
-- until it returns true.
local function eachRoute(class, visit)
  local level = class
  while level do
    for route, fn in pairs(rawget(level, "routes") or {}) do
      local method, pattern = route:match("^(%u+) (/.*)$")
      if method and visit(method, pattern, fn) then return end
    end
    level = level.super
  end
end

-- The route for a request; one without parameters goes before one with.
-- Returns its function, or nil and the methods that the path has.
local function findRoute(class, request)
  local found, foundParams
  local methods = {}
  eachRoute(class, function(method, pattern, fn)
    local params = fits(pattern, request.path)
    if not params then return end
    methods[method] = true
    local right = method == request.method or method == "GET" and request.method == "HEAD"
    if right and (not found or next(params) == nil) then
      found, foundParams = fn, params
      return next(params) == nil
    end
  end)
  for name, value in pairs(foundParams or {}) do request.params[name] = value end
  return found, methods
end

local function listMethods(methods)
  local list = {"OPTIONS"}
  for method in pairs(methods) do list[#list + 1] = method end
  if methods.GET then list[#list + 1] = "HEAD" end
  table.sort(list)
  return table.concat(list, ", ")
end

-- A browser asks before it sends a request that a page of another site makes (CORS).
local function preflight(slot, listener, request, methods)
  local headers = {Allow = listMethods(methods)}
  if allowOrigin(listener, request, headers) then
    headers["Access-Control-Allow-Methods"] = headers.Allow
    headers["Access-Control-Allow-Headers"] = "content-type"
    headers["Access-Control-Max-Age"] = "600"
  end
  respond(slot, listener, request, 204, headers, "")
end

local function callRoute(slot, listener, request, route)
  local ok, status, headers, body = xpcall(function()
    return result(route(request))
  end, debug.traceback)
  if not ok then
    log.limited("error", "route", ("error in the route of %s %s: %s")
      :format(request.method, request.path, tostring(status)), {address = request.address})
    return say(slot, listener, request, 500)
  end
  local fine, message = pcall(respond, slot, listener, request, status, headers, body)
  if not fine then
    log.limited("error", "route", ("the route of %s %s: %s")
      :format(request.method, request.path, tostring(message)))
    say(slot, listener, request, 500)
  end
end

-- A function that answers a request now or later, once; it does nothing when the client has
-- gone meanwhile.
local function answerOnce(slot, listener, request)
  local waiting = {listener = listener, request = request}
  loop.requests[slot] = waiting
  return function(status, headers, body)
    if loop.requests[slot] ~= waiting then return end
    loop.requests[slot] = nil
    respond(slot, listener, request, status, headers, body)
  end
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

local function health(slot, listener, request)
  local stopping = loop.isStopping()
  say(slot, listener, request, stopping and 503 or 200, stopping and "stopping" or "ok",
    {["Cache-Control"] = "no-store"})
end

-- What a visitor of a server without pages is told.
local function nothingHere(slot, listener, request)
  local class = listener.class
  if request.path == "/" and listener.settings.transports.websocket then
    return say(slot, listener, request, 426, ("This is %s, a server for WebSocket and byte " ..
      "streams; there is no page here."):format(class.name), {Upgrade = "websocket"})
  end
  say(slot, listener, request, 404, "there is nothing at " .. request.path:gsub("%c", "?"))
end

-- The configuration for Ruffle that fits the page's host.
local function sayRuffle(slot, listener, request)
  local host = (request.headers.host or ""):gsub(":%d*$", "")
  respond(slot, listener, request, 200, {
    ["Content-Type"] = "text/javascript; charset=utf-8",
    ["Cache-Control"] = "no-cache",
  }, ruffle.script(loop.listeners, host ~= "" and host or nil, request.secure))
end

-- Looks for the file of a request; `http.fileFound` goes on.
local function openFile(slot, listener, request)
  local path, status, why = web.path(request.target)
  if not path then return say(slot, listener, request, status, why) end
  if C.sync_file_open(handle, slot, path) < 0 then return say(slot, listener, request, 503) end
  loop.requests[slot] = {listener = listener, request = request}
end

-- The path of a folder with the slash that was left out. One slash at the beginning, for
-- two would name another host.
local function withSlash(request)
  local path, query = request.target:gsub("^%w+://[^/?]*", ""):match("^/*([^?]*)(.*)$")
  return "/" .. path .. "/" .. query
end

local function sendFile(slot, listener, request, file)
  local status, list, offset, length = web.answer(request, file)
  local headers = {}
  for _, header in ipairs(list) do headers[header[1]] = header[2] end
  allowOrigin(listener, request, headers)
  local keep = keepsAlive(request) and not loop.isStopping()
  local head = responseHead(request, status, headers, nil, keep)
  if length == 0 then
    C.sync_respond(handle, slot, head, #head, keep and 1 or 0)
  else
    C.sync_respond_file(handle, slot, head, #head, offset, length, keep and 1 or 0)
  end
end

-- The file of a request was found, or not. The loop calls it.
function http.fileFound(slot, failure, text)
  local waiting = loop.requests[slot]
  if not waiting then return end
  loop.requests[slot] = nil
  local listener, request = waiting.listener, waiting.request
  if failure == 404 and request.path == "/ruffle.js" then
    return sayRuffle(slot, listener, request)
  elseif failure ~= 0 then
    return say(slot, listener, request, failure)
  end
  local size, mtime, nanoseconds, slash, path = text:match("^(%d+) (%-?%d+) (%d+) (%d) (.*)$")
  if slash == "1" then
    return say(slot, listener, request, 301, nil, {Location = withSlash(request)})
  end
  sendFile(slot, listener, request, {path = path, size = tonumber(size),
    mtime = tonumber(mtime), mtimeNs = tonumber(nanoseconds)})
end

local function serve(slot, listener, request)
  if not listener.settings.transports.http then
    return say(slot, listener, request, 426, "this port is for WebSockets",
      {Upgrade = "websocket"})
  end
  local route, methods = findRoute(listener.class, request)
  if route then return callRoute(slot, listener, request, route) end
  if listener.settings.panel and (request.method == "GET" or request.method == "HEAD") then
    local status, headers, body = require "sync.panel".answer(listener, request)
    if status then return respond(slot, listener, request, status, headers, body) end
  end
  local take = listener.class:takesRequest(request)
  if take then
    return take(listener.class, request, answerOnce(slot, listener, request), listener)
  end
  if request.method == "OPTIONS" then
    for method in pairs(listener.class.methodsTaken) do methods[method] = true end
    if listener.settings.web or request.path == "/healthz" then methods.GET = true end
    return preflight(slot, listener, request, methods)
  end
  if next(methods) then
    return say(slot, listener, request, 405, nil, {Allow = listMethods(methods)})
  end
  local reads = request.method == "GET" or request.method == "HEAD"
  if request.path == "/healthz" and reads then return health(slot, listener, request) end
  if reads and request.path == "/sync.js" then
    return respond(slot, listener, request, 200, {
      ["Content-Type"] = "text/javascript; charset=utf-8",
      ["Cache-Control"] = "no-cache",
      ["Access-Control-Allow-Origin"] = "*", -- it holds no secret: pages elsewhere load it, too
    }, require "sync.clientjs")
  end
  if reads and request.path == "/crossdomain.xml" then
    local domains = origins.domains(listener.settings.origins)
    if domains then
      return respond(slot, listener, request, 200,
        {["Content-Type"] = "text/x-cross-domain-policy"}, policy.writeForHttp(domains))
    end
  end
  if reads and request.path == "/ruffle-config.js" then
    return sayRuffle(slot, listener, request)
  end
  if listener.settings.web then
    if reads then return openFile(slot, listener, request) end
    return say(slot, listener, request, 405, nil, {Allow = "GET, HEAD, OPTIONS"})
  end
  if reads and request.path == "/ruffle.js" then return sayRuffle(slot, listener, request) end
  nothingHere(slot, listener, request)
end


-- Handles one request. The loop calls it.
function http.handle(slot, listener, head, body)
  local request = parse(slot, head, body)
  if not hosts.allow(listener, request, origins.domains(listener.settings.origins)) then
    return say(slot, listener, request, 421, "this server does not know itself by this host's " ..
      "name; its log says how to change it")
  end
  if not wantsWebSocket(request) then return serve(slot, listener, request) end
  if not listener.settings.transports.websocket then
    return say(slot, listener, request, 403, "this port takes no WebSockets")
  end
  if loop.isStopping() then return say(slot, listener, request, 503, "stopping") end
  local accepted, status, text, headers = upgrade.accept(slot, listener, request)
  if accepted then
    loop.connect(slot, listener, request)
    memory.keepPace()
  elseif status then
    say(slot, listener, request, status, text, headers)
  end
end

loop.onRequest, loop.onFile = http.handle, http.fileFound

return http
