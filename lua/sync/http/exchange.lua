--- An exchange: one HTTP request and its answer.
--
-- It has the connection's `slot`, the `listener` that the request came by and the `request`
-- itself (see `sync.http`), and is answered once.
-- @classmod sync.http.exchange

local Class = require "sync.class"
local core = require "sync.core"
local date = require "sync.http.date"
local cors = require "sync.http.cors"
local drain = require "sync.drain"
local headers = require "sync.http.headers"
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

-- A response's head, of a list of headers.
local function responseHead(request, code, list, length, keep)
  local last = {}
  if length then last[1] = {"Content-Length", length} end
  if not headers.find(list, "Date") then last[#last + 1] = {"Date", date.write(os.time())} end
  if not keep then
    last[#last + 1] = {"Connection", "close"}
  elseif request.version == "1.0" then
    last[#last + 1] = {"Connection", "keep-alive"}
  end
  return ("HTTP/1.1 %d %s\r\n"):format(code, status.reason(code)) .. headers.write(list) ..
    headers.write(last) .. "\r\n"
end

-- Whether another request may follow on the connection.
local function mayGoOn(exchange)
  return keepsAlive(exchange.request) and not loop.isStopping() and not drain.isOn()
end

--- Whether the request comes from a page that `origins` lets in.
-- @treturn boolean
function Exchange:isLetIn()
  local request = self.request
  return request.origin ~= nil and
    origins.allow(self.listener.settings.origins, request.origin, request.headers.host)
end

-- Adds what goes with every answer: what the request has it carry, and that such a page may read
-- it, if the answer doesn't say itself who may.
local function complete(exchange, list)
  local request = exchange.request
  for _, header in ipairs(request.answers or {}) do list[#list + 1] = header end
  if not exchange:isLetIn() or headers.find(list, "Access-Control-Allow-Origin") then return end
  cors.allow(exchange.listener.settings.cors, request.origin, list)
end

--- Answers.
-- @tparam number code the status
-- @tparam table given headers: see sync.http.headers
-- @tparam string body
-- @raise for headers that can't be written
function Exchange:respond(code, given, body)
  local request, slot = self.request, self.slot
  local list = headers.list(given)
  complete(self, list)
  local keep = mayGoOn(self)
  local bodiless = code == 204 or code == 304
  local bytes = responseHead(request, code, list, not bodiless and #body or nil, keep)
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
function Exchange:say(code, text, given)
  local all = {["Content-Type"] = "text/plain; charset=utf-8"}
  for name, value in pairs(given or {}) do all[name] = value end
  self:respond(code, all, (text or status.reason(code)) .. "\n")
end

--- Answers with a part of the file that was found for it.
-- @tparam number code the status
-- @tparam {{string,string},...} list its headers, in order
-- @tparam number offset of the part in the file
-- @tparam number length
function Exchange:respondFile(code, list, offset, length)
  complete(self, list)
  local keep = mayGoOn(self)
  local head = responseHead(self.request, code, list, nil, keep)
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

--- It waits no more, and is answered now.
-- @treturn boolean false when the client has gone meanwhile
function Exchange:goOn()
  if not self:isWaiting() then return false end
  waiting[self.slot] = nil
  return true
end

--- Lets it answer now or later.
-- @treturn function of a status, headers and a body, to be called once; it does nothing when
-- the client has gone
function Exchange:later()
  self:wait()
  return function(code, given, body)
    if self:goOn() then self:respond(code, given, body) end
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
