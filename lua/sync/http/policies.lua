--- What listeners answer Flash policy requests with: each names the ports of all.
-- @module sync.http.policies

local log = require "sync.log"
local origins = require "sync.http.origins"
local policy = require "sync.flash.policy"

local policies = {}

-- The domains of `origins`, or else the host that a listener has, which is where a movie of the
-- same site comes from.
local function domainsOf(listener)
  local domains = origins.domains(listener.settings.origins)
  if domains then return domains end
  local host = listener.host:match("^%[(.*)%]$") or listener.host
  if host == "*" or host == "0.0.0.0" or host == "::" then return {"localhost"} end
  return {host}
end

local function write(listener, ports)
  local settings = listener.settings
  if listener.closed or not listener.port or not settings.transports.policy then return end
  local text, message = policy.write(domainsOf(listener), settings.policyPorts or ports,
    listener.port)
  if text then return listener:setPolicy(text) end
  log.warn(("%s answers no Flash policy requests: %s"):format(tostring(listener), message))
end

--- Writes the policies anew.
-- @tparam table listeners a list
function policies.write(listeners)
  local ports = {}
  for _, listener in ipairs(listeners) do
    if listener.port and not listener.closed then ports[#ports + 1] = listener.port end
  end
  for _, listener in ipairs(listeners) do write(listener, ports) end
end

return policies
