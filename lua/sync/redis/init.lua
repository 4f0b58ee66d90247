--- Redis for applications: `sync.redis(url, options)`.
--
--     local db = sync.redis "redis://:PASSWORD@HOST:6379/0"
--
-- See sync.redis.client for the calls, and sync.redis.url for the URLs. The library hiredis is
-- opened here, so a missing one shows when the program starts; connections are made when they are
-- first needed.
-- @module sync.redis

local client = require "sync.redis.client"
local hiredis = require "sync.redis.hiredis"
local redisurl = require "sync.redis.url"

--- Settings, with what they are when nothing is said.
local OPTIONS = {
  timeout = 5,                 -- seconds of a command, with the time until it can be sent
  connectTimeout = 5,          -- seconds of connecting
  queue = 10000,               -- commands that wait at a time; one more fails with "busy"
  maxBuffer = 16 * 1024 * 1024, -- bytes of commands that can't be sent yet, or go together
  maxReply = 64 * 1024 * 1024, -- bytes of an answer
  size = 10,                   -- connections for blocking commands and `watch`
  queueTimeout = 5,            -- seconds that a task waits for one of those
  subscriptions = 1000,
}

local function merged(given)
  local options = {}
  for name, value in pairs(OPTIONS) do options[name] = value end
  for name, value in pairs(given or {}) do
    if not OPTIONS[name] then error("sync.redis: there is no setting " .. tostring(name), 4) end
    if type(value) ~= "number" or value ~= value or value <= 0 then
      error(("sync.redis: %s must be a number above 0"):format(name), 4)
    end
    options[name] = value
  end
  return options
end

-- For messages: where Redis is.
local function nameOf(place)
  if place.master then return place.master .. " of Sentinel" end
  if place.host:find "^unix:" then return place.host end
  return (place.host:find(":", 1, true) and "[%s]:%d" or "%s:%d"):format(place.host, place.port)
end

local function open(url, given)
  if type(url) ~= "string" then
    error("sync.redis(url): the URL must be a string, not " .. type(url), 3)
  end
  local options = merged(given)
  local loaded, problem = hiredis.load()
  if not loaded then error("sync.redis: " .. problem, 3) end
  local place
  place, problem = redisurl.read(url)
  if not place then error("sync.redis: the URL: " .. problem, 3) end
  place.name = nameOf(place)
  local db
  db, problem = client.open(place, options)
  if not db then error("sync.redis: " .. problem, 3) end
  return db
end

return open
