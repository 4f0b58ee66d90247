--- Numbers and texts as bytes: those of docs/state.md. `sync.remoting.patches` reads them.
-- @module sync.state.bytes

local bytes = {}

local char, floor = string.char, math.floor

--- A whole number from 0 to 2^53 - 1.
function bytes.varint(n)
  if n < 128 then return char(n) end
  return char(n % 128 + 128) .. bytes.varint(floor(n / 128))
end

--- A whole number of either sign.
function bytes.zigzag(n)
  return bytes.varint(n >= 0 and 2 * n or -2 * n - 1)
end

--- A whole number in so many bytes, least significant first.
function bytes.little(n, count)
  local list = {}
  for i = 1, count do
    list[i] = char(n % 256)
    n = floor(n / 256)
  end
  return table.concat(list)
end

--- A text with its length.
function bytes.text(text)
  return bytes.varint(#text) .. text
end

return bytes
