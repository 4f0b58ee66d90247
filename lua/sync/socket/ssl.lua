--- TLS in LuaSec's manner: what `require "ssl"` gives after `sync.socket.install()`.
--
-- Unlike LuaSec's, a certificate is checked unless `verify = "none"` is said, and so is the host's
-- name: the one of `sni`, else that of `connect`.
-- @module sync.socket.ssl

local Class = require "sync.class"
local Tcp = require "sync.socket.tcp"

local Tls = Tcp:extend("SocketTls")

local ssl = {_VERSION = "sync.socket, in the manner of LuaSec 1.0"}

local MINIMUM = {tlsv1_3 = "1.3"}

-- Whether `verify`, a word or a list of them, wants the certificate checked.
local function wantsCheck(verify)
  if type(verify) ~= "table" then return verify ~= "none" end
  for _, word in ipairs(verify) do
    if word == "none" then return false end
  end
  return true
end

--- What several connections have in common.
function ssl.newcontext(params)
  if params.mode and params.mode ~= "client" then
    return nil, "sync.socket: TLS is for clients; sync.enable serves"
  end
  return params
end

--- Makes a connected socket one that speaks TLS after `dohandshake`. The socket itself is used no
-- more.
-- @treturn table|nil or nil and a message
function ssl.wrap(connection, params)
  if not Class.is(connection, Tcp) then
    error("ssl.wrap(connection, params): connection must be a socket of sync.socket", 2)
  end
  local context, problem = ssl.newcontext(params or {})
  if not context then return nil, problem end
  connection.params = context
  return setmetatable(connection, Tls)
end

-- LuaSec's https takes the methods from where they are.
for name, method in pairs(Tcp) do
  if type(method) == "function" and not name:find "^__" and not rawget(Tls, name) then
    Tls[name] = method
  end
end

--- Names the host, before `dohandshake`.
function Tls:sni(host) self.name = host end

function Tls:dohandshake()
  local params = self.params
  return self:sslhandshake {verify = wantsCheck(params.verify), host = self.name,
    cafile = params.cafile, capath = params.capath, certificate = params.certificate,
    key = params.key, minimum = MINIMUM[params.protocol]}
end

--- What is known of the connection: `protocol`.
function Tls:info(what)
  local all = {protocol = self.tls and self.tls:version()}
  if what then return all[what] end
  return all
end

function Tls:want() return "nothing" end -- luacheck: ignore self

return ssl
