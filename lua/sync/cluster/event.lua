--- Events on their way to other nodes: what stands behind the head of a frame.
--
-- An event that JSON says in full is its text, which goes to clients that speak JSON as it is.
-- Any other one is its name and its arguments, packed: each node makes of them what its clients
-- speak.
-- @module sync.cluster.event

local listMark = require "sync.list".mark
local null = require "cjson".null
local values = require "sync.cluster.values"

local event = {}

-- What the flags of a frame say.
local PACKED, KEYED, FLEETING = 1, 2, 4

local band = require "bit".band

local function packed(name, ...)
  local list = {name, ...}
  for i = 1, select("#", ...) do
    if list[i + 1] == nil then list[i + 1] = null end
  end
  return values.encode(setmetatable(list, listMark))
end

--- Makes the body of a frame.
-- @param how nil, or what `fire` was told: a key of `latest`, or false
-- @tparam string|nil text of the event in JSON; nil where JSON doesn't say all of it
-- @tparam string name
-- @param ... arguments
-- @treturn string|nil or nil and why they can't be told
-- @treturn number flags
function event.write(how, text, name, ...)
  local flags, body, problem = 0, text
  if not body then
    flags = PACKED
    body, problem = packed(name, ...)
    if not body then return nil, problem end
  end
  if how == false then return body, flags + FLEETING end
  if how then return string.char(#how) .. how .. body, flags + KEYED end
  return body, flags
end

--- Reads one.
-- @tparam string bytes
-- @tparam number from where the body begins
-- @tparam number flags
-- @treturn string|nil text in JSON
-- @return how, as in `write`
-- @treturn table|nil name and arguments, where there is no text
-- @raise when it is none
function event.read(bytes, from, flags)
  local how
  if band(flags, KEYED) ~= 0 then
    local length = bytes:byte(from)
    how = bytes:sub(from + 1, from + length)
    from = from + 1 + length
  elseif band(flags, FLEETING) ~= 0 then
    how = false
  end
  local body = bytes:sub(from)
  if band(flags, PACKED) == 0 then return body, how, nil end
  local ok, list = values.decode(body)
  if not ok or type(list) ~= "table" then error("an event can't be read: " .. tostring(list), 0) end
  return nil, how, list
end

return event
