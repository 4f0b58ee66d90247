-- Each message goes back to its sender.

local sync = require "sync"

local Echo = sync.Protocol:extend("Echo")

function Echo:onData(data)
  self:send(data)
end

return Echo
