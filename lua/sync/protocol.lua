--- A protocol: the class you extend. The class is the server, an instance is one client.
--
--     local Echo = sync.Protocol:extend("Echo")
--     function Echo:onData(data) self:send(data) end
--     sync.enable("localhost", 8080, Echo)
--
-- **The life of a client.** `onConnect` is called first, then `onData` for each message,
-- `onDrain` when a queue that was full is empty again, and last `onClose`, always once.
-- When a handler raises an error, it is logged, `onError` is called, and this client is
-- closed; others notice nothing. After `close` no more messages are delivered.
--
-- **Settings** are fields of the class; an option of `sync.enable` goes before them.
--
-- @classmod sync.Protocol

local cjson = require "cjson"
local Class = require "sync.class"
local Set = require "sync.set"
local core = require "sync.core"

local C, handle = core.C, core.handle

local Protocol = Class:extend("Protocol")

--- How the byte stream is cut into messages: "raw" (chunks as they come), "null" (each
-- ends in NUL; Flash XMLSocket), "line" (LF, CR LF accepted), "length16", "length32"
-- (a big-endian length before each).
Protocol.framing = "raw"
--- Longest message a client may send, in bytes. One that is longer closes it.
Protocol.maxMessage = 64 * 1024
--- Most unsent bytes of a client; what happens then is `overflow`.
Protocol.maxQueue = 1024 * 1024
--- Unsent bytes from which on `send` says "full"; false: half of maxQueue.
Protocol.highWater = false
--- At maxQueue: "close" the client, or "drop" the message.
Protocol.overflow = "close"
--- Messages a second that a client may send; false: any. More is `onFlood`.
Protocol.messageRate = false
--- How many of them may come at once, after a silence; false: those of one second.
Protocol.messageBurst = false
--- A client that sends more: "close" it (a WebSocket by 1008), or "pause", that is to read it
-- no faster: what it sends waits with it.
Protocol.onFlood = "close"
--- Most connections of one address to this process, in IPv6 of one /64; false: any number.
-- More are refused by a reset. Loopback, link-local and private addresses and Unix sockets
-- aren't counted, for many may be behind them: a proxy on the same network sees to this
-- itself.
Protocol.maxPerAddress = 1000
--- Most clients of a listener; false: the file limit less 64. More wait to be accepted; at
-- the file limit a listener that serves HTTP answers operators and refuses others.
Protocol.maxClients = false
--- Seconds without a byte from the client until it is closed; false: never.
Protocol.idleTimeout = false
--- Seconds a client has to complete its first message once it has begun it.
Protocol.handshakeTimeout = 10
--- Seconds it has to complete a later one; false: any time.
Protocol.messageTimeout = 60
--- Seconds a client that is being closed has to read what is queued for it.
Protocol.closeTimeout = 5
--- Seconds of silence until TCP asks whether the client is still there; false: never.
Protocol.keepalive = 60
--- Most rooms that a client may be in.
Protocol.maxRooms = 64

--- What clients may use, on every port alike: a list of "tcp" (the byte stream), "websocket",
-- "http" (routes, web folder, /healthz) and "policy" (Flash policy requests).
Protocol.transports = {"tcp", "websocket", "http", "policy"}
--- Seconds until a client that says nothing counts as one of the byte stream, so that a
-- server that speaks first may speak; false: 0.25, or 15 where pages are served (`web`,
-- `routes`, `panel`), for browsers open spare connections and say nothing on them for a while.
Protocol.detectTimeout = false
--- Encrypts (TLS 1.2 and 1.3): `{certificate = "FILE", key = "FILE"}`, in PEM, the
-- certificate's chain behind it; or a list of such, of which a client gets the one for the
-- name it asks for, else the first. Clients may still come without TLS on the same port,
-- but not with `only = true` beside them. `minimum = "1.3"` refuses TLS 1.2. The files are
-- read again by `sync.reloadCertificates` and SIGHUP.
Protocol.tls = false
--- Which sites' pages and movies may connect: false (those of the same host, from any port that
-- this process listens on), "*" (all), or a list of exactly those that may, as in
-- {"https://game.example.com", "https://*.example.org"}. Programs that are no browsers say no
-- origin, and are let in.
Protocol.origins = false
--- The server's own names, of which an HTTP request must give one (Host), as in
-- {"game.example.com"}; false: any, but for requests from this machine or its network that
-- came through no proxy, as `sync.hosts` says.
Protocol.hosts = false
--- Ports that a Flash policy lets movies use; false: those that are enabled.
Protocol.policyPorts = false
--- What movies ask for that Ruffle plays, where that is not this listener's own name and port:
-- `{asks = {{"game.example.com", 9604}, {"*", "9600-9610"}}}`; see `sync.ruffle`.
Protocol.ruffle = false
--- A WebSocket that has sent nothing yet is answered in binary instead of text.
Protocol.binary = false
--- Subprotocols of WebSocket that the class speaks, best first.
Protocol.subprotocols = {}
--- Seconds of a WebSocket's silence until it is pinged; false: never.
Protocol.pingInterval = 25
--- Seconds a pinged one has to send anything until it is closed; false: any time.
Protocol.pongTimeout = 10
--- Whether messages of WebSockets are compressed where the client can do it.
Protocol.compression = true
--- Shorter messages, in bytes, are never compressed.
Protocol.compressFrom = 512
--- Whether a compressed message to a WebSocket may refer to those before: packs small
-- messages that are alike better, costs about 150 KB for each client while it is used, and
-- what goes to many clients still is compressed once.
Protocol.sendTakeover = false
--- The same for what a client sends: costs about 40 KB for each client that uses it.
Protocol.receiveTakeover = false
--- Longest head of an HTTP request, in bytes, and most headers in it.
Protocol.maxHead = 8192
Protocol.maxHeaders = 64
--- Longest body of an HTTP request, in bytes.
Protocol.maxBody = 64 * 1024
--- A folder whose files are served over HTTP, or a list of folders, the first of which that has
-- a file gives it; false: none. Beside them, `post = true` lets POST ask for a file, as
-- ActionScript 2's sendAndLoad does, and `anyCase = true` finds files whatever the case.
Protocol.web = false
--- A token of 8 letters or more, with which operators see `/panel`, `/panel.json` and
-- `/metrics`; false: there is no panel. See `sync.panel`.
Protocol.panel = false
--- What HTTP requests are answered with: functions by "METHOD /path". See `sync.http`.
Protocol.routes = {}

-- Whether its instances are connections to other nodes, and no clients: they end last.
Protocol.isLink = false

-- Whether a message may be a batch, a JSON array: in what a tick takes of a client, each of
-- its elements then counts as a message.
Protocol.countsCalls = false

-- What a WebSocket is closed with when this side gives one of these reasons.
local CODES = {stop = 1001, error = 1011}

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
  class.clients = Set.new()
  -- A room lives as long as it has members, or somebody holds it.
  class.roomsByName = setmetatable({}, {__mode = "v"})
  class.routes = {}
  return class
end

--- Called when a client has connected.
-- @tparam table|nil request a WebSocket's handshake, as in `sync.http`; nil for others
function Protocol:onConnect(request) end -- luacheck: ignore request

--- Called on the class when a WebSocket wants to connect: it can be refused.
-- @tparam table request as in `sync.http`: `path`, `params`, `headers`, `origin`, `address`
-- @treturn boolean|number true or nothing accepts it; false, or a status from 400 to 599,
-- refuses it, with a text as second value
function Protocol:onUpgrade(request) end -- luacheck: ignore request

-- What a protocol that others extend does by itself: at the beginning, before onConnect;
-- instead of the end, if it returns true; and at the end, after onClose.
function Protocol:begin(listener) end -- luacheck: ignore listener
function Protocol:suspend(reason, code) return false end -- luacheck: ignore reason code
function Protocol:finish() end

-- The same for HTTP, on the class: returns a function that answers an exchange (see
-- lua/sync/http/exchange.lua), or nil when the request is not its own.
-- `methodsTaken` are those that such requests may have.
function Protocol:takesRequest(request) end -- luacheck: ignore request
Protocol.methodsTaken = {}

--- Called for each message of a client.
-- @tparam string data
function Protocol:onData(data) end -- luacheck: ignore data

--- Called when the queue was "full" and has been written.
-- @tparam number dropped messages that `overflow = "drop"` has dropped meanwhile
function Protocol:onDrain(dropped) end -- luacheck: ignore dropped

--- Called when the client has gone: it is in no set any more, and nothing can be sent.
-- @tparam string reason what `close` was given, or "closed" (by `close` without one),
-- "aborted", "left" (the client ended it), "reset" (the connection broke), "idle",
-- "timeout" (an unfinished message), "full" (maxQueue), "too long" (maxMessage),
-- "error" (in a handler), "stop" (the server stops), "memory", "protocol" (what a WebSocket
-- sent is none, or no UTF-8), "silent" (a ping was not answered), "refused" (its byte stream
-- began with an HTTP request)
-- @tparam number|nil code a WebSocket's closing code (RFC 6455 section 7.4): the client's,
-- (1005 when its Close frame has none) or else what it was sent; 0 without a Close frame
function Protocol:onClose(reason, code) end -- luacheck: ignore reason code

--- Called when a handler of this client has raised an error, before it is closed.
-- @param err what was raised
function Protocol:onError(err) end -- luacheck: ignore err

--- Called on the class when the server starts.
function Protocol:onStart() end

--- Called on the class when the server stops, while clients can still be sent to.
function Protocol:onStop() end

--- Sends a message to this client. It is queued, and written when the tick ends.
-- @tparam string data
-- @treturn boolean true, or false and why:
-- "full": it is queued, but the client reads slowly; wait for `onDrain`.
-- "dropped": it is not queued, since maxQueue is reached and `overflow` is "drop".
-- "closed": it is not queued, since the client has gone.
-- "too long": it is not queued, since it is longer than maxQueue or than the framing's
-- length prefix can say.
function Protocol:send(data)
  if type(data) ~= "string" then
    Class.needColon(self, "send(data)")
    error("send(data): data must be a string, not " .. type(data), 2)
  end
  local sent = C.sync_send(handle, self.slot, data, #data)
  if sent == 0 then return true end
  return false, REFUSED[sent]
end

-- An event of another node for this client, in JSON; sync.Remote knows what that is.
function Protocol:deliverEvent(text)
  self:send(text)
end

--- Closes this client: what is queued is still written, nothing more is delivered.
-- @tparam[opt="closed"] string reason for `onClose`; a WebSocket is told it, too
-- @tparam[opt=1000] number code that a WebSocket is closed with: 1000 to 1014, or one of
-- your own from 3000 to 4999
function Protocol:close(reason, code)
  Class.needColon(self, "close(reason)")
  if self.closing or self.slot == 0 then return end
  self.closing = reason or "closed"
  code = code or CODES[reason] or 0
  C.sync_end(handle, self.slot, code, reason or "", reason and #reason or 0)
end

--- Closes this client at once; what is queued is lost, and it sees a reset.
function Protocol:abort()
  Class.needColon(self, "abort()")
  if self.slot == 0 then return end
  self.closing = "aborted"
  C.sync_abort(handle, self.slot)
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
    room = Set.new()
    room.name = name
    self.roomsByName[key] = room
    if self.clients.outlet then Set.addRoom(self.clients, room) end
  end
  return room
end

-- What is said of a member in JSON may be so long, in bytes.
local MOST_VALUE = 1024

-- A name is kept for as long as its room, and may come from a client. Links have topics for
-- rooms, which are longer.
local function isTooLong(self, name)
  if type(name) == "table" then error("join(name): name must be a string, not table", 3) end
  return type(name) == "string" and #name > Set.MOST_ROOM_NAME and not self.isLink
end

--- Puts this client into a room. It leaves all its rooms when it closes.
-- @tparam string name of at most 128 bytes
-- @param[opt] value what others are told of it by the room's `members`: anything that JSON
-- can say, in at most 1 KiB. Joining again with another one changes it.
-- @treturn boolean true, or false and "closed", "too many rooms", "name too long" or "value too
-- long"
function Protocol:join(name, value)
  Class.needColon(self, "join(name)")
  if self.slot == 0 then return false, "closed" end
  if isTooLong(self, name) then return false, "name too long" end
  if value ~= nil and #cjson.encode(value) > MOST_VALUE then return false, "value too long" end
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
    if room.presence and room:has(self) then room.presence:note(self, true) end
  end
  room:add(self)
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
