-- How many connections one address may have. In a network of its own, where every address is
-- this machine's.

local Process = require "spec.support.process"
local Program = require "spec.support.program"

local NETWORK = [[ip link set lo up && ip route add local 203.0.113.0/24 dev lo &&
  for last in ::1 ::2 :0:1::1; do ip addr add 2001:db8$last/128 dev lo nodad || exit; done &&
  exec "$0" "$1"]]

-- Connects from the addresses of `from`, as often as each stands there, and says how many of
-- each were greeted and how many ended.
local SCRIPT = [[
  local sync, socket = require "sync", require "socket"
  local Few = sync.Protocol:extend("Few")
  Few.maxPerAddress, Few.transports = 3, {"tcp"}
  function Few:onConnect() self:send("hello") end
  local port = sync.enable("*", 0, Few).port
  local clients = {}
  local function connect(address, count)
    for _ = 1, count do
      local client = address:find(":") and socket.tcp6() or socket.tcp()
      assert(client:bind(address, 0))
      assert(client:connect(address, port))
      client:settimeout(0)
      clients[#clients + 1] = {address = address, socket = client}
    end
  end
  local function settled()
    for _, client in ipairs(clients) do
      if not client.got then
        local got, why = client.socket:receive(5)
        if got == nil and why == "timeout" then return false end
        client.got = got and "greeted" or "refused"
      end
    end
    return true
  end
  local function report()
    local counts = {}
    for _, client in ipairs(clients) do
      local key = client.address .. " " .. client.got
      counts[key] = (counts[key] or 0) + 1
    end
    for key, count in pairs(counts) do print(key, count) end
    print("done")
    io.flush()
  end
  local function go(first, second)
    first()
    local timer
    timer = sync.every(0.01, function()
      if not settled() then return end
      timer:stop()
      report()
      if second then second() else sync.stop() end
    end)
  end
  go(function()
    connect("203.0.113.5", 6)
    connect("203.0.113.6", 2)
    connect("127.0.0.1", 9)
    connect("2001:db8::1", 2)
    connect("2001:db8::2", 3)
    connect("2001:db8:0:1::1", 3)
  end, function()
    for i = 1, 3 do clients[i].socket:close() end -- 203.0.113.5 may come again
    clients = {}
    local waits
    waits = sync.every(0.01, function()
      if Few.clients:count() > 17 then return end
      waits:stop()
      go(function()
        connect("203.0.113.5", 2)
        connect("2001:db8::2", 2) -- two came at once: of one of them it's told only now
      end)
    end)
  end)
  sync.start()
]]

describe("one address", function()
  after_each(Process.cleanUp)

  it("has at most maxPerAddress connections, and one line in the log", function()
    local server = Process.start {"unshare", "-rn", "sh", "-c", NETWORK, Program.path,
      Process.file(SCRIPT)}
    local code = server:wait()
    if server:stderr():find "^unshare" then pending "this machine gives nobody a network" end
    assert.equal(0, code, server:stderr())
    local first, second = server:stdout():match("^(.-)done\n(.-)done\n$")
    local function says(text, ...)
      for _, line in ipairs {...} do
        assert.is_truthy(("\n" .. text):find("\n" .. line:gsub(" (%d+)$", "\t%1") .. "\n", 1, true),
          line .. " in " .. text)
      end
    end
    says(first, "203.0.113.5 greeted 3", "203.0.113.5 refused 3", "203.0.113.6 greeted 2",
      "127.0.0.1 greeted 9", "2001:db8::1 greeted 2", "2001:db8::2 greeted 1",
      "2001:db8::2 refused 2", "2001:db8:0:1::1 greeted 3")
    says(second, "203.0.113.5 greeted 2", "2001:db8::2 refused 2")
    local _, lines = server:stderr():gsub("one address has as many connections as it may", "")
    assert.equal(2, lines, server:stderr())
    assert.matches("address=203%.0%.113%.5", server:stderr())
    assert.matches("address=2001:db8::/64", server:stderr())
  end)
end)
