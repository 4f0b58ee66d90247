--- Settings: a class declares them, a listener may be given others.
--
-- A setting stands once, where its owner declares it: name, default, what it may be, and what
-- the core is told. Owners are on any floor; this module knows none of them.
--
--     local settings = {}
--     --- Longest message a client may send.
--     settings.maxMessage = setting {64 * 1024, options.bytes(1), core = "max_message"}
--     options.declare(Protocol, settings)
--
-- docs/settings.md lists all of them.
-- @module sync.options

local core = require "sync.core"

local C = core.C

local options = {}

local MOST_SECONDS = 30 * 24 * 3600
local MOST_BYTES = 2 ^ 30

-- Kinds of values: tables with `check`, a function of a value that returns whether it will do,
-- and what is wanted; `forCore`, a function that makes what the core takes of a value, where
-- that is another; and `unit`.

--- A whole number.
function options.wholeNumber(least, most, unit)
  local wanted = ("a whole number from %d to %d"):format(least, most)
  return {unit = unit, check = function(value)
    return type(value) == "number" and value >= least and value <= most and value % 1 == 0, wanted
  end}
end

--- A number.
function options.number(least, most)
  local wanted = ("a number from %g to %g"):format(least, most)
  return {check = function(value)
    return type(value) == "number" and value >= least and value <= most, wanted
  end}
end

--- A number of bytes, from `least` to 1 GiB.
function options.bytes(least)
  return options.wholeNumber(least, MOST_BYTES, "bytes")
end

--- A time above 0; the core gets milliseconds.
options.seconds = {
  unit = "s",
  check = function(value)
    return type(value) == "number" and value > 0 and value <= MOST_SECONDS,
      "a number of seconds above 0"
  end,
  forCore = function(value) return math.max(1, math.floor(value * 1000)) end,
}

--- A kind, or false, which the core gets as 0.
function options.orFalse(kind)
  return {
    unit = kind.unit,
    check = function(value)
      local ok, wanted = kind.check(value)
      return ok or value == false, wanted .. ", or false"
    end,
    forCore = function(value)
      if not value then return 0 end
      return kind.forCore and kind.forCore(value) or value
    end,
  }
end

--- One of some words. The core gets the constant of `prefix` and the word.
-- @tparam table words a list
-- @tparam[opt] string prefix as in "SYNC_FRAMING_"
function options.oneOf(words, prefix)
  local known, list = {}, {}
  for i, word in ipairs(words) do known[word], list[i] = true, ("%q"):format(word) end
  local wanted = "one of " .. table.concat(list, ", ")
  return {
    check = function(value) return known[value] == true, wanted end,
    forCore = function(value) return C[prefix .. value:upper()] end,
  }
end

--- True or false.
options.boolean = {
  check = function(value) return type(value) == "boolean", "true or false" end,
}

--- A list of strings.
-- @tparam string wanted what it's called in errors
-- @tparam[opt] table words those that there are, as keys; nil: any
function options.listOf(wanted, words)
  return {check = function(value)
    if type(value) ~= "table" then return false, wanted end
    for _, item in ipairs(value) do
      if type(item) ~= "string" or words and not words[item] then return false, wanted end
    end
    return next(value) == nil or #value > 0, wanted
  end}
end

-- Declaring.

local declared = setmetatable({}, {__mode = "k"}) -- by class: settings by name

--- Makes a setting of a default, a kind, and further fields:
--
-- - `core`: the field of `struct sync_options` that tells the core.
-- - `forCore(value, settings, class)`: what the core gets, instead of what the kind makes.
-- - `read(value)`: what `listener.settings` has in the value's place.
-- - `conflict(settings)`: what is wrong with the value beside others, or nil.
-- - `open(listener, value)`: called with a listener that was opened, unless the value is false;
--   returns true, or false and what is wrong.
-- - `onClass`: instances read it themselves, so it is no option of a listener.
function options.setting(fields)
  fields.default, fields.kind = fields[1], fields[2]
  return fields
end

--- Makes settings known for a class and those that extend it, of which they become fields.
-- @tparam table class
-- @tparam table settings by name
function options.declare(class, settings)
  local own, known = declared[class] or {}, options.of(class)
  declared[class] = own
  for name, setting in pairs(settings) do
    if known[name] then error(("%s.%s is declared twice"):format(class.className, name), 2) end
    own[name] = setting
    class[name] = setting.default
  end
end

--- The settings that a class may have.
-- @treturn table by name
function options.of(class)
  local all = {}
  while class do
    for name, setting in pairs(declared[class] or {}) do all[name] = setting end
    class = class.super
  end
  return all
end

-- Checking.

local HANDLERS = {"onConnect", "onData", "onBytes", "onDrain", "onClose", "onError", "onStart",
  "onStop", "onReload", "onUpgrade", "onShutdown", "onGoAway"}

-- How many letters must be changed, added or taken away to make b of a (Levenshtein).
local function distance(a, b)
  local row = {}
  for j = 0, #b do row[j] = j end
  for i = 1, #a do
    local diagonal = row[0]
    row[0] = i
    for j = 1, #b do
      local above = row[j]
      local same = a:byte(i) == b:byte(j)
      row[j] = math.min(above + 1, row[j - 1] + 1, diagonal + (same and 0 or 1))
      diagonal = above
    end
  end
  return row[#b]
end
options.distance = distance

--- The name that is most like `name`, or nil when none is like it.
-- @tparam string name
-- @tparam table names a list
-- @treturn string
function options.nearest(name, names)
  local best, least = nil, math.max(2, math.floor(#name / 3)) + 1
  table.sort(names)
  for _, candidate in ipairs(names) do
    local changes = distance(name:lower(), candidate:lower())
    if changes < least then best, least = candidate, changes end
  end
  return best
end

-- What is wrong with the names of a listener's options, or nil.
local function unknownOption(known, given)
  local names = {}
  for name, setting in pairs(known) do
    if not setting.onClass then names[#names + 1] = name end
  end
  for name in pairs(given) do
    local setting = known[name]
    if not setting or setting.onClass then
      local meant = options.nearest(tostring(name), names)
      local advice = setting and "it can only be set on the class"
        or meant and ("did you mean %s?"):format(meant)
        or "the options are " .. table.concat(names, ", ")
      return ("unknown option %s: %s"):format(tostring(name), advice)
    end
  end
end

-- What is wrong with the spelling of a class's fields, or nil: one that differs from a known
-- one in upper and lower case only is never meant.
local function misspelt(class, known)
  local names = {}
  for name in pairs(known) do names[name:lower()] = name end
  for _, name in ipairs(HANDLERS) do names[name:lower()] = name end
  local level = class
  while level and level.super do
    for name in pairs(level) do
      local meant = type(name) == "string" and names[name:lower()]
      if meant and meant ~= name then
        return ("class %s sets %s; did you mean %s?"):format(level.className, name, meant)
      end
    end
    level = level.super
  end
end

-- Of a class that takes bytes: what is handed to onBytes can't be handed to onData, too. The class
-- that declares handlers has onBytes = false.
local function doubleHandler(class)
  if not class.onBytes then return nil end
  local taker = class
  while rawget(taker, "onBytes") == nil do taker = taker.super end
  local level = class
  while level and rawget(level, "onBytes") ~= false do
    if rawget(level, "onData") then
      return ("%s.onBytes takes all messages, so %s.onData would never be called: keep one of them")
        :format(taker.className, level.className)
    end
    level = level.super
  end
end

local function wrongHandler(class)
  for _, name in ipairs(HANDLERS) do
    local isNone = name == "onBytes" and not class.onBytes
    if type(class[name]) ~= "function" and not isNone then
      return ("%s.%s must be a function, not %s"):format(class.className, name, type(class[name]))
    end
  end
end

-- The values that settings have, by name, or nil and a message.
local function read(class, known, given)
  local settings = {}
  for name, setting in pairs(known) do
    local value, source = given[name], "option "
    if value == nil then value, source = class[name], class.className .. "." end
    local fits, wanted = setting.kind.check(value)
    if not fits then
      return nil, ("%s%s must be %s, not %s"):format(source, name, wanted,
        type(value) == "string" and ("%q"):format(value) or tostring(value))
    end
    settings[name] = setting.read and setting.read(value) or value
  end
  return settings
end

--- Checks the settings of a class that no listener serves.
-- @tparam table class
-- @treturn table settings by name, or nil and a message
function options.check(class)
  local known = options.of(class)
  local message = misspelt(class, known)
  if message then return nil, message end
  return read(class, known, {})
end

--- Merges a class's settings with a listener's options, and checks them.
-- @tparam table class
-- @tparam table given the listener's options
-- @treturn table settings by name, or nil and a message
function options.merge(class, given)
  local known = options.of(class)
  local message = unknownOption(known, given) or misspelt(class, known) or wrongHandler(class) or
    doubleHandler(class)
  if message then return nil, message end
  local settings, problem = read(class, known, given)
  if not settings then return nil, problem end
  for _, setting in pairs(known) do
    message = setting.conflict and setting.conflict(settings)
    if message then return nil, message end
  end
  return settings
end

--- The settings as the core's `struct sync_options`.
-- @tparam table class
-- @tparam table settings from `merge`
-- @tparam number maxClients
function options.forCore(class, settings, maxClients)
  local fields = {max_clients = maxClients, counts_calls = class.countsCalls and 1 or 0,
    takes_bytes = class.onBytes and 1 or 0}
  for name, setting in pairs(options.of(class)) do
    if setting.core then
      local make = setting.forCore or setting.kind.forCore
      fields[setting.core] = make and make(settings[name], settings, class) or settings[name]
    end
  end
  return core.options(fields)
end

return options
