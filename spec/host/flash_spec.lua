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

  it("lets its own pages in at its other ports, and nobody's of a port that is not its", function()
    local server = Program.serve [[
      local Game = require "sync.protocols.xmlsocket":extend("Game")
      function Game:onConnect() self:send("<welcome/>") end
      Game.routes["GET /"] = function() return "a page" end
      local a = sync.enable("127.0.0.1", 0, Game)
      local b = sync.enable("127.0.0.1", 0, Game)
      local gone = sync.enable("127.0.0.1", 0, Game)
      gone:close()
      print(a.port, b.port, gone.port)
      io.flush()
      sync.start()
    ]]
    local page, game, gone = server:expect("stdout", "(%d+)\t(%d+)\t(%d+)\n")
    local function origin(port, host)
      return ("Origin: http://%s:%s\r\n"):format(host or "localhost", port)
    end
    local client, head = WebSocket.connect(tonumber(game), "/", origin(page))
    assert.is_truthy(client, head)
    assert.same({WebSocket.BINARY, "<welcome/>\0"}, {client:receive()})
    client:close()
    for _, stranger in ipairs {origin(gone), origin(1), origin(page, "evil.example")} do
      client, head = WebSocket.connect(tonumber(game), "/", stranger)
      assert.is_nil(client)
      assert.matches("^HTTP/1.1 403 ", head)
    end
  end)
end)
