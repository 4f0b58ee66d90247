--- The settings of a protocol: their names, what they may be, and what the core is told.
--
-- Their defaults and what they mean stand with the fields of `sync.Protocol`.
-- @module sync.options

local core = require "sync.core"
local hosts = require "sync.http.hosts"
local origins = require "sync.http.origins"
local policy = require "sync.flash.policy"
local ruffle = require "sync.flash.ruffle"

local C = core.C

local options = {}

local MOST_SECONDS = 30 * 24 * 3600
local MOST_BYTES = 2 ^ 30
-- Seconds for a client to say what it is. Chromium keeps a spare connection for ten.
local DETECT, DETECT_BESIDE_PAGES = 0.25, 15

local function wholeNumber(least, most)
  return function(value)
    return type(value) == "number" and value >= least and value <= most and value % 1 == 0,
      ("a whole number from %d to %d"):format(least, most)
  end
end

local function seconds(value)
  return type(value) == "number" and value > 0 and value <= MOST_SECONDS,
    "a number of seconds above 0"
end

local function orFalse(check)
  return function(value)
    local ok, wanted = check(value)
    return ok or value == false, wanted .. ", or false"
  end
end

local function oneOf(...)
  local words, list = {}, {}
  for _, word in ipairs {...} do
    words[word] = true
    list[#list + 1] = ("%q"):format(word)
  end
  local wanted = "one of " .. table.concat(list, ", ")
  return function(value) return words[value] == true, wanted end
end

local function boolean(value)
  return type(value) == "boolean", "true or false"
end

-- A list without repetitions, of words out of `words`, or of any strings.
local function listOf(words, wanted)
  return function(value)
    if type(value) ~= "table" then return false, wanted end
    for _, item in ipairs(value) do
      if type(item) ~= "string" or words and not words[item] then return false, wanted end
    end
    return next(value) == nil or #value > 0, wanted
  end
end

local function isPath(value)
  return type(value) == "string" and value ~= ""
end

-- Folders of files, and beside them how they are asked for.
local function isWeb(value)
  if type(value) ~= "table" then return value == false or isPath(value) end
  for key, item in pairs(value) do
    local fine = type(key) == "number" and isPath(item) or
      (key == "post" or key == "anyCase") and type(item) == "boolean"
    if not fine then return false end
  end
  return #value > 0
end

local TRANSPORTS = {
  tcp = C.SYNC_STREAMS, websocket = C.SYNC_WEBSOCKET, http = C.SYNC_HTTP,
  policy = C.SYNC_POLICY,
}
local someTransports = listOf(TRANSPORTS, 'a list of "tcp", "websocket", "http", "policy"')

local FRAMINGS = {
  raw = C.SYNC_FRAMING_RAW, null = C.SYNC_FRAMING_NULL, line = C.SYNC_FRAMING_LINE,
  length16 = C.SYNC_FRAMING_LENGTH16, length32 = C.SYNC_FRAMING_LENGTH32,
}

-- Functions of a value: whether it will do, and what is wanted.
local checks = {
  framing = oneOf("raw", "null", "line", "length16", "length32"),
  encoding = oneOf("json", "amf3"),
  panel = function(value)
    return value == false or type(value) == "string" and #value >= 8,
      "false, or a token of 8 letters or more"
  end,
  overflow = oneOf("close", "drop"),
  messageRate = orFalse(function(value)
    return type(value) == "number" and value >= 0.01 and value <= 10 ^ 6,
      "a number from 0.01 to 1,000,000"
  end),
  messageBurst = orFalse(wholeNumber(1, 10 ^ 6)),
  onFlood = oneOf("close", "pause"),
  maxMessage = wholeNumber(1, MOST_BYTES),
  maxQueue = wholeNumber(1024, MOST_BYTES),
  highWater = orFalse(wholeNumber(1, MOST_BYTES)),
  maxClients = orFalse(wholeNumber(1, 10 ^ 7)),
  maxPerAddress = orFalse(wholeNumber(1, 10 ^ 7)),
  maxRooms = wholeNumber(0, 10 ^ 6),
  idleTimeout = orFalse(seconds),
  handshakeTimeout = orFalse(seconds),
  messageTimeout = orFalse(seconds),
  closeTimeout = seconds,
  keepalive = orFalse(wholeNumber(1, 32767)),
  backlog = wholeNumber(1, 65535),
  transports = function(value)
    local ok, wanted = someTransports(value)
    return ok and #value > 0, wanted
  end,
  detectTimeout = orFalse(seconds),
  origins = origins.check,
  hosts = hosts.check,
  policyPorts = function(value)
    if value == false then return true end
    local ports, message = policy.ports(value, 0)
    return ports ~= nil, message or "false, a list of ports and ranges, or \"*\""
  end,
  ruffle = ruffle.check,
  binary = boolean,
  subprotocols = listOf(nil, "a list of names"),
  tls = function(value)
    local files = {}
    if type(value) == "table" then
      files = value.certificate and {value} or value
    end
    local fine = #files > 0
    for _, file in ipairs(files) do
      fine = fine and type(file) == "table" and type(file.certificate) == "string" and
        type(file.key) == "string"
    end
    local minimum = fine and value.minimum
    fine = fine and (minimum == nil or minimum == "1.2" or minimum == "1.3")
    return fine or value == false, 'false, {certificate = "FILE", key = "FILE"}, or a list ' ..
      'of such; beside them, only = true refuses plain clients, and minimum = "1.3"'
  end,
  pingInterval = orFalse(seconds),
  pongTimeout = orFalse(seconds),
  compression = boolean,
  compressFrom = wholeNumber(1, MOST_BYTES),
  sendTakeover = boolean,
  receiveTakeover = boolean,
  web = function(value)
    return isWeb(value), "false, a folder's path, or a list of paths; beside them post = true " ..
      "and anyCase = true"
  end,
  maxHead = wholeNumber(256, 2 ^ 20),
  maxHeaders = wholeNumber(1, 1000),
  maxBody = wholeNumber(0, MOST_BYTES),
}

-- Settings that the instances read themselves, so they belong to the class alone.
local CLASS_ONLY = {maxRooms = true, subprotocols = true}

-- Those of a listener that no class sets.
local DEFAULTS = {backlog = 1024, encoding = "json"}

local HANDLERS = {"onConnect", "onData", "onDrain", "onClose", "onError", "onStart", "onStop",
  "onUpgrade"}

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

local function settingNames()
  local names = {}
  for name in pairs(checks) do
    if not CLASS_ONLY[name] then names[#names + 1] = name end
  end
  table.sort(names)
  return names
end

-- Raises an error when a field that a class has set looks like a known one, misspelt
-- in upper and lower case only: that is never meant.
local function checkSpelling(class)
  local known = {}
  for name in pairs(checks) do known[name:lower()] = name end
  for _, name in ipairs(HANDLERS) do known[name:lower()] = name end
  local level = class
  while level and level.super do
    for name in pairs(level) do
      local meant = type(name) == "string" and known[name:lower()]
      if meant and meant ~= name then
        return nil, ("class %s sets %s; did you mean %s?"):format(level.className, name, meant)
      end
    end
    level = level.super
  end
  return true
end

local function checkHandlers(class)
  for _, name in ipairs(HANDLERS) do
    if type(class[name]) ~= "function" then
      return nil, ("%s.%s must be a function, not %s")
        :format(class.className, name, type(class[name]))
    end
  end
  return true
end

-- Whether a browser may ask this listener for pages.
local function servesPages(class, settings)
  local level = class
  while level do
    if next(rawget(level, "routes") or {}) then return true end
    level = level.super
  end
  return (settings.web or settings.panel) and true or false
end

--- Merges a class's settings with a listener's options, and checks them.
-- @tparam table class
-- @tparam table given the listener's options
-- @treturn table settings by name, or nil and a message
function options.merge(class, given)
  for name in pairs(given) do
    if not checks[name] or CLASS_ONLY[name] then
      local meant = options.nearest(tostring(name), settingNames())
      local advice = CLASS_ONLY[name] and "it can only be set on the class"
        or meant and ("did you mean %s?"):format(meant)
        or "the options are " .. table.concat(settingNames(), ", ")
      return nil, ("unknown option %s: %s"):format(tostring(name), advice)
    end
  end
  local ok, message = checkSpelling(class)
  if ok then ok, message = checkHandlers(class) end
  if not ok then return nil, message end
  local settings = {}
  for name, check in pairs(checks) do
    local value, source = given[name], "option "
    if value == nil then value, source = class[name], class.className .. "." end
    if value == nil then value = DEFAULTS[name] end
    local fits, wanted = check(value)
    if not fits then
      return nil, ("%s%s must be %s, not %s"):format(source, name, wanted,
        type(value) == "string" and ("%q"):format(value) or tostring(value))
    end
    settings[name] = value
  end
  settings.countsCalls = class.countsCalls
  local transports = {}
  for _, name in ipairs(settings.transports) do transports[name] = true end
  settings.transports = transports
  if not settings.detectTimeout then
    settings.detectTimeout = transports.http and servesPages(class, settings) and
      DETECT_BESIDE_PAGES or DETECT
  end
  if settings.highWater and settings.highWater > settings.maxQueue then
    return nil, ("highWater (%d) is above maxQueue (%d)")
      :format(settings.highWater, settings.maxQueue)
  end
  return settings
end

local function milliseconds(value)
  return value and math.max(1, math.floor(value * 1000)) or 0
end

local function transportBits(transports, tls)
  local bits = tls and tonumber(C.SYNC_TLS) + (tls.only and tonumber(C.SYNC_TLS_ONLY) or 0) or 0
  for name in pairs(transports) do bits = bits + tonumber(TRANSPORTS[name]) end
  return bits
end

--- The settings as the core's `struct sync_options`.
function options.forCore(settings, maxClients)
  return core.options {
    framing = FRAMINGS[settings.framing],
    overflow = settings.overflow == "drop" and C.SYNC_OVERFLOW_DROP or C.SYNC_OVERFLOW_CLOSE,
    max_message = settings.maxMessage,
    max_queue = settings.maxQueue,
    high_water = settings.highWater or math.floor(settings.maxQueue / 2),
    max_clients = maxClients,
    max_per_address = settings.maxPerAddress or 0,
    backlog = settings.backlog,
    idle_timeout = milliseconds(settings.idleTimeout),
    first_timeout = milliseconds(settings.handshakeTimeout),
    message_timeout = milliseconds(settings.messageTimeout),
    close_timeout = milliseconds(settings.closeTimeout),
    keepalive = settings.keepalive or 0,
    transports = transportBits(settings.transports, settings.tls),
    detect_timeout = milliseconds(settings.detectTimeout),
    max_head = settings.maxHead,
    max_headers = settings.maxHeaders,
    max_body = settings.maxBody,
    ping_interval = milliseconds(settings.pingInterval),
    pong_timeout = milliseconds(settings.pongTimeout),
    message_interval = settings.messageRate and math.ceil(10 ^ 6 / settings.messageRate) or 0,
    message_burst = settings.messageBurst or math.max(1, math.floor(settings.messageRate or 1)),
    flood = settings.onFlood == "pause" and C.SYNC_FLOOD_PAUSE or C.SYNC_FLOOD_CLOSE,
    counts_calls = settings.countsCalls and 1 or 0,
    compress_from = settings.compression and settings.compressFrom or 0,
  }
end

return options
