--- Pages that every server has, by path: functions of an exchange, which they answer. One
-- that returns false has nothing there.
-- @module sync.http.pages

local drain = require "sync.drain"
local loop = require "sync.loop"
local origins = require "sync.http.origins"
local policy = require "sync.flash.policy"
local ruffle = require "sync.flash.ruffle"
local shedding = require "sync.shedding"

local pages = {}

-- Whether the server is about to end.
local function ending()
  return loop.isStopping() and "stopping" or drain.isOn() and "draining" or nil
end

local function tell(exchange, problem)
  exchange:say(problem and 503 or 200, problem or "ok", {["Cache-Control"] = "no-store"})
end

pages["/healthz"] = function(exchange) tell(exchange, ending()) end

-- Whether clients are accepted, too.
pages["/readyz"] = function(exchange)
  tell(exchange, ending() or shedding.holds() and "memory is near its limit" or nil)
end

-- The JavaScript client, and the files that it imports.
for path, name in pairs {
  ["/sync.js"] = "clientjs", ["/sync-room.js"] = "roomjs", ["/sync-state.js"] = "statejs",
} do
  pages[path] = function(exchange)
    exchange:respond(200, {
      ["Content-Type"] = "text/javascript; charset=utf-8",
      ["Cache-Control"] = "no-cache",
      ["Access-Control-Allow-Origin"] = "*", -- it holds no secret: pages elsewhere load it, too
    }, require("sync.http." .. name))
  end
end

pages["/crossdomain.xml"] = function(exchange)
  local domains = origins.domains(exchange.listener.settings.origins)
  if not domains then return false end
  exchange:respond(200, {["Content-Type"] = "text/x-cross-domain-policy"},
    policy.writeForHttp(domains))
end

-- The configuration for Ruffle that fits the page's host.
pages["/ruffle-config.js"] = function(exchange)
  local request = exchange.request
  local name = request.headers.host or ""
  local host, port = name:gsub(":%d*$", ""), tonumber(name:match(":(%d+)$"))
  local front = request.proxied and
    {listener = exchange.listener, port = port or request.secure and 443 or 80}
  exchange:respond(200, {
    ["Content-Type"] = "text/javascript; charset=utf-8",
    ["Cache-Control"] = "no-cache",
  }, ruffle.script(loop.listeners, host ~= "" and host or nil, request.secure,
    front))
end

return pages
