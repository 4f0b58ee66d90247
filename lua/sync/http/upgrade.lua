--- WebSocket's handshake (RFC 6455 section 4.2).
-- @module sync.http.upgrade

local core = require "sync.core"
local deflate = require "sync.http.deflate"
local headers = require "sync.http.headers"
local origins = require "sync.http.origins"

local C, handle = core.C, core.handle

local upgrade = {}

local MESSAGES = "sync.message" -- the subprotocol: a binary frame is a message

-- The first of the client's subprotocols that the class speaks.
local function choose(class, offered)
  for name in (offered or ""):gmatch("[^%s,]+") do
    if name == MESSAGES then return name end
    for _, known in ipairs(class.subprotocols) do
      if name == known then return name end
    end
  end
end

-- Whether a query string has a word as a key.
local function hasKey(query, key)
  for pair in query:gmatch("[^&]+") do
    if pair == key or pair:sub(1, #key + 1) == key .. "=" then return true end
  end
  return false
end

-- Checks what the RFC asks of a request. Returns nil, or a status, text and headers.
local function problem(request)
  local given = request.headers
  if given["sec-websocket-version"] ~= "13" then
    return 426, "this server speaks WebSocket version 13", {["Sec-WebSocket-Version"] = "13"}
  end
  local key = given["sec-websocket-key"] or ""
  if not key:find("^[%w+/]+==$") or #key ~= 24 then
    return 400, "Sec-WebSocket-Key must be 16 bytes in base64"
  end
end

-- Asks the class. Returns nil, or a status, a text and headers.
local function ask(class, request)
  local answer, text, more = class:onUpgrade(request)
  if answer == nil or answer == true then
    for name, value in pairs(more or {}) do request:setHeader(name, value) end
    return nil
  end
  if type(answer) == "number" and answer >= 400 and answer <= 599 then
    return answer, text, more
  end
  return 403, text, more
end

local function head(request, subprotocol, extensions)
  local lines = {
    "HTTP/1.1 101 Switching Protocols",
    "Upgrade: websocket",
    "Connection: Upgrade",
    "Sec-WebSocket-Accept: " .. core.websocketAccept(request.headers["sec-websocket-key"]),
  }
  if subprotocol then lines[#lines + 1] = "Sec-WebSocket-Protocol: " .. subprotocol end
  if extensions then lines[#lines + 1] = "Sec-WebSocket-Extensions: " .. extensions end
  return table.concat(lines, "\r\n") .. "\r\n" .. headers.write(request.answers or {}) .. "\r\n"
end

-- Whether a binary frame is a message, whatever the framing: the client says so, or the class takes
-- such messages beside calls.
local function takesMessages(class, settings, subprotocol)
  return subprotocol == MESSAGES or
    class.remote and class.onBinary and settings.encoding ~= "amf3"
end

--- Accepts a handshake, or says why not.
-- @tparam sync.http.exchange exchange
-- @treturn boolean true when the connection is a WebSocket now, or false with a status, a text and
-- headers to answer with
function upgrade.accept(exchange)
  local request = exchange.request
  local class, settings = exchange.listener.class, exchange.listener.settings
  local status, text, more = problem(request)
  if not status and not origins.allow(settings.origins, request.origin, request.headers.host) then
    status, text = 403, origins.refuse(class, request)
  end
  if not status then status, text, more = ask(class, request) end
  if status then return false, status, text or "refused", more end
  local subprotocol = choose(class, request.headers["sec-websocket-protocol"])
  local extensions, agreed
  local offered = request.headers["sec-websocket-extensions"]
  if settings.compression and offered then
    extensions, agreed = deflate.negotiate(offered, settings)
  end
  request.subprotocol = subprotocol
  local accepted = core.websocket {
    mode = takesMessages(class, settings, subprotocol) and C.SYNC_WEBSOCKET_MESSAGES or
      C.SYNC_WEBSOCKET_MIRROR,
    binary = (settings.binary or hasKey(request.query, "stream")) and 1 or 0,
    deflate = agreed and 1 or 0,
    send_window_bits = agreed and agreed.sendBits or 0,
    receive_window_bits = agreed and agreed.receiveBits or 0,
    send_takeover = agreed and agreed.sendTakeover and 1 or 0,
    receive_takeover = agreed and agreed.receiveTakeover and 1 or 0,
  }
  local bytes = head(request, subprotocol, extensions)
  return C.sync_upgrade(handle, exchange.slot, bytes, #bytes, accepted) == 0
end

return upgrade
