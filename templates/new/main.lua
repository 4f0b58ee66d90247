-- {{name}}: serves the lobby, and its page.
--
--     sync-lua main.lua [PORT]          (8080 without one; 0 for a free one)

local here = arg[0]:match("^(.*)/") or "."
package.path = here .. "/?.lua;" .. package.path

local sync = require "sync"
local Lobby = require "lobby"

sync.enable("localhost", tonumber(arg[1] or 8080), Lobby, {web = here .. "/public"})
sync.start()
