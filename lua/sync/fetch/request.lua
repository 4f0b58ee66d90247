--- What is asked for: the options of `sync.http`, checked; and what becomes of them when the
-- answer is a redirect.
-- @module sync.fetch.request

local json = require "sync.json"
local library = require "sync.fetch.library"
local url = require "sync.fetch.url"

local request = {}

local TYPES = {
  url = "string", method = "string", headers = "table", query = "table", body = "string",
  json = "any", form = "table", user = "string", password = "string", token = "string",
  timeout = "time", connectTimeout = "time", idleTimeout = "time", redirects = "count",
  maxBody = "count", maxHead = "count", stream = "boolean", proxy = "proxy", ca = "string",
  certificate = "string", key = "string", forbid = "any",
}

local DEFAULTS = {
  timeout = 30, connectTimeout = 10, idleTimeout = 30, redirects = 5, maxBody = 1024 * 1024,
  maxHead = 64 * 1024,
}

local LONGEST_TIME = 7 * 24 * 3600

-- Methods that may be repeated when nobody knows whether they were carried out.
local IDEMPOTENT = {GET = true, HEAD = true, PUT = true, DELETE = true, OPTIONS = true}
-- Of the library's own: what would contradict what it does.
local OWN = {["content-length"] = true, ["transfer-encoding"] = true, expect = true}

-- What `forbid = "private"` stands for: whatever isn't an address of the public internet.
local PRIVATE = {
  "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12",
  "192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15",
  "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4", "::/128", "::1/128",
  "64:ff9b:1::/48", "100::/64", "2001::/32", "2001:db8::/32", "fc00::/7", "fe80::/10", "fec0::/10",
  "ff00::/8",
}

local PROXIES = {"http_proxy", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"}

local function misuse(text, ...)
  error("sync.http: " .. text:format(...), 0)
end

local function isTime(value)
  return type(value) == "number" and value > 0 and value <= LONGEST_TIME
end

local function isCount(value)
  return type(value) == "number" and value >= 0 and value % 1 == 0 and value < 2 ^ 31
end

local function check(name, value)
  local kind = TYPES[name]
  if not kind then misuse("there is no option %s", tostring(name)) end
  if kind == "time" and not isTime(value) then
    misuse("%s must be seconds, above 0 and up to a week", name)
  elseif kind == "count" and not isCount(value) then
    misuse("%s must be a whole number from 0 on", name)
  elseif kind == "proxy" and value ~= false and type(value) ~= "string" then
    misuse("proxy must be a URL, or false for none")
  elseif type(value) ~= kind and (kind == "string" or kind == "table" or kind == "boolean") then
    misuse("%s must be a %s, not %s", name, kind, type(value))
  end
  if kind == "string" and name ~= "body" and value:find "%z" then
    misuse("%s has a byte 0 in it", name)
  end
end

-- Headers, by their names in small letters: {name, value}.
local function readHeaders(given)
  local headers = {}
  for name, value in pairs(given or {}) do
    if type(name) ~= "string" or not name:find "^[%w!#$%%&'*+%-.^_`|~]+$" then
      misuse("%q is no name of a header", tostring(name))
    end
    if OWN[name:lower()] then misuse("the header %s is made by itself", name) end
    if type(value) == "number" then value = tostring(value) end
    if type(value) ~= "string" or value:find "[%z\1-\8\10-\31\127]" then
      misuse("the header %s must be a text of one line", name)
    end
    headers[name:lower()] = {name, value}
  end
  return headers
end

local function add(headers, name, value)
  headers[name:lower()] = headers[name:lower()] or {name, value}
end

-- The body, of `body`, `json` or `form`.
local function readBody(options, headers)
  local count = (options.body and 1 or 0) + (options.json ~= nil and 1 or 0) +
    (options.form and 1 or 0)
  if count > 1 then misuse("give one of body, json and form") end
  if options.json ~= nil then
    local text, problem = json.encode(options.json)
    if not text then misuse("json: %s", problem) end
    add(headers, "Content-Type", "application/json")
    return text
  elseif options.form then
    add(headers, "Content-Type", "application/x-www-form-urlencoded")
    return url.form(options.form)
  end
  return options.body
end

local function proxyOfEnvironment()
  for _, name in ipairs(PROXIES) do
    if (os.getenv(name) or "") ~= "" then return name end
  end
end

-- Networks that aren't connected to. A proxy connects by itself, to whatever it likes.
local function readForbidden(options)
  if options.forbid == nil or options.forbid == false then return {} end
  local given = type(options.forbid) == "table" and options.forbid or {options.forbid}
  local networks = {}
  for _, each in ipairs(given) do
    if each == "private" then
      for _, network in ipairs(PRIVATE) do networks[#networks + 1] = network end
    else
      networks[#networks + 1] = tostring(each)
    end
  end
  local wrong = library.notNetwork(networks)
  if wrong or #networks == 0 then
    misuse('forbid must be "private", a network like "10.0.0.0/8", or a list, not %s',
      tostring(wrong))
  end
  if options.proxy then misuse("forbid can't be kept by a proxy, which connects by itself") end
  local name = options.proxy == nil and proxyOfEnvironment()
  if name then
    misuse("forbid can't be kept by the proxy that the environment names (%s): say " ..
      "proxy = false", name)
  end
  return networks
end

local function readUrl(text, query)
  if type(text) ~= "string" then misuse("url must be a string, not %s", type(text)) end
  local whole = not text:find "%c" and
    library.url(nil, query and url.withQuery(text, query) or text)
  if not whole or not url.origin(whole) then
    misuse("%s is no URL of http:// or https://", url.shown(text))
  end
  return whole
end

-- Who asks.
local function readCredentials(self, options)
  if options.token then
    if options.token:find "[%c ]" then misuse("token must be a text without spaces") end
    add(self.headers, "Authorization", "Bearer " .. options.token)
  end
  self.user, self.password = options.user, options.user and (options.password or "")
end

--- Reads options, or a URL alone.
-- @return what is asked for
-- @raise for what makes no sense
function request.read(given)
  local options = type(given) == "table" and given or {url = given}
  for name, value in pairs(options) do check(name, value) end
  local self = {}
  for name, value in pairs(DEFAULTS) do self[name] = options[name] or value end
  self.url = readUrl(options.url, options.query)
  self.headers = readHeaders(options.headers)
  self.body = readBody(options, self.headers)
  self.method = options.method or (self.body and "POST" or "GET")
  if not self.method:find "^[A-Z]+$" or self.method == "CONNECT" or self.method == "TRACE" then
    misuse("method must be a word like GET or POST, not %q", self.method)
  end
  if self.body and self.method == "HEAD" then misuse("HEAD has no body") end
  if not self.body and (self.method == "POST" or self.method == "PUT") then self.body = "" end
  readCredentials(self, options)
  self.forbidden = readForbidden(options)
  self.stream, self.ca = options.stream, options.ca
  self.certificate, self.key = options.certificate, options.key or options.certificate
  if options.proxy ~= nil then self.proxy = options.proxy or "" end
  return self
end

--- Where an answer sends what was asked.
-- @tparam table self
-- @tparam number status
-- @tparam string location
-- @treturn table|nil what is to be asked there; or nil and what is wrong
function request.follow(self, status, location)
  local whole = not location:find "%c" and library.url(self.url, location)
  local from, to = url.origin(self.url), whole and url.origin(whole)
  if not to then return nil, "which is no URL of HTTP" end
  if from:find "^https:" and to:find "^http:" then
    return nil, "which would leave TLS"
  end
  local made = {}
  for name, value in pairs(self) do made[name] = value end
  made.url, made.headers = whole, {}
  for name, header in pairs(self.headers) do made.headers[name] = header end
  if status == 303 and self.method ~= "HEAD" or
    (status == 301 or status == 302) and self.method == "POST" then
    made.method, made.body = "GET", nil
    made.headers["content-type"], made.headers["content-encoding"] = nil, nil
  end
  if from ~= to then
    made.headers.authorization, made.headers.cookie, made.headers.host = nil, nil, nil
    made.certificate, made.key, made.user, made.password = nil, nil, nil, nil
  end
  return made
end

--- What the library is told of it.
-- @tparam table self
-- @tparam number seconds until all of it must be over
function request.fields(self, seconds)
  local headers = {"Expect:"}
  for _, header in pairs(self.headers) do
    headers[#headers + 1] = header[2] == "" and header[1] .. ";" or header[1] .. ": " .. header[2]
  end
  if not self.headers["user-agent"] then
    headers[#headers + 1] = "User-Agent: sync/" .. require("sync.version"):match "%S+"
  end
  if self.body and not self.headers["content-type"] then headers[#headers + 1] = "Content-Type:" end
  local milliseconds = math.max(1, math.ceil(seconds * 1000))
  return {
    url = self.url, method = self.method, headers = headers, forbidden = self.forbidden,
    body = self.body, proxy = self.proxy, ca = self.ca, certificate = self.certificate,
    key = self.key, user = self.user, password = self.password,
    most_head = self.maxHead, most_body = self.maxBody,
    flags = (self.stream and library.STREAMS or 0) +
      (IDEMPOTENT[self.method] and 0 or library.ONCE),
    connect_limit = math.min(milliseconds, math.ceil(self.connectTimeout * 1000)),
    idle_limit = math.ceil(self.idleTimeout * 1000), total_limit = milliseconds,
  }
end

return request
