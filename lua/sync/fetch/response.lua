--- The answer to a request: what `sync.http` returns.
-- @classmod sync.fetch.response

local Class = require "sync.class"
local json = require "sync.json"

local Response = Class:extend("Response")

-- The headers of a head, by their names in small letters. Several of a name are one, joined by
-- commas, but for cookies, which are a list.
function Response.headersOf(head)
  local headers, last = {}, nil
  for line in head:gmatch "[^\r\n]+" do
    local name, value = line:match "^([^%s:]+)%s*:%s*(.-)%s*$"
    if name then
      name, last = name:lower(), name:lower()
      if name == "set-cookie" then
        local cookies = headers[name] or {}
        cookies[#cookies + 1] = value
        headers[name] = cookies
      else
        headers[name] = headers[name] and headers[name] .. ", " .. value or value
      end
    elseif last and last ~= "set-cookie" and line:find "^[ \t]" then -- folded, as of old
      headers[last] = headers[last] .. " " .. line:match "^%s*(.-)%s*$"
    end
  end
  return headers
end

--- What it has of JSON; the media type is not looked at.
-- @return the value, where null is `sync.null`; or nil and a message
function Response:json()
  if not self.body then return nil, "sync.http: a body that comes in pieces has no json()" end
  local ok, value = json.decode(self.body)
  if ok then return value end
  return nil, ("sync.http: the answer of %s is no JSON: %s"):format(self.shown, value)
end

--- The next piece of a body that is read by pieces (`stream = true`); waits for it. What isn't
-- read isn't taken from the network, beyond 64 KiB.
-- @treturn string|nil nil at the end; nil, a message and a code when it broke off
-- @raise outside a function that may wait
function Response:read()
  local transfer = self.transfer
  if not transfer then return nil, self.problem, self.code end
  if not transfer.fetch then return nil, "sync.http: the wait for it was given up", "closed" end
  while true do
    local bytes = transfer:take()
    if bytes ~= "" then return bytes end
    if transfer:hasEnded() then
      self.problem, self.code = self.describe(transfer)
      self:close()
      return nil, self.problem, self.code
    end
    transfer:wait()
  end
end

--- The pieces, for `for piece in response:pieces() do`. One that breaks off raises.
function Response:pieces()
  return function()
    local piece, problem = self:read()
    if problem then error(problem, 0) end
    return piece
  end
end

--- Ends it, when no more of the body is wanted.
function Response:close()
  local transfer = self.transfer
  self.transfer = nil
  if transfer then transfer:close() end
end

return Response
