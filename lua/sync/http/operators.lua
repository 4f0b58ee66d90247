--- The console by a URL: `POST /console` of a listener with the setting `console`, a secret that is
-- not the panel's. It is taken by header alone and over TLS alone; a browser's page must be the
-- server's own. The body is a line, the answer what the console says to it.
--
-- What lines mean is known above: see `attach`.
-- @module sync.http.operators

local log = require "sync.log"
local origins = require "sync.http.origins"
local routes = require "sync.http.routes"

local PATH = "/console"
local MOST_LINE = 64 * 1024 -- bytes

local operators = {}

local run

--- Hands over what answers a line.
-- @tparam function fn called with who says it and the line; may wait; returns whether it was done,
-- a text, and what is wrong
function operators.attach(fn) run = fn end

local function hasSecret(request, secret)
  local given = (request.headers.authorization or ""):match "^[Bb]earer%s+(%S+)$"
  return given ~= nil and require "sync.secrets.crypto".equal(given, secret)
end

-- Why somebody is sent away: a status, a text, and headers. A secret that was sent without TLS is
-- not looked at.
local function objection(request, secret)
  if request.method ~= "POST" then
    return 405, "a line is sent by POST", {Allow = "POST"}
  elseif not request.secure then
    return 403, "the console is reached over TLS alone"
  elseif not origins.allow(false, request.origin, request.headers.host) then
    return 403, "pages of other sites have no business here"
  elseif not hasSecret(request, secret) then
    return 401, "the console wants its secret, by header: Authorization: Bearer …",
      {["WWW-Authenticate"] = "Bearer"}
  elseif #request.body > MOST_LINE then
    return 413, "a line has at most 64 KiB"
  end
end

local function answer(request)
  local done, text, problem = run({address = request.address}, request.body)
  local headers = {["Cache-Control"] = "no-store"}
  if done then return 200, text, headers end
  return 422, text .. "error: " .. tostring(problem) .. "\n", headers
end

--- Answers a request, if it's one for the console.
-- @treturn boolean whether it was
function operators.take(exchange)
  local request, secret = exchange.request, exchange.listener.settings.console
  if request.path ~= PATH then return false end
  local status, text, headers = objection(request, secret)
  if status then
    log.limited("warn", "console", "somebody came to the console by its URL and was refused: " ..
      text, {address = request.address, status = status})
    exchange:say(status, text, headers)
    return true
  end
  routes.call(exchange, answer)
  return true
end

return operators
