--- XMLSocket: the base of protocols for Flash movies, whose `XMLSocket` ends each message
-- with NUL in both directions. Messages need not be XML. Ruffle, which tunnels the socket
-- through a WebSocket, reads binary frames only: so also the first message to a client that
-- has said nothing yet is one.
--
--     local Game = require "sync.protocols.xmlsocket":extend("Game")
--     function Game:onData(xml) self.clients:send(xml) end
--
-- @classmod sync.protocols.xmlsocket

local sync = require "sync"

local XMLSocket = sync.Protocol:extend("XMLSocket")

XMLSocket.framing = "null"
XMLSocket.binary = true

return XMLSocket
