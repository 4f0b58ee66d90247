--- Values that members of other nodes have to do with, without loss: see lua/sync/packed.lua.
-- @module sync.rooms.remote

local fault = require "sync.remoting.fault"
local values = require "sync.cluster.values"

local remote = {
  --- A value as a text, "" for nil, which is nil where it can't be told; the log says so.
  note = values.note,
  --- The value of a text.
  read = values.read,
}

--- A value as a text; nil and why not.
function remote.write(value)
  if value == nil then return "" end
  return values.encode(value)
end

--- A fault as a table for other nodes, and back.
function remote.writeFault(problem)
  return {code = problem.code, message = problem.message, data = remote.write(problem.data)}
end

function remote.readFault(said)
  return fault.new(said.code, said.message, remote.read(said.data))
end

--- What a client is told whose room is paused.
function remote.paused()
  return fault.new(fault.BUSY, "the room is paused")
end

--- What a client is told whose room's node doesn't answer.
function remote.away()
  return fault.new(fault.BUSY, "the room's node doesn't answer")
end

return remote
