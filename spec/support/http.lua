-- Requests of HTTP without sockets: a connection is memory, and is kept for the next one.

local core = require "sync.core"
local support = require "spec.support"
local testing = require "sync.testing"

local C, handle = core.C, core.handle

local Http = {}
Http.__index = Http

--- Serves a class by HTTP and WebSocket until the spec ends (support.cleanUp).
function Http.serve(class, options)
  local given = {transports = {"http", "websocket"}}
  for name, value in pairs(options or {}) do given[name] = value end
  return setmetatable({server = support.serve(class, given), slot = false}, Http)
end

--- Sends bytes, and returns all that comes.
function Http:exchange(bytes)
  if not self.slot then self.slot = C.sync_memory_connect(handle, self.server.id) end
  assert(self.slot >= 0)
  testing.settle()
  local sent = 0
  while sent < #bytes do
    local took = C.sync_memory_feed(handle, self.slot, bytes:sub(sent + 1), #bytes - sent)
    testing.settle()
    if took <= 0 then break end
    sent = sent + took
  end
  return self:more()
end

--- What has come since.
function Http:more()
  testing.settle()
  local answer = self.slot and core.take(self.slot) or ""
  testing.settle()
  if answer:find "\r\nConnection: close\r\n" then self.slot = false end
  return answer
end

local function parse(answer)
  local status, head, body = answer:match "^HTTP/1.1 (%d+)[^\r]*(\r\n.-)\r\n\r\n(.*)$"
  return tonumber(status), body, head and head .. "\r\n"
end

--- Sends a request.
-- @tparam string line "GET /path"
-- @tparam[opt] table headers
-- @tparam[opt] string body
-- @treturn number|nil status, nil when no answer is there yet
-- @treturn string body
-- @treturn string head: "\r\nName: value" for each header, and "\r\n"
function Http:ask(line, headers, body)
  local parts = {line, " HTTP/1.1\r\nHost: localhost\r\n"}
  for name, value in pairs(headers or {}) do parts[#parts + 1] = name .. ": " .. value .. "\r\n" end
  if body then parts[#parts + 1] = "Content-Length: " .. #body .. "\r\n" end
  parts[#parts + 1] = "\r\n" .. (body or "")
  return parse(self:exchange(table.concat(parts)))
end

--- The answer to a request that came later.
function Http:answer() return parse(self:more()) end

--- The client goes.
function Http:leave()
  C.sync_memory_end(handle, self.slot)
  testing.settle()
  self.slot = false
end

--- The lines of a header in an answer's head.
function Http.lines(head, name)
  local list = {}
  for line in head:gmatch("\r\n" .. name:gsub("%-", "%%-") .. ": ([^\r\n]*)") do
    list[#list + 1] = line
  end
  return list
end

return Http
