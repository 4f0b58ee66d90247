--- Routes: the functions of a class that answer HTTP requests, by method and path.
-- @module sync.http.routes

local failure = require "sync.failure"
local headers = require "sync.http.headers"
local json = require "sync.json"
local log = require "sync.log"
local refusal = require "sync.http.refusal"
local task = require "sync.task"
local waits = require "sync.waits"

local routes = {}

local function asJson(value)
  local text, problem = json.encode(value)
  return text or error("its body can't be JSON: " .. problem, 0)
end

-- Status, headers and body from what a route has returned.
local function result(status, body, given)
  if type(status) ~= "number" then status, body, given = 200, status, body end
  local list = headers.list(given or {})
  local kind
  if type(body) == "table" then
    body, kind = asJson(body), "application/json"
  elseif body == nil then
    body = ""
    if status == 200 then status = 204 end
  else
    body, kind = tostring(body), "text/plain; charset=utf-8"
  end
  if kind and not headers.find(list, "Content-Type") then
    list[#list + 1] = {"Content-Type", kind}
  end
  return status, list, body
end

-- The parameters of a path that fits a pattern, or nil.
local function fits(pattern, path)
  local params = {}
  local rest = path
  for segment in pattern:gmatch("/([^/]*)") do
    if segment:sub(1, 1) == "*" then
      if rest:sub(1, 1) ~= "/" then return nil end
      params[segment == "*" and "*" or segment:sub(2)] = rest:sub(2)
      return params
    end
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

-- Of two routes that fit, the one with the higher rank is taken.
local function rankOf(pattern)
  if pattern:find("/*", 1, true) then return #pattern end
  return pattern:find("/:", 1, true) and 2 ^ 30 or 2 ^ 31
end

--- What is wrong with the routes of a class, and of those it extends.
-- @treturn string|nil
function routes.problem(class)
  local level = class
  while level do
    for route, fn in pairs(rawget(level, "routes") or {}) do
      local path = type(route) == "string" and route:match("^%u+ (/%S*)$")
      if not path or path:find("/%*.-/") then
        return ("%s.routes[%q]: a route is a method in capitals, a space and a path, as in " ..
          '"GET /scores"; a star stands in the last segment alone'):format(level.className,
          tostring(route))
      elseif type(fn) ~= "function" then
        return ("%s.routes[%q] must be a function, not %s"):format(level.className, route, type(fn))
      end
    end
    level = level.super
  end
end

--- The route for a request: one without parameters goes before one with, and that before one of
-- a prefix, of which the longest is taken.
-- Returns its function, or nil and the methods that the path has.
function routes.find(class, request)
  local found, foundParams
  local best = 0
  local methods = {}
  eachRoute(class, function(method, pattern, fn)
    local params = fits(pattern, request.path)
    if not params then return end
    methods[method] = true
    local right = method == request.method or method == "GET" and request.method == "HEAD"
    local rank = right and rankOf(pattern) or 0
    if rank > best then
      best, found, foundParams = rank, fn, params
      return next(params) == nil
    end
  end)
  for name, value in pairs(foundParams or {}) do request.params[name] = value end
  return found, methods
end

--- The methods of a set, as an Allow header lists them.
function routes.list(methods)
  local list = {"OPTIONS"}
  for method in pairs(methods) do list[#list + 1] = method end
  if methods.GET then list[#list + 1] = "HEAD" end
  table.sort(list)
  return table.concat(list, ", ")
end

-- Routes may wait: each is a task. One that has waited may find that its client has gone.

local Answer = task.kind {}

function Answer:leave()
  if self.hasWaited then return end
  self.hasWaited = true
  waits.count(self.class, 1)
  self.exchange:wait()
end

local function failed(exchange, message, traceback)
  local request = exchange.request
  log.limited("error", "route", ("error in the route of %s %s: %s%s"):format(request.method,
    request.path, message, traceback and "\n" .. traceback or ""), {address = request.address})
  exchange:say(500)
end

function Answer:ended(ok, status, list, body)
  local exchange = self.exchange
  if self.hasWaited then
    waits.count(self.class, -1)
    if not exchange:goOn() then return end
  end
  if not ok then
    local raised = status.raised
    if refusal.is(raised) then return exchange:say(raised.status, raised.text) end
    if getmetatable(raised) ~= task.Failure then
      return failed(exchange, failure.describe(status.raised), status.traceback)
    end
    log.limited("warn", "route", ("the route of %s %s: %s"):format(exchange.request.method,
      exchange.request.path, status.raised.message))
    return exchange:say(503, "the answer has taken too long")
  end
  local fine, message = pcall(exchange.respond, exchange, status, list, body)
  if not fine then failed(exchange, tostring(message)) end
end

local function run(route, request) return result(route(request)) end

--- Answers an exchange by a route.
function routes.call(exchange, route)
  local class = exchange.listener.class
  if waits.isFull(class) then
    return exchange:say(503, "too many requests wait; try again later", {["Retry-After"] = "1"})
  end
  task.start(Answer, {exchange = exchange, class = class, limit = class.waitTimeout or nil}, run,
    route, exchange.request)
end

return routes
