--- The frames that nodes send each other: a head of 16 bytes, and a body as it is.
--
--     0  type (1 byte), 1  reserved (0), 2  node (2 bytes), 4  epoch of the node (4 bytes),
--     8  stream (4 bytes), 12  number of the frame in its stream (4 bytes, from 1)
--
-- Numbers are little-endian. Beside lua/sync/core.lua this file knows the FFI.
-- @module sync.cluster.frame

local buffer = require "string.buffer"
local ffi = require "ffi"

ffi.cdef [[
struct sync_frame {
    uint8_t type;
    uint8_t reserved;
    uint16_t node;
    uint32_t epoch;
    uint32_t stream;
    uint32_t number;
};
]]

local frame = {
  --- Bytes before the body.
  HEAD = 16,
  --- What a frame is. The first three have a body that is passed on as it is, those behind
  -- them a table.
  DATA = 1,    -- a message for every client of a set
  FIRE = 2,    -- an event, in JSON, for every client of a set
  DIRECT = 3,  -- for one client: see frame.direct
  BEAT = 4,    -- that the node lives: how many clients each class has, and what it has sent
  BYE = 5,     -- that the node stops
  ASK = 6,     -- who is in these rooms?
  MEMBERS = 7, -- they are
  CHANGES = 8, -- who has come into a room, and gone
  TAKE = 9,    -- give me this session
  GIVEN = 10,  -- it is, or isn't
}

local head = ffi.new "struct sync_frame"
local number = ffi.new "double[1]"
local writer = buffer.new()

--- Makes a frame.
-- @treturn string
function frame.write(type, node, epoch, stream, count, body)
  head.type, head.node, head.epoch = type, node, epoch
  head.stream, head.number = stream, count
  return writer:putcdata(head, 16):put(body):get()
end

--- Reads the head of one.
-- @treturn number|nil its type, or nil when it is none
-- @treturn number node
-- @treturn number epoch
-- @treturn number stream
-- @treturn number number in the stream
function frame.read(bytes)
  if #bytes < 16 then return nil end
  ffi.copy(head, bytes, 16)
  return head.type, head.node, head.epoch, head.stream, head.number
end

--- The body of a frame for one client: what is to be done, the client's id, and a text.
-- @tparam number verb one byte
-- @tparam number id
-- @tparam string text
-- @treturn string
function frame.direct(verb, id, text)
  number[0] = id
  return writer:put(string.char(verb)):putcdata(number, 8):put(text):get()
end

--- The same, read.
-- @treturn number|nil verb, or nil when it is none
-- @treturn number id
-- @treturn string text
function frame.readDirect(bytes)
  if #bytes < frame.HEAD + 9 then return nil end
  ffi.copy(number, ffi.cast("const char *", bytes) + frame.HEAD + 1, 8)
  return bytes:byte(frame.HEAD + 1), number[0], bytes:sub(frame.HEAD + 10)
end

return frame
