--- The console by a URL: see lua/sync/http/operators.lua.
-- @module sync.console.web

local console = require "sync.console"
local operators = require "sync.http.operators"

operators.attach(function(who, line)
  local lines = {}
  local context = {who = who,
    out = function(text) lines[#lines + 1] = text .. "\n" end,
    isGone = function() return false end} -- its time is the class's waitTimeout
  local done, problem = console.run(context, line)
  return done, table.concat(lines), problem
end)
