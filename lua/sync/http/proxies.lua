--- Who a request is from that came through a proxy.
--
-- A proxy says so in headers, which anybody can send: they are believed of the listener's
-- `proxies` alone. Each adds the address that it saw at the end, so the list is read from there:
-- the first address that is no proxy's is the client's, and what stands before is hearsay.
-- @module sync.http.proxies

local core = require "sync.core"

local C, handle = core.C, core.handle

local REFUSALS = {EACCES = "banned", EAGAIN = "often"}

local proxies = {}

local function isList(value)
  if type(value) ~= "table" or #value == 0 then return false end
  for _, network in ipairs(value) do
    if type(network) ~= "string" or C.sync_network(network) < 0 then return false end
  end
  return true
end

--- Whether a setting is one, and what it must be.
function proxies.check(value)
  return value == false or isList(value),
    'false, or a list of networks such as {"10.0.0.0/8", "2001:db8::/32", "unix"}'
end

--- Tells the core of a listener's proxies.
-- @treturn boolean true, or false and what is wrong
function proxies.open(listener, networks)
  for _, network in ipairs(networks) do
    local code = C.sync_listener_proxy(handle, listener.id, network)
    if code < 0 then return false, "proxies: " .. select(2, core.problem(code)) end
  end
  return true
end

local function split(text)
  local list = {}
  for item in (text or ""):gmatch("[^,]+") do list[#list + 1] = item:match("^%s*(.-)%s*$") end
  return list
end

-- "[2001:db8::1]:80" and "192.0.2.1:80" without brackets and port.
local function bare(text)
  return text:match("^%[(.-)%]") or text:match("^([%d.]+):%d+$") or text
end

-- The elements of Forwarded (RFC 7239): of each a list of what X-Forwarded-… say.
local function forwarded(text)
  local list = {addresses = {}, protocols = {}, hosts = {}}
  for i, element in ipairs(split(text)) do
    local pairs = {}
    for name, value in element:gmatch("([%w-]+)=([^;]+)") do
      pairs[name:lower()] = value:match('^%s*"?(.-)"?%s*$')
    end
    list.addresses[i], list.protocols[i], list.hosts[i] =
      pairs["for"] or "", pairs.proto or "", pairs.host or ""
  end
  return list
end

-- A proxy that writes X-Forwarded-For passes a client's own Forwarded on, so that counts only by
-- itself.
local function told(headers)
  if headers.forwarded and not headers["x-forwarded-for"] then
    return forwarded(headers.forwarded)
  end
  return {
    addresses = split(headers["x-forwarded-for"]),
    protocols = split(headers["x-forwarded-proto"]),
    hosts = split(headers["x-forwarded-host"]),
  }
end

-- The client's address, and how many proxies have come before the nearest one; nil when the
-- nearest names nobody.
local function origin(slot, addresses)
  local address, hops = nil, -1
  for i = #addresses, 1, -1 do
    local candidate = bare(addresses[i])
    local is = C.sync_is_proxy(handle, slot, candidate)
    if is < 0 then break end -- no address: "unknown", or a name that hides one
    address, hops = candidate, hops + 1
    if is == 0 then break end
  end
  return address, math.max(hops, 0)
end

-- What the proxy said that saw the client, or the first that said something.
local function at(list, hops)
  local value = list[math.max(#list - hops, 1)]
  return value ~= "" and value or nil
end

--- Makes a request that came from a proxy its client's: `address`, `port`, `secure` and the
-- header `host`.
-- @treturn string|nil why it is refused: its address is "full", "banned" or comes too "often"
function proxies.apply(slot, request)
  if C.sync_proxied(handle, slot) == 0 then return nil end
  local said = told(request.headers)
  local address, hops = origin(slot, said.addresses)
  local code = C.sync_forwarded(handle, slot, address or "")
  request.address, request.port = core.peer(slot)
  local protocol, host = at(said.protocols, hops), at(said.hosts, hops)
  if protocol then request.secure = protocol:lower() == "https" or protocol:lower() == "wss" end
  if host then request.headers.host = host end
  request.proxied = address ~= nil or protocol ~= nil or host ~= nil
  return code < 0 and (REFUSALS[core.problem(code)] or "full") or nil
end

return proxies
