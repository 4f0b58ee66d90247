--- Echo: what one client sends, all get. The first SYNC's first example.
--
--     local Echo = require "sync.protocols.echo"
--     sync.enable("localhost", 8080, Echo)
--
-- @classmod sync.protocols.echo

local sync = require "sync"

local Echo = sync.Protocol:extend("Echo")

function Echo:onData(data)
  self.clients:send(data)
end

return Echo
