--- Values that members of other nodes have to do with: as JSON, which keeps lists lists.
-- @module sync.rooms.remote

local fault = require "sync.remoting.fault"
local json = require "sync.json"

local remote = {}

--- A value as JSON; nil and why not.
function remote.write(value)
  if value == nil then return "" end
  return json.encode(value)
end

--- The value again.
function remote.read(text)
  if type(text) ~= "string" or text == "" then return nil end
  local ok, value = json.decode(text, 64)
  if ok then return value end
end

--- A fault as a table for other nodes, and back.
function remote.writeFault(problem)
  return {code = problem.code, message = problem.message, data = remote.write(problem.data)}
end

function remote.readFault(said)
  return fault.new(said.code, said.message, remote.read(said.data))
end

--- What a client is told whose room's node doesn't answer.
function remote.away()
  return fault.new(fault.BUSY, "the room's node doesn't answer")
end

return remote
