--- Codes of private rooms: short, so that people can tell them each other, of letters that don't
-- look alike, and left to chance.
-- @module sync.rooms.code

local core = require "sync.core"

-- Without 0 O D Q, 1 I L, 2 Z, 5 S, 8 B, U V.
local LETTERS = "34679ACEFGHJKMNPRTWXY"
local LENGTH = 6 -- 86 million codes

local code = {}

--- Makes one.
-- @treturn string
function code.make()
  local letters = {}
  for i = 1, LENGTH do
    local place = core.randomNumber(#LETTERS) + 1
    letters[i] = LETTERS:sub(place, place)
  end
  return table.concat(letters)
end

--- A code as it was made, of what somebody has typed: in small letters, or in groups.
-- @treturn string|nil nil: no code is like that
function code.read(text)
  if type(text) ~= "string" or #text > 32 then return nil end
  text = text:upper():gsub("[%s%-]", "")
  return #text == LENGTH and not text:find("[^" .. LETTERS .. "]") and text or nil
end

return code
