-- What Flash movies and the Ruffle that plays them need of sync-lua: real sockets.

local Process = require "spec.support.process"
local Program = require "spec.support.program"
local WebSocket = require "spec.support.websocket"

describe("a server of Flash movies", function()
  after_each(Process.cleanUp)

  it("speaks first in binary by XMLSocket, since Ruffle drops text", function()
    local _, port = Program.serve [[
      local Game = require "sync.protocols.xmlsocket":extend("Game")
      function Game:onConnect() self:send("<welcome/>") end
      sync.enable("127.0.0.1", 0, Game)
      sync.start()
    ]]
    local client = WebSocket.connect(port)
    assert.same({WebSocket.BINARY, "<welcome/>\0"}, {client:receive()})
    client:close()
  end)
end)
