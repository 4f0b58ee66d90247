--- Members whose node has died: with `resumeTime` they come back by another node, as the members
-- that they were. Each whose client is connected to another node than the home has got a secret
-- when it came in; who joins by that is the member (`sync.joinById`, as by a seat).
-- @module sync.rooms.returning

local core = require "sync.core"

local SECRET_BYTES = 16

local returning = {}

local lines = setmetatable({}, {__mode = "v"}) -- by secret

--- The secret by which the member of a line may come back.
-- @tparam There line
function returning.secretOf(line)
  if not line.secret then
    line.secret = core.randomHex(SECRET_BYTES)
    lines[line.secret] = line
  end
  return line.secret
end

--- A line of the process before has a secret.
function returning.know(line)
  if line.secret then lines[line.secret] = line end
end

--- The line of a secret, if its member is in a room still.
-- @tparam string secret
-- @tparam string id of the room
function returning.find(secret, id)
  local line = lines[secret]
  local home = line and line.home
  if home and home.room.id == id and line.hasBegun and home.lines[line.name] == line then
    return line
  end
end

return returning
