--- Connections that this side makes, to one address of a server after another.
-- @classmod sync.connector

local core = require "sync.core"
local log = require "sync.log"
local loop = require "sync.loop"
local options = require "sync.options"

local C, handle = core.C, core.handle

local FORGET_SECONDS = 0.01

local Connector = {}
Connector.__index = Connector

--- Where to connect to, from "tcp://HOST:PORT", "tls://HOST:PORT" or "unix:PATH".
-- @tparam string url
-- @treturn string|nil host, or nil and what is wrong
-- @treturn number port
-- @treturn boolean whether in TLS
function Connector.parse(url)
  if type(url) ~= "string" then return nil, "the URL must be a string, not " .. type(url) end
  local path = url:match("^unix:/?/?(/.*)$")
  if path then return "unix:" .. path, 0, false end
  local scheme, host, port = url:match("^(t%l%l)://%[([%x:.]+)%]:(%d+)/?$")
  if not host then scheme, host, port = url:match("^(t%l%l)://([^/:%[%]]+):(%d+)/?$") end
  port = tonumber(port)
  if not host or port < 1 or port > 65535 or scheme ~= "tcp" and scheme ~= "tls" then
    return nil, ("%q is neither tcp://HOST:PORT, tls://HOST:PORT nor unix:/PATH"):format(url)
  end
  return host, port, scheme == "tls"
end

--- Makes a connector: its connections are instances of a class, with these settings. Their
-- `begin` gets the connector.
-- @tparam sync.Protocol class
-- @tparam table given options, as for `sync.enable`
-- @tparam[opt] boolean leads whether what is queued for its connections leaves before what is
-- queued for clients
-- @treturn table|nil or nil and a message
function Connector.new(class, given, leads)
  given.transports = {"tcp"}
  local settings, message = options.merge(class, given)
  if not settings then return nil, message end
  local forCore = options.forCore(class, settings, 1)
  forCore.leads = leads and 1 or 0
  local id = C.sync_listen(handle, "memory:", 0, forCore)
  if id < 0 then return nil, select(2, core.problem(id)) end
  local self = setmetatable({id = id, class = class, settings = settings}, Connector)
  loop.listeners[id] = self
  return self
end

--- Makes the connections speak TLS, with a server that has a certificate for this host.
-- @tparam string host a name or an address
-- @tparam table files paths of files in PEM: `ca`, certificates of the authorities that are
-- trusted (nil: those that the system trusts); `certificate` and `key`, for a server that
-- asks for them
-- @treturn boolean|nil true, or nil and a message
function Connector:trust(host, files)
  if (files.certificate == nil) ~= (files.key == nil) then
    return nil, "a certificate and its key are given together"
  end
  local done, message = core.trust(self.id, host, files)
  if not done then return nil, message end
  if message ~= "" then log.warn(message) end
  return true
end

--- Makes a socket that is connected already a connection.
-- @tparam number fd
-- @treturn number|nil its slot, or nil and a message
function Connector:adopt(fd)
  local slot = C.sync_adopt(handle, self.id, fd)
  if slot < 0 then return nil, select(2, core.problem(slot)) end
  return slot
end

--- Closes the connector; connections that it has made stay.
function Connector:close()
  self:giveUp()
  C.sync_listener_close(handle, self.id)
  -- A connection that was made in this tick still looks for its connector.
  loop.startTimer(FORGET_SECONDS, 0, function() loop.listeners[self.id] = nil end)
end

--- Gives the attempt up: the connection is made, or not wanted any more.
function Connector:giveUp()
  local attempt = self.attempt
  if not attempt then return end
  self.attempt = nil
  loop.stopTimer(attempt.timer)
  if attempt.request then
    loop.attempts[attempt.request] = nil
    C.sync_connect_cancel(handle, attempt.request)
  end
end

local function fail(self, attempt, message)
  if self.attempt ~= attempt then return end
  attempt.request = nil
  self:giveUp()
  attempt.failed(message)
end

-- Tries the next address; when none is left, the last one's error is told.
local function try(self, attempt, problem)
  attempt.request = nil
  local address = table.remove(attempt.addresses, 1)
  if not address then return fail(self, attempt, problem) end
  local request = C.sync_connect(handle, self.id, address, attempt.port)
  if request < 0 then return try(self, attempt, select(2, core.problem(request))) end
  attempt.request = request
  loop.attempts[request] = function(code, message)
    try(self, attempt, message or select(2, core.problem(code)))
  end
end

local function isAddress(host)
  return host:find("^unix:") or host:find(":", 1, true) or host:find("^%d+%.%d+%.%d+%.%d+$")
end

--- Connects. The instance's `begin` must call `giveUp`.
-- @tparam string host a name, an IP address or "unix:PATH"
-- @tparam number port
-- @tparam number seconds for looking up and for all addresses together
-- @tparam function failed called later with a message
function Connector:connect(host, port, seconds, failed)
  local attempt = {port = port, failed = failed}
  self.attempt = attempt
  attempt.timer = loop.startTimer(seconds, 0, function()
    self:giveUp()
    failed(("no connection in %g s"):format(seconds))
  end)
  local function start(addresses, problem)
    if self.attempt ~= attempt then return end
    attempt.addresses = addresses or {}
    try(self, attempt, problem and ("%s: %s"):format(host, problem))
  end
  if isAddress(host) then
    loop.startTimer(0, 0, function() start {host} end) -- `failed` is called later, always
    return
  end
  local request = C.sync_resolve(handle, host)
  if request < 0 then
    loop.startTimer(0, 0, function() start(nil, select(2, core.problem(request))) end)
  else
    loop.lookups[request] = start
  end
end

return Connector
