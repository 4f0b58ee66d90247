--- Commands of the console that do something to clients.
-- @module sync.console.acts

local console = require "sync.console"

local acts = {}

local server

--- Hands over what belongs to the server.
-- @tparam table functions `client(id)`
function acts.attach(functions) server = functions end

console.add("kick", "ID [REASON]", "closes a client", function(context, rest)
  local id, reason = rest:match "^(%d+)%s*(.*)$"
  if not id then console.refuse("kick ID [REASON]: the number of a client") end
  local client = server.client(tonumber(id))
  if not client then console.refuse("there is no client %s", id) end
  client:close(reason ~= "" and reason or "kicked")
  context.out("client %s is being closed", id)
end)

return acts
