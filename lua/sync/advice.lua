--- What is probably not meant in a class, told when it is enabled.
-- @module sync.advice

local declared = require "sync.declared"
local options = require "sync.options"
local reserved = require "sync.reserved"

local advice = {}

-- What other libraries call the handlers.
local SYNONYMS = {
  onMessage = "onData", onReceive = "onData", onReceived = "onData", onPacket = "onData",
  onText = "onData", onOpen = "onConnect", onConnection = "onConnect", onAccept = "onConnect",
  onDisconnect = "onClose", onDisconnected = "onClose", onEnd = "onClose",
}

-- The classes of this library, as keys.
local function libraryClasses()
  local classes = {}
  for name, module in pairs(package.loaded) do
    if name:find("^sync%.") and type(module) == "table" then classes[module] = true end
  end
  return classes
end

-- The names that this library gives a meaning: settings, and handlers.
local function knownNames(class, isOurs)
  local settings, handlers = {}, {}
  local level = class
  while level do
    for name, value in pairs(isOurs[level] and level or {}) do
      if name:find("^on%u") then
        handlers[name] = true
      elseif type(value) ~= "function" then
        settings[name] = true
      end
    end
    level = rawget(level, "super")
  end
  if class.remote then handlers.onData, handlers.onBytes = nil, nil end
  return settings, handlers
end

-- The name of `known` that a name differs from by a letter or, where both are long, by two.
local function near(name, known)
  for candidate in pairs(known) do
    local most = math.min(#name, #candidate) >= 9 and 2 or math.max(#name, #candidate) >= 6 and 1
      or 0
    local changes = options.distance(name, candidate)
    if changes > 0 and changes <= most then return candidate end
  end
end

local function meant(name, value, settings, handlers)
  if settings[name] or handlers[name] then return nil end
  if type(value) ~= "function" then return near(name, settings) end
  local synonym = SYNONYMS[name]
  return handlers[synonym] and synonym or near(name, handlers)
end

-- Fields whose names are nearly those of settings and handlers. A class may have fields of its
-- own, so these are no errors.
local function misspelt(class, add)
  local isOurs = libraryClasses()
  local settings, handlers = knownNames(class, isOurs)
  local level = class
  while level and not isOurs[level] do
    for name, value in pairs(level) do
      local right = type(name) == "string" and meant(name, value, settings, handlers)
      if right then
        add(("class %s has %s, which means nothing to SYNC; did you mean %s?")
          :format(level.className, name, right))
      end
    end
    level = rawget(level, "super")
  end
end

--- What is probably not meant.
-- @tparam table class
-- @treturn table a list of sentences
function advice.of(class)
  local list = {}
  misspelt(class, function(text) list[#list + 1] = text end)
  table.sort(list)
  for _, found in ipairs(reserved.assignments(class)) do
    list[#list + 1] = ("%s:%d: self.%s = … hides what a client of %s has by that name; give the " ..
      "field another"):format(found[2], found[3], found[1], found[4])
  end
  return list
end

--- What can't be meant.
-- @treturn string|nil
function advice.problem(class)
  if declared[class.onBytes] then
    return ("%s.onBytes can't wait: its bytes live until it returns; declare onData by " ..
      "sync.waits, which gets a string"):format(class.className)
  end
  if not class.remote then return nil end
  for _, name in ipairs {"onData", "onBytes"} do
    local handler = declared[class[name]] or class[name]
    if type(handler) == "function" and
      not reserved.isOurs(debug.getinfo(handler, "S").source) then
      return ("%s.%s would take all messages, which are calls here: write function " ..
        "%s.remote:NAME(…) for each, or extend sync.Protocol"):format(class.className, name,
        class.className)
    end
  end
end

return advice
