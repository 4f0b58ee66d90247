--- The panel's part in reloads: which version runs, how the last reload has gone, and two buttons.
-- @module sync.reload.panel

local panel = require "sync.http.panel"
local reload = require "sync.reload"

panel.addSource("version", function()
  local number, hash = reload.version()
  return {number = number, hash = hash, problem = reload.problem(), canGoBack = reload.canGoBack()}
end)

panel.addPath("POST", "/panel/reload", function(request)
  reload.begin(request.params.back ~= nil, function() end)
  return 202, "text/plain; charset=utf-8", "the log says how it goes\n"
end)
