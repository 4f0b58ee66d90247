--- The frames that nodes send each other: a head of 16 bytes, and a body as it is.
--
--     0  type (1 byte), 1  kind (1 byte), 2  node (2 bytes), 4  epoch of the node (4 bytes),
--     8  stream (4 bytes), 12  number of the frame in its stream (4 bytes, from 1)
--
-- The kind is that of a message: text (1), binary (2), or of each client's own (0); of an event it
-- is the flags of lua/sync/cluster/event.lua, and of all other frames 0. Numbers are little-endian.
-- Beside lua/sync/core.lua this file knows the FFI.
-- @module sync.cluster.frame

local buffer = require "string.buffer"
local ffi = require "ffi"

ffi.cdef [[
struct sync_frame {
    uint8_t type;
    uint8_t kind;
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
  FIRE = 2,    -- an event for every client of a set: see lua/sync/cluster/event.lua
  DIRECT = 3,  -- for one client: see frame.direct
  BEAT = 4,    -- that the node lives: how many clients each class has, and what it has sent
  BYE = 5,     -- that the node stops
  ASK = 6,     -- who is in these rooms?
  MEMBERS = 7, -- they are
  CHANGES = 8, -- who has come into a room, and gone
  TAKE = 9,    -- give me this session
  GIVEN = 10,  -- it is, or isn't
  BACK = 11,   -- that the node was away: others tell again what they have sent
  ROOM = 12,   -- about rooms: see lua/sync/rooms/nodes.lua
  BANS = 13,   -- who is shut out: see lua/sync/bans.lua
}

local head = ffi.new "struct sync_frame"
local number = ffi.new "double[1]"
local writer = buffer.new()

--- Makes a frame.
-- @treturn string
function frame.write(type, node, epoch, stream, count, body, kind)
  head.type, head.kind, head.node, head.epoch = type, kind or 0, node, epoch
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

--- The kind of its message.
function frame.kind(bytes)
  local kind = bytes:byte(2)
  return kind <= 2 and kind or 0
end

--- The flags of its event.
function frame.flags(bytes)
  return bytes:byte(2)
end

--- What an event is called on all nodes, by the frame in which it goes.
-- @treturn string
function frame.eventName(node, stream, count)
  return ("%d.%d.%d"):format(node, stream, count)
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

-- Tables, as string.buffer writes them: tags, of which each but a string's has a fixed size, and
-- counts of one, two or five bytes.
local TABLE, MIXED = 9, 13 -- the tags of tables that have counts; of hash parts, arrays and both
local ENDLESS = 2 ^ 40
local STRING = 0x20        -- and above: its length is told by the tag
local SIZES = {[0] = 0, 0, 0, 0, 4, 8, 4, 8, 0, [0x10] = 8, [0x11] = 8, [0x12] = 16}

-- A count that begins at an offset, and where it ends. One that is cut off is more than there is.
local function readCount(bytes, at, length)
  if at >= length then return ENDLESS, length end
  local first = bytes[at]
  if first < 0xe0 then return first, at + 1 end
  if first < 0xff then
    return (first - 0xe0) * 256 + (at + 1 < length and bytes[at + 1] or 0) + 0xe0, at + 2
  end
  if at + 5 > length then return ENDLESS, length end
  return bytes[at + 1] + bytes[at + 2] * 2 ^ 8 + bytes[at + 3] * 2 ^ 16 + bytes[at + 4] * 2 ^ 24,
    at + 5
end

-- Where the value ends that begins at an offset, the values in it left out, and how many bytes
-- those must have at least; nil when it is none.
local function skip(bytes, at, length)
  local tag = bytes[at]
  if tag >= STRING then
    local count, behind = readCount(bytes, at, length)
    return count >= STRING and behind + count - STRING, 0 -- tags may be written longer: not here
  elseif tag < TABLE or tag > MIXED then
    local size = SIZES[tag]
    return size and at + 1 + size, 0
  end
  local wanted, behind = 0, at + 1
  if tag > TABLE then wanted, behind = readCount(bytes, behind, length) end
  if tag % 2 == 1 then
    local count
    count, behind = readCount(bytes, behind, length)
    wanted = wanted + 2 * count
  end
  return behind, wanted
end

--- The table that bytes from an offset on stand for. string.buffer makes tables as large as they
-- are said to be, before it has read what is in them: 7 bytes would cost a gigabyte.
-- @tparam string bytes
-- @tparam number offset
-- @return the table
-- @raise when they are none, or say that they hold more than there is
function frame.decode(bytes, offset)
  local data, at, length = ffi.cast("const uint8_t *", bytes), offset, #bytes
  local left = length - offset
  while at < length do
    local behind, wanted = skip(data, at, length)
    left = left - (wanted or 0)
    if not behind or behind > length or left < 0 then
      error("a table is cut off, or says that it holds more than there is", 0)
    end
    at = behind
  end
  return buffer.decode(offset > 0 and bytes:sub(offset + 1) or bytes)
end

return frame
