-- Central: one place where people draw, chat and play, whatever they came with. It listens on
-- all addresses, for phones on the same network; CENTRAL_HOST=localhost keeps it here.
--
--     sync-lua examples/central/main.lua
--     http://localhost:8080                 (in two windows, or two phones)
--     nc localhost 8081                     (from a terminal)
--     sync-lua examples/central/bots.lua 50 (company)

local folder = arg[0]:match("^(.*)/[^/]*$") or "."
package.path = folder .. "/?.lua;" .. package.path

local sync = require "sync"
local Central = require "central"
local Room = require "room"
local Terminal = require "terminal"

Central.panel = os.getenv("CENTRAL_PANEL") or false
Central.web = folder .. "/public"

local host = os.getenv("CENTRAL_HOST") or "*"
local port = tonumber(os.getenv("CENTRAL_PORT") or 8080)
if host == "*" then
  sync.log.info("open to all who reach this machine; CENTRAL_HOST=localhost keeps it to yourself")
end
sync.enable(host, port, Central)
sync.enable(host, port == 0 and 0 or port + 1, Terminal)

-- The game's clock, for all rooms.
sync.every(1 / Room.TICKS, function()
  for _, room in pairs(Central.rooms) do
    if room.count > 0 then room:step() end
  end
end)

sync.start()
