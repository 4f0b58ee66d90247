--- Settings of protocols for WebSocket, HTTP and Flash's policies: fields of `sync.Protocol`.
-- @module sync.http.settings

local Protocol = require "sync.protocol"
local compiler = require "sync.jit"
local core = require "sync.core"
local cors = require "sync.http.cors"
local hosts = require "sync.http.hosts"
local options = require "sync.options"
local origins = require "sync.http.origins"
local policy = require "sync.flash.policy"
local proxies = require "sync.http.proxies"
local ruffle = require "sync.flash.ruffle"

local C, handle = core.C, core.handle
local setting, settings = options.setting, {}
local seconds, orFalse = options.seconds, options.orFalse

-- Seconds for a client to say what it is. Chromium keeps a spare connection for ten.
local DETECT, DETECT_BESIDE_PAGES = 0.25, 15

-- Whether a browser may ask a listener for pages.
local function servesPages(class, all)
  local level = class
  while level do
    if next(rawget(level, "routes") or {}) then return true end
    level = level.super
  end
  return (all.web or all.panel) and true or false
end

--- Seconds until a client that says nothing counts as one of the byte stream, so that a
-- server that speaks first may speak; false: 0.25, or 15 where pages are served (`web`,
-- `routes`, `panel`), for browsers open spare connections and say nothing on them for a while.
settings.detectTimeout = setting {false, orFalse(seconds), core = "detect_timeout",
  forCore = function(value, all, class)
    local pages = all.transports.http and servesPages(class, all)
    return seconds.forCore(value or pages and DETECT_BESIDE_PAGES or DETECT)
  end}

--- Which sites' pages and movies may connect: false (those of the same host, from any port that
-- this process listens on), "*" (all), or a list of exactly those that may, as in
-- {"https://game.example.com", "https://*.example.org"}. Programs that are no browsers say no
-- origin, and are let in.
settings.origins = setting {false, {check = origins.check}}
--- The server's own names, of which an HTTP request must give one (Host), as in
-- {"game.example.com"}; false: any, but for requests from this machine or its network that
-- came through no proxy, as `sync.http.hosts` says.
settings.hosts = setting {false, {check = hosts.check}}
--- Ports that a Flash policy lets movies use; false: those that are enabled.
settings.policyPorts = setting {false,
  {check = function(value)
    if value == false then return true end
    local ports, message = policy.ports(value, 0)
    return ports ~= nil, message or "false, a list of ports and ranges, or \"*\""
  end}}
--- What movies ask for that Ruffle plays, where that is not this listener's own name and port:
-- `{asks = {{"game.example.com", 9604}, {"*", "9600-9610"}}}`; see `sync.ruffle`.
settings.ruffle = setting {false, {check = ruffle.check}}

--- Networks of proxies, as in {"10.0.0.0/8", "2001:db8::/32", "unix"}; false: none. What they
-- say of their clients is believed (X-Forwarded-For, -Proto and -Host, or Forwarded; the PROXY
-- protocol): the address, also as to `maxPerAddress`, whether it's https, and the host.
settings.proxies = setting {false, {check = proxies.check}, open = proxies.open}

--- A WebSocket that has sent nothing yet is answered in binary instead of text.
settings.binary = setting {false, options.boolean}
--- Subprotocols of WebSocket that the class speaks, best first.
settings.subprotocols = setting {{}, options.listOf("a list of names"), onClass = true}
--- Seconds of silence until a WebSocket is sent a ping, and a byte stream its class's `ping`;
-- false: never.
settings.pingInterval = setting {25, orFalse(seconds), core = "ping_interval"}
--- Seconds from a ping to a sign of life, else the client is closed; false: any time.
settings.pongTimeout = setting {10, orFalse(seconds), core = "pong_timeout"}
--- Whether messages of WebSockets are compressed where the client can do it.
settings.compression = setting {true, options.boolean}
--- Shorter messages, in bytes, are never compressed.
settings.compressFrom = setting {512, options.bytes(1), core = "compress_from",
  forCore = function(value, all) return all.compression and value or 0 end}
--- Whether a compressed message to a WebSocket may refer to those before: packs small
-- messages that are alike better, costs about 150 KB for each client while it is used, and
-- what goes to many clients still is compressed once.
settings.sendTakeover = setting {false, options.boolean}
--- The same for messages of a client: costs about 40 KB for each that uses it.
settings.receiveTakeover = setting {false, options.boolean}

--- What pages of `origins` may do by CORS beside reading answers: `credentials = true` (their
-- requests carry cookies), `headers` (those that they may send, instead of content-type),
-- `expose` (those of answers that they may read), `maxAge` (seconds that a browser keeps this;
-- 600). false: none of that.
settings.cors = setting {false, {check = cors.check}, conflict = cors.conflict}

--- Longest head of an HTTP request, in bytes.
settings.maxHead = setting {8192, options.wholeNumber(256, 2 ^ 20, "bytes"), core = "max_head"}
--- Most headers of an HTTP request.
settings.maxHeaders = setting {64, options.wholeNumber(1, 1000), core = "max_headers"}
--- Longest body of an HTTP request, in bytes.
settings.maxBody = setting {64 * 1024, options.bytes(0), core = "max_body"}

--- Most fields of a form (`request.form`): more are 413.
settings.maxFields = setting {100, options.wholeNumber(1, 10 ^ 5)}
--- Longest name of a field, in bytes.
settings.maxFieldName = setting {256, options.wholeNumber(1, 65536, "bytes")}
--- Longest field, in bytes, files included; false: `maxBody` bounds them all.
settings.maxField = setting {false, orFalse(options.bytes(0))}

local function isPath(value)
  return type(value) == "string" and value ~= ""
end

-- Folders of files, and beside them how they are asked for.
local function isWeb(value)
  if type(value) ~= "table" then return value == false or isPath(value) end
  for key, item in pairs(value) do
    local fine = type(key) == "number" and isPath(item) or
      (key == "post" or key == "anyCase") and type(item) == "boolean"
    if not fine then return false end
  end
  return #value > 0
end

--- A folder whose files are served over HTTP, or a list of folders, the first of which that has
-- a file gives it; false: none. Beside them, `post = true` lets POST ask for a file, as
-- ActionScript 2's sendAndLoad does, and `anyCase = true` finds files whatever the case.
settings.web = setting {false,
  {check = function(value)
    return isWeb(value), "false, a folder's path, or a list of paths; beside them post = true " ..
      "and anyCase = true"
  end},
  read = function(value) return type(value) == "string" and {value} or value end,
  open = function(listener, web)
    for _, path in ipairs(web) do
      local failure = C.sync_listener_root(handle, listener.id, path)
      if failure < 0 then
        return false, ("the folder %q can't be served: %s"):format(path, select(2,
          core.problem(failure)))
      end
    end
    return true
  end}
--- A token of 8 letters or more, with which operators see `/panel`, `/panel.json` and
-- `/metrics`; false: there is no panel. See `sync.http.panel`.
settings.panel = setting {false,
  {check = function(value)
    return value == false or type(value) == "string" and #value >= 8,
      "false, or a token of 8 letters or more"
  end},
  open = function()
    compiler.watch()
    return true
  end}

--- A secret of 16 letters or more, without spaces, and not the panel's, by which operators reach
-- the console as `POST /console`, over TLS alone; false: they don't. See `sync.http.operators`.
settings.console = setting {false,
  {check = function(value)
    return value == false or type(value) == "string" and value:find "^%S+$" ~= nil and
      #value >= 16, "false, or a secret of 16 letters or more, without spaces"
  end},
  conflict = function(all)
    if not all.console or all.console ~= all.panel then return nil end
    return "console and panel have the same secret: who may look isn't who may do everything"
  end}

options.declare(Protocol, settings)
