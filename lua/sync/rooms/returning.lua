--- Members whose node has died: with `resumeTime` they come back by another node, as the members
-- that they were. Each whose client is connected to another node than the home, or whose room
-- outlives its home, has got a secret when it came in; who joins by that is the member
-- (`sync.joinById`, as by a seat).
-- @module sync.rooms.returning

local core = require "sync.core"

local SECRET_BYTES = 16
local FIRST = "m" -- of a secret: no seat's begins so

local returning = {}

local members = setmetatable({}, {__mode = "v"}) -- by secret

--- Whether a secret is a member's, and not of a seat.
function returning.isSecret(secret)
  return secret:sub(1, 1) == FIRST
end

--- The secret of a member is known from before.
function returning.know(member, secret)
  member.secret, members[secret] = secret, member
end

--- The secret by which a member may come back.
-- @tparam sync.Member member
function returning.secretOf(member)
  if not member.secret then
    returning.know(member, FIRST .. core.randomHex(SECRET_BYTES))
  end
  return member.secret
end

--- The line of the member of a secret, if it's in a room still, and its client isn't here.
-- @tparam string secret
-- @tparam string id of the room
-- @treturn There|nil
function returning.find(secret, id)
  local member = members[secret]
  local line = member and member.line
  local home = line and line.home
  if home and home.room.id == id and line.hasBegun and home.lines[line.name] == line then
    return line
  end
end

return returning
