--- Listeners: what `sync.enable` returns.
-- @classmod sync.Listener

local Class = require "sync.class"
local core = require "sync.core"
local log = require "sync.log"
local loop = require "sync.loop"
local options = require "sync.options"

local C, handle = core.C, core.handle
local SPARE_FILES = 64   -- left for the script's own
local FEWEST_FILES = 128 -- with less, serving makes no sense

local Listener = Class:extend("Listener")

-- What an error of sync_listen means to the person who runs the server.
local function explain(name, text, where, port)
  if name == "EADDRINUSE" then
    for _, listener in pairs(loop.listeners) do
      if listener.port == port and not listener.closed then
        return ("%s is taken: this script has enabled it for %s already; one port serves one " ..
          "class, so choose another"):format(where, listener.class.className)
      end
    end
    return where .. " is taken: another server listens there; stop it, or choose another port"
  elseif name == "EACCES" and port > 0 and port < 1024 then
    return where .. " needs a right: ports below 1024 are the system's; choose a higher " ..
      "port, or give the right (setcap cap_net_bind_service=+ep on the program)"
  elseif name == "EAI_NONAME" or name == "EAI_NODATA" or name == "EAI_AGAIN" or
    name == "EAI_FAIL" then
    return where .. ": the host is unknown: " .. text .. "; try \"localhost\", or \"*\" for " ..
      "every address"
  elseif name == "EADDRNOTAVAIL" then
    return where .. ": this machine has no such address; try \"localhost\", or \"*\""
  elseif name == "ENOENT" or name == "ENOTDIR" then
    return where .. ": its folder does not exist"
  elseif name == "EACCES" or name == "EPERM" then
    return where .. ": permission denied"
  elseif name == "ENAMETOOLONG" then
    return where .. ": the path is longer than a Unix socket's may be (107 bytes)"
  elseif name == "EMFILE" or name == "ENFILE" then
    return where .. ": no file is left; raise the limit (ulimit -n)"
  end
  return ("%s: %s (%s)"):format(where, text, name)
end

local function clientLimit(wanted)
  local files = C.sync_file_limit()
  if files < FEWEST_FILES then
    return nil, ("the file limit is too low: this process may open %d files; raise it " ..
      "(ulimit -n 1024, or LimitNOFILE=1024 in a service)"):format(files)
  end
  local most = files - SPARE_FILES
  if wanted and wanted > most then
    return nil, ("maxClients is %d, but this process may open %d files, %d of which are " ..
      "kept free: raise the limit (ulimit -n %d, or LimitNOFILE=%d in a service), or lower " ..
      "maxClients"):format(wanted, files, SPARE_FILES, wanted + SPARE_FILES,
      wanted + SPARE_FILES)
  end
  C.sync_limit_clients(handle, most)
  return wanted or most
end

local function bare(host)
  return host:match("^%[(.*)%]$") or host
end

-- Lets settings act that have something to do with an open listener. Returns nil, or what is
-- wrong.
local function openSettings(listener)
  for name, setting in pairs(options.of(listener.class)) do
    local value = listener.settings[name]
    if setting.open and value then
      local done, problem = setting.open(listener, value)
      if not done then return ("%s: %s"):format(name, problem) end
    end
  end
end

--- Binds and listens.
-- @tparam string host a name, an address, "*" or "unix:PATH"
-- @tparam number port
-- @tparam table class
-- @tparam table settings from options.merge
-- @treturn sync.Listener or nil and a message
function Listener.open(host, port, class, settings)
  local unix = host:find("^unix:") ~= nil
  local where = unix and host or ("%s port %d"):format(host, port)
  local maxClients, message = clientLimit(settings.maxClients)
  if not maxClients then return nil, message end
  local id = C.sync_listen(handle, bare(host), port,
    options.forCore(class, settings, maxClients))
  if id < 0 then
    local name, text = core.problem(id)
    return nil, explain(name, text, where, port)
  end
  local listener = Listener:new {
    host = host,
    --- The port it is bound to: a free one when 0 was asked for; nil on a Unix socket.
    port = not unix and C.sync_listener_port(handle, id) or nil,
    addresses = core.addresses(id),
    class = class,
    settings = settings,
    id = id,
  }
  local problem = openSettings(listener)
  if problem then
    C.sync_listener_end(handle, id)
    return nil, problem
  end
  loop.listeners[id] = listener
  C.sync_listener_name(handle, id, class.className)
  return listener
end

--- Serves another class, or by other settings, on the same sockets; clients stay.
-- @tparam table class
-- @tparam table settings from options.merge
-- @treturn string|nil what is wrong; it's to be renewed once more then
function Listener:renew(class, settings)
  local maxClients, problem = clientLimit(settings.maxClients)
  if not maxClients then return problem end
  local code = C.sync_listener_renew(handle, self.id, options.forCore(class, settings, maxClients))
  if code < 0 then return select(2, core.problem(code)) end
  self.class, self.settings, self.sessionBounds = class, settings, nil
  return openSettings(self)
end

--- Reads the certificates of `tls` from their files, again. Clients that are connected
-- notice nothing.
-- @treturn boolean true, or false and what is wrong; then the old ones stay
function Listener:loadCertificates()
  local tls = self.settings.tls
  if not tls or self.closed then return true end
  local done, problem = core.certificates(self.id, tls.certificate and {tls} or tls,
    tls.minimum == "1.3" and 13 or 12)
  if done and problem ~= "" then log.warn(tostring(self) .. ": " .. problem) end
  return done, problem
end

--- What the next process knows the listener by, and what must be the same there.
-- @treturn table
function Listener:describe()
  return {host = bare(self.host), port = self.asked, framing = self.settings.framing,
    encoding = self.settings.encoding}
end

--- It was another process's, and is this one's from now on.
function Listener:own()
  if self.port then return end
  C.sync_listener_own(handle, self.id, self.host:sub(6))
end

--- Stops listening. Clients that are connected stay. Of workers each closes its own: the port
-- is closed when all have.
function Listener:close()
  if self.closed then return end
  self.closed = true
  -- The class is still looked up by clients that are on their way through this tick.
  C.sync_listener_end(handle, self.id)
end

-- The same because the process stops: a worker's parent keeps the port for the next one.
function Listener:stop()
  if self.closed then return end
  self.closed = true
  C.sync_listener_close(handle, self.id)
end

--- Sets what silent byte streams are sent.
-- @tparam string bytes
-- @treturn boolean true, or false and what is wrong
function Listener:setPing(bytes)
  local code = C.sync_listener_ping(handle, self.id, bytes, #bytes)
  if code == 0 then return true end
  return false, "ping: " .. select(2, core.problem(code))
end

--- Sets what Flash policy requests are answered with.
-- @tparam string text
function Listener:setPolicy(text)
  C.sync_listener_policy(handle, self.id, text, #text)
end

-- What sends a message of a framing to standard output.
local SENDERS = {
  null = "printf 'hello\\0' | ", length16 = "printf '\\0\\5hello' | ",
  length32 = "printf '\\0\\0\\0\\5hello' | ",
}
local PING = [[printf '{"jsonrpc":"2.0","id":1,"method":"sync.ping"}\0' | ]]

local function hasPage(listener)
  local settings = listener.settings
  local has = settings.transports.http and settings.web
  local level = listener.class
  while level and not has do
    has = settings.transports.http and (rawget(level, "routes") or {})["GET /"]
    level = rawget(level, "super")
  end
  return has
end

--- How a person tries it: a command, or a page's URL.
-- @treturn string
function Listener:hint()
  local settings = self.settings
  if not self.port then return "nc -U " .. self.host:sub(6) end
  local host = (self.host == "*" or self.host == "0.0.0.0" or self.host == "::") and "localhost" or
    self.host
  local at = ("%s:%d"):format(host:find(":", 1, true) and not host:find("^%[") and
    "[" .. host .. "]" or host, self.port)
  local secure = settings.tls and "s" or ""
  if hasPage(self) then return ("http%s://%s"):format(secure, at) end
  if not settings.transports.tcp then return ("a WebSocket to ws%s://%s"):format(secure, at) end
  local sender = self.class.remote and settings.framing == "null" and settings.encoding == "json"
    and PING or SENDERS[settings.framing] or ""
  if settings.tls and settings.tls.only then
    return sender .. "openssl s_client -quiet -connect " .. at
  end
  return ("%snc %s %d"):format(sender, bare(host), self.port)
end

function Listener:__tostring()
  return self.port and ("%s:%d"):format(self.host, self.port) or self.host
end

return Listener
