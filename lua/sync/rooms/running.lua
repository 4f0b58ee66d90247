--- Calls a function of a room for a member whose node has checked the arguments and the rate.
-- @module sync.rooms.running

local Entry = require "sync.rooms.entry"
local Method = require "sync.remoting.method"
local declared = require "sync.declared"
local fault = require "sync.remoting.fault"
local log = require "sync.log"
local null = require "cjson".null
local task = require "sync.task"

local running = {}

--- The arguments of a list, with nulls: how many, and these.
function running.arguments(list)
  list = list or {}
  local count = #list
  for i = 1, count do
    if list[i] == null then list[i] = nil end
  end
  return count, unpack(list, 1, count)
end

-- By how many arguments there are: what takes any number isn't compiled.
local function call(fn, member, count, a, b, c, d, ...)
  if count == 0 then return xpcall(fn, Entry.catch, member) end
  if count == 1 then return xpcall(fn, Entry.catch, member, a) end
  if count == 2 then return xpcall(fn, Entry.catch, member, a, b) end
  if count == 3 then return xpcall(fn, Entry.catch, member, a, b, c) end
  if count == 4 then return xpcall(fn, Entry.catch, member, a, b, c, d) end
  return xpcall(fn, Entry.catch, member, a, b, c, d, ...)
end

local function told(member, name, ok, result)
  if ok then return true, result end
  return false, Entry.tell(result, ("%s.remote:%s"):format(member.className, name))
end

-- A function that waits: what it's called for is kept until it ends.
local function begin(fn, member, name, done, about, count, ...)
  local kept = {}
  for key, value in pairs(about) do kept[key] = value end
  local ok = pcall(task.spawn, function(...)
    done(kept, told(member, name, call(fn, member, count, ...)))
  end, ...)
  if not ok then done(kept, false, fault.new(fault.BUSY, "too many functions wait here")) end
end

--- Calls it.
-- @tparam sync.Member member
-- @tparam string name
-- @tparam function done called with `about`, and with true and the result, or with false and a
-- fault: at once, or when a function that waits has ended
-- @tparam table about the caller's: used again behind this
-- @tparam number count of arguments
-- @param ... these
function running.run(member, name, done, about, count, ...)
  local entry = member.remote[name]
  local method = getmetatable(entry) == Method and entry
  local fn = method and method.fn or entry
  if type(fn) ~= "function" then
    return done(about, false,
      fault.new(fault.METHOD, ("there is no function %q"):format(tostring(name))))
  end
  local inner = method and method.waits and fn or declared[fn]
  if inner then return begin(inner, member, name, done, about, count, ...) end
  done(about, told(member, name, call(fn, member, count, ...)))
end

--- Says that a result can't be sent.
function running.complain(member, name, problem)
  local what = ("the result of %s.remote:%s"):format(member.className, name)
  log.limited("error", what, ("%s can't be sent: %s"):format(what, problem))
end

return running
