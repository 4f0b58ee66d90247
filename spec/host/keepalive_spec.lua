-- A client whose network vanishes says nothing of it. In a network of its own, where a route
-- can be taken away.

local Process = require "spec.support.process"
local Program = require "spec.support.program"

local NETWORK = [[ip link set lo up && ip route add local 203.0.113.0/24 dev lo && exec "$0" "$1"]]

-- Of two clients one is silent, one is sent to.
local SCRIPT = [[
  local sync, socket = require "sync", require "socket"
  local Game = sync.Protocol:extend("Game")
  Game.keepalive, Game.detectTimeout = 1, 0.01
  local port = sync.enable("*", 0, Game).port
  local clients, cut = {}, nil
  for last = 5, 6 do
    local client = socket.tcp()
    assert(client:bind("203.0.113." .. last, 0))
    assert(client:connect("203.0.113." .. last, port))
    clients[last] = client
  end
  function Game:onConnect()
    if self.clients:count() < 2 then return end
    assert(os.execute "ip route del local 203.0.113.0/24 dev lo && \
      ip route add blackhole 203.0.113.0/24" == 0)
    cut = socket.gettime()
    sync.every(0.1, function()
      for client in self.clients:each() do
        if client.address == "203.0.113.6" then client:send("news") end
      end
    end)
  end
  function Game:onClose(reason)
    print(self.address, reason, socket.gettime() - cut)
    if self.clients:count() == 0 then sync.stop() end
  end
  sync.after(20, sync.stop)
  sync.start()
]]

describe("a client whose network vanishes", function()
  after_each(Process.cleanUp)

  it("is closed by keepalive, also when it's sent to", function()
    local server = Process.start {"unshare", "-rn", "sh", "-c", NETWORK, Program.path,
      Process.file(SCRIPT)}
    local code = server:wait(30)
    if server:stderr():find "^unshare" then pending "this machine gives nobody a network" end
    assert.equal(0, code, server:stderr())
    for last = 5, 6 do
      local reason, seconds = server:stdout():match("203%.0%.113%." .. last .. "\t(%a+)\t(%S+)")
      assert.equal("reset", reason, server:stdout() .. server:stderr())
      assert.is_true(tonumber(seconds) < 8, seconds) -- 1 s of silence, and 3 s of questions
    end
  end)
end)
