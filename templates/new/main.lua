-- {{name}}: serves the lobby, and its page.
--
--     sync-lua main.lua [PORT]          (8080 without one; 0 for a free one)
--     HOST="*" sync-lua main.lua        lets other machines in

local here = arg[0]:match("^(.*)/") or "."
package.path = here .. "/?.lua;" .. package.path

local sync = require "sync"
local Lobby = require "lobby"

local host = os.getenv "HOST" or "localhost"
sync.enable(host, tonumber(arg[1] or 8080), Lobby, {web = here .. "/public"})
sync.start()
