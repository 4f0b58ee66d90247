local sync = require "sync"

local Echo = sync.Protocol:extend("Echo")

function Echo:onData(data)
  for c in self.clients do
    c:send(data)
  end
end

sync.enable("localhost", 8080, Echo)
sync.enable("localhost", 1568, Echo)
sync.enable("localhost", 2121, Echo)
sync.start()
