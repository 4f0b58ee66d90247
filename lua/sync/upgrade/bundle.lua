--- Tables as texts, for the next process: in LuaJIT's own format, which takes half of the time that
-- JSON takes. Values of the application that are more than plain fields are packed by
-- themselves.
-- @module sync.upgrade.bundle

local buffer = require "string.buffer"
local values = require "sync.cluster.values"

local bundle = {
  --- What a text begins with that is one.
  MARK = "\2",
}

-- Names that come once for each client take a byte.
local NAMES = {"slot", "place", "id", "address", "port", "transport", "isAtDoor", "user",
  "userEnds", "rooms", "data", "session", "lastCall", "packed", "token", "first", "last", "reason",
  "code", "awayUntil", "from", "isNew", "entries"}

local writer, reader = buffer.new {dict = NAMES}, buffer.new {dict = NAMES}

local PLAIN = {string = true, number = true, boolean = true}

-- Whether a value is written as it is.
local function isPlain(value)
  if type(value) ~= "table" then return PLAIN[type(value)] end
  if getmetatable(value) then return false end
  for _, item in pairs(value) do
    if not PLAIN[type(item)] then return false end
  end
  return true
end

--- Adds a value of the application to what is told of a client.
-- @tparam table told
-- @tparam string name
-- @param value nil: nothing
-- @raise what can't be told
function bundle.put(told, name, value)
  if value == nil or isPlain(value) then
    told[name] = value
    return
  end
  local text, problem = values.encode(value)
  if not text then error(problem, 0) end
  told.packed = told.packed or {}
  told.packed[name] = text
end

--- Gives what was told of a client the values that were packed.
function bundle.unpack(told)
  for name, text in pairs(told.packed or {}) do
    local ok, value = values.decode(text)
    if not ok then error("what was handed over of a client can't be read", 0) end
    told[name] = value
  end
end

--- A table as a text.
function bundle.encode(told)
  return bundle.MARK .. writer:reset():encode(told):get()
end

--- What `encode` has made.
-- @raise when it can't be read
function bundle.decode(text)
  return reader:set(text):skip(#bundle.MARK):decode()
end

return bundle
