--- WebSocket's handshake (RFC 6455 section 4.2).
-- @module sync.http.upgrade

local Protocol = require "sync.protocol"
local auth = require "sync.auth"
local core = require "sync.core"
local deflate = require "sync.http.deflate"
local failure = require "sync.failure"
local headers = require "sync.http.headers"
local log = require "sync.log"
local loop = require "sync.loop"
local memory = require "sync.memory"
local origins = require "sync.http.origins"
local task = require "sync.task"

local C, handle = core.C, core.handle

local upgrade = {}

local MOST_REASON = 123 -- bytes that a Close frame has for it

local MESSAGES = "sync.message" -- the subprotocol: a binary frame is a message

-- The first of the client's subprotocols that the class speaks.
local function choose(class, offered)
  for name in (offered or ""):gmatch("[^%s,]+") do
    if name == MESSAGES or name == auth.SUBPROTOCOL and class.auth then return name end
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

-- Asks whose token it is, and then the class. Both may wait.
local function judge(class, request)
  local status, text = auth.handshake(class, request)
  if status then return status, text end
  return ask(class, request)
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

-- Answers with 101: the connection is a WebSocket from now on. Returns whether it was there still.
local function accept(exchange)
  local request = exchange.request
  local class, settings = exchange.listener.class, exchange.listener.settings
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

local function connect(exchange)
  if not accept(exchange) then return end
  loop.connect(exchange.slot, exchange.listener, exchange.request)
  memory.keepPace()
end

-- A page is told neither a status nor a text of an answer that refuses its WebSocket: so the
-- WebSocket is opened, and closed by a code that says the same.
local CLOSING = {[401] = auth.UNAUTHORIZED, [403] = auth.FORBIDDEN}

local function refuse(exchange, status, text, more)
  local code = CLOSING[status]
  if code and auth.isPage(exchange.request) and accept(exchange) then
    text = text or "refused"
    return C.sync_end(handle, exchange.slot, code, text, math.min(#text, MOST_REASON))
  end
  if status == 401 then more = more or {["WWW-Authenticate"] = "Bearer"} end
  if status == 503 then more = more or {["Retry-After"] = "1"} end
  exchange:say(status, text or "refused", more)
end

-- Handshakes that wait are tasks.

local waiting = setmetatable({}, {__mode = "k"}) -- how many, by class

local Handshake = task.kind {}

function Handshake:leave()
  if self.hasWaited then return end
  self.hasWaited = true
  waiting[self.class] = (waiting[self.class] or 0) + 1
  self.exchange:wait()
end

function Handshake:ended(ok, status, text, more)
  local exchange = self.exchange
  if self.hasWaited then
    waiting[self.class] = waiting[self.class] - 1
    if not exchange:goOn() then return end
    if loop.isStopping() then return exchange:say(503, "stopping") end
  end
  if not ok then
    log.limited("error", "onUpgrade", ("error in a handshake of %s: %s"):format(
      self.class.className, failure.describe(status.raised)),
      {address = exchange.request.address, traceback = status.traceback})
    return exchange:say(getmetatable(status.raised) == task.Failure and 503 or 500)
  end
  if status then return refuse(exchange, status, text, more) end
  connect(exchange)
end

--- Takes a handshake: makes its connection a client, or says why not.
-- @tparam sync.http.exchange exchange
function upgrade.take(exchange)
  local request, listener = exchange.request, exchange.listener
  local class = listener.class
  local status, text, more = problem(request)
  if not status and not origins.allow(listener.settings.origins, request.origin,
    request.headers.host) then
    status, text = 403, origins.refuse(class, request)
  end
  if status then return exchange:say(status, text, more) end
  if not class.auth and class.onUpgrade == Protocol.onUpgrade then return connect(exchange) end
  if (waiting[class] or 0) >= class.maxHandshakes then
    return exchange:say(503, "too many handshakes wait; try again later", {["Retry-After"] = "1"})
  end
  task.start(Handshake, {exchange = exchange, class = class, limit = class.waitTimeout or nil},
    judge, class, request)
end

return upgrade
