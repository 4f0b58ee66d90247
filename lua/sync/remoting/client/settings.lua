--- What `sync.connect` may be told, and the waits that follow from it.
-- @module sync.remoting.client.settings

local core = require "sync.core"
local options = require "sync.options"

local settings = {}

--- The options with their defaults. All times are in seconds.
settings.defaults = {
  framing = "null",         -- the listener's
  encoding = "json",        -- the same
  token = "",               -- for the server's auth, or a function that returns it, and may wait
  timeout = 10,             -- for an answer, the waiting for a connection included; false: none
  offline = "queue",        -- what is called without a connection waits, or: "refuse"
  queueLimit = 256,         -- messages that wait for a connection
  pendingLimit = 1024,      -- calls that wait for answers
  maxMessage = 1024 * 1024, -- bytes of a message of the server
  maxQueue = 1024 * 1024,   -- unsent bytes, beyond which calls are refused
  connectTimeout = 10,      -- for a connection to be made, and for a silent one to show life
  heartbeat = 25,           -- of silence, after which the server is asked for life; false: never
  reconnect = true,         -- whether a lost connection is replaced
  firstWait = 0.25,         -- the longest before the first attempt to come back
  waitFactor = 2,           -- by which it grows
  longestWait = 10,
  jitter = 1,               -- the share of a wait that is left to chance
  attempts = math.huge,     -- in a row, until it gives up
  ca = "",                  -- for tls://: a file of authorities in PEM; else the system's
  certificate = "",         -- and for servers that ask for one, a file, and that of its key
  key = "",
}

local CHECKS = {
  number = function(value) return type(value) == "number" and value >= 0 end,
  string = function(value) return type(value) == "string" end,
  boolean = function(value) return type(value) == "boolean" end,
}
local MAY_BE_FALSE = {timeout = true, heartbeat = true}

local function isFine(name, default, value)
  return CHECKS[type(default)](value) or value == false and MAY_BE_FALSE[name] or
    name == "token" and type(value) == "function"
end

--- Completes options by the defaults.
-- @tparam table|nil given
-- @treturn table a copy
-- @raise for the line that has called the caller
function settings.complete(given)
  if given ~= nil and type(given) ~= "table" then
    error("sync.connect: options must be a table, not " .. type(given), 3)
  end
  local defaults, names, copy = settings.defaults, {}, {}
  for name in pairs(defaults) do names[#names + 1] = name end
  for name, value in pairs(given or {}) do
    local default = defaults[name]
    if default == nil then
      local meant = options.nearest(tostring(name), names)
      error(("sync.connect: unknown option %s%s"):format(tostring(name),
        meant and ("; did you mean %s?"):format(meant) or ""), 3)
    end
    if not isFine(name, default, value) then
      error(("sync.connect: option %s must be a %s, not %s"):format(name, type(default),
        tostring(value)), 3)
    end
    copy[name] = value
  end
  if copy.offline and copy.offline ~= "queue" and copy.offline ~= "refuse" then
    error('sync.connect: option offline must be "queue" or "refuse"', 3)
  end
  return setmetatable(copy, {__index = defaults})
end

--- The longest that the wait before an attempt to come back can be, in seconds.
-- @tparam table chosen
-- @tparam number attempt from 0 on
function settings.longestWait(chosen, attempt)
  return math.min(chosen.longestWait, chosen.firstWait * chosen.waitFactor ^ attempt)
end

--- The wait itself. math.random is the same in every process, which would come back together.
function settings.wait(chosen, attempt)
  local chance = tonumber(core.randomHex(4), 16) / 2 ^ 32
  return settings.longestWait(chosen, attempt) * (1 - chosen.jitter * chance)
end

return settings
