--- Calls a function of a room for a member whose node has checked the arguments and the rate.
-- @module sync.rooms.running

local Entry = require "sync.rooms.entry"
local Method = require "sync.remoting.method"
local fault = require "sync.remoting.fault"
local log = require "sync.log"
local null = require "cjson".null

local running = {}

--- Calls it.
-- @tparam sync.Member member
-- @tparam string name
-- @tparam table arguments by position, with nulls
-- @treturn boolean,any true and the result, or false and a fault
function running.run(member, name, arguments)
  local entry = member.remote[name]
  local fn = getmetatable(entry) == Method and entry.fn or entry
  if type(fn) ~= "function" then
    return false, fault.new(fault.METHOD, ("there is no function %q"):format(tostring(name)))
  end
  local count = #arguments
  local given = {unpack(arguments, 1, count)}
  for i = 1, count do
    if given[i] == null then given[i] = nil end
  end
  local ok, result = xpcall(fn, Entry.catch, member, unpack(given, 1, count))
  if ok then return true, result end
  return false, Entry.tell(result, ("%s.remote:%s"):format(member.className, name))
end

--- Says that a result can't be sent.
function running.complain(member, name, problem)
  local what = ("the result of %s.remote:%s"):format(member.className, name)
  log.limited("error", what, ("%s can't be sent: %s"):format(what, problem))
end

return running
