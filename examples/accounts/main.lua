-- Accounts: sign up, log in, log in by token, a score table, a webhook.
--
--     sync-lua examples/accounts/main.lua
--
-- ACCOUNTS_DB is the database, "sqlite:accounts.db" without it, as
-- "postgres://sync@localhost/accounts"; ACCOUNTS_SECRET what tokens are signed with, 32 bytes or
-- more; ACCOUNTS_HOOK the URL that hears of a new best; ACCOUNTS_PORT the port.

local sync = require "sync"

local here = arg[0]:match "^(.*)/[^/]*$" or "."
package.path = here .. "/?.lua;" .. package.path

local secret = os.getenv "ACCOUNTS_SECRET"
if not secret then
  secret = sync.crypto.random(32)
  sync.log.info("tokens end with this process: set ACCOUNTS_SECRET to keep them")
end

local db = sync.sql(os.getenv "ACCOUNTS_DB" or "sqlite:accounts.db")
local Game = require "game" {db = db, secret = secret, hook = os.getenv "ACCOUNTS_HOOK"}

sync.spawn(function()
  sync.migrate(db, here .. "/migrations")
  sync.enable("localhost", tonumber(os.getenv "ACCOUNTS_PORT" or 8080), Game,
    {web = here .. "/public"})
end)
sync.start()
