--- Commands of the console that the parent of workers has, too.
-- @module sync.console.common

local console = require "sync.console"
local log = require "sync.log"
local task = require "sync.task"

local common = {}

local server

--- Hands over what belongs to the server.
-- @tparam table functions `reload(back, done)`, and `version()`, which says what runs
function common.attach(functions) server = functions end

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
    context.out("%s runs", server.version())
  end)

console.add("version", "", "which version of the script runs", function(context)
  context.out("%s", server.version())
end)

return common
