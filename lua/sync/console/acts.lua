--- Commands of the console that do something.
-- @module sync.console.acts

local console = require "sync.console"
local log = require "sync.log"
local reload = require "sync.reload"
local task = require "sync.task"

local acts = {}

local server

--- Hands over what belongs to the server.
-- @tparam table functions `client(id)`, and `reload(back, done)`
function acts.attach(functions) server = functions end

console.add("kick", "ID [REASON]", "closes a client", function(context, rest)
  local id, reason = rest:match "^(%d+)%s*(.*)$"
  if not id then console.refuse("kick ID [REASON]: the number of a client") end
  local client = server.client(tonumber(id))
  if not client then console.refuse("there is no client %s", id) end
  client:close(reason ~= "" and reason or "kicked")
  context.out("client %s is being closed", id)
end)

console.add("log", "[LEVEL]", "the log's level, or another one", function(context, rest)
  if rest ~= "" then
    local done, problem = log.configure(rest)
    if not done then console.refuse("%s", problem) end
  end
  context.out("%s, %s", log.level, log.format)
end)

console.add("reload", "[back]", "another version of the script, or the one before",
  function(context, rest)
    if rest ~= "" and rest ~= "back" then console.refuse("reload, or reload back") end
    local done, problem = task.await(function(resume) server.reload(rest == "back", resume) end)
    if not done then console.refuse("%s", problem) end
    context.out("version %d (%s) runs", reload.version())
  end)

console.add("version", "", "which version of the script runs", function(context)
  context.out("version %d (%s)", reload.version())
end)

return acts
