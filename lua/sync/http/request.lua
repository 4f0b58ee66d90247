--- A request, and what its answer carries: the table that routes, `onUpgrade` and `onConnect` get.
-- Its fields are listed in sync.http; those below are read when somebody asks for them.
--
-- `request.cookies`: by name. `request.form`: the fields of a form, see sync.http.form.
-- `request.json`: what a JSON body says. The two latter raise what a route need not catch: the
-- client is told 400, 413 or 415, and why.
-- @classmod sync.http.request

local cookies = require "sync.http.cookies"
local form = require "sync.http.form"
local headers = require "sync.http.headers"
local json = require "sync.json"
local refusal = require "sync.http.refusal"

local DEPTH = 32 -- of a body's JSON

local Request = {}

-- What is read when it is first asked for.
local lazy = {}

function lazy.cookies(self)
  return cookies.read(self.headers.cookie)
end

function lazy.form(self)
  return form.read(self.headers["content-type"], self.body, self.bounds)
end

function lazy.json(self)
  local kind = (self.headers["content-type"] or ""):lower():match "^[^;%s]*"
  if kind ~= "application/json" and not kind:find "^application/[%w.-]+%+json$" then
    error(refusal.new(415, "this must be JSON: application/json"), 0)
  end
  local ok, value = json.decode(self.body, DEPTH)
  if not ok then error(refusal.new(400, "the body is no JSON: " .. tostring(value)), 0) end
  return value
end

function Request.__index(self, name)
  local method = Request[name]
  if method ~= nil then return method end
  local read = lazy[name]
  if not read then return nil end
  local value = read(self)
  rawset(self, name, value)
  return value
end

--- Makes a table of fields a request.
-- @tparam table fields
-- @tparam table bounds of its form: the listener's settings
function Request.new(fields, bounds)
  fields.bounds = bounds
  fields.answers = false -- headers that its answer carries: a list of {name, value}
  return setmetatable(fields, Request)
end

--- Has the answer carry a header, whatever the answer is: a route's, a refusal, or the 101 of a
-- WebSocket's handshake. Repeated, it is several lines.
-- @tparam string name
-- @tparam string|number value
-- @raise for what can't be written
function Request:setHeader(name, value)
  local list = headers.list {{name, value}}
  self.answers = self.answers or {}
  for _, header in ipairs(list) do self.answers[#self.answers + 1] = header end
end

--- Sets a cookie with the answer, whatever that is. By default it is for this host and all paths,
-- until the browser ends, by TLS only if the request came so, and no script of the page sees it
-- (HttpOnly; SameSite=Lax).
-- @tparam string name
-- @tparam string|number|nil value nil takes it away
-- @tparam[opt] table options `maxAge` in seconds, `path`, `domain`, `secure`, `httpOnly`,
-- `sameSite`
-- @raise for what can't be written
function Request:setCookie(name, value, options)
  self:setHeader("Set-Cookie", cookies.write(name, value, options or {}, self.secure))
end

return Request
