--- One connection to Redis, for applications: it is opened when its owner wants that, logs in,
-- and gives each call its answers, in order.
--
-- The owner has `connectionReady(connection)`, `connectionLost(connection, reason, code)` and, if
-- more is sent than the connection takes at once, `connectionDrained(connection)`. An owner that
-- `hears` has `connectionHeard(kind, value, bytes)` instead of calls. After it was lost, a
-- connection may be opened again. `state` is "idle", "opening", "ready" or "closed".
-- @classmod sync.redis.connection

local Base = require "sync.redis.link"
local Class = require "sync.class"
local Connector = require "sync.connector"
local Search = require "sync.redis.sentinel"
local core = require "sync.core"
local failures = require "sync.redis.failures"
local hiredis = require "sync.redis.hiredis"
local limits = require "sync.limits"

local now = core.C.sync_now
local command = hiredis.command

local MOST_ELEMENTS = 10 ^ 6 -- of an array
local MOST_ERROR = 200       -- bytes of one that are told

local Connection = Class:extend("RedisClientConnection")

local Link = Base:extend("RedisClientLink")
-- What waits here when the connection breaks is in doubt: so little does.
Link.highWater = 256 * 1024

function Link:take(owner, kind, value, bytes)
  if self.ready then
    if owner.hears then return owner.owner:connectionHeard(kind, value, bytes) end
    return owner:heard(kind, value)
  end
  local request = self:asker()
  if request then request.answer(owner, request, kind, value) end
end

function Link:onDrain()
  if self.owner and self.ready then self.owner.owner:connectionDrained(self.owner) end
end

--- @tparam table place what sync.redis.url has read
-- @tparam table options of sync.redis
-- @tparam table owner
-- @tparam[opt] boolean hears
-- @treturn Connection|nil or nil and a message
function Connection.open(place, options, owner, hears)
  local connector, problem = Connector.new(Link, {}, true)
  if not connector then return nil, problem end
  local self = Connection:new {place = place, options = options, owner = owner, state = "idle",
    hears = hears or false,
    connector = connector, link = false, search = false,
    flight = {}, first = 1, last = 0} -- calls that were sent, until they have their answers
  connector.owner = self
  if place.trust then
    local trusted
    trusted, problem = connector:trust(place.host, place.trust)
    if not trusted then
      connector:close()
      return nil, problem
    end
  end
  if place.master then
    self.search, problem = Search.open(place.servers, place.master, place.sentinelpassword)
    if not self.search then
      connector:close()
      return nil, problem
    end
  end
  return self
end

-- Opening.

function Connection:expire()
  self:lost(("no connection in %g s"):format(self.options.connectTimeout))
end

local function dial(self, host, port)
  self.connector:connect(host, port, self.options.connectTimeout, function(problem)
    self:lost(problem)
  end)
end

--- Opens it; the owner is told.
function Connection:connect()
  self.state = "opening"
  limits.start(self, self.options.connectTimeout)
  if not self.search then return dial(self, self.place.host, self.place.port) end
  self.search:begin(function(host, port)
    if not host then return self:lost(port) end
    dial(self, host, port)
  end)
end

function Connection:linkReader()
  return hiredis.reader(self.hears and 0, {failed = failures.ofRedis,
    longest = self.options.maxReply, mostElements = MOST_ELEMENTS})
end

local function greeted(self, request, kind, value)
  if kind == "error" then return self:lost(value) end
  request.link.ready = true
  self.state = "ready"
  limits.stop(self)
  self.owner:connectionReady(self)
end

--- Its link stands: logs in.
function Connection:linkOpened(link)
  self.link = link
  link:login(self.place.account)
  if self.place.database ~= "0" then
    link:ask({answer = Link.mustWork}, command("SELECT", self.place.database))
  end
  if self.search then link:askRole() end
  link:ask({answer = greeted, link = link}, command("PING"))
end

--- An error of the server as it may be told. Some servers repeat what they didn't understand.
function Connection:clean(text)
  local password = self.place.account.password
  if password then text = text:gsub(password:gsub("%p", "%%%0"):gsub("%z", "%%z"), "***") end
  return text:sub(1, MOST_ERROR)
end

-- Calls.

--- Sends a call, whose answers come later.
-- @treturn boolean whether it was sent
-- @treturn string|nil "full": it was sent, and the next should wait for `connectionDrained`; or
-- why it was not: "dropped", "too long" or "closed"
function Connection:send(call)
  if self.state ~= "ready" then return false, "closed" end
  local sent, why = self.link:send(call.text)
  if not sent and why ~= "full" then return false, why end
  call.isSent, call.sentAt = true, now()
  local last = self.last + 1
  self.last, self.flight[last] = last, call
  return true, why
end

--- Whether it owes no answers.
function Connection:isQuiet()
  return self.first > self.last
end

-- An answer has come, for the first call in the row.
function Connection:heard(kind, value)
  local first = self.first
  local call = self.flight[first]
  if not call then return self:lost("it answers what nobody has asked") end
  if kind == "error" then
    if self.search and value:find("^READONLY") then self.isDemoted = true end
    value = failures.ofRedis(value)
  end
  if call.got + 1 == call.count then
    self.flight[first] = nil
    if first == self.last then self.first, self.last = 1, 0 else self.first = first + 1 end
  end
  call:answer(value)
  if self.isDemoted then -- Sentinel names another by now
    self.isDemoted = false
    self:lost("it is no master any more")
  end
end

--- Whether nothing has come since a call was sent: then the server may be gone.
function Connection:isSilentSince(call)
  return self.link and self.link.heard < call.sentAt
end

-- Ends.

local function detach(self, state)
  self.state = state
  limits.stop(self)
  self.connector:giveUp()
  if self.search then self.search:giveUp() end
  local link, flight, first, last = self.link, self.flight, self.first, self.last
  self.link, self.flight, self.first, self.last = false, {}, 1, 0
  return link, flight, first, last
end

-- The calls that were sent may have been carried out, or not.
local function failAll(flight, first, last, code, message)
  for i = first, last do
    flight[i]:finish(failures.new(code, message))
  end
end

--- There is no connection, or none any more.
-- @tparam string reason
-- @tparam[opt] string code "too large": it's the first call's answer that is to blame
function Connection:lost(reason, code)
  if self.state == "idle" or self.state == "closed" then return end
  local link, flight, first, last = detach(self, "idle")
  if link then
    link.owner = false
    link:abort()
  end
  self.owner:connectionLost(self, reason)
  if code and flight[first] then
    flight[first]:finish(failures.new(code, reason))
    first = first + 1
  end
  failAll(flight, first, last, "in doubt", ("the connection was lost (%s): the command was " ..
    "carried out, or not"):format(reason))
end

--- Closes it for good.
function Connection:close()
  if self.state == "closed" then return end
  local link, flight, first, last = detach(self, "closed")
  if link then
    link.owner = false
    link:close()
  end
  self.connector:close()
  if self.search then self.search:close() end
  failAll(flight, first, last, "closed", "it was closed")
end

return Connection
