--- A protocol: the class you extend. The class is the server, an instance is one client.
--
--     local Echo = sync.Protocol:extend("Echo")
--     function Echo:onData(data) self:send(data) end
--     sync.enable("localhost", 8080, Echo)
--
-- **The life of a client.** `onConnect` is called first, then `onData` for each message,
-- `onDrain` when a queue that was full is empty again, and last `onClose`, always once.
-- When a handler raises an error, the error is logged, `onError` is called, and this client is
-- closed; others notice nothing. After `close` no more messages are delivered.
--
-- **Kinds.** A WebSocket's messages are text or binary. `onData` is told which, and `send` takes
-- which; by default a client is sent what it has itself sent, in the message that is handled or was
-- handled last.
--
-- **Settings** are fields of the class; an option of `sync.enable` goes before them. Those of
-- WebSocket and HTTP are in `sync.http.settings`; docs/settings.md has all.
--
-- @classmod sync.Protocol

local Class = require "sync.class"
local Set = require "sync.set"
local auth = require "sync.auth"
local core = require "sync.core"
local log = require "sync.log"
local loop = require "sync.loop"
local options = require "sync.options"
local packed = require "sync.packed"

local C, handle = core.C, core.handle

local Protocol = Class:extend("Protocol")

local setting, settings = options.setting, {}

-- Of addresses: a rate, which the core gets as microseconds, and a number of strikes.
local aSecond = options.orFalse {check = options.number(0.001, 10 ^ 5).check,
  forCore = function(value) return math.floor(10 ^ 6 / value) end}
local strikes = options.orFalse(options.wholeNumber(1, 10 ^ 6))
local seconds, orFalse = options.seconds, options.orFalse

--- How the byte stream is cut into messages: "raw" (chunks as they come), "null" (each
-- ends in NUL; Flash XMLSocket), "line" (LF, CR LF accepted), "length16", "length32"
-- (a big-endian length of so many bits before each), "length24le" (a little-endian one).
settings.framing = setting {"raw", core = "framing",
  options.oneOf({"raw", "null", "line", "length16", "length32", "length24le"}, "SYNC_FRAMING_")}
--- Longest message a client may send, in bytes. One that is longer closes it.
settings.maxMessage = setting {64 * 1024, options.bytes(1), core = "max_message"}
--- Most unsent bytes of a client; what happens then is `overflow`.
settings.maxQueue = setting {1024 * 1024, options.bytes(1024), core = "max_queue"}
--- Unsent bytes from which on `send` says "full"; false: half of maxQueue.
settings.highWater = setting {false, orFalse(options.bytes(1)), core = "high_water",
  forCore = function(value, all) return value or math.floor(all.maxQueue / 2) end,
  conflict = function(all)
    if not all.highWater or all.highWater <= all.maxQueue then return nil end
    return ("highWater (%d) is above maxQueue (%d)"):format(all.highWater, all.maxQueue)
  end}
--- At maxQueue: "close" the client, or "drop" the message.
settings.overflow = setting {"close", options.oneOf({"close", "drop"}, "SYNC_OVERFLOW_"),
  core = "overflow"}
--- Messages a second that a client may send; false: any. More is `onFlood`.
settings.messageRate = setting {false, core = "message_interval",
  orFalse {
    check = function(value)
      return type(value) == "number" and value >= 0.01 and value <= 10 ^ 6,
        "a number from 0.01 to 1,000,000"
    end,
    forCore = function(value) return math.ceil(10 ^ 6 / value) end,
  }}
--- Messages that may come at once, after a silence; false: `messageRate` of them.
settings.messageBurst = setting {false, orFalse(options.wholeNumber(1, 10 ^ 6)),
  core = "message_burst",
  forCore = function(value, all) return value or math.max(1, math.floor(all.messageRate or 1)) end}
--- At messageRate: "close" the client (a WebSocket by 1008), or "pause", that is to read its
-- messages no faster: they wait at the client.
settings.onFlood = setting {"close", options.oneOf({"close", "pause"}, "SYNC_FLOOD_"),
  core = "flood"}
--- Most connections of one address to this process, in IPv6 of one /64; false: any number.
-- More are refused by a reset. Loopback, link-local and private addresses and Unix sockets
-- aren't counted, for many may be behind them: a proxy on the same network counts itself.
settings.maxPerAddress = setting {1000, orFalse(options.wholeNumber(1, 10 ^ 7)),
  core = "max_per_address"}
--- Connections a second of one address, counted as above: 5 s of them may come at once, and more
-- are refused by a reset. false: any number.
settings.connectRate = setting {false, aSecond, core = "connect_interval"}
--- The same of handshakes of TLS, before they cost anything.
settings.handshakeRate = setting {false, aSecond, core = "handshake_interval"}
--- The same of what fails: handshakes of TLS, tokens that are refused, floods, and what
-- `client:failed()` is called for.
settings.failureRate = setting {false, aSecond, core = "failure_interval"}
--- What is beyond these rates is a strike, of which one is forgotten each second. Strikes at which
-- an address is told of in the log; false: never.
settings.warnAt = setting {1, strikes, core = "warn_at"}
--- At which its rates are a tenth.
settings.slowAt = setting {10, strikes, core = "slow_at"}
--- At which its connections are closed, and it may have none until its strikes are forgotten.
settings.kickAt = setting {30, strikes, core = "kick_at"}
--- At which it is banned (`sync.ban`), for `banTime` seconds.
settings.banAt = setting {60, strikes, core = "ban_at"}
settings.banTime = setting {600, options.seconds}
--- Most clients of a listener; false: the file limit less 64. More wait to be accepted; at
-- the file limit a listener that serves HTTP answers operators and refuses others.
settings.maxClients = setting {false, orFalse(options.wholeNumber(1, 10 ^ 7))}
--- Clients that may wait to be accepted.
settings.backlog = setting {1024, options.wholeNumber(1, 65535), core = "backlog"}
--- Seconds without a byte from the client until it is closed; false: never.
settings.idleTimeout = setting {false, orFalse(seconds), core = "idle_timeout"}
--- Seconds from the beginning to the end of a client's first message; false: any time.
settings.handshakeTimeout = setting {10, orFalse(seconds), core = "first_timeout"}
--- Seconds from the beginning to the end of a later message; false: any time.
settings.messageTimeout = setting {60, orFalse(seconds), core = "message_timeout"}
--- Seconds a client that is being closed has to read what is queued for it.
settings.closeTimeout = setting {5, seconds, core = "close_timeout"}
--- Seconds of silence until TCP asks whether the client is still there; false: never. One that
-- doesn't answer in half of that time again (at least 3 s), or takes nothing of what it is sent
-- in both together, is closed: "reset".
settings.keepalive = setting {60, orFalse(options.wholeNumber(1, 32767, "s")),
  core = "keepalive"}
--- What a client of a byte stream is sent after `pingInterval` of silence, in its framing; if
-- nothing comes for `pongTimeout`, it is closed: "silent". false: nothing, for only the class
-- knows what its clients answer.
settings.ping = setting {false,
  {check = function(value)
    return value == false or type(value) == "string" and value ~= "",
      "false, or a string that is no longer than a message may be"
  end},
  conflict = function(all)
    if not all.ping or #all.ping <= math.min(all.maxQueue - 4, 65535) then return nil end
    return ("ping has %d bytes, and may have %d"):format(#all.ping,
      math.min(all.maxQueue - 4, 65535))
  end,
  open = function(listener, value) return listener:setPing(value) end}
--- Most rooms that a client may be in.
settings.maxRooms = setting {64, options.wholeNumber(0, 10 ^ 6), onClass = true}

--- Seconds that a handler may wait in all (sync.waits), a remote function, a route and onUpgrade,
-- until an error is raised where they do; false: any time.
settings.waitTimeout = setting {30, orFalse(seconds), onClass = true}
--- Handlers of a class, remote functions and routes that wait at a time, in a process. At the
-- bound a call gets the fault -32000, a request 503, and a client whose message may wait is closed.
settings.maxWaiting = setting {10000, options.wholeNumber(1, 10 ^ 6), onClass = true}
--- Handshakes of a class that wait at a time (onUpgrade, auth), in a process; more get 503.
settings.maxHandshakes = setting {1000, options.wholeNumber(1, 10 ^ 6), onClass = true}

--- Fields of a client that go with it to the next version of the server (an upgrade), and, with
-- `resumeTime`, when it comes back to another node of a cluster, where it is another instance:
-- names, of values that JSON can say.
settings.resumeFields = setting {{}, options.listOf("a list of names"), onClass = true}

local TRANSPORTS = {tcp = C.SYNC_STREAMS, websocket = C.SYNC_WEBSOCKET, http = C.SYNC_HTTP,
  policy = C.SYNC_POLICY}
local someTransports = options.listOf('a list of "tcp", "websocket", "http", "policy"', TRANSPORTS)

local function transportBits(transports, all)
  local bits = all.tls and tonumber(C.SYNC_TLS) or 0
  if all.tls and all.tls.only then bits = bits + tonumber(C.SYNC_TLS_ONLY) end
  for name in pairs(transports) do bits = bits + tonumber(TRANSPORTS[name]) end
  return bits
end

--- What clients may use, on every port alike: a list of "tcp" (the byte stream), "websocket",
-- "http" (routes, web folder, /healthz) and "policy" (Flash policy requests).
settings.transports = setting {{"tcp", "websocket", "http", "policy"},
  {check = function(value)
    local ok, wanted = someTransports.check(value)
    return ok and #value > 0, wanted
  end},
  read = function(list)
    local set = {}
    for _, name in ipairs(list) do set[name] = true end
    return set
  end,
  core = "transports", forCore = transportBits}

local function isCertificate(value)
  return type(value) == "table" and type(value.certificate) == "string" and
    type(value.key) == "string"
end

local function isTls(value)
  if type(value) ~= "table" then return false end
  local files = value.certificate and {value} or value
  for _, file in ipairs(files) do
    if not isCertificate(file) then return false end
  end
  return #files > 0 and (value.minimum == nil or value.minimum == "1.2" or value.minimum == "1.3")
end

--- Encrypts (TLS 1.2 and 1.3): `{certificate = "FILE", key = "FILE"}`, in PEM, the
-- certificate's chain behind it; or a list of such, of which a client gets the one for the
-- name it asks for, else the first. Clients may still come without TLS on the same port,
-- but not with `only = true` beside them. `minimum = "1.3"` refuses TLS 1.2. The files are
-- read again by `sync.reloadCertificates` and SIGHUP.
settings.tls = setting {false,
  {check = function(value)
    return value == false or isTls(value), 'false, {certificate = "FILE", key = "FILE"}, or a ' ..
      'list of such; beside them, only = true refuses plain clients, and minimum = "1.3"'
  end},
  open = function(listener) return listener:loadCertificates() end}

options.declare(Protocol, settings)

--- What HTTP requests are answered with: functions by "METHOD /path". See `sync.http`.
Protocol.routes = {}

-- What its `clients` and its rooms are.
Protocol.Set = Set

Protocol.keptByReload = {"clients", "roomsByName"}

-- Whether its instances are connections to other nodes, and no clients: they end last.
Protocol.isLink = false

-- Functions of a client that wait; and what it has gone for, while they do.
Protocol._underWay = 0
Protocol._departure = false

-- Whether a message may be a batch, a JSON array: in what a tick takes of a client, each of
-- its elements then counts as a message.
Protocol.countsCalls = false

local MOST_REASON = 123 -- bytes, of which a WebSocket's Close has room (RFC 6455 5.5)

-- What a WebSocket is closed with when this side gives one of these reasons.
local CODES = {stop = 1001, error = 1011, drain = 1012}

-- What `send` says, by what sync_send returns.
local REFUSED = {
  [tonumber(C.SYNC_FULL)] = "full",
  [tonumber(C.SYNC_DROPPED)] = "dropped",
  [tonumber(C.SYNC_CLOSED)] = "closed",
  [tonumber(C.SYNC_TOO_LONG)] = "too long",
}

--- Makes a protocol: a class with its own clients and rooms.
-- @tparam string name of at most 64 bytes
-- @treturn sync.Protocol
function Protocol:extend(name)
  local class = Class.extend(self, name)
  if #name > Set.MOST_CLASS_NAME then
    error(("%s:extend(name): the name has %d bytes, and may have %d"):format(self.className,
      #name, Set.MOST_CLASS_NAME), 2)
  end
  class.clients = rawget(class, "clients") or self.Set:new()
  -- A room lives as long as it has members, or somebody holds it.
  class.roomsByName = rawget(class, "roomsByName") or setmetatable({}, {__mode = "v"})
  class.routes = {}
  return class
end

--- Called when a client has connected.
-- @tparam table|nil request a WebSocket's handshake, as in `sync.http`; nil for others
function Protocol:onConnect(request) end -- luacheck: ignore request

--- Called on the class when a WebSocket wants to connect, and can be refused.
-- @tparam table request as in `sync.http`: `path`, `params`, `headers`, `origin`, `address`
-- @treturn boolean|number true or nothing accepts it; false, or a status from 400 to 599,
-- refuses it, with a text as second value. A third one are headers of the answer, whatever it is,
-- as of a route; see also `request:setCookie` and `request:setHeader`
function Protocol:onUpgrade(request) end -- luacheck: ignore request

--- Whose token it is: a function of the token and, of a WebSocket's handshake, its request. It
-- returns a user, a table, and when that ends, in seconds since 1970 (nil: never); or nil, why, and
-- 401 or 403. It may wait. `sync.jwt.auth` makes one. false: clients need no token. See
-- docs/waiting.md.
Protocol.auth = false

-- Whether its handshake has shown whose it is.
function Protocol:recognize(request)
  if not (request and request.user) then return false end
  auth.give(self, request.user, request.userEnds)
  return true
end

-- One that hasn't: only protocols of calls have one for that.
Protocol._isAtDoor = false
function Protocol:knock(listener) -- luacheck: ignore listener
  self:close("unauthorized", auth.UNAUTHORIZED)
end

-- What a protocol that others extend does by itself: at the beginning, before onConnect;
-- instead of the end, if it returns true; and at the end, after onClose.
function Protocol:begin(listener) end -- luacheck: ignore listener
function Protocol:suspend(reason, code) return false end -- luacheck: ignore reason code
function Protocol:finish() end
-- It has gone, and functions of it wait still: what they wait for of the client doesn't come.
function Protocol:loseAnswers() end
-- A function of it goes on that waited: it sends as the client's message was, whose kind this is.
function Protocol:resumeKind(kind)
  C.sync_turn(handle, self.slot, core.kind(kind))
end

-- The same for HTTP, on the class: returns a function that answers an exchange (see
-- lua/sync/http/exchange.lua), or nil when the request is not its own; and the methods that
-- such requests of a path may have, as keys, with whether nothing else is at the path.
function Protocol:takesRequest(request) end -- luacheck: ignore request
function Protocol:methodsOf(path) return {}, false end -- luacheck: ignore path self

--- Called for each message of a client.
-- @tparam string data
-- @tparam string|nil kind of a WebSocket's message: "text", which is valid UTF-8, or "binary"; nil
-- of a byte stream, which has no kinds
function Protocol:onData(data, kind) end -- luacheck: ignore data kind

--- Called for each message of a client, instead of `onData`, where a class has it: for binary
-- protocols, which the FFI parses as native code. No string is made, so nothing is left for the
-- collector. The bytes live until the handler returns: copy what is kept, by `ffi.string(bytes,
-- length)` or `ffi.copy`. Such a handler can't wait; a function that it gives to `sync.spawn` may,
-- with a copy. See docs/bytes.md.
-- @function Protocol:onBytes
-- @tparam cdata bytes a `const uint8_t *`; messages are not aligned, and nothing is behind them
-- @tparam number length how many they are
-- @tparam string|nil kind as `onData` has it
Protocol.onBytes = false

--- Called when the queue was "full" and has been written.
-- @tparam number dropped messages that `overflow = "drop"` has dropped meanwhile
function Protocol:onDrain(dropped) end -- luacheck: ignore dropped

--- Called when the client has gone: no set has it any more, and nothing can be sent.
-- @tparam string reason what `close` was given, or "closed" (by `close` without one),
-- "aborted", "left" (the client ended it), "reset" (the connection broke), "idle",
-- "timeout" (an unfinished message), "full" (maxQueue), "too long" (maxMessage),
-- "error" (in a handler), "stop" (the server stops), "drain" (it drains), "memory", "protocol"
-- (what a WebSocket sent is none, or no UTF-8), "silent" (a ping was not answered), "refused" (its
-- byte stream began with an HTTP request)
-- @tparam number|nil code a WebSocket's closing code (RFC 6455 section 7.4): the client's,
-- (1005 when its Close frame has none) or else what it was sent; 0 without a Close frame
function Protocol:onClose(reason, code) end -- luacheck: ignore reason code

--- Called when a handler of this client has raised an error, before it is closed.
-- @param err what was raised
function Protocol:onError(err) end -- luacheck: ignore err

--- Called on the class when the server starts.
function Protocol:onStart() end

--- Called on the class when another version of the script has taken the place of the one that ran
-- (see docs/reload.md): clients are those that were connected. By itself it calls `onStart`, for
-- the script begins anew; a class that takes something over has its own.
-- @tparam table previous what the class was: its fields by name
function Protocol:onReload(previous) self:onStart() end -- luacheck: ignore previous

--- Called on the class when the server stops, while clients can still be sent to.
function Protocol:onStop() end

--- Called on the class when the server drains (`sync.drain`, `--drain`). May wait, as in
-- sync.spawn: until it has returned, the class's clients are left alone.
-- @tparam number seconds that it may take
function Protocol:onShutdown(seconds) end -- luacheck: ignore seconds

--- Called when the server drains and the client is to leave, to come back elsewhere: by default it
-- is closed when `delay` has passed, a WebSocket by 1012. `sync.Remote` asks it to go instead. One
-- that stays is closed when the server stops.
-- @tparam number delay seconds that it is to wait, so that not all come back at once
function Protocol:onGoAway(delay)
  loop.startTimer(delay, 0, function() self:close("drain") end)
end

--- Called at an upgrade, when the next process is about to take the client over: it is told what
-- this returns. By default that are the fields that `resumeFields` names. What it raises ends the
-- attempt. See docs/upgrade.md.
-- @return a value without functions and the like; nil: nothing
function Protocol:onHandover()
  local data = {}
  for _, name in ipairs(self.resumeFields) do data[name] = self[name] end
  return next(data) ~= nil and data or nil
end

--- Called in the next process, instead of `onConnect`, with what `onHandover` has returned, unless
-- that was nil: the client is who it was, in the same rooms. By default the fields are set.
-- @param data
function Protocol:onTakeover(data)
  for name, value in pairs(data) do self[name] = value end
end

local TOO_LONG = C.SYNC_TOO_LONG

-- Says why a message was not sent. Returns what `send` does.
local function refused(self, sent, length)
  if sent == TOO_LONG then
    log.limited("error", "send", ("%s:send: a message of %d bytes is longer than maxQueue, or " ..
      "than its framing can say; it is not sent"):format(getmetatable(self).className, length),
      {client = self.id})
  end
  return false, REFUSED[sent]
end

--- Queues a message for this client, to be written when the tick ends.
-- @tparam string data
-- @tparam[opt] string kind "text" or "binary", to a WebSocket; a text that isn't valid UTF-8 leaves
-- as binary. By default the kind of the client's message that is handled, or else was handled last;
-- before the first, text, or what the setting `binary` says. A byte stream has no kinds
-- @treturn boolean true, or false and why:
-- "full": the message is queued, but the client reads slowly; wait for `onDrain`.
-- "dropped": not queued, since maxQueue is reached and `overflow` is "drop".
-- "closed": not queued, since the client has gone.
-- "too long": not queued, since it is longer than maxQueue or than the framing's length
-- prefix can say; the log says so.
function Protocol:send(data, kind)
  if type(data) ~= "string" then
    Class.needColon(self, "send(data)")
    error("send(data): data must be a string, not " .. type(data), 2)
  end
  local sent
  if kind == nil then
    sent = C.sync_send(handle, self.slot, data, #data)
  else
    sent = C.sync_send_as(handle, self.slot, data, #data, core.kind(kind))
  end
  if sent == 0 then return true end
  return refused(self, sent, #data)
end

--- The same as `send`, of bytes that the FFI has: no string is made of them.
-- @tparam cdata bytes a pointer, an array or a struct; they are copied
-- @tparam number length how many they are, which nobody can check
-- @tparam[opt] string kind as of `send`
-- @treturn boolean as `send`
function Protocol:sendBytes(bytes, length, kind)
  core.checkBytes(self, bytes, length)
  local sent
  if kind == nil then
    sent = C.sync_send(handle, self.slot, bytes, length)
  else
    sent = C.sync_send_as(handle, self.slot, bytes, length,
      core.kind(kind, "sendBytes(bytes, length, kind)"))
  end
  if sent == 0 then return true end
  return refused(self, sent, length)
end

-- Delivers an event of another node, in JSON. Only sync.Remote knows more of events.
function Protocol:deliverEvent(text)
  if text then self:send(text) end
end

-- As much of a reason as fits into a WebSocket's Close, cut where a character ends.
local function cutReason(reason)
  if #reason <= MOST_REASON then return reason end
  local last = MOST_REASON
  while last > 0 and bit.band(reason:byte(last + 1), 0xC0) == 0x80 do last = last - 1 end
  return reason:sub(1, last)
end

--- Closes this client: what is queued is still written, nothing more is delivered.
-- @tparam[opt="closed"] string reason for `onClose`; a WebSocket is told it, too, up to 123 bytes
-- @tparam[opt=1000] number code that a WebSocket is closed with: 1000 to 1014, or one of
-- your own from 3000 to 4999
function Protocol:close(reason, code)
  Class.needColon(self, "close(reason)")
  if self.closing or self.slot == 0 then return end
  self.closing = reason or "closed"
  code = code or CODES[reason] or 0
  local told = cutReason(reason or "")
  C.sync_end(handle, self.slot, code, told, #told)
end

--- Closes this client at once; what is queued is lost, and it sees a reset.
function Protocol:abort()
  Class.needColon(self, "abort()")
  if self.slot == 0 then return end
  self.closing = "aborted"
  C.sync_abort(handle, self.slot)
end

--- Says that the client has failed to show who it is, as by a wrong password: its address may do so
-- as often as `failureRate` says.
function Protocol:failed()
  Class.needColon(self, "failed()")
  C.sync_fail(handle, self.slot)
end

--- Whether this client's connection is encrypted.
-- @treturn boolean
function Protocol:isSecure()
  return C.sync_secure(handle, self.slot) ~= 0
end

--- Unsent bytes of this client.
-- @treturn number
function Protocol:queued()
  return C.sync_queued(handle, self.slot)
end

--- The room of this name: a set of the class's clients. Works on the class, too.
-- @tparam string name where a number stands for its text
-- @treturn sync.Set empty when nobody is in it
function Protocol:room(name)
  Class.needColon(self, "room(name)")
  -- Strings are hashed with a secret, and numbers without: those of clients could all collide.
  local key = type(name) == "number" and ("%.17g"):format(name) or name
  local room = self.roomsByName[key]
  if not room then
    if name == nil then error("room(name): name is nil", 2) end
    room = self.Set:new()
    room.name = name
    self.roomsByName[key] = room
    if self.clients.channel then self.clients.channel:addRoom(room) end
  end
  return room
end

-- What is said of a member may be so long, in bytes, as it is told to other nodes.
local MOST_VALUE = 1024

-- A name is kept for as long as its room, and may come from a client. Links have topics for
-- rooms, which are longer.
local function isTooLong(self, name)
  if type(name) == "table" then error("join(name): name must be a string, not table", 3) end
  return type(name) == "string" and #name > Set.MOST_ROOM_NAME and not self.isLink
end

--- Puts this client into a room. It leaves all its rooms when it closes.
-- @tparam string name of at most 128 bytes
-- @param[opt] value what others are told of it by the room's `members`, on all nodes as it is:
-- anything but functions and the like, in at most 1 KiB. Joining again with another one changes
-- it.
-- @tparam[opt] function done called when what others send to the room, on any node, is sure to
-- reach the client: before `join` returns, where the room has members of this process already or
-- there is no other node; else when what links the nodes has said so, at most a second later
-- @treturn boolean true, or false and "closed", "too many rooms", "name too long" or "value too
-- long"
function Protocol:join(name, value, done)
  Class.needColon(self, "join(name)")
  if self.slot == 0 then return false, "closed" end
  if isTooLong(self, name) then return false, "name too long" end
  if value ~= nil then
    local text, problem = packed.encode(value)
    if not text then error("join(name, value): the value: " .. problem, 2) end
    if #text > MOST_VALUE then return false, "value too long" end
  end
  local joined = self.joined
  if not joined then
    joined = {count = 0, rooms = {}}
    self.joined = joined
  end
  local room = joined.rooms[name]
  if not room then
    if joined.count >= self.maxRooms then return false, "too many rooms" end
    room = self:room(name)
    joined.rooms[name] = room
    joined.count = joined.count + 1
  end
  if value ~= nil then
    joined.values = joined.values or {}
    joined.values[name] = value
    if room.channel and room:has(self) then room.channel:note(self, true) end
  end
  room:add(self)
  if done and not (room.channel and room.channel:whenHeard(done)) then done() end
  return true
end

--- Takes this client out of a room.
-- @tparam string name
function Protocol:leave(name)
  Class.needColon(self, "leave(name)")
  local joined = self.joined
  local room = joined and joined.rooms[name]
  if not room then return end
  joined.rooms[name] = nil
  if joined.values then joined.values[name] = nil end
  joined.count = joined.count - 1
  room:remove(self)
end

--- Whether this client is in a room.
-- @tparam string name
-- @treturn boolean
function Protocol:isIn(name)
  Class.needColon(self, "isIn(name)")
  local joined = self.joined
  return joined ~= nil and joined.rooms[name] ~= nil
end

function Protocol:__tostring()
  local address = self.address == "" and self.transport or self.address
  return ("%s client %d (%s)"):format(getmetatable(self).className, self.id, address)
end

return Protocol
