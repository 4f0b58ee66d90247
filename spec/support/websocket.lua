-- A WebSocket client for specs: a blocking socket, frames as they are. It checks what a
-- server must not do (masks, reserved bits), and nothing else.

local Process = require "spec.support.process"
local bit = require "bit"
local socket = require "socket"

local WebSocket = {}
WebSocket.__index = WebSocket

WebSocket.TEXT, WebSocket.BINARY, WebSocket.CLOSE, WebSocket.PING, WebSocket.PONG = 1, 2, 8, 9, 10

local KEY, ACCEPT = "dGhlIHNhbXBsZSBub25jZQ==", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" -- RFC 6455 1.3
local MASK = "\1\2\3\4"

--- A handshake, as a text. `headers` are lines of more headers.
function WebSocket.handshake(path, headers)
  return ("GET %s HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" ..
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: %s\r\n%s\r\n"):format(path or "/", KEY,
    headers or "")
end

--- A masked frame, as a text.
function WebSocket.frame(opcode, payload, isPart)
  local length, head = #payload, string.char(opcode + (isPart and 0 or 128))
  if length < 126 then
    head = head .. string.char(128 + length)
  elseif length < 65536 then
    head = head .. string.char(128 + 126, bit.rshift(length, 8), length % 256)
  else
    head = head .. string.char(128 + 127, 0, 0, 0, 0, bit.band(bit.rshift(length, 24), 255),
      bit.band(bit.rshift(length, 16), 255), bit.band(bit.rshift(length, 8), 255), length % 256)
  end
  local masked = {}
  for i = 1, length do
    masked[i] = string.char(bit.bxor(payload:byte(i), MASK:byte((i - 1) % 4 + 1)))
  end
  return head .. MASK .. table.concat(masked)
end

--- Connects. Returns the client, or nil and the response's head and body.
-- @tparam number port
-- @tparam[opt] string path
-- @tparam[opt] string headers lines of more headers
-- @tparam[opt] string with bytes that are sent in one piece with the handshake
function WebSocket.connect(port, path, headers, with)
  local self = setmetatable({socket = assert(socket.connect("127.0.0.1", port))}, WebSocket)
  self.socket:settimeout(Process.BOUND)
  self.socket:send(WebSocket.handshake(path, headers) .. (with or ""))
  local lines = {}
  for line in function() return assert(self.socket:receive("*l")) end do
    if line == "" then break end
    lines[#lines + 1] = line
  end
  self.head = table.concat(lines, "\n")
  if not self.head:find("^HTTP/1.1 101 ") then
    local length = tonumber(self.head:match("Content%-Length: (%d+)")) or 0
    return nil, self.head, length > 0 and self.socket:receive(length) or ""
  end
  assert(self.head:find("Sec-WebSocket-Accept: " .. ACCEPT, 1, true), self.head)
  return self
end

function WebSocket:send(opcode, payload, isPart)
  assert(self.socket:send(WebSocket.frame(opcode, payload, isPart)))
end

--- The next frame: its opcode and payload; nil at the end. `compressed` tells of it.
function WebSocket:receive()
  local head = self.socket:receive(2)
  if not head then return nil end
  local first, length = head:byte(1, 2)
  assert(first >= 128 and bit.band(first, 0x30) == 0, "a fragment, or a reserved bit")
  assert(length < 128, "a server must not mask")
  if length == 126 then
    local a, b = self.socket:receive(2):byte(1, 2)
    length = a * 256 + b
  elseif length == 127 then
    length = 0
    for _, byte in ipairs {self.socket:receive(8):byte(1, 8)} do length = length * 256 + byte end
  end
  local payload = length > 0 and assert(self.socket:receive(length)) or ""
  self.compressed = bit.band(first, 0x40) ~= 0
  return bit.band(first, 15), payload
end

--- The code and reason of the Close that comes next.
function WebSocket:closed()
  local opcode, payload = self:receive()
  if opcode ~= WebSocket.CLOSE then return nil, payload end
  if payload == "" then return 0, "" end
  return payload:byte(1) * 256 + payload:byte(2), payload:sub(3)
end

function WebSocket:close()
  self.socket:close()
end

return WebSocket
