--- Line: the base of protocols that people can type, with `nc` or telnet. A message is a
-- line without its end; what is sent gets one.
--
--     local Shout = require "sync.protocols.line":extend("Shout")
--     function Shout:onData(line) self:send(line:upper()) end
--
-- @classmod sync.protocols.line

local sync = require "sync"

local Line = sync.Protocol:extend("Line")

Line.framing = "line"
Line.maxMessage = 4096

return Line
