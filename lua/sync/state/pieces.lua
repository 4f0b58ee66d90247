--- Bytes in pieces, none larger than an engine takes: a snapshot for replicas, or a state that is
-- kept (`sync.state.saved`).
--
--     for i, piece in ipairs(pieces.cut(bytes, engine.most, number)) do … end
--
--     local joiner = pieces.joiner(MOST)
--     local bytes, problem = joiner:add(piece)     -- bytes with the last one
--
-- Each piece says its serial, a number that the bytes have in common, which piece it is, and of how
-- many: so pieces of two writings are never taken for one. They come in their order, or are lost.
-- @module sync.state.pieces

local bytes = require "sync.state.bytes"
local patches = require "sync.remoting.patches"

local pieces = {}

local MARK = 0xC4
local HEAD = 1 + 3 * 8 -- bytes at most: a mark and three varints

--- The least size that pieces may have.
pieces.LEAST = 64

--- Cuts bytes.
-- @tparam string whole
-- @tparam number most bytes of a piece, at least `pieces.LEAST`
-- @tparam number serial a whole number that no other writing has
-- @treturn table a list of strings, one or more
function pieces.cut(whole, most, serial)
  if type(most) ~= "number" or most < pieces.LEAST then
    error(("pieces.cut(bytes, most, serial): most must be %d or more"):format(pieces.LEAST), 2)
  end
  local each = math.floor(most) - HEAD
  local count = math.max(1, math.ceil(#whole / each))
  local list = {}
  for i = 1, count do
    list[i] = string.char(MARK) .. bytes.varint(serial) .. bytes.varint(i - 1) ..
      bytes.varint(count) .. whole:sub((i - 1) * each + 1, i * each)
  end
  return list
end

local Joiner = {}
Joiner.__index = Joiner

--- Makes what joins pieces.
-- @tparam number most bytes that may come together
function pieces.joiner(most)
  return setmetatable({most = most, parts = {}, size = 0}, Joiner)
end

local function read(piece)
  local reader = patches.reader(piece)
  patches.demand(reader:byte() == MARK, "this is no piece")
  local serial, index, count = reader:varint(), reader:varint(), reader:varint()
  patches.demand(index < count, "a piece is behind the last one")
  return serial, index, count, piece:sub(reader.at)
end

--- Forgets the pieces that have come.
function Joiner:clear()
  self.parts, self.size, self.serial, self.count = {}, 0, nil, nil
end

--- Takes a piece.
-- @treturn string|nil all bytes, with the last of them; nil before
-- @treturn nil|string why this one is dropped, and those before: it isn't the one that follows, it
-- is none, or they are too many bytes
function Joiner:add(piece)
  local ok, serial, index, count, part = pcall(read, piece)
  if not ok then
    self:clear()
    if not patches.isRefusal(serial) then error(serial, 0) end
    return nil, tostring(serial)
  end
  if index == 0 then
    self:clear()
    self.serial, self.count = serial, count
  elseif serial ~= self.serial or count ~= self.count or index ~= #self.parts then
    self:clear()
    return nil, "a piece before it is missing"
  end
  self.parts[index + 1], self.size = part, self.size + #part
  if self.size > self.most then
    self:clear()
    return nil, ("the pieces have more than %d bytes"):format(self.most)
  end
  if index + 1 < count then return nil end
  local whole = table.concat(self.parts)
  self:clear()
  return whole
end

return pieces
