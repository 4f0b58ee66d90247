--- Requests of HTTP to others: `sync.http`, by libcurl.
--
--     sync.spawn(function()
--       local response, problem = sync.http "https://example.com/scores"
--       if not response then return sync.log.warn(problem) end
--       print(response.status, response.headers["content-type"], response.body)
--     end)
--     sync.http.send {url = hook, json = {text = "ann has won"}}   -- doesn't wait
--
-- **Bounds.** `sync.http.perHost` (16) requests to one host go on at once, `sync.http.most` (128)
-- in all, and `sync.http.queue` (1,000) wait; one more gets nil, a message and "busy".
-- @module sync.http

local Response = require "sync.fetch.response"
local Transfer = require "sync.fetch.transfer"
local core = require "sync.core"
local library = require "sync.fetch.library"
local line = require "sync.fetch.line"
local log = require "sync.log"
local request = require "sync.fetch.request"
local task = require "sync.task"
local url = require "sync.fetch.url"

local C = core.C
local now = C.sync_now

local REDIRECTS = {[301] = true, [302] = true, [303] = true, [307] = true, [308] = true}

-- What a problem is called, and how it is told.
local PROBLEMS = {
  [tonumber(C.SYNC_FETCH_URL)] = {"url", "the URL can't be used"},
  [tonumber(C.SYNC_FETCH_NAME)] = {"name", "the host's name has no address"},
  [tonumber(C.SYNC_FETCH_AWAY)] = {"away", "nobody answers there"},
  [tonumber(C.SYNC_FETCH_FORBIDDEN)] = {"forbidden", "its address is one that `forbid` names"},
  [tonumber(C.SYNC_FETCH_TLS)] = {"tls", "TLS failed (its certificate must be for this host, " ..
    "and of an authority that is trusted: see the option ca)"},
  [tonumber(C.SYNC_FETCH_CONNECTS)] = {"timeout", "no connection within connectTimeout"},
  [tonumber(C.SYNC_FETCH_IDLE)] = {"timeout", "nothing came for idleTimeout"},
  [tonumber(C.SYNC_FETCH_SLOW)] = {"timeout", "the answer was not whole within timeout"},
  [tonumber(C.SYNC_FETCH_CUT)] = {"cut", "the connection ended before the answer did; what was " ..
    "asked may have been carried out"},
  [tonumber(C.SYNC_FETCH_HEAD)] = {"too large", "the answer's head is longer than maxHead"},
  [tonumber(C.SYNC_FETCH_LARGE)] = {"too large", "the answer is larger than maxBody; " ..
    "stream = true reads it by pieces"},
  [tonumber(C.SYNC_FETCH_BROKEN)] = {"broken", "what came is no answer of HTTP"},
  [tonumber(C.SYNC_FETCH_FILE)] = {"file", "a file of ca, certificate or key can't be used"},
  [tonumber(C.SYNC_FETCH_PROXY)] = {"proxy", "the proxy can't be used"},
  [tonumber(C.SYNC_FETCH_MEMORY)] = {"memory", "memory ran out"},
  [tonumber(C.SYNC_FETCH_OTHER)] = {"failed", "it failed"},
}

local http = {}

local function told(asked, text, code)
  return ("sync.http: %s %s: %s"):format(asked.method, url.shown(asked.url), text), code
end

local function describe(asked, transfer)
  local number, text = transfer:problem()
  local problem = PROBLEMS[number]
  if not problem then return nil end
  text = text ~= "" and (" (%s)"):format(text:gsub("%c", " ")) or ""
  return told(asked, problem[2] .. text, problem[1])
end

local function responseOf(asked, transfer)
  local head = library.head(transfer.fetch)
  local fetch = transfer.fetch
  return Response:new {status = fetch.status, version = fetch.version / 10, url = asked.url,
    reason = head:match "^HTTP/%S+ %d+ ?([^\r\n]*)" or "", headers = Response.headersOf(head),
    shown = url.shown(asked.url)}
end

-- One request, and its answer's head: waits.
-- @treturn Transfer|nil or nil, a message and a code
local function ask(asked, deadline)
  local host = url.origin(asked.url)
  local entered, why = line.enter(host, math.max(0.001, deadline - now()))
  if why == "busy" then
    return nil, told(asked, "too many requests wait already (sync.http.queue)", "busy")
  elseif not entered then
    return nil, told(asked, "there was no place within timeout (sync.http.perHost, " ..
      "sync.http.most)", "busy")
  end
  local transfer = Transfer.start(host, request.fields(asked, deadline - now()))
  if not transfer then return nil, told(asked, "memory ran out", "memory") end
  while not transfer:hasHead() do transfer:wait() end
  return transfer
end

-- The rest of an answer whose head is there.
local function finish(asked, transfer, response)
  if asked.stream then
    response.transfer = transfer
    response.describe = function(ended) return describe(asked, ended) end
    return response
  end
  while not transfer:hasEnded() do transfer:wait() end
  local problem, code = describe(asked, transfer)
  if problem then
    transfer:close()
    return nil, problem, code
  end
  response.body = transfer:take()
  transfer:close()
  return response
end

local function carryOut(asked)
  local deadline = now() + asked.timeout
  local left = asked.redirects
  while true do
    local transfer, problem, code = ask(asked, deadline)
    if not transfer then return nil, problem, code end
    if transfer.fetch.status == 0 then -- it ended before there was a head
      problem, code = describe(asked, transfer)
      transfer:close()
      return nil, problem, code
    end
    local response = responseOf(asked, transfer)
    local location = REDIRECTS[response.status] and response.headers.location
    if not location or asked.redirects == 0 then return finish(asked, transfer, response) end
    transfer:close()
    if left == 0 then
      return nil, told(asked, ("more than %d redirects"):format(asked.redirects), "redirects")
    end
    left = left - 1
    local follow
    follow, problem = request.follow(asked, response.status, location)
    if not follow then
      return nil, told(asked, ("a redirect to %s, %s"):format(url.shown(location), problem),
        "redirects")
    end
    asked = follow
  end
end

-- Opened when a program first says `sync.http`, at best before it serves: that takes some 20 ms.
local loaded, missing = library.load()

local function load()
  return loaded, missing and "sync.http: " .. missing
end

local function read(options)
  local ok, asked = pcall(request.read, options)
  if not ok then error(asked, 3) end
  return asked
end

--- Asks a server of HTTP, and waits for its answer. Redirects are followed; a status of 400 and
-- more is an answer like others.
--
-- What may be said: `url`; `method` ("GET", or "POST" with a body); `headers`; `query`, a table
-- that goes behind the URL; `body`, or `json`, a value, or `form`, a table; `user` and `password`,
-- or `token`, for Authorization; `timeout` (30 s) for all, `connectTimeout` (10), `idleTimeout`
-- (30); `redirects` (5; 0 to get them as answers); `maxBody` (1 MiB), `maxHead` (64 KiB);
-- `stream = true`; `proxy`, a URL, or false for none, else the environment's; `ca`, a file of
-- authorities; `certificate` and `key`; `forbid = "private"` or a list of networks.
-- @function sync.http
-- @tparam string|table options a URL, or a table
-- @treturn Response|nil `status`, `headers` by names in small letters, `body`, `json()`, `url`
-- where the answer came from, `reason`, `version`; or nil, a message and a code
-- @raise outside a function that may wait, and for options that make no sense
local function fetch(_, options)
  local ok, problem = load()
  if not ok then return nil, problem, "missing" end
  local asked = read(options)
  if not task.isInside() then
    error("sync.http waits, so it must be called inside sync.spawn(function() … end), a handler " ..
      "that was declared by sync.waits, or a route; sync.http.send doesn't wait", 2)
  end
  return carryOut(asked)
end

local function deliver(asked)
  local response, problem, code = carryOut(asked)
  if response and response.status >= 300 then
    problem, code = told(asked, "the answer was " .. response.status, "status")
  end
  if problem then log.limited("warn", "http " .. code, problem) end
end

--- The same without waiting: for webhooks. What fails, and an answer of 300 or more, is in the
-- log.
-- @tparam string|table options as of sync.http
-- @treturn boolean whether it was begun; or false and why not
function http.send(options)
  local ok, problem = load()
  if not ok then return false, problem end
  local asked = read(options)
  asked.stream = nil
  if line.isFull() then
    problem = told(asked, "too many requests wait already (sync.http.queue)")
    log.limited("warn", "http busy", problem)
    return false, problem
  end
  task.spawn(deliver, asked)
  return true
end

--- How many requests are under way, and how many wait for a place.
-- @function sync.http.state
-- @treturn number
-- @treturn number
http.state = line.state

-- `perHost`, `most` and `queue` are the line's.
local SETTINGS = {perHost = true, most = true, queue = true}

return setmetatable(http, {
  __call = fetch,
  __index = function(_, name) return SETTINGS[name] and line[name] or nil end,
  __newindex = function(_, name, value)
    if not SETTINGS[name] then error("sync.http has no setting " .. tostring(name), 2) end
    if type(value) ~= "number" or value < 1 then
      error(("sync.http.%s must be a number from 1 on"):format(name), 2)
    end
    line[name] = value
  end,
})
