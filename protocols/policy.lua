--- A server of Flash policies, for port 843, where a movie asks first.
--
--     local Policy = require "sync.protocols.policy":extend("Policy")
--     Policy.domains = {"game.example.com"}
--     Policy.ports = {1568, "8000-8100"}
--     sync.enable("*", 843, Policy)
--
-- Every other port answers such a request by itself; this is for movies that give up when
-- port 843 doesn't answer, and for granting ports below 1024: one from 1024 on grants none of
-- these. On a Unix socket it answers for port 843, which something in front of it has.
-- @classmod sync.protocols.policy

local sync = require "sync"
local policy = require "sync.flash.policy"

local MASTER = 843

local Policy = sync.Protocol:extend("Policy")

Policy.framing = "null"
Policy.transports = {"tcp"}
Policy.maxMessage = 64
Policy.handshakeTimeout = 5
Policy.idleTimeout = 5

--- Sites whose movies are let in: names, "*.example.com", or "*" for all.
Policy.domains = {"*"}
--- Ports they may use: numbers and ranges, or "*" for all that may be granted.
Policy.ports = "*"

-- Called before onConnect.
function Policy:begin(listener)
  self.from = listener.port or MASTER
end

function Policy:onData(data)
  if data == "<policy-file-request/>" then
    local text, message = policy.write(self.domains, self.ports, self.from)
    if text then
      self:send(text)
    else
      sync.log.limited("error", "policy", ("policy of port %d: %s"):format(self.from, message))
    end
  end
  self:close()
end

return Policy
