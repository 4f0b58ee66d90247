--- An exchange: one HTTP request and its answer.
--
-- It has the connection's `slot`, the `listener` that the request came by and the `request`
-- itself (see `sync.http`), and is answered once.
-- @classmod sync.http.exchange

local Class = require "sync.class"
local core = require "sync.core"
local date = require "sync.http.date"
local log = require "sync.log"
local loop = require "sync.loop"
local origins = require "sync.http.origins"
local status = require "sync.http.status"

local C, handle = core.C, core.handle

local Exchange = Class:extend("Exchange")

-- Those that wait for their file, or for an answer that comes later, by slot.
local waiting = {}

-- Whether the client wants to send its next request on this connection (RFC 9112 9.3).
local function keepsAlive(request)
  local connection = (request.headers.connection or ""):lower()
  for token in connection:gmatch("[^%s,]+") do
    if token == "close" then return false end
    if token == "keep-alive" then return true end
  end
  return request.version ~= "1.0"
end

-- Header values go out as they are, so they must not hold a line's end.
local function headerLine(name, value)
  value = tostring(value)
  if name:find("[^%w!#$%%&'*+.^_`|~-]") or value:find("[%c]") then
    error(("header %q: names are tokens, and values are one line"):format(name), 0)
  end
  return ("%s: %s\r\n"):format(name, value)
end

-- A response's head. `given` is a table of headers, or an ordered list of {name, value}.
local function responseHead(request, code, given, length, keep)
  local lines = {("HTTP/1.1 %d %s\r\n"):format(code, status.reason(code))}
  local function add(name, value) lines[#lines + 1] = headerLine(name, value) end
  for name, value in pairs(given) do
    if type(name) == "number" then add(value[1], value[2]) else add(name, value) end
  end
  if length then add("Content-Length", length) end
  add("Date", date.write(os.time()))
  if not keep then
    add("Connection", "close")
  elseif request.version == "1.0" then
    add("Connection", "keep-alive")
  end
  lines[#lines + 1] = "\r\n"
  return table.concat(lines)
end

-- Whether another request may follow on the connection.
local function mayGoOn(exchange)
  return keepsAlive(exchange.request) and not loop.isStopping()
end

--- Lets a page of another site that `origins` lets in read the answer.
-- @tparam table headers of the answer, which it changes
-- @treturn boolean whether it's let in
function Exchange:allowOrigin(headers)
  local origin = self.request.origin
  local allowed = self.listener.settings.origins
  if origin and origins.allow(allowed, origin, self.request.headers.host) then
    headers["Access-Control-Allow-Origin"] = origin
    headers["Vary"] = "Origin"
    return true
  end
  return false
end

--- Answers.
-- @tparam number code the status
-- @tparam table headers
-- @tparam string body
-- @raise for headers that can't be written
function Exchange:respond(code, headers, body)
  local request, slot = self.request, self.slot
  self:allowOrigin(headers)
  local keep = mayGoOn(self)
  local bodiless = code == 204 or code == 304
  local bytes = responseHead(request, code, headers, not bodiless and #body or nil, keep)
  if request.method ~= "HEAD" and not bodiless then bytes = bytes .. body end
  local sent = C.sync_respond(handle, slot, bytes, #bytes, keep and 1 or 0)
  if sent == C.SYNC_TOO_LONG then
    log.limited("error", "response", ("the response to %s %s is %d bytes long, more than " ..
      "maxQueue: it was answered with 500"):format(request.method, request.path, #bytes))
    bytes = responseHead(request, 500, {}, 0, false)
    C.sync_respond(handle, slot, bytes, #bytes, 0)
  end
end

--- Answers with a line of text; without one, with what the status is called.
function Exchange:say(code, text, headers)
  local all = {["Content-Type"] = "text/plain; charset=utf-8"}
  for name, value in pairs(headers or {}) do all[name] = value end
  self:respond(code, all, (text or status.reason(code)) .. "\n")
end

--- Answers with a part of the file that was found for it.
-- @tparam number code the status
-- @tparam {{string,string},...} list its headers, in order
-- @tparam number offset of the part in the file
-- @tparam number length
function Exchange:respondFile(code, list, offset, length)
  local headers = {}
  for _, header in ipairs(list) do headers[header[1]] = header[2] end
  self:allowOrigin(headers)
  local keep = mayGoOn(self)
  local head = responseHead(self.request, code, headers, nil, keep)
  if length == 0 then
    C.sync_respond(handle, self.slot, head, #head, keep and 1 or 0)
  else
    C.sync_respond_file(handle, self.slot, head, #head, offset, length, keep and 1 or 0)
  end
end

--- Waits for what answers it.
function Exchange:wait()
  waiting[self.slot] = self
end

--- Whether it waits still: the client may have gone meanwhile.
function Exchange:isWaiting()
  return waiting[self.slot] == self
end

--- Lets it answer now or later.
-- @treturn function of a status, headers and a body, to be called once; it does nothing when
-- the client has gone
function Exchange:later()
  self:wait()
  return function(code, headers, body)
    if not self:isWaiting() then return end
    waiting[self.slot] = nil
    self:respond(code, headers, body)
  end
end

--- Takes the exchange that waits on a connection, which waits no more.
-- @treturn sync.http.exchange|nil
function Exchange.take(slot)
  local exchange = waiting[slot]
  waiting[slot] = nil
  return exchange
end

return Exchange
