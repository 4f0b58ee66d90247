--- The keys that a URL gives (JWKS, RFC 7517), for `sync.jwt`: fetched when they are first needed,
-- kept as long as the answer's Cache-Control says, and fetched again for a key that isn't known.
--
-- Whatever clients send, a URL is asked once in `every` seconds at most: a token with an id that
-- nobody has given is refused meanwhile. When three quarters of their time are over, the keys are
-- fetched in the background. While the URL is away the old ones serve, for `keep` seconds.
-- @classmod sync.secrets.keyset

local Class = require "sync.class"
local core = require "sync.core"
local failure = require "sync.failure"
local http = require "sync.fetch"
local jwk = require "sync.secrets.jwk"
local library = require "sync.fetch.library"
local log = require "sync.log"
local request = require "sync.fetch.request"
local task = require "sync.task"

local now = core.C.sync_now

local OWN = {every = 10, least = 60, usual = 300, most = 24 * 3600, keep = 24 * 3600} -- seconds
local EARLY = 3 / 4          -- of a life, after which the keys are fetched without a wait
local FIXED = {redirects = 0, maxBody = 256 * 1024, maxHead = 16 * 1024, timeout = 5}
local MOST_KEYS = 64
local LONGEST_ID = 256
local MOST_WAITING = 1000
local MOST_SETS = 64         -- of those that are known by their URL alone

local KeySet = Class:extend("KeySet")

-- What is asked for.

-- Keys that somebody on the way can change are none.
local function checkUrl(url)
  if type(url) ~= "string" then
    error(("sync.jwt: keys must have a url, a string, not %s"):format(type(url)), 0)
  end
  local scheme, host = url:match "^(%a+)://([^/?#]*)"
  host = host and host:gsub("^.*@", ""):gsub(":%d+$", "")
  local isHere = host == "localhost" or host == "[::1]" or host and host:find "^127%.%d+%.%d+%.%d+$"
  if not scheme or scheme:lower() ~= "https" and not (scheme:lower() == "http" and isHere) then
    error("sync.jwt: the URL of keys must be one of https://, or of http:// on this machine", 0)
  end
end

-- The times, and what is left for sync.http.
local function split(options)
  local times, asked = {}, {}
  for name, usual in pairs(OWN) do times[name] = usual end
  for name, value in pairs(options) do
    if not OWN[name] then
      asked[name] = value
    elseif type(value) ~= "number" or not (value > 0 and value < 2 ^ 31) then
      error(("sync.jwt: %s of keys must be seconds above 0"):format(name), 0)
    else
      times[name] = value
    end
  end
  for name, value in pairs(FIXED) do
    if name == "redirects" or asked[name] == nil then asked[name] = value end
  end
  local loaded, missing = library.load()
  if not loaded then error("sync.jwt: " .. missing, 0) end
  request.read(asked) -- raises what is wrong
  return times, asked
end

--- Makes one. Nothing is fetched yet.
-- @tparam table options `url`; times in seconds: `every`, between two fetches (10); `least` (60)
-- and `most` (a day), bounds of what Cache-Control may say, and `usual` (300), for when it says
-- nothing; `keep` (a day), for which old keys serve while the URL is away; else those of sync.http
-- @raise what is wrong with them
function KeySet.open(options)
  checkUrl(options.url)
  local times, asked = split(options)
  return KeySet:new {times = times, asked = asked, keys = {}, nextFetch = 0, renewAt = 0,
    freshUntil = 0, keepUntil = 0, isFetching = false, hasFailed = false, waiting = {}, count = 0}
end

local sets, known = {}, 0

--- The set of a URL, or of options.
function KeySet.of(given)
  if type(given) == "table" then return KeySet.open(given) end
  local set = sets[given]
  if set then return set end
  if known >= MOST_SETS then
    error(("sync.jwt: keys of %d URLs are known already"):format(MOST_SETS), 0)
  end
  set = KeySet.open {url = given}
  sets[given], known = set, known + 1
  return set
end

-- What has come.

-- Seconds that an answer is good for.
local function life(headers, times)
  local control = (headers["cache-control"] or ""):lower()
  local most = tonumber(control:match "%f[%w-]max%-age%s*=%s*\"?(%d+)")
  local seconds = times.usual
  if control:find "no%-store" or control:find "no%-cache" then
    seconds = 0
  elseif most then
    seconds = most - (tonumber(headers.age) or 0)
  end
  return math.max(times.least, math.min(seconds, times.most))
end

-- Keys by their algorithm and id; those without an id are in `nameless`.
local function collect(list)
  local keys, count, first = {}, 0, nil
  for place, each in ipairs(list) do
    local id = type(each) == "table" and each.kid or nil
    local key, problem = jwk.read(each)
    if key and id ~= nil and (type(id) ~= "string" or #id > LONGEST_ID) then
      key, problem = nil, "its id (kid) is no string of up to 256 bytes"
    end
    if key then
      local all = keys[key.kind] or {count = 0, byId = {}}
      keys[key.kind] = all
      all.count, all.only = all.count + 1, key
      if id ~= nil then all.byId[id] = all.byId[id] or key end
      count = count + 1
    else
      first = first or ("the key at place %d: %s"):format(place, problem)
    end
  end
  if count == 0 then return nil, "it gives no key that can be used" .. (first and
    " (" .. first .. ")" or "") end
  return keys
end

local function read(response)
  if response.status ~= 200 then return nil, "the answer was " .. response.status end
  local value, problem = response:json()
  if value == nil then return nil, problem end
  local list = type(value) == "table" and value.keys
  if type(list) ~= "table" then return nil, "the answer has no list of keys" end
  if #list > MOST_KEYS then return nil, ("it gives more than %d keys"):format(MOST_KEYS) end
  return collect(list)
end

-- Fetching.

local function take(self, response, keys)
  local time = now()
  local seconds = life(response.headers, self.times)
  self.keys, self.hasFailed = keys, false
  self.renewAt, self.freshUntil = time + seconds * EARLY, time + seconds
  self.keepUntil = self.freshUntil + self.times.keep
end

local function fetch(self)
  local response, problem = http(self.asked)
  if not response then return problem end
  local keys
  keys, problem = read(response)
  if not keys then return problem end
  take(self, response, keys)
end

local function told(self)
  self.isFetching = false
  local waiting = self.waiting
  self.waiting, self.count = {}, 0
  for _, resume in pairs(waiting) do resume() end
end

local function run(self)
  local ok, problem = xpcall(fetch, failure.catch, self)
  if not ok then problem = failure.describe(problem.raised) end
  if problem then
    self.hasFailed = true
    log.limited("warn", "sync.jwt keys", ("the keys of tokens can't be fetched: %s%s"):format(
      problem, next(self.keys) and now() < self.keepUntil and "; the old ones serve" or ""))
  end
  told(self)
end

-- Begins to fetch, unless that was done lately.
local function begin(self)
  local time = now()
  if self.isFetching or time < self.nextFetch then return end
  self.isFetching, self.nextFetch = true, time + self.times.every
  if not pcall(task.spawn, run, self) then -- too many functions wait
    self.hasFailed = true
    told(self)
  end
end

local function stand(resume, who)
  who.set.waiting[who] = resume
  who.set.count = who.set.count + 1
end

local function leave(who)
  local set = who.set
  if set.waiting[who] then
    set.waiting[who] = nil
    set.count = set.count - 1
  end
end

-- Looking up.

local function pick(self, algorithm, id)
  local all = now() < self.keepUntil and self.keys[algorithm]
  if not all then return nil end
  if id == nil then return all.count == 1 and all.only or nil end
  return all.byId[id]
end

-- What there is to say when there's no key.
local function missing(self)
  if self.hasFailed or now() >= self.keepUntil then
    return nil, "the keys of tokens can't be had at present", 503
  end
  return nil, "the token is signed by a key that is not known", 401
end

--- The key of a token, in a function that may wait.
-- @tparam string algorithm
-- @tparam string|nil id the token's; without one, the only key of the algorithm serves
-- @treturn table|nil see jwk.read; or nil, why not, and 401, or 503: nobody can say at present
function KeySet:find(algorithm, id)
  if id ~= nil and (type(id) ~= "string" or #id > LONGEST_ID) then
    return nil, "the id of the token's key (kid) is none", 401
  end
  local found, time = pick(self, algorithm, id), now()
  if time >= self.renewAt or not found then begin(self) end
  if found and (time < self.freshUntil or self.hasFailed) then return found end
  if self.isFetching then
    if self.count >= MOST_WAITING then return nil, "too many wait for the keys of tokens", 503 end
    task.await(stand, leave, {set = self})
    found = pick(self, algorithm, id)
  end
  if found then return found end
  return missing(self)
end

return KeySet
