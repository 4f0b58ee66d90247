--- Commands of the console that do something to clients.
-- @module sync.console.acts

local console = require "sync.console"

local acts = {}

local server

--- Hands over what belongs to the server.
-- @tparam table functions `client(id)`, and `sync`
function acts.attach(functions) server = functions end

-- What SYNC raises about the words of a line is for who has said it.
local function told(call, ...)
  local ok, done, problem = pcall(call, ...)
  if not ok then console.refuse("%s", tostring(done):gsub("^.-:%d+: ", "")) end
  return done, problem
end

console.add("kick", "ID [REASON]", "closes a client", function(context, rest)
  local id, reason = rest:match "^(%d+)%s*(.*)$"
  if not id then console.refuse("kick ID [REASON]: the number of a client") end
  local client = server.client(tonumber(id))
  if not client then console.refuse("there is no client %s", id) end
  client:close(reason ~= "" and reason or "kicked")
  context.out("client %s is being closed", id)
end)

console.add("ban", "NETWORK [SECONDS] [REASON]", "shuts an address or a network out",
  function(context, rest)
    local network, more = rest:match "^(%S+)%s*(.*)$"
    if not network then console.refuse("ban NETWORK [SECONDS] [REASON]: an address, or a block") end
    local seconds, reason = more:match "^(%d*)%s*(.*)$"
    local done, problem = told(server.sync.ban, network, {reason = reason,
      seconds = tonumber(seconds)})
    if not done then console.refuse("%s", problem) end
    context.out("%s is banned", network)
  end)

console.add("unban", "NETWORK", "lets one in again", function(context, rest)
  if not told(server.sync.unban, rest) then console.refuse("%s is not banned", rest) end
  context.out("%s is banned no more", rest)
end)

console.add("bans", "", "who is shut out", function(context)
  for _, each in ipairs(server.sync.bans()) do
    context.out("%s  %.0f s  %s", each.network, each.seconds, each.reason)
  end
end)

return acts
