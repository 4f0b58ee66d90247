-- Chat with nicknames, rooms and a history: one class on two ports, for people and for
-- Flash movies, who meet in the same rooms.
--
--     sync-lua examples/chat.lua
--     nc localhost 8080                 (in two terminals; /help lists the commands)
--
-- A movie connects an XMLSocket to port 8081.

local sync = require "sync"
local Chat = require "sync.protocols.chat"

sync.enable("localhost", 8080, Chat)
sync.enable("localhost", 8081, Chat, {framing = "null"})
sync.start()
