-- Players tell where they are in 12 bytes, and all others hear of it. The FFI reads and writes the
-- bytes as native code, without a string for each message.
--
--     sync-lua examples/bytes.lua
--     printf '\0\14\0\0\0\0\0\0\200\77\0\0\0\200' | nc -q 1 localhost 8080 | xxd
--
-- (\0\14 is the length, in octal; 12 bytes follow. What comes back has the player's number in it.)

local ffi = require "ffi"
local sync = require "sync"

local move = ffi.new "struct { uint32_t player; float x, y; }"
local SIZE = ffi.sizeof(move)

local Arena = sync.Protocol:extend("Arena")
Arena.framing = "length16"

function Arena:onBytes(bytes, length)
  if length ~= SIZE then return self:close("a move has 12 bytes") end
  ffi.copy(move, bytes, SIZE) -- the bytes are gone when this function returns
  move.player = self.id
  self.clients:sendBytes(move, SIZE)
end

sync.enable("localhost", 8080, Arena)
sync.start()
