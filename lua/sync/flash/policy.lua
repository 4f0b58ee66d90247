--- Flash policies: which sites' movies may open sockets, and to which ports.
--
-- A policy served by a port of 1024 or above may only grant such ports; only one from a
-- lower port, as 843 is, may grant all (Adobe: "Setting up a socket policy file server").
-- @module sync.flash.policy

local policy = {}

local HIGH = 1024

local ENTITIES = {["&"] = "&amp;", ["<"] = "&lt;", [">"] = "&gt;", ['"'] = "&quot;",
  ["'"] = "&apos;"}

local function escape(text)
  return (text:gsub("[&<>\"']", ENTITIES))
end

local function isPort(number)
  return number and number % 1 == 0 and number >= 0 and number <= 65535
end

-- The part of a range that may be granted from a port, or nil.
local function granted(first, last, from)
  if from >= HIGH and first < HIGH then first = HIGH end
  if first > last then return nil end
  return first == last and tostring(first) or first .. "-" .. last
end

--- Writes the ports as a policy names them.
-- @tparam table|string ports a list of numbers and ranges as "2000-3000", or "*" for all
-- @tparam number from the port that serves the policy
-- @treturn string|nil "1568,2000-3000"; nil and a message when a port is none, or when
-- nothing is left that may be granted
function policy.ports(ports, from)
  if ports == "*" then
    return from < HIGH and "*" or HIGH .. "-65535"
  end
  local list = {}
  for _, port in ipairs(type(ports) == "table" and ports or {ports}) do
    local first, last = tostring(port):match("^(%d+)%-?(%d*)$")
    first = tonumber(first)
    last = tonumber(last) or first
    if not isPort(first) or not isPort(last) or last < first then
      return nil, ("%s is no port and no range of ports"):format(tostring(port))
    end
    list[#list + 1] = granted(first, last, from)
  end
  if #list == 0 then return nil, "none of the ports may be granted from port " .. from end
  return table.concat(list, ",")
end

local HEAD = '<?xml version="1.0"?>\n<!DOCTYPE cross-domain-policy SYSTEM ' ..
  '"/xml/dtds/cross-domain-policy.dtd">\n<cross-domain-policy>\n'

local function document(lines)
  return HEAD .. table.concat(lines) .. "</cross-domain-policy>\n"
end

--- Writes a policy.
-- @tparam table domains names, "*.example.com", or "*"; an empty list lets nobody in
-- @tparam table|string ports as for `policy.ports`
-- @tparam number from the port that serves it
-- @treturn string|nil the policy without its NUL; nil and a message
function policy.write(domains, ports, from)
  local granting, message = policy.ports(ports, from)
  if not granting then return nil, message end
  local lines = {}
  if from == 843 then -- only the master policy file says what others may
    lines[1] = '  <site-control permitted-cross-domain-policies="all"/>\n'
  end
  for _, domain in ipairs(domains) do
    lines[#lines + 1] = ('  <allow-access-from domain="%s" to-ports="%s"/>\n')
      :format(escape(domain), granting)
  end
  return document(lines)
end

--- Writes the policy for requests by HTTP: /crossdomain.xml.
-- @tparam table domains as for `policy.write`
-- @treturn string
function policy.writeForHttp(domains)
  local lines = {'  <site-control permitted-cross-domain-policies="master-only"/>\n'}
  for _, domain in ipairs(domains) do
    lines[#lines + 1] = ('  <allow-access-from domain="%s"/>\n' ..
      '  <allow-http-request-headers-from domain="%s" headers="Content-Type"/>\n')
      :format(escape(domain), escape(domain))
  end
  return document(lines)
end

return policy
