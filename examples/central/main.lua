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
local Terminal = require "terminal"

Central.panel = os.getenv("CENTRAL_PANEL") or false
Central.web = folder .. "/public"

local host = os.getenv("CENTRAL_HOST") or "*"
local port = tonumber(os.getenv("CENTRAL_PORT") or 8080)
if host == "*" then
  sync.log.info("open to all who reach this machine; CENTRAL_HOST=localhost keeps it to yourself")
end

local function open()
  local listener = sync.enable(host, port, Central)
  Terminal.url = ("tcp://%s:%d"):format(host == "*" and "localhost" or host, listener.port)
  sync.enable(host, port == 0 and 0 or port + 1, Terminal)
end

local secret = os.getenv("ACCOUNTS_SECRET") -- that of examples/accounts, whose names count then
if secret then
  sync.spawn(function()
    require("names").begin(sync.sql(os.getenv("ACCOUNTS_DB") or "sqlite:accounts.db"), secret)
    open()
  end)
else
  open()
end
sync.start()
